import copy
import re
import runpy
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from unitlens.batches import grow, growth, outline
from unitlens.cut import Cut
from unitlens.errors import UnitlensError
from unitlens.hooks import edit
from unitlens.replay import cut_network, sweep

SHARED = Path(__file__).parents[2] / "shared" / "data"


class Block(nn.Module):
    """A residual block whose relu is called twice, in place."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(width, width, 3, padding=1), nn.Conv2d(width, width, 3, padding=1, stride=1)
        self.norm = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        out = self.relu(self.norm(self.conv1(x)))
        out = self.conv2(out)
        out += x
        return self.relu(out)


def residual() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), Block(8), Block(8), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5)
    )


def vgg() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),
        *(nn.ReLU(inplace=True), nn.MaxPool2d(2), nn.AdaptiveAvgPool2d(3), nn.Flatten(), nn.Linear(72, 30)),
        *(nn.ReLU(inplace=True), nn.Dropout(), nn.Linear(30, 20), nn.ReLU(inplace=True), nn.Linear(20, 5)),
    )


class Joined(nn.Module):
    """Parallel branches that are concatenated, as in DenseNet, then a convolution with a stride and a depthwise one."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.grow = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 6, 1)
        self.norm, self.deep = nn.BatchNorm2d(10), nn.Conv2d(10, 20, 3, groups=10)
        self.mix, self.head = nn.Conv2d(20, 7, 3, stride=2, padding=1), nn.Linear(7, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x = self.deep(F.relu(self.norm(torch.cat([x, self.grow(x)], 1)), inplace=True))
        return self.head(torch.sigmoid(self.mix(x)).mean((2, 3)))


class Tokens(nn.Module):
    """The number of pictures crosses the cut, as in a vision transformer; a gate is multiplied on."""

    def __init__(self) -> None:
        super().__init__()
        self.patch, self.token = nn.Conv2d(3, 8, 4, stride=4), nn.Parameter(torch.randn(1, 1, 8))
        self.attention, self.head = nn.MultiheadAttention(8, 2, batch_first=True), nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        n = x.shape[0]
        torch._assert(x.shape[1] == 3, "RGB")
        x = self.patch(x)
        x = (x * torch.sigmoid(x.mean((2, 3), keepdim=True))).reshape(n, 8, -1).permute(0, 2, 1)
        x = torch.cat([self.token.expand(n, -1, -1), x], 1)
        return self.head(self.attention(x, x, x, need_weights=False)[0][:, 0])


class Windows(nn.Module):
    """Values with several rows for each picture cross the cut."""

    def __init__(self) -> None:
        super().__init__()
        self.side, self.main, self.head = nn.Conv2d(3, 4, 1), nn.Conv2d(3, 4, 1), nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        n, _, h, w = x.shape
        side = self.side(x).reshape(n, 4, 2, h // 2, w).permute(0, 2, 1, 3, 4).reshape(n * 2, 4, h // 2, w)
        main = self.main(x).reshape(n, 4, 2, h // 2, w).permute(0, 2, 1, 3, 4).reshape(n * 2, 4, h // 2, w)
        both = torch.cat([side, main * side], 1).mean((2, 3))
        return self.head(both.view(n, 2, 8).amax(1))


class Branching(nn.Module):
    """Control flow on values: torch.fx cannot look inside, and need not, as long as the layer is elsewhere."""

    def __init__(self, conv: nn.Module) -> None:
        super().__init__()
        self.conv = conv

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        x.mul_(2)
        return x if x.shape[2] > 3 and float(x.abs().sum()) > 0 else -x


def branching() -> nn.Module:
    stem, inner = nn.Conv2d(3, 8, 3), Branching(nn.Conv2d(8, 8, 3))
    return nn.Sequential(stem, nn.ReLU(), inner, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5))


CASES = [
    (residual, "1.conv1"),
    (residual, "1.relu[0]"),
    (residual, "1.relu[1]"),
    (residual, "2.conv2"),
    (residual, "2.norm"),
    (residual, "2"),
    (residual, "0"),
    (residual, "5"),
    (residual, "4"),
    (vgg, "0"),
    (vgg, "1"),
    (vgg, "5"),
    (Joined, "stem"),
    (Joined, "grow"),
    (Joined, "deep"),
    (Joined, "mix"),
    (Tokens, "patch"),
    (Windows, "main"),
    (Windows, "side"),
    (branching, "0"),
]


def made(build, seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    model = build()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean)
            nn.init.uniform_(module.weight)
    return model.eval()


def shown(count: int = 3, size: int = 12) -> Tensor:
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(7))


@torch.inference_mode()
def full(model: nn.Module, layer: str, pictures: Tensor, unit: int, value) -> Tensor:
    def hold(activation: Tensor) -> Tensor:
        activation[:, unit] = value
        return activation

    with edit(model, {layer: hold}):
        return model(pictures)


def swept(cut: Cut, state, *args, **settings) -> Tensor:
    blocks = list(sweep(cut, state, *args, **settings))
    assert [unit for block in blocks for unit in block.units] == list(range(state.activation.shape[1]))
    return torch.cat([block.outputs for block in blocks])


def naive_sweep(model: nn.Module, layer: str, pictures: Tensor, units: int, value=0.0) -> Tensor:
    return torch.stack([full(model, layer, pictures, unit, value) for unit in range(units)])


def close(one: Tensor, other: Tensor) -> None:
    torch.testing.assert_close(one, other, rtol=0, atol=2e-6 * float(other.abs().amax()))


@pytest.mark.parametrize("alone", [True, False])
@pytest.mark.parametrize("memory", [2**26, 1], ids=["roomy", "tight"])
@pytest.mark.parametrize(("build", "layer"), CASES, ids=[f"{build.__name__} {layer}" for build, layer in CASES])
def test_every_unit_held_gives_what_the_full_network_gives(build, layer, memory, alone):
    model, pictures = made(build), shown()
    cut = cut_network(model, layer, pictures)
    assert cut.replays, cut.reason
    state = cut.front(pictures)
    expected = naive_sweep(model, layer, pictures, state.activation.shape[1], 0.5)
    assert float((expected - state.output).abs().amax()) > 1e-3
    close(swept(cut, state, 0.5, memory=memory, alone=alone), expected)


@pytest.mark.parametrize(("build", "layer"), CASES, ids=[f"{build.__name__} {layer}" for build, layer in CASES])
def test_variants_replay_to_what_the_full_network_gives_and_leave_the_state_alone(build, layer):
    model, pictures = made(build), shown(4)
    cut = cut_network(model, layer, pictures)
    state = cut.front(pictures)
    kept = copy.deepcopy(state.activation), copy.deepcopy(list(state.rest.values())), state.output.clone()
    with torch.inference_mode():
        close(state.output, model(pictures))
    noise = torch.randn(3, *state.activation.shape)
    outputs = cut.back(state, noise.flatten(0, 1)).unflatten(0, (3, 4))
    for variant, output in zip(noise, outputs, strict=True):
        with torch.inference_mode(), edit(model, {layer: lambda _, variant=variant: variant}):
            close(output, model(pictures))
    list(sweep(cut, state))
    torch.testing.assert_close((state.activation, list(state.rest.values()), state.output), kept, rtol=0, atol=0)
    close(cut.back(state, state.activation), state.output)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_values_may_be_a_number_one_for_each_unit_or_whole_activations(dtype):
    model, pictures = made(residual).to(dtype), shown().to(dtype)
    cut = cut_network(model, "2", pictures)
    state = cut.front(pictures)
    each, whole = torch.randn(8, dtype=dtype), torch.randn_like(state.activation)
    for unit, output in enumerate(swept(cut, state, each)):
        close(output, full(model, "2", pictures, unit, each[unit]))
    for unit, output in enumerate(swept(cut, state, whole)):
        close(output, full(model, "2", pictures, unit, whole[:, unit]))
    with pytest.raises(UnitlensError, match=r"values of shape \(7,\): give one number, 8 \(one for each unit\)"):
        next(sweep(cut, state, torch.zeros(7)))


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 5), st.sampled_from(["0", "1", "1.conv2", "2.relu[0]"]))
def test_holding_a_unit_at_its_own_activation_changes_nothing(seed, count, layer):
    model, pictures = made(residual, seed), shown(count)
    cut = cut_network(model, layer, pictures)
    state = cut.front(pictures)
    outputs = swept(cut, state, state.activation)
    assert torch.equal(outputs, state.output.expand_as(outputs))


