import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import stdtrit

from tests.worlds.compared import random_counts
from unitlens.stats.counts import Counts
from unitlens.stats.folds import (
    filled_folds,
    fold_table,
    jackknife_half_width,
    random_halves,
    random_parts,
)
from unitlens.stats.recounts import Recount, mean_recount, recount_concepts, trainings_half_width
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
    for row, own in zip(weights, [found.whole, *found.parts], strict=True):
        expected = np.zeros(5, int)
        for unit in np.flatnonzero(eligible):
            kept = row > 0
            both, mask = meet[unit, kept].sum(0), activated[unit, kept].sum(0)
            union = mask + counts.concept_by_fold[kept].sum(0) - both
            iou = np.divide(both, union, out=np.zeros(5), where=union > 0)
            expected[iou.argmax()] += iou.max() > 0.2
        assert own.tolist() == expected.tolist()


def test_a_share_of_the_images_is_counted_on_parts_of_so_many_folds():
    counts = random_counts(np.random.default_rng(5))
    found = recount_concepts(counts, np.ones(6, bool), score=SCORES["iou"], min_iou=0.2, share=0.2)
    weights = random_parts(filled_folds(counts), 6)
    assert weights.sum(1).tolist() == [6.0] * len(weights)
    iou = fold_table(counts, slice(0, 6)).overlap(weights).iou()
    above = np.eye(5)[iou.argmax(2)] * (iou.max(2) > 0.2)[:, :, None]
    assert np.array_equal(found.parts, above.sum(1))
    assert np.allclose(found.whole, above.sum(1).mean(0))
    assert np.allclose(found.unique, above.any(1).mean(0))


def test_recounting_in_blocks_equals_recounting_at_once(monkeypatch):
    counts = random_counts(np.random.default_rng(0), units=40)
    whole = recount_concepts(counts, np.ones(40, bool), score=SCORES["f1"], min_iou=0.1)
    monkeypatch.setattr("unitlens.stats.recounts._AT_ONCE", 1)
    blocks = recount_concepts(counts, np.ones(40, bool), score=SCORES["f1"], min_iou=0.1)
    assert np.array_equal(whole.parts, blocks.parts)
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
        halves.append(detectors.half_width)
        unique.append(different.value)
        unique_halves.append(different.half_width)
        table = fold_table(counts, slice(0, units))
        single.append(jackknife_half_width((table.overlap(1 - np.eye(folds)).iou().max(2) > 0.1).sum(1).astype(float)))
    for truth, width in ((np.array(values), halves), (np.array(unique), unique_halves)):
        covered = (abs(truth - truth.mean()) <= width).mean()
        assert 0.88 <= covered <= 1.0
        assert 0.7 < np.mean(width) / (stdtrit(31, 0.975) * truth.std()) < 1.4
    assert np.mean(single) > 1.7 * np.mean(halves)


def simulated_counts(rng, base, folds=32):
    """Counts of units whose overlap with each concept is ``base``, on images drawn anew, or of the same generator."""
    units, concepts = base.shape
    concept = rng.poisson(60 * rng.gamma(4, 1 / 4, (folds, concepts)))
    meet = np.minimum(rng.poisson(base[:, None] * concept * rng.gamma(3, 1 / 3, (units, folds, 1))), concept[None])
    activated = np.maximum(rng.poisson(60, (units, folds))[:, :, None], meet.max(2, keepdims=True))
    index, judged = np.flatnonzero(meet), np.full((folds, 1), 1000)
    return Counts(
        np.zeros(concepts, np.int64),
        index,
        meet.ravel()[index],
        activated,
        activated.sum((1, 2)),
        concept,
        judged,
        1000 * folds,
    )


def detectors_of(counts, share=1.0):
    units, _, concepts = counts.shape
    found = recount_concepts(counts, np.ones(units, bool), score=SCORES["iou"], min_iou=0.1, share=share)
    return found.units(np.ones(concepts, bool))


def test_a_run_on_fewer_images_is_not_told_apart_from_the_same_network_on_many():
    """All folds of the first are as large as those of the second, of which it has a quarter."""
    base = np.random.default_rng(0).beta(2, 20, (60, 8))
    outside = {"as they are": 0, "at equal power": 0}
    for run in range(60):
        rng = np.random.default_rng([2, run])
        many, few = detectors_of(simulated_counts(rng, base)), simulated_counts(rng, base, folds=8)
        fewer = detectors_of(simulated_counts(np.random.default_rng([2, run]), base), share=0.25)
        for name, other in (("as they are", many), ("at equal power", fewer)):
            interval = other.minus(detectors_of(few), paired=False)
            outside[name] += not interval.low <= 0 <= interval.high
    assert outside["at equal power"] <= 6
    assert outside["at equal power"] < outside["as they are"]


@pytest.mark.parametrize("worlds", [40, pytest.param(200, marks=pytest.mark.slow)])
def test_trainings_of_the_same_kind_are_told_apart_as_often_as_stated_where_several_are_given(worlds):
    """Every training draws its units anew; images are the same for all. Single runs cannot show how trainings vary."""
    apart = {1: 0, 3: 0}
    for run in range(worlds):
        rng = np.random.default_rng([3, run])
        runs = [detectors_of(simulated_counts(rng, rng.beta(2, 20, (60, 8)))) for _ in range(6)]
        for several in apart:
            first, second = mean_recount(runs[:several]), mean_recount(runs[3 : 3 + several])
            interval = second.minus(first, paired=True)
            apart[several] += not interval.low <= 0 <= interval.high
    assert apart[3] <= 0.05 * worlds
    assert apart[1] > 0.2 * worlds


def test_the_interval_of_trainings_is_welchs():
    from scipy.stats import ttest_ind

    first, second = np.array([1.0, 2.0, 4.0]), np.array([3.0, 8.0])
    ends = ttest_ind(second, first, equal_var=False).confidence_interval()
    assert np.isclose(trainings_half_width([first, second]), (ends.high - ends.low) / 2)
    assert trainings_half_width([first, first[:1]]) == stdtrit(2, 0.975) * np.sqrt(np.var(first, ddof=1) * 4 / 3)
    same = Recount(np.ones(2), np.ones(4), 32, 16, 32)
    assert same.minus(same, paired=True) == (0, 0, 0)
