"""From the store to counts: exact thresholds of a block of units, and what is marked where they are active."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from unitlens.dissection.memory import BLOCK_UNITS, KEPT, blocks_together
from unitlens.dissection.scanning import CHUNK_VALUES, Scanner, images_at_once, joined_pieces
from unitlens.dissection.settings import Settings
from unitlens.dissection.store.labels import LabelPlanes
from unitlens.dissection.store.layers import LayerMaps
from unitlens.processes import Processes
from unitlens.stats.blocks import in_blocks
from unitlens.stats.folds import FOLDS
from unitlens.stats.masks import Active, image_after_image, images_of_units
from unitlens.stats.scores import Ints, Levels, ShortInts
from unitlens.stats.thresholds import Scan, Tally, kth_largest, level_edges, tally, threshold_rank, value_histogram

AT_ONCE = 1 << 19
"""Cells of a label plane that are read together at most, so that they fit a cache."""


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
    shifted : int64 array, (U, draws, 2, columns)
        The same positions with the labels of other images, on the even and on the odd folds.
    images : int64 array, (U,)
        Images with any active position.
    """

    threshold: npt.NDArray[np.float32]
    by_fold: Ints
    active: Ints
    shifted: Ints
    images: Ints

    @property
    def active_on_halves(self) -> Ints:
        """Active positions on the even and on the odd folds, (U, 2)."""
        return np.stack([self.active[:, ::2].sum(1), self.active[:, 1::2].sum(1)], 1)


Advance = Callable[[int], object]
"""Is told how many more units are done, for a bar: half of them when thresholds are found, half as they are counted."""


def _tell_nobody(units: int) -> None:
    pass


def count_dealt(
    layer: LayerMaps,
    labels: LabelPlanes,
    folds: Ints,
    settings: Settings,
    *,
    partners: ShortInts,
    processes: Processes,
    advance: Advance = _tell_nobody,
) -> Iterator[tuple[int, slice, BlockCounts]]:
    """Count the blocks of units that are dealt to this process, as many together as have room.

    Parameters
    ----------
    layer, labels, folds, settings, partners
        As for `count_blocks`.
    processes : Processes
        To which blocks are dealt by turns.
    advance : callable
        Is told of units as they are done, here or at the same time in other processes.

    Yields
    ------
    int, slice, BlockCounts
        The number of a block, its units and their counts.

    Raises
    ------
    UnitlensError
        If there are too few positions for the quantile.
    """
    images = len(folds)
    rank = threshold_rank(settings.quantile, images * layer.positions(labels.grid, raw=settings.threshold_on == "raw"))
    blocks = list(enumerate(in_blocks(layer.units, BLOCK_UNITS)))[processes.rank :: processes.count]
    active = settings.quantile * images * layer.positions(labels.grid) * min(layer.units, BLOCK_UNITS)
    most = blocks_together(labels.columns, draws=len(partners), block_positions=active)
    for together in (blocks[some] for some in in_blocks(len(blocks), most)):
        slices = [units for _, units in together]
        counted = count_blocks(
            layer,
            slices,
            labels,
            folds,
            settings,
            rank=rank,
            partners=partners,
            advance=lambda units: advance(units * processes.count),
        )
        for number, units in together:
            yield number, units, counted.pop(0)  # which is not kept here


def count_block(
    layer: LayerMaps,
    units: slice,
    labels: LabelPlanes,
    folds: Ints,
    settings: Settings,
    *,
    rank: int,
    partners: ShortInts,
) -> BlockCounts:
    """Find the thresholds of one block of units, and count; see `count_blocks`."""
    return count_blocks(layer, [units], labels, folds, settings, rank=rank, partners=partners)[0]