def test_units_without_effect_are_skipped_exactly():
    model, pictures = made(vgg), shown()
    with torch.no_grad():
        model[0].bias[::2] = -100.0
    cut = cut_network(model, "0", pictures)
    state = cut.front(pictures)
    outputs = swept(cut, state)
    assert torch.equal(outputs[::2], state.output.expand(4, -1, -1))
    assert not torch.equal(outputs[1], state.output)


def test_many_rows_leave_out_hidden_units_that_are_off_in_all_of_them():
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 150, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(600, 40), nn.ReLU()]
    model = nn.Sequential(*layers, nn.Linear(40, 5)).eval()
    with torch.no_grad():
        model[4].bias[:30] -= 3
    pictures = shown()
    cut = cut_network(model, "0", pictures)
    state = cut.front(pictures)
    close(swept(cut, state, 0.5), naive_sweep(model, "0", pictures, 150, 0.5))


def test_only_some_units_are_swept_when_asked():
    model, pictures = made(residual), shown()
    cut = cut_network(model, "2", pictures)
    blocks = list(sweep(cut, cut.front(pictures), units=range(3, 6)))
    assert [unit for block in blocks for unit in block.units] == [3, 4, 5]
    close(blocks[0].outputs[0], full(model, "2", pictures, 3, 0.0))


