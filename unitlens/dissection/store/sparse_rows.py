"""Rows of which nearly all numbers are 0: the others are in a file, each with its place."""

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from unitlens.dissection.store.nonzero import NonZero
from unitlens.dissection.store.rows import RowFile, RowNumbers, append
from unitlens.errors import UnitlensError
from unitlens.stats.blocks import in_blocks

GROUP = 64
"""Units, the first side of a row, that one read of a batch finds: as many as are counted together."""

LONGEST = 1 << 32
"""Numbers of a row, so that their places fit in 32 bits; longer ones are not kept this way."""

_AT_ONCE = 1 << 18  # numbers of the index, or of those that are kept, that are read together


class SparseRows:
    """Rows of which only the numbers that are not 0 are kept, written in batches and read back by number.

    A batch of rows is one stretch of a file, in the order of the units (the first side of a row) and then of the rows:
    whoever reads some units of all rows reads a stretch of each batch. A second file says of each batch which row is
    its first, and where each `GROUP` of units ends.

        NAME.rows          of each number: row in the batch, place in the row (uint32 both), and the number
        NAME.batches.rows  of each batch: its first row, and the end of each group in NAME.rows (int64 all)

    Parameters
    ----------
    path : Path
        The first file; see `unitlens.dissection.store.rows.open_file`.
    shape : tuple of int
        Of one row, with one side at least.
    dtype : numpy type
        Of its numbers. What has no bit set is 0: -0.0 is kept.
    count : int
        Rows that are there already.
    batches : int, optional
        In so many batches; None: the files are made anew.
    expected : float
        Share of the numbers that are probably kept.
    write : bool
        Whether rows may be appended; what stands behind those that are there is cut off then.

    Attributes
    ----------
    count : int
        Rows that are there.
    """

    def __init__(
        self,
        path: Path,
        shape: tuple[int, ...],
        dtype: npt.DTypeLike,
        *,
        count: int = 0,
        batches: int | None = None,
        expected: float = 0.0,
        write: bool = True,
    ) -> None:
        self.shape, self.dtype, self.count = shape, np.dtype(dtype), count
        self._size = int(np.prod(shape, dtype=np.int64))
        self._of_unit, self._expected = self._size // max(shape[0], 1), expected
        self._path, index = path, path.with_suffix(".batches.rows")
        self._index = RowFile(index, (1 + -(-shape[0] // GROUP),), np.int64, count=batches, write=write)
        # first row of each batch; where its numbers begin, and where those of the last one end
        self._first, self._begins = array("q"), array("q", [0])
        try:
            for lines in self._lines():
                self._know(lines, index)
            entry = np.dtype([("row", "<u4"), ("place", "<u4"), ("value", self.dtype)])
            kept = None if batches is None else self._begins[-1]
            self._entries = RowFile(path, (), entry, count=kept, write=write)
        except BaseException:
            self._index.close()
            raise

    def _lines(self) -> Iterator[npt.NDArray[np.int64]]:
        """All lines of the index, some at a time."""
        for block in in_blocks(self._index.count, _AT_ONCE // self._index.shape[0]):
            yield self._index.read(range(block.start, block.stop))

    def _know(self, lines: npt.NDArray[np.int64], index: Path) -> None:
        """Remember some lines of the index, which have to fit what is known."""
        first = np.concatenate([[self._first[-1] if self._first else -1], lines[:, 0]])
        begins = np.concatenate([[self._begins[-1]], lines[:, -1]])
        bounds = np.concatenate([begins[:-1, None], lines[:, 1:]], axis=1)
        # neighbours are compared: their difference may be too large for its type
        if (bounds[:, 1:] < bounds[:, :-1]).any() or (first[1:] <= first[:-1]).any() or first[-1] >= self.count:
            raise UnitlensError(f"The store is damaged: {index} has batches that do not follow each other.")
        self._first.extend(first[1:].tolist())
        self._begins.extend(begins[1:].tolist())

    @property
    def filled(self) -> float:
        """Share of the numbers that are kept; before there are any, what was expected."""
        return self._entries.count / (self.count * self._size) if self.count else self._expected

    @property
    def row_bytes(self) -> int:
        """Bytes that one row takes, on average; its place in the index with them, once there are rows."""
        of_index = self._index.count * self._index.row_bytes / max(self.count, 1)
        return round(self.filled * self._size * self._entries.row_bytes + of_index)

    def batches(self, count: int) -> int:
        """In how many batches the first so many rows are."""
        return bisect_left(self._first, count)

    def put(self, first: int, rows: npt.NDArray[Any]) -> None:
        """Write rows from number ``first`` on, behind those that are there, as a batch of their own.

        Rows that were passed over are zeros.

        Raises
        ------
        UnitlensError
            If the disk is full.
        """
        if not len(rows):
            return
        if first > self.count:  # where the last batch ends
            append(self, np.zeros((1, *self.shape), self.dtype))
        found = NonZero.of(np.asarray(rows, self.dtype))
        unit = found.place // self._of_unit
        order = np.lexsort((found.place, found.row, unit))
        entries = np.empty(len(order), self._entries.dtype)
        for part in ("row", "place", "value"):
            entries[part] = getattr(found, part)[order]
        last_of_groups = np.arange(GROUP, self.shape[0] + GROUP, GROUP)
        ends = np.searchsorted(unit[order], last_of_groups) + self._begins[-1]
        append(self._entries, entries)
        append(self._index, np.concatenate([[first], ends])[None])
        self._first.append(first)
        self._begins.append(int(ends[-1]))
        self.count = first + len(rows)

    def read(self, rows: RowNumbers, part: slice | None = None) -> npt.NDArray[Any]:
        """Read rows, or the same part of each along its first side, as `RowFile.read` does."""
        part = slice(0, self.shape[0]) if part is None else part
        out = np.zeros((len(rows), part.stop - part.start, *self.shape[1:]), self.dtype)
        found = self.nonzero(rows, part)
        out.reshape(len(rows), (part.stop - part.start) * self._of_unit)[found.row, found.place] = found.value
        return out

    def nonzero(self, rows: RowNumbers, part: slice) -> NonZero:
        """Read what is not 0 in a part of some rows: of each batch unit after unit, and row after row in these."""
        if isinstance(rows, range) and rows.step == 1:
            stop = min(rows.stop, self.count)
            batches = range(max(bisect_right(self._first, rows.start) - 1, 0), self.batches(stop))
            found = self._of_batches(batches, part)
            return found.some((found.row >= rows.start) & (found.row < stop)).moved(-rows.start)
        wanted = np.asarray(rows, dtype=np.int64)
        batch = np.searchsorted(np.array(self._first), wanted[wanted < self.count], side="right") - 1
        return self._of_batches(np.unique(batch[batch >= 0]), part).of_rows(wanted)

    def _of_batches(self, batches: RowNumbers, part: slice) -> NonZero:
        """What is not 0 in a part of all rows of some batches, by the numbers of the rows."""
        groups, found = range(part.start // GROUP, -(-part.stop // GROUP)), [NonZero.none(self.dtype)]
        for batch, line in zip(batches, self._index.read(batches), strict=True):
            begin = line[groups.start] if groups.start else self._begins[batch]
            bounds = np.concatenate([[begin], line[1 + groups.start : 1 + groups.stop]])
            # a batch ends where the next one begins: of what was written before a kill, not all rows may count
            rows = (self._first[batch + 1] if batch + 1 < len(self._first) else self.count) - line[0]
            for entries in self._stretch(bounds, groups):
                place = entries["place"] - np.int64(part.start * self._of_unit)
                inside = (entries["row"] < rows) & (place >= 0) & (place < (part.stop - part.start) * self._of_unit)
                found.append(NonZero(entries["row"] + np.int64(line[0]), place, entries["value"]).some(inside))
        return NonZero.joined(found)

    def _stretch(self, bounds: npt.NDArray[np.int64], groups: range) -> Iterator[npt.NDArray[Any]]:
        """What is kept of some groups of a batch, between these bounds of the file, some at a time.

        Each has to be sorted and in its own group. So none comes twice, a hole of the file is found at once, and no
        more is read than rows have numbers.
        """
        first_units, last = np.array([*groups, groups.stop], np.uint64) * np.uint64(GROUP), np.zeros(0, np.uint64)
        first_units = np.minimum(first_units, np.uint64(self.shape[0]))
        for block in in_blocks(int(bounds[-1] - bounds[0]), _AT_ONCE):
            start, stop = bounds[0] + block.start, bounds[0] + block.stop
            entries = self._entries.read(range(start, stop))
            unit, order = self._ordered(entries)
            rising = np.concatenate([last, order])
            here = np.searchsorted(unit, first_units)
            if (rising[1:] <= rising[:-1]).any() or not np.array_equal(here, np.clip(bounds, start, stop) - start):
                raise UnitlensError(f"The store is damaged: {self._path} has numbers that are not in their order.")
            last = order[-1:]
            yield entries

    def _ordered(self, entries: npt.NDArray[Any]) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint64]]:
        """The unit of each of some numbers, and by what they are sorted: unit, row, and place in the row."""
        of_unit, place = np.uint64(self._of_unit), entries["place"].astype(np.uint64)
        unit = place // of_unit
        return unit, ((unit << np.uint64(32)) + entries["row"]) * of_unit + (place - unit * of_unit)

    def sync(self) -> None:
        """Let what was written be on the disk."""
        self._entries.sync()
        self._index.sync()

    def close(self) -> None:
        """Close the files."""
        self._entries.close()
        self._index.close()
