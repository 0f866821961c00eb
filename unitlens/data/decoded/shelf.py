"""Rows of bytes under hashes, in files that are written whole: how decoded images lie in the cache of this user.

A file is made by one process: rows are appended to a partial one, which it holds, and which gets its name when all of
it is written. So nobody reads half a file, whatever is killed, and processes do not wait for each other. Every row has
a checksum; one that does not fit is as one that is not there.
"""

import fcntl
import os
import secrets
import shutil
import zlib
from collections.abc import Iterator
from contextlib import suppress
from functools import cached_property
from io import FileIO
from pathlib import Path

import numpy as np
import numpy.typing as npt

KEY = 32
"""Bytes of a key."""

MOST = 4_000_000_000
"""Bytes that all files take at most; or a tenth of what is free on their disk, where that is less."""

LARGEST = 1 << 28
"""Bytes of a file, at most: one that was being written when the process was killed is lost."""

_ENTRY = np.dtype([("key", f"V{KEY}"), ("sum", "<u4")])
_SUFFIX, _PARTIAL = ".rows", ".partial"


class Shelf:
    """Rows of one size, each under a key.

    Parameters
    ----------
    folder : Path
        Of the files; it need not be there yet.
    row_bytes : int
    """

    def __init__(self, folder: Path, row_bytes: int) -> None:
        self.folder, self.row_bytes = folder, row_bytes

    def get(self, key: bytes) -> bytes | None:
        """Return the row of a key, or None."""
        for file in self._files:
            row = file.get(key)
            if row is not None:
                return row
        return None

    @cached_property
    def _files(self) -> list["_RowsFile"]:
        """Those that are there when it is asked first."""
        found = [_RowsFile.read(path, self.row_bytes) for path in sorted(self.folder.glob(f"*{_SUFFIX}"))]
        return [file for file in found if file is not None]


class _RowsFile:
    """One file: rows, and behind them the key and the checksum of each."""

    def __init__(self, path: Path, row_bytes: int, entries: npt.NDArray[np.void]) -> None:
        self._path, self._row_bytes = path, row_bytes
        first = np.ascontiguousarray(entries["key"]).view("<u8").reshape(len(entries), -1)[:, 0]
        self._order = np.argsort(first, kind="stable").astype(np.int32)
        self._first, self._entries = first[self._order], entries

    @classmethod
    def read(cls, path: Path, row_bytes: int) -> "_RowsFile | None":
        """Read which rows there are; None where it is no such file, or is gone."""
        try:
            with path.open("rb") as file:
                size = os.fstat(file.fileno()).st_size
                rows, rest = divmod(size, row_bytes + _ENTRY.itemsize)
                file.seek(rows * row_bytes)
                entries = np.frombuffer(file.read(), _ENTRY)
            os.utime(path)  # so that what is used is the last to be removed
        except (OSError, ValueError):
            return None
        return None if rest or not rows or len(entries) != rows else cls(path, row_bytes, entries)

    def get(self, key: bytes) -> bytes | None:
        place = int(np.searchsorted(self._first, np.frombuffer(key[:8], "<u8")[0]))
        while place < len(self._order):
            row = int(self._order[place])
            entry = self._entries[row]
            if entry["key"].tobytes() == key:
                return self._checked(row, int(entry["sum"]))
            if entry["key"].tobytes()[:8] != key[:8]:
                return None
            place += 1
        return None

    def _checked(self, row: int, expected: int) -> bytes | None:
        try:
            with FileIO(self._path) as file:
                content = os.pread(file.fileno(), self._row_bytes, row * self._row_bytes)
        except OSError:  # another process made room
            return None
        return content if zlib.crc32(content) == expected else None


class ShelfWriter:
    """Adds rows to a shelf, in files of this process alone.

    Parameters
    ----------
    shelf : Shelf
    root : Path
        The folder of all shelves, which share the room that there is.

    Attributes
    ----------
    written : int
        Bytes that were added.
    """

    def __init__(self, shelf: Shelf, root: Path) -> None:
        self._shelf, self._root = shelf, root
        self._file: FileIO | None = None
        self._entries: list[tuple[bytes, int]] = []
        self._full = False
        self.written = 0

    def add(self, key: bytes, row: bytes) -> None:
        """Add a row, where there is room; what cannot be written is not kept."""
        if self._full:
            return
        try:
            if self._file is None and not self._begin():
                return
            assert self._file is not None
            self._file.write(row)
        except OSError:
            self._give_up()
            return
        self._entries.append((key, zlib.crc32(row)))
        self.written += len(row)
        if (len(self._entries) + 1) * (len(row) + _ENTRY.itemsize) > LARGEST:
            self.finish()

    def finish(self) -> None:
        """Let what was added be found."""
        if self._file is None:
            return
        try:
            self._file.write(np.array(self._entries, _ENTRY).tobytes())
            partial = Path(os.fsdecode(self._file.name))
            os.replace(partial, partial.with_suffix(_SUFFIX))
            self._file.close()
            self._file, self._entries = None, []
        except OSError:
            self._give_up()

    def _begin(self) -> bool:
        """Make a partial file and hold it, if there is room for a whole one."""
        self._shelf.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._full = not _make_room(self._root, LARGEST)
        if self._full:
            return False
        path = self._shelf.folder / f"{secrets.token_hex(8)}{_PARTIAL}"
        self._file = FileIO(path, "x")
        with suppress(OSError):  # some file systems have no locks
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True

    def _give_up(self) -> None:
        self._full = True
        if self._file is not None:
            with suppress(OSError):
                Path(os.fsdecode(self._file.name)).unlink()
            self._file.close()
            self._file, self._entries = None, []


def size_of_shelves(root: Path) -> int:
    """Bytes of all files."""
    return sum(size for _, _, size in _files_below(root))


def _make_room(root: Path, size: int) -> bool:
    """Remove what was left by dead processes, and what was used longest ago, until so much more may be written."""
    for path in root.glob(f"*/*{_PARTIAL}"):
        _remove_left(path)
    files = sorted(_files_below(root))
    used = sum(size for _, _, size in files)
    most = min(MOST, (shutil.disk_usage(root).free + used) // 10)
    for _, path, of_file in files:
        if used + size <= most:
            break
        with suppress(OSError):
            path.unlink()
        used -= of_file
    return used + size <= most


def _files_below(root: Path) -> Iterator[tuple[float, Path, int]]:
    """When each file was used last, where it is and how large."""
    for path in root.glob(f"*/*{_SUFFIX}"):
        with suppress(OSError):
            status = path.stat()
            yield status.st_mtime, path, status.st_size


def _remove_left(path: Path) -> None:
    """Remove a partial file that nobody holds."""
    with suppress(OSError), FileIO(path, "r+") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        path.unlink()
