"""What tells the images of a data set from others, and the code of unitlens from other code, without reading images."""

import hashlib
import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from unitlens.data.colors import Colors
from unitlens.data.concepts import Data
from unitlens.data.groups import GroupedData
from unitlens.data.readers.annotated import AnnotatedFolder
from unitlens.data.scenes.world import Scenes
from unitlens.data.sources import StackedData
from unitlens.files import encoded

_OF_ANNOTATED = ("images", "labels", "concepts.csv", "classes.csv")
"""What the reader of annotated folders opens."""


class Content(NamedTuple):
    """What tells a data set from others.

    Attributes
    ----------
    described : list
        Values that JSON takes.
    changed : float
        When the last of its files changed, in seconds since 1970.
    """

    described: list[Any]
    changed: float


def content_of(data: Data) -> Content | None:
    """Describe what images and marks follow from: names, sizes and times of files, or settings of drawn scenes.

    Returns
    -------
    Content or None
        None where that cannot be known without reading all images: of data in memory, of data sets that are code, and
        of formats whose files may lie anywhere.
    """
    if type(data) is AnnotatedFolder:
        return _of_folder(data.root)
    if type(data) is Scenes:
        return Content(["scenes", len(data), data.seed, data.split, data.size], 0.0)
    if type(data) is GroupedData:
        inner = content_of(data.data)
        groups = hashlib.sha256(encoded(repr(sorted(data.group_of.items())))).hexdigest()
        return None if inner is None else Content([*inner.described, "groups", groups], inner.changed)
    if type(data) is StackedData and all(type(source) is Colors for source in data.sources):
        inner = content_of(data.data)
        sources = [type(source).__name__ for source in data.sources]
        return None if inner is None else Content([*inner.described, data.masks, *sources], inner.changed)
    return None


def _of_folder(root: Path) -> Content | None:
    """Describe an annotated folder; the time at which a file changed cannot be set by whoever changes it."""
    hashed, changed = hashlib.sha256(), 0.0
    try:
        for path in _files(root.resolve()):
            of_file = path.stat()
            line = f"{path} {of_file.st_size} {of_file.st_mtime_ns} {of_file.st_ctime_ns}\0"
            hashed.update(encoded(line))
            changed = max(changed, of_file.st_mtime, of_file.st_ctime)
    except OSError:
        return None
    return Content(["folder", str(root.resolve()), hashed.hexdigest()], changed)


def _files(root: Path) -> Iterator[Path]:
    """Files that the reader may open, in a fixed order; folders that are links are followed, as it does."""
    for name in _OF_ANNOTATED:
        path = root / name
        if not path.is_dir():
            yield from [path] if path.exists() else []
            continue
        for folder, folders, files in os.walk(path, followlinks=True, onerror=_raise):
            folders.sort()
            if len(Path(folder).parts) > 64 + len(root.parts):
                raise OSError("a folder contains itself")
            yield from (Path(folder, file) for file in sorted(files))


def _raise(error: OSError) -> None:
    raise error


@cache
def code_sha256() -> str:
    """Hash of all files of unitlens, bundled weights included."""
    root, hashed = Path(__file__).parents[2], hashlib.sha256()
    for path in sorted(root.rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            hashed.update(encoded(f"{path.relative_to(root).as_posix()} {path.stat().st_size}\0"))
            hashed.update(path.read_bytes())
    return hashed.hexdigest()
