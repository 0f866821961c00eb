"""record and edit: law 1 in all its cases, and what is recorded."""

import gc
import weakref

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from tests.models.hooks.hooked import Net, OwnError, assert_as_before, state_of
from unitlens.errors import UnitlensError
from unitlens.models.hooks import edit, record


@pytest.fixture
def net():
    torch.manual_seed(0)
    return Net()


@pytest.fixture
def x():
    return torch.randn(2, 3, 6, 6, generator=torch.Generator().manual_seed(1))


def bad_edit(t):
    raise OwnError("edit")


def interrupted(t):
    raise KeyboardInterrupt


# (what goes wrong, layers, function of the edit, what the pass is given, raised in the body, error expected)
CASES = {
    "success": (["conv", "relu[1]", "head"], torch.relu, None, None, None),
    "error in the body": (["conv", "head"], torch.relu, None, OwnError("body"), OwnError),
    "interrupt in the body": (["conv", "head"], torch.relu, None, KeyboardInterrupt(), KeyboardInterrupt),
    "exit in the body": (["conv", "head"], torch.relu, None, SystemExit(1), SystemExit),
    "error in forward": (["conv", "head"], torch.relu, OwnError("forward"), None, OwnError),
    "interrupt in forward": (["conv", "head"], torch.relu, KeyboardInterrupt(), None, KeyboardInterrupt),
    "wrong layer": (["cnov"], torch.relu, None, None, UnitlensError),
    "wrong second layer": (["conv", "cnov"], torch.relu, None, None, UnitlensError),
    "wrong kind of name": (["conv", 3], torch.relu, None, None, UnitlensError),
    "wrong call": (["conv[7]"], torch.relu, None, None, UnitlensError),
    "open call": (["conv", "relu"], torch.relu, None, None, UnitlensError),
    "wrong item": (["conv", "pack:three"], torch.relu, None, None, UnitlensError),
    "open item": (["conv", "pack"], torch.relu, None, None, UnitlensError),
    "never reached": (["conv", "unused"], torch.relu, None, None, UnitlensError),
    "error in the edit": (["conv", "again[0]"], bad_edit, None, None, OwnError),
    "interrupt in the edit": (["conv"], interrupted, None, None, KeyboardInterrupt),
    "edit of another shape": (["conv"], lambda t: t[:1], None, None, UnitlensError),
    "edit of nothing": (["conv"], lambda t: None, None, None, UnitlensError),
}


def use(verb, model, x, layers, function, fail, raised):
    """Everything a user does with record or edit, reading included."""
    opened = record(model, layers) if verb == "record" else edit(model, dict.fromkeys(layers, function))
    with opened as recording:
        model(x, fail=fail)
        if raised is not None:
            raise raised
    if verb == "record":
        for layer in layers:
            recording[layer]


@pytest.mark.parametrize("with_user_hooks", [False, True])
@pytest.mark.parametrize("grad", [False, True])
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("verb", ["record", "edit"])
def test_law_1_a_model_is_as_before_whatever_happened(verb, case, training, grad, with_user_hooks, net, x):
    layers, function, fail, raised, error = CASES[case]
    if verb == "record" and "edit" in case:
        error = None  # nothing is edited there
    net.train(training)
    net.head[0].train(not training)
    net.norm.momentum = 0.0  # the running statistics stay, so that a change of a buffer is ours
    net.norm.num_batches_tracked = None
    if with_user_hooks:
        net.conv.register_forward_hook(lambda module, args, kwargs, output: None, with_kwargs=True)
        net.register_forward_pre_hook(lambda module, args, kwargs: None, with_kwargs=True, prepend=True)
        net.relu.register_forward_hook(lambda module, args, output: None, always_call=True)
        net.head[2].register_full_backward_hook(lambda module, inward, outward: None)
    with torch.set_grad_enabled(grad):
        before = state_of(net)
        if error is None:
            use(verb, net, x, layers, function, fail, raised)
        else:
            with pytest.raises(error):
                use(verb, net, x, layers, function, fail, raised)
        assert_as_before(before, state_of(net))


def test_nothing_is_attached_before_the_with(net):
    before = state_of(net)
    record(net, "conv")
    edit(net, {"conv": torch.relu})
    record(net, "cnov")
    assert_as_before(before, state_of(net))


def test_hooks_are_there_inside_so_that_the_law_can_fail(net):
    before = state_of(net)
    with record(net, "conv"):
        assert state_of(net)["hooks"] != before["hooks"]


@settings(max_examples=50)
@given(
    st.lists(st.sampled_from(["conv", "norm", "relu[0]", "relu[1]", "pack:two.1", "head", ""]), max_size=6), st.data()
)
def test_any_nesting_of_record_and_edit_is_undone_and_changes_nothing(layers, data):
    torch.manual_seed(0)
    net, x = Net().eval(), torch.ones(1, 3, 5, 5)
    before, plain = state_of(net), net(x)

    def inside(rest):
        if not rest:
            assert torch.equal(net(x), plain)
        elif data.draw(st.booleans()):
            with record(net, rest):
                inside(rest[1:])
        else:
            with edit(net, {rest[0]: lambda t: t}):
                inside(rest[1:])

    inside(layers)
    assert_as_before(before, state_of(net))


