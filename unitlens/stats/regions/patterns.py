"""What is marked in images: few patterns of labels, which many positions have, and sums of them over runs of positions.

A position has a label in each plane. An image has thousands of positions and a handful of labels, so that few
combinations of these occur: they are numbered, and what each stands for is written down once.
"""

import itertools
from collections.abc import Iterator, Sequence
from typing import NamedTuple, Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from unitlens.stats.blocks import in_blocks
from unitlens.stats.regions.runs import Runs
from unitlens.stats.scores import Ints

_EXACT = 1 << 24
"""Whole numbers up to here, and their sums, are exact in float32."""


class Patterns(NamedTuple):
    """The patterns of labels of one image, as far as some columns go.

    Attributes
    ----------
    number : int16 or int32 array, (cells,)
        Which pattern each position has.
    columns : int64 array, (K,)
        Some of those that are marked anywhere, rising.
    marks : float32 array, (patterns, K)
        How often each of these is marked at a position that has the pattern: once, or in several planes.
    """

    number: npt.NDArray[np.integer]
    columns: Ints
    marks: npt.NDArray[np.float32]

    @classmethod
    def of(cls, planes: npt.NDArray[np.integer], columns: int, *, most: int) -> Iterator[Self]:
        """Number the combinations of labels in planes, integers (L, cells), all below ``columns``.

        An image that has more than ``most`` of these is cut into several: one of noise has thousands.
        """
        number, labels = np.zeros(planes.shape[1], np.int64), np.zeros((1, 0), np.int64)
        for plane in planes:
            number, found = _numbered(number * columns + plane, len(labels) * columns)
            labels = np.column_stack([labels[found // columns], found % columns])
        number = number.astype(np.int16 if len(labels) <= 1 << 15 else np.int32)
        seen, place = np.unique(labels, return_inverse=True)
        pattern, place = np.arange(len(labels)).repeat(len(planes)), place.reshape(-1)
        for block in in_blocks(len(seen), most):
            marks = np.zeros((len(labels), block.stop - block.start), np.float32)
            some = (place >= block.start) & (place < block.stop)
            np.add.at(marks, (pattern[some], place[some] - block.start), 1)
            yield cls(number, seen[block], marks)

    @classmethod
    def of_whole(cls, present: npt.NDArray[np.integer]) -> Self:
        """Of an image as a whole, which is one position: the columns that it has, (columns,), are 1."""
        columns = np.flatnonzero(present)
        return cls(np.zeros(1, np.int16), columns, np.ones((1, len(columns)), np.float32))

    @property
    def bytes(self) -> int:
        """Memory that they take."""
        return self.number.nbytes + self.columns.nbytes + self.marks.nbytes


def _numbered(codes: Ints, count: int) -> tuple[Ints, Ints]:
    """Number the distinct codes, all below ``count``, from 0: the number of each code, and the code of each number."""
    there = np.zeros(count, bool)
    there[codes] = True
    found = np.flatnonzero(there)
    number = np.empty(count, np.int64)
    number[found] = np.arange(len(found))
    return number[codes], found


class MarkTable(NamedTuple):
    """What is marked in several images, side by side, up to each position of a row.

    Attributes
    ----------
    up_to : tensor, (H * (W + 1), M)
        How often it is marked in a row before each place between its cells, see `Runs`: float32, or float64 on a grid
        so fine that sums of it may come to more than float32 counts.
    image : int64 tensor, (M,)
        Of which of the images a column of the table is.
    column : int64 tensor, (M,)
        What is marked.
    """

    up_to: Tensor
    image: Tensor
    column: Tensor

    @classmethod
    def of(cls, images: Sequence[Patterns], grid: tuple[int, int]) -> Self:
        """Put images on one label grid, (H, W), side by side; each has as many columns as the one that has most."""
        widest = max(1, *(len(one.columns) for one in images))
        first = np.cumsum([1, *(len(one.marks) for one in images)])  # in row 0 nothing is marked
        # A unit has at most a run for every second cell, and what is added up of each is at most that of a whole row.
        most = grid[0] * grid[1] * (grid[1] + 1) // 2 * max(float(one.marks.max(initial=0)) for one in images)
        rows = np.zeros((first[-1], widest), np.float32 if most < _EXACT else np.float64)
        column = np.zeros((len(images), widest), np.int64)
        number = np.zeros((grid[0], grid[1] + 1, len(images)), np.int32)
        for k, one in enumerate(images):
            rows[first[k] : first[k + 1], : len(one.columns)] = one.marks
            column[k, : len(one.columns)] = one.columns  # beyond them nothing is marked, and 0 is added to column 0
            number[:, 1:, k] = one.number.reshape(grid)
            number[:, 1:, k] += first[k]
        up_to = torch.from_numpy(rows).index_select(0, torch.from_numpy(number).view(-1)).view(*number.shape[:2], -1)
        for before, place in itertools.pairwise(up_to.unbind(1)):
            place += before
        image = torch.arange(len(images)).repeat_interleave(widest)
        return cls(up_to.view(grid[0] * (grid[1] + 1), -1), image, torch.from_numpy(column).view(-1))

    def marked(self, runs: Runs, first: Tensor) -> Tensor:
        """Count what is marked in regions, of which each begins at one of the runs: whole numbers, (R, M)."""
        up_to_stop, up_to_start = (
            torch.nn.functional.embedding_bag(places, self.up_to, first, mode="sum")
            for places in (runs.stop, runs.start)
        )
        return up_to_stop.sub_(up_to_start)
