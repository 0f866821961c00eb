"""A pass that ends behind the deepest layer gives what a whole pass gives."""

import random

import pytest
import torch
from torch import nn
from torch.nn import functional

import unitlens as ul
from tests.models.hooks.hooked import Net, assert_as_before, state_of
from unitlens.models.activations import Readout, reader
from unitlens.models.fast.ending import EndingPasses

WHOLE = 2
"""Whole passes: the first one, and one that is watched for decisions."""


class Counting(nn.Module):
    """Counts its calls where no network looks for it."""

    def __init__(self):
        super().__init__()
        self.seen = Seen()

    def forward(self, x):
        self.seen.calls += 1
        return x


class Seen:
    calls = 0


class Block(nn.Module):
    """A residual block that adds and rectifies in place: what the convolution returned is overwritten."""

    def __init__(self, units=4):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(units, units, 3, padding=1), nn.BatchNorm2d(units)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x):
        y = self.norm(self.conv(x))
        y += x
        return self.relu(y)


class Branching(nn.Module):
    """Layers with several calls, tuples, functions in place, and something behind that counts."""

    def __init__(self):
        super().__init__()
        self.stem, self.block, self.behind = nn.Conv2d(3, 4, 3), Block(), Counting()
        self.pair, self.head = Pair(), nn.Linear(4, 3)

    def forward(self, x):
        x = self.block(self.block(self.stem(x)))
        first, second = self.pair(x)
        functional.relu_(first)
        second.mul_(2)
        return self.head(self.behind(first + second).mean((2, 3)))


class Pair(nn.Module):
    def forward(self, x):
        return x - 1, x + 1


def net_of(model):
    return ul.classifier(model.eval(), image_size=8, mean=(0, 0, 0), std=(1, 1, 1))


def batches(count=4):
    draw = torch.Generator().manual_seed(0)
    return [torch.randn(2, 3, 8, 8, generator=draw) for _ in range(count)]


def maps(net, layers, tap, *, outputs):
    read = reader(net, Readout(tuple(layers), tap), outputs=outputs)
    with ul.evaluating(net.model):
        return [{name: found.clone() for name, found in read(images).maps.items()} for images in batches()]


def assert_equal(ended, whole):
    for one, other in zip(ended, whole, strict=True):
        assert one.keys() == other.keys()
        assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.fixture(scope="module")
def branching():
    torch.manual_seed(0)
    return net_of(Branching())


@pytest.mark.parametrize("tap", ["output", "after_inplace"])
@pytest.mark.parametrize(
    "layers", [["stem"], ["block.norm[1]", "stem"], ["block.conv[0]"], ["block[1]"], ["pair:0", "pair:1", "block[0]"]]
)
def test_what_is_read_is_what_a_whole_pass_gives_and_what_lies_behind_is_not_computed(branching, layers, tap):
    whole = maps(branching, layers, tap, outputs=True)
    branching.model.behind.seen.calls = 0
    before = state_of(branching.model)
    assert_equal(maps(branching, layers, tap, outputs=False), whole)
    assert branching.model.behind.seen.calls == WHOLE
    assert_as_before(before, state_of(branching.model))


@pytest.mark.parametrize("layer", ["conv", "norm", "relu[0]", "relu[1]", "again[0]", "conv2[1]", "pack:two.1"])
@pytest.mark.parametrize("tap", ["output", "after_inplace"])
def test_layers_of_every_kind_are_read_as_in_a_whole_pass(layer, tap):
    net = net_of(Net())
    assert_equal(maps(net, [layer], tap, outputs=False), maps(net, [layer], tap, outputs=True))


class Late(nn.Module):
    """Writes to a layer's memory when every module is over."""

    def __init__(self):
        super().__init__()
        self.conv, self.behind = nn.Conv2d(3, 2, 1), Counting()

    def forward(self, x):
        x = self.conv(x)
        y = self.behind(x).mean((2, 3))
        x.relu_()
        return y + x.mean((2, 3))


def test_memory_that_is_written_to_at_the_very_end_is_read_at_the_very_end():
    net = net_of(Late())
    assert_equal(*(maps(net, ["conv"], "after_inplace", outputs=outputs) for outputs in (False, True)))
    assert net.model.behind.seen.calls == 8
    net.model.behind.seen.calls = 0
    maps(net, ["conv"], "output", outputs=False)
    assert net.model.behind.seen.calls == WHOLE


