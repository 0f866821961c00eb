"""Stores that are gone when the run is over; those that a killed process left are gone when the next one starts."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from unitlens.dissection.store.folder import Store
from unitlens.dissection.store.lock import NAME, TEMPORARY, release_lock, take_left_lock
from unitlens.dissection.store.rows import PREFIX, writing


@contextmanager
def temporary_store() -> Iterator[Store]:
    """Make a store in a temporary folder (TMPDIR) and remove it afterwards, whatever happens.

    Raises
    ------
    UnitlensError
        If it cannot be written.
    """
    with suppress(OSError):
        remove_left_stores(Path(tempfile.gettempdir()))
    with writing(None):
        folder = Path(tempfile.mkdtemp(prefix=PREFIX))
    store: Store | None = None
    try:
        store = Store.create(folder, temporary=True)
        yield store
    finally:
        with suppress(OSError), _opened(folder) as descriptor:
            _empty(descriptor)  # while it is locked
        try:
            if store is not None:
                store.close()
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def remove_left_stores(parent: Path) -> None:
    """Remove the temporary stores of processes of this user that were killed.

    Nothing else is touched: a store is a folder, not a link to one, that belongs to this user and has a lock file of a
    temporary store of this machine, which no process holds.
    """
    for name in os.listdir(parent):
        if name.startswith(PREFIX):
            with suppress(OSError):
                _remove_if_left(parent / name)


def _remove_if_left(folder: Path) -> None:
    with _opened(folder) as descriptor:
        if os.fstat(descriptor).st_uid != os.getuid():
            return
        lock = take_left_lock(descriptor, TEMPORARY)
        if lock is None:
            return
        try:
            _empty(descriptor)
            os.unlink(NAME, dir_fd=descriptor)
            os.rmdir(folder)
        finally:
            release_lock(lock)


@contextmanager
def _opened(folder: Path) -> Iterator[int]:
    """Descriptor of a folder, which goes on to mean the same one whatever its path comes to mean."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _empty(folder: int) -> None:
    """Remove all of a folder but the lock, which goes last: until then what is left can be told by it."""
    for name in os.listdir(folder):
        if name == NAME:
            continue
        try:
            os.unlink(name, dir_fd=folder)
        except OSError:  # a folder; rmtree follows no links
            shutil.rmtree(name, ignore_errors=True, dir_fd=folder)
