"""Sums of floats that do not depend on the order in which numbers come, or on who adds which of them."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from unitlens.stats.scores import Floats, Ints

BITS = 40
"""Of a piece of a number. With 63 bits for their sum, 2^23 pieces fit in it."""

PIECES = 3
"""Pieces that are kept of a number, the highest of which is that of the largest number of its column."""

_LOWEST = -24
"""The lowest place that a highest piece has: what lies below 2^-1040 counts as 0."""

_EMPTY = _LOWEST - 2 * PIECES
"""The place of a column to which nothing but zeros was added."""

_NOT_FINITE = 30
"""The place of a column with a number that is NaN or infinite, above that of any other."""


class ExactSums:
    """Exact sums of numbers by group, for any number of columns.

    Floats round whenever they are added, so that another order, or another split over processes, gives other last bits.
    Here each number is cut at fixed powers of 2 into pieces of 40 bits, and pieces of one place are added as integers.
    A column keeps three of them, from the place of its largest number on: 80 bits below that number at least. What lies
    lower is cut off from all numbers alike, whenever they came. The sums are rounded once, in the end.

    Parameters
    ----------
    groups : int
    shape : tuple of int
        Of the columns.

    Examples
    --------
    >>> import numpy as np
    >>> numbers = np.array([[1e16], [1.0], [-1e16], [1.0]])
    >>> sums = ExactSums(1, (1,))
    >>> sums.add(np.zeros(4, np.int64), numbers)
    >>> sums.sums().item(), numbers.sum().item()
    (2.0, 1.0)
    """

    def __init__(self, groups: int, shape: tuple[int, ...]) -> None:
        self._pieces: Ints = np.zeros((PIECES, groups, *shape), np.int64)
        self._places: Ints = np.full(shape, _EMPTY, np.int64)  # of the highest piece of each column
        self._filled = np.zeros(groups, bool)  # the others are zeros, and of many classes few may have images

    def add(self, groups: npt.NDArray[np.integer[Any]], numbers: Floats, *, first: int = 0) -> None:
        """Add N numbers to each of some columns.

        Parameters
        ----------
        groups : int array, (N,)
            To which sum each belongs.
        numbers : float64 array, (N, ..., n)
            For the columns from ``first`` on along the last dimension; where one is not finite, all sums of its column
            are NaN.
        first : int
        """
        if not len(groups):
            return
        here = slice(first, first + numbers.shape[-1])
        largest = np.abs(numbers).max(0)
        if not np.isfinite(largest).all():
            numbers = np.where(np.isfinite(numbers), numbers, 0.0)
        self._lift(here, _place_of(largest))
        order = np.argsort(groups, kind="stable")
        which, starts = np.unique(groups[order], return_index=True)
        self._filled[which] = True
        left = numbers[order] * np.ldexp(1.0, -BITS * np.maximum(self._places[..., here], _LOWEST))
        for pieces in self._pieces:
            whole = np.trunc(left)
            pieces[which, ..., here] += np.add.reduceat(whole.astype(np.int64), starts)
            left -= whole
            left *= 2.0**BITS

    def state(self, name: str) -> dict[str, npt.NDArray[Any]]:
        """All that was added, as arrays whose names begin with a name."""
        return {f"{name}/pieces": self._pieces, f"{name}/places": self._places}

    def merge(self, state: Mapping[str, npt.NDArray[Any]], name: str) -> None:
        """Add all that was added to another one, as its `state` says it."""
        other = ExactSums(0, ())
        other._pieces, other._places = state[f"{name}/pieces"].copy(), state[f"{name}/places"].copy()
        self._lift(slice(None), other._places)
        other._lift(slice(None), self._places)
        self._pieces += other._pieces
        self._filled |= other._pieces.any(axis=(0, *range(2, other._pieces.ndim)))

    def sums(self) -> Floats:
        """The sums, each rounded once: float64, (groups, ...)."""
        found = np.where(self._places == _NOT_FINITE, np.nan, np.zeros(self._pieces.shape[1:]))
        found[self._filled] = self._rounded(self._pieces[:, self._filled])
        return found

    def _rounded(self, pieces_of: Ints) -> Floats:
        """The sums of some groups."""
        highest, *lower = pieces_of
        total = np.zeros(highest.shape)
        carried: Ints = np.zeros(highest.shape, np.int64)
        for number, pieces in reversed(list(enumerate(lower, 1))):
            pieces = pieces + carried
            carried = (pieces + 2 ** (BITS - 1)) >> BITS
            total += np.ldexp((pieces - (carried << BITS)).astype(np.float64), -number * BITS)
        with np.errstate(over="ignore"):  # what is too large for a float is infinite
            rounded = np.ldexp(total + (highest + carried), BITS * np.maximum(self._places, _LOWEST))
        return np.where(self._places == _NOT_FINITE, np.nan, rounded)

    def _lift(self, here: slice, places: Ints) -> None:
        """Move the pieces of columns so that the highest one is at some place, where it is lower."""
        lifts = np.maximum(places - self._places[..., here], 0)
        filled = self._places[..., here] != _EMPTY
        for lift in np.unique(lifts[(lifts > 0) & filled]).tolist():
            lifted = (lifts == lift) & filled
            pieces = self._pieces[..., here]
            kept = pieces[: max(PIECES - lift, 0), :, lifted]
            pieces[:, :, lifted] = 0
            pieces[min(lift, PIECES) :, :, lifted] = kept
        self._places[..., here] += lifts


def _place_of(largest: Floats) -> Ints:
    """The place of the highest piece of numbers up to these."""
    exponents = np.frexp(largest)[1].astype(np.int64)
    places = np.where(largest > 0, np.maximum((exponents - 1) // BITS, _LOWEST), _EMPTY)
    return np.where(np.isfinite(largest), places, _NOT_FINITE)
