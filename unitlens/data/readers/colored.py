"""Folders of colour-coded masks with a colour table, as CamVid and MSRC have them."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath

from unitlens.data.concepts import NOT_JUDGED, Concept, Finding, name_findings
from unitlens.data.readers.files import (
    must_exist,
    names_under,
    read_colors,
    read_rows,
    read_text,
    relabelled,
    strange_codes,
)
from unitlens.data.readers.marked import MarkedImages, Marks, chosen_splits
from unitlens.errors import UnitlensError, is_number

TABLES = ("label_colors.txt", "class_dict.csv", "labels_class_dict.csv", "label_colors.csv", "colors.csv")
VOID = frozenset({"void", "unlabeled", "unlabelled", "unknown", "ignore", "not judged"})
_RGB = (65536, 256, 1)
_MASKS = re.compile(r"label|mask|annot|truth|segment|(^|_)gt($|_)", re.IGNORECASE)
_IMAGES = re.compile(r"image|img|images?|photos?|raw|orig", re.IGNORECASE)
_ENDINGS = re.compile(r"_(l|gt|gts|mask|masks|label|labels|seg|color|colors)$", re.IGNORECASE)


def is_colored(root: Path) -> bool:
    """Whether a colour table is there."""
    return _table_file(root) is not None


def open_colored(root: Path, *, split: str | None = None) -> MarkedImages:
    """Open a folder of colour-coded masks.

    The colour table is ``label_colors.txt`` (rows of red green blue name) or ``class_dict.csv`` (name,r,g,b). A folder
    is one of masks if a part of its path says so (labels, masks, annotations, GroundTruth, gt, SegmentationClass, ...);
    all others hold images. Mask and image belong together by name, with or without an ending such as ``_L`` or
    ``_GT`` (``0001.png`` and ``0001_L.png``), in folders of one path once such words are taken out of it
    (``train`` and ``train_labels``), or anywhere if the name is unique. Colours called void, unlabeled, unknown or
    ignore are not judged; a colour that is not in the table is an error.

    Parameters
    ----------
    root : Path
        The folder with the table.
    split : str, optional
        Only images that have this folder in their path ("train", "val", "test").
    """
    path = _table_file(root)
    if path is None:
        raise UnitlensError(f"{root} has no colour table: add class_dict.csv with the columns name,r,g,b.")
    table, concepts = _colors(path)
    masks, unpaired = _masks(root)
    if split is not None:
        there = sorted({part for name in masks for part in PurePosixPath(name).parts[:-1]})
        chosen_splits(split, there, root)
        masks, unpaired = {name: mask for name, mask in masks.items() if split in PurePosixPath(name).parts[:-1]}, ()
    marks = ColoredMarks(root, path, table, masks)
    return MarkedImages(
        "colored", root, root, tuple(sorted(masks)), concepts, marks, check_files=partial(_unpaired, unpaired)
    )


def _unpaired(names: Sequence[str]) -> Iterator[Finding]:
    text = "{name} has no counterpart, an image or a mask of the same name, and is left out."
    return name_findings("missing pair", names, text)


def _table_file(root: Path) -> Path | None:
    return next((root / name for name in TABLES if (root / name).is_file()), None)


def _colors(path: Path) -> tuple[dict[int, int], tuple[Concept, ...]]:
    """Label of each colour's code (red * 65536 + green * 256 + blue), and the concepts."""
    rows = _text_rows(path) if path.suffix == ".txt" else _csv_rows(path)
    table: dict[int, int] = {}
    labels: dict[str, int] = {}
    for line, name, color in rows:
        if len(color) != 3 or not all(is_number(part) and int(part) < 256 for part in color):
            raise UnitlensError(f"{path}, line {line}: {' '.join(color)!r} is not a colour of three numbers, 0 to 255.")
        code = sum(int(part) * weight for part, weight in zip(color, _RGB, strict=True))
        label = NOT_JUDGED if name.lower() in VOID else labels.setdefault(name, len(labels) + 1)
        if table.setdefault(code, label) != label:
            raise UnitlensError(f"{path}, line {line}: the colour {' '.join(color)} stands for two names.")
    if not labels:
        raise UnitlensError(f"{path} names no concept.")
    return table, tuple(Concept("object", label, name) for name, label in labels.items())


def _text_rows(path: Path) -> list[tuple[int, str, list[str]]]:
    rows = []
    for line, text in enumerate(read_text(path).splitlines(), 1):
        cells = text.replace(",", " ").split()
        if cells and not text.lstrip().startswith("#"):
            rows.append((line, " ".join(cells[3:]), cells[:3]))
            if not rows[-1][1]:
                raise UnitlensError(f"{path}, line {line}: {text!r} is not red green blue name.")
    return rows


def _csv_rows(path: Path) -> list[tuple[int, str, list[str]]]:
    lowered = [({key.lower(): value for key, value in row.items()}, line) for line, row in read_rows(path, ["name"])]
    rows = [(line, row["name"], [row.get(key, row.get(key[0], "")) for key in _WORDS]) for row, line in lowered]
    return [(line, name, [part.removesuffix(".0") for part in color]) for line, name, color in rows]


_WORDS = ("red", "green", "blue")


def _masks(root: Path) -> tuple[dict[str, str], tuple[str, ...]]:
    """The mask of each image that has one; images without masks, and masks without images."""
    files = names_under(root)
    of_mask = [name for name in files if any(_MASKS.search(part) for part in PurePosixPath(name).parts[:-1])]
    images = sorted(set(files) - set(of_mask))
    by_place = {_place(name): name for name in of_mask}
    often = Counter(_stem(name) for name in of_mask)
    by_stem = {_stem(name): name for name in of_mask if often[_stem(name)] == 1}
    mask_of = {name: by_place.get(_place(name)) or by_stem.get(_stem(name)) for name in images}
    pairs = {name: mask for name, mask in mask_of.items() if mask}
    if not pairs:
        raise UnitlensError(
            f"{root} has a colour table, but no image with its mask: put images into images/ and masks of the same "
            "names into labels/."
        )
    return pairs, tuple(sorted({*images, *of_mask} - {*pairs, *pairs.values()}))


def _stem(name: str) -> str:
    return _ENDINGS.sub("", PurePosixPath(name).stem)


def _place(name: str) -> tuple[str, ...]:
    """The folders without the words for masks and images, and the name without its ending."""
    words = []
    for part in PurePosixPath(name).parts[:-1]:
        kept = [word for word in re.split(r"[_\-. ]+", part) if not (_MASKS.search(word) or _IMAGES.search(word))]
        words += kept
    return (*words, _stem(name))


@dataclass(frozen=True)
class ColoredMarks:
    """Reads colour-coded masks."""

    root: Path
    table_file: Path
    table: Mapping[int, int]
    masks: Mapping[str, str]

    def __call__(self, name: str, /) -> Marks:
        """The concepts, on one map."""
        path = self.root / self.masks[name]
        must_exist(path)
        codes, digest = read_colors(path, _RGB)
        strange = strange_codes(codes, self.table)
        if strange:
            examples = ", ".join(f"({c >> 16}, {c >> 8 & 255}, {c & 255})" for c in strange[:3])
            colours = "1 colour" if len(strange) == 1 else f"{len(strange)} colours"
            raise UnitlensError(
                f"{path} holds {colours} that {self.table_file.name} does not name, such as {examples}: add them, or "
                "save the mask as PNG (JPEG changes colours)."
            )
        return Marks({"object": [relabelled(codes, self.table, path, self.table_file.name)]}, [digest])
