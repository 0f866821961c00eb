import copy
from dataclasses import replace

import numpy as np
import pytest
import torch

import unitlens as ul
from tests.test_left_behind import CALLS, PASSES, drawn, marked, photos, world  # noqa: F401

GPU = "cuda"

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU"),
    pytest.mark.filterwarnings("ignore::unitlens.UnitlensWarning"),
]


def dissected_on(device):
    return ul.dissect(ul.load("bundled:scenes", device=device), "relu6", ul.Scenes(96), exemplars=2)


def thresholds(dissection):
    return dissection.table().set_index("unit")["threshold"].sort_index().to_numpy()


@pytest.fixture(scope="module")
def on_gpu():
    return dissected_on(GPU)


def test_a_gpu_gives_the_units_that_the_processor_gives(on_gpu):
    exact = dissected_on("cpu")
    np.testing.assert_allclose(thresholds(on_gpu), thresholds(exact), atol=1e-3 * thresholds(exact).max())
    assert np.abs(on_gpu.scores("iou") - exact.scores("iou")).to_numpy().max() < 0.02
    assert np.mean(on_gpu.table()["concept"] == exact.table()["concept"]) > 0.95


def test_two_runs_on_a_gpu_are_the_same(on_gpu):
    assert dissected_on(GPU).table().equals(on_gpu.table())


def test_effects_on_a_gpu_are_those_of_the_processor():
    on_cpu, on_gpu = (
        ul.importance(ul.load("bundled:scenes", device=device), "relu6", ul.Scenes(24), measures=["logit"])
        for device in ("cpu", GPU)
    )
    np.testing.assert_allclose(on_gpu.effect("logit"), on_cpu.effect("logit"), atol=1e-2)


def test_random_state_and_flags_of_the_gpu_stay_as_they_are():
    state, flags = torch.cuda.get_rng_state(), (torch.backends.cudnn.benchmark, torch.backends.cudnn.allow_tf32)
    ul.dissect(ul.load("bundled:scenes", device=GPU), "relu6", ul.Scenes(24), evidence=False, exemplars=0)
    assert torch.equal(state, torch.cuda.get_rng_state())
    assert (torch.backends.cudnn.benchmark, torch.backends.cudnn.allow_tf32) == flags


def test_images_drawn_on_a_gpu_are_edited_there():
    latent = ul.latents((96,), 1)[0].image
    on_cpu, on_gpu = (
        ul.edit_image(ul.load("bundled:scenes-generator", device=device), latent, remove={"block16": [0, 1]})
        for device in ("cpu", GPU)
    )
    assert np.abs(on_gpu.after.astype(int) - on_cpu.after.astype(int)).max() <= 2


@pytest.mark.parametrize("name", PASSES)
def test_whatever_passes_images_through_a_network_does_so_on_a_gpu(name, world):  # noqa: F811
    net, data, d = world
    away = replace(net, model=copy.deepcopy(net.model).to(GPU))
    on_cpu, on_gpu = (CALLS[name](one, data, d) for one in (net, away))
    assert away.device.type == GPU
    if isinstance(on_cpu, str):
        return
    assert list(on_gpu.columns) == list(on_cpu.columns)
    assert len(on_gpu) == len(on_cpu)
    for column in on_cpu.select_dtypes("float"):  # near ties may be decided otherwise, in few rows
        here, there = on_cpu[column].to_numpy(), on_gpu[column].to_numpy()
        off = np.nanmedian(np.append(np.abs(there - here), 0))
        assert off <= 0.02 * np.nanmax(np.abs(np.append(here, 0))), column
