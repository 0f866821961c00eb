"""What is marked where units are active: in the image itself, and in those whose labels it is given in the draws."""

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from unitlens.dissection.memory import BLOCK_UNITS, KEPT_PATTERNS, count_bytes
from unitlens.dissection.store.labels import LabelPlanes, ReadPlanes
from unitlens.freed import give_back_freed_memory
from unitlens.stats.blocks import in_blocks
from unitlens.stats.draws.partners import Partners
from unitlens.stats.folds import FOLDS
from unitlens.stats.masks import Active
from unitlens.stats.regions.patterns import MarkTable, Patterns
from unitlens.stats.regions.runs import Runs, joined
from unitlens.stats.scores import AnyInts, Ints, ShortInts
from unitlens.stats.thresholds import Tally, side_by_side, side_by_side_type, tally

AT_ONCE = 1 << 19
"""Cells of a label plane that are read together at most, so that they fit a cache."""

ENOUGH = 1 << 14
"""Active positions that are worth the calls that count them: shorter pieces of a stream are joined."""

LOOKED_UP, TABLED, ADDED = 1.0, 1.3, 3.5
"""Nanoseconds to look up a label of a position, to make a number of a table, and to add one to a region's counts."""

_TABLE_NUMBERS = 1 << 21
"""In one table of what is marked, at most."""

_GIVEN_BACK_AFTER = 1 << 13
"""Images after which memory is given back: pieces are of many sizes, and what one leaves free the next cannot use."""

_TRIED_IMAGES = 8
"""So many images say how many different labels an image has."""


class Marks(NamedTuple):
    """What is marked in images.

    Attributes
    ----------
    columns : int
    grid : tuple of int
        (H, W) of the label grid; (1, 1) for images as wholes.
    patterns : callable
        The `Patterns` of an image, by its number and the most columns of each.
    read : callable or None
        Reads the planes of images, integers (images, L, cells), all below ``columns``; None where there are none.
    """

    columns: int
    grid: tuple[int, int]
    patterns: Callable[[int, int], Iterable[Patterns]]
    read: ReadPlanes | None

    @classmethod
    def in_planes(cls, read: ReadPlanes, columns: int, grid: tuple[int, int]) -> "Marks":
        """What is marked at each position."""
        return cls(columns, grid, lambda image, most: Patterns.of(read([image])[0], columns, most=most), read)

    @classmethod
    def of_labels(cls, labels: LabelPlanes, *, on_grid: bool) -> "Marks":
        """What is marked at each position of the label grid, or what images have as wholes."""
        columns = labels.columns.count
        if on_grid:
            return cls.in_planes(labels.reader(), columns, labels.grid)
        return cls(columns, (1, 1), lambda image, most: [Patterns.of_whole(labels.presence.read([image])[0])], None)


class PartCounts(NamedTuple):
    """Counts of active positions of a block of units.

    Attributes
    ----------
    by_part : int64 array, (U, parts, columns)
        By part and by what is marked there, all planes together.
    active : int64 array, (U, parts)
    shifted : int32 or int64 array, (U, draws, 2, columns)
        By what is marked there in other images, in even and in odd parts.
    images : int64 array, (U,)
        Images with any active position.
    """

    by_part: Ints
    active: Ints
    shifted: Ints | ShortInts
    images: Ints

    def of_units(self, units: slice) -> "PartCounts":
        """Those of some units."""
        return PartCounts(self.by_part[units], self.active[units], self.shifted[units], self.images[units])


def as_runs(pieces: Iterable[Active], units: int, marks: Marks) -> Iterator[Runs]:
    """Where so many units are active, as runs."""
    return (Runs.of(active, units, marks.grid) for active in pieces)


def _tell_nobody(images: int) -> None:
    pass


def count_marks(
    streams: Sequence[tuple[Iterator[Runs], int]],
    marks: Marks,
    part: AnyInts,
    partners: Partners,
    *,
    parts: int = FOLDS,
    advance: Callable[[int], object] = _tell_nobody,
) -> list[PartCounts]:
    """Count, by part, what is marked where blocks of units are active, and what is there in other images.

    Parameters
    ----------
    streams : sequence of (iterator of Runs, int)
        Where the units of each block are active, piece by piece, and how many units it has. All have pieces of the
        same images, and no image is in two pieces.
    marks : Marks
    part : integer array, (N,)
        The part in which each image is counted, such as its fold.
    partners : Partners
        For each draw and image, the image whose labels it is given.
    parts : int
        How many there are.
    advance : callable
        Is told how many images more are done.

    Returns
    -------
    list of PartCounts
        Of each block.
    """
    first_unit = np.cumsum([0, *(units for _, units in streams)]).tolist()
    counts, done = _Counts(first_unit[-1], marks, part, partners, parts=parts), 0
    for images, runs in _pieces(
        [pieces for pieces, _ in streams], first_unit, AT_ONCE // (marks.grid[0] * marks.grid[1])
    ):
        if images.stop // _GIVEN_BACK_AFTER > done // _GIVEN_BACK_AFTER:
            give_back_freed_memory()
        counts.add(runs, images)
        advance(images.stop - done)
        done = images.stop
    advance(len(part) - done)
    counted = counts.all()
    return [counted.of_units(slice(*ends)) for ends in itertools.pairwise(first_unit)]


