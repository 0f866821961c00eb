"""Readers: data sets on disk in the formats that people have, each as annotated images.

A format is found by its layout (`find_layout`), or named; if a folder fits two formats, unitlens asks. All readers give
a `MarkedImages`; none fetches, unpickles, or leaves the folder that it was given. `from_torchvision` wraps data sets of
torchvision's; `open_torchvision` opens them by name, and is the only one that fetches, where that was asked for.
"""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, Protocol

from unitlens.data.readers.ade20k import is_ade20k, open_ade20k
from unitlens.data.readers.ade20k_full import is_ade20k_full, open_ade20k_full
from unitlens.data.readers.broden import is_broden, open_broden
from unitlens.data.readers.cityscapes import is_cityscapes, open_cityscapes
from unitlens.data.readers.coco.opening import is_coco, open_coco
from unitlens.data.readers.cocostuff import is_cocostuff, open_cocostuff
from unitlens.data.readers.colored import is_colored, open_colored
from unitlens.data.readers.downloads import DOWNLOADS, PREFIX, open_torchvision
from unitlens.data.readers.files import subfolders
from unitlens.data.readers.marked import MarkedImages
from unitlens.data.readers.openimages import is_openimages, open_openimages
from unitlens.data.readers.pascal import is_pascal_context, is_pascal_part, open_pascal_context, open_pascal_part
from unitlens.data.readers.plain import images_only, is_images, open_images
from unitlens.data.readers.torchvision_sets import from_torchvision
from unitlens.data.readers.voc import is_voc, open_voc
from unitlens.errors import UnitlensError, argument, did_you_mean

__all__ = [
    "DOWNLOADS",
    "FORMATS",
    "PREFIX",
    "MarkedImages",
    "find_layout",
    "from_torchvision",
    "images_only",
    "open_format",
    "open_torchvision",
]


class _Open(Protocol):
    def __call__(self, root: Path, /, *, split: str | None = None) -> MarkedImages: ...


class Format(NamedTuple):
    """A layout on disk: whether a folder has it, how it is opened, and what it needs, in words."""

    matches: Callable[[Path], bool]
    open: _Open
    needs: str


FORMATS = {
    "broden": Format(is_broden, open_broden, "index.csv, label.csv, category.csv and images/"),
    "ade20k": Format(is_ade20k, open_ade20k, "objectInfo150.txt, images/ and annotations/"),
    "ade20k-full": Format(is_ade20k_full, open_ade20k_full, "images/ with NAME_seg.png beside NAME.jpg"),
    "cityscapes": Format(is_cityscapes, open_cityscapes, "leftImg8bit/, and gtFine/ or gtCoarse/"),
    "voc": Format(is_voc, open_voc, "JPEGImages/ and SegmentationClass/"),
    "pascal-context": Format(is_pascal_context, open_pascal_context, "JPEGImages/, labels.txt and trainval/"),
    "pascal-part": Format(is_pascal_part, open_pascal_part, "JPEGImages/, Annotations_Part/ and part2ind.m"),
    "colored": Format(is_colored, open_colored, "label_colors.txt or class_dict.csv, and images and masks"),
    "openimages": Format(is_openimages, open_openimages, "a CSV file with MaskPath, ImageID and LabelName"),
    "coco": Format(is_coco, open_coco, "lists such as annotations/instances_val2017.json"),
    "coco-stuff": Format(
        is_cocostuff, open_cocostuff, "stuffthingmaps_trainval2017/val2017/ or annotations/val2017/, and val2017/"
    ),
    "images": Format(is_images, open_images, "images"),
}
"""Every format by the name that ``--data-format`` takes. "images" is never found by its layout."""


_DEPTH, _MANY = 2, 100
"""How deep a data set may lie in the folder that was given, and in how many folders it is looked for."""


class Layout(NamedTuple):
    """A format, and the folder that has its layout: the one that was given, or the only one in it that does."""

    format: str
    root: Path


def find_layout(root: Path) -> Layout | None:
    """Find which layout a data set has.

    Parameters
    ----------
    root : Path
        The folder. If it has none of the layouts, its subfolders are looked at, and theirs (``VOCdevkit/VOC2012``).

    Returns
    -------
    Layout or None

    Raises
    ------
    UnitlensError
        If it has several layouts, or several of its subfolders have one.
    """
    names = _layouts(root)
    if len(names) > 1:
        raise UnitlensError(
            f"{root} could be {' or '.join(names)}: say which with "
            f"{argument('format', option='--data-format')}, or stack them, each opened by itself."
        )
    if names and not _beside_others(root, names[0]):
        return Layout(names[0], root)
    folders = [root]
    for _ in range(_DEPTH):
        folders = [folder / name for folder in folders for name in subfolders(folder)]
        if len(folders) > _MANY:
            return None
        inner = [folder for folder in folders if _layouts(folder)]
        if len(inner) > 1:
            raise UnitlensError(f"{root} holds several data sets, {', '.join(map(str, inner))}: give one of them.")
        if inner:
            return find_layout(inner[0])
    return None


def _beside_others(root: Path, name: str) -> bool:
    """Whether what makes a layout lies in one subfolder, and another one has a layout of its own."""
    if name != "openimages" or next(root.glob("*.csv"), None) is not None:
        return False
    return any(set(_layouts(root / inner)) - {name} for inner in subfolders(root))


def _layouts(root: Path) -> list[str]:
    return [name for name, one in FORMATS.items() if name != "images" and one.matches(root)]


def open_format(root: Path, name: str, *, split: str | None = None) -> MarkedImages:
    """Open a folder as the named format.

    Raises
    ------
    UnitlensError
        If there is no such folder or format, or the folder does not have its layout.
    """
    if name not in FORMATS:
        known = ", ".join(FORMATS)
        raise UnitlensError(f"There is no format {name!r}{did_you_mean(name, FORMATS)}; there are {known}.")
    if not root.is_dir():
        raise UnitlensError(f"There is no folder {root}.")
    if FORMATS[name].matches(root):
        return FORMATS[name].open(root, split=split)
    inner = [root / folder for folder in subfolders(root) if FORMATS[name].matches(root / folder)]
    if len(inner) == 1 and name != "images":
        return FORMATS[name].open(inner[0], split=split)
    raise UnitlensError(f"{root} does not have the layout of {name}, which needs {FORMATS[name].needs}.")
