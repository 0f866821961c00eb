"""On a device of its own, nothing of a network is mixed with what is in this process, and results are the same."""

import copy
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

import unitlens as ul
from tests.dissection.work.small_world import NET, OPTIONS, Stopping, assert_same
from tests.test_left_behind import CALLS, PASSES, drawn, marked, photos, world  # noqa: F401
from tests.worlds.elsewhere import DEVICE, another_device
from unitlens.models.transfers import to_device

pytestmark = pytest.mark.filterwarnings("ignore::unitlens.UnitlensWarning")

USUAL = ("dissect", "importance", "edit")


@pytest.fixture
def elsewhere(monkeypatch):
    with another_device(monkeypatch):
        yield


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name in USUAL else pytest.mark.slow) for name in PASSES]
)
def test_a_network_elsewhere_gives_what_it_gives_here(name, world, request):  # noqa: F811
    net, data, d = world
    here = CALLS[name](net, data, d)
    request.getfixturevalue("elsewhere")
    away = replace(net, model=copy.deepcopy(net.model).to(DEVICE))
    assert away.device == DEVICE
    there = CALLS[name](away, data, d)
    if isinstance(here, str):
        assert there == here
    else:
        pd.testing.assert_frame_equal(there, here)


def test_what_a_gpu_refuses_is_refused(elsewhere):
    there, here = torch.ones(2, 3, device=DEVICE), torch.ones(2, 3)
    assert (there + 1).sum().item() == (there + here.sum()).cpu().mean() + 5 == 12
    assert torch.equal((there @ to_device(here, DEVICE).T).cpu(), here @ here.T)
    with pytest.raises(RuntimeError, match="same device"):
        there + here
    with pytest.raises(RuntimeError, match="same device"):
        there.index_select(1, torch.tensor([0]))
    with pytest.raises(TypeError, match="numpy"):
        np.asarray(there)
    with pytest.raises(RuntimeError, match="generator"):
        torch.rand(2, device=DEVICE, generator=torch.Generator())
    with pytest.raises(RuntimeError, match="not implemented"):
        there.long() @ there.long().T


def test_what_is_under_way_there_when_a_pass_is_stopped_is_kept(elsewhere, tmp_path):
    away = replace(NET, model=copy.deepcopy(NET.model).to(DEVICE))
    with pytest.raises(KeyboardInterrupt) as stopped:
        ul.dissect(away, "conv", Stopping(at=9), checkpoint=tmp_path / "kept", **OPTIONS)
    assert stopped.value.__notes__[0].startswith("Kept up to image 8 of 14")
    gone_on = ul.dissect(away, "conv", Stopping(), checkpoint=tmp_path / "kept", **OPTIONS)
    assert_same(gone_on, ul.dissect(away, "conv", Stopping(), **OPTIONS))
