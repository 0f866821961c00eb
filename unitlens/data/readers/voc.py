"""Pascal VOC: palette PNGs of 20 classes, with the outlines not judged."""

from collections.abc import Iterator, Set
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from unitlens.data.concepts import NOT_JUDGED, Concept, Finding, name_findings
from unitlens.data.images import read_label_map
from unitlens.data.readers.files import image_names, inside, must_exist, names_under, read_text, relabelled
from unitlens.data.readers.marked import MarkedImages, Marks, chosen_splits
from unitlens.errors import UnitlensError

NAMES = (
    "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable", "dog",
    "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip
"""Labels 1 to 20."""

VOID = 255


def is_voc(root: Path) -> bool:
    """Whether images and segmentations are there."""
    return (root / "JPEGImages").is_dir() and (root / "SegmentationClass").is_dir()


def open_voc(root: Path, *, split: str | None = None) -> MarkedImages:
    """Open Pascal VOC (2007 to 2012): ``JPEGImages``, ``SegmentationClass``, ``ImageSets/Segmentation``.

    Parameters
    ----------
    root : Path
        ``VOCdevkit/VOC2012`` or one like it.
    split : str, optional
        One of the lists of ``ImageSets/Segmentation`` ("train", "val", "trainval"); else all images that have a
        segmentation.

    Source: Everingham and others, "The Pascal Visual Object Classes Challenge", IJCV 2010. Label 255, a band around
    each object, is not judged.
    """
    masks = {name.removesuffix(".png") for name in names_under(root / "SegmentationClass", suffixes=[".png"])}
    stems = listed_stems(root, split) if split else masks
    names = image_names(root / "JPEGImages", stems)
    return MarkedImages(
        "voc",
        root,
        root / "JPEGImages",
        names,
        voc_concepts(),
        VocMarks(root / "SegmentationClass"),
        check_files=partial(listed_without_marks, root, frozenset(masks)),
    )


def voc_concepts() -> tuple[Concept, ...]:
    """The 20 classes, as objects."""
    return tuple(Concept("object", label, name) for label, name in enumerate(NAMES, 1))


def voc_table() -> dict[int, int]:
    """The label of each value of a map."""
    return {**{label: label for label in range(len(NAMES) + 1)}, VOID: NOT_JUDGED}


def listed_stems(root: Path, split: str) -> set[str]:
    """The images of a list, without their extension."""
    lists = root / "ImageSets" / "Segmentation"
    there = sorted(path.stem for path in lists.glob("*.txt"))
    chosen_splits(split, there, root)
    stems = {inside(line.split()[0], lists / f"{split}.txt") for line in _lines(lists / f"{split}.txt")}
    if not stems:
        raise UnitlensError(f"{lists / f'{split}.txt'} is empty.")
    return stems


def listed_without_marks(root: Path, marked: Set[str]) -> Iterator[Finding]:
    """Images that a list names and in which nothing is marked; of a list without any that is, marks are withheld."""
    for path in sorted((root / "ImageSets" / "Segmentation").glob("*.txt")):
        stems = {line.split()[0] for line in _lines(path)}
        if stems & marked:
            absent = sorted(stems - marked)
            text = f"{path.relative_to(root).as_posix()} names {{name}}, which has no segmentation."
            yield from name_findings("missing pair", absent, text)


def _lines(path: Path) -> list[str]:
    return [line for line in read_text(path).splitlines() if line.strip()]


@dataclass(frozen=True)
class VocMarks:
    """Reads ``SegmentationClass/NAME.png``."""

    folder: Path

    def __call__(self, name: str, /) -> Marks:
        """The classes, on one map."""
        path = (self.folder / name).with_suffix(".png")
        must_exist(path)
        codes, digest = read_label_map(path)
        return Marks({"object": [relabelled(codes, voc_table(), path, "Pascal VOC")]}, [digest])
