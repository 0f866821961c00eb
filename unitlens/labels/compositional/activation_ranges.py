"""Ranges of a unit's activation, by quantiles or clusters of its positive values, and the positions in each.

Clusters are those of La Rosa, Gilpin and Capobianco, "Towards a fuller understanding of neurons with clustered
compositional explanations" (NeurIPS 2023): k-means of one dimension.
"""

from collections.abc import Iterator

import numpy as np
import torch

from unitlens.dissection.scanning import Scanner
from unitlens.labels.compositional.masks import BlockMasks, Levels, MasksOf
from unitlens.labels.compositional.settings import RangesBy
from unitlens.stats.masks import Active
from unitlens.stats.scores import Floats, Ints
from unitlens.stats.thresholds import bin_values, value_histogram

_ROUNDS = 100
"""Of k-means, at most."""


def range_masks(k: int, by: RangesBy, largest: Levels) -> MasksOf:
    """The positions of units in k ranges of their positive values, from the weakest; (U,) largest values are given."""

    def of_block(scan: Scanner, units: slice) -> BlockMasks:
        histogram = value_histogram(scan.above, scan.units).numpy()
        edges = np.stack([_edges(row, k, by) for row in histogram])
        low, high = edges[:, :-1], np.concatenate([edges[:, 1:-1], largest[units, None]], 1)
        return BlockMasks(low, high, _in_ranges(scan, low))

    return of_block


def _in_ranges(scan: Scanner, low: Levels) -> Iterator[Active]:
    """All positions above the lowest levels, in the masks of their ranges; levels are (U, k), rising."""
    level, k = torch.from_numpy(np.ascontiguousarray(low)), low.shape[1]
    for active in scan.above(level[:, 0]):
        above = active.value[:, None] > level.index_select(0, active.unit)
        yield active._replace(unit=active.unit * k + above.sum(1) - 1)


def _edges(histogram: Ints, k: int, by: RangesBy) -> Levels:
    """Ends of the ranges of one unit, (k + 1,), rising from 0, from how many of its values are in each bin."""
    middle, top = bin_values()
    positive = np.flatnonzero((histogram > 0) & (middle > 0))
    if not len(positive):
        return np.zeros(k + 1, np.float32)
    count, value = histogram[positive], middle[positive]
    up_to = np.cumsum(count)
    last = np.searchsorted(up_to, np.arange(1, k) * up_to[-1] / k)
    if by == "quantiles":
        inner = top[positive[last]]
    else:
        inner = _between_clusters(value, count.astype(np.float64), np.append(last, len(value) - 1))
    edges = np.concatenate([[0.0], inner, [np.inf]])
    return np.maximum.accumulate(edges).astype(np.float32)


def _between_clusters(value: Floats, count: Floats, last: Ints) -> Floats:
    """Where clusters of values meet, (k - 1,), by k-means, at first with as many values in each up to ``last``."""
    of_value = np.searchsorted(last, np.arange(len(value)))
    for _ in range(_ROUNDS):
        size = np.bincount(of_value, count, minlength=len(last))
        centre = np.bincount(of_value, count * value, minlength=len(last)) / np.maximum(size, 1.0)
        # A cluster that has lost all of its values has no middle: it ends where the one before it does.
        centre = np.maximum.accumulate(np.where(size > 0, centre, 0.0))
        between = (centre[1:] + centre[:-1]) / 2
        moved = np.searchsorted(between, value)
        if np.array_equal(moved, of_value):
            break
        of_value = moved
    return between
