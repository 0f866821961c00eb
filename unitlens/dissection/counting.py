"""From the store to counts: exact thresholds of a block of units, and what is marked where they are active."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from unitlens.dissection.memory import BLOCK_UNITS, KEPT
from unitlens.dissection.scanning import CHUNK_VALUES, GUESS_SHARES, Scanner
from unitlens.dissection.settings import Settings
from unitlens.dissection.store.labels import LabelPlanes
from unitlens.dissection.store.layers import LayerMaps
from unitlens.stats.blocks import in_blocks
from unitlens.stats.folds import FOLDS
from unitlens.stats.masks import Active
from unitlens.stats.scores import Ints, Levels, ShortInts
from unitlens.stats.thresholds import Scan, Tally, kth_largest, level_edges, tally, value_histogram

ENOUGH = 1 << 14
"""Active positions that are worth the calls that count them: shorter pieces of a stream are joined."""

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


def block_size(layer: LayerMaps, positions: int, quantile: float) -> int:
    """Units that are counted together: so many that the active positions of a first scan can be kept."""
    fits = KEPT / (2 * GUESS_SHARES[0] * quantile * max(positions, 1))
    return int(max(1, min(layer.units, BLOCK_UNITS, fits)))


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
    """Find the thresholds of a block of units and count what is marked where they are active, in the first N images.

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
    partners : int32 array, (draws, N)
        For each draw and image, the image whose labels it is given.

    Returns
    -------
    BlockCounts
    """
    scan = Scanner(layer, units, labels.grid, settings.upsampling, images=len(folds))
    floor = torch.from_numpy(layer.smallest[units])
    if settings.upsampling == "zeros":
        floor = floor.clamp(max=0.0)  # zeros around a map are mixed into what it comes to on the grid
    ranked: Scan = scan.raw if settings.threshold_on == "raw" else scan
    threshold = kth_largest(ranked, rank, scan.guesses(settings.quantile), floor)
    return count_at(scan, threshold, labels, folds, partners=partners)


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
    fold_of = torch.from_numpy(folds)
    parts = _Parts(FOLDS, lambda active: fold_of.index_select(0, active.image))
    partners = _no_draws(folds) if partners is None else partners
    odd = torch.from_numpy(folds % 2)
    counts = _count_active(scan(threshold), scan, labels, parts, _Draws(partners, odd))
    return BlockCounts(threshold.numpy(), counts.by_part, counts.active, counts.shifted, counts.images)


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
    counts = _count_active(everything, scan, labels, _Parts(2 * intervals, half_and_interval), draws)
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


class _PartCounts(NamedTuple):
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


def _count_active(
    active: Iterator[Active], scan: Scanner, labels: LabelPlanes, parts: _Parts, drawn: _Draws
) -> _PartCounts:
    """Count active positions by part and by what is marked there."""
    count = _count_positions if scan.on_grid else _count_images
    return count(active, scan.units, labels, parts, drawn)


def _count_positions(
    stream: Iterator[Active], units: int, labels: LabelPlanes, parts: _Parts, drawn: _Draws
) -> _PartCounts:
    """Count positions of the label grid."""
    columns, draws = labels.columns.count, len(drawn.partners)
    by_part = torch.zeros(units, parts.count, columns, dtype=torch.int64)
    shifted = torch.zeros(draws, units, 2, columns, dtype=torch.int64)
    total = torch.zeros(units * parts.count, dtype=torch.int64)
    images = torch.zeros(units, dtype=torch.int64)
    read = labels.reader()
    for active in _joined(stream, AT_ONCE // (labels.grid[0] * labels.grid[1])):
        part, half = parts.of(active), drawn.odd.index_select(0, active.image)
        total.scatter_add_(0, active.unit * parts.count + part, torch.ones_like(part))
        # Images of one piece of the stream follow each other: their planes are read together.
        first, last = int(active.image.min()), int(active.image.max())
        active = active._replace(image=active.image - first)
        images += _images_of_units(active, units, last - first + 1)
        own = torch.from_numpy(read(range(first, last + 1)))
        tally(by_part, active, part, own)
        if draws:
            of_draws = Tally(active, half, 2, columns=columns, labels=own.shape)
        for draw in range(draws):
            of_draws.add(shifted[draw], torch.from_numpy(read(drawn.partners[draw, first : last + 1])))
    shifted = shifted.transpose(0, 1)
    return _PartCounts(by_part.numpy(), total.view(units, parts.count).numpy(), shifted.numpy(), images.numpy())


def _joined(stream: Iterator[Active], images: int) -> Iterator[Active]:
    """Join short pieces of a stream that are of images close to each other, over so many images at most."""
    waiting, first = list[Active](), 0
    for active in stream:
        if not len(active.unit):
            continue
        if waiting and not 0 <= int(active.image.max()) - first < images:
            yield _as_one(waiting)
            waiting = []
        first = first if waiting else int(active.image.min())
        waiting.append(active)
        if sum(len(piece.unit) for piece in waiting) >= ENOUGH:
            yield _as_one(waiting)
            waiting = []
    if waiting:
        yield _as_one(waiting)


def _as_one(pieces: Sequence[Active]) -> Active:
    return pieces[0] if len(pieces) == 1 else Active(*map(torch.cat, zip(*pieces, strict=True)))


def _images_of_units(active: Active, units: int, images: int) -> Tensor:
    """Count the images in which each unit is active, (U,); no image is in two pieces of a stream."""
    there = torch.zeros(units * images, dtype=torch.bool)
    there[active.unit * images + active.image] = True
    return there.view(units, images).sum(1)


def _count_images(
    stream: Iterator[Active], units: int, labels: LabelPlanes, parts: _Parts, drawn: _Draws
) -> _PartCounts:
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
    return _PartCounts(by_part, total, shifted, total.sum(1))
