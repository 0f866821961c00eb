"""Exact thresholds and counts over a stream of active positions, in bounded memory; everything here adds."""

from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from fractions import Fraction
from typing import NamedTuple

import torch
from torch import Tensor

from unitlens.errors import UnitlensError
from unitlens.stats.masks import Active

BINS = 1 << 16

_FINITE_KEYS = (-0x7F800001, 0x7F800000)  # of minus and plus infinity

Scan = Callable[[Tensor], Iterator[Active]]
"""Given a level for each unit, (U,) float32, yields all positions strictly above it, in pieces."""


def threshold_rank(quantile: float, positions: int) -> int:
    """Rank of the threshold among a unit's values, counted from 0 at the largest: ``floor(quantile * positions)``.

    Parameters
    ----------
    quantile : float
        In (0, 1), read as the decimal that it prints as, so that 0.1 of 30 is 3.
    positions : int
        Number of values, all images together.

    Raises
    ------
    UnitlensError
        If the quantile is no share, or there are fewer than 1 / quantile positions.

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
        raise UnitlensError(
            f"There are only {positions} positions in all, fewer than the 1 / {quantile} = {1 / quantile:g} that a "
            f"quantile of {quantile} needs: use more images, a finer grid or a larger quantile."
        )
    return rank


def kth_largest(scan: Scan, rank: int, guesses: list[Tensor], floor: Tensor) -> Tensor:
    """The exact value of one rank for every unit, by two histograms over the 32 bits of a float.

    Nothing is sorted and nothing is kept but 65,536 counts a unit, so that the length of the stream does not matter.

    Parameters
    ----------
    scan : callable
        Active positions above given levels.
    rank : int
        Counted from 0 at the largest.
    guesses : list of float32 tensors, (U,)
        Levels that probably lie below the value, best guess first; only the speed depends on them.
    floor : float32 tensor, (U,)
        No value of the unit is smaller.

    Returns
    -------
    float32 tensor, (U,)
    """
    level = torch.full_like(floor, torch.inf)
    reached = torch.zeros_like(floor, dtype=torch.bool)
    for guess in [*guesses, floor]:
        level = torch.where(reached, level, torch.minimum(level, torch.maximum(guess, floor)))
        high = _histogram(scan(level), len(floor), lambda active: (active.unit, _key(active.value) >> 16))
        reached = high.sum(1) > rank
        if bool((reached | (level <= floor)).all()):
            break
    bin_, rest = _bin_of(high, torch.where(reached, rank, 0))
    bin_ -= BINS // 2
    just_below = _value((bin_ << 16) - 1)

    def low_bits(active: Active) -> tuple[Tensor, Tensor]:
        key = _key(active.value)
        inside = torch.nonzero(key >> 16 == bin_[active.unit]).view(-1)
        return active.unit[inside], (key[inside] & 0xFFFF) - BINS // 2

    low = _histogram(scan(torch.where(reached, just_below, torch.inf)), len(floor), low_bits)
    last, _ = _bin_of(low, rest)
    # Where fewer positions than asked for lie above the unit's smallest value, that value holds the rank.
    return torch.where(reached, _value((bin_ << 16) + last), floor)


class Edges(NamedTuple):
    """Levels that cut the values of units into intervals, highest first.

    Attributes
    ----------
    level : float32 tensor, (U, J)
        Falling.
    mean, square : float64 tensors, (U, J + 1)
        About the mean of the values between the levels, and of their squares.
    """

    level: Tensor
    mean: Tensor
    square: Tensor


def value_histogram(scan: Scan, units: int) -> Tensor:
    """How many of each unit's values share their upper 16 bits, in rising order, (U, 65536) int64."""
    everything = torch.full((units,), -torch.inf)
    return _histogram(scan(everything), units, lambda active: (active.unit, _key(active.value) >> 16))


