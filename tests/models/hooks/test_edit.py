"""What layers return in containers, what an edit makes of it, and the gradients of both."""

import collections
import dataclasses
import types

import pytest
import torch
from torch import nn

from tests.models.hooks.hooked import Make, Net
from unitlens.models.hooks import edit, record


@pytest.fixture
def net():
    torch.manual_seed(0)
    return Net()


@pytest.fixture
def x():
    return torch.randn(2, 3, 6, 6, generator=torch.Generator().manual_seed(1))


# ---- containers


Pair = collections.namedtuple("Pair", "left right")


@dataclasses.dataclass(frozen=True)
class Frozen:
    left: torch.Tensor
    right: torch.Tensor


class Output(collections.OrderedDict):
    """Like the outputs of the transformers library: a mapping with attributes."""

    def __setitem__(self, key, value):
        super().__setitem__(key, value)
        self.__dict__[key] = value


MAKERS = {
    "tuple": (lambda x: (x, x * 2), "0", "1"),
    "list": (lambda x: [x, x * 2], "0", "1"),
    "dict": (lambda x: {"a": x, 7: x * 2}, "a", "7"),
    "dotted": (lambda x: {"a.b": x, "a.c": x * 2}, "a.b", "a.c"),
    "nested": (lambda x: (x, {"h": [None, (3, x * 2)]}), "0", "1.h.1.1"),
    "named tuple": (lambda x: Pair(x, x * 2), "0", "1"),
    "torch's own": (lambda x: torch.aminmax(torch.stack([x, x * 2]), dim=0), "0", "1"),
    "frozen dataclass": (lambda x: Frozen(x, x * 2), "left", "right"),
    "mapping with attributes": (lambda x: Output(left=x, right=x * 2), "left", "right"),
    "read-only mapping": (lambda x: types.MappingProxyType({"a": x, "b": x * 2}), "a", "b"),
}


@pytest.mark.parametrize("kind", MAKERS)
def test_items_of_containers_are_recorded_and_edited(kind):
    make, one, two = MAKERS[kind]
    net, x = Make(make), torch.ones(2, 3)
    with record(net, [f"layer:{one}", f"layer[0]:{two}"]) as recording:
        untouched = net(x)
    assert torch.equal(recording[f"layer:{one}"], x)
    assert torch.equal(recording[f"layer[0]:{two}"], x * 2)
    with edit(net, {f"layer:{two}": lambda t: t + 5}), record(net, [f"layer:{one}", f"layer:{two}"]) as recording:
        edited = net(x)
    assert torch.equal(recording[f"layer:{one}"], x)
    assert torch.equal(recording[f"layer:{two}"], x * 2 + 5)
    assert kind == "read-only mapping" or type(edited) is type(untouched)
    if kind == "mapping with attributes":
        assert torch.equal(edited.right, x * 2 + 5)


def test_an_edit_leaves_the_layers_own_container_alone():
    own = {"a": torch.ones(1), "b": [torch.ones(1)]}
    net = Make(lambda x: own)
    with edit(net, {"layer:b": torch.zeros_like}):
        assert net(torch.ones(1))["b"][0].item() == 0
    assert own["b"][0].item() == 1


@pytest.mark.parametrize("make", [lambda x: (x, None), lambda x: [[x]], lambda x: {"a": 3, "b": x}])
def test_a_container_with_one_tensor_needs_no_item(make):
    net = Make(make)
    with edit(net, {"layer": lambda t: t + 1}), record(net, "layer") as recording:
        net(torch.zeros(1))
    assert recording["layer"].item() == 1


def test_an_lstm():
    net = nn.Sequential(nn.LSTM(3, 4, batch_first=True))
    with record(net, ["0:0", "0:1.1"]) as recording:
        out, (_, cell) = net(torch.ones(2, 5, 3))
    assert torch.equal(recording["0:0"], out)
    assert torch.equal(recording["0:1.1"], cell)


# ---- edit


def test_an_edit_replaces_what_the_layer_returns(net, x):
    with edit(net, {"head.1": torch.zeros_like}):
        out = net(x)
    assert torch.equal(out, net.head[2].bias.expand(2, 5))


