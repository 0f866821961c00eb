import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import stdtrit

from tests.compared import random_counts
from unitlens.comparison.matching import LayerToMatch, match_units, profiles
from unitlens.stats.counts import Counts
from unitlens.stats.folds import (
    filled_folds,
    fold_table,
    half_sample_half_width,
    jackknife_half_width,
    random_halves,
)
from unitlens.stats.recounts import recount_labels
from unitlens.stats.scores import SCORES, matches

# ---- counting again


@given(st.integers(0, 1000), st.integers(1, 32))
@settings(max_examples=15)
def test_recount_equals_choosing_labels_from_scratch_on_each_half(seed, folds):
    rng = np.random.default_rng(seed)
    counts = random_counts(rng, folds=folds)
    eligible = rng.random(6) < 0.8
    found = recount_labels(counts, eligible, score=SCORES["iou"], min_iou=0.2)
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


def test_recount_in_blocks_is_recount_at_once(monkeypatch):
    counts = random_counts(np.random.default_rng(0), units=40)
    whole = recount_labels(counts, np.ones(40, bool), score=SCORES["f1"], min_iou=0.1)
    monkeypatch.setattr("unitlens.stats.recounts._AT_ONCE", 1)
    blocks = recount_labels(counts, np.ones(40, bool), score=SCORES["f1"], min_iou=0.1)
    assert np.array_equal(whole.halves, blocks.halves)
    assert np.array_equal(whole.whole, blocks.whole)


def test_recount_keeps_labels_where_no_score_of_counts_chose_them():
    counts = random_counts(np.random.default_rng(3))
    label = np.full(6, 4)
    found = recount_labels(counts, np.ones(6, bool), score=None, min_iou=0.0, label=label)
    assert found.whole.tolist() == [0, 0, 0, 0, int((counts.iou[:, 4] > 0).sum())]


def test_unique_concepts_by_category_are_those_of_matches():
    counts = random_counts(np.random.default_rng(4), units=2)
    found = recount_labels(counts, np.ones(2, bool), score=SCORES["iou"], min_iou=0.05, unique="category")
    expected = matches(counts.iou, counts.category_of, min_iou=0.05, unique="category").any(0)
    assert np.array_equal(found.unique, expected)
    label = recount_labels(counts, np.ones(2, bool), score=SCORES["iou"], min_iou=0.05)
    assert found.unique.sum() > label.unique.sum()
    assert np.array_equal(label.unique, matches(counts.iou, counts.category_of, min_iou=0.05).any(0))


def test_halves_come_with_what_they_leave_out():
    halves = random_halves(np.arange(11))
    assert np.array_equal(halves[:50] + halves[50:], np.ones((50, 11)))
    assert set(halves.sum(1)) == {5.0, 6.0}


def test_intervals_cover_at_their_rate_where_leaving_out_one_fold_is_far_too_wide():
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
        found = recount_labels(counts, np.ones(units, bool), score=SCORES["iou"], min_iou=0.1)
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


# ---- matching


@given(st.integers(0, 1000))
@settings(max_examples=10)
def test_a_network_matches_itself_whatever_the_order_of_its_units(seed):
    rng = np.random.default_rng(seed)
    counts = random_counts(rng, units=7)
    order = rng.permutation(7)
    shuffled = Counts(
        counts.category_of,
        *_shuffled(counts, order),
        counts.activated_by_fold[order],
        counts.active[order],
        counts.concept_by_fold,
        counts.judged_by_fold,
        counts.positions,
    )
    columns, label = np.arange(5), counts.iou.argmax(1)
    found = match_units(
        LayerToMatch(counts, np.arange(7), label, columns),
        LayerToMatch(shuffled, np.arange(7), label[order], columns),
        paired=True,
    )
    assert np.allclose(found.similarity, 1)
    assert np.allclose(found.similarity_half_width, 0, atol=1e-6)
    assert np.allclose(found.difference, 0)
    rows = counts.iou[found.unit] - shuffled.iou[found.other]
    assert np.allclose(rows, 0)


def _shuffled(counts, order):
    meet = counts.intersection_by_fold(slice(0, len(order)))[order]
    index = np.flatnonzero(meet)
    return index, meet.ravel()[index]


def test_interval_of_a_similarity_is_the_jackknife_of_its_definition():
    rng = np.random.default_rng(5)
    counts = random_counts(rng)
    other = random_counts(rng)
    sides_ = [LayerToMatch(one, np.arange(6), one.iou.argmax(1), np.arange(5)) for one in (counts, other)]
    found = match_units(*sides_, paired=True)
    left = []
    for fold in range(32):
        kept = np.arange(32) != fold
        rows = []
        for one in (counts, other):
            meet, activated = one.intersection_by_fold(slice(0, 6)), one.activated_by_fold[:, :, one.category_of]
            both, mask, concept = meet[:, kept].sum(1), activated[:, kept].sum(1), one.concept_by_fold[kept].sum(0)
            scores = both / (mask + concept - both)
            rows.append(profiles(scores, scores.mean(0)))
        left.append((rows[0][found.unit] * rows[1][found.other]).sum(1))
    expected = stdtrit(31, 0.975) * np.sqrt(31 * np.var(left, axis=0))
    assert np.allclose(found.similarity_half_width, expected)


def test_nothing_to_match_is_no_error():
    counts = random_counts(np.random.default_rng(0))
    nobody = LayerToMatch(counts, np.zeros(0, np.int64), np.zeros(6, np.int64), np.arange(5))
    assert len(match_units(nobody, nobody, paired=True).unit) == 0
