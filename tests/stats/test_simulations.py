"""Small versions of benchmarks/evidence/calibration.py, whose figures are in docs/evidence.md."""

import numpy as np
import pytest
import torch

from benchmarks.evidence import context, planted, scenes
from benchmarks.evidence.tables import FOLDS, by_fold


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(planted, "SIDE", 14)
    monkeypatch.setattr(planted, "COARSE", 5)


@pytest.mark.slow
def test_intervals_cover_about_as_often_as_stated():
    found = planted.coverage(5, images=300, population=3000)
    assert 0.85 <= found["all pairs"] <= 0.99  # 100 intervals, of which those of one sample are not independent


def narrow_intervals(monkeypatch, factor):
    """Make all intervals so much narrower."""
    from unitlens.stats.folds import iou_interval

    def narrow(value, *given):
        low, high = iou_interval(value, *given)
        return value - factor * (value - low), value + factor * (high - value)

    monkeypatch.setattr("unitlens.stats.evidence.iou_interval", narrow)


@pytest.mark.slow
def test_intervals_of_half_the_width_cover_too_rarely(monkeypatch):
    narrow_intervals(monkeypatch, 0.5)
    assert planted.coverage(3, images=300, population=2000)["all pairs"] < 0.8


@pytest.mark.slow
def test_intervals_that_are_a_fifth_too_short_are_noticed(monkeypatch):
    # 1,200 intervals each, simulation error about 0.7 %: 95 % and 88 % are far apart.
    assert 0.93 <= planted.coverage(60, images=300)["all pairs"] <= 0.98
    narrow_intervals(monkeypatch, 0.8)
    assert planted.coverage(60, images=300)["all pairs"] < 0.92


@pytest.mark.slow
def test_intervals_of_alike_images_cover_where_folds_go_by_cluster():
    by_image, by_cluster = (
        planted.coverage(20, images=300, clusters_of=5, by_cluster=by)["all pairs"] for by in (False, True)
    )
    assert by_cluster > 0.88
    assert by_image < 0.8


def test_null_units_are_not_significant_and_planted_ones_are():
    assert planted.false_discoveries(4, planted=0.0, images=300, units=40)["share of null units significant"] <= 0.01
    mixed = planted.false_discoveries(4, planted=0.5, by=1.5, images=300, units=40)
    assert mixed["false discovery rate"] <= 0.08
    assert mixed["share of the others significant"] > 0.3


@pytest.mark.slow
@pytest.mark.parametrize(
    ("alike", "wrongly"),
    [
        (planted.in_clusters(200, 10), 0.9),
        pytest.param(planted.in_clusters(200, 4), 0.6, marks=pytest.mark.slow),
        pytest.param(planted.in_clusters(200, 2, correlation=1.0), 0.3, marks=pytest.mark.slow),
        (planted.with_copies(200, 0.1), 0.0),
    ],
    ids=["clusters of 10", "clusters of 4", "copies in pairs", "one in ten a copy"],
)
def test_null_units_of_alike_images_are_not_significant_where_labels_move_by_group(alike, wrongly):
    def samples_that_call(grouped):
        found = planted.false_discoveries(8, planted=0.0, images=200, units=30, alike=alike, grouped=grouped)
        return found["samples that call a null unit"]

    assert samples_that_call(grouped=True) <= 0.25  # at a rate of 7 %, more in one of 60 tests; the seeds are fixed
    assert samples_that_call(grouped=False) >= wrongly


def test_planted_units_of_alike_images_are_found_where_labels_move_by_group():
    alike = planted.in_clusters(300, 4)
    mixed = planted.false_discoveries(3, planted=0.5, by=2.0, images=300, units=30, alike=alike)
    assert mixed["share of the others significant"] > 0.5


def test_held_out_iou_is_unbiased_and_plain_iou_is_too_high():
    found = planted.heldout(4, images=300, fresh=1000)
    for kind in ("null units", "planted units"):
        error = max(found[f"{kind}: its simulation error"], 5e-4)
        assert abs(found[f"{kind}: held-out IoU too high by"]) < 4 * error
    assert found["null units: plain IoU too high by"] > 1e-3


def test_planted_units_are_as_strong_as_asked():
    drawn = planted.world(50, torch.tensor([0.0, 3.0]), seed=0)
    there = [drawn.labels == concept for concept in (1, 2)]
    raised = [drawn.maps[:, unit][there[unit]].mean() - drawn.maps[:, unit][~there[unit]].mean() for unit in (0, 1)]
    assert abs(raised[0]) < 1
    assert raised[1] > 2
    assert torch.isfinite(drawn.maps).all()


@pytest.mark.parametrize(("kinds", "images"), [(2, 100), (12, 150)])
def test_units_that_follow_a_kind_of_image_are_not_significant_within_it(kinds, images):
    found = context.null_rates(12, kinds=kinds, images=images, units=30)
    assert found["labels of any image: samples that call a unit"] > 0.7
    assert found["labels of the same kind: samples that call a unit"] <= 0.25  # at a rate of 5 %, more in one of 500
    assert found["labels of the same kind: units called"] <= 0.02


def test_units_that_follow_a_thing_are_significant_within_small_kinds_and_the_others_are_estimated():
    found = context.sorted_right(3, kinds=12, images=200, by=1.2)
    assert found["things: called a thing"] > 0.6
    assert found["false discovery rate"] < 0.1
    assert abs(found["of these estimated to"] - found["of these follow things"]) < 0.3 * found["units context"]


def test_null_units_are_not_significant_where_few_images_are_annotated_for_the_same():
    assert context.small_pools(12, units=30)["samples that call a unit"] <= 0.25


def population_of_scenes(images=120, units=30, strength=2.0):
    """The planted world as the other simulation takes it."""
    drawn = planted.world(images, torch.full((units,), strength), seed=1)
    active = np.nonzero((drawn.maps > planted.thresholds(drawn.maps)[:, None]).transpose(0, 1).numpy())
    return drawn, scenes.Population.of(active, drawn.labels[:, None].numpy(), planted.CONCEPTS)


def test_counts_of_a_sample_equal_those_of_its_images():
    drawn, population = population_of_scenes()
    masks = drawn.maps > planted.thresholds(drawn.maps)[:, None]
    rng = np.random.default_rng(0)
    labels, folds = rng.integers(0, 120, 50), rng.integers(0, FOLDS, 50)
    maps = rng.integers(0, 120, (30, 50))
    given = torch.stack([masks[maps[unit], unit] for unit in range(30)], 1)
    expected = by_fold(planted.tables(given, drawn.labels[labels]), folds)
    for found, own in zip(population.counts(maps, labels, folds), expected, strict=True):
        assert np.array_equal(found, own)
    for found, own in zip(population.counts(maps, labels), expected, strict=True):
        assert np.array_equal(found[0], own.sum(0))


def test_units_with_maps_of_other_images_are_not_significant():
    _, population = population_of_scenes(images=300)
    found = population.false_discoveries(3, real=0.5, images=150)
    assert found["false discovery rate"] <= 0.08
    assert found["share of the others significant"] > 0.5


def test_held_out_iou_of_a_sample_is_that_of_the_other_images():
    _, population = population_of_scenes(images=400)
    found = population.heldout(4, images=150)
    assert abs(found["maps of other images: held-out IoU too high by"]) < 3e-3
    assert found["maps of other images: plain IoU too high by"] > 5e-3


def test_intervals_of_samples_cover():
    _, population = population_of_scenes(images=400)
    found = population.coverage(3, images=200)
    assert 0.8 <= found["best concept, 30 pairs (30)"] <= 1
