"""Exact sums: the same bits in any order and split, and what math.fsum gives."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unitlens.stats.exact_sums import BITS, PIECES, ExactSums

NUMBERS = st.floats(-1e30, 1e30) | st.floats(-1, 1) | st.integers(-5, 5).map(float)
ANY = st.floats(allow_nan=False, allow_infinity=False)


def summed(numbers, groups, *, count=3):
    sums = ExactSums(count, numbers.shape[1:])
    sums.add(groups, numbers)
    return sums


@st.composite
def given_numbers(draw, numbers=NUMBERS):
    """Numbers of two columns, each in one of three groups, and another order of them."""
    rows = draw(st.lists(st.tuples(numbers, numbers, st.integers(0, 2)), min_size=1, max_size=8))
    order = draw(st.permutations(range(len(rows))))
    return np.array([row[:2] for row in rows]), np.array([row[2] for row in rows]), np.array(order)


@given(given_numbers(ANY), st.data())
def test_any_order_and_any_split_give_the_same_bits(drawn, data):
    numbers, groups, order = drawn
    whole = summed(numbers, groups).sums()
    cut = data.draw(st.integers(0, len(order)))
    first, second = ExactSums(3, (2,)), ExactSums(3, (2,))
    first.add(groups[order[:cut]], numbers[order[:cut]])
    for row in order[cut:]:  # one after the other, a column at a time
        for column in (1, 0):
            second.add(groups[[row]], numbers[[row], column : column + 1], first=column)
    first.merge(second.state("part"), "part")
    assert first.sums().tobytes() == whole.tobytes()


@given(given_numbers())
def test_sums_are_those_of_all_numbers_rounded_once(drawn):
    numbers, groups, _ = drawn
    found = summed(numbers, groups).sums()
    cut_off = len(numbers) * (np.abs(numbers).max(0) * 2.0 ** (1 - BITS * (PIECES - 1)) + 2.0**-1040)
    for group in range(3):
        exact = np.array([math.fsum(column) for column in numbers[groups == group].T])
        assert (np.abs(found[group] - exact) <= np.spacing(np.abs(exact)) + cut_off).all()


@given(st.lists(st.integers(-(2**50), 2**50), min_size=1, max_size=10), st.integers(-900, 900))
def test_numbers_within_60_bits_are_summed_exactly_at_any_scale(integers, exponent):
    numbers = np.ldexp(np.array(integers, float), exponent)[:, None]
    assert summed(numbers, np.zeros(len(numbers), int), count=1).sums().item() == math.fsum(numbers[:, 0])


def test_a_column_does_not_depend_on_another():
    rng = np.random.default_rng(0)
    numbers, groups = rng.normal(size=(40, 2)) * [1e-20, 1e20], rng.integers(0, 3, 40)
    together = summed(numbers, groups).sums()
    alone = [summed(numbers[:, [column]], groups).sums()[:, 0] for column in (0, 1)]
    np.testing.assert_array_equal(together.T, alone)


def test_a_number_that_is_not_finite_leaves_other_columns_alone():
    sums = summed(np.array([[1.0, 2.0], [np.inf, 3.0], [4.0, 5.0]]), np.array([0, 1, 1])).sums()
    assert np.isnan(sums[:, 0]).all()
    assert sums[:, 1].tolist() == [2.0, 8.0, 0.0]


@pytest.mark.parametrize("images", [0, 1])
def test_without_numbers_sums_are_zero(images):
    sums = summed(np.zeros((images, 2)), np.zeros(images, int)).sums()
    assert sums.tolist() == np.zeros((3, 2)).tolist()
