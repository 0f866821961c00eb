"""What a command found when it began: files that are read early, and hashed late, must not change in between."""

import errno
import hashlib
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Self

from unitlens.errors import UnitlensError
from unitlens.files import check_readable

_SETTLED = 2.0
"""Files have to be older than a moment by so many seconds: times of files are coarse, and clocks differ."""


def is_settled(changed: float, moment: float) -> bool:
    """Whether a file that changed at one moment has surely not changed since another one, in seconds since 1970."""
    return changed <= moment - _SETTLED


def file_sha256(file: Path) -> str:
    """SHA-256 of the content of a file.

    Raises
    ------
    OSError
        If it cannot be read, is a pipe or a device, or says to be larger than this machine's memory: nothing reads such
        a file, and a sparse one would be read for hours.
    """
    try:
        check_readable(file)
    except UnitlensError:
        raise OSError(errno.EFBIG, "it is no file that is read", str(file)) from None
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


class _State(NamedTuple):
    """What tells whether a file changes: which it is, its size and times; while these are coarse, its content, too."""

    inode: int
    size: int
    modified: int
    changed: int
    sha256: str | None

    @classmethod
    def of(cls, file: Path, moment: float) -> Self | None:
        """That of a file; None where it is not there, or cannot be read."""
        try:
            status = file.stat()
            settled = is_settled(max(status.st_mtime, status.st_ctime), moment)
            sha256 = None if settled else file_sha256(file)
        except OSError:
            return None
        return cls(status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns, sha256)


@dataclass(frozen=True)
class Beginning:
    """When a command began, and which files it was to read then.

    Attributes
    ----------
    seconds : float
        Since 1970.
    states : mapping
        The state of each file.
    """

    seconds: float
    states: Mapping[Path, _State | None]

    @classmethod
    def of(cls, files: Iterable[Path]) -> Self:
        """Look at files before any of them is opened."""
        seconds = time.time()
        return cls(seconds, {file: _State.of(file, seconds) for file in files})

    def is_unchanged(self) -> bool:
        """Whether all files are still those that were there, so that what was read in between is what they hold."""
        return all(_State.of(file, self.seconds) == state for file, state in self.states.items())
