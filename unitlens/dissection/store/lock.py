"""The lock file of a store, held while a process writes; what it says tells whose folder it is."""

import fcntl
import os
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import FileIO
from pathlib import Path

from unitlens.errors import UnitlensError
from unitlens.files import another_folder

NAME = "lock"

LASTING = "unitlens store\n"

TEMPORARY = f"unitlens temporary store of {socket.gethostname()}\n"
"""With the machine: locks of one machine are not seen on another by all file systems that machines share."""


def new_lock(folder: Path, text: str) -> FileIO:
    """Make the lock file of a new store and hold it.

    It gets its name when it is held: a lock file that is there and not held was left by a process that is gone.
    """
    partial = folder / f".{NAME}"
    lock = FileIO(partial, "x+")
    lock.write(text.encode())
    with suppress(OSError):  # some file systems have no locks: the store is then never taken for one that was left
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.rename(partial, folder / NAME)
    return lock


def take_lock(folder: Path) -> FileIO:
    """Hold the lock of a store that is there.

    Raises
    ------
    UnitlensError
        If there is none, or another process holds it.
    """
    try:
        lock = FileIO(os.open(folder / NAME, os.O_RDWR | os.O_NOFOLLOW), "r+")
    except OSError as error:
        raise UnitlensError(f"{folder} is not a store of unitlens that can be written ({error.strerror}).") from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        raise UnitlensError(f"Another process is writing the store {folder}: wait for it, or stop it.") from None
    except OSError:
        pass  # no locks on this file system
    return lock


@contextmanager
def holding(folder: Path, *, name: str = NAME) -> Iterator[None]:
    """Hold a folder for this process inside of a ``with``; the lock file is removed afterwards.

    A lock file that a dead process left is held by nobody.

    Raises
    ------
    UnitlensError
        If another process holds it, or nothing can be written there.
    """
    path = folder / name
    lock = _taken(path)
    while lock is None:  # the one who held it has just removed it
        lock = _taken(path)
    try:
        yield
    finally:
        with suppress(OSError):
            path.unlink()
        release_lock(lock)


def _taken(path: Path) -> FileIO | None:
    """Hold a lock file, which is made if it is not there; None if it is no longer there."""
    try:
        lock = FileIO(os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666), "r+")
    except OSError as error:
        raise UnitlensError(
            f"Nothing can be written into {path.parent} ({error.strerror}): {another_folder()}."
        ) from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        raise UnitlensError(
            f"Another process is at work in {path.parent}: wait for it, stop it, or {another_folder()}."
        ) from None
    except OSError:
        return lock  # no locks on this file system
    try:
        there = path.stat().st_ino
    except OSError:
        there = None
    if there == os.fstat(lock.fileno()).st_ino:
        return lock
    lock.close()
    return None


def release_lock(lock: FileIO) -> None:
    """Let go of a lock, also where a worker process has inherited the file."""
    if not lock.closed:
        with suppress(OSError):
            fcntl.flock(lock, fcntl.LOCK_UN)
        lock.close()


def take_left_lock(folder: int, text: str) -> FileIO | None:
    """Hold the lock of a store that a process of this user left, which says just this text; None if it is not so.

    Parameters
    ----------
    folder : int
        Descriptor of the open folder, so that nothing can be put in its place meanwhile.
    text : str
        `TEMPORARY`, for what may be removed.
    """
    try:
        lock = FileIO(os.open(NAME, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder), "r+")
    except OSError:
        return None
    status = os.fstat(lock.fileno())
    if stat.S_ISREG(status.st_mode) and status.st_uid == os.getuid() and lock.read(1024) == text.encode():
        with suppress(OSError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return lock
    lock.close()
    return None
