import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import stdtrit

from tests.compared import random_counts
from unitlens.stats.counts import Counts
from unitlens.stats.folds import (
    filled_folds,
    fold_table,
    half_sample_half_width,
    jackknife_half_width,
    random_halves,
)
from unitlens.stats.recounts import recount_concepts
from unitlens.stats.scores import SCORES, matches


@given(st.integers(0, 1000), st.integers(1, 32))
@settings(max_examples=15)
def test_recount_equals_choosing_concepts_from_scratch_on_each_half(seed, folds):
    rng = np.random.default_rng(seed)
    counts = random_counts(rng, folds=folds)
    eligible = rng.random(6) < 0.8
    found = recount_concepts(counts, eligible, score=SCORES["iou"], min_iou=0.2)
    weights = np.concatenate([np.ones((1, folds)), random_halves(filled_folds(counts))])
    meet, activated = counts.intersection_by_fold(slice(0, 6)), counts.activated_by_fold[:, :, counts.category_of]
    for row, own in zip(weights, [found.whole, *found.halves], strict=True):
        expected = np.zeros(5, int)
        for unit in np.flatnonzero(eligible):
            kept = row > 0
            both, mask = meet[unit, kept].sum(0), activated[unit, kept].sum(0)
            union = mask + counts.concept_by_fold[kept].sum(0) - both
            iou = np.divide(both, union, out=np.zeros(5), where=union > 0)
            expected[iou.argmax()] += iou.max() > 0.2
        assert own.tolist() == expected.tolist()


def test_recounting_in_blocks_equals_recounting_at_once(monkeypatch):
    counts = random_counts(np.random.default_rng(0), units=40)
    whole = recount_concepts(counts, np.ones(40, bool), score=SCORES["f1"], min_iou=0.1)
    monkeypatch.setattr("unitlens.stats.recounts._AT_ONCE", 1)
    blocks = recount_concepts(counts, np.ones(40, bool), score=SCORES["f1"], min_iou=0.1)
    assert np.array_equal(whole.halves, blocks.halves)
    assert np.array_equal(whole.whole, blocks.whole)


def test_given_concepts_are_kept_on_every_half():
    counts = random_counts(np.random.default_rng(3))
    given = np.full(6, 4)
    found = recount_concepts(counts, np.ones(6, bool), score=None, min_iou=0.0, given=given)
    assert found.whole.tolist() == [0, 0, 0, 0, int((counts.iou[:, 4] > 0).sum())]


def test_unique_concepts_by_category_are_those_of_matches():
    counts = random_counts(np.random.default_rng(4), units=2)
    found = recount_concepts(counts, np.ones(2, bool), score=SCORES["iou"], min_iou=0.05, unique="category")
    expected = matches(counts.iou, counts.category_of, min_iou=0.05, unique="category").any(0)
    assert np.array_equal(found.unique, expected)
    of_units = recount_concepts(counts, np.ones(2, bool), score=SCORES["iou"], min_iou=0.05)
    assert found.unique.sum() > of_units.unique.sum()
    assert np.array_equal(of_units.unique, matches(counts.iou, counts.category_of, min_iou=0.05).any(0))


def test_intervals_by_halves_cover_as_stated_and_single_folds_are_too_wide():
    units, concepts, folds, runs = 60, 8, 32, 80
    base = np.random.default_rng(0).beta(2, 20, (units, concepts))
    values, halves, single, unique, unique_halves = [], [], [], [], []
    everything = np.ones(concepts, bool)
    for run in range(runs):
        rng = np.random.default_rng([1, run])
        shared, own = rng.gamma(4, 1 / 4, (folds, concepts)), rng.gamma(3, 1 / 3, (units, folds, concepts))
        concept = rng.poisson(60 * shared)
        meet = np.minimum(rng.poisson(base[:, None] * 60 * shared * own), concept[None])
        activated = np.maximum(rng.poisson(60, (units, folds))[:, :, None], meet.max(2, keepdims=True))
        index, judged = np.flatnonzero(meet), np.full((folds, 1), 1000)
        zeros = np.zeros(concepts, np.int64)
        counts = Counts(
            zeros, index, meet.ravel()[index], activated, activated.sum((1, 2)), concept, judged, 1000 * folds
        )
        found = recount_concepts(counts, np.ones(units, bool), score=SCORES["iou"], min_iou=0.1)
        detectors, different = found.units(everything), found.unique_concepts(everything)
        values.append(detectors.value)
        halves.append(half_sample_half_width(detectors.halves, folds))
        unique.append(different.value)
        unique_halves.append(half_sample_half_width(different.halves, folds))
        table = fold_table(counts, slice(0, units))
        single.append(jackknife_half_width((table.overlap(1 - np.eye(folds)).iou().max(2) > 0.1).sum(1).astype(float)))
    for truth, width in ((np.array(values), halves), (np.array(unique), unique_halves)):
        covered = (abs(truth - truth.mean()) <= width).mean()
        assert 0.88 <= covered <= 1.0
        assert 0.7 < np.mean(width) / (stdtrit(31, 0.975) * truth.std()) < 1.4
    assert np.mean(single) > 1.7 * np.mean(halves)
