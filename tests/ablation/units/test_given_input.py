"""What people give as units, values, positions and classes; and units that lie along the last dimension."""

import numpy as np
import pytest
import torch
from torch import nn

import unitlens as ul
from unitlens.ablation.interventions import Replacement
from unitlens.data.classes import classes_of, join_classes

ERROR = ul.UnitlensError
IMAGES = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(1))


class Tokens(nn.Module):
    """A grid of 4 x 4 patches and a class token, each of 6 units; then a grid with the units last."""

    def __init__(self):
        super().__init__()
        self.patches, self.mixed, self.last = nn.Conv2d(3, 6, 2, 2), nn.Linear(6, 6), nn.Linear(6, 5)

    def forward(self, images):
        tokens = self.patches(images).flatten(2).transpose(1, 2)
        tokens = self.mixed(torch.cat([tokens.mean(1, keepdim=True), tokens], 1))
        grid = self.last(tokens[:, 1:].reshape(-1, 4, 4, 6))
        return grid.view(images.shape[0], -1).reshape(images.shape[0], -1, 5).mean(1) + tokens[:, 0, :5]


class Few:
    concepts = ()

    def __init__(self, *classes):
        self.given = classes

    def __len__(self):
        return len(self.given)

    def __getitem__(self, index):
        image = np.random.default_rng(index).integers(0, 256, (8, 8, 3), dtype=np.uint8)
        return ul.Example(image, {}, f"{index}.png", self.given[index])


def tokens():
    torch.manual_seed(0)
    return Tokens().eval()


def network():
    return ul.classifier(tokens(), image_size=8, mean=(0, 0, 0), std=(1, 1, 1))


def by_hand(model, layer, units):
    def ablate(module, args, output):
        output = output.clone()
        output[..., units] = 0
        return output

    handle = model.get_submodule(layer).register_forward_hook(ablate)
    with torch.no_grad():
        outputs = model(IMAGES)
    handle.remove()
    return outputs


@pytest.mark.parametrize("layer", ["mixed", "last"])
@pytest.mark.parametrize("wrapped", [True, False])
def test_units_that_lie_last_are_ablated_and_not_tokens_or_rows(layer, wrapped):
    model = tokens()
    net = ul.classifier(model, image_size=8, mean=(0, 0, 0), std=(1, 1, 1)) if wrapped else model
    with torch.no_grad(), ul.intervening(net, ul.Intervention(layer, [1, 4])):
        ablated, named = model(IMAGES), model(images=IMAGES)
    torch.testing.assert_close(ablated, by_hand(model, layer, [1, 4]))
    assert torch.equal(ablated, named)
    assert not torch.allclose(ablated, model(IMAGES))
    assert not any(module._forward_pre_hooks or module._forward_hooks for module in model.modules())


def test_the_units_of_tokens_have_a_range():
    model, outside = tokens(), ul.Intervention("mixed", [6])
    with pytest.raises(ERROR, match="mixed has 6 units, 0 to 5; unit 6 is not among"), ul.intervening(model, outside):
        model(IMAGES)


def test_tokens_that_are_no_patches_have_no_units_to_ablate():
    model = nn.Sequential(nn.Flatten(), nn.Unflatten(1, (96, 2)), nn.Linear(2, 7))
    with pytest.raises(ERROR, match="no units that could be ablated"), ul.intervening(model, ul.Intervention("2", [0])):
        model(IMAGES)


def test_without_images_units_lie_along_dimension_1():
    model = nn.Sequential(nn.Conv1d(3, 4, 1))
    with torch.no_grad(), ul.intervening(model, ul.Intervention("0", [2])):
        assert (model(torch.ones(1, 3, 5))[:, 2] == 0).all()


@pytest.mark.parametrize("units", [True, [False], 1.7, [1.0], "ab", ["1"], np.array([[1, 2]]), None])
def test_units_that_are_no_whole_numbers(units):
    with pytest.raises(ERROR, match=r"Units are whole numbers from 0|No units of"):
        ul.ablate(network(), "patches", units, Few(0, 1), draws=0)


@pytest.mark.parametrize("units", [np.int64(2), torch.tensor(2), np.array([2]), {2}, range(2, 3), iter([2])])
def test_units_in_any_collection_of_whole_numbers(units):
    net = network()
    assert ul.ablate(net, "patches", units, Few(0, 1), draws=0).units == (2,)


@pytest.mark.parametrize("values", [np.array([1.0, 2.0]), [1.0, 2.0], torch.tensor([1.0, 2.0])])
def test_values_and_positions_in_arrays_and_lists(values):
    where = np.zeros((2, 2), bool)
    where[0, 1] = True
    after = ul.Intervention("l", [0, 2], values, where=where).on(torch.zeros(1, 3, 2, 2))
    assert after[0, :, 0, 1].tolist() == [1, 0, 2]
    assert after.sum() == 3
    replaced = Replacement(values, where=where).values(torch.zeros(1, 2, 2, 2))
    assert replaced[0, :, 0, 1].tolist() == [1, 2]


@pytest.mark.parametrize("make", [lambda **how: ul.Intervention("l", [0], **how), Replacement])
@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"value": None}, "value is None; units are set to a number, to a tensor, array or list of numbers"),
        ({"value": ["a"]}, "value is \\['a'\\]"),
        ({"scale": "2"}, "scale is '2'; it is the one number"),
        ({"where": "left"}, "where is 'left'; it is a tensor: bool"),
        ({"where": np.ones((2, 2), int)}, "where is of torch.int64; it is bool"),
        ({"value": torch.tensor([1.0, float("nan")])}, "finite"),
        ({"scale": float("inf")}, "finite"),
    ],
)
def test_what_units_cannot_be_set_to(make, how, said):
    with pytest.raises(ERROR, match=said):
        make(**how)


def test_an_intervention_does_not_know_means():
    with pytest.raises(ERROR, match=r"ul\.ablate and ul\.importance take 'mean'"):
        ul.Intervention("l", [0], "mean")


def test_classes_of_other_types():
    assert join_classes(Few(np.int64(0), np.int64(2)), None, 3).output_of == {"0": 0, "2": 2}
    with pytest.raises(ERROR, match=r"A class is a name or a whole number, not 1\.5"):
        classes_of(Few(1.5, None))


def test_a_curve_of_nothing():
    net = network()
    data = Few(*range(5), *range(5), *range(5), *range(5))
    with pytest.raises(ERROR, match="A curve needs numbers of units"):
        ul.ablation_curve(net, "patches", 0, data, sizes=[])
    with pytest.raises(ERROR, match="-1 sets cannot be drawn"):
        ul.ablation_curve(net, "patches", 0, data, top=2, draws=-1)


def test_a_curve_as_long_as_the_few_of_the_paper_says_it_once():
    net = network()
    data = Few(*range(5), *range(5), *range(5), *range(5))
    said = ul.ablation_curve(net, "patches", 0, data, top=4, draws=1).paper_table()["what"]
    assert said.str.contains("4 most important").sum() == 1
