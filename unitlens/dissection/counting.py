"""From the store to counts: exact thresholds of a block of units, and what is marked where they are active."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from unitlens.dissection.memory import BLOCK_UNITS, KEPT
from unitlens.dissection.settings import Settings
from unitlens.dissection.store.labels import LabelPlanes
from unitlens.dissection.store.layers import LayerMaps
from unitlens.stats.blocks import in_blocks
from unitlens.stats.folds import FOLDS
from unitlens.stats.masks import Active, SamplePlan, Upsampling
from unitlens.stats.scores import Levels
from unitlens.stats.thresholds import BINS, Scan, kth_largest, level_edges, tally, value_histogram

CHUNK_VALUES = 1 << 17
"""Values of the layer grid that are looked at together: half a megabyte, and what comes of it still fits a cache."""

_GUESS_IMAGES = 128
_GUESS_SHARES = (1.5, 6.0)
_GUESS_COARSER = 4


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
        The same positions with the labels of other images.
    """

    threshold: npt.NDArray[np.float32]
    by_fold: npt.NDArray[np.int64]
    active: npt.NDArray[np.int64]
    shifted: npt.NDArray[np.int64]


def block_size(layer: LayerMaps, positions: int, quantile: float) -> int:
    """Units a block, so that their active positions can be kept and their histograms take some 64 MB."""
    fits = KEPT / (2 * _GUESS_SHARES[0] * quantile * max(positions, 1))
    return int(max(1, min(layer.units, BLOCK_UNITS, 2 * (1 << 26) // (8 * BINS), fits)))


class Scanner:
    """Active positions of a block of units over all images, from the store.

    What the first scan finds is kept, if it fits; a later scan at higher levels then only sifts it.

    Parameters
    ----------
    layer : LayerMaps
    units : slice
        The block, with a start and a stop.
    grid : tuple of int
        (H, W).
    upsampling : {"edges", "zeros"}
    images : int
        Number of images.

    Attributes
    ----------
    units : int
        How many they are.
    on_grid : bool
        Whether the layer has a grid.
    """

    def __init__(
        self, layer: LayerMaps, units: slice, grid: tuple[int, int], upsampling: Upsampling, images: int
    ) -> None:
        self._layer, self._units, self._images = layer, units, images
        self.units, self.on_grid = units.stop - units.start, layer.layer_grid is not None
        h, w = layer.maps.shape[1:]
        self._plan = SamplePlan(
            (h, w), grid if layer.layer_grid else (1, 1), upsampling if layer.layer_grid else "edges"
        )
        self._chunk = CHUNK_VALUES // ((units.stop - units.start) * h * w)
        self._kept: list[Active] = []
        self._kept_level = torch.full((self.units,), torch.inf)

    def __call__(self, level: Tensor) -> Iterator[Active]:
        """Positions strictly above the level of their unit; ``image`` counts through the data set."""
        fresh = level < self._kept_level
        others = torch.where(fresh, torch.inf, self._kept_level)
        if bool(fresh.any()):
            self._kept = [_sift(active, others) for active in self._kept]
        yield from (_sift(active, level) for active in self._kept)
        if not bool(fresh.any()):
            return
        self._kept_level = torch.where(fresh, level, others)
        size = sum(len(active.unit) for active in self._kept)
        for active in self._scan(torch.where(fresh, level, torch.inf)):
            size += len(active.unit)
            if size <= KEPT:
                self._kept.append(Active(active.unit.int(), active.image.int(), active.position.int(), active.value))
            yield active
        if size > KEPT:
            self._kept, self._kept_level = [], torch.full((self.units,), torch.inf)

    def _scan(self, level: Tensor) -> Iterator[Active]:
        for images in in_blocks(self._images, self._chunk):
            active = self._plan.above(self._maps(images), level)
            yield active._replace(image=active.image + images.start)

    def raw(self, level: Tensor) -> Iterator[Active]:
        """The same on the layer's own grid, where no map is brought to another."""
        h, w = self._layer.maps.shape[1:]
        plan = SamplePlan((h, w), (h, w))
        for images in in_blocks(self._images, self._chunk):
            yield plan.above(self._maps(images), level)

    def _maps(self, images: slice) -> Tensor:
        return torch.from_numpy(self._layer.maps.read(range(images.start, images.stop), self._units))

    def guesses(self, quantile: float) -> list[Tensor]:
        """Levels that probably lie below the threshold: quantiles of some images on a coarser grid."""
        step = max(1, -(-self._images // _GUESS_IMAGES))
        maps = torch.from_numpy(self._layer.maps.read(range(0, self._images, step), self._units))
        h, w = (max(1, cells // _GUESS_COARSER) for cells in self._plan.grid)
        coarse = SamplePlan(self._plan.layer_grid, (h, w), self._plan.upsampling)
        values = coarse.upsample(maps).transpose(0, 1).flatten(1)
        ranks = [min(values.shape[1], int(share * quantile * values.shape[1]) + 1) for share in _GUESS_SHARES]
        largest = values.topk(max(ranks), dim=1).values
        return [largest[:, rank - 1] for rank in ranks]


def _sift(active: Active, level: Tensor) -> Active:
    above = torch.nonzero(active.value > level.index_select(0, active.unit)).view(-1)
    unit, image, position = (part.index_select(0, above).long() for part in active[:3])
    return Active(unit, image, position, active.value.index_select(0, above))


def count_block(
    layer: LayerMaps,
    units: slice,
    labels: LabelPlanes,
    folds: npt.NDArray[np.int64],
    settings: Settings,
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
    labels : LabelPlanes
        Label planes.
    folds : int64 array, (N,)
        Fold of each image.
    settings : Settings
        Its quantile, threshold_on and upsampling.
    rank : int
        Of the threshold, see `unitlens.stats.thresholds.threshold_rank`.
    partners : int64 array, (draws, N)
        For each draw and image, the image whose labels it is given.

    Returns
    -------
    BlockCounts
    """
    scan = Scanner(layer, units, labels.grid, settings.upsampling, len(folds))
    floor = torch.from_numpy(layer.smallest[units])
    if settings.upsampling == "zeros":
        floor = floor.clamp(max=0.0)
    ranked: Scan = scan.raw if settings.threshold_on == "raw" else scan
    threshold = kth_largest(ranked, rank, scan.guesses(settings.quantile), floor)
    return count_at(scan, threshold, labels, folds, partners=partners)


def count_at(
    scan: "Scanner",
    threshold: Tensor,
    labels: LabelPlanes,
    folds: npt.NDArray[np.int64],
    *,
    partners: npt.NDArray[np.int64] | None = None,
) -> BlockCounts:
    """Count what is marked where units lie strictly above thresholds that are given.

    Parameters
    ----------
    scan : Scanner
        Of the block of units.
    threshold : float32 tensor, (U,)
    labels : LabelPlanes
        Label planes.
    folds : int64 array, (N,)
        Fold of each image.
    partners : int64 array, (draws, N), optional
        For each draw and image, the image whose labels it is given; no draws.

    Returns
    -------
    BlockCounts
    """
    fold_of = torch.from_numpy(folds)
    partners = np.zeros((0, len(folds)), np.int64) if partners is None else partners

    def fold(active: Active) -> Tensor:
        return fold_of.index_select(0, active.image)

    count = _count_positions if scan.on_grid else _count_images
    by_fold, active, shifted = count(scan(threshold), len(threshold), labels, fold, FOLDS, partners)
    return BlockCounts(threshold.numpy(), by_fold, active, shifted)


def count_levels(
    scan: "Scanner", quantiles: Sequence[float], labels: LabelPlanes, folds: npt.NDArray[np.int64]
) -> tuple[Levels, Levels]:
    """Count what is marked between levels of activation, on the even and on the odd folds.

    Two scans over all positions: the first finds levels near the quantiles, at the edges of 65,536 bins of the values
    (about 1 % of the value apart), the second counts. The level 0 is always among them.

    Parameters
    ----------
    scan : Scanner
        Of a block of units.
    quantiles : sequence of float
        Rising.
    labels : LabelPlanes
    folds : int64 array, (N,)

    Returns
    -------
    pair of Levels
        They add.
    """
    units = scan.units
    edges = level_edges(value_histogram(scan, units), quantiles)
    count, odd = _count_positions if scan.on_grid else _count_images, torch.from_numpy(folds % 2)
    between = edges.level.shape[1] + 1

    def interval(active: Active) -> Tensor:
        part = odd.index_select(0, active.image) * between
        for level in edges.level.unbind(1):
            part += active.value <= level.index_select(0, active.unit)
        return part

    everything = torch.full((units,), -torch.inf)
    nobody = np.zeros((0, len(folds)), np.int64)
    counted, total, _ = count(scan(everything), units, labels, interval, 2 * between, nobody)
    concepts, category_of = 1 + len(labels.columns.concepts), labels.columns.category_of
    judged = (total[:, :, None] - counted[:, :, concepts:])[:, :, category_of]
    means = edges.mean.numpy(), edges.square.numpy()
    return (
        Levels(counted[:, :between, 1:concepts], judged[:, :between], *means),
        Levels(counted[:, between:, 1:concepts], judged[:, between:], *means),
    )


PartOf = Callable[[Active], Tensor]
Counted = tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int64]]


def _count_positions(
    stream: Iterator[Active],
    units: int,
    labels: LabelPlanes,
    part_of: PartOf,
    parts: int,
    partners: npt.NDArray[np.int64],
) -> Counted:
    """Count active positions of the label grid by part (fold, or interval of levels) and label."""
    draws = len(partners)
    counts = torch.zeros(units, parts, labels.columns.count, dtype=torch.int64)
    shifted = torch.zeros(draws, units, 1, labels.columns.count, dtype=torch.int64)
    total = torch.zeros(units * parts, dtype=torch.int64)
    read = labels.reader()
    for active in stream:
        if not len(active.unit):
            continue
        first = int(active.image.min())
        images = range(first, int(active.image.max()) + 1)
        part = part_of(active)
        total.scatter_add_(0, active.unit * parts + part, torch.ones_like(part))
        active = active._replace(image=active.image - first)
        tally(counts, active, part, torch.from_numpy(read(images)))
        alone = torch.zeros_like(part)
        for draw in range(draws):
            others = partners[draw, images.start : images.stop]
            tally(shifted[draw], active, alone, torch.from_numpy(read(others)))
    return counts.numpy(), total.view(units, parts).numpy(), shifted[:, :, 0].transpose(0, 1).numpy()


def _count_images(
    stream: Iterator[Active],
    units: int,
    labels: LabelPlanes,
    part_of: PartOf,
    parts: int,
    partners: npt.NDArray[np.int64],
) -> Counted:
    """Count active images by part and by what they hold: a layer without a grid says one number an image."""
    draws = len(partners)
    counts = np.zeros((units, parts, labels.columns.count), np.int64)
    shifted = np.zeros((units, draws, labels.columns.count), np.int64)
    total = np.zeros((units, parts), np.int64)
    for active in stream:
        unit, image, part = active.unit.numpy(), active.image.numpy(), part_of(active).numpy()
        np.add.at(total, (unit, part), 1)
        for block in in_blocks(len(unit), CHUNK_VALUES // labels.columns.count):
            np.add.at(counts, (unit[block], part[block]), labels.presence_of(image[block]))
            for draw in range(draws):
                np.add.at(shifted[:, draw], unit[block], labels.presence_of(partners[draw][image[block]]))
    return counts, total, shifted
