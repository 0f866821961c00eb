"""Masks listed in a CSV file, one PNG for each object, as Open Images has them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath

import numpy as np

from unitlens.data.concepts import Concept, Finding, name_findings
from unitlens.data.images import read_image
from unitlens.data.readers.files import inside, layered, must_exist, names_under, read_rows, read_text
from unitlens.data.readers.marked import MarkedImages, Marks, chosen_splits
from unitlens.errors import UnitlensError

COLUMNS = ("MaskPath", "ImageID", "LabelName")


def is_openimages(root: Path) -> bool:
    """Whether there is a CSV file with the columns MaskPath, ImageID and LabelName."""
    return bool(_lists(root))


def open_openimages(root: Path, *, split: str | None = None) -> MarkedImages:
    """Open a folder of masks as Open Images (V5 and later) has them.

    A CSV file has a row an object: ImageID (the image's name without its extension), LabelName and MaskPath (the name
    of a PNG, not 0 where the object is). ``*class-descriptions*.csv`` or ``classes.csv`` give the names of labels such
    as /m/01g317; without them a label is its own name. Images and masks may lie in any subfolder. A mask may have
    another size than its image. Images without a mask are left out; an object that has no mask counts as absent,
    although Open Images does not mark all of them.

    Parameters
    ----------
    root : Path
        The folder.
    split : str, optional
        Only lists that have it in their path or at the start of their name ("train", "validation", "test").

    Source: Benenson, Popov, Ferrari, "Large-scale interactive object segmentation with human annotators", CVPR 2019.
    """
    lists = _lists(root)
    if not lists:
        raise UnitlensError(f"{root} has no CSV file with the columns {', '.join(COLUMNS)}.")
    if split is not None:
        words = ("train", "validation", "test")
        chosen_splits(split, [w for w in words if any(_is_of(path, root, w) for path in lists)], root)
        lists = [path for path in lists if _is_of(path, root, split)]
    rows = [(path, row) for path in lists for _, row in read_rows(path, COLUMNS)]
    names = _label_names(root)
    labels = {word: n for n, word in enumerate(sorted({names.get(r["LabelName"], r["LabelName"]) for _, r in rows}), 1)}
    files = {PurePosixPath(name).name: name for name in names_under(root)}
    masks: dict[str, list[tuple[int, str]]] = {}
    for path, row in rows:
        word = names.get(row["LabelName"], row["LabelName"])
        masks.setdefault(row["ImageID"], []).append((labels[word], _place(inside(row["MaskPath"], path), files)))
    listed = {mask for of_one in masks.values() for _, mask in of_one}
    images = {PurePosixPath(name).stem: name for name in files.values() if name not in listed}
    masks_of = {images[number]: of_one for number, of_one in masks.items() if number in images}
    if not masks_of:
        raise UnitlensError(f"The images of {lists[0]} are nowhere under {root}: an image is ImageID.jpg.")
    concepts = tuple(Concept("object", label, word) for word, label in labels.items())
    check_files = partial(_absent_images, tuple(sorted(masks.keys() - images.keys())))
    return MarkedImages(
        "openimages", root, root, tuple(sorted(masks_of)), concepts, MaskMarks(root, masks_of), check_files=check_files
    )


def _absent_images(names: Sequence[str]) -> Iterator[Finding]:
    return name_findings("missing image", names, "A list names masks of {name}, an image that is not there.")


def _lists(root: Path) -> list[Path]:
    paths = [path for depth in ("*.csv", "*/*.csv", "*/*/*.csv") for path in sorted(root.glob(depth))]
    return [path for path in paths if path.is_file() and set(COLUMNS) <= set(_first_line(path))]


def _first_line(path: Path) -> list[str]:
    with path.open("rb") as file:
        return [cell.strip() for cell in file.readline(10_000).decode("utf-8-sig", "replace").split(",")]


def _is_of(path: Path, root: Path, split: str) -> bool:
    return path.name.startswith(split) or split in path.relative_to(root).parts[:-1]


def _label_names(root: Path) -> dict[str, str]:
    """Names of labels: files with two columns, the label and its name, with or without a line of headings."""
    names = {}
    for path in sorted(root.rglob("*class*.csv")):
        for line in read_text(path).splitlines():
            label, _, name = line.partition(",")
            if name and label.strip() != "LabelName":
                names[label.strip()] = name.strip().strip('"')
    return names


def _place(mask: str, files: Mapping[str, str]) -> str:
    """Where a mask lies: anywhere under the folder, by its name; as listed where it is not there."""
    return files.get(PurePosixPath(mask).name, mask)


@dataclass(frozen=True)
class MaskMarks:
    """Reads the masks of an image's objects."""

    root: Path
    masks: Mapping[str, Sequence[tuple[int, str]]]

    def __call__(self, name: str, /) -> Marks:
        """The objects, on as few maps as do not overlap."""
        regions, digests = [], []
        for label, mask in self.masks[name]:
            must_exist(self.root / mask)
            pixels, digest = read_image(self.root / mask)
            regions.append((label, np.asarray(pixels.any(axis=2))))
            digests.append(f"{label} {digest}")
        return Marks({"object": layered(regions)}, digests)
