"""Networks that return dictionaries, tuples and lists: replayed, they give what full passes give."""

from collections import OrderedDict
from typing import NamedTuple

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.ablation.replay.replaying import made, shown
from tests.models import zoo
from unitlens.ablation.replay.cutting import cut_network
from unitlens.ablation.replay.nests import ByImage, by_variant, describe, in_rows, joined, tensors
from unitlens.ablation.replay.sweeps import sweep
from unitlens.models.hooks import edit


class Pair(NamedTuple):
    first: Tensor
    second: Tensor | None


class Heads(nn.Module):
    """Several heads, one of which does not depend on the last layer."""

    def __init__(self, nest) -> None:
        super().__init__()
        self.stem, self.last = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 6, 3, padding=1)
        self.maps, self.scores = nn.Conv2d(6, 5, 1), nn.Linear(4, 3)
        self.nest = nest

    def forward(self, x: Tensor):
        first = F.relu(self.stem(x))
        maps = F.interpolate(self.maps(F.relu(self.last(first))), size=x.shape[-2:], mode="bilinear")
        return self.nest(maps, self.scores(first.mean((2, 3))))


NESTS = {
    "dict": lambda a, b: {"out": a, "aux": b},
    "ordered": lambda a, b: OrderedDict(out=a, aux=b),
    "tuple": lambda a, b: (a, b),
    "named": lambda a, b: Pair(a, b),
    "nested": lambda a, b: {"all": [a, (b, None)]},
}


def ablated(model, layer, images, unit):
    def remove(activation):
        activation[:, unit] = 0
        return activation

    with torch.inference_mode(), edit(model, {layer: remove}):
        return model(images)


def assert_alike(one, other):
    pairs = list(zip(tensors(one), tensors(other), strict=True))
    assert pairs
    for a, b in pairs:
        torch.testing.assert_close(a, b, rtol=0, atol=1e-5 * float(b.abs().max() if b.numel() else 0))


@pytest.mark.parametrize("nest", NESTS)
@pytest.mark.parametrize("layer", ["stem", "last", "maps"])
def test_a_nest_of_tensors_is_replayed_as_the_network_returns_it(nest, layer):
    model, images = made(lambda: Heads(NESTS[nest])), shown()
    cut = cut_network(model, layer, images)
    assert cut.replays, cut.reason
    state = cut.front(images)
    assert type(state.output) is type(model(images))
    for units, outputs in sweep(cut, state):
        for number, unit in enumerate(units):
            expected = ablated(model, layer, images, unit)
            swept = [each[number] for each in tensors(outputs)]
            assert_alike(swept, expected)
            one = state.activation.clone()
            one[:, unit] = 0
            back = cut.back(state, one)
            assert type(back) is type(expected)
            assert_alike(back, expected)


class Boxes(nn.Module):
    """Finds another number of boxes in each image."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, x: Tensor):
        return [{"scores": row[row > 0]} for row in self.conv(x).mean((2, 3))]


@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_list_with_an_item_for_each_image_takes_full_passes_and_the_reason_says_so(count):
    model, images = made(Boxes), shown(count)
    cut = cut_network(model, "conv", images)
    assert cut.by_image
    assert "takes a full pass of the network, as it returns a list with an item for each image" in cut.reason
    state = cut.front(images)
    assert isinstance(state.output, ByImage)
    for units, outputs in sweep(cut, state):
        expected = ablated(model, "conv", images, units[0])
        assert list(map(len, outputs)) == [count]
        assert_alike(list(outputs[0]), expected)


def test_outputs_of_variants_go_apart_and_together_again():
    rows = {"a": torch.arange(12).reshape(6, 2), "b": (torch.arange(6), None)}
    apart = by_variant(rows, 3)
    assert apart["a"].shape == (2, 3, 2)
    assert apart["b"][0].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert_alike(in_rows(apart), rows)
    listed = ByImage("abcdef")
    assert by_variant(listed, 3) == [["a", "b", "c"], ["d", "e", "f"]]
    assert in_rows(by_variant(listed, 3)) == listed
    assert joined([listed, listed]) == [*listed, *listed]
    assert describe(rows) == "a dict of tensors of 6 x 2 and 6"


SEGMENTERS = ["lraspp_mobilenet_v3_large", "deeplabv3_mobilenet_v3_large", "fcn_resnet50"]
DETECTORS = ["ssdlite320_mobilenet_v3_large", "fasterrcnn_mobilenet_v3_large_320_fpn", "retinanet_resnet50_fpn"]


def middle(network):
    convolutions = zoo.convolutions(network)
    return convolutions[len(convolutions) // 2]


@pytest.mark.slow
@pytest.mark.parametrize("name", SEGMENTERS)
def test_torchvisions_segmenters_replay(name):
    network = zoo.build(name)
    images, layer = zoo.images(network), middle(network)
    cut = cut_network(network.model, layer, images)
    assert cut.replays, cut.reason
    state = cut.front(images)
    unit = state.activation.shape[1] // 3
    (swept,) = sweep(cut, state, units=range(unit, unit + 1))
    assert_alike(swept.outputs, by_variant(ablated(network.model, layer, images, unit), len(images)))


@pytest.mark.slow
@pytest.mark.parametrize("name", DETECTORS)
def test_torchvisions_detectors_take_full_passes(name):
    network = zoo.build(name)
    images, layer = zoo.images(network, 2), middle(network)
    cut = cut_network(network.model, layer, images)
    assert "as it returns a list with an item for each image" in cut.reason
    state = cut.front(images)
    unit = state.activation.shape[1] // 3
    (swept,) = sweep(cut, state, units=range(unit, unit + 1))
    assert_alike(list(swept.outputs[0]), ablated(network.model, layer, images, unit))
