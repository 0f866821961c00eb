"""Files without names under TMPDIR: what waits there takes no memory, and is gone with the process, however it ends."""

import errno
import mmap
import os
import tempfile
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from unitlens.errors import UnitlensError

_MAPPED_TOGETHER = 16
"""A system maps the pages around one that is touched: 2^16 bytes, on Linux."""

_MOST_MAPPED = 16
"""So many such stretches of a file are in memory at a time, 1 MB."""


class NamelessFile:
    """A file that has no name, written and read at any place."""

    def __init__(self) -> None:
        with _in_words(), tempfile.TemporaryFile(prefix="unitlens-", buffering=0) as file:
            self.descriptor = os.dup(file.fileno())
        weakref.finalize(self, os.close, self.descriptor)

    def write(self, content: bytes | bytearray | memoryview, place: int) -> None:
        """Write all bytes at a place.

        Raises
        ------
        UnitlensError
            If the disk is full.
        """
        written = 0
        with _in_words(), memoryview(content) as left:
            while written < len(left):
                written += os.pwrite(self.descriptor, left[written:], place + written)

    def read(self, start: int, stop: int) -> bytearray:
        """The bytes from one place to another, which were written."""
        content, read = bytearray(max(stop - start, 0)), 0
        with memoryview(content) as into:
            while read < len(into):
                read += os.preadv(self.descriptor, [into[read:]], start + read)
        return content


@contextmanager
def _in_words() -> Iterator[None]:
    """Say in a sentence why the system refuses."""
    try:
        yield
    except OSError as error:
        remedy = "free some disk, or use another one by setting TMPDIR"
        if error.errno in (errno.EMFILE, errno.ENFILE):
            remedy = "allow more open files (`ulimit -n`)"
        raise UnitlensError(
            f"What waits to be read again could not be written under {tempfile.gettempdir()} ({error.strerror}): "
            f"{remedy}."
        ) from None


class WaitingRows:
    """Rows of one shape and type in a file without a name, which are read in any order.

    They are written as any file is, so that a full disk is an error, and are then mapped: short rows far from each
    other are read as fast as from memory. What was mapped is let go of after each read, as it counts as memory.

    Parameters
    ----------
    shape : tuple of int
        Of one row.
    dtype : numpy type

    Examples
    --------
    >>> rows = WaitingRows((2,), np.uint8)
    >>> rows.append(np.array([[1, 2], [3, 4], [5, 6]], np.uint8))
    >>> rows.read([2, 0], np.int16).tolist()
    [[5, 6], [1, 2]]
    """

    def __init__(self, shape: tuple[int, ...], dtype: npt.DTypeLike) -> None:
        self.shape, self.dtype, self.count = shape, np.dtype(dtype), 0
        self._row_bytes = int(np.prod(shape, dtype=np.int64)) * self.dtype.itemsize
        self._file = NamelessFile()
        self._mapped: mmap.mmap | None = None

    def append(self, rows: npt.NDArray[Any]) -> None:
        """Write rows behind those that are there, (n, *shape); a UnitlensError if the disk is full."""
        content = np.ascontiguousarray(rows, self.dtype).reshape(-1).view(np.uint8).data
        self._file.write(content, self.count * self._row_bytes)
        self.count += len(rows)
        self._mapped = None

    def read(self, rows: Sequence[int] | npt.NDArray[np.integer] | range, dtype: npt.DTypeLike) -> npt.NDArray[Any]:
        """Read rows by their numbers, (len(rows), *shape), as another type."""
        if not len(rows) or not self._row_bytes:
            return np.empty((len(rows), *self.shape), dtype)
        read = self._read(rows).view(self.dtype).reshape(len(rows), *self.shape)
        return read.astype(dtype, copy=False)

    def _read(self, rows: Sequence[int] | npt.NDArray[np.integer] | range) -> npt.NDArray[Any]:
        """Rows as one item each, as these are copied fastest, (len(rows),)."""
        item = np.dtype((np.void, self._row_bytes)) if self.shape else self.dtype
        everything = np.frombuffer(self._map(), item)
        if isinstance(rows, range) and rows.step == 1:
            out = everything[rows.start : rows.stop].copy()
            self._let_go(rows.start, rows.stop)
            return out
        numbers = np.asarray(rows, np.int64)
        if self.count * self._row_bytes <= _MOST_MAPPED << _MAPPED_TOGETHER:
            out = everything.take(numbers)
            self._let_go(0, self.count)
            return out
        order, out = np.argsort(numbers), np.empty(len(numbers), item)
        in_order = numbers[order]
        for some in self._close_together(in_order):
            out[order[some]] = everything.take(in_order[some])
            self._let_go(int(in_order[some.start]), int(in_order[some.stop - 1]) + 1)
        return out

    def _close_together(self, in_order: npt.NDArray[np.int64]) -> Iterator[slice]:
        """Cut rising numbers of rows so that what is mapped for each piece is little."""
        stretch = in_order * self._row_bytes >> _MAPPED_TOGETHER
        most = max(1, _MOST_MAPPED // (1 + (self._row_bytes >> _MAPPED_TOGETHER)))
        piece = np.cumsum(np.diff(stretch, prepend=stretch[:1]) > 0) // most
        ends = [0, *(np.flatnonzero(np.diff(piece)) + 1).tolist(), len(in_order)]
        return (slice(start, stop) for start, stop in pairwise(ends))

    def _map(self) -> mmap.mmap:
        if self._mapped is None:
            with _in_words():
                self._mapped = mmap.mmap(self._file.descriptor, self.count * self._row_bytes, access=mmap.ACCESS_READ)
        return self._mapped

    def _let_go(self, first: int, stop: int) -> None:
        """Let go of the pages of some rows, which the system keeps for the next read as it does those of any file."""
        mapped = self._map()
        if hasattr(mapped, "madvise"):  # not on Windows
            start = (first * self._row_bytes >> _MAPPED_TOGETHER) << _MAPPED_TOGETHER
            end = ((stop * self._row_bytes >> _MAPPED_TOGETHER) + 1) << _MAPPED_TOGETHER
            mapped.madvise(mmap.MADV_DONTNEED, start, min(end, len(mapped)) - start)
