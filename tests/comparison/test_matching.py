import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import stdtrit

from tests.worlds.compared import random_counts
from unitlens.comparison.matching import LayerToMatch, match_units, profiles
from unitlens.stats.counts import Counts


@given(st.integers(0, 1000))
@settings(max_examples=10)
def test_a_network_matches_itself_in_any_order_of_units(seed):
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
    columns, concept = np.arange(5), counts.iou.argmax(1)
    found = match_units(
        LayerToMatch(counts, np.arange(7), concept, columns),
        LayerToMatch(shuffled, np.arange(7), concept[order], columns),
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


def test_the_interval_of_a_similarity_is_its_jackknife():
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


def test_layers_without_units_match_nothing():
    counts = random_counts(np.random.default_rng(0))
    nobody = LayerToMatch(counts, np.zeros(0, np.int64), np.zeros(6, np.int64), np.arange(5))
    assert len(match_units(nobody, nobody, paired=True).unit) == 0
