"""A fast copy gives what the network gives, up to rounding, or says what it does without."""

from typing import get_args

import pytest
import torch
from torch import nn

import unitlens as ul
from tests.models.fast.test_folding import Plain, settle
from tests.models.hooks.hooked import Net, assert_as_before, state_of
from unitlens.cli.options import PRECISIONS, with_precisions
from unitlens.models.activations import Readout, reader
from unitlens.models.fast.copies import fast_copy, largest_difference
from unitlens.models.fast.precision import Fast, chosen_precision
from unitlens.models.fast.processor import lacks_bfloat16


def net_of(model):
    return ul.classifier(model, image_size=8, mean=(0, 0, 0), std=(1, 1, 1))


def differences(net, layers, made, tap="output"):
    """The largest difference of each layer, in what a dissection reads."""
    images = net.example_inputs(5)
    with ul.evaluating(net.model):
        exact = reader(net, Readout(tuple(layers), tap))(images).maps
        fast = reader(net, Readout(tuple(layers), tap), fast=made)(images).maps
    assert all(fast[layer].dtype == maps.dtype and fast[layer].shape == maps.shape for layer, maps in exact.items())
    return {layer: largest_difference(maps, fast[layer]) for layer, maps in exact.items()}


@pytest.mark.parametrize("tap", ["output", "after_inplace"])
@pytest.mark.parametrize(("precision", "allowed"), [("float32", 1e-5), ("bfloat16", 0.05)])
def test_layers_return_what_they_did_and_the_network_is_not_touched(precision, allowed, tap):
    torch.manual_seed(0)
    model = settle(Net())
    model.train()  # also of a network in training mode, the copy computes in evaluation mode
    before = state_of(model)
    net, layers = net_of(model), ["conv", "norm", "relu[0]", "pack:one.0"]
    made = fast_copy(net, layers, precision)
    assert_as_before(before, state_of(model))
    assert made.notes == ("No batch norm of Net stands alone behind a convolution, to be folded into it.",)
    found = differences(net, layers, made, tap)
    assert max(found.values()) < allowed
    made = fast_copy(net, ["norm"], precision)
    assert made.describe() == {"precision": precision, "channels_last": True, "folded": 1, "norms": 1, "winograd": 0}
    assert made.notes == ()
    assert differences(net, ["norm"], made, tap)["norm"] < allowed
    assert_as_before(before, state_of(model))


class Viewing(Plain):
    """Takes it that rows lie behind each other."""

    def forward(self, x):
        x = self.norm(self.conv(x))
        return x.view(len(x), -1)


class Typed(Plain):
    """Computes with numbers of a type of its own."""

    def forward(self, x):
        return self.norm(self.conv(x)).flatten(1) @ torch.ones(256, 2)


class Peeking(Plain):
    """Looks at the weights of its norm."""

    def forward(self, x):
        return self.norm(self.conv(x)) + self.norm.running_mean.mean()


class Stubborn(Plain):
    """Cannot be copied."""

    def __deepcopy__(self, memo):
        raise TypeError("there is only one of me")


@pytest.mark.parametrize(
    ("kind", "precision", "words", "left"),
    [
        (Viewing, "float32", "Viewing is not computed channels last: RuntimeError: view size", (1, False, "float32")),
        (Typed, "bfloat16", "Typed is not computed in bfloat16: RuntimeError", (1, True, "float32")),
        (Peeking, "float32", "with its batch norms folded: AttributeError", (0, True, "float32")),
        (Stubborn, "float32", "computes no faster than by itself: TypeError: there is only one", (0, False, "float32")),
    ],
)
def test_what_cannot_be_done_is_left_out_with_a_sentence(kind, precision, words, left):
    net = net_of(settle(kind()))
    made = fast_copy(net, ["norm"], precision)
    (note,) = made.notes
    assert words in note
    described = made.describe()
    assert (described["folded"], described["channels_last"], described["precision"]) == left
    assert differences(net, ["norm"], made)["norm"] < 1e-5


class Chaotic(nn.Module):
    """Blows rounding up."""

    def forward(self, x):
        return torch.sin(x * 1e9)


def test_a_layer_that_rounding_changes_too_much_is_computed_as_it_is():
    net = net_of(settle(nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), Chaotic())))
    made = fast_copy(net, ["2"], "bfloat16")
    assert "2 is off by" in made.notes[0]
    assert differences(net, ["2"], made)["2"] == 0


def test_an_activation_that_is_not_finite_is_compared_where_it_is():
    exact = torch.tensor([1.0, float("nan"), float("inf"), 2.0])
    assert largest_difference(exact, torch.tensor([1.5, 0.0, 0.0, 2.0])) == 0.25
    assert largest_difference(exact[1:3], exact[1:3]) == 0


def test_generators_draw_with_a_fast_copy():
    class Drawing(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.ConvTranspose2d(5, 4, 8)
            self.norm, self.last = nn.BatchNorm2d(4), nn.Conv2d(4, 3, 1)

        def forward(self, z):
            return torch.tanh(self.last(self.norm(self.layer(z))))

    net = ul.generator(settle(Drawing()), latents=(5, 1, 1))
    made = fast_copy(net, ["norm"], "bfloat16")
    latents = net.example_inputs(2)
    with ul.evaluating(net.model):
        exact, fast = (reader(net, Readout(("norm",)), fast=copy)(latents) for copy in (None, made))
    assert made.describe()["folded"] == 1
    assert fast.outputs.dtype == exact.outputs.dtype
    assert (net.images(latents, exact.outputs).int() - net.images(latents, fast.outputs).int()).abs().max() < 30


def test_only_processors_may_lack_bfloat16():
    assert not lacks_bfloat16(torch.device("cuda"))
    assert lacks_bfloat16(torch.device("cpu")) in (True, False)


def test_what_fast_takes_is_checked():
    assert [chosen_precision(given) for given in (False, None, True, "float32", "bfloat16")] == [
        None, None, "float32", "float32", "bfloat16",
    ]  # fmt: skip
    with pytest.raises(ul.UnitlensError, match=r"fast='bfloat' is not.*did you mean bfloat16.*float32 or"):
        chosen_precision("bfloat")
    with pytest.raises(ul.UnitlensError, match="fast=16"):
        chosen_precision(16)


def test_the_shell_takes_the_same_and_float32_by_itself():
    assert get_args(Fast) == PRECISIONS
    assert with_precisions(["a", "--fast"]) == ["a", "--fast=float32"]
    assert with_precisions(["--fast", "bfloat16", "--fast=float32"]) == ["--fast", "bfloat16", "--fast=float32"]
