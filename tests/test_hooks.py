"""record and edit: law 1 in all its cases, and the corners where others go wrong."""

import collections
import dataclasses
import gc
import itertools
import types
import weakref

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from unitlens.errors import UnitlensError
from unitlens.hooks import edit, record


class Net(nn.Module):
    """A bit of everything: in-place operations, a module called twice, one under two names, containers."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.relu = nn.ReLU(inplace=True)
        self.again = self.conv2 = nn.Conv2d(4, 4, 1)
        self.unused = nn.Linear(2, 2)
        self.pack = Pack()
        self.head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5))

    def forward(self, x, *, fail=None):
        x = self.relu(self.norm(self.conv(x)))
        x = self.relu(self.again(x))
        if fail is not None:
            raise fail
        x = self.conv2(x)
        return self.head(self.pack(x)["one"][0])


class Pack(nn.Module):
    def forward(self, x):
        return {"one": (x * 1, None), "two": [x * 2, x * 3]}


@pytest.fixture
def net():
    torch.manual_seed(0)
    return Net()


@pytest.fixture
def x():
    return torch.randn(2, 3, 6, 6, generator=torch.Generator().manual_seed(1))


def hook_dicts(module):
    return {key: list(value.items()) for key, value in vars(module).items() if "hooks" in key and value is not None}


def state_of(model):
    return {
        "hooks": [hook_dicts(module) for module in model.modules()],
        "attributes": [sorted(vars(module)) for module in model.modules()],
        "training": [module.training for module in model.modules()],
        "tensors": {
            name: (id(t), t.clone(), t.requires_grad)
            for name, t in itertools.chain(model.named_parameters(), model.named_buffers())
        },
        "grad mode": (torch.is_grad_enabled(), torch.is_inference_mode_enabled()),
    }


def assert_as_before(before, after):
    for key in ("hooks", "attributes", "training", "grad mode"):
        assert before[key] == after[key], key
    assert before["tensors"].keys() == after["tensors"].keys()
    for name, (identity, value, needs_grad) in before["tensors"].items():
        assert after["tensors"][name][0] == identity
        assert torch.equal(after["tensors"][name][1], value), name
        assert after["tensors"][name][2] == needs_grad


class OwnError(Exception):
    pass


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


class Make(nn.Module):
    """Returns its input and its double in a container, through a layer."""

    def __init__(self, make):
        super().__init__()
        self.layer = nn.Module()
        self.layer.forward = make

    def forward(self, x):
        return self.layer(x)


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


# ---- compiled networks and TorchScript


@pytest.mark.parametrize("compiled_first", [False, True])
@pytest.mark.parametrize("in_place", [False, True])
def test_compiled_networks_are_recorded_and_edited(in_place, compiled_first, net, x):
    torch._dynamo.reset()
    net.eval()
    if in_place:
        net.compile(backend="eager")
        compiled = net
    else:
        compiled = torch.compile(net, backend="eager")
    plain = compiled(x) if compiled_first else None
    with record(compiled, "conv") as recording, edit(compiled, {"head": torch.zeros_like}):
        out = compiled(x)
    assert torch.equal(recording["conv"], net.conv(x))
    assert not out.any()
    assert compiled(x).any()
    if plain is not None:
        assert torch.equal(compiled(x), plain)


def test_a_part_that_is_compiled_is_recorded_by_the_name_it_has(x):
    net = nn.Sequential(torch.compile(nn.Sequential(nn.Conv2d(3, 4, 1)), backend="eager"), nn.Flatten())
    net(x)
    with record(net, ["0", "0._orig_mod.0"]) as recording:
        net(x)
    assert torch.equal(recording["0"], recording["0._orig_mod.0"])


def test_compilation_is_back_afterwards(net, x):
    torch._dynamo.reset()
    ran = []

    def backend(graph, inputs):
        return lambda *args: ran.append(1) or graph(*args)

    compiled = torch.compile(net.eval(), backend=backend)
    with pytest.raises(OwnError), record(compiled, "conv"):
        compiled(x, fail=OwnError())
    assert not ran
    compiled(x)
    assert ran


@pytest.mark.filterwarnings("ignore:.*torch.jit:FutureWarning", "ignore:.*torch.jit:DeprecationWarning")
def test_torchscript_is_refused_in_one_sentence(x):
    part = torch.jit.trace(nn.Sequential(nn.Conv2d(3, 4, 1)), x)
    for net, layer in ((part, "0"), (part, ""), (nn.Sequential(part, nn.ReLU()), "0.0")):
        before = state_of(net)
        with pytest.raises(
            UnitlensError, match=r"is TorchScript, where no hook can be attached: build the network from"
        ):
            record(net, layer).__enter__()
        assert_as_before(before, state_of(net))


def test_a_layer_beside_torchscript_is_recorded(x):
    with pytest.warns():
        part = torch.jit.trace(nn.Conv2d(3, 4, 1), x)
    net = nn.Sequential(part, nn.ReLU())
    with record(net, "1") as recording:
        net(x)
    assert recording["1"].shape == (2, 4, 6, 6)


# ---- sentences


def read(model, x, layer, asked=None):
    with record(model, layer) as recording:
        model(x)
    return recording[layer if asked is None else asked]


@pytest.mark.parametrize(
    ("layer", "sentence"),
    [
        (
            "cnov",
            r"There is no layer 'cnov' in this Net \(did you mean conv\?\); `unitlens layers` lists all of them\.",
        ),
        (
            "zzzzzz",
            r"no layer 'zzzzzz' in this Net \(at the top there are: conv, norm, relu, again, unused, pack, head\)",
        ),
        (3, r"A layer is named by a string such as 'layer4', not by a int\."),
        ("unused", r"unused was not reached in the last pass, so nothing is recorded of it; choose a layer that"),
        ("relu", r"relu is called 2 times in one pass; choose one call: relu\[0\], relu\[1\]\."),
        ("conv2", r"conv2 is called 2 times in one pass; choose one call: conv2\[0\], conv2\[1\]\."),
        ("relu[2]", r"relu\[2\] does not exist: relu was called 2 times, counted from 0\."),
        ("pack", r"pack returned 3 tensors; choose one of pack:one\.0, pack:two\.0, pack:two\.1\."),
        ("pack:two", r"pack returned 2 tensors; choose one of pack:two\.0, pack:two\.1\."),
        (
            "pack[0]:three",
            r"pack\[0\] returned nothing at ':three'; choose one of pack\[0\]:one\.0, pack\[0\]:two\.0, ",
        ),
        ("conv:0", r"conv returned one tensor, so leave out ':0'\."),
    ],
)
def test_sentences_of_record(layer, sentence, net, x):
    with pytest.raises(UnitlensError, match=sentence):
        read(net, x, [layer] if layer == 3 else layer)


def test_sentence_for_many_calls(x):
    part = nn.ReLU()
    net = nn.Sequential(*[part] * 9)
    with pytest.raises(
        UnitlensError, match=r"0 is called 9 times in one pass; choose one call: 0\[0\], .*0\[3\] and so on"
    ):
        read(net, x, "0")


def test_sentence_without_a_tensor(x):
    net = Make(lambda x: "text")
    with pytest.raises(UnitlensError, match=r"layer returned a str without a tensor, so it has no units\."):
        read(net, x, "layer")


def test_sentence_without_a_pass(net, x):
    with record(net, "conv") as recording:
        net.forward(x)
        with pytest.raises(
            UnitlensError, match=r"Nothing is recorded of conv yet, as no pass .*: call the model itself"
        ):
            recording["conv"]


def test_sentence_for_a_layer_that_is_not_recorded(net, x):
    with pytest.raises(UnitlensError, match=r"'head' is not recorded here; recorded is conv\."):
        read(net, x, "conv", "head")
    with pytest.raises(
        UnitlensError, match=r"'conv ' is not recorded here; recorded is conv \(did you mean conv\?\)\."
    ):
        read(net, x, "conv", "conv ")


def test_sentence_for_a_layer_that_a_failed_pass_did_not_reach(net, x):
    with record(net, ["conv", "head"]) as recording:
        net(x)
        with pytest.raises(OwnError):
            net(x, fail=OwnError())
    assert recording["conv"].shape == (2, 4, 6, 6)
    with pytest.raises(UnitlensError, match="head was not reached in the last pass"):
        recording["head"]


def test_sentence_for_an_unknown_tap(net):
    with pytest.raises(UnitlensError, match=r"tap is 'input'; it can be 'output' or 'after_inplace'\."):
        record(net, "conv", tap="input").__enter__()


def test_a_name_that_leaves_a_choice_open_does_not_stop_the_pass(net, x):
    with record(net, ["pack", "conv"]) as recording:
        net(x)
    assert recording["conv"].shape == (2, 4, 6, 6)


@pytest.mark.parametrize(
    ("layer", "function", "sentence"),
    [
        ("conv", lambda t: None, r"The edit of conv returned a NoneType, not a tensor\."),
        ("head", lambda t: [t], r"The edit of head returned a list, not a tensor\."),
        (
            "conv",
            lambda t: t[:1],
            r"The edit of conv returned a tensor of 1 x 4 x 6 x 6 on cpu, but the layer returned 2 x 4",
        ),
        (
            "",
            lambda t: t.to("meta"),
            r"The edit of the model itself returned a tensor of 2 x 5 on meta, but .* on cpu: both",
        ),
        (
            "relu",
            torch.relu,
            r"relu is called several times in one pass; choose one call: relu\[0\], relu\[1\] and so on\.",
        ),
        (
            "unused",
            torch.relu,
            r"unused was never reached in this pass, so nothing was edited there; choose a layer that",
        ),
        ("conv[4]", torch.relu, r"conv\[4\] was never reached in this pass"),
        ("pack", torch.relu, r"pack returned 3 tensors; choose one of pack:one\.0"),
    ],
)
def test_sentences_of_edit(layer, function, sentence, net, x):
    with pytest.raises(UnitlensError, match=sentence), edit(net, {layer: function}):
        net(x)


def test_an_open_choice_of_an_earlier_pass_is_forgotten():
    net = Make(lambda x: (x, x) if x.any() else x)
    with record(net, "layer") as recording:
        net(torch.ones(1))
        with pytest.raises(UnitlensError, match="layer returned 2 tensors"):
            recording["layer"]
        net(torch.zeros(1))
    assert recording["layer"].item() == 0


def test_every_pass_has_to_reach_what_is_edited():
    part = nn.Identity()
    net = nn.ModuleDict({"part": part})
    net.forward = lambda x: part(x) if x.any() else x
    with edit(net, {"part": torch.zeros_like}):
        assert not net(torch.ones(1)).any()
        with pytest.raises(UnitlensError, match="part was never reached in this pass"):
            net(torch.zeros(1))


def test_sentence_for_a_chosen_call_outside_of_a_pass(net, x):
    with (
        pytest.raises(
            UnitlensError, match=r"conv\[0\] chooses a call, but no pass is going on: call the model itself\."
        ),
        edit(net, {"conv[0]": torch.relu}),
    ):
        net.conv(x)
