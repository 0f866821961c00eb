"""What tells the images of a data set from others, and the code of unitlens from other code, without reading images."""

import hashlib
import os
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from unitlens.data.colors import Colors
from unitlens.data.concepts import ConceptSource, Data
from unitlens.data.groups import GroupedData
from unitlens.data.latent_sets import DrawnLatents, GivenLatents
from unitlens.data.readers.annotated import AnnotatedFolder
from unitlens.data.readers.formats import FORMATS, MarkedImages
from unitlens.data.scenes.pairs import ScenePairs
from unitlens.data.scenes.shortcut import ShortcutScenes
from unitlens.data.scenes.world import Scenes
from unitlens.data.segmentation.scenes import SceneLabels
from unitlens.data.segmentation.segmenters import Segmenter
from unitlens.data.sources import StackedData
from unitlens.data.tags import Tags
from unitlens.dissection.repeating.beginning import file_sha256
from unitlens.files import encoded

_OF_ANNOTATED = ("images", "labels", "concepts.csv", "classes.csv")
"""What the reader of annotated folders opens."""

_DRAWN = (Scenes, ShortcutScenes)
"""Scenes that follow from what their repr says of them."""


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

    def beside(self, *further: Any) -> "Content":
        """The same, with what else counts."""
        return Content([*self.described, *further], self.changed)


def content_of(data: Data) -> Content | None:
    """Describe what images and marks follow from: names, sizes and times of files, settings of drawn scenes, latents.

    Returns
    -------
    Content or None
        None where that cannot be known without reading all images: of images in memory, of data sets that are code, and
        of segmenters that are functions without a fingerprint, or whose maps are not to be kept.
    """
    if type(data) is AnnotatedFolder:
        return _of_folder(data.root, _OF_ANNOTATED)
    if type(data) is MarkedImages and data.format in FORMATS:
        inner = _of_folder(data.root)  # no reader of a format leaves it
        return None if inner is None else inner.beside(data.format, _sha256(sorted(data.class_of.items())))
    if type(data) is ScenePairs:
        return Content([repr(data), _sha256(data.pairs)], 0.0)  # of which concepts it does not say
    if type(data) in _DRAWN:
        return Content([repr(data)], 0.0)
    if type(data) is DrawnLatents:
        return Content([repr(data)], 0.0)
    if type(data) is GivenLatents:
        return _of_latents(data)
    if type(data) is GroupedData:
        inner = content_of(data.data)
        return None if inner is None else inner.beside("groups", _sha256(sorted(data.group_of.items())))
    return _of_stacked(data) if type(data) is StackedData else None


def content_of_files(*paths: Path) -> Content | None:
    """Describe images that are named one by one, by what is in them, and folders by names, sizes and times of files."""
    return joined(
        [Content([str(path), file_sha256(path)], 0.0) if path.is_file() else _of_folder(path) for path in paths]
    )


def joined(parts: Sequence[Content | None]) -> Content | None:
    """Describe several data sets as one; None where one of them is not known."""
    known = [part for part in parts if part is not None]
    if len(known) < len(parts):
        return None
    return Content([part.described for part in known], max((part.changed for part in known), default=0.0))


def _of_latents(data: GivenLatents) -> Content | None:
    """Describe latents that were given: they are in memory, and are hashed."""
    masks = Content([], 0.0) if data.masks is None else content_of(data.masks)
    array = np.ascontiguousarray(data.array)
    numbers = hashlib.sha256(array.data).hexdigest()
    return None if masks is None else masks.beside("latents", numbers, array.dtype.str, array.shape, data.classes)


def _of_stacked(data: StackedData) -> Content | None:
    inner, sources = content_of(data.data), [_of_source(source) for source in data.sources]
    if inner is None or None in sources:
        return None
    return inner.beside(data.masks, sources)


def _of_source(source: ConceptSource) -> list[Any] | None:
    """Describe what the marks of a source follow from; of segmenters by what their maps are kept by."""
    if type(source) is Colors:
        return ["colors"]
    if type(source) is Tags:
        return ["tags", _sha256(sorted((name, list(pairs)) for name, pairs in source.of_image.items()))]
    if type(source) is SceneLabels:
        return ["scenes", source.fingerprint]
    if type(source) is Segmenter and source.predictor.fingerprint is not None and source.cache is not None:
        settings = sorted(source.predictor.names.items()), source.category, source.confidence
        return ["segmenter", source.predictor.fingerprint, *settings, sorted(source.ious.items())]
    return None


def _sha256(values: Sequence[Any]) -> str:
    return hashlib.sha256(encoded(repr(values))).hexdigest()


def _of_folder(root: Path, names: Sequence[str] = ("",)) -> Content | None:
    """Describe files under a folder; the time at which a file changed cannot be set by whoever changes it."""
    hashed, changed = hashlib.sha256(), 0.0
    try:
        for path in _files(root.resolve(), names):
            of_file = path.stat()
            line = f"{path} {of_file.st_size} {of_file.st_mtime_ns} {of_file.st_ctime_ns}\0"
            hashed.update(encoded(line))
            changed = max(changed, of_file.st_mtime, of_file.st_ctime)
    except OSError:
        return None
    return Content(["folder", str(root.resolve()), hashed.hexdigest()], changed)


def _files(root: Path, names: Sequence[str]) -> Iterator[Path]:
    """Files that the reader may open, in a fixed order; folders that are links are followed, as it does."""
    for name in names:
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
