"""From the spool to counts: exact thresholds of a block of units, and what is marked where they are active."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from unitlens.masks import Active, SamplePlan, Upsampling
from unitlens.observed import LayerMaps, Marked
from unitlens.presets import Definitions
from unitlens.statistics import BINS, FOLDS, Scan, kth_largest, tally

CHUNK_VALUES = 1 << 21
"""Values of the layer grid that are looked at together: a few megabytes, near the size of a cache."""

KEPT = 1 << 25
"""Active positions of one block that are kept between scans, 16 bytes each."""

_GUESS_PICTURES = 512
_GUESS_SHARES = (2.0, 6.0)


@dataclass(frozen=True)
class BlockCounts:
    """Counts of a block of units.

    Attributes
    ----------
    threshold : float32 array, (U,)
    by_fold : int64 array, (U, 32, columns)
        Active positions by fold and by what is marked there, all planes together.
    active : int64 array, (U, 32)
        Active positions by fold.
    shifted : int64 array, (U, draws, columns)
        The same positions with the labels of other pictures.
    """

    threshold: npt.NDArray[np.float32]
    by_fold: npt.NDArray[np.int64]
    active: npt.NDArray[np.int64]
    shifted: npt.NDArray[np.int64]


def block_size(layer: LayerMaps, positions: int, quantile: float) -> int:
    """Units a block, so that their active positions can be kept and their histograms take some 64 MB."""
    fits = KEPT / (1.5 * _GUESS_SHARES[0] * quantile * max(positions, 1))
    return int(max(1, min(layer.units, 64, 2 * (1 << 26) // (8 * BINS), fits)))


class Scanner:
    """Active positions of a block of units over all pictures, from the spool.

    What the first scan finds is kept, if it fits; a later scan at higher levels then only sifts it.

    Parameters
    ----------
    layer : LayerMaps
    units : slice
        The block, with a start and a stop.
    grid : tuple of int
        (H, W).
    upsampling : {"edges", "zeros"}
    pictures : int
        Number of pictures.
    """

    def __init__(
        self, layer: LayerMaps, units: slice, grid: tuple[int, int], upsampling: Upsampling, pictures: int
    ) -> None:
        self._layer, self._units, self._pictures = layer, units, pictures
        h, w = layer.maps.shape[1:]
        self._plan = SamplePlan(
            (h, w), grid if layer.layer_grid else (1, 1), upsampling if layer.layer_grid else "edges"
        )
        self._chunk = max(1, CHUNK_VALUES // ((units.stop - units.start) * h * w))
        self._kept: list[Active] | None = None
        self._kept_level = torch.full((units.stop - units.start,), torch.inf)

    def __call__(self, level: Tensor) -> Iterator[Active]:
        """Positions strictly above the level of their unit; ``picture`` counts through the data set."""
        if self._kept is not None and bool((level >= self._kept_level).all()):
            yield from (_sift(active, level) for active in self._kept)
            return
        self._kept, self._kept_level = [], level
        size = 0
        for first in range(0, self._pictures, self._chunk):
            pictures = range(first, min(first + self._chunk, self._pictures))
            active = self._plan.above(torch.from_numpy(self._layer.maps.read(pictures, self._units)), level)
            active = active._replace(picture=active.picture + first)
            size += len(active.unit)
            if size > KEPT:
                self._kept = None
            elif self._kept is not None:
                self._kept.append(Active(active.unit.int(), active.picture.int(), active.position.int(), active.value))
            yield active

    def raw(self, level: Tensor) -> Iterator[Active]:
        """The same on the layer's own grid, where no map is brought to another."""
        h, w = self._layer.maps.shape[1:]
        plan = SamplePlan((h, w), (h, w))
        for first in range(0, self._pictures, self._chunk):
            pictures = range(first, min(first + self._chunk, self._pictures))
            yield plan.above(torch.from_numpy(self._layer.maps.read(pictures, self._units)), level)

    def guesses(self, quantile: float) -> list[Tensor]:
        """Levels that probably lie below the threshold: quantiles of the maps as they are, of some of the pictures."""
        step = max(1, -(-self._pictures // _GUESS_PICTURES))
        maps = torch.from_numpy(self._layer.maps.read(range(0, self._pictures, step), self._units))
        values = maps.transpose(0, 1).flatten(1)
        last = values.shape[1]
        return [_largest(values, min(last, int(share * quantile * last) + 1)) for share in _GUESS_SHARES]


def _largest(values: Tensor, rank: int) -> Tensor:
    return values.topk(rank, dim=1, sorted=False).values.amin(1)


def _sift(active: Active, level: Tensor) -> Active:
    above = torch.nonzero(active.value > level.index_select(0, active.unit)).view(-1)
    unit, picture, position = (part.index_select(0, above).long() for part in active[:3])
    return Active(unit, picture, position, active.value.index_select(0, above))


def count_block(
    layer: LayerMaps,
    units: slice,
    marked: Marked,
    folds: npt.NDArray[np.int64],
    how: Definitions,
    *,
    rank: int,
    partners: npt.NDArray[np.int64],
) -> BlockCounts:
    """Find the thresholds of a block of units and count what is marked where they are active.

    Parameters
    ----------
    layer : LayerMaps
    units : slice
        The block, with a start and a stop.
    marked : Marked
        Label planes.
    folds : int64 array, (N,)
        Fold of each picture.
    how : Definitions
        Its quantile, threshold_on and upsampling.
    rank : int
        Of the threshold, see `unitlens.statistics.threshold_rank`.
    partners : int64 array, (draws, N)
        For each draw and picture, the picture whose labels it is given.

    Returns
    -------
    BlockCounts
    """
    scan = Scanner(layer, units, marked.grid, how.upsampling, len(folds))
    floor = torch.from_numpy(layer.smallest[units])
    if how.upsampling == "zeros":
        floor = floor.clamp(max=0.0)
    ranked: Scan = scan.raw if how.threshold_on == "raw" else scan
    threshold = kth_largest(ranked, rank, scan.guesses(how.quantile), floor)
    count = _count_positions if layer.layer_grid else _count_pictures
    by_fold, active, shifted = count(scan(threshold), units.stop - units.start, marked, folds, partners)
    return BlockCounts(threshold.numpy(), by_fold, active, shifted)


Counted = tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int64]]


