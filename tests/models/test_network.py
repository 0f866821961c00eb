"""A network: classifier, its layers, evaluation mode and fingerprint."""

import warnings
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from tests.models.odd_network import Net
from unitlens.dissection.provenance import describe_network
from unitlens.errors import UnitlensError, UnitlensWarning
from unitlens.models.loading import classifier, load
from unitlens.models.network import Network
from unitlens.models.passes import evaluating

SAID = {"image_size": 8, "mean": (0.5, 0.5, 0.5), "std": (0.25, 0.25, 0.25)}


@pytest.fixture
def net():
    torch.manual_seed(0)
    return Net()


# ---- classifier


def test_a_module_is_wrapped_and_left_alone(net):
    before = {key: value.clone() for key, value in net.state_dict().items()}
    wrapped = classifier(net, classes=["a", "b"], **SAID)
    assert isinstance(wrapped, Network)
    assert wrapped.model is net
    assert net.training
    assert (wrapped.name, wrapped.classes, wrapped.weights) == ("Net", ("a", "b"), None)
    assert classifier(net, name="mine", **SAID).name == "mine"
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())


def test_a_compiled_module_is_unwrapped(net):
    wrapped = classifier(torch.compile(net), **SAID)
    assert wrapped.model is net
    assert wrapped.name == "Net"
    assert wrapped.output_count() == 5


def test_sentences_of_classifier(net):
    with pytest.raises(UnitlensError, match=r"A network is a torch\.nn\.Module, not a str; ul\.load takes a name\."):
        classifier("resnet18")
    with pytest.raises(UnitlensError, match=r"classes is 'cat'; it is a sequence of names, one for each output\."):
        classifier(net, classes="cat", **SAID)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_device_and_number_type_are_those_of_the_parameters(dtype, net):
    wrapped = classifier(net.to(dtype), **SAID)
    assert (wrapped.device, wrapped.dtype) == (torch.device("cpu"), dtype)
    assert wrapped.output_count() == 5
    plain = classifier(nn.ReLU(), **SAID)
    assert (plain.device, plain.dtype) == (torch.device("cpu"), torch.float32)


def test_a_device_that_is_not_there():
    with pytest.raises(UnitlensError, match=r"The device 'toaster' cannot be used here; there is cpu"):
        load("torch.nn:Identity", device="toaster", **SAID)


# ---- layers


def test_layers_in_forward_order(net):
    rows = [(i.name, i.kind, i.shape, i.units, i.grid, i.calls) for i in classifier(net, **SAID).layers()]
    assert rows == [
        ("conv", "Conv2d", (4, 3, 3), 4, (3, 3), 1),
        ("lists.1", "BatchNorm2d", (4, 3, 3), 4, (3, 3), 1),
        ("same", "ReLU", (4, 3, 3), 4, (3, 3), 2),
        ("relu", "ReLU", (4, 3, 3), 4, (3, 3), 2),
        ("pool:0", "AdaptiveMaxPool2d", (4, 1, 1), 4, None, 1),
        ("pool:1", "AdaptiveMaxPool2d", (4, 1, 1), 4, None, 1),
        ("head", "Linear", (5,), 5, None, 1),
        ("unused", "Conv2d", None, None, None, 0),
        ("lists", "ModuleList", None, None, None, 0),
        ("lists.0", "Dropout", None, None, None, 0),
    ]


def test_every_name_that_layers_gives_can_be_recorded(net):
    from unitlens.models.hooks import record

    infos = [info for info in classifier(net, **SAID).layers() if info.shape is not None]
    names = [info.name if info.calls == 1 else f"{info.name}[0]" for info in infos]
    with record(net.eval(), names) as recording:
        net(torch.zeros(1, 3, 8, 8))
    assert [tuple(recording[name].shape[1:]) for name in names] == [info.shape for info in infos]


@pytest.mark.parametrize("training", [False, True])
def test_listing_leaves_the_model_as_it_was(training, net):
    net.train(training)
    net.lists[1].train(not training)
    flags = [module.training for module in net.modules()]
    tensors = {key: value.clone() for key, value in net.state_dict().items()}
    generator = torch.get_rng_state()
    classifier(net, **SAID).layers()
    assert [module.training for module in net.modules()] == flags
    assert all(torch.equal(value, tensors[key]) for key, value in net.state_dict().items())
    assert torch.equal(torch.get_rng_state(), generator)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in net.modules())
    assert torch.is_grad_enabled()


def test_tokens_have_units_and_what_does_not_begin_with_the_images_has_none():
    class Tokens(nn.Module):
        def __init__(self):
            super().__init__()
            self.tokens, self.first = nn.Flatten(2), nn.Identity()
            self.time_first = nn.Identity()

        def forward(self, x):
            return self.time_first(self.first(self.tokens(x).transpose(1, 2)).transpose(0, 1))

    net = classifier(Tokens(), **SAID)
    first, time_first = net.layers()[1:]
    assert (first.shape, first.units, first.grid, first.layout) == ((64, 3), 3, (8, 8), "tokens")
    assert (time_first.shape, time_first.units, time_first.grid) == ((64, 1, 3), None, None)
    assert net.output_count() is None


