"""Processes that die at a file operation of a folder: the machinery of `tests/test_journal.py` and others."""

import os
import shutil
import sys
import traceback
from contextlib import contextmanager

DIED, DONE, FAILED = 66, 0, 1

CHANGES = ("os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.link", "os.symlink", "os.truncate", "os.chmod")


def _changes(event, arguments, root):
    """Whether an audit event is about to change something below a folder."""
    if event == "open":
        path, _, flags = arguments
        writes = flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        return writes and isinstance(path, str | bytes) and os.fsdecode(path).startswith(root)
    if event not in CHANGES:
        return False
    # names in an open folder, as rmtree has them, are not paths; here it removes nothing elsewhere
    return not os.path.isabs(os.fsdecode(arguments[0])) or os.fsdecode(arguments[0]).startswith(root)


def dies_at(number, root, action):
    """Do something in a process that dies, without any clean-up, before it changes a folder for the n-th time.

    Files count twice: before they are made, and half written, before they are said to be on the disk.

    Returns
    -------
    bool
        Whether it came to that; else it did all of it.
    """
    child = os.fork()
    if child:
        _, status = os.waitpid(child, 0)
        code = os.waitstatus_to_exitcode(status)
        assert code in (DIED, DONE), f"the process ended with {code}"
        return code == DIED
    try:
        left = number

        def count():
            nonlocal left
            if left == 0:
                os._exit(DIED)
            left -= 1

        def synced(descriptor):
            if left == 0 and os.path.isfile(path := f"/proc/self/fd/{descriptor}"):
                os.truncate(path, os.fstat(descriptor).st_size // 2)
            count()

        sys.addaudithook(lambda event, arguments: count() if _changes(event, arguments, str(root)) else None)
        os.fsync = synced
        action()
    except BaseException:
        traceback.print_exc(file=sys.__stderr__)
        os._exit(FAILED)
    os._exit(DONE)


def contents(folder):
    """What there is below a folder: the bytes of each file by its name, None for a folder."""
    below = sorted(folder.rglob("*"))
    return {str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None for path in below}


class _Watched:
    """The folder whose changes are watched, one at a time: an audit hook cannot be taken away again."""

    root, called = None, None


def _hook(event, arguments):
    if _Watched.called is not None and _changes(event, arguments, _Watched.root):
        _Watched.called()


sys.addaudithook(_hook)


@contextmanager
def copied_at_each_change(root, into):
    """Copy a folder before each change of it, which is what a process leaves that dies there; the list of copies.

    Files count twice, as in `dies_at`.
    """
    copies, sync = [], os.fsync

    def copy(descriptor=None):
        _Watched.called = None
        copies.append(into / str(len(copies)))
        shutil.copytree(root, copies[-1], symlinks=True)
        if descriptor is not None and os.path.isfile(path := f"/proc/self/fd/{descriptor}"):
            half_written = copies[-1] / os.path.relpath(os.readlink(path), root)
            os.truncate(half_written, half_written.stat().st_size // 2)
        _Watched.called = copy

    _Watched.root, _Watched.called, os.fsync = str(root), copy, copy
    try:
        yield copies
    finally:
        _Watched.called, os.fsync = None, sync
