"""Folders of results that change whole or not at all, whenever the process is killed or the plug is pulled.

What is new is written into a folder of its own inside, ``.unitlens-new-...``, which is renamed to ``.unitlens-change``
when all of it is on the disk: that rename is the moment at which the new takes the place of the old. Then it is moved
file by file. Who opens the folder next finishes a move that was begun, and removes what was never completed.
"""

import fcntl
import json
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path

from unitlens.errors import UnitlensError
from unitlens.files import another_folder, encoded, make_folder, read_json, sync_folder, uninterrupted

TEMPORARY = ".unitlens-"
"""What the names of all begin with that is no result."""

FOLDERS = ("interventions", "attack.images", "activations")
"""Results that are folders: of images, or of activations; all others are files."""

_NEW, _CHANGE, _REMOVED = f"{TEMPORARY}new-", f"{TEMPORARY}change", f"{TEMPORARY}removed.json"

_FILE = re.compile(r"[a-z_]+(\.[a-z_]+)*\.(json|csv|safetensors|html|parquet|tex)", re.ASCII)

_PATIENCE = 60.0
"""Seconds to wait for another process that changes the same folder."""


class FolderChange:
    """What is to be written into a folder, and removed from it, by the end of a `changing`.

    Attributes
    ----------
    folder : Path
        What is there already stays as it is until then.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._new: Path | None = None
        self._removed: set[str] = set()

    def write(self, name: str, content: str | bytes) -> None:
        """Write a result, in place of one that is there.

        Parameters
        ----------
        name : str
            ``units.csv``, or an image in one of `FOLDERS`: ``interventions/1.png``. Of these folders nothing stays that
            is not written anew.
        content : str or bytes
            Text is written as UTF-8, file names that are not Unicode as the bytes that they are.
        """
        top, _, image = name.partition("/")
        if not is_result(top) or (top in FOLDERS) != bool(image):
            raise ValueError(f"{name!r} is no name of a result")
        with _sentences(self.folder):
            into = self._made()
            if image:
                (into / top).mkdir(exist_ok=True)
            with (into / name).open("wb") as file:
                file.write(encoded(content) if isinstance(content, str) else content)
                file.flush()
                os.fsync(file.fileno())
        self._removed.discard(top)

    def remove(self, names: Iterable[str]) -> None:
        """Remove results, where they are there."""
        for name in names:
            if not is_result(name):
                raise ValueError(f"{name!r} is no name of a result")
            self._removed.add(name)
            if self._new is not None:
                _remove(self._new / name)

    def _made(self) -> Path:
        """The folder of what is new."""
        if self._new is None:
            self._new = Path(tempfile.mkdtemp(prefix=_NEW, dir=self.folder))
        return self._new

    def _complete(self) -> None:
        """Put the new in the place of the old."""
        removed = [name for name in sorted(self._removed) if _is_there(self.folder / name)]
        if self._new is None and not removed:
            return
        with _sentences(self.folder):
            new = self._made()
            for name in os.listdir(new):
                if _is_other(self.folder / name):
                    raise UnitlensError(f"{self.folder / name} is a folder, and no result: {another_folder()}.")
            with (new / _REMOVED).open("w") as file:
                json.dump(removed, file)
                file.flush()
                os.fsync(file.fileno())
            for inner in (new, *filter(Path.is_dir, new.iterdir())):
                sync_folder(inner)
            os.rename(new, self.folder / _CHANGE)
            self._new = None
            sync_folder(self.folder)
            _move(self.folder)

    def _drop(self) -> None:
        """Forget what was not completed."""
        if self._new is not None:
            shutil.rmtree(self._new, ignore_errors=True)


_OPEN: ContextVar[FolderChange | None] = ContextVar("unitlens.open_change", default=None)


@contextmanager
def changing(folder: str | Path) -> Iterator[FolderChange]:
    """Change a folder of results whole or not at all; inside another change of the same folder, as a part of that.

    Ctrl-C and SIGTERM wait until it is done. Where there is an error nothing has changed, and a folder that was made
    for it is gone.

    Parameters
    ----------
    folder : str or Path
        Made if it is not there.

    Yields
    ------
    FolderChange
        Takes what is to be written and removed.

    Raises
    ------
    UnitlensError
        If nothing can be written, or another process changes the folder and does not come to an end.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as out, changing(out) as change:
    ...     change.write("units.csv", "layer,unit")
    ...     change.remove(["report.html"])
    """
    folder, outer = Path(folder), _OPEN.get()
    if outer is not None and outer.folder == folder:
        yield outer
        return
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    make_folder(folder)
    change = FolderChange(folder)
    token = _OPEN.set(change)
    try:
        with _locked(folder, patience=_PATIENCE) as held, uninterrupted():
            _tidy(folder, held=held)
            yield change
            change._complete()
    finally:
        _OPEN.reset(token)
        change._drop()
        with suppress(OSError):  # there is something in them now, unless there was an error
            for path in missing:
                path.rmdir()


def settle(folder: Path) -> None:
    """Finish what a killed process began to move into a folder, and remove what it left; for all who read results.

    Raises
    ------
    UnitlensError
        If it cannot be finished.
    """
    try:
        begun = [name for name in os.listdir(folder) if name == _CHANGE or name.startswith(_NEW)]
    except OSError:
        return  # there is no such folder, and whoever reads says so
    if begun:
        with _locked(folder, patience=_PATIENCE if _CHANGE in begun else 0) as held:
            if held is not False:
                _tidy(folder, held=held)


def _tidy(folder: Path, *, held: bool | None) -> None:
    """The same; what was never completed is removed only under the lock, as it may be of a process that lives."""
    try:
        if os.path.lexists(folder / _CHANGE):
            _move(folder)
    except OSError as error:
        raise UnitlensError(
            f"New results were not moved into {folder} to the end, and cannot be now ({error.strerror or error}): open "
            "it once where it may be written."
        ) from None
    if held:
        for path in folder.glob(f"{_NEW}*"):
            shutil.rmtree(path, ignore_errors=True)


def _move(folder: Path) -> None:
    """Move a complete change to where it belongs. Each step may be the second try of one that was stopped."""
    change = folder / _CHANGE
    if change.is_symlink() or not change.is_dir():
        raise UnitlensError(f"{change} was not written by unitlens: remove it.")
    new = sorted(set(os.listdir(change)) - {_REMOVED})
    removed = read_json(change / _REMOVED) if os.path.lexists(change / _REMOVED) else []
    # Anybody may have written a folder: what is named stays in it, and is a result.
    if not isinstance(removed, list) or not all(isinstance(name, str) and is_result(name) for name in [*removed, *new]):
        raise UnitlensError(f"{change} was not written by unitlens: remove it.")
    for name in [*removed, *(name for name in new if name in FOLDERS)]:
        _remove(folder / name)
    for name in new:
        os.replace(change / name, folder / name)
    sync_folder(folder)
    shutil.rmtree(change)


def is_result(name: str) -> bool:
    """Whether a file or folder of results may have this name."""
    return name in FOLDERS or _FILE.fullmatch(name) is not None


def _is_other(path: Path) -> bool:
    """Whether there is a folder where results are files: nothing is ever removed in it."""
    return path.name not in FOLDERS and path.is_dir() and not path.is_symlink()


def _is_there(path: Path) -> bool:
    return os.path.lexists(path) and not _is_other(path)


def _remove(path: Path) -> None:
    if path.name in FOLDERS and path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    elif _is_there(path):
        path.unlink()


@contextmanager
def _locked(folder: Path, *, patience: float) -> Iterator[bool | None]:
    """Hold the lock of a folder: True; False if another process has it; None if there are no locks there.

    Raises
    ------
    UnitlensError
        If another process has it for so many seconds; with 0 that is no error.
    """
    with _sentences(folder):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        until = time.monotonic() + patience
        while (held := _lock(descriptor)) is False and time.monotonic() < until:
            time.sleep(0.02)
        if held is False and patience:
            raise UnitlensError(f"Another process is writing into {folder}: wait for it, or {another_folder()}.")
        yield held
    finally:
        os.close(descriptor)


def _lock(descriptor: int) -> bool | None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # as on some network file systems
        return None
    return True


@contextmanager
def _sentences(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UnitlensError(f"{folder} could not be written: {error.strerror or error}.") from None
