"""Masks of a layer, of units or of ranges of their activation, and their positions by signature."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from unitlens.dissection.memory import BLOCK_UNITS
from unitlens.dissection.positions.marks import as_runs, count_marks
from unitlens.dissection.scanning import Scanner
from unitlens.dissection.store.passes import StoredPass
from unitlens.labels.compositional.signatures import StoredSignatures
from unitlens.stats.blocks import in_blocks
from unitlens.stats.draws.partners import Partners
from unitlens.stats.folds import FOLDS
from unitlens.stats.masks import Active, Upsampling
from unitlens.stats.scores import Ints

Levels = npt.NDArray[np.float32]

_BYTES = 1 << 27
"""Of the counts of a block of units, at most."""


class BlockMasks(NamedTuple):
    """The masks of a block of U units, the same number M for each.

    Attributes
    ----------
    low, high : float32 arrays, (U, M)
        The values that belong to each: above the one, and up to the other.
    positions : iterator of Active
        Their positions, piece by piece; ``unit`` counts through all masks of the block, unit after unit.
    """

    low: Levels
    high: Levels
    positions: Iterator[Active]


MasksOf = Callable[[Scanner, slice], BlockMasks]
"""Makes the masks of a block of units."""


def unit_masks(threshold: Levels) -> MasksOf:
    """The masks of units: where they are above their thresholds, (U,)."""

    def of_block(scan: Scanner, units: slice) -> BlockMasks:
        level = threshold[units]
        high = np.full((len(level), 1), np.inf, np.float32)
        return BlockMasks(level[:, None], high, scan.above(torch.from_numpy(level)))

    return of_block


@dataclass(frozen=True, eq=False)
class Counted:
    """Positions of a unit's mask by signature.

    Attributes
    ----------
    unit, number : int
        The unit, and which of its masks, from 0.
    low, high : float
        The values that belong to it: above the one, and up to the other.
    by_fold : int64 array, (32, S)
    shifted : int64 array, (draws, S)
        With the labels of other images.
    """

    unit: int
    number: int
    low: float
    high: float
    by_fold: Ints
    shifted: Ints


def counted_masks(
    stored: StoredPass,
    layer: str,
    signed: StoredSignatures,
    masks_of: MasksOf,
    *,
    each: int,
    upsampling: Upsampling,
    partners: Partners,
) -> Iterator[Counted]:
    """Count the masks of all units of a layer by what is marked at their positions, mask after mask.

    Parameters
    ----------
    stored : StoredPass
    layer : str
    signed : StoredSignatures
        What is marked at the positions of the pass.
    masks_of : callable
        Makes the masks.
    each : int
        How many a unit has.
    upsampling : {"edges", "zeros"}
    partners : Partners
        For each draw and image, the image whose labels it is given.
    """
    maps, folds, marks = stored.layers[layer], stored.folds, signed.marks()
    of_unit = each * 8 * (FOLDS + 2 * len(partners)) * max(signed.count, 1)
    for units in in_blocks(maps.units, min(BLOCK_UNITS, _BYTES // of_unit)):
        scan = Scanner(maps, units, stored.labels.grid, upsampling, images=stored.images)
        low, high, positions = masks_of(scan, units)
        (counts,) = count_marks([(as_runs(positions, low.size, marks), low.size)], marks, folds, partners)
        for row, (unit, number) in enumerate(np.ndindex(*low.shape)):
            yield Counted(
                unit=units.start + unit,
                number=number,
                low=float(low[unit, number]),
                high=float(high[unit, number]),
                by_fold=counts.by_part[row],
                shifted=counts.shifted[row].sum(1),
            )
