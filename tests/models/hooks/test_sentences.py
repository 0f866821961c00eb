"""Compiled networks, TorchScript, and what record and edit say where something is wrong."""

import pytest
import torch
from torch import nn

from tests.models.hooks.hooked import Make, Net, OwnError, assert_as_before, state_of
from unitlens.errors import UnitlensError
from unitlens.models.hooks import edit, record


@pytest.fixture
def net():
    torch.manual_seed(0)
    return Net()


@pytest.fixture
def x():
    return torch.randn(2, 3, 6, 6, generator=torch.Generator().manual_seed(1))


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
            r"There is no layer 'cnov' in this Net \(did you mean conv\?\); net\.layers\(\) lists all layers\.",
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