def _count_positions(
    stream: Iterator[Active],
    units: int,
    marked: Marked,
    folds: npt.NDArray[np.int64],
    partners: npt.NDArray[np.int64],
) -> Counted:
    """Count active positions of the label grid by fold and label."""
    draws = len(partners)
    counts = torch.zeros(units, FOLDS, marked.columns.count, dtype=torch.int64)
    shifted = torch.zeros(draws, units, 1, marked.columns.count, dtype=torch.int64)
    total = torch.zeros(units * FOLDS, dtype=torch.int64)
    fold_of, read = torch.from_numpy(folds), marked.reader()
    for active in stream:
        if not len(active.unit):
            continue
        first = int(active.picture.min())
        pictures = range(first, int(active.picture.max()) + 1)
        fold = fold_of.index_select(0, active.picture)
        total.scatter_add_(0, active.unit * FOLDS + fold, torch.ones_like(fold))
        active = active._replace(picture=active.picture - first)
        tally(counts, active, fold, torch.from_numpy(read(pictures)))
        alone = torch.zeros_like(fold)
        for draw in range(draws):
            others = partners[draw, pictures.start : pictures.stop]
            tally(shifted[draw], active, alone, torch.from_numpy(read(others)))
    return counts.numpy(), total.view(units, FOLDS).numpy(), shifted[:, :, 0].transpose(0, 1).numpy()


def _count_pictures(
    stream: Iterator[Active],
    units: int,
    marked: Marked,
    folds: npt.NDArray[np.int64],
    partners: npt.NDArray[np.int64],
) -> Counted:
    """Count active pictures by fold and by what they hold: a layer without a grid says one number a picture."""
    draws = len(partners)
    counts = np.zeros((units, FOLDS, marked.columns.count), np.int64)
    shifted = np.zeros((units, draws, marked.columns.count), np.int64)
    total = np.zeros((units, FOLDS), np.int64)
    for active in stream:
        unit, picture = active.unit.numpy(), active.picture.numpy()
        np.add.at(total, (unit, folds[picture]), 1)
        for some in _pieces(len(unit), marked.columns.count):
            np.add.at(counts, (unit[some], folds[picture[some]]), marked.held(picture[some]))
            for draw in range(draws):
                np.add.at(shifted[:, draw], unit[some], marked.held(partners[draw][picture[some]]))
    return counts, total, shifted


def _pieces(count: int, columns: int) -> Iterator[slice]:
    step = max(1, CHUNK_VALUES // columns)
    return (slice(first, first + step) for first in range(0, count, step))