def _pieces(streams: Sequence[Iterator[Runs]], first_unit: Sequence[int], most: int) -> Iterator[tuple[range, Runs]]:
    """Join pieces of all streams, and short ones that are of images close to each other, over so many images at most.

    Yields the images, and the runs in them: units are counted through all blocks, and images from the first of these.
    """
    waiting, count, start, stop = list[Runs](), 0, 0, 0
    for pieces in zip(*streams, strict=True):
        found = [runs.after(first, 0) for runs, first in zip(pieces, first_unit, strict=False) if len(runs.unit)]
        if not found:
            continue
        first, last = min(int(runs.image.min()) for runs in found), max(int(runs.image.max()) for runs in found)
        if waiting and not 0 <= last - start < most:
            yield range(start, stop), joined(waiting).after(0, -start)
            waiting, count = [], 0
        start, stop = (start, max(stop, last + 1)) if waiting else (first, last + 1)
        waiting += found
        count += sum(int(runs.length.sum()) for runs in found)
        if count >= ENOUGH * len(streams):
            yield range(start, stop), joined(waiting).after(0, -start)
            waiting, count = [], 0
    if waiting:
        yield range(start, stop), joined(waiting).after(0, -start)


class _Counts:
    """Counts while they are made."""

    def __init__(self, units: int, marks: Marks, part: AnyInts, partners: Partners, *, parts: int) -> None:
        self._marks, self._part, self._partners = marks, torch.from_numpy(part), partners
        self._by_part = torch.zeros(units, parts, marks.columns, dtype=torch.int64)
        self._active = torch.zeros(units, parts, dtype=torch.int64)
        self._images = torch.zeros(units, dtype=torch.int64)
        self._way: _Way | None = None

    def add(self, runs: Runs, images: range) -> None:
        """Count runs in some images, counted from the first; no other piece has any of these."""
        units, parts = self._active.shape
        part = self._part[images.start : images.stop].index_select(0, runs.image).long()
        self._active.view(-1).scatter_add_(0, runs.unit * parts + part, runs.length)
        self._images += torch.bincount(runs.unit.index_select(0, runs.regions()), minlength=units)
        self._way = self._way or self._cheaper_way(runs, images)
        self._way.add(runs, images)

    def _cheaper_way(self, runs: Runs, images: range) -> "_Way":
        """Choose one way for all images, by the first of them; either comes to the same counts."""
        if self._marks.read is None:
            return _RunByRun(self._by_part, self._part, self._partners, self._marks)
        planes = self._marks.read(images[:_TRIED_IMAGES])
        columns = sum(len(np.unique(of_image)) for of_image in planes) / len(planes)
        looked_up = int(runs.length.sum()) / len(images) * planes.shape[1] * LOOKED_UP
        cells, regions = self._marks.grid[0] * self._marks.grid[1], len(runs.regions()) / len(images)
        if looked_up < columns * (cells * TABLED + regions * ADDED):
            return _OneByOne(self._by_part, self._part, self._partners, self._marks, self._marks.read)
        return _RunByRun(self._by_part, self._part, self._partners, self._marks)

    def all(self) -> PartCounts:
        """All that was counted."""
        if self._way is None:  # no unit is active anywhere
            units, _, columns = self._by_part.shape
            shifted = torch.zeros(units, len(self._partners), 2, columns, dtype=torch.int32)
        else:
            shifted = self._way.shifted
        return PartCounts(self._by_part.numpy(), self._active.numpy(), shifted.numpy(), self._images.numpy())


class _Way(Protocol):
    """A way to count what is marked."""

    @property
    def shifted(self) -> Tensor:
        """What is marked in other images, (U, draws, 2, columns)."""

    def add(self, runs: Runs, images: range) -> None:
        """Add what is marked in runs to the counts by part that it was given, and to ``shifted``."""


def _kind_of_counts(images: int, grid: tuple[int, int]) -> torch.dtype:
    """Of the counts of one draw."""
    return torch.int32 if count_bytes(images * grid[0] * grid[1]) == 4 else torch.int64


