"""Pascal Context and Pascal Part: annotations of VOC 2010 in MATLAB files."""

import re
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from unitlens.data.concepts import NOT_JUDGED, Concept
from unitlens.data.pixels.files import FORMATS, UnreadableError
from unitlens.data.readers.files import image_names, layered, must_exist, names_under, read_text, relabelled
from unitlens.data.readers.marked import MarkedImages, Marks
from unitlens.data.readers.matlab import read_variable
from unitlens.data.readers.voc import NAMES, listed_stems, listed_without_marks, voc_concepts
from unitlens.errors import UnitlensError, is_number
from unitlens.files import check_readable
from unitlens.models.layers import describe_error

MOST_UNPACKED = 1 << 28
"""Bytes that the annotation of an image may unpack to: the mask of each part has a byte for each pixel of the image."""

MOST_CELLS = 16
"""How many cells a label map may have for each pixel of its image."""

_UNKNOWN = "unknown"


def is_pascal_context(root: Path) -> bool:
    """Whether images, the list of labels and MATLAB maps are there."""
    return (root / "JPEGImages").is_dir() and _labels_file(root) is not None


def is_pascal_part(root: Path) -> bool:
    """Whether images and annotations of parts are there."""
    return (root / "JPEGImages").is_dir() and (root / "Annotations_Part").is_dir()


def open_pascal_context(root: Path, *, split: str | None = None) -> MarkedImages:
    """Open Pascal Context: ``JPEGImages``, ``trainval/*.mat`` (LabelMap) and ``labels.txt`` ("1: accordion").

    Parameters
    ----------
    root : Path
        The folder of VOC 2010 with those added, or with both in ``context/``.
    split : str, optional
        A list of ``ImageSets/Segmentation``.

    Source: Mottaghi and others, "The Role of Context for Object Detection and Semantic Segmentation in the Wild", CVPR
    2014. The label "unknown" is not judged.
    """
    path = _labels_file(root)
    if path is None:
        raise UnitlensError(f"{root} has no labels.txt beside trainval/: it comes with Pascal Context.")
    table, concepts = {0: 0}, []
    for line in read_text(path).splitlines():
        number, _, name = (part.strip() for part in line.partition(":"))
        if number and not (is_number(number) and name):
            raise UnitlensError(f"{path} has the line {line!r}, which is not a label such as '1: accordion'.")
        if number:
            table[int(number)] = NOT_JUDGED if name == _UNKNOWN else int(number)
            concepts += [Concept("object", int(number), name)] * (name != _UNKNOWN)
    marks = ContextMarks(path.parent / "trainval", root / "JPEGImages", tuple(table.items()))
    return _opened("pascal-context", root, split, marks.folder, tuple(concepts), marks)


def open_pascal_part(root: Path, *, split: str | None = None) -> MarkedImages:
    """Open Pascal Part: ``JPEGImages``, ``Annotations_Part/*.mat`` and ``part2ind.m``, which names the parts.

    A part is called as in the files, numbered ones by one name ("wheel_1" and "wheel_2" are wheel), and whatever it is
    a part of; the objects themselves are marked too.

    Parameters
    ----------
    root : Path
        The folder of VOC 2010 with those added.
    split : str, optional
        A list of ``ImageSets/Segmentation``.

    Source: Chen and others, "Detect What You Can", CVPR 2014.
    """
    path = root / "part2ind.m"
    words = sorted(set(re.findall(r"^[^%\n]*pimap\{[\w]+\}\((?:sprintf\()?'(\w+?)(?:_%d)?'", read_text(path), re.M)))
    if not words:
        raise UnitlensError(f"{path} names no part: it comes with Pascal Part.")
    concepts = (*voc_concepts(), *(Concept("part", label, word) for label, word in enumerate(words, 1)))
    marks = PartMarks(root / "Annotations_Part", concepts)
    return _opened("pascal-part", root, split, marks.folder, concepts, marks)