def test_one_picture_is_enough():
    model, pictures = made(Tokens), shown(1)
    cut = cut_network(model, "patch", pictures)
    assert cut.replays
    close(swept(cut, cut.front(pictures)), naive_sweep(model, "patch", pictures, 8))


def test_the_front_runs_once_and_a_sweep_does_not_run_it_again():
    model, pictures = made(residual), shown()
    cut = cut_network(model, "2", pictures)
    calls = []
    model[1].conv1.register_forward_hook(lambda *_: calls.append(1))
    state = cut.front(pictures)
    list(sweep(cut, state))
    cut.back(state, state.activation)
    assert len(calls) == 1


def test_cutting_takes_at_most_eight_passes_of_a_picture():
    model, seen = made(residual), []
    model[0].register_forward_hook(lambda module, args, output: seen.append(len(output)))
    cut_network(model, "2", shown(5))
    assert sum(seen) <= 8


class Unforeseeable(nn.Module):
    """Control flow on values around the layer itself."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.head = nn.Conv2d(3, 8, 3), nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        if float(x.sum()) > 1e9:
            x = -x
        return self.head(F.relu(x).mean((2, 3)))


def test_a_network_that_cannot_be_traced_takes_full_passes_and_says_so():
    model, pictures = made(Unforeseeable), shown()
    cut = cut_network(model, "conv", pictures)
    assert not cut.replays
    expected = (
        r"Every intervention at conv takes a full pass of the network, as torch.fx cannot trace the network \(.+\)\."
    )
    assert torch.jit.annotate(str, cut.reason)
    assert re.fullmatch(expected, cut.reason)
    state = cut.front(pictures)
    close(swept(cut, state, 0.5), naive_sweep(model, "conv", pictures, 8, 0.5))
    twice = torch.cat([state.activation, torch.zeros_like(state.activation)])
    close(cut.back(state, twice)[:3], state.output)
    assert not model.conv._forward_hooks


class Peeking(nn.Module):
    """A view of the layer's output is kept, and changed by an in-place step behind it."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.head = nn.Conv2d(3, 8, 3), nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        view = x.view(x.shape[0], 8, -1)
        x = F.relu(x, inplace=True)
        return self.head(torch.cat([view.mean(2), x.amax((2, 3))], 1))


def test_a_replay_that_disagrees_is_not_trusted_and_the_reason_says_by_how_much():
    model, pictures = made(Peeking), shown()
    cut = cut_network(model, "conv", pictures)
    assert not cut.replays
    assert "the replayed outputs are off by 0." in cut.reason
    assert "more than 0.0001 of it" in cut.reason
    close(swept(cut, cut.front(pictures)), naive_sweep(model, "conv", pictures, 8))


def test_a_network_that_mixes_its_pictures_takes_full_passes():
    model, pictures = made(residual), shown()
    model[1].norm = nn.BatchNorm2d(8, track_running_stats=False).eval()
    cut = cut_network(model, "1.conv1", pictures)
    assert not cut.replays
    close(swept(cut, cut.front(pictures)), naive_sweep(model, "1.conv1", pictures, 8))