class _OneByOne:
    """Looks up every position in every plane: for few positions."""

    def __init__(self, by_part: Tensor, part: Tensor, partners: Partners, marks: Marks, read: ReadPlanes) -> None:
        self._by_part, self._part, self._partners = by_part, part, partners
        self._grid, self._read = marks.grid, read
        units, _, columns = by_part.shape
        draws = len(partners) + len(partners) % 2  # two are counted together
        self._shifted = torch.zeros(draws, units, 2, columns, dtype=_kind_of_counts(len(part), marks.grid))

    @property
    def shifted(self) -> Tensor:
        return self._shifted[: len(self._partners)].transpose(0, 1)

    def add(self, runs: Runs, images: range) -> None:
        own, tallies = torch.from_numpy(self._read(images)), list[tuple[slice, Tally]]()
        _, parts, columns = self._by_part.shape
        kind = side_by_side_type(BLOCK_UNITS * 2 * columns)
        narrow = torch.int32 if BLOCK_UNITS * parts * columns < 1 << 31 else torch.int64
        for units in in_blocks(len(self._by_part), BLOCK_UNITS):  # the counts of so many fit a cache
            of_units = runs.of_units(units)
            run, cell = of_units.each_position(own.shape, self._grid[1])
            unit, part = of_units.unit.long(), self._part[images.start : images.stop].index_select(0, of_units.image)
            row, of_half = (unit * parts + part) * columns, (unit * 2 + part % 2) * columns
            tally(self._by_part[units], row.to(narrow).index_select(0, run), cell, own)
            if len(run):
                counters = (units.stop - units.start) * 2 * columns
                counted = Tally(of_half.to(kind).index_select(0, run), cell, counters=counters, kind=kind)
                tallies.append((units, counted))
        partners = self._partners.of(images)
        for first in range(0, len(partners), 2):
            both = [self._read(partners[min(draw, len(partners) - 1)]) for draw in (first, first + 1)]
            given = side_by_side(both, kind)
            for units, counted in tallies:
                counted.add(self._shifted[first : first + 2, units], given)


class _RunByRun:
    """Sums up what is marked in the runs of all units in an image, in many draws at once: for many positions."""

    def __init__(self, by_part: Tensor, part: Tensor, partners: Partners, marks: Marks) -> None:
        self._by_part, self._part, self._partners, self._marks = by_part, part, partners, marks
        units, self._parts, columns = by_part.shape
        # The draws of a unit are side by side: what is added for a region lies close together.
        self._shifted = torch.zeros(units, 2, len(partners), columns, dtype=_kind_of_counts(len(part), marks.grid))
        self._cells = marks.grid[0] * (marks.grid[1] + 1)
        self._patterns: dict[int, list[Patterns]] = {}
        self._room = KEPT_PATTERNS

    @property
    def shifted(self) -> Tensor:
        return self._shifted.transpose(1, 2)

    def add(self, runs: Runs, images: range) -> None:
        partners = self._partners.of(images)
        for number, of_image in runs.by_image():
            image, first = images.start + number, of_image.regions()
            unit, part = of_image.unit.index_select(0, first).long(), self._part[images.start + number]
            self._add_to(self._by_part[:, :, None], unit * self._parts + part, [image], of_image, first)
            self._add_to(self._shifted, unit * 2 + part % 2, partners[:, number].tolist(), of_image, first)

    def _add_to(self, counts: Tensor, row: Tensor, seen: Sequence[int], runs: Runs, first: Tensor) -> None:
        """Add what is marked in regions, in several images, to their rows of counts, (U, ..., images, columns)."""
        of_row, columns = counts.shape[-2] * counts.shape[-1], counts.shape[-1]
        for draws, patterns in self._side_by_side(seen):
            table = MarkTable.of(patterns, self._marks.grid)
            at = row[:, None] * of_row + (torch.tensor(draws)[table.image] * columns + table.column)
            counts.view(-1).scatter_add_(0, at.view(-1), table.marked(runs, first).to(counts.dtype).view(-1))

    def _side_by_side(self, seen: Sequence[int]) -> Iterator[tuple[list[int], list[Patterns]]]:
        """As much of what is marked in some images as has room in a table, and in which of them each is."""
        draws, patterns, widest = list[int](), list[Patterns](), 1
        for draw, image in enumerate(seen):
            for one in self._patterns_of(image):
                widest = max(widest, len(one.columns))
                if patterns and (len(patterns) + 1) * widest * self._cells > _TABLE_NUMBERS:
                    yield draws, patterns
                    draws, patterns, widest = [], [], max(1, len(one.columns))
                draws.append(draw)
                patterns.append(one)
        if patterns:
            yield draws, patterns

    def _patterns_of(self, image: int) -> Iterable[Patterns]:
        """What is marked in an image; kept as long as there is room."""
        known = self._patterns.get(image)
        if known is not None:
            return known
        found = iter(self._marks.patterns(image, max(1, _TABLE_NUMBERS // self._cells)))
        if self._room <= 0:
            return found
        kept = list[Patterns]()
        for one in found:
            kept.append(one)
            self._room -= one.bytes
            if self._room <= 0:  # an image of noise: what is left of it is made when it is asked for
                return itertools.chain(kept, found)
        self._patterns[image] = kept
        return kept
