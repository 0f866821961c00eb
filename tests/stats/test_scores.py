import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unitlens.errors import UnitlensError
from unitlens.stats.counts import Counts
from unitlens.stats.scores import SCORES, Overlap, score_function

CELLS = st.lists(st.integers(0, 40), min_size=4, max_size=4).filter(sum)


def overlap(both, mask_only, concept_only, neither):
    return Overlap(
        *(
            np.array([n])
            for n in (both, both + mask_only, both + concept_only, both + mask_only + concept_only + neither)
        )
    )


@given(cells=CELLS)
def test_scores_equal_their_definitions_on_lists_of_positions(cells):
    mask = [True] * (cells[0] + cells[1]) + [False] * (cells[2] + cells[3])
    concept = [True] * cells[0] + [False] * cells[1] + [True] * cells[2] + [False] * cells[3]
    n, both = len(mask), cells[0]
    a, g = sum(mask), sum(concept)
    either = sum(m or c for m, c in zip(mask, concept, strict=True))
    table = overlap(*cells)
    assert table.iou()[0] == pytest.approx(both / either if either else 0)
    assert table.precision()[0] == pytest.approx(both / a if a else 0)
    assert table.recall()[0] == pytest.approx(both / g if g else 0)
    assert table.f1()[0] == pytest.approx(2 * both / (a + g) if a + g else 0)
    assert table.lift()[0] == pytest.approx(both * n / (a * g) if a * g else 0)
    assert table.pmi()[0] == (pytest.approx(math.log(both * n / (a * g))) if both else -math.inf)
    joint = -sum(c / n * math.log(c / n) for c in cells if c)
    alone = -sum(p * math.log(p) for x in (a / n, g / n) for p in (x, 1 - x) if p > 0)
    assert table.iqr()[0] == pytest.approx((alone - joint) / joint if joint else 0, abs=1e-9)


def test_scores_are_bounded_at_perfect_and_at_no_agreement():
    for name in ("iou", "precision", "recall", "f1", "dice", "iqr"):
        assert SCORES[name](overlap(5, 0, 0, 5))[0] == pytest.approx(1)
    for name in ("iou", "precision", "recall", "f1", "dice", "lift"):
        assert SCORES[name](overlap(0, 5, 5, 0))[0] == 0


def test_an_unknown_score_suggests_the_nearest():
    with pytest.raises(UnitlensError, match=r"no score 'recal' \(did you mean recall\?\); there are iou, precision"):
        score_function("recal")


def counts_of(seed, units=3, folds=32, concepts=4):
    rng = np.random.default_rng(seed)
    dense = rng.integers(0, 3, (units, folds, concepts)) * (rng.random((units, folds, concepts)) < 0.3)
    index = np.flatnonzero(dense)
    counts = Counts(
        np.array([0, 0, 1, 1]),
        index,
        dense.ravel()[index],
        rng.integers(5, 9, (units, folds, 2)),
        rng.integers(100, 200, units),
        rng.integers(5, 9, (folds, concepts)),
        rng.integers(20, 30, (folds, 2)),
        1000,
    )
    return counts, dense


@given(seed=st.integers(0, 10**6))
def test_counts_are_kept_sparse_without_loss_and_add(seed):
    (first, dense), (second, other) = counts_of(seed), counts_of(seed + 1)
    assert np.array_equal(first.intersection, dense.sum(1))
    for unit in range(3):
        assert np.array_equal(first.intersection_by_fold(slice(unit, unit + 1)), dense[unit : unit + 1])
    both = first + second
    assert np.array_equal(both.intersection_by_fold(slice(0, 3)), dense + other)
    assert np.array_equal(both.activated, first.activated + second.activated)
    assert both.positions == 2000
    again = Counts.from_arrays(both.arrays())
    assert all(np.array_equal(value, again.arrays()[name]) for name, value in both.arrays().items())


def test_counts_of_other_shape_do_not_add():
    with pytest.raises(UnitlensError, match="cannot be added"):
        counts_of(0)[0] + counts_of(0, units=4)[0]