class Several(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.unused, self.lstm = nn.Conv2d(3, 8, 3), nn.Linear(8, 8), nn.LSTM(8, 6, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x).flatten(2).transpose(1, 2)
        self.unused(x)
        return self.lstm(x)[0][:, -1]


@pytest.mark.parametrize(
    ("layer", "sentence"),
    [
        ("cnv", r"There is no layer 'cnv' in this Several \(did you mean conv\?\)"),
        ("lstm", r"lstm returned 3 tensors; choose one of lstm:0, lstm:1\.0, lstm:1\.1"),
        ("conv[1]", r"conv\[1\] was never reached in this pass"),
        ("unused", "The output of the network does not depend on what unused returns"),
    ],
)
def test_a_layer_that_cannot_be_cut_is_a_clear_error(layer, sentence):
    model = made(Several)
    with pytest.raises(UnitlensError, match=sentence):
        cut_network(model, layer, shown())
    assert not any(module._forward_hooks for module in model.modules())


def test_one_tensor_of_several_takes_full_passes():
    cut = cut_network(made(Several), "lstm:0", shown())
    assert not cut.replays
    assert cut.reason.endswith("as only one tensor of what the layer returns is meant.")


def test_a_layer_that_is_called_twice_needs_a_choice():
    with pytest.raises(UnitlensError, match=r"1\.relu is called several times in one pass; choose"):
        cut_network(made(residual), "1.relu", shown())


def test_an_output_that_is_not_one_tensor_is_a_clear_error():
    class Pair(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 8, 3)

        def forward(self, x: Tensor) -> dict[str, Tensor]:
            return {"out": self.conv(x)}

    with pytest.raises(UnitlensError, match="The network returns a dict, not one tensor with a row for each picture"):
        cut_network(made(Pair), "conv", shown())


def test_activations_of_another_shape_are_a_clear_error():
    cut = cut_network(made(residual), "2", shown())
    state = cut.front(shown())
    for wrong in (state.activation[:2], state.activation[:, :7]):
        with pytest.raises(UnitlensError, match=r"it must be that of 2, \(3, 8, 12, 12\), or a multiple"):
            cut.back(state, wrong)


def test_the_model_is_as_before_even_in_training_mode():
    model, pictures = made(vgg), shown()
    model.train()
    model[3].eval()
    before = copy.deepcopy(model.state_dict())
    flags = [module.training for module in model.modules()]
    attributes = [set(vars(module)) for module in model.modules()]
    cut = cut_network(model, "0", pictures)
    blocks = sweep(cut, cut.front(pictures))
    next(blocks)
    assert [module.training for module in model.modules()] == flags
    assert not torch.is_inference_mode_enabled()
    list(blocks)
    assert [set(vars(module)) for module in model.modules()] == attributes
    assert all(module.inplace for module in model.modules() if isinstance(module, nn.ReLU))
    torch.testing.assert_close(dict(model.state_dict()), dict(before), rtol=0, atol=0)


def test_a_module_known_by_two_names_is_one_layer():
    model = made(residual)
    model.add_module("again", nn.Sequential(model[1]))
    del model[6]  # the name stays out of the pass
    model[2] = nn.Sequential(model[1])
    pictures = shown()
    cut = cut_network(model, "2.0[1]", pictures)
    assert cut.replays
    close(swept(cut, cut.front(pictures)), naive_sweep(model, "1[1]", pictures, 8))


def test_values_grow_with_the_pictures():
    pictures = torch.tensor([1, 1, 0])
    rows = torch.arange(8).reshape(4, 2)  # two rows for each of two pictures
    how = growth(outline([rows, 4, 7, rows.T]), outline([torch.zeros(6, 2), 6, 7, torch.zeros(2, 6)]), (2, 3))
    assert how == [0, "number", None, 1]
    tensor, number, constant, turned = grow([rows, 4, 7, rows.T], how, pictures, 2)
    assert tensor.tolist() == [[4, 5], [6, 7], [4, 5], [6, 7], [0, 1], [2, 3]]
    assert (number, constant) == (6, 7)
    assert torch.equal(turned, tensor.T)
    with pytest.raises(ValueError, match="does not grow with the number of pictures"):
        growth(3, 5, (2, 3))


@pytest.mark.skipif(not SHARED.exists(), reason="the shared CIFAR-10 network is not here")
def test_every_unit_of_a_trained_cifar_network_equals_the_full_network():
    model = runpy.run_path(str(SHARED / "models.py"))["resnet20"]().eval()
    pictures = shown(3, 32)
    cut = cut_network(model, "layer3", pictures)
    assert cut.replays
    close(swept(cut, cut.front(pictures)), naive_sweep(model, "layer3", pictures, 64))