@pytest.mark.parametrize("layer", ["unused", "relu", "pair", "stem[1]"])
def test_a_layer_that_cannot_be_read_gets_the_sentence_of_a_whole_pass(branching, layer):
    net = net_of(Net()) if layer in ("unused", "relu") else branching
    said = []
    for outputs in (True, False):
        with pytest.raises(ul.UnitlensError) as error:
            maps(net, [layer], "output", outputs=outputs)
        said.append(str(error.value))
    assert said[0] == said[1]


class Remembering(nn.Sequential):
    """Adds what its last pass came to."""

    last = 0.0

    def forward(self, x):
        x = super().forward(x + self.last)
        self.last = float(x.mean())
        return x


class InBuffer(nn.Sequential):
    def __init__(self, *layers):
        super().__init__(*layers)
        self.register_buffer("last", torch.zeros(()))

    def forward(self, x):
        for layer in self.children():
            x = layer(x + self.last)
        self.last.copy_(x.mean())
        return x


class InList(nn.Sequential):
    def __init__(self, *layers):
        super().__init__(*layers)
        self.seen = [0.0]

    def forward(self, x):
        x = super().forward(x + self.seen[-1])
        self.seen.append(float(x.mean()))
        return x


class Drawing(nn.Sequential):
    def forward(self, x):
        x = super().forward(x + torch.rand(()) + random.random())
        return x + torch.rand(()) + random.random()


@pytest.mark.parametrize("kind", [Remembering, InBuffer, InList, Drawing])
def test_a_network_whose_passes_depend_on_the_ones_before_runs_to_the_end(kind):
    found = []
    for outputs in (True, False):
        torch.manual_seed(0)
        random.seed(0)
        net = net_of(kind(nn.Conv2d(3, 2, 1), Counting()))
        found.append(maps(net, ["0"], "output", outputs=outputs))
        assert net.model[1].seen.calls == 4
    assert_equal(*found)


class Patching(nn.Sequential):
    """Changes a part of itself while it runs, and has it as it was only if nothing is in the way."""

    cache = None

    def forward(self, x):
        if self.cache is None:
            self.cache = torch.ones(())
        self[0].forward = self[0].__class__.forward.__get__(self[0])
        x = super().forward(x)
        del self[0].forward
        return x


def test_what_a_network_changed_for_the_pass_is_put_back_where_the_pass_ends_before():
    net = net_of(Patching(nn.Conv2d(3, 2, 1), Counting()))
    read = reader(net, Readout(("0",)), outputs=False)
    with ul.evaluating(net.model):
        for images in batches():
            read(images)
            assert "forward" not in vars(net.model[0])
    assert net.model[1].seen.calls == WHOLE + 1  # in its first pass it filled a cache, so that the second one counted


def test_hooks_of_ones_own_get_every_pass_as_a_whole(branching):
    seen = []
    hook = branching.model.head.register_forward_hook(lambda *args: seen.append(1))
    try:
        maps(branching, ["stem"], "output", outputs=False)
    finally:
        hook.remove()
    assert len(seen) == 4


def test_a_network_that_catches_its_errors_is_left_all_the_same():
    class Catching(nn.Sequential):
        def forward(self, x):
            try:
                return super().forward(x)
            except Exception:
                return x

    net = net_of(Catching(nn.Conv2d(3, 2, 1), Counting()))
    maps(net, ["0"], "output", outputs=False)
    assert net.model[1].seen.calls == WHOLE


def test_an_error_of_the_network_is_passed_on():
    class Failing(nn.Module):
        def forward(self, x):
            raise ValueError("too dark")

    net = net_of(nn.Sequential(nn.Conv2d(3, 2, 1), Failing()))
    with pytest.raises(ul.UnitlensError, match="too dark"):
        maps(net, ["0"], "output", outputs=False)


def test_the_output_of_the_network_is_none_where_the_pass_ended_before(branching):
    run = EndingPasses(branching.model, ["stem"])
    with ul.evaluating(branching.model):
        assert [run(images)[1] is None for images in batches()] == [False, True, True, True]
        assert run.whole is False
