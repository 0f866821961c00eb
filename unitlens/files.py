"""Files that are written whole or not at all, and read strictly; their folders, and the cache of this user."""

import json
import os
import re
import secrets
import signal
import stat
import tempfile
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from unitlens.errors import UnitlensError, argument, first_twice, spelled

if TYPE_CHECKING:
    import numpy.typing as npt


def write_whole(path: Path, content: str | bytes) -> None:
    """Write a file to a temporary one beside it first, which is then renamed: what stood there stays, or is replaced.

    Parameters
    ----------
    path : Path
        Its folder exists.
    content : str or bytes
        Text is written as UTF-8, file names that are not Unicode (Linux has such) as the bytes that they are.

    Raises
    ------
    UnitlensError
        If it cannot be written.
    """
    try:
        replace_file(path, encoded(content) if isinstance(content, str) else content)
    except OSError as error:
        raise UnitlensError(f"{path} could not be written: {error.strerror or error}.") from None


def replace_file(path: Path, content: bytes, *, synced: bool = False) -> None:
    """The same for a caller that says for itself what went wrong: an OSError.

    Parameters
    ----------
    path, content
        As for `write_whole`.
    synced : bool
        Whether it is on the disk before anything else happens, so that it is there after a power cut as well.
    """
    # A name that nobody can guess, opened exclusively: in a folder where others write, what they put there in advance,
    # such as a link to another file, is neither followed nor replaced.
    partial = path.with_name(f".{path.name}-{secrets.token_hex(8)}.partial")
    with partial.open("xb") as file:
        try:
            file.write(content)
            file.flush()
            if synced:
                os.fsync(file.fileno())
            file.close()
            os.replace(partial, path)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise
    if synced:
        sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Let the names of files in a folder be on the disk, where its file system has a call for it."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def encoded(text: str) -> bytes:
    """Return text as UTF-8; a part of a file name that is not Unicode becomes the bytes that it is."""
    return text.encode(errors="surrogateescape")


def json_text(content: Any) -> str:
    """Return a value as JSON that is UTF-8 whatever it holds: file names that are not Unicode are escaped."""
    text = json.dumps(content, indent=1, ensure_ascii=False) + "\n"
    return re.sub("[\udc80-\udcff]", lambda found: f"\\u{ord(found.group()):04x}", text)


def read_json(path: Path, *, most: int | None = None) -> Any:
    """Read a JSON file of bounded depth, in which text is Unicode, or file names as `json_text` writes them.

    Parameters
    ----------
    path : Path
    most : int, optional
        Bytes that it may have; see `check_readable`.

    Raises
    ------
    UnitlensError
        If it is not there, or not such a file.
    """
    check_readable(path, most=most)
    try:
        content = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=_each_key_once)
        encoded(json.dumps(content, ensure_ascii=False))
    except (OSError, ValueError, RecursionError) as error:
        raise UnitlensError(f"{path.name} cannot be read ({error})") from None
    return content


