"""Rows that are sorted bucket by bucket, so that sorting any number of them takes little memory."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from unitlens.nameless import NamelessFile

COUNT = 256

IN_MEMORY = 1 << 19
"""Rows that take no more bytes stay in memory."""

Rows = npt.NDArray[Any]


class Buckets:
    """Rows that are dealt to 256 buckets by a number of each, and wait in a file without a name.

    Parameters
    ----------
    pieces : callable
        Yields all rows, in arrays of one type whose first axis counts rows; it may be called twice.
    bucket_of : callable
        The bucket of each row of a piece, (rows,): 0 to 255. Where low numbers are in low buckets, sorting each bucket
        sorts all rows.

    Examples
    --------
    >>> numbers = [np.array([513, 2, 700]), np.array([1, 514])]
    >>> buckets = Buckets(lambda: numbers, lambda rows: rows >> 8)
    >>> [np.sort(rows).tolist() for rows in buckets if len(rows)]
    [[1, 2], [513, 514, 700]]
    """

    def __init__(self, pieces: Callable[[], Iterable[Rows]], bucket_of: Callable[[Rows], npt.NDArray[Any]]) -> None:
        counts = np.zeros(COUNT, np.int64)
        self._like = np.zeros(0, np.uint8)
        held, size = list[Rows](), 0
        for rows in pieces():
            counts += np.bincount(bucket_of(rows), minlength=COUNT)
            self._like = rows[:0]
            size += rows.nbytes
            held = [*held, rows] if size <= IN_MEMORY else []
        self._start = np.concatenate([[0], np.cumsum(counts)])
        self._row_bytes = int(np.prod(self._like.shape[1:], dtype=np.int64)) * self._like.dtype.itemsize
        self._sorted: Rows | None = None
        if size <= IN_MEMORY:
            rows = np.concatenate([self._like, *held])
            self._sorted = rows[np.argsort(bucket_of(rows), kind="stable")] if len(rows) else rows
        else:
            self._file = self._dealt(pieces, bucket_of)

    def _dealt(
        self, pieces: Callable[[], Iterable[Rows]], bucket_of: Callable[[Rows], npt.NDArray[Any]]
    ) -> NamelessFile:
        """Write the rows of each bucket behind each other."""
        file, place = NamelessFile(), self._start[:-1].copy()
        for rows in pieces():
            bucket = bucket_of(rows)
            order = np.argsort(bucket, kind="stable")
            content = np.ascontiguousarray(rows[order]).reshape(-1).view(np.uint8).data
            ends = np.cumsum(counted := np.bincount(bucket, minlength=COUNT))
            for number in np.flatnonzero(counted).tolist():
                first, stop = int(ends[number] - counted[number]), int(ends[number])
                some = content[first * self._row_bytes : stop * self._row_bytes]
                file.write(some, int(place[number]) * self._row_bytes)
            place += counted
        return file

    def __iter__(self) -> Iterator[Rows]:
        """The rows of each bucket."""
        return (self.read(bucket, bucket + 1) for bucket in range(COUNT))

    def read(self, first: int, stop: int) -> Rows:
        """The rows of a bucket as they came, then those of the next, up to another one."""
        if self._sorted is not None:
            return self._sorted[self._start[first] : self._start[stop]]
        places = (int(self._start[end]) * self._row_bytes for end in (first, stop))
        rows = np.frombuffer(self._file.read(*places), self._like.dtype)
        return rows.reshape(-1, *self._like.shape[1:])