def test_an_edit_of_one_call_leaves_the_other(net, x):
    net.eval()
    with edit(net, {"relu[1]": torch.zeros_like}), record(net, ["relu[0]", "relu[1]"]) as recording:
        net(x)
    assert recording["relu[0]"].any()
    assert not recording["relu[1]"].any()


def test_edits_of_several_layers_and_of_one_layer_twice(net, x):
    with edit(net, {"conv": torch.zeros_like, "head": lambda t: t * 0 + 1, "head[0]": lambda t: t + 2}):
        assert torch.equal(net(x), torch.full((2, 5), 3.0))


def test_hooks_act_in_the_order_in_which_they_were_opened(net, x):
    net.eval()
    with record(net, "conv") as around, edit(net, {"conv": torch.zeros_like}), record(net, "conv") as within:
        net(x)
    assert torch.equal(around["conv"], net.conv(x))
    assert not within["conv"].any()


def test_an_edit_may_write_into_what_it_gets_without_touching_the_layers_input():
    class Skip(nn.Module):
        def __init__(self):
            super().__init__()
            self.same = nn.Identity()

        def forward(self, x):
            return self.same(x), x

    def write(t):
        t[:] = 9
        return t

    net = Skip()
    with edit(net, {"same": write}):
        edited, skipped = net(torch.zeros(2))
    assert edited.tolist() == [9, 9]
    assert skipped.tolist() == [0, 0]


@pytest.mark.parametrize("make", [lambda bank, t: bank, lambda bank, t: bank[:1].expand_as(t)])
def test_what_an_edit_returns_is_not_overwritten_by_the_network(make):
    net = nn.Sequential(nn.Identity(), nn.ReLU(inplace=True))
    bank = torch.full((2, 3), -1.0)
    with edit(net, {"0": lambda t: make(bank, t)}):
        assert not net(torch.ones(2, 3)).any()
    assert (bank == -1).all()


def test_an_edit_acts_on_a_part_that_is_run_by_itself(net, x):
    with edit(net, {"head.2": torch.zeros_like}):
        assert not net.head(torch.ones(2, 4, 3, 3)).any()
        assert not net.head(torch.ones(2, 4, 3, 3)).any()


def test_a_recorded_layer_can_be_read_inside_the_pass(net, x):
    net.eval()
    with (
        record(net, "conv") as recording,
        edit(net, {"norm": lambda t: recording["conv"]}),
        record(net, "norm") as norm,
    ):
        net(x)
    assert torch.equal(norm["norm"], net.conv(x))


# ---- gradients


def test_gradients_flow_from_what_is_recorded(net, x):
    x.requires_grad_()
    with record(net, "conv") as recording:
        net(x)
    (got,) = torch.autograd.grad(recording["conv"].sum(), x)
    (wanted,) = torch.autograd.grad(net.conv(x).sum(), x)
    assert torch.equal(got, wanted)


def test_outcomes_have_gradients_with_respect_to_the_tensor_after_inplace(net, x):
    with record(net, "pack:one", tap="after_inplace") as recording:
        out = net(x)
    (gradient,) = torch.autograd.grad(out[:, 0].sum(), recording["pack:one"])
    wanted = (net.head[2].weight[0] / 36)[None, :, None, None].expand(2, 4, 6, 6)
    assert torch.allclose(gradient, wanted)


def test_gradients_flow_through_an_edit(net, x):
    x.requires_grad_()
    scale = torch.tensor(2.0, requires_grad=True)
    with edit(net, {"conv": lambda t: t * scale}):
        net(x).square().sum().backward()
    assert x.grad.any()
    assert net.conv.weight.grad.any()
    assert scale.grad != 0


def test_an_edit_in_place_in_front_of_an_in_place_relu_has_gradients(net, x):
    def write(t):
        t[:, 0] = 0
        return t

    with edit(net, {"conv": write, "relu[0]": write}):
        net(x).sum().backward()
    assert not net.conv.weight.grad[0].any()
    assert net.conv.weight.grad[1:].any()
