"""Rows on disk, appended during the one pass over the images and read back by number."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from unitlens.errors import UnitlensError


@contextmanager
def writing(folder: Path | None) -> Iterator[None]:
    """Turn what the system refuses into a sentence."""
    try:
        yield
    except OSError as error:
        raise UnitlensError(
            f"The store under {folder or 'TMPDIR'} could not be written ({error.strerror}): free some disk, or put "
            "it on another one by setting TMPDIR."
        ) from None


def _bytes_of(array: npt.NDArray[Any]) -> memoryview:
    """The memory of a contiguous array."""
    return array.reshape(-1).view(np.uint8).data


class RowFile:
    """Rows of one shape and type in a file.

    They are read with plain reads into memory of their own, not mapped: what a run holds then does not grow with the
    number of images, and a full disk is an error rather than a signal.

    Parameters
    ----------
    path : Path
        The file, made anew.
    shape : tuple of int
        Of one row.
    dtype : numpy type
        Of its numbers.

    Attributes
    ----------
    count : int
        Rows that are there.
    row_bytes : int
        Bytes of one row.
    """

    def __init__(self, path: Path, shape: tuple[int, ...], dtype: npt.DTypeLike) -> None:
        self.shape, self.dtype = shape, np.dtype(dtype)
        self.row_bytes = int(np.prod(shape, dtype=np.int64)) * self.dtype.itemsize
        self.count = 0
        self._folder = path.parent
        with writing(self._folder):
            self._file = path.open("w+b", buffering=0)
        path.unlink()  # the open file stays; however this process ends, its disk is free again

    def append(self, rows: npt.NDArray[Any]) -> None:
        """Write rows behind those that are there, (n, *shape).

        Raises
        ------
        UnitlensError
            If the disk is full.
        """
        self.put(self.count, rows)

    def put(self, first: int, rows: npt.NDArray[Any]) -> None:
        """Write rows from number ``first`` on; rows that were passed over hold zeros."""
        if not len(rows):
            return
        content = _bytes_of(np.ascontiguousarray(rows, self.dtype))
        offset = first * self.row_bytes
        with writing(self._folder):
            while content:
                written = os.pwrite(self._file.fileno(), content, offset)
                content, offset = content[written:], offset + written
        self.count = max(self.count, first + len(rows))

    def read(self, rows: Sequence[int] | npt.NDArray[np.int64] | range, part: slice | None = None) -> npt.NDArray[Any]:
        """Read rows, or the same part of each along its first side.

        Parameters
        ----------
        rows : sequence of int
            Their numbers.
        part : slice, optional
            With a start and a stop, along the first side of a row.

        Returns
        -------
        array, (len(rows), *shape)
            With ``part.stop - part.start`` in place of the first side, if given.
        """
        shape = self.shape if part is None else (part.stop - part.start, *self.shape[1:])
        out = np.zeros((len(rows), *shape), self.dtype)
        size = out[0].nbytes if len(rows) else 0
        start = 0 if part is None else part.start * (self.row_bytes // max(self.shape[0], 1))
        if isinstance(rows, range) and rows.step == 1 and size == self.row_bytes:
            self._fill(_bytes_of(out), rows.start * self.row_bytes)
            return out
        for into, row in zip(out, rows, strict=True):
            self._fill(_bytes_of(into), int(row) * self.row_bytes + start)
        return out

    def _fill(self, into: memoryview, offset: int) -> None:
        while into:
            got = os.preadv(self._file.fileno(), [into], offset)
            if not got:
                return  # behind the end: zeros, as for rows that were passed over
            into, offset = into[got:], offset + got

    def close(self) -> None:
        """Close the file."""
        self._file.close()