def test_units_are_compared_with_the_input_unless_the_network_says_otherwise():
    net = classifier(nn.Sequential(nn.Conv2d(3, 4, 3)), **SAID)
    assert net.image == describe_network(net)["image"] == "input"
    drawing = replace(net, image="output")
    assert describe_network(drawing)["image"] == "output"


def test_a_size_that_the_network_does_not_take_is_one_sentence():
    net = classifier(nn.Sequential(nn.Conv2d(3, 4, 9)), **SAID)
    sentence = r"^The network fails on images of 8 x 8 \(RuntimeError: .*\): .* image_size=\.$"
    for ask in (net.layers, net.output_count):
        with pytest.raises(UnitlensError, match=sentence):
            ask()
    assert net.model.training


@pytest.mark.filterwarnings("ignore:.*torch.jit:FutureWarning", "ignore:.*torch.jit:DeprecationWarning")
def test_layers_of_torchscript():
    traced = torch.jit.trace(nn.Sequential(nn.Conv2d(3, 4, 1)), torch.ones(1, 3, 8, 8))
    with pytest.raises(UnitlensError, match="the model itself is TorchScript, where no hook can be attached"):
        classifier(traced, **SAID).layers()
    rows = {info.name: info.shape for info in classifier(nn.Sequential(traced, nn.ReLU()), **SAID).layers()}
    assert rows == {"1": (4, 8, 8), "0": None, "0.0": None}


# ---- evaluating


def flags(model):
    return [module.training for module in model.modules()]


@pytest.mark.parametrize("error", [None, ValueError, KeyboardInterrupt])
def test_evaluating_puts_every_flag_back(error, net):
    net.lists[1].eval()
    before = flags(net)
    assert True in before
    assert False in before

    def run():
        with evaluating(net):
            assert not any(flags(net))
            assert torch.is_inference_mode_enabled()
            assert not torch.is_grad_enabled()
            if error is not None:
                raise error

    if error is None:
        run()
    else:
        with pytest.raises(error):
            run()
    assert flags(net) == before
    assert torch.is_grad_enabled()
    assert not torch.is_inference_mode_enabled()


def test_evaluating_does_not_run_what_a_network_does_in_eval():
    class Merging(nn.Linear):
        def train(self, mode=True):
            self.weight.data += 1
            return super().train(mode)

    net = Merging(2, 2)
    before = net.weight.clone()
    with evaluating(net):
        assert not net.training
    assert net.training
    assert torch.equal(net.weight, before)


# ---- fingerprint


def fingerprint(model):
    return classifier(model, **SAID).fingerprint()


def test_a_fingerprint_is_of_names_types_shapes_and_values(net):
    first = fingerprint(net)
    assert len(first) == 64
    assert first == fingerprint(net)
    net.train(not net.training)
    net.to(memory_format=torch.channels_last)
    assert fingerprint(net) == first
    seen = {first}
    for change in (
        lambda: net.conv.weight.data[0, 0, 0, :1].mul_(1.001),
        lambda: net.hidden.add_(1),
        lambda: net.lists[1].num_batches_tracked.add_(1),
        lambda: net.head.to(torch.bfloat16),
        lambda: net.head.to(torch.float16),
        lambda: net.register_parameter("empty", nn.Parameter(torch.zeros(0, 2))),
        lambda: net.register_parameter("empty", nn.Parameter(torch.zeros(0, 3))),
        lambda: net.register_module("renamed", net._modules.pop("unused")),
    ):
        change()
        seen.add(fingerprint(net))
    assert len(seen) == 9


def test_a_fingerprint_is_not_of_the_wrapping_or_the_order(net):
    assert fingerprint(torch.compile(net)) == fingerprint(net)
    first = nn.ModuleDict({"a": net.conv, "b": net.head})
    second = nn.ModuleDict({"b": net.head, "a": net.conv})
    assert fingerprint(first) == fingerprint(second)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU here")
def test_a_fingerprint_is_the_same_on_a_gpu(net):
    assert fingerprint(net) == fingerprint(net.cuda())


# ---- real networks, where they are


MODELS = Path(__file__).parents[3] / "shared" / "data" / "models.py"


@pytest.mark.skipif(not MODELS.exists(), reason="the shared networks are not on this machine")
def test_real_networks():
    weights = MODELS.parent / "weights" / "squeezenet1_0_imagenet.safetensors"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UnitlensWarning)
        returned = load(f"{MODELS}:squeezenet")
    named = load("squeezenet1_0", weights=weights)
    assert named.fingerprint() == returned.fingerprint()
    assert named.output_count() == len(named.classes) == 1000
    assert {info.name: info.units for info in named.layers()}["features.12"] == 512
