"""Replaying only what lies behind an intervention gives what the full network gives (law 5)."""

import copy
import runpy
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from tests.ablation.replay.replaying import (
    CASES,
    Tokens,
    close,
    full,
    made,
    naive_sweep,
    residual,
    shown,
    swept,
    vgg,
)
from unitlens.ablation.replay.cutting import cut_network
from unitlens.ablation.replay.growth import grow, growth, outline
from unitlens.ablation.replay.sweeps import sweep
from unitlens.errors import UnitlensError
from unitlens.models.hooks import edit

SHARED = Path(__file__).parents[4] / "shared" / "data"


@pytest.mark.parametrize("alone", [True, False])
@pytest.mark.parametrize("memory", [2**26, 1], ids=["roomy", "tight"])
@pytest.mark.parametrize(("build", "layer"), CASES, ids=[f"{build.__name__} {layer}" for build, layer in CASES])
def test_every_unit_ablated_gives_what_the_full_network_gives(build, layer, memory, alone):
    model, images = made(build), shown()
    cut = cut_network(model, layer, images)
    assert cut.replays, cut.reason
    state = cut.front(images)
    expected = naive_sweep(model, layer, images, state.activation.shape[1], 0.5)
    assert float((expected - state.output).abs().amax()) > 1e-3
    close(swept(cut, state, 0.5, memory=memory, alone=alone), expected)


@pytest.mark.parametrize(("build", "layer"), CASES, ids=[f"{build.__name__} {layer}" for build, layer in CASES])
def test_variants_replay_to_what_the_full_network_gives_and_leave_the_state_alone(build, layer):
    model, images = made(build), shown(4)
    cut = cut_network(model, layer, images)
    state = cut.front(images)
    kept = copy.deepcopy(state.activation), copy.deepcopy(list(state.rest.values())), state.output.clone()
    with torch.inference_mode():
        close(state.output, model(images))
    noise = torch.randn(3, *state.activation.shape)
    outputs = cut.back(state, noise.flatten(0, 1)).unflatten(0, (3, 4))
    for variant, output in zip(noise, outputs, strict=True):
        with torch.inference_mode(), edit(model, {layer: lambda _, variant=variant: variant}):
            close(output, model(images))
    list(sweep(cut, state))
    torch.testing.assert_close((state.activation, list(state.rest.values()), state.output), kept, rtol=0, atol=0)
    close(cut.back(state, state.activation), state.output)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_values_may_be_a_number_one_for_each_unit_or_whole_activations(dtype):
    model, images = made(residual).to(dtype), shown().to(dtype)
    cut = cut_network(model, "2", images)
    state = cut.front(images)
    each, whole = torch.randn(8, dtype=dtype), torch.randn_like(state.activation)
    for unit, output in enumerate(swept(cut, state, each)):
        close(output, full(model, "2", images, unit, each[unit]))
    for unit, output in enumerate(swept(cut, state, whole)):
        close(output, full(model, "2", images, unit, whole[:, unit]))
    with pytest.raises(UnitlensError, match=r"shape \(3, 7\); they must have that of 2, \(3, 8, 12, 12\)"):
        next(sweep(cut, state, torch.zeros(3, 7)))


@settings(max_examples=15)
@given(st.integers(0, 10**6), st.integers(1, 5), st.sampled_from(["0", "1", "1.conv2", "2.relu[0]"]))
def test_setting_a_unit_to_its_own_activation_changes_nothing(seed, count, layer):
    model, images = made(residual, seed), shown(count)
    cut = cut_network(model, layer, images)
    state = cut.front(images)
    outputs = swept(cut, state, state.activation)
    assert torch.equal(outputs, state.output.expand_as(outputs))


def test_units_without_effect_are_skipped_exactly():
    model, images = made(vgg), shown()
    with torch.no_grad():
        model[0].bias[::2] = -100.0
    cut = cut_network(model, "0", images)
    state = cut.front(images)
    outputs = swept(cut, state)
    assert torch.equal(outputs[::2], state.output.expand(4, -1, -1))
    assert not torch.equal(outputs[1], state.output)


def test_many_rows_leave_out_hidden_units_that_are_off_in_all_of_them():
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 150, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(600, 40), nn.ReLU()]
    model = nn.Sequential(*layers, nn.Linear(40, 5)).eval()
    with torch.no_grad():
        model[4].bias[:30] -= 3
    images = shown()
    cut = cut_network(model, "0", images)
    state = cut.front(images)
    close(swept(cut, state, 0.5), naive_sweep(model, "0", images, 150, 0.5))


def test_only_some_units_are_swept_when_asked():
    model, images = made(residual), shown()
    cut = cut_network(model, "2", images)
    blocks = list(sweep(cut, cut.front(images), units=range(3, 6)))
    assert [unit for block in blocks for unit in block.units] == [3, 4, 5]
    close(blocks[0].outputs[0], full(model, "2", images, 3, 0.0))


def test_one_image_is_enough():
    model, images = made(Tokens), shown(1)
    cut = cut_network(model, "patch", images)
    assert cut.replays
    close(swept(cut, cut.front(images)), naive_sweep(model, "patch", images, 8))


def test_the_front_runs_once_and_a_sweep_does_not_run_it_again():
    model, images = made(residual), shown()
    cut = cut_network(model, "2", images)
    calls = []
    model[1].conv1.register_forward_hook(lambda *_: calls.append(1))
    state = cut.front(images)
    list(sweep(cut, state))
    cut.back(state, state.activation)
    assert len(calls) == 1


def test_cutting_takes_at_most_eight_passes_of_an_image():
    model, seen = made(residual), []
    model[0].register_forward_hook(lambda module, args, output: seen.append(len(output)))
    cut_network(model, "2", shown(5))
    assert sum(seen) <= 8


def test_the_model_is_as_before_even_in_training_mode():
    model, images = made(vgg), shown()
    model.train()
    model[3].eval()
    before = copy.deepcopy(model.state_dict())
    flags = [module.training for module in model.modules()]
    attributes = [set(vars(module)) for module in model.modules()]
    cut = cut_network(model, "0", images)
    blocks = sweep(cut, cut.front(images))
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
    images = shown()
    cut = cut_network(model, "2.0[1]", images)
    assert cut.replays
    close(swept(cut, cut.front(images)), naive_sweep(model, "1[1]", images, 8))


def test_values_grow_with_the_images():
    images = torch.tensor([1, 1, 0])
    rows = torch.arange(8).reshape(4, 2)  # two rows for each of two images
    how = growth(outline([rows, 4, 7, rows.T]), outline([torch.zeros(6, 2), 6, 7, torch.zeros(2, 6)]), (2, 3))
    assert how == [0, "number", None, 1]
    tensor, number, constant, turned = grow([rows, 4, 7, rows.T], how, images, 2)
    assert tensor.tolist() == [[4, 5], [6, 7], [4, 5], [6, 7], [0, 1], [2, 3]]
    assert (number, constant) == (6, 7)
    assert torch.equal(turned, tensor.T)
    with pytest.raises(ValueError, match="does not grow with the number of images"):
        growth(3, 5, (2, 3))


@pytest.mark.skipif(not SHARED.exists(), reason="the shared CIFAR-10 network is not here")
def test_every_unit_of_a_trained_cifar_network_equals_the_full_network():
    model = runpy.run_path(str(SHARED / "models.py"))["resnet20"]().eval()
    images = shown(3, 32)
    cut = cut_network(model, "layer3", images)
    assert cut.replays
    close(swept(cut, cut.front(images)), naive_sweep(model, "layer3", images, 64))