# ---- record


def test_several_layers_in_one_pass(net, x):
    net.eval()
    with record(net, ["conv", "norm", "head.2"]) as recording:
        out = net(x)
    conv = net.conv(x)
    assert torch.equal(recording["conv"], conv)
    assert torch.equal(recording["norm"], net.norm(conv))
    assert torch.equal(recording["head.2"], out)


def test_the_output_is_what_the_layer_returned_though_a_relu_overwrites_it(net, x):
    net.eval()
    with record(net, "norm") as recording:
        net(x)
    assert torch.equal(recording["norm"], net.norm(net.conv(x)))
    assert (recording["norm"] < 0).any()


def test_after_inplace_is_what_stands_there_once_the_pass_is_over(net, x):
    net.eval()
    with record(net, "norm", tap="after_inplace") as recording:
        net(x)
    assert torch.equal(recording["norm"], torch.relu(net.norm(net.conv(x))))


def test_both_taps_see_through_an_in_place_sum():
    class Sum(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.two = nn.Identity(), nn.ReLU()

        def forward(self, x):
            y = self.two(x)
            y += self.one(x)
            return y

    net, x = Sum(), torch.tensor([-1.0, 2.0])
    with record(net, ["two"]) as own, record(net, "two", tap="after_inplace") as behind:
        net(x)
    assert own["two"].tolist() == [0, 2]
    assert behind["two"].tolist() == [-1, 4]


def test_recording_changes_nothing_where_a_layer_returns_its_own_input():
    class Alias(nn.Module):
        def __init__(self):
            super().__init__()
            self.same = nn.Identity()

        def forward(self, x):
            x = x * 1
            y = self.same(x)
            x += 1
            return y

    net = Alias()
    with record(net, "same") as recording:
        assert net(torch.zeros(2)).tolist() == [1, 1]
    assert recording["same"].tolist() == [0, 0]


def test_the_last_pass_is_kept(net, x):
    net.eval()
    with record(net, "conv") as recording:
        net(x)
        first = recording["conv"]
        net(x + 1)
    assert torch.equal(recording["conv"], net.conv(x + 1))
    assert torch.equal(first, net.conv(x))


def test_the_pass_before_is_let_go_when_the_next_begins(net, x):
    with record(net, "conv") as recording, torch.no_grad():
        net(x)
        kept = weakref.ref(recording["conv"])
        seen = []
        net.conv.register_forward_pre_hook(lambda *_: seen.append(gc.collect() >= 0 and kept() is None))
        net(x)
    assert seen == [True]


def test_a_call_of_a_module_called_twice(net, x):
    net.eval()
    with record(net, ["relu[0]", "relu[1]"]) as recording:
        net(x)
    first = torch.relu(net.norm(net.conv(x)))
    assert torch.equal(recording["relu[0]"], first)
    assert torch.equal(recording["relu[1]"], torch.relu(net.again(first)))


def test_a_module_under_two_names_has_both_and_counts_its_own_calls(net, x):
    with record(net, ["again[0]", "conv2[0]", "again[1]", "conv2[1]"]) as recording:
        net(x)
    assert torch.equal(recording["again[0]"], recording["conv2[0]"])
    assert torch.equal(recording["again[1]"], recording["conv2[1]"])
    assert not torch.equal(recording["again[0]"], recording["conv2[1]"])


def test_calls_are_counted_anew_in_each_pass_also_after_one_that_failed(net, x):
    with record(net, ["relu[1]", "conv"]) as recording:
        net(x)
        with pytest.raises(OwnError):
            net(x, fail=OwnError())
        net(x)
    assert recording["relu[1]"].shape == (2, 4, 6, 6)


def test_calls_outside_of_a_pass_are_not_recorded(net, x):
    with record(net, "conv") as recording:
        net(x)
        net.conv(x + 1)
    assert torch.equal(recording["conv"], net.conv(x))


def test_the_model_itself_is_a_layer(net, x):
    net.eval()
    with record(net, "") as recording:
        out = net(x)
    assert torch.equal(recording[""], out)


def test_what_existing_hooks_make_of_an_output_is_what_the_layer_returns(net, x):
    net.conv.register_forward_hook(lambda module, args, output: output * 0)
    with record(net, "conv") as recording:
        net(x)
    assert not recording["conv"].any()


def test_names_with_brackets_and_colons_of_their_own():
    net = nn.ModuleDict({"a[1]": nn.Identity(), "b:c": nn.Identity()})
    net.forward = lambda x: net["b:c"](net["a[1]"](x))
    with record(net, ["a[1]", "b:c", "a[1][0]"]) as recording:
        net(torch.ones(1))
    assert recording["b:c"].item() == recording["a[1]"].item() == recording["a[1][0]"].item() == 1


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_number_types_stay(dtype, net, x):
    net.to(dtype)
    with record(net, "conv") as recording, edit(net, {"again[0]": lambda t: t.float() * 0}):
        out = net(x.to(dtype))
    assert recording["conv"].dtype == out.dtype == dtype


def test_a_recording_says_what_it_holds(net, x):
    with record(net, ["conv", ""]) as recording:
        net(x)
    assert repr(recording) == "<Recording of conv, the model itself; 1 passes so far>"
