"""Convolutions by Winograd's algorithm return what the plain ones do, whatever the size of maps and batches."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import unitlens as ul
from unitlens.models.activations import Readout, reader
from unitlens.models.fast import copies, winograd
from unitlens.models.fast.copies import fast_copy, largest_difference
from unitlens.models.fast.winograd import Winograd, can_replace

FEW = {"in_channels": 64, "out_channels": 64, "kernel_size": 3, "padding": 1}


@pytest.fixture
def narrow_vectors(monkeypatch):
    """A processor on which Winograd's algorithm pays, whatever this one is."""
    monkeypatch.setattr(copies, "multiplies_wide_vectors", lambda: False)


def last(maps):
    return maps.contiguous(memory_format=torch.channels_last)


@given(
    images=st.integers(1, 5),
    sides=st.tuples(st.integers(1, 21), st.integers(1, 21)),
    padding=st.tuples(st.integers(0, 3), st.integers(0, 3)),
    units=st.sampled_from([64, 70]),
    bias=st.booleans(),
    seed=st.integers(0, 100),
)
@settings(max_examples=40, deadline=None)
def test_it_convolves(images, sides, padding, units, bias, seed):
    torch.manual_seed(seed)
    sides = tuple(max(side, 3 - 2 * pad) for side, pad in zip(sides, padding, strict=True))
    plain = nn.Conv2d(64, units, 3, padding=padding, bias=bias)
    maps = last(torch.randn(images, 64, *sides))
    with torch.inference_mode():
        expected, found = plain.double()(maps.double()), Winograd(plain.float())(maps)
    assert found.shape == expected.shape
    assert found.dtype == torch.float32
    assert largest_difference(expected, found) < 1e-4


@pytest.mark.parametrize("at_once", [(1, 1), (64 * 12, 1), (64 * 40, 5)])
def test_tiles_are_computed_in_parts_with_the_same_sums(monkeypatch, at_once):
    torch.manual_seed(0)
    plain, maps = nn.Conv2d(**FEW), last(torch.randn(5, 64, 19, 23))
    monkeypatch.setattr(winograd, "_NUMBERS_AT_ONCE", at_once[0])
    monkeypatch.setattr(winograd, "_FEWEST_TILES", at_once[1])
    with torch.inference_mode():
        assert largest_difference(plain(maps), Winograd(plain)(maps)) < 1e-4


@pytest.mark.parametrize("value", [torch.inf, -torch.inf, torch.nan, 3e38])
def test_what_is_not_finite_is_spread_no_further_than_by_the_plain_sum(value):
    torch.manual_seed(0)
    plain = nn.Conv2d(**FEW)
    fast, maps = Winograd(plain), last(torch.randn(3, 64, 16, 16))
    with torch.inference_mode():
        before = fast(maps)
        maps[1, 5, 7, 9] = value
        expected, found = plain(maps), fast(maps)
        torch.testing.assert_close(found[1], expected[1], rtol=1e-4, atol=1e-5, equal_nan=True)
        assert (~found[1].isfinite()).sum() == (0 if value == 3e38 else 64 * 9)
        assert torch.equal(found[[0, 2]], before[[0, 2]])  # other images are what they were


def test_small_maps_and_gradients_take_the_plain_sum():
    torch.manual_seed(0)
    plain = nn.Conv2d(**FEW)
    fast, maps = Winograd(plain), torch.randn(2, 64, 5, 5)
    with torch.inference_mode():
        assert torch.equal(fast(maps), plain(maps))  # of 8 x 8 outputs of tiles, 5 x 5 are asked for
        assert torch.equal(fast(maps[0]), plain(maps[0]))
        with pytest.raises(RuntimeError):
            fast(torch.randn(2, 64, 0, 5))
    maps = torch.randn(2, 64, 8, 8, requires_grad=True)
    fast(maps).sum().backward()
    assert maps.grad is not None


@pytest.mark.parametrize(
    "other",
    [
        {"stride": 2}, {"dilation": 2}, {"groups": 2}, {"kernel_size": (3, 1)}, {"padding": "same"},
        {"padding_mode": "reflect"}, {"in_channels": 32}, {"out_channels": 32}, {"dtype": torch.bfloat16},
    ],
)  # fmt: skip
def test_other_convolutions_stay_as_they_are(other):
    assert can_replace(nn.Conv2d(**FEW))
    assert not can_replace(nn.Conv2d(**(FEW | other)))


def test_convolutions_that_somebody_changed_stay_as_they_are():
    hooked, own, normed = (nn.Conv2d(**FEW) for _ in range(3))
    hooked.register_forward_pre_hook(lambda module, args: None)
    own.forward = lambda maps: maps
    torch.nn.utils.parametrizations.weight_norm(normed)
    assert not any(map(can_replace, (hooked, own, normed)))


class Wide(nn.Module):
    """Two convolutions with norms, of which one is called twice."""

    def __init__(self):
        super().__init__()
        self.first, self.norm = nn.Conv2d(3, 64, 3, padding=1), nn.BatchNorm2d(64)
        self.second, self.third = nn.Conv2d(64, 64, 3, padding=1), nn.Conv2d(64, 80, 3)

    def forward(self, x):
        x = torch.relu(self.norm(self.first(x)))
        return self.third(torch.relu(self.second(torch.relu(self.second(x)))))


class Weighing(Wide):
    """Cannot do with another kind of convolution."""

    def forward(self, x):
        if type(self.second) is not nn.Conv2d:
            raise TypeError("what is that?")
        return super().forward(x)


def net_of(model):
    torch.manual_seed(0)
    return ul.classifier(model, image_size=32, mean=(0, 0, 0), std=(1, 1, 1))


@pytest.mark.usefixtures("narrow_vectors")
def test_a_fast_copy_computes_by_it_and_the_network_does_not():
    net = net_of(Wide().eval())
    made = fast_copy(net, ["second[1]", "third"], "float32")
    assert made.notes == ()
    assert made.describe()["winograd"] == 2
    assert type(net.model.second) is nn.Conv2d
    images = net.example_inputs(5)
    with ul.evaluating(net.model):
        exact, fast = (reader(net, Readout(("second[1]", "third")), fast=copy)(images).maps for copy in (None, made))
    assert all(0 < largest_difference(maps, fast[layer]) < 1e-4 for layer, maps in exact.items())
    assert fast_copy(net, ["third"], "bfloat16").describe()["winograd"] == 0


def test_processors_that_multiply_wide_vectors_take_the_plain_sum(monkeypatch):
    monkeypatch.setattr(copies, "multiplies_wide_vectors", lambda: True)
    made = fast_copy(net_of(Wide().eval()), ["third"], "float32")
    assert made.notes == ()
    assert made.describe()["winograd"] == 0
    assert made.describe()["folded"] == 1


@pytest.mark.usefixtures("narrow_vectors")
def test_a_network_that_cannot_do_with_it_does_without_and_says_so():
    made = fast_copy(net_of(Weighing().eval()), ["third"], "float32")
    assert made.describe()["winograd"] == 0
    assert made.describe()["channels_last"]
    assert made.notes == ("Weighing is not computed by Winograd's algorithm: TypeError: what is that?.",)