def _labels_file(root: Path) -> Path | None:
    places = (root, root / "context")
    return next((p / "labels.txt" for p in places if (p / "labels.txt").is_file() and (p / "trainval").is_dir()), None)


def _opened(
    name: str, root: Path, split: str | None, folder: Path, concepts: tuple[Concept, ...], marks: Any
) -> MarkedImages:
    marked = frozenset(Path(file).stem for file in names_under(folder, suffixes=[".mat"]))
    stems = marked & listed_stems(root, split) if split else marked
    names = image_names(root / "JPEGImages", stems)
    check_files = partial(listed_without_marks, root, marked)
    return MarkedImages(name, root, root / "JPEGImages", names, concepts, marks, check_files=check_files)


def _read_mat(path: Path, variable: str) -> tuple[Any, str]:
    """A variable of a MATLAB file, and the SHA-256 of the file."""
    import hashlib

    must_exist(path)
    check_readable(path)
    content = path.read_bytes()
    try:
        value = read_variable(content, variable, struct_as_record=False, most=MOST_UNPACKED)
    except Exception as error:  # damaged bytes make it raise nearly anything
        raise UnreadableError(f"{path} is not a MATLAB file with {variable} ({describe_error(error)}).") from None
    return value, hashlib.sha256(content).hexdigest()


def _check_fits(cells: int, path: Path, image: Path) -> None:
    """Refuse a label map that is vast beside its image, before more room is made for it."""
    try:
        with Image.open(image, formats=sorted(FORMATS)) as opened:
            pixels = opened.width * opened.height
    except Exception:  # it is in another format, or damaged: whoever decodes it says so
        return
    if cells > MOST_CELLS * pixels:
        raise UnreadableError(f"{path} has {cells:,} cells for the {pixels:,} pixels of {image.name}.")


@dataclass(frozen=True)
class ContextMarks:
    """Reads ``trainval/NAME.mat``."""

    folder: Path
    images: Path
    table: tuple[tuple[int, int], ...]

    def __call__(self, name: str, /) -> Marks:
        """Everything, on one map."""
        path = self.folder / Path(name).with_suffix(".mat")
        codes, digest = _read_mat(path, "LabelMap")
        _check_fits(np.size(codes), path, self.images / name)
        codes = np.atleast_2d(codes).astype(np.int64)
        return Marks({"object": [relabelled(codes, dict(self.table), path, "labels.txt")]}, [digest])


@dataclass(frozen=True)
class PartMarks:
    """Reads ``Annotations_Part/NAME.mat``."""

    folder: Path
    concepts: tuple[Concept, ...]

    def __call__(self, name: str, /) -> Marks:
        """Objects and parts, each on as few maps as do not overlap."""
        path = self.folder / Path(name).with_suffix(".mat")
        annotation, digest = _read_mat(path, "anno")
        labels = {(concept.category, concept.name): concept.label for concept in self.concepts}
        regions: dict[str, list[tuple[int, Any]]] = {"object": [], "part": []}
        for item in _each(annotation, "objects", path):
            regions["object"].append((labels["object", NAMES[int(item.class_ind) - 1]], _mask(item)))
            for part in _each(item, "parts", path):
                word = re.sub(r"_\d+$", "", str(part.part_name))
                if ("part", word) not in labels:
                    raise UnitlensError(f"{path} has the part {word!r}, which part2ind.m does not name.")
                regions["part"].append((labels["part", word], _mask(part)))
        return Marks({category: layered(masks) for category, masks in regions.items() if masks}, [digest])


def _each(owner: Any, field: str, path: Path) -> list[Any]:
    """The structs of a field, of which MATLAB makes none, one or a row."""
    if not hasattr(owner, field):
        raise UnreadableError(f"{path} is not an annotation of parts: it has no field {field}.")
    return list(np.atleast_1d(getattr(owner, field)))


def _mask(item: Any) -> Any:
    return np.atleast_2d(item.mask).astype(bool)
