"""A dissection with a fast copy of the network: what it comes to, and what it says of itself."""

import json

import pytest
import torch
from torch import nn

import unitlens as ul
from tests.worlds.planted import ColourWorld
from unitlens.dissection.rounding.deviation import FEWEST


def normed_net():
    """A small network with a batch norm behind its convolution."""
    torch.manual_seed(0)
    layer = nn.Conv2d(3, 8, 3, padding=1)
    norm = nn.BatchNorm2d(8)
    norm.running_mean.normal_()
    model = nn.Sequential(layer, norm, nn.ReLU(inplace=True), nn.Conv2d(8, 4, 1), nn.Flatten(), nn.LazyLinear(3)).eval()
    model(torch.zeros(1, 3, 32, 32))
    return ul.classifier(model, image_size=32, mean=(0, 0, 0), std=(1, 1, 1))


@pytest.fixture(scope="module")
def data():
    return ColourWorld(40)


OPTIONS = {"quantile": 0.05, "grid": 8, "exemplars": 0}


@pytest.fixture(scope="module")
def exact(data):
    return ul.dissect(normed_net(), ["1", "2"], data, **OPTIONS)


@pytest.mark.parametrize(("fast", "precision", "allowed"), [(True, "float32", 1e-5), ("bfloat16", "bfloat16", 0.03)])
def test_it_says_how_far_the_first_images_are_off(exact, data, fast, precision, allowed):
    made = ul.dissect(normed_net(), ["1", "2"], data, fast=fast, **OPTIONS)
    assert made.settings.fast == precision
    assert exact.info["deviation"] == {}
    assert set(made.info["deviation"]) == {"1", "2"}
    for off in made.info["deviation"].values():
        assert {name: off[name] for name in ("precision", "channels_last", "folded", "norms", "images", "units")} == {
            "precision": precision, "channels_last": True, "folded": 1, "norms": 1, "images": FEWEST, "units": 8,
        }  # fmt: skip
        assert 0 <= off["activation"] < allowed
        assert 0 <= off["threshold"] < allowed
        assert 0 <= off["concepts"] <= 8
    thresholds = exact.table()["threshold"]
    assert (made.table()["threshold"] - thresholds).abs().max() < allowed * thresholds.max()


def test_it_is_saved_and_opened_again(exact, data, tmp_path):
    made = ul.dissect(normed_net(), ["1", "2"], data, fast=True, **OPTIONS)
    ul.report(tmp_path / "run", made)
    again = ul.open_run(tmp_path / "run")
    assert again.settings == made.settings
    assert again.info["deviation"] == made.info["deviation"]
    run = json.loads((tmp_path / "run" / "run.json").read_text())
    assert run["settings"]["fast"] == "float32"
    run["settings"]["fast"] = "float8"
    (tmp_path / "run" / "run.json").write_text(json.dumps(run))
    with pytest.raises(ul.UnitlensError, match="float8"):
        ul.open_run(tmp_path / "run")


def test_a_layer_in_front_of_a_norm_returns_what_it_did(data):
    exact = ul.dissect(normed_net(), "0", data, **OPTIONS)
    with pytest.warns(ul.UnitlensWarning, match="No batch norm of Sequential stands alone behind a convolution"):
        fast = ul.dissect(normed_net(), "0", data, fast=True, **OPTIONS)
    assert fast.info["deviation"]["0"]["folded"] == 0
    assert (fast.table()["threshold"] - exact.table()["threshold"]).abs().max() < 1e-5


def test_so_few_images_have_no_thresholds(data):
    made = ul.dissect(normed_net(), "5", data, fast=True, quantile=0.05, exemplars=0, evidence=False)
    assert made.info["deviation"]["5"]["threshold"] is None
    assert made.info["deviation"]["5"]["concepts"] is None


@pytest.mark.slow
def test_controls_go_the_same_way(data):
    exact, fast = (
        ul.dissect(normed_net(), "2", data, control=["untrained", "rotated"], fast=fast, **OPTIONS)
        for fast in (False, True)
    )
    for one, other in zip(exact.info["comparison"], fast.info["comparison"], strict=True):
        assert one == other
