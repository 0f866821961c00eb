from typing import NamedTuple

import numpy as np
import pytest
import torch

import unitlens as ul
from tests.ablation.replay import test_zoo as replay
from tests.models import zoo


class Few:
    """A few images of noise, each with a marked half."""

    concepts = (ul.Concept("part", 1, "left"), ul.Concept("part", 2, "right"))

    def __init__(self, size, images=6):
        self.size, self.images = size, images

    def __len__(self):
        return self.images

    def __getitem__(self, index):
        rng = np.random.default_rng(index)
        image = rng.integers(0, 256, (self.size, self.size, 3)).astype(np.uint8)
        halves = np.where(np.arange(self.size) < self.size // 2, 1, 2).astype(np.uint8)
        return ul.Example(image, {"part": [np.tile(halves, (self.size, 1))]}, f"noise {index}")


class Looked(NamedTuple):
    layers: int
    layer: str  # the last that has a grid and is reached
    grid: tuple[int, int]
    layout: str


def looked_at(network, part="") -> Looked:
    """List, record at three depths, dissect at a part's last layer with a grid: nothing but the name changes."""
    net = ul.classifier(
        network.model, image_size=network.size, mean=(0.5,) * 3, std=(0.25,) * 3, name=network.name, classes=None
    )
    infos = net.layers()
    reached = [info for info in infos if info.units is not None]
    chosen = [reached[0], reached[len(reached) // 2], reached[-1]]
    names = [name_of(info) for info in chosen]
    with torch.inference_mode(), ul.record(network.model, names) as recording:
        network.model(zoo.images(network, 2))
    assert [tuple(recording[name].shape[1:]) for name in names] == [info.shape for info in chosen], network.name
    last = [info for info in reached if info.grid is not None and info.name.startswith(part)][-1]
    layer = name_of(last)
    d = ul.dissect(net, layer, Few(network.size), quantile=0.25, batch_size=3, exemplars=0, evidence=False)
    assert (d.info["layers"][layer]["units"], d.info["layers"][layer]["grid"]) == (last.units, list(last.grid))
    assert len(d.table()) == last.units
    assert not d.table()["nonfinite"].any()
    assert d.table()["silent"].mean() < 0.5, (network.name, layer)
    return Looked(len(infos), layer, last.grid, last.layout)


def name_of(info) -> str:
    """The first call, which the list describes."""
    name, _, item = info.name.partition(":")
    return info.name if info.calls == 1 else f"{name}[0]{item and ':'}{item}"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*tokens, in front", "ignore:.*too coarse")
@pytest.mark.parametrize("name", replay.documented())
def test_every_torchvision_classifier_is_looked_at_and_replays_as_the_document_says(name):
    """One test for both: building a network takes longer than looking at it."""
    network = next(zoo.walk([name]))
    flags = [module.training for module in network.model.modules()]
    looked_at(network)
    assert replay.row(name, replay.both_ends(network)) == replay.documented()[name]
    assert flags == [module.training for module in network.model.modules()]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*too coarse")
def test_every_segmentation_and_detection_network_is_looked_at():
    """Of detection networks the backbone, whose maps are of the whole image; boxes are not."""
    from torchvision.models import detection, list_models

    with_boxes, failed = list_models(module=detection), {}
    for network in zoo.walk(zoo.dense_names()):
        try:
            looked = looked_at(network, "backbone" if network.name in with_boxes else "")
        except (ul.UnitlensError, AssertionError) as error:
            failed[network.name] = str(error)
        else:
            assert looked.layout == "channels_first", network.name
    assert failed == {}
    assert len(zoo.dense_names()) >= 18


@pytest.mark.parametrize(
    ("spec", "what"),
    [
        ("r3d_18", "r3d_18 of torchvision is left out, as it looks at video: "),
        ("torchvision.models.video:swin3d_t", "swin3d_t of torchvision is left out, as it looks at video: "),
        ("raft_small", "raft_small of torchvision is left out, as it compares two images: "),
        (
            "torchvision.models.quantization:resnet18",
            "quantized_resnet18 of torchvision is left out, as it computes in whole numbers: ",
        ),
    ],
)
def test_what_is_left_out_is_said(spec, what):
    with pytest.raises(ul.UnitlensError, match=f"^{what}unitlens shows a network single images, in floating-point"):
        ul.load(spec, weights="none")


def test_every_network_of_torchvision_is_looked_at_or_left_out():
    from torchvision import models

    from unitlens.models.torchvision import other_names, zoo_names

    assert {*zoo_names(), *other_names()} == set(models.list_models())
    assert {*zoo.names(), *zoo.dense_names()} == set(zoo_names())


@pytest.mark.parametrize(
    ("name", "part", "layer"),
    [
        ("lraspp_mobilenet_v3_large", "", "classifier"),
        ("fasterrcnn_mobilenet_v3_large_320_fpn", "backbone", "backbone:1"),
    ],
)
@pytest.mark.filterwarnings("ignore:.*too coarse")
def test_a_segmentation_and_a_detection_network_are_looked_at(name, part, layer):
    assert looked_at(zoo.build(name), part).layer == layer


@pytest.mark.parametrize(
    ("name", "layout"),
    [
        ("shufflenet_v2_x0_5", "channels_first"),
        pytest.param("vit_b_32", "tokens", marks=pytest.mark.slow),  # 88 million weights to draw
        pytest.param("swin_t", "channels_first", marks=pytest.mark.slow),
    ],
)
@pytest.mark.filterwarnings("ignore:.*tokens, in front", "ignore:.*too coarse")
def test_networks_of_three_kinds_are_looked_at_by_their_name_alone(name, layout):
    looked = looked_at(zoo.build(name))
    assert looked.layout == layout
    assert looked.grid == (2, 2)
