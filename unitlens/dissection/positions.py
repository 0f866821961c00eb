"""Count active positions by part, and by what is marked there, in their own images and in others."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from unitlens.dissection.scanning import CHUNK_VALUES, joined_pieces
from unitlens.dissection.store.labels import LabelPlanes
from unitlens.stats.blocks import in_blocks
from unitlens.stats.folds import FOLDS
from unitlens.stats.masks import Active
from unitlens.stats.scores import Ints, ShortInts
from unitlens.stats.thresholds import Tally, tally

AT_ONCE = 1 << 19
"""Cells of a label plane that are read together at most, so that they fit a cache."""


Advance = Callable[[int], object]
"""Is told how many more units are done, for a bar: half of them when thresholds are found, half as they are counted."""


def tell_nobody(units: int) -> None:
    """Say to nobody that units are done."""


def no_draws(folds: Ints) -> ShortInts:
    """No partners for images of these folds, (0, N)."""
    return np.zeros((0, len(folds)), np.int32)


@dataclass(frozen=True)
class Parts:
    """Parts in which active positions are counted apart: folds, or halves of the images and intervals of levels."""

    count: int
    of: Callable[[Active], Tensor]


class PartDraws(NamedTuple):
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
    """What is marked at the positions of images, as a function that reads the columns of some images' planes.

    Attributes
    ----------
    read : callable
        Returns integers, (images, L, cells).
    columns, cells : int
    """

    read: Callable[[Sequence[int] | npt.NDArray[np.integer] | range], npt.NDArray[np.int16] | ShortInts]
    columns: int
    cells: int


def count_marks(stream: Iterator[Active], units: int, marks: Marks, folds: Ints, partners: ShortInts) -> PartCounts:
    """Count what is marked at active positions by fold, and what is marked there in other images.

    Parameters
    ----------
    stream : iterator of Active
        Active positions of a block of units, piece by piece.
    units : int
    marks : Marks
    folds : int64 array, (N,)
        Fold of each image.
    partners : int32 array, (draws, N)
        For each draw and image, the image whose labels it is given.
    """
    fold_of = torch.from_numpy(folds)
    parts = Parts(FOLDS, lambda active: fold_of.index_select(0, active.image))
    draws = PartDraws(partners, torch.from_numpy(folds % 2))
    return _count_positions([(stream, units)], marks, parts, draws, tell_nobody)[0]


Stream = tuple[Iterator[Active], int]
"""Active positions of a block of units, piece by piece, and how many units it has."""


def count_active(
    streams: Sequence[Stream], on_grid: bool, labels: LabelPlanes, parts: Parts, drawn: PartDraws, advance: Advance
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
    streams: Sequence[Stream], marks: Marks, parts: Parts, drawn: PartDraws, advance: Advance
) -> list[PartCounts]:
    """Count positions of the label grid; the streams of all blocks have pieces of the same images."""
    columns, draws, read = marks.columns, len(drawn.partners), marks.read
    counters = [_Counters(units, parts.count, columns, draws) for _, units in streams]
    most = max(1, AT_ONCE // marks.cells)
    # Images of one piece follow each other: their planes are read together, and once for all blocks.
    rest, told = sum(units - units // 2 for _, units in streams), 0
    for images, pieces in joined_pieces([active for active, _ in streams], most):
        own = torch.from_numpy(read(images))
        counted = []
        for of_block, active in zip(counters, pieces, strict=True):
            if len(active.unit):
                active = _image_after_image(active, images) if draws else active
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
        self._images += _images_of_units(active, units, len(labels))
        tally(self._by_part, active, part, labels)

    def counts(self) -> PartCounts:
        """All that was counted."""
        shifted = self.shifted.transpose(0, 1)
        return PartCounts(self._by_part.numpy(), self._total.numpy(), shifted.numpy(), self._images.numpy())


def _image_after_image(active: Active, images: range) -> Active:
    """The same positions in the order of their images, so that the labels of one image are looked up together."""
    image = (active.image - images.start).numpy().astype(np.min_scalar_type(len(images)))
    order = torch.from_numpy(np.argsort(image, kind="stable"))  # of 8 or 16 bits: without comparisons
    return Active(*(part.index_select(0, order) for part in active))


def _images_of_units(active: Active, units: int, images: int) -> Tensor:
    """Count the images in which each unit is active, (U,)."""
    there = torch.zeros(units * images, dtype=torch.bool)
    there[active.unit * images + active.image] = True
    return there.view(units, images).sum(1)


def _count_images(
    stream: Iterator[Active], units: int, labels: LabelPlanes, parts: Parts, drawn: PartDraws
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