def _each_key_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Make a mapping of what stands in braces."""
    refuse_twice(key for key, _ in pairs)
    return dict(pairs)


def refuse_twice(keys: Iterable[str]) -> None:
    """Refuse a mapping in which a key stands twice, as nobody knows which value is meant.

    Raises
    ------
    ValueError
        If one does; its name is in the message.
    """
    if (key := first_twice(keys)) is not None:
        raise ValueError(f"{key!r} is there twice: leave one out")


def read_arrays(path: Path) -> "dict[str, npt.NDArray[Any]]":
    """Read a safetensors file: arrays by their names.

    Raises
    ------
    UnitlensError
        If it is not there, or damaged.
    """
    from safetensors.numpy import load_file

    if not path.exists():
        raise UnitlensError(f"there is no file {path.name}")
    check_readable(path)
    try:
        return load_file(path)
    except Exception as error:  # of damaged bytes and types that NumPy lacks nearly anything is raised
        raise UnitlensError(f"{path.name} cannot be read ({error})") from None


def read_npy(path: Path, *, mapped: bool = False) -> "npt.NDArray[Any]":
    """Read an array of numbers from a ``.npy`` file; nothing is unpickled.

    Parameters
    ----------
    path : Path
    mapped : bool
        Whether it stays on the disk, and is read where it is used.

    Raises
    ------
    UnitlensError
        If it is not there, or holds something else, or less than it says.
    """
    import numpy as np

    if not path.exists():
        raise UnitlensError(f"There is no file {path}.")
    check_readable(path)
    try:
        with np.errstate(over="raise"):
            # Mapped first, which reserves no memory for what a header says and the file does not hold.
            array = np.load(path, mmap_mode="r", allow_pickle=False)
        if not isinstance(array, np.ndarray):
            array.close()
            raise ValueError("it is an archive")
        return array if mapped else np.array(array)
    except Exception as error:  # of damaged headers nearly anything is raised
        fact = str(error).strip().rstrip(".").partition("\n")[0]
        raise UnitlensError(f"{path} cannot be read as an array ({fact}).") from None


def check_readable(path: Path, *, most: int | None = None) -> None:
    """Make sure that a file, where it is there, is no pipe or device, and fits into memory.

    Parameters
    ----------
    path : Path
    most : int, optional
        Bytes; else those that the machine has. A file may say to be larger than the disk.

    Raises
    ------
    UnitlensError
        If it is not so.
    """
    try:
        status = path.stat()
    except (OSError, ValueError):  # whoever reads it says so
        return
    if not stat.S_ISREG(status.st_mode):
        raise UnitlensError(f"{path} is not a file.")
    if most is None:
        most = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if status.st_size > most:
        unit, size = ("GB", 1e9) if most >= 1e9 else ("MB", 1e6)
        raise UnitlensError(
            f"{path} has {status.st_size / size:,.1f} {unit}, more than the {most / size:,.1f} that are read."
        )


def parts_file(parts: "Iterable[Mapping[str, npt.NDArray[Any]]]") -> bytes:
    """Return a safetensors file of the arrays of several parts, as NUMBER/NAME."""
    import numpy as np
    from safetensors.numpy import save

    arrays = {
        f"{number}/{name}": np.ascontiguousarray(array)
        for number, part in enumerate(parts)
        for name, array in part.items()
    }
    return save(arrays)


def read_parts(path: Path, count: int) -> "list[dict[str, npt.NDArray[Any]]]":
    """Read the arrays of so many parts of a file by `parts_file`.

    Raises
    ------
    UnitlensError
        As for `read_arrays`, and if one belongs to no part.
    """
    parts: dict[str, dict[str, npt.NDArray[Any]]] = {str(number): {} for number in range(count)}
    for key, array in read_arrays(path).items():
        number, _, name = key.partition("/")
        if number not in parts:
            raise UnitlensError(f"the counts have {key}, which is not of a measurement")
        parts[number][name] = array
    return list(parts.values())


def another_folder() -> str:
    """Say that another folder has to be chosen, for the end of a sentence."""
    return spelled(python="choose another folder", shell="choose another --out")


def another_or_overwrite() -> str:
    """Say that another folder has to be chosen, or what is there to be replaced."""
    return f"{another_folder()}, or replace it with {argument('overwrite', True)}"


def given_folder(folder: Any, name: str) -> Path:
    """Return a folder that was given as an argument of some name.

    Raises
    ------
    UnitlensError
        If it is none.
    """
    if not isinstance(folder, str | Path):
        raise UnitlensError(f"{argument(name, folder)} is not a folder: give its path.")
    return Path(folder)


def check_writable(folder: Path) -> None:
    """Make sure that something can be written into a folder, if it is there, before much is computed for it.

    Raises
    ------
    UnitlensError
        If nothing can.
    """
    if not folder.is_dir():
        return
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise UnitlensError(f"Nothing can be written into {folder} ({error.strerror}): {another_folder()}.") from None


def make_folder(folder: str | Path) -> Path:
    """Make a folder, with those above it, where it is not there yet.

    Raises
    ------
    UnitlensError
        If it cannot be made.
    """
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UnitlensError(f"{folder} could not be made: {error.strerror}; {another_folder()}.") from None
    return folder


def cache_folder(*names: str) -> Path:
    """Folder of that name in the cache of this user, which may not be there yet: ``~/.cache/unitlens/NAME``."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache").joinpath("unitlens", *names)


class StoppedAfterWriting(KeyboardInterrupt):
    """Ctrl-C or SIGTERM that came while files were written; it waited until all of them were."""


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Let Ctrl-C and SIGTERM wait while files are written that belong together; then they do what they do.

    Raises
    ------
    StoppedAfterWriting
        After the body, in place of the KeyboardInterrupt that was held back.
    """
    with _held_back() as waiting:
        yield
    try:
        _raise_signals(waiting)
    except KeyboardInterrupt as error:
        raise StoppedAfterWriting from error


@contextmanager
def held_back() -> Iterator[None]:
    """Let Ctrl-C and SIGTERM wait for a short while, until what is in the ``with`` is done or has failed."""
    waiting: list[int] = []
    try:
        with _held_back() as waiting:
            yield
    finally:
        _raise_signals(waiting)


def _raise_signals(waiting: Sequence[int]) -> None:
    """Let signals do what they do, the first one first: where it is ignored, or handled and over, so does the next."""
    for number in dict.fromkeys(waiting):
        signal.raise_signal(number)


@contextmanager
def _held_back() -> Iterator[list[int]]:
    """Collect these signals in place of handling them."""
    waiting: list[int] = []
    if threading.current_thread() is not threading.main_thread():  # signals are the main thread's
        yield waiting
        return

    def wait(number: int, _: FrameType | None) -> None:
        waiting.append(number)

    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        for number in before:
            signal.signal(number, wait)
        yield waiting
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
