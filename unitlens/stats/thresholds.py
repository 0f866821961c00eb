"""Exact thresholds and counts over a stream of active positions, in memory that does not grow with the stream.

Floats are read as integer keys of the same order (`_key`), which are counted in bins of equally many keys: the bin that
holds a rank has few values, which are sorted, or it is cut into finer bins.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from decimal import Decimal
from fractions import Fraction
from itertools import chain
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from unitlens.errors import UnitlensError
from unitlens.stats.masks import Active

BINS = 1 << 16
"""Bins of a histogram: as many as the upper half of the 32 bits of a float can name."""

SORTED = BINS // 8
"""Values of a unit, on average over a block, up to which sorting takes less time than so many bins."""

_FIRST_BINS = 1 << 10
"""Bins of the first histogram: those of a block of units fit a cache."""

_INFINITE_KEYS = (-0x7F800001, 0x7F800000)  # of minus and plus infinity

Scan = Callable[[Tensor], Iterator[Active]]
"""Given a level for each unit, (U,) float32, yields all positions strictly above it, in parts."""


class ScanBetween(Protocol):
    """A scan that can leave out what lies above a second level of each unit."""

    def __call__(self, level: Tensor, top: Tensor | None = None) -> Iterator[Active]:
        """Yield all positions strictly above the first level and, if there is a second, not above that."""


class TooFewPositionsError(UnitlensError):
    """There are fewer positions than a quantile needs, which follows from it and the images alone."""


def threshold_rank(quantile: float, positions: int) -> int:
    """Compute the threshold's rank among a unit's values, from 0 for the largest: ``floor(quantile * positions)``.

    Parameters
    ----------
    quantile : float
        In (0, 1), read as the decimal that it prints as, so that 0.1 of 30 is 3.
    positions : int
        Number of values, all images together.

    Raises
    ------
    UnitlensError
        If the quantile is not between 0 and 1.
    TooFewPositionsError
        If there are fewer than 1 / quantile positions.

    Examples
    --------
    >>> threshold_rank(0.01, 730_688)
    7306
    >>> threshold_rank(0.1, 30)
    3
    """
    if not 0 < quantile < 1:
        raise UnitlensError(f"The quantile is {quantile}; it must lie between 0 and 1, such as 0.01.")
    rank = int(Fraction(Decimal(str(quantile))) * positions)
    if rank < 1:
        raise TooFewPositionsError(
            f"There are only {positions} positions in all, fewer than the 1 / {quantile} = {1 / quantile:g} that a "
            f"quantile of {quantile} needs: use more images, a finer grid or a larger quantile."
        )
    return rank


def kth_largest(scan: ScanBetween, rank: int, guesses: Iterable[Tensor], floor: Tensor, ceiling: Tensor) -> Tensor:
    """Find the exact value of one rank for every unit, in two scans of what lies above a guess.

    The first counts values in bins between the guess and the unit's largest value, the second sorts those in the bin
    that holds the rank. Where these are many, they are counted again, in finer bins.

    Parameters
    ----------
    scan : callable
        Active positions between given levels.
    rank : int
        Counted from 0 for the largest.
    guesses : iterable of float32 tensors, (U,)
        Levels that probably lie below the value, best guess first; only the speed depends on them.
    floor, ceiling : float32 tensors, (U,)
        No value of the unit is smaller, and none larger.

    Returns
    -------
    float32 tensor, (U,)
    """
    # A level is low enough for a unit if more than `rank` positions lie above it; units for which it is not go on to
    # the next guess, and at last to the floor.
    level = torch.full_like(floor, torch.inf)
    counts = torch.zeros(len(floor), _FIRST_BINS, dtype=torch.int64)
    reached = torch.zeros_like(floor, dtype=torch.bool)
    for guess in chain(guesses, [floor]):
        level = torch.where(reached, level, torch.minimum(level, torch.maximum(guess, floor)))
        bins = _Bins.between(_key(level), _key(ceiling), _FIRST_BINS)
        counted = bins.counts_of(scan(torch.where(reached, torch.inf, level)))
        counts = torch.where(reached[:, None], counts, counted)
        reached = counts.sum(1) > rank
        if bool((reached | (level <= floor)).all()):
            break
    in_bin = torch.where(reached, rank, 0)
    while True:
        bin_, in_bin = _bin_of_rank(counts, in_bin)
        low, high = bins.of(bin_)
        if bool((low == high)[reached].all()):
            found = _value(low)
            break
        within = scan(torch.where(reached, _just_below(low), torch.inf), _largest_of(high))
        values, stream = _gathered(within, SORTED * len(floor))
        if values is not None:
            found = _value_of_rank(values, in_bin)
            break
        bins = _Bins.between(low, high, BINS)
        counts = bins.counts_of(stream)
    # Where at most `rank` positions lie above the floor, the floor itself has the rank.
    return torch.where(reached, found, floor)


class _Bins(NamedTuple):
    """For each unit equally many intervals of keys, which follow each other.

    Attributes
    ----------
    first : int64 tensor, (U,)
        The first one begins at ``first << shift``.
    shift : int64 tensor, (U,)
        Each has ``1 << shift`` keys.
    number : int
        Of each unit.
    """

    first: Tensor
    shift: Tensor
    number: int

    @classmethod
    def between(cls, low: Tensor, high: Tensor, number: int) -> "_Bins":
        """As narrow as so many can be that hold the keys from ``low`` to ``high``, (U,) each."""
        span = (high - low).clamp(min=0)
        shift = torch.frexp((span // number).double()).exponent.long()  # bits of a whole number
        shift += (high >> shift) - (low >> shift) >= number  # as a bin begins at a multiple of its width
        return cls(low >> shift, shift, number)

    def of(self, bin_: Tensor) -> tuple[Tensor, Tensor]:
        """The lowest and the highest key of one bin of each unit."""
        low = self.first + bin_ << self.shift
        return low, low + (1 << self.shift) - 1

    def counts_of(self, stream: Iterable[Active]) -> Tensor:
        """Count the values of each unit by bin, (U, number) int64; all of them lie in the bins."""
        units = len(self.first)
        counts = torch.zeros(units * self.number, dtype=torch.int64)
        start = torch.arange(units) * self.number - self.first
        for active in stream:
            index = _key(active.value).bitwise_right_shift_(self.shift.index_select(0, active.unit))
            _add_ones(counts, index.add_(start.index_select(0, active.unit)))
        return counts.view(units, self.number)


def _add_ones(counts: Tensor, index: Tensor) -> None:
    """Add one to a count for each of some places, in place."""
    if 4 * len(index) < len(counts):  # few places: a count of all would take longer
        counts.scatter_add_(0, index.long(), torch.ones(1, dtype=counts.dtype).expand(len(index)))
    else:
        counts.add_(torch.bincount(index, minlength=len(counts)))


def _just_below(key: Tensor) -> Tensor:
    """The largest values whose keys are smaller."""
    return _value(torch.where(key == 0, -2, key - 1))  # -1 would be that of -0.0, and 0 is not above it


def _largest_of(key: Tensor) -> Tensor:
    """The largest values whose keys are not larger."""
    return _value(torch.where(key == -1, -2, key))  # -1 would be that of -0.0, and 0 does not lie above it


class _Values(NamedTuple):
    """Some values and their units, in any order."""

    unit: Tensor
    value: Tensor


def _gathered(stream: Iterator[Active], most: int) -> tuple[_Values | None, Iterable[Active]]:
    """All values of a stream if they are at most so many, and else None; and the stream again, from its beginning."""
    parts, size = list[Active](), 0
    for active in stream:
        parts.append(active)
        size += len(active.unit)
        if size > most:
            return None, chain(parts, stream)
    if not parts:
        return _Values(torch.zeros(0, dtype=torch.int64), torch.zeros(0)), parts
    return _Values(torch.cat([part.unit for part in parts]), torch.cat([part.value for part in parts])), parts


def _value_of_rank(values: _Values, rank: Tensor) -> Tensor:
    """The value of a rank among each unit's values, (U,), by sorting; any number for units with too few."""
    if not len(values.unit):
        return torch.zeros(len(rank))
    # Units and keys of their values make one number, so that one sort is enough.
    joined = ((values.unit.long() << 32) + _key(values.value)).sort().values
    count = torch.bincount(values.unit, minlength=len(rank))
    at = (count.cumsum(0) - 1 - rank).clamp(min=0)
    return _value(joined[at] - (torch.arange(len(rank)) << 32))


