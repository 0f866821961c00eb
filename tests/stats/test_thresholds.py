from unittest.mock import patch

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests import naive
from unitlens.errors import UnitlensError
from unitlens.stats import thresholds
from unitlens.stats.masks import Active
from unitlens.stats.thresholds import Tally, kth_largest, side_by_side, side_by_side_type, tally, threshold_rank

VALUES = st.lists(st.floats(-(2.0**120), 2.0**120, width=32), min_size=2, max_size=60)


def scan_of(rows):
    """A stream over units x values, in two pieces."""

    def scan(level, top=None):
        top = torch.full_like(level, torch.inf) if top is None else top
        for first, last in ((0, rows.shape[1] // 2), (rows.shape[1] // 2, rows.shape[1])):
            part = rows[:, first:last]
            unit, place = torch.nonzero((part > level[:, None]) & (part <= top[:, None]), as_tuple=True)
            yield Active(unit, torch.zeros_like(unit), place, part[unit, place])

    return scan


WAYS = pytest.mark.parametrize("way", [(thresholds.SORTED, 1024, 1 << 16), (0, 1024, 1 << 16), (1, 4, 8)], ids=str)
"""Few values in a bin are sorted, many are counted again: in finer bins, or in bins that are hardly finer."""


def assert_exact(rows, rank, guesses, way):
    sorted_, first_bins, bins = way
    with patch.multiple(thresholds, SORTED=sorted_, _FIRST_BINS=first_bins, BINS=bins):
        found = kth_largest(scan_of(rows), rank, guesses, rows.amin(1), rows.amax(1))
    expected = torch.sort(rows, dim=1, descending=True).values[:, rank]
    assert torch.equal((found + 0.0).view(torch.int32), (expected + 0.0).view(torch.int32))


@WAYS
@given(values=VALUES, rank=st.integers(0, 30), guess=st.floats(-(2.0**120), 2.0**120, width=32))
@example(values=[0.0, 0.0, 1.0, 1.0, 1.0, -1.0, -2.0], rank=5, guess=0.0)  # the bin ends just below 0
@example(values=[0.0, 0.0, 0.0, 0.0, 1.0, -1.0, -2.0], rank=5, guess=0.0)
@settings(max_examples=60)
def test_the_kth_largest_equals_sorting_for_any_guess(way, values, rank, guess):
    rows = torch.tensor([values, values[::-1]], dtype=torch.float32)
    assert_exact(rows, min(rank, len(values) - 1), [torch.tensor([guess, -guess])], way)


@WAYS
@given(seed=st.integers(0, 1 << 16), rank=st.integers(0, 199), digits=st.integers(0, 3))
@settings(max_examples=30)
def test_the_kth_largest_of_units_of_all_kinds_at_once(way, seed, rank, digits):
    rows = torch.randn(6, 200, generator=torch.Generator().manual_seed(seed))
    rows = (rows * 10**digits).round() / 10**digits  # with values that repeat
    rows = rows * torch.tensor([1.0, 1e-30, 0.0, -1.0, 1e30, 1.0])[:, None]
    rows[5].clamp_(min=0.0)
    guesses = [torch.full((6,), level) for level in (0.5, 0.0)]
    assert_exact(rows, rank, guesses, way)


@WAYS
def test_the_kth_largest_of_equal_values_denormals_and_both_zeros(way):
    rows = torch.tensor([[0.0, -0.0, 0.0, 0.0], [1e-42, -1e-42, 1e-45, 0.0], [3.0, 3.0, 3.0, 3.0]])
    rows = torch.cat([rows, torch.tensor([[-1e-45, -0.0, 0.0, -1e-45], [-3e38, 3e38, 3.4e38, -3.4e38]])])
    for rank in range(4):
        assert_exact(rows, rank, [torch.zeros(5)], way)


@given(quantile=st.decimals("0.001", "0.999", places=3), positions=st.integers(1, 10**7))
def test_the_rank_is_floor_of_the_decimal_product(quantile, positions):
    if quantile * positions < 1:
        with pytest.raises(UnitlensError, match="fewer than the 1 / "):
            threshold_rank(float(quantile), positions)
    else:
        assert threshold_rank(float(quantile), positions) == int(quantile * positions)


@pytest.mark.parametrize("quantile", [0, 1, -0.1, 1.5])
def test_a_quantile_lies_between_0_and_1(quantile):
    with pytest.raises(UnitlensError, match="must lie between 0 and 1"):
        threshold_rank(quantile, 1000)


def test_the_naive_threshold_leaves_at_most_k_values_above():
    values = [5, 4, 4, 3, 3, 3, 2, 1, 0, 0]
    level = naive.threshold(values, 0.3)
    assert level == 3
    assert sum(value > level for value in values) == 3


def test_tally_counts_every_plane_of_every_position():
    labels = torch.tensor([[[0, 1, 2], [3, 3, 0]], [[1, 1, 1], [0, 0, 3]]], dtype=torch.int16)
    unit, part = torch.tensor([0, 0, 1]), torch.tensor([0, 1, 1])
    cell = torch.tensor([1, 4, 6 + 2, 6 + 5, 6, 9])  # of the first image, position 1; of the second, 2 and 0
    counts = torch.zeros(2, 2, 4, dtype=torch.int64)
    tally(counts, (unit * 2 + part) * 4, cell, labels)
    expected = torch.zeros(2, 2, 4, dtype=torch.int64)
    for unit, part, column in [(0, 0, 1), (0, 0, 3), (0, 1, 1), (0, 1, 3), (1, 1, 1), (1, 1, 0)]:
        expected[unit, part, column] += 1
    assert torch.equal(counts, expected)


@given(seed=st.integers(0, 99), planes=st.integers(1, 3), columns=st.sampled_from([3, 50, 5000]))
def test_positions_that_are_counted_again_and_again_are_counted_as_once(seed, planes, columns):
    generator = torch.Generator().manual_seed(seed)
    unit, image, position, part = (torch.randint(most, (200,), generator=generator) for most in (4, 5, 12, 2))
    row = (unit * 2 + part) * columns
    cell = ((image * planes)[:, None] + torch.arange(planes)) * 12 + position[:, None]
    kind = side_by_side_type(4 * 2 * columns)
    tallied = Tally(row, cell.view(-1), counters=4 * 2 * columns, kind=kind)
    once, again = (torch.zeros(2, 4, 2, columns, dtype=torch.int64) for _ in range(2))
    for _ in range(2):
        both = torch.randint(columns, (2, 5, planes, 12), generator=generator).to(torch.int16)
        for counts, labels in zip(once, both, strict=True):
            tally(counts, row, cell.view(-1), labels)
        in_another_order = np.asfortranarray(both.numpy().transpose(1, 2, 3, 0))  # as labels may stand in memory
        tallied.add(again, side_by_side([in_another_order[..., 0], in_another_order[..., 1]], kind))
    assert torch.equal(once, again)
