"""The full ADE20K (2016 and 2021 releases): thousands of object classes, and parts, and parts of parts."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from unitlens.data.concepts import Concept, Finding, name_findings
from unitlens.data.images import read_image
from unitlens.data.readers.files import (
    first_words,
    image_names,
    must_exist,
    names_under,
    read_json,
    read_text,
    relabelled,
)
from unitlens.data.readers.marked import MarkedImages, Marks, chosen_splits
from unitlens.data.readers.matlab import read_variable
from unitlens.errors import UnitlensError, is_number
from unitlens.files import check_readable

INDEX = "index_ade20k.mat"
SPLITS = ("training", "validation")

MOST_CODE = 255 // 10 * 256 + 255
"""The largest class that the pixels of a map can say."""

_MAP = re.compile(r"_(?:seg|parts_\d+)$|/instance_\d+_[^/]*$")
"""Names of maps that lie beside images, before the point: of the classes, of parts, and of single objects (2021)."""


def is_ade20k_full(root: Path) -> bool:
    """Whether the index is there, or images with ``_seg.png`` beside them."""
    folder = root / "images"
    index = any((root / name).is_file() for name in (INDEX, "index_ade20k.pkl"))
    return folder.is_dir() and (index or next(folder.rglob("*_seg.png"), None) is not None)


def open_ade20k_full(root: Path, *, split: str | None = None) -> MarkedImages:
    """Open the full release of ADE20K (``ADE20K_2016_07_26``, ``ADE20K_2021_17_01``).

    Beside ``NAME.jpg`` lie ``NAME_seg.png`` (objects) and ``NAME_parts_1.png``, ``NAME_parts_2.png``, ... (parts, and
    parts of parts). The class of a pixel is 256 floor(red / 10) + green, 0 for none. Classes are numbered as
    ``objectnames`` in ``index_ade20k.mat``, from 1; ``objectIsPart`` and ``objectPresence`` there say which occur as
    parts and which as objects. Without the index, what is written about each image says so: ``NAME.json`` (2021:
    name_ndx, name, part_level) or ``NAME_atr.txt`` (2016: rows of instance # level # cropped # class, where instance k
    is the k-th value of blue above the background's). The pickled index is never opened.

    Parameters
    ----------
    root : Path
        The folder that holds ``images``.
    split : str, optional
        "training" or "validation".

    Source: Zhou and others, "Semantic Understanding of Scenes through the ADE20K Dataset", IJCV 2019, and the README
    of the release.
    """
    folder = root / "images"
    stems = {name.rpartition(".")[0] for name in names_under(folder)}
    photos = image_names(folder, {stem for stem in stems if not _MAP.search(stem)})
    images = [name for name in photos if (folder / _beside(name, _ending(0))).is_file()]
    without = tuple(sorted(set(photos) - set(images)))
    if split is not None:
        chosen_splits(split, SPLITS, root)
        images = [name for name in images if split in name.split("/")]
    classes = _classes_of_index(root / INDEX) or _classes_of_texts(folder, images)
    concepts = tuple(
        Concept(category, code, name) for category, names in classes._asdict().items() for code, name in names.items()
    )
    check_files = partial(_without_map, without)
    return MarkedImages(
        "ade20k-full", root, folder, tuple(images), concepts, FullMarks(folder, classes), check_files=check_files
    )


def _without_map(names: Sequence[str]) -> Iterator[Finding]:
    return name_findings("missing pair", names, "{name} has no file _seg.png beside it, and is left out.")


class Classes(NamedTuple):
    """Code and name of every class that occurs as an object, and of every one that occurs as a part."""

    object: dict[int, str]
    part: dict[int, str]

    @classmethod
    def of(cls, names: dict[int, str], parts: set[int], objects: set[int]) -> "Classes":
        """Classes with the first of their synonyms as their names."""
        short = dict(zip(names, first_words(names.values()), strict=True))
        return cls(*({code: short[code] for code in sorted(codes)} for codes in (objects, parts)))


def _classes_of_index(path: Path) -> Classes | None:
    """What the index says; None where there is none, or it is in MATLAB's version 7.3, which scipy cannot read."""
    if not path.is_file():
        return None
    check_readable(path)
    try:
        index = read_variable(path.read_bytes(), "index")
        names = {code: str(name) for code, name in enumerate(np.atleast_1d(index["objectnames"][()]), 1)}
        as_part, present = (_sums(index[field][()], len(names)) for field in ("objectIsPart", "objectPresence"))
    except NotImplementedError:
        return None
    except Exception as error:  # damaged bytes make it raise nearly anything
        raise UnitlensError(f"{path} is not ADE20K's index, or it is damaged ({error}).") from None
    parts = {code for code in names if as_part[code - 1] > 0}
    return Classes.of(names, parts, {code for code in names if present[code - 1] > as_part[code - 1]})


def _sums(counts: Any, classes: int) -> npt.NDArray[np.float64]:
    """Sum over the images of a classes x images table, also a sparse one."""
    if hasattr(counts, "toarray"):
        counts.check_format(full_check=True)  # a sum would trust the row numbers
        return np.asarray(counts.sum(axis=1), np.float64).reshape(-1)
    total: npt.NDArray[np.float64] = np.asarray(counts, np.float64).reshape(classes, -1).sum(axis=1)
    return total


class _Named(NamedTuple):
    level: int
    instance: int
    name: str
    code: int | None


def _classes_of_texts(folder: Path, images: list[str]) -> Classes:
    names: dict[int, str] = {}
    parts: set[int] = set()
    objects: set[int] = set()
    for image in images:
        levels: dict[int, dict[int, int]] = {}
        for item in _written_about(folder, image):
            if item.code is None and item.level not in levels:
                levels[item.level] = _codes_of_instances(folder / _beside(image, _ending(item.level)))
            code = levels[item.level].get(item.instance, 0) if item.code is None else item.code
            if code:
                names.setdefault(code, item.name)
                (parts if item.level else objects).add(code)
    if not names:
        raise UnitlensError(
            f"The classes of {folder.parent} have no names: {INDEX} is missing or unreadable, and so are the files "
            "NAME.json or NAME_atr.txt beside the images."
        )
    return Classes.of(names, parts, objects)


def _beside(name: str, ending: str) -> str:
    return name.rpartition(".")[0] + ending


def _ending(level: int) -> str:
    return f"_parts_{level}.png" if level else "_seg.png"


def _written_about(folder: Path, image: str) -> Iterator[_Named]:
    """What stands in NAME.json or NAME_atr.txt."""
    path = folder / _beside(image, ".json")
    if path.is_file():
        content = read_json(path, lossy=True)  # the release's own files are not all in UTF-8
        try:
            for item in content["annotation"]["object"]:
                level, instance, code = (
                    int(value) for value in (item["parts"]["part_level"], item["id"], item["name_ndx"])
                )
                if not 0 <= code <= MOST_CODE:
                    raise ValueError(f"the class {code}")
                yield _Named(level, instance, str(item["name"]), code)
        except (ValueError, KeyError, TypeError, OverflowError) as error:
            raise UnitlensError(f"{path} does not describe an image of ADE20K ({error!r}).") from None
        return
    path = folder / _beside(image, "_atr.txt")
    for line in read_text(path).splitlines() if path.is_file() else ():
        cells = [cell.strip() for cell in line.split("#")]
        if len(cells) >= 4 and is_number(cells[0]) and is_number(cells[1]):
            yield _Named(int(cells[1]), int(cells[0]), cells[3], None)


def _codes_of_instances(path: Path) -> dict[int, int]:
    """The class of each instance of a map: that of its first pixel. Instances are the ranks of blue, from 0."""
    if not path.is_file():
        return {}
    pixels = read_image(path).pixels
    first = np.unique(pixels[..., 2], return_index=True)[1]
    codes = _codes(pixels).reshape(-1)[first]
    return {instance: int(code) for instance, code in enumerate(codes)}


def _codes(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
    red, green = pixels[..., 0].astype(np.int64), pixels[..., 1]
    return red // 10 * 256 + green


@dataclass(frozen=True)
class FullMarks:
    """Reads ``NAME_seg.png`` and ``NAME_parts_N.png``."""

    folder: Path
    classes: Classes

    def __call__(self, name: str, /) -> Marks:
        """Objects on one map, parts on one for each level."""
        must_exist(self.folder / _beside(name, _ending(0)))
        known = {0, *self.classes.object, *self.classes.part}
        planes: dict[str, list[Any]] = {}
        digests: list[str] = []
        while (path := self.folder / _beside(name, _ending(len(digests)))).is_file():
            pixels, digest = read_image(path)
            category, names = ("part", self.classes.part) if digests else ("object", self.classes.object)
            # a class that the index never has as a part is, on a map of parts, none of them
            table = {code: code if code in names else 0 for code in known}
            codes = relabelled(_codes(pixels), table, path, "the list of class names")
            planes.setdefault(category, []).append(codes)
            digests.append(digest)
        return Marks(planes, digests)