def level_edges(histogram: Tensor, quantiles: Sequence[float]) -> Edges:
    """Levels just below the bins that hold given quantiles from the top, and at 0, where rectifiers cut.

    Parameters
    ----------
    histogram : int64 tensor, (U, 65536)
        See `value_histogram`.
    quantiles : sequence of float
        Shares of all positions that are to lie above.
    """
    positions = int(histogram[0].sum())
    ranks = [min(threshold_rank(quantile, positions), positions - 1) for quantile in quantiles]
    bins = [_bin_of(histogram, torch.full((len(histogram),), rank))[0] - BINS // 2 for rank in ranks]
    bins.append(torch.ones_like(bins[0]))  # the first bin above 0
    cut = torch.stack(bins, 1).sort(1, descending=True).values
    below = _value((cut << 16) - 1)
    level = torch.where(cut == 0, -torch.finfo(torch.float32).tiny, below)  # -0.0 would not lie below 0
    middle = _value((torch.arange(BINS) - BINS // 2 << 16) + BINS // 2).double()
    middle[BINS // 2] = 0.0
    middle[~middle.isfinite()] = 0.0  # bins of no number, which are empty
    sums = []
    for weight in (torch.ones_like(middle), middle, middle**2):
        from_top = torch.nn.functional.pad((histogram * weight).flip(1).cumsum(1).flip(1), (0, 1))
        above = torch.cat([from_top.gather(1, cut + BINS // 2), from_top[:, :1]], 1)
        sums.append(above.diff(dim=1, prepend=torch.zeros_like(above[:, :1])))
    count = sums[0].clamp(min=1)
    return Edges(level, sums[1] / count, sums[2] / count)


def _histogram(stream: Iterator[Active], units: int, of: Callable[[Active], tuple[Tensor, Tensor]]) -> Tensor:
    counts: Tensor | None = None
    for active in stream:
        unit, half = of(active)
        if counts is None:
            counts = torch.zeros(units * BINS, dtype=torch.int64, device=unit.device)
        index = unit * BINS + half + BINS // 2
        counts.scatter_add_(0, index, torch.ones_like(index))
    return torch.zeros(units, BINS, dtype=torch.int64) if counts is None else counts.view(units, BINS)


def _bin_of(counts: Tensor, rank: Tensor) -> tuple[Tensor, Tensor]:
    """The bin, counted from the smallest, that holds each row's rank from the top, and the rank within that bin."""
    coarse = counts.view(len(counts), 256, -1)
    block, rest = _from_top(coarse.sum(2), rank)
    found, rest = _from_top(coarse[torch.arange(len(counts)), block], rest)
    return block * coarse.shape[2] + found, rest


def _from_top(counts: Tensor, rank: Tensor) -> tuple[Tensor, Tensor]:
    """The same by one running sum over the bins."""
    up_to = counts.cumsum(1)
    total = up_to[:, -1]
    found = (up_to < (total - rank)[:, None]).sum(1).clamp(max=counts.shape[1] - 1)
    return found, rank - (total - up_to.gather(1, found[:, None])[:, 0])


def _key(value: Tensor) -> Tensor:
    """Floats as integers of the same order: the bits, with those of negative numbers turned round."""
    bits = (value + 0.0).view(torch.int32)  # -0.0 + 0.0 is 0.0: one zero, one key
    return (bits ^ ((bits >> 31) & 0x7FFFFFFF)).long()


def _value(key: Tensor) -> Tensor:
    bits = key.clamp(*_FINITE_KEYS).int()
    return (bits ^ ((bits >> 31) & 0x7FFFFFFF)).view(torch.float32)


def tally(counts: Tensor, active: Active, part: Tensor, labels: Tensor) -> None:
    """Add active positions to counts by unit, part and what is marked there.

    Parameters
    ----------
    counts : int64 tensor, (U, parts, columns)
        Added to in place.
    active : Active
        ``image`` indexes the images of ``labels``.
    part : int64 tensor, (active positions,)
        The fold of its image, or the level that it reaches.
    labels : int16 tensor, (images, L, H * W)
        The column of each position in each label plane.
    """
    parts, columns = counts.shape[1:]
    row = active.unit.mul(parts).add_(part).mul_(columns)
    place = active.image.mul(labels.shape[1] * labels.shape[2]).add_(active.position)
    one = torch.ones_like(row)
    for plane in range(labels.shape[1]):
        column = labels.view(-1).index_select(0, place)
        counts.view(-1).scatter_add_(0, row + column, one)
        if plane + 1 < labels.shape[1]:
            place += labels.shape[2]
