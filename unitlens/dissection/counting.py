"""From the store to counts: exact thresholds of a block of units, and what is marked where they are active."""

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from unitlens.dissection.memory import BLOCK_UNITS, WAITING, blocks_together
from unitlens.dissection.positions.marks import Marks, as_runs, count_marks
from unitlens.dissection.positions.waiting import WaitingRuns
from unitlens.dissection.scanning import Scanner, images_at_once
from unitlens.dissection.settings import Settings
from unitlens.dissection.store.labels import LabelPlanes
from unitlens.dissection.store.layers import LayerMaps
from unitlens.freed import give_back_freed_memory
from unitlens.processes import Processes
from unitlens.stats.blocks import in_blocks
from unitlens.stats.draws.partners import Partners
from unitlens.stats.masks import Active
from unitlens.stats.regions.runs import Runs
from unitlens.stats.scores import AnyInts, Ints, Levels, ShortInts
from unitlens.stats.thresholds import ScanBetween, kth_largest, level_edges, threshold_rank, value_histogram


class UnitBlock(NamedTuple):
    """A block of units of a layer.

    Attributes
    ----------
    layer : LayerMaps
    units : slice
        With a start and a stop.
    rank : int
        Of their thresholds, see `unitlens.stats.thresholds.threshold_rank`.
    """

    layer: LayerMaps
    units: slice
    rank: int

    @property
    def on_grid(self) -> bool:
        """Whether the layer has a grid."""
        return self.layer.layer_grid is not None


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
    shifted : int32 or int64 array, (U, draws, 2, columns)
        The same positions with the labels of other images, on the even and on the odd folds.
    images : int64 array, (U,)
        Images with any active position.
    """

    threshold: npt.NDArray[np.float32]
    by_fold: Ints
    active: Ints
    shifted: Ints | ShortInts
    images: Ints

    @property
    def active_on_halves(self) -> Ints:
        """Active positions on the even and on the odd folds, (U, 2)."""
        return np.stack([self.active[:, ::2].sum(1), self.active[:, 1::2].sum(1)], 1)


Advance = Callable[[int], object]
"""Is told how many more units are done, for a bar: half of them when thresholds are found, half as they are counted."""


def _tell_nobody(units: int) -> None:
    pass


def blocks_of(layer: LayerMaps, grid: tuple[int, int], settings: Settings) -> list[UnitBlock]:
    """The units of a layer in blocks whose thresholds are found together.

    Parameters
    ----------
    layer : LayerMaps
        Of all images.
    grid : tuple of int
        (H, W) of the label grid.
    settings : Settings
        Its quantile and threshold_on.

    Raises
    ------
    UnitlensError
        If there are too few positions for the quantile.
    """
    positions = layer.peaks.count * layer.positions(grid, raw=settings.threshold_on == "raw")
    rank = threshold_rank(settings.quantile, positions)
    return [UnitBlock(layer, units, rank) for units in in_blocks(layer.units, BLOCK_UNITS)]


def count_dealt(
    blocks: Sequence[UnitBlock],
    labels: LabelPlanes,
    folds: AnyInts,
    settings: Settings,
    *,
    partners: Partners,
    processes: Processes,
    advance: Advance = _tell_nobody,
) -> Iterator[tuple[int, BlockCounts]]:
    """Count the blocks of units that are dealt to this process, as many together as have room.

    Blocks of all layers are dealt as one row, so that every process has as many as the others, or one less; those of
    several layers are counted together too.

    Parameters
    ----------
    blocks : sequence of UnitBlock
        Of any layers, the same in every process.
    labels, folds, settings, partners
        As for `count_blocks`.
    processes : Processes
        To which blocks are dealt by turns.
    advance : callable
        Is told of units of ``blocks`` as they are done, here or at the same time in other processes.

    Yields
    ------
    int, BlockCounts
        The number of a block, and its counts.
    """
    dealt = range(processes.rank, len(blocks), processes.count)
    tell = _scaled(advance, sum(block_units(blocks[number]) for number in dealt), sum(map(block_units, blocks)))
    for numbers in _rounds(dealt, blocks, labels, images=len(folds), draws=len(partners)):
        some = [blocks[number] for number in numbers]
        counted = count_blocks(some, labels, folds, settings, partners=partners, advance=tell)
        for number in numbers:
            yield number, counted.pop(0)  # which is not kept here


def block_units(block: UnitBlock) -> int:
    """How many units there are in a block."""
    return int(block.units.stop - block.units.start)


def _rounds(
    dealt: Sequence[int], blocks: Sequence[UnitBlock], labels: LabelPlanes, *, images: int, draws: int
) -> Iterator[Sequence[int]]:
    """Numbers of blocks that are counted together: of layers with a grid, or without one, as the labels are others."""
    for on_grid in (True, False):
        alike = [number for number in dealt if blocks[number].on_grid == on_grid]
        positions = images * (labels.grid[0] * labels.grid[1] if on_grid else 1)
        most = blocks_together(labels.columns, draws=draws, positions=positions)
        yield from (alike[some] for some in in_blocks(len(alike), most))


def _scaled(advance: Advance, own: int, total: int) -> Advance:
    """Tell of units that are done here as if all processes had come as far."""
    done = told = 0

    def tell(units: int) -> None:
        nonlocal done, told
        done += units
        reached = total * done // max(own, 1)
        advance(reached - told)
        told = reached

    return tell


def count_block(
    layer: LayerMaps,
    units: slice,
    labels: LabelPlanes,
    folds: AnyInts,
    settings: Settings,
    *,
    rank: int,
    partners: Partners,
) -> BlockCounts:
    """Find the thresholds of one block of units, and count; see `count_blocks`."""
    return count_blocks([UnitBlock(layer, units, rank)], labels, folds, settings, partners=partners)[0]


def count_blocks(
    blocks: Sequence[UnitBlock],
    labels: LabelPlanes,
    folds: AnyInts,
    settings: Settings,
    *,
    partners: Partners,
    advance: Advance = _tell_nobody,
) -> list[BlockCounts]:
    """Find the thresholds of blocks of units and count what is marked where they are active, in the first N images.

    Thresholds are found block by block. Then all blocks are counted together, images after images: the labels of an
    image, and those that it is given in the draws, are read once for all of them.

    Parameters
    ----------
    blocks : sequence of UnitBlock
        All of layers with a grid, or all of layers without one.
    labels : LabelPlanes
        Label planes.
    folds : integer array, (N,)
        Fold of each image.
    settings : Settings
        Its threshold_on and upsampling.
    partners : Partners
        For each draw and image, the image whose labels it is given.

    Returns
    -------
    list of BlockCounts
    """
    found, waiting = list[_Block](), WaitingRuns(most=WAITING)
    marks = Marks.of_labels(labels, on_grid=blocks[0].on_grid)
    sizes = [images_at_once(block.layer, block_units(block)) for block in blocks]
    for block, size in zip(blocks, sizes, strict=True):
        scan = Scanner(block.layer, block.units, labels.grid, settings.upsampling, images=len(folds), pieces_of=size)
        threshold = _thresholds(scan, block, settings)
        runs = waiting.add(as_runs(scan.kept_above(threshold), scan.units, marks))
        if runs is None:
            runs = as_runs(scan.above(threshold), scan.units, marks)
        found.append(_Block(scan.units, threshold, _longer(runs, max(sizes) // size)))
        advance(scan.units // 2)
    give_back_freed_memory()
    return _count_found(found, marks, folds, partners, advance)


def _longer(pieces: Iterable[Runs], count: int) -> Iterator[Runs]:
    """So many pieces, of images after images, as one."""
    pieces = iter(pieces)
    while some := list(itertools.islice(pieces, count)):
        yield some[0] if len(some) == 1 else Runs.in_a_row(some)


def _thresholds(scan: Scanner, block: UnitBlock, settings: Settings) -> Tensor:
    """The exact thresholds of a block of units, (U,)."""
    smallest, largest = block.layer.smallest[block.units], block.layer.largest[block.units]
    floor, ceiling = torch.from_numpy(smallest), torch.from_numpy(largest)
    if settings.upsampling == "zeros":  # those around a map are mixed into what it comes to on the grid
        floor, ceiling = floor.clamp(max=0.0), ceiling.clamp(min=0.0)
    ranked: ScanBetween = scan.raw if settings.threshold_on == "raw" else scan
    return kth_largest(ranked, block.rank, scan.guesses(settings.quantile), floor, ceiling)


def count_at(
    scan: Scanner,
    threshold: Tensor,
    labels: LabelPlanes,
    folds: AnyInts,
    *,
    partners: Partners | None = None,
) -> BlockCounts:
    """Count what is marked where units lie strictly above thresholds that are given.

    Parameters
    ----------
    scan : Scanner
        Of the block of units.
    threshold : float32 tensor, (U,)
    labels : LabelPlanes
        Label planes.
    folds : integer array, (N,)
        Fold of each image.
    partners : Partners, optional
        For each draw and image, the image whose labels it is given; no draws.

    Returns
    -------
    BlockCounts
    """
    partners = _no_draws(folds) if partners is None else partners
    marks = Marks.of_labels(labels, on_grid=scan.on_grid)
    runs = as_runs(scan.above(threshold), scan.units, marks)
    return _count_found([_Block(scan.units, threshold, runs)], marks, folds, partners, _tell_nobody)[0]


class _Block(NamedTuple):
    """A block of so many units, their thresholds, and where they are above these, piece by piece."""

    units: int
    threshold: Tensor
    active: Iterator[Runs]


def _count_found(
    blocks: Sequence[_Block], marks: Marks, folds: AnyInts, partners: Partners, advance: Advance
) -> list[BlockCounts]:
    """Count, by fold, what is marked where units are active."""
    rest, told, done = sum(block.units - block.units // 2 for block in blocks), 0, 0

    def tell(images: int) -> None:
        nonlocal told, done
        done += images
        reached = rest * done // len(folds)
        advance(reached - told)
        told = reached

    streams = [(block.active, block.units) for block in blocks]
    counted = count_marks(streams, marks, folds, partners, advance=tell)
    return [
        BlockCounts(block.threshold.numpy(), counts.by_part, counts.active, counts.shifted, counts.images)
        for block, counts in zip(blocks, counted, strict=True)
    ]


def count_levels(
    scan: Scanner, quantiles: Sequence[float], labels: LabelPlanes, folds: AnyInts
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
    folds : integer array, (N,)

    Returns
    -------
    pair of Levels
        They add.
    """
    edges = level_edges(value_histogram(scan, scan.units), quantiles)
    intervals = edges.level.shape[1] + 1

    def by_interval(active: Active) -> Active:
        """An interval of a unit is counted as a unit is."""
        interval = active.unit.long() * intervals
        for level in edges.level.unbind(1):
            interval += active.value <= level.index_select(0, active.unit)
        return active._replace(unit=interval)

    marks, rows = Marks.of_labels(labels, on_grid=scan.on_grid), scan.units * intervals
    everything = map(by_interval, scan.above(torch.full((scan.units,), -torch.inf)))
    (counts,) = count_marks([(as_runs(everything, rows, marks), rows)], marks, folds % 2, _no_draws(folds), parts=2)
    # Of the columns, the first is none of the concepts, and the last ones say what is not judged in each category.
    first_category, category_of = 1 + len(labels.columns.concepts), labels.columns.category_of
    concept = counts.by_part[:, :, 1:first_category]
    judged = (counts.active[:, :, None] - counts.by_part[:, :, first_category:])[:, :, category_of]
    mean, square = edges.mean.numpy(), edges.square.numpy()
    shape = (scan.units, intervals, 2, -1)
    even, odd = (
        Levels(concept.reshape(shape)[:, :, half], judged.reshape(shape)[:, :, half], mean, square) for half in (0, 1)
    )
    return even, odd


def _no_draws(folds: AnyInts) -> Partners:
    return Partners(len(folds))