def count_blocks(
    layer: LayerMaps,
    blocks: Sequence[slice],
    labels: LabelPlanes,
    folds: Ints,
    settings: Settings,
    *,
    rank: int,
    partners: ShortInts,
    advance: Advance = _tell_nobody,
) -> list[BlockCounts]:
    """Find the thresholds of blocks of units and count what is marked where they are active, in the first N images.

    Thresholds are found block by block. Then all blocks are counted together, images after images: the labels of an
    image, and those that it is given in the draws, are read once for all of them.

    Parameters
    ----------
    layer : LayerMaps
    blocks : sequence of slice
        Each has a start and a stop.
    labels : LabelPlanes
        Label planes.
    folds : int64 array, (N,)
        Fold of each image.
    settings : Settings
        Its quantile, threshold_on and upsampling.
    rank : int
        Of the threshold, see `unitlens.stats.thresholds.threshold_rank`.
    partners : int32 array, (draws, N)
        For each draw and image, the image whose labels it is given.

    Returns
    -------
    list of BlockCounts
    """
    found, waiting = list[_Block](), 0
    pieces_of = images_at_once(layer, blocks[0].stop - blocks[0].start)  # the same in all blocks
    for units in blocks:
        scan = Scanner(layer, units, labels.grid, settings.upsampling, images=len(folds), pieces_of=pieces_of)
        threshold = _thresholds(scan, layer, units, settings, rank=rank)
        most = KEPT if len(blocks) == 1 else KEPT // 2 - waiting
        kept = scan.kept_above(threshold, most)
        waiting += sum(len(active.unit) for active in kept or [])
        found.append(_Block(scan.units, threshold, scan.above(threshold) if kept is None else iter(kept)))
        advance(scan.units // 2)
    return _count_found(found, scan.on_grid, labels, folds, partners, advance)


def _thresholds(scan: Scanner, layer: LayerMaps, units: slice, settings: Settings, *, rank: int) -> Tensor:
    """The exact thresholds of a block of units, (U,)."""
    floor = torch.from_numpy(layer.smallest[units])
    if settings.upsampling == "zeros":
        floor = floor.clamp(max=0.0)  # zeros around a map are mixed into what it comes to on the grid
    ranked: Scan = scan.raw if settings.threshold_on == "raw" else scan
    return kth_largest(ranked, rank, scan.guesses(settings.quantile), floor)


def count_at(
    scan: Scanner,
    threshold: Tensor,
    labels: LabelPlanes,
    folds: Ints,
    *,
    partners: ShortInts | None = None,
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
    partners : int32 array, (draws, N), optional
        For each draw and image, the image whose labels it is given; no draws.

    Returns
    -------
    BlockCounts
    """
    partners = _no_draws(folds) if partners is None else partners
    block = _Block(scan.units, threshold, scan.above(threshold))
    return _count_found([block], scan.on_grid, labels, folds, partners, _tell_nobody)[0]


class _Block(NamedTuple):
    """A block of so many units, their thresholds, and the positions above these, piece by piece."""

    units: int
    threshold: Tensor
    active: Iterator[Active]


def _count_found(
    blocks: Sequence[_Block], on_grid: bool, labels: LabelPlanes, folds: Ints, partners: ShortInts, advance: Advance
) -> list[BlockCounts]:
    """Count, by fold, what is marked where units are active."""
    fold_of = torch.from_numpy(folds)
    parts = _Parts(FOLDS, lambda active: fold_of.index_select(0, active.image))
    draws = _Draws(partners, torch.from_numpy(folds % 2))
    streams = [(block.active, block.units) for block in blocks]
    counted = _count_active(streams, on_grid, labels, parts, draws, advance)
    return [
        BlockCounts(block.threshold.numpy(), counts.by_part, counts.active, counts.shifted, counts.images)
        for block, counts in zip(blocks, counted, strict=True)
    ]


def count_levels(scan: Scanner, quantiles: Sequence[float], labels: LabelPlanes, folds: Ints) -> tuple[Levels, Levels]:
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
    edges = level_edges(value_histogram(scan, scan.units), quantiles)
    intervals, odd = edges.level.shape[1] + 1, torch.from_numpy(folds % 2)

    def half_and_interval(active: Active) -> Tensor:
        part = odd.index_select(0, active.image) * intervals
        for level in edges.level.unbind(1):
            part += active.value <= level.index_select(0, active.unit)
        return part

    everything = scan(torch.full((scan.units,), -torch.inf))
    draws = _Draws(_no_draws(folds), odd)
    parts = _Parts(2 * intervals, half_and_interval)
    (counts,) = _count_active([(everything, scan.units)], scan.on_grid, labels, parts, draws, _tell_nobody)
    # Of the columns, the first is none of the concepts, and the last ones say what is not judged in each category.
    first_category, category_of = 1 + len(labels.columns.concepts), labels.columns.category_of
    concept = counts.by_part[:, :, 1:first_category]
    judged = (counts.active[:, :, None] - counts.by_part[:, :, first_category:])[:, :, category_of]
    mean, square = edges.mean.numpy(), edges.square.numpy()
    return (
        Levels(concept[:, :intervals], judged[:, :intervals], mean, square),
        Levels(concept[:, intervals:], judged[:, intervals:], mean, square),
    )


def _no_draws(folds: Ints) -> ShortInts:
    return np.zeros((0, len(folds)), np.int32)


@dataclass(frozen=True)
class _Parts:
    """Parts in which active positions are counted apart: folds, or halves of the images and intervals of levels."""

    count: int
    of: Callable[[Active], Tensor]


class _Draws(NamedTuple):
    """The partners of images, (draws, N), and whether each image belongs to an odd fold, (N,)."""

    partners: ShortInts
    odd: Tensor


class PartCounts(NamedTuple):
    """Counts of active positions of a block of units.

    Attributes
    ----------
    by_part : int64 array, (U, parts, columns)
        By part and by what is marked there, all planes together.
    active : int64 array, (U, parts)
    shifted : int64 array, (U, draws, 2, columns)
        By what is marked there in other images, on the even and on the odd folds.
    images : int64 array, (U,)
        Images with any active position.
    """

    by_part: Ints
    active: Ints
    shifted: Ints
    images: Ints


class Marks(NamedTuple):
    """What is marked in images: a function that reads their planes, integers (images, L, cells), below ``columns``."""

    read: Callable[[Sequence[int] | npt.NDArray[np.integer] | range], npt.NDArray[np.int16] | ShortInts]
    columns: int
    cells: int


def count_marks(stream: Iterator[Active], units: int, marks: Marks, folds: Ints, partners: ShortInts) -> PartCounts:
    """Count, by fold, what is marked where a block of so many units is active, and what is there in other images.

    Folds of images, (N,), and their partners, (draws, N), are as for `count_blocks`.
    """
    fold_of = torch.from_numpy(folds)
    parts = _Parts(FOLDS, lambda active: fold_of.index_select(0, active.image))
    drawn = _Draws(partners, torch.from_numpy(folds % 2))
    return _count_positions([(stream, units)], marks, parts, drawn, _tell_nobody)[0]


_Stream = tuple[Iterator[Active], int]
"""Active positions of a block of units, piece by piece, and how many units it has."""


def _count_active(
    streams: Sequence[_Stream], on_grid: bool, labels: LabelPlanes, parts: _Parts, drawn: _Draws, advance: Advance
) -> list[PartCounts]:
    """Count active positions of each block by part and by what is marked there."""
    if on_grid:
        marks = Marks(labels.reader(), labels.columns.count, labels.grid[0] * labels.grid[1])
        return _count_positions(streams, marks, parts, drawn, advance)
    counted = []
    for active, units in streams:
        counted.append(_count_images(active, units, labels, parts, drawn))
        advance(units - units // 2)
    return counted


def _count_positions(
    streams: Sequence[_Stream], marks: Marks, parts: _Parts, drawn: _Draws, advance: Advance
) -> list[PartCounts]:
    """Count positions of the label grid; the streams of all blocks have pieces of the same images."""
    columns, draws, read = marks.columns, len(drawn.partners), marks.read
    counters = [_Counters(units, parts.count, columns, draws) for _, units in streams]
    most = AT_ONCE // marks.cells
    # Images of one piece follow each other: their planes are read together, and once for all blocks.
    rest, told = sum(units - units // 2 for _, units in streams), 0
    for images, pieces in joined_pieces([active for active, _ in streams], most):
        own = torch.from_numpy(read(images))
        counted = []
        for of_block, active in zip(counters, pieces, strict=True):
            if len(active.unit):
                active = image_after_image(active, images) if draws else active
                part, half = parts.of(active), drawn.odd.index_select(0, active.image)
                active = active._replace(image=active.image - images.start)
                of_block.add(active, part, own)
                counted.append((of_block, Tally(active, half, 2, columns=columns, labels=own.shape)))
        for draw in range(draws):
            given = torch.from_numpy(read(drawn.partners[draw, images.start : images.stop]))
            for of_block, of_draws in counted:
                of_draws.add(of_block.shifted[draw], given)
        reached = rest * images.stop // len(drawn.odd)
        advance(reached - told)
        told = reached
    advance(rest - told)
    return [of_block.counts() for of_block in counters]


class _Counters:
    """Counts of the active positions of a block of units while they are made."""

    def __init__(self, units: int, parts: int, columns: int, draws: int) -> None:
        self._by_part = torch.zeros(units, parts, columns, dtype=torch.int64)
        self._total = torch.zeros(units, parts, dtype=torch.int64)
        self._images = torch.zeros(units, dtype=torch.int64)
        self.shifted = torch.zeros(draws, units, 2, columns, dtype=torch.int64)

    def add(self, active: Active, part: Tensor, labels: Tensor) -> None:
        """Count positions of images that no other piece has, with their own labels."""
        units, parts = self._total.shape
        self._total.view(-1).scatter_add_(0, active.unit * parts + part, torch.ones_like(part))
        self._images += images_of_units(active, units, len(labels))
        tally(self._by_part, active, part, labels)

    def counts(self) -> PartCounts:
        """All that was counted."""
        shifted = self.shifted.transpose(0, 1)
        return PartCounts(self._by_part.numpy(), self._total.numpy(), shifted.numpy(), self._images.numpy())


def _count_images(
    stream: Iterator[Active], units: int, labels: LabelPlanes, parts: _Parts, drawn: _Draws
) -> PartCounts:
    """Count images, and what each has as a whole: units of a layer without a grid have one value an image."""
    columns, draws = labels.columns.count, len(drawn.partners)
    by_part = np.zeros((units, parts.count, columns), np.int64)
    shifted = np.zeros((units, draws, 2, columns), np.int64)
    total = np.zeros((units, parts.count), np.int64)
    for active in stream:
        unit, image, part = active.unit.numpy(), active.image.numpy(), parts.of(active).numpy()
        half = drawn.odd.numpy()[image]
        np.add.at(total, (unit, part), 1)
        for block in in_blocks(len(unit), CHUNK_VALUES // columns):
            np.add.at(by_part, (unit[block], part[block]), labels.presence_of(image[block]))
            for draw in range(draws):
                present = labels.presence_of(drawn.partners[draw][image[block]])
                np.add.at(shifted[:, draw], (unit[block], half[block]), present)
    return PartCounts(by_part, total, shifted, total.sum(1))
