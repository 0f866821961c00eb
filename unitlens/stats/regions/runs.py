"""Where units are active, as runs of positions: a region that spans a part of an image has few of them."""

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple, Self

import numpy as np
import torch
from torch import Tensor

from unitlens.stats.masks import Active, divided, true_at

_MOST_ROWS = 1 << 22
"""Rows of the grid, of units in images, that are numbered together at most, where they are of several images."""

_MASK_CELLS = 1 << 25
"""Cells of masks that are formed together at most, where they are of several images."""


class Runs(NamedTuple):
    """Runs of positions of the label grid at which units are active, each within a row.

    Attributes
    ----------
    unit, image : int32 tensor, (runs,)
        The runs of a unit in an image follow each other.
    start, stop : int32 tensor, (runs,)
        Places between cells: row * (W + 1) + column, before the first cell and behind the last.
    """

    unit: Tensor
    image: Tensor
    start: Tensor
    stop: Tensor

    @classmethod
    def of(cls, active: Active, units: int, grid: tuple[int, int]) -> Self:
        """Put active positions of so many units, on the label grid, (H, W), together as runs."""
        if not len(active.unit):
            return cls(*torch.zeros(4, 0, dtype=torch.int32))
        # 1. Rows of the grid that have any, of units in images, are numbered, image after image.
        height, width = grid
        first, last = int(active.image.min()), int(active.image.max())
        count, size = (last - first + 1) * units * height, width + 1
        if count > _MOST_ROWS and first < last:
            return cls._of_halves(active, units, grid)
        row, column = divided(active.position, width)
        narrow = torch.int32 if count < 1 << 31 else torch.int64
        line = (active.image - first).to(narrow).mul_(units).add_(active.unit).mul_(height).add_(row).long()
        there = np.zeros(count, bool)
        there[line.numpy()] = True
        found = np.flatnonzero(there)
        if len(found) * size > _MASK_CELLS and first < last:
            return cls._of_halves(active, units, grid)
        number = torch.empty(len(there), dtype=torch.int64)
        number[torch.from_numpy(found)] = torch.arange(len(found))
        # 2. Their masks, in which an empty cell ends each row; one more stands before the first.
        at = number.index_select(0, line).mul_(size).add_(column)
        mask = np.zeros(1 + len(found) * size, bool)
        mask[1:][at.numpy()] = True
        # 3. Runs begin and end where a mask changes.
        ends = np.flatnonzero(mask[1:] != mask[:-1])
        start, length = ends[::2], ends[1::2] - ends[::2]
        mask_row = start // size
        region, row_of = np.divmod(found[mask_row], height)
        image, unit = np.divmod(region, units)
        begin = start - (mask_row - row_of) * size
        return cls(*(torch.from_numpy(part.astype(np.int32)) for part in (unit, image + first, begin, begin + length)))

    @classmethod
    def _of_halves(cls, active: Active, units: int, grid: tuple[int, int]) -> Self:
        """The same of the earlier images, and then of the later ones."""
        early = active.image <= (int(active.image.min()) + int(active.image.max())) // 2
        halves = [
            active._replace(unit=active.unit[some], image=active.image[some], position=active.position[some])
            for some in (early, ~early)
        ]
        return cls.in_a_row([cls.of(half, units, grid) for half in halves])

    @classmethod
    def in_a_row(cls, pieces: Sequence["Runs"]) -> Self:
        """Several runs as one, as they follow each other."""
        return cls(*map(torch.cat, zip(*pieces, strict=True)))

    @property
    def length(self) -> Tensor:
        """How many positions each has, int64 (runs,)."""
        return (self.stop - self.start).long()

    def after(self, units: int, images: int) -> "Runs":
        """The same, with units and images counted from others."""
        return self._replace(unit=self.unit + units, image=self.image + images)

    def of_units(self, units: slice) -> "Runs":
        """Those of some units, which are counted from the first of these."""
        some = true_at((self.unit >= units.start) & (self.unit < units.stop))
        return Runs(*(part.index_select(0, some) for part in self)).after(-units.start, 0)

    def each_position(self, shape: Sequence[int], width: int) -> tuple[Tensor, Tensor]:
        """Their positions one by one, image after image.

        Parameters
        ----------
        shape : sequence of int
            Of label planes, (images, L, H * W).
        width : int
            W.

        Returns
        -------
        run : int64 tensor, (positions,)
            The run that each belongs to.
        cell : integer tensor, (positions * L,)
            Where the label planes hold its labels, one plane after the other.
        """
        (_, planes, cells), length = shape, self.length
        run = torch.arange(len(length)).repeat_interleave(length)
        first = self.start - divided(self.start, width + 1)[0]  # as counted without the ends of rows
        first_cell = self.image.long() * (planes * cells) + first - (length.cumsum(0) - length)
        narrow = torch.int32 if max(len(run), math.prod(shape)) < 1 << 31 else torch.int64
        cell = first_cell.to(narrow).index_select(0, run).add_(torch.arange(len(run), dtype=narrow))
        return run, (cell[:, None] + torch.arange(planes, dtype=narrow) * cells).view(-1)

    def by_image(self) -> Iterator[tuple[int, "Runs"]]:
        """Yield the images that have any and their runs; of runs in the order of images."""
        images, counts = torch.unique_consecutive(self.image, return_counts=True)
        stop = counts.cumsum(0)
        for image, begin, end in zip(images.tolist(), (stop - counts).tolist(), stop.tolist(), strict=True):
            yield image, Runs(*(part[begin:end] for part in self))

    def regions(self) -> Tensor:
        """Which runs are the first of their unit in their image, int64 (R,)."""
        is_first = torch.ones(len(self.unit), dtype=torch.bool)
        is_first[1:] = (self.unit[1:] != self.unit[:-1]) | (self.image[1:] != self.image[:-1])
        return true_at(is_first)


def joined(pieces: Sequence[Runs]) -> Runs:
    """Several runs as one, image after image; of an image in the order in which they are given."""
    together = Runs.in_a_row(pieces)
    if len(pieces) == 1 or not len(together.image):
        return together
    image = together.image.numpy()
    image = (image - image.min()).astype(np.min_scalar_type(int(np.ptp(image))))  # 8 or 16 bits: no comparisons
    order = torch.from_numpy(np.argsort(image, kind="stable"))
    return Runs(*(part.index_select(0, order) for part in together))
