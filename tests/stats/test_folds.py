import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tests.worlds.compared import random_counts
from unitlens.stats.folds import (
    even_and_odd,
    filled_folds,
    fold_table,
    iou_interval,
    jackknife_half_width,
    random_halves,
    subsample_half_width,
)


@given(seed=st.integers(0, 1000), folds=st.integers(1, 32))
def test_a_fold_table_has_the_counts_of_filled_folds(seed, folds):
    counts = random_counts(np.random.default_rng(seed), folds=folds)
    table = fold_table(counts, slice(2, 5))
    dense = np.zeros(counts.shape, np.int64)
    dense.flat[counts.index] = counts.value
    assert table.folds.tolist() == filled_folds(counts).tolist() == list(range(folds))
    for concept, category in enumerate(counts.category_of):
        assert np.array_equal(table.intersection[:, :, concept], dense[2:5, :, concept])
        assert np.array_equal(table.activated[:, :, concept], counts.activated_by_fold[2:5, :, category])
        assert np.array_equal(table.judged[:, concept], counts.judged_by_fold[:, category])
    assert np.array_equal(table.concept, counts.concept_by_fold)


def test_an_overlap_sums_every_fold_as_often_as_its_weight():
    table = fold_table(random_counts(np.random.default_rng(1)), slice(0, 6))
    weights = np.random.default_rng(2).integers(0, 4, (3, 32)).astype(float)
    overlap = table.overlap(weights)
    for row, weight in enumerate(weights.astype(int)):
        repeated = np.repeat(np.arange(32), weight)
        assert np.array_equal(overlap.intersection[row], table.intersection[:, repeated].sum(1))
        assert np.array_equal(overlap.activated[row], table.activated[:, repeated].sum(1))
        assert np.array_equal(overlap.concept[row, 0], table.concept[repeated].sum(0))
        assert np.array_equal(overlap.judged[row, 0], table.judged[repeated].sum(0))


def test_random_halves_come_with_their_complements():
    halves = random_halves(np.arange(11))
    assert np.array_equal(halves[:50] + halves[50:], np.ones((50, 11)))
    assert set(halves.sum(1)) == {5.0, 6.0}


def test_even_and_odd_folds_go_by_their_numbers():
    assert even_and_odd(np.array([0, 3, 4, 9])).tolist() == [[1, 0, 1, 0], [0, 1, 0, 1]]
    assert even_and_odd(np.array([2, 4])).any(1).tolist() == [True, False]


def test_below_eight_folds_there_is_no_interval():
    left_out = np.random.default_rng(0).random((7, 3))
    assert np.isnan(jackknife_half_width(left_out)).all()
    assert np.isnan(iou_interval(left_out.mean(0), left_out, np.ones((7, 3), bool))).all()
    assert np.isnan(
        subsample_half_width(np.random.default_rng(0).random((100, 3)), folds=7, size=3.5, stands_for=7)
    ).all()
