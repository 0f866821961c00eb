"""Files that grow by rows or by lines, of which a known number counts."""

import hashlib
import json
import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from io import FileIO
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from unitlens.dissection.store.behind import WriteBehind
from unitlens.dissection.store.nonzero import NonZero
from unitlens.errors import UnitlensError
from unitlens.files import another_folder
from unitlens.stats.blocks import in_blocks

PREFIX = "unitlens-store-"
"""The name of a temporary store begins so."""

_SHORT_ROW = 1 << 12  # bytes that are read as fast as a part of them
_AT_ONCE = 1 << 18  # bytes of short rows that are read together
_LINES = 1 << 10  # lines that are written together

RowNumbers = Sequence[int] | npt.NDArray[np.integer] | range
"""Which rows are read."""


@contextmanager
def writing(folder: Path | None) -> Iterator[None]:
    """Turn what the system refuses while a store is written into a sentence."""
    try:
        yield
    except OSError as error:
        temporary = folder is None or any(part.startswith(PREFIX) for part in folder.parts)
        elsewhere = "put it on another one by setting TMPDIR" if temporary else another_folder()
        raise UnitlensError(
            f"The store under {folder or 'TMPDIR'} could not be written ({error.strerror}): free some disk, or "
            f"{elsewhere}."
        ) from None


@contextmanager
def sound(folder: Path) -> Iterator[None]:
    """Say of whatever is wrong with what was read inside of the ``with`` that the store in a folder is damaged."""
    try:
        yield
    except UnitlensError as error:
        what = str(error).removeprefix("The store is damaged: ").rstrip(".")
        raise UnitlensError(f"The store {folder} is damaged: {what}.") from None
    except Exception as error:  # arrays of other shapes, types and names make arithmetic raise nearly anything
        raise UnitlensError(f"The store {folder} is damaged ({type(error).__name__}: {error}).") from None


class Rows(Protocol):
    """Rows of one shape and type, however they are kept."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one row."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of their numbers."""

    @property
    def count(self) -> int:
        """Rows that are there."""

    @property
    def filled(self) -> float:
        """Share of the numbers that take room; 1 where all do."""

    @property
    def row_bytes(self) -> int:
        """Bytes that one row takes, on average."""

    def put(self, first: int, rows: npt.NDArray[Any]) -> None:
        """Write rows from number ``first`` on, (n, *shape); rows that were passed over are zeros."""

    def read(self, rows: RowNumbers, part: slice | None = None) -> npt.NDArray[Any]:
        """Read rows, or the same part of each along its first side; what lies behind the last row is zeros."""

    def nonzero(self, rows: RowNumbers, part: slice) -> NonZero | None:
        """Read what is not 0 in a part of some rows, where they are kept that way; else None."""


def append(into: Rows, rows: npt.NDArray[Any]) -> None:
    """Write rows behind those that are there, (n, *shape).

    Raises
    ------
    UnitlensError
        If the disk is full.
    """
    into.put(into.count, rows)


