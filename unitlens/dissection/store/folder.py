"""A store: a folder of named files, a manifest that says how much of them counts, and a lock while it is written."""

import hashlib
import json
import math
import re
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from unitlens.dissection.store.behind import WriteBehind, write_behind
from unitlens.dissection.store.joined_rows import JoinedRows
from unitlens.dissection.store.lock import LASTING, NAME, TEMPORARY, new_lock, release_lock, take_lock
from unitlens.dissection.store.manifest import FILE as MANIFEST
from unitlens.dissection.store.manifest import Manifest, RowsEntry
from unitlens.dissection.store.rows import LineFile, RowFile, Rows, sound, writing
from unitlens.dissection.store.sparse_rows import LONGEST, SparseRows
from unitlens.errors import UnitlensError
from unitlens.files import check_readable, held_back, replace_file, sync_folder

OFTEN = 2.0
"""Seconds between two commits, at least."""

SHARE = 50
"""After a commit there is none for so many times what it took, so that all of them take less than 2 % of a pass."""

SPARSE = 1 / 4
"""Where at most this share of the numbers is not 0, only these are kept, with their places: each takes 2 to 3 times as
much room."""

Arrays = Mapping[str, npt.NDArray[Any]]


class Store:
    """Rows, lines, documents and arrays of one loop over images, in a folder.

    A process may be killed at any moment: rows and lines are written first, and then, at once or not at all, the
    manifest that counts them. What stands behind is cut off when the store is opened to be written on. Where the store
    is to last, all of it is on the disk before the manifest is: the power may fail as well.

        FOLDER/manifest.json         see `unitlens.dissection.store.manifest.Manifest`
        FOLDER/lock
        FOLDER/images.jsonl          a line for each image
        FOLDER/NAME.rows             a row for each image
        FOLDER/KIND/NAME.rows
        FOLDER/KIND/NAME.batches.rows  where only what is not 0 is kept; see `unitlens.dissection.store.sparse_rows`
        FOLDER/NAME.json             documents, written once
        FOLDER/NAME.N.safetensors    arrays, written again at any commit

    Attributes
    ----------
    folder : Path
    manifest : Manifest
        As it was written last.
    lines : LineFile
    lasting : bool
        Whether it is there for a later process, if this one is stopped.
    """

    def __init__(
        self, folder: Path, manifest: Manifest, lines: LineFile, opened: ExitStack, *, lasting: bool = True
    ) -> None:
        self.folder, self.manifest, self.lines, self.lasting = folder, manifest, lines, lasting
        self._opened = opened  # closes all files, and lets go of the lock last
        self._rows: dict[str, Rows] = {}
        self._behind: WriteBehind | None = None
        self._documents = dict(manifest.documents)
        self._next_commit = time.monotonic() + OFTEN

    @classmethod
    def create(cls, folder: Path, *, temporary: bool = False) -> "Store":
        """Make a store in a folder that is empty or not there.

        Parameters
        ----------
        folder : Path
        temporary : bool
            Whether it may be removed by any later process when its own is gone.

        Raises
        ------
        UnitlensError
            If the folder has a store, or cannot be written.
        """
        with ExitStack() as opened:
            with writing(folder):
                folder.mkdir(exist_ok=True)
                if (folder / NAME).exists():
                    raise UnitlensError(f"{folder} has a store already: open it, or choose another folder.")
                lock = new_lock(folder, TEMPORARY if temporary else LASTING)
            opened.callback(release_lock, lock)
            lines = opened.enter_context(closing(LineFile(folder / "images.jsonl")))
            store = cls(folder, Manifest(), lines, opened, lasting=not temporary)
            store.commit(images=0)
            store._opened = opened.pop_all()
        return store

    @classmethod
    def open(cls, folder: Path, *, write: bool = False) -> "Store":
        """Open the store in a folder, of which the manifest says what counts.

        Parameters
        ----------
        folder : Path
        write : bool
            Whether images are to be added; what was written after the last manifest is cut off then.

        Raises
        ------
        UnitlensError
            If there is none, it is damaged, or another process is writing it.
        """
        with ExitStack() as opened:
            if write:
                opened.callback(release_lock, take_lock(folder))
            manifest = Manifest.read(folder)
            path = folder / "images.jsonl"
            lines = opened.enter_context(closing(LineFile(path, size=manifest.lines, write=write)))
            if lines.sha256 != manifest.lines_sha256:
                raise UnitlensError(f"The store {folder} is damaged: {path.name} is not what its manifest names.")
            store = cls(folder, manifest, lines, opened)
            for name, entry in manifest.rows.items():
                store._rows[name] = opened.enter_context(closing(_opened(folder / file_of(name), entry, write=write)))
            store._opened = opened.pop_all()
        return store

    @classmethod
    def going_on(cls, folder: Path) -> "Store":
        """Open the store in a folder to be written on, or make it: anew, if a process was stopped before it was one.

        The caller holds the folder above, so that nobody else does the same.

        Raises
        ------
        UnitlensError
            As for `open` and `create`.
        """
        if folder.is_symlink():
            raise UnitlensError(f"{folder} is a link, and a store is not written where a link leads: remove it.")
        if (folder / MANIFEST).exists():
            return cls.open(folder, write=True)
        shutil.rmtree(folder, ignore_errors=True)
        return cls.create(folder)

    @classmethod
    def joined(cls, stores: Sequence["Store"]) -> "Store":
        """The stores of consecutive parts as one, to be read: rows behind rows, and the documents of the first images.

        Parameters
        ----------
        stores : sequence of Store
            They stay open as long as it is read.

        Raises
        ------
        UnitlensError
            If rows of one name are of several shapes.
        """
        first = next((store for store in stores if store.manifest.images), stores[0])
        counts = [store.manifest.images for store in stores]
        joined = cls(first.folder, replace(first.manifest, images=sum(counts)), first.lines, ExitStack())
        for name in dict.fromkeys(name for store in stores for name in store.names):
            parts = [store.existing(name) for store in stores]
            if len({(part.shape, part.dtype) for part in parts if part is not None}) > 1:
                raise UnitlensError(f"The stores {first.folder} and others have rows of several shapes for {name}.")
            joined._rows[name] = JoinedRows(parts, counts)
        return joined

    def __enter__(self) -> Self:
        """Close the files in the end."""
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def names(self) -> list[str]:
        """Of all rows."""
        return list(self._rows)

    @property
    def row_bytes(self) -> int:
        """Bytes that all rows of one image take."""
        return sum(rows.row_bytes for rows in self._rows.values())

    @property
    def due(self) -> bool:
        """Whether it is time for a commit; of what does not last, no commit is needed but the last."""
        return self.lasting and time.monotonic() >= self._next_commit

    def rows(self, name: str, shape: tuple[int, ...], dtype: npt.DTypeLike, *, filled: float = 1.0) -> Rows:
        """The rows of one name, such as ``planes`` or ``maps/layer4``; made at the first call.

        Parameters
        ----------
        name : str
        shape : tuple of int
            Of one row.
        dtype : numpy type
        filled : float
            Share of the numbers that will probably not be 0: only these are kept, where that takes far less room.
        """
        if name not in self._rows:
            path = self.folder / file_of(name)
            made: RowFile | SparseRows
            if filled <= SPARSE and shape and math.prod(shape) < LONGEST:
                made = SparseRows(path, shape, dtype, expected=filled)
            else:
                made = RowFile(path, shape, dtype)
                made.behind = self._behind
            self._rows[name] = self._opened.enter_context(closing(made))
        rows = self._rows[name]
        if (rows.shape, rows.dtype) != (shape, np.dtype(dtype)):
            raise UnitlensError(f"The store {self.folder} is damaged: {name} has rows of another shape or type.")
        return rows

    @contextmanager
    def writing_behind(self) -> Iterator[None]:
        """Let a separate thread write dense rows, inside of the ``with``, so that only commits wait for the disk.

        Where the disk fails, a later call raises the error, and so does every later commit: which rows are there is not
        known.

        Raises
        ------
        UnitlensError
            If the disk is full.
        """
        with write_behind() as self._behind:
            for rows in self._rows.values():
                if isinstance(rows, RowFile):
                    rows.behind = self._behind
            yield

    def existing(self, name: str) -> Rows | None:
        """The rows of one name, if there are any."""
        return self._rows.get(name)

    def check_rows(self, names: Iterable[str], *, count: int) -> None:
        """Make sure that there are so many rows of each name.

        Raises
        ------
        UnitlensError
            If there are not.
        """
        for name in names:
            if name not in self._rows or self._rows[name].count != count:
                raise UnitlensError(f"The store {self.folder} is damaged: {name} has not the rows of {count} images.")

    def write_document(self, name: str, value: Any) -> None:
        """Write a value as JSON, once; the next manifest names it."""
        self._write(f"{name}.json", json.dumps(value).encode(), name)

    def document(self, name: str) -> Any:
        """A value that was written.

        Raises
        ------
        UnitlensError
            If it is not there, or not as it was.
        """
        content = self._read(f"{name}.json", name)
        with sound(self.folder):
            return json.loads(content)

    def arrays(self, name: str) -> dict[str, npt.NDArray[Any]] | None:
        """The arrays of a name as they were at the last commit; None if there were none.

        Raises
        ------
        UnitlensError
            If they are not as they were.
        """
        from safetensors.numpy import load

        there = [file for file in _two_files(name) if file in self._documents]
        if not there:
            return None
        content = self._read(there[0], there[0])
        with sound(self.folder):
            return load(content)

    def commit(
        self,
        *,
        images: int,
        looked_at: int | None = None,
        seconds: float = 0.0,
        complete: bool = False,
        arrays: Mapping[str, Arrays] | None = None,
    ) -> None:
        """Write the manifest: from now on, all that was written counts, for so many images.

        Parameters
        ----------
        images : int
            Rows behind those of so many images do not count.
        looked_at : int, optional
            With images that were left out; as many as ``images``, unless given.
        seconds : float
            It took so far.
        complete : bool
            Whether these are all images.
        arrays : mapping of str to mapping of str to array, optional
            What is kept beside the rows, by name, in place of the last arrays of that name.
        """
        start = time.monotonic()
        if self._behind is not None:
            self._behind.wait()  # raises an earlier error again, so that rows that are not there do not count
        left = [self._write_arrays(name, of_name) for name, of_name in (arrays or {}).items()]
        manifest = replace(
            self.manifest,
            images=images,
            looked_at=images if looked_at is None else looked_at,
            seconds=seconds,
            complete=complete,
            lines=self.lines.size,
            lines_sha256=self.lines.sha256,
            rows={name: _entry_of(rows, images) for name, rows in self._own_rows()},
            documents=dict(self._documents),
        )
        with writing(self.folder):
            if self.lasting:
                self._sync()
            manifest.write(self.folder, synced=self.lasting)
        self.manifest = manifest
        for path in left:
            path.unlink(missing_ok=True)
        end = time.monotonic()
        self._next_commit = end + max(OFTEN, SHARE * (end - start))

    def _sync(self) -> None:
        """Let all that the manifest will count be on the disk."""
        for _, rows in self._own_rows():
            rows.sync()
        self.lines.sync()
        if len(self._rows) > len(self.manifest.rows):  # files were made, also in folders of their own
            for folder in {(self.folder / file_of(name)).parent for name in self._rows}:
                sync_folder(folder)

    def _own_rows(self) -> Iterator[tuple[str, RowFile | SparseRows]]:
        """All rows that are written here, by name."""
        for name, rows in self._rows.items():
            assert isinstance(rows, RowFile | SparseRows)
            yield name, rows

    def _write_arrays(self, name: str, arrays: Arrays) -> Path:
        """Write arrays beside those that the last manifest names, whose path is returned."""
        from safetensors.numpy import save

        old, new = sorted(_two_files(name), key=lambda file: file not in self._documents)
        # a single number keeps its shape, of which ascontiguousarray makes (1,)
        contiguous = {key: np.ascontiguousarray(array).reshape(array.shape) for key, array in arrays.items()}
        self._write(new, save(contiguous), new)
        self._documents.pop(old, None)
        return self.folder / old

    def _write(self, file: str, content: bytes, key: str) -> None:
        with writing(self.folder):
            replace_file(self.folder / file, content, synced=self.lasting)
        self._documents[key] = hashlib.sha256(content).hexdigest()

    def _read(self, file: str, key: str) -> bytes:
        check_readable(self.folder / file)
        try:
            content = (self.folder / file).read_bytes()
        except OSError:
            content = b""
        if hashlib.sha256(content).hexdigest() != self._documents.get(key):
            raise UnitlensError(f"The store {self.folder} is damaged: {file} is not what its manifest names.")
        return content

    def close(self) -> None:
        """Close all files and let go of the lock."""
        with held_back():
            if self._behind is not None:  # a thread that writes into a closed file might write into another one
                self._behind.settle()
            self._opened.close()


