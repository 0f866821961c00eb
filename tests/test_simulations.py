"""Small versions of benchmarks/evidence.py, whose figures are in docs/evidence.md."""

import importlib.util
from pathlib import Path

import pytest
import torch

from unitlens.evidence import interval_half_width


def load():
    path = Path(__file__).parents[1] / "benchmarks" / "evidence.py"
    spec = importlib.util.spec_from_file_location("simulations", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


evidence = load()


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(evidence, "SIDE", 14)
    monkeypatch.setattr(evidence, "COARSE", 5)


def test_intervals_cover_about_as_often_as_they_say():
    found = evidence.coverage(5, pictures=300, population=3000)
    assert 0.85 <= found["all pairs"] <= 0.99  # 100 intervals, of which those of one sample are not independent


def test_intervals_that_were_half_as_wide_would_not_pass(monkeypatch):
    monkeypatch.setattr("unitlens.evidence.interval_half_width", lambda *given: interval_half_width(*given) / 2)
    assert evidence.coverage(5, pictures=300, population=3000)["all pairs"] < 0.8


def test_among_null_units_hardly_any_is_called_and_planted_ones_are_found():
    assert evidence.false_discoveries(4, planted=0.0, pictures=300, units=40)["share of null units called"] <= 0.01
    mixed = evidence.false_discoveries(4, planted=0.5, by=1.5, pictures=300, units=40)
    assert mixed["false discovery rate"] <= 0.08
    assert mixed["share of planted units found"] > 0.3


def test_held_out_iou_is_that_of_fresh_pictures_and_the_plain_one_flatters():
    found = evidence.heldout(4, pictures=300, fresh=1000)
    for kind in ("null units", "planted units"):
        error = max(found[f"{kind}: its simulation error"], 5e-4)
        assert abs(found[f"{kind}: held-out IoU too high by"]) < 4 * error
    assert found["null units: plain IoU too high by"] > 1e-3


def test_units_of_the_world_are_planted_as_strongly_as_asked():
    drawn = evidence.world(50, torch.tensor([0.0, 3.0]), seed=0)
    there = [drawn.labels == concept for concept in (1, 2)]
    raised = [drawn.maps[:, unit][there[unit]].mean() - drawn.maps[:, unit][~there[unit]].mean() for unit in (0, 1)]
    assert abs(raised[0]) < 1
    assert raised[1] > 2
    assert torch.isfinite(drawn.maps).all()