class RowFile:
    """Rows of one shape and type in a file, appended and read back by number.

    They are read with plain reads into memory of their own, not mapped: what a run takes then does not grow with the
    number of images, and a full disk is an error rather than a signal.

    Parameters
    ----------
    path : Path
        The file; see `open_file`.
    shape : tuple of int
        Of one row.
    dtype : numpy type
        Of its numbers.
    count : int, optional
        Rows that are there already; None: the file is made anew.
    write : bool
        Whether rows may be appended to those that are there; what stands behind them is cut off then.

    Attributes
    ----------
    count : int
        Rows that are there.
    row_bytes : int
        Bytes of one row.
    filled : float
        1: all numbers take room.
    behind : WriteBehind or None
        The thread that writes, if any; rows that are given to it stay as they are, and count at once.
    """

    filled = 1.0

    def __init__(
        self,
        path: Path,
        shape: tuple[int, ...],
        dtype: npt.DTypeLike,
        *,
        count: int | None = None,
        write: bool = True,
    ) -> None:
        self.shape, self.dtype = shape, np.dtype(dtype)
        self.row_bytes = int(np.prod(shape, dtype=np.int64)) * self.dtype.itemsize
        self.count = count or 0
        self.behind: WriteBehind | None = None
        self._folder = path.parent
        self._file = open_file(path, None if count is None else count * self.row_bytes, write=write)

    def put(self, first: int, rows: npt.NDArray[Any]) -> None:
        """Write rows from number ``first`` on, (n, *shape); rows that were passed over are zeros.

        Raises
        ------
        UnitlensError
            If the disk is full.
        """
        if not len(rows):
            return
        content = _bytes_of(np.ascontiguousarray(rows, self.dtype))
        if self.behind is None:
            self._write(content, first * self.row_bytes)
        else:
            self.behind(partial(self._write, content, first * self.row_bytes), len(content))
        self.count = max(self.count, first + len(rows))

    def _write(self, content: memoryview, offset: int) -> None:
        with writing(self._folder):
            write_at(self._file, content, offset)

    def _settle(self) -> None:
        """Let what was given to another thread be written."""
        if self.behind is not None:
            self.behind.wait()

    def nonzero(self, rows: RowNumbers, part: slice) -> None:
        """All numbers are kept, those that are 0 too."""

    def read(self, rows: RowNumbers, part: slice | None = None) -> npt.NDArray[Any]:
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
        if part is not None and isinstance(rows, range) and rows.step == 1 and self.row_bytes <= _SHORT_ROW:
            return self._read_short(rows, part)
        self._settle()
        shape = self.shape if part is None else (part.stop - part.start, *self.shape[1:])
        out = np.zeros((len(rows), *shape), self.dtype)  # what lies behind the end is zeros, as rows passed over are
        size = out[0].nbytes if len(rows) else 0
        start = 0 if part is None else part.start * (self.row_bytes // max(self.shape[0], 1))
        # Whole rows that follow each other are one read; else there is one read for each row.
        if isinstance(rows, range) and rows.step == 1 and size == self.row_bytes:
            read_at(self._file, _bytes_of(out), rows.start * self.row_bytes)
            return out
        for into, row in zip(out, rows, strict=True):
            read_at(self._file, _bytes_of(into), int(row) * self.row_bytes + start)
        return out

    def _read_short(self, rows: range, part: slice) -> npt.NDArray[Any]:
        """Read a part of short rows that follow each other: whole rows, as a read of each would take far longer."""
        out = np.zeros((len(rows), part.stop - part.start, *self.shape[1:]), self.dtype)
        for block in in_blocks(len(rows), _AT_ONCE // max(self.row_bytes, 1)):
            out[block] = self.read(rows[block])[:, part]
        return out

    def sync(self) -> None:
        """Let what was written be on the disk."""
        self._settle()
        with writing(self._folder):
            sync(self._file)

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class LineFile:
    """JSON values in a file, one a line, appended and read back as a whole.

    Parameters
    ----------
    path : Path
        The file; see `open_file`.
    size : int, optional
        Bytes that are there already; None: the file is made anew.
    write : bool
        Whether lines may be appended.

    Attributes
    ----------
    size : int
        Bytes that are there.
    """

    def __init__(self, path: Path, *, size: int | None = None, write: bool = True) -> None:
        self.size = size or 0
        self._folder = path.parent
        self._file = open_file(path, size, write=write)
        self._hash = hashlib.sha256()
        for content in self._contents():
            self._hash.update(content)

    @property
    def sha256(self) -> str:
        """Hash of what is there."""
        return self._hash.hexdigest()

    def append(self, values: Iterable[Any]) -> None:
        """Write values behind those that are there: all of them count, or after an error none."""
        size, hash_ = self.size, self._hash.copy()
        lines = (json.dumps(value, default=_plain) + "\n" for value in values)
        while content := "".join(islice(lines, _LINES)).encode():
            with writing(self._folder):
                write_at(self._file, memoryview(content), size)
            hash_.update(content)
            size += len(content)
        self.size, self._hash = size, hash_

    def __iter__(self) -> Iterator[Any]:
        """All values, read as they are asked for."""
        rest = b""
        for content in self._contents():
            *lines, rest = (rest + content).split(b"\n")
            yield from map(json.loads, lines)

    def sync(self) -> None:
        """Let what was written be on the disk."""
        with writing(self._folder):
            sync(self._file)

    def _contents(self) -> Iterator[bytes]:
        for part in in_blocks(self.size, _AT_ONCE):
            content = bytearray(part.stop - part.start)
            read_at(self._file, memoryview(content), part.start)
            yield bytes(content)

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def open_file(path: Path, size: int | None, *, write: bool) -> FileIO:
    """Open a file for reads and writes at any place of it.

    Parameters
    ----------
    path : Path
        Its folder is made if it is not there.
    size : int or None
        Bytes that count of a file that is there; None: it is made anew.
    write : bool
        Whether it will be written: what stands behind the bytes that count, as after a kill, is then cut off.

    Raises
    ------
    UnitlensError
        If it cannot be opened, or is shorter than what counts.
    """
    if path.parent.is_symlink():  # which somebody else may have put there, and which leads anywhere
        raise UnitlensError(f"{path.parent} of a store is a link: remove it.")
    if size is None:
        with writing(path.parent):
            path.parent.mkdir(exist_ok=True)
            # over what a process left that was killed before it counted
            flags = os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW
            return FileIO(os.open(path, flags, 0o666), "r+")
    flags = (os.O_RDWR if write else os.O_RDONLY) | os.O_NOFOLLOW | os.O_NONBLOCK  # a pipe would be waited for
    try:
        descriptor = os.open(path, flags)
    except OSError as error:
        raise UnitlensError(f"{path} of a store cannot be opened: {error.strerror}.") from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise UnitlensError(f"{path} of a store is not a file.")
    file = FileIO(descriptor, "r+" if write else "r")
    if os.fstat(file.fileno()).st_size < size:
        file.close()
        raise UnitlensError(f"The store is damaged: {path} has fewer bytes than the {size} that its manifest counts.")
    if write:
        with writing(path.parent):
            file.truncate(size)
    return file


def write_at(file: FileIO, content: memoryview, offset: int) -> None:
    """Write all bytes at a place of a file; the system may take fewer at a time."""
    while content:
        count = os.pwrite(file.fileno(), content, offset)
        content, offset = content[count:], offset + count


def sync(file: FileIO) -> None:
    """Let what was written to a file be on the disk."""
    (os.fdatasync if hasattr(os, "fdatasync") else os.fsync)(file.fileno())


def read_at(file: FileIO, into: memoryview, offset: int) -> None:
    """Read as many bytes as there is room for; behind the end of the file nothing is changed."""
    while into and (count := os.preadv(file.fileno(), [into], offset)):
        into, offset = into[count:], offset + count


def _plain(value: Any) -> Any:
    """What JSON takes in place of a value that it does not: a data set may name classes by any kind of number."""
    return value.item() if isinstance(value, np.generic) else str(value)


def _bytes_of(array: npt.NDArray[Any]) -> memoryview:
    """The memory of a contiguous array."""
    return array.reshape(-1).view(np.uint8).data