def _opened(path: Path, entry: RowsEntry, *, write: bool) -> RowFile | SparseRows:
    """Rows of which a manifest says how many count."""
    if entry.batches is None:
        return RowFile(path, entry.shape, entry.dtype, count=entry.count, write=write)
    return SparseRows(path, entry.shape, entry.dtype, count=entry.count, batches=entry.batches, write=write)


def _entry_of(rows: RowFile | SparseRows, images: int) -> RowsEntry:
    """What a manifest says of rows, of which those of so many images count."""
    count = min(rows.count, images)
    batches = rows.batches(count) if isinstance(rows, SparseRows) else None
    return RowsEntry(rows.shape, rows.dtype.str, count, batches)


def _two_files(name: str) -> tuple[str, str]:
    """The files that the arrays of a name are in by turns, so that the manifest always names one that is whole."""
    return f"{name}.0.safetensors", f"{name}.1.safetensors"


def file_of(name: str) -> Path:
    """The file of the rows of a name, ``KIND`` or ``KIND/WHATEVER``.

    Layers have any names: what a file system may not take is replaced, and a hash then tells such names apart, also
    those that differ in upper and lower case alone.

    Examples
    --------
    >>> file_of("maps/layer4.1").as_posix(), file_of("maps/Mixed_7c").as_posix()
    ('maps/layer4.1.rows', 'maps/Mixed_7c-fa64fff4d06c31c5.rows')
    """
    kind, slash, rest = name.partition("/")
    if not slash:
        return Path(f"{kind}.rows")
    plain = re.sub(r"[^A-Za-z0-9._-]", "_", rest)[:100]
    if plain and plain == rest.lower():
        return Path(kind, f"{plain}.rows")
    digest = hashlib.sha256(rest.encode(errors="surrogatepass")).hexdigest()
    return Path(kind, f"{plain}-{digest[:16]}.rows")