class Edges(NamedTuple):
    """Levels that cut the values of units into intervals, highest first.

    Attributes
    ----------
    level : float32 tensor, (U, J)
        Falling.
    mean, square : float64 tensors, (U, J + 1)
        Approximate mean of the values between the levels, and of their squares.
    """

    level: Tensor
    mean: Tensor
    square: Tensor


def value_histogram(scan: Scan, units: int) -> Tensor:
    """Count how many of each unit's values share their upper 16 bits, in rising order, (U, 65536) int64.

    A bin is some 1 % of its value wide, and every finite value has one, so that neither range nor scale must be known.
    """
    everything = torch.full((units,), -torch.inf)
    return _histogram(scan(everything), units, lambda active: (active.unit, _key(active.value) >> 16))


def level_edges(histogram: Tensor, quantiles: Sequence[float]) -> Edges:
    """Choose levels just below the bins that hold given quantiles from the top, and at 0, where rectifiers cut.

    Parameters
    ----------
    histogram : int64 tensor, (U, 65536)
        See `value_histogram`.
    quantiles : sequence of float
        Shares of all positions that are to lie above.
    """
    positions = int(histogram[0].sum())
    ranks = [min(threshold_rank(quantile, positions), positions - 1) for quantile in quantiles]
    keys = [_bin_of_rank(histogram, torch.full((len(histogram),), rank))[0] - BINS // 2 for rank in ranks]
    keys.append(torch.ones_like(keys[0]))  # the first bin above 0
    cut = torch.stack(keys, 1).sort(1, descending=True).values
    # A level is the largest value below its bin, as "active" means strictly above. Below bin 0, which begins with 0,
    # that would be -0.0, and 0 does not lie above it.
    below = _value((cut << 16) - 1)
    level = torch.where(cut == 0, -torch.finfo(torch.float32).tiny, below)
    # Each bin counts with its middle, to which its values are within 0.4 %; the one of 0 with 0, bins of NaN and
    # infinity, which are empty, too.
    middle = _value((torch.arange(BINS) - BINS // 2 << 16) + BINS // 2).double()
    middle[BINS // 2] = 0.0
    middle[~middle.isfinite()] = 0.0
    weights = (torch.ones_like(middle), middle, middle**2)
    count, total, squares = (_sums_between(histogram * weight, cut + BINS // 2) for weight in weights)
    count = count.clamp(min=1)
    return Edges(level, total / count, squares / count)


def bin_values() -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """The middle and the largest value of each bin of `value_histogram`, (65536,) each; 0 for the bin that begins at 0.

    Bins of NaN and infinity, which are empty, have 0 as well.
    """
    start = torch.arange(BINS) - BINS // 2 << 16
    middle, top = (_value(start + last).double().numpy() for last in (BINS // 2, (1 << 16) - 1))
    unused = ~np.isfinite(middle) | ~np.isfinite(top) | (np.arange(BINS) == BINS // 2)
    return np.where(unused, 0.0, middle), np.where(unused, 0.0, top)


def _sums_between(values: Tensor, cut: Tensor) -> Tensor:
    """Sums over the bins above each cut that do not lie above the one before it, (U, J + 1); all that is left last."""
    from_top = torch.nn.functional.pad(values.flip(1).cumsum(1).flip(1), (0, 1))
    above = torch.cat([from_top.gather(1, cut), from_top[:, :1]], 1)
    return above.diff(dim=1, prepend=torch.zeros_like(above[:, :1]))


def _histogram(stream: Iterable[Active], units: int, bins_of: Callable[[Active], tuple[Tensor, Tensor]]) -> Tensor:
    """Count the values of each unit by bin, (U, 65536) int64; bins are given as -32,768 to 32,767."""
    counts: Tensor | None = None
    for active in stream:
        unit, signed_bin = bins_of(active)
        if counts is None:
            counts = torch.zeros(units * BINS, dtype=torch.int64, device=unit.device)
        index = unit.long() * BINS + signed_bin + BINS // 2
        counts.scatter_add_(0, index, torch.ones_like(index))
    return torch.zeros(units, BINS, dtype=torch.int64) if counts is None else counts.view(units, BINS)


def _bin_of_rank(counts: Tensor, rank: Tensor) -> tuple[Tensor, Tensor]:
    """Find the bin, counted from the smallest, that holds each row's rank from the top, and the rank within that bin.

    The bins are searched in blocks of 256, and then within one block: two short running sums in place of a long one.
    """
    coarse = counts.view(len(counts), min(256, counts.shape[1]), -1)
    block, rest = _search_from_top(coarse.sum(2), rank)
    within, rest = _search_from_top(coarse[torch.arange(len(counts)), block], rest)
    return block * coarse.shape[2] + within, rest


def _search_from_top(counts: Tensor, rank: Tensor) -> tuple[Tensor, Tensor]:
    """Find bin and rank within it by one running sum over the bins."""
    up_to = counts.cumsum(1)
    total = up_to[:, -1]
    bin_ = (up_to < (total - rank)[:, None]).sum(1).clamp(max=counts.shape[1] - 1)
    return bin_, rank - (total - up_to.gather(1, bin_[:, None])[:, 0])


def _key(value: Tensor) -> Tensor:
    """Read floats as integers of the same order: their bits, with those of negative numbers inverted but for the sign.

    The bits of positive floats rise with the number, those of negative ones fall.
    """
    bits = (value + 0.0).view(torch.int32)  # -0.0 + 0.0 is 0.0: both zeros have one key
    return (bits ^ ((bits >> 31) & 0x7FFFFFFF)).long()


def _value(key: Tensor) -> Tensor:
    """Read keys as floats again, the inverse of `_key`; keys beyond the infinities, which would be NaN, are clipped."""
    bits = key.clamp(*_INFINITE_KEYS).int()
    return (bits ^ ((bits >> 31) & 0x7FFFFFFF)).view(torch.float32)


class Tally:
    """Counts the same active positions with the labels of one set of images after another, as `tally` does.

    What does not depend on the labels is computed once. Labels of two sets lie side by side (`side_by_side`), in 16 or
    32 bits each: so a position is looked up for both of them at once.

    Parameters
    ----------
    row, cell : integer tensors, (active positions,), (active positions * L,)
        As for `tally`; not empty.
    counters : int
        Of one set.
    kind : torch.dtype
        Of `side_by_side_type`, for at least as many counters.
    """

    def __init__(self, row: Tensor, cell: Tensor, *, counters: int, kind: torch.dtype) -> None:
        self._kind, self._cell = kind, cell
        # The second set is counted behind the first one.
        of_both = torch.stack([row, row + counters], 1).to(kind).view(_PAIRS[kind]).view(-1)
        self._row = of_both.repeat_interleave(len(cell) // len(row))

    def add(self, counts: Tensor, labels: Tensor) -> None:
        """Add to the counts of two sets, (2, U, parts, columns), in place; the labels are those of `side_by_side`."""
        pairs = labels.view(-1).view(_PAIRS[self._kind]).index_select(0, self._cell).add_(self._row)
        places, size = pairs.view(self._kind), counts[0].numel()
        if 2 * len(places) < size:  # few places: see `_add_ones`
            for of_set, found, first in zip(counts, places.view(-1, 2).unbind(1), (0, size), strict=True):
                _add_ones(of_set.view(-1), found - first)
        else:
            counts.add_(torch.bincount(places, minlength=2 * size).view(counts.shape))


_PAIRS = {torch.int16: torch.int32, torch.int32: torch.int64}
"""Types in which two numbers are looked up together."""


def side_by_side_type(counters: int) -> torch.dtype:
    """The type in which labels of two sets stand side by side, if each set is counted by so many counters."""
    return torch.int16 if 2 * counters <= torch.iinfo(torch.int16).max else torch.int32


def side_by_side(labels: Sequence[npt.NDArray[np.integer]], kind: torch.dtype) -> Tensor:
    """Labels of two sets of as many images, (images, L, H * W) each, as `Tally.add` takes them."""
    return torch.stack([torch.from_numpy(of_set) for of_set in labels], -1).to(kind).contiguous()  # whatever theirs was


def tally(counts: Tensor, row: Tensor, cell: Tensor, labels: Tensor) -> None:
    """Add active positions to counts by unit, part and marked column, in place.

    Parameters
    ----------
    counts : int64 tensor, (U, parts, columns)
        Changed in place. The part is the fold of an image, or the level that an activation reaches.
    row : integer tensor, (active positions,)
        The first counter of each position, of its unit and part.
    cell : integer tensor, (active positions * L,)
        Where the labels hold those of each position, one plane after the other. The planes of a position follow each
        other: their counters differ, and none waits for the one before it.
    labels : int16 tensor, (images, L, H * W)
        The column of each position in each label plane.
    """
    column = labels.view(-1).index_select(0, cell).view(-1, labels.shape[1])
    _add_ones(counts.view(-1), (row[:, None] + column).view(-1))
