"""What is marked in an image, as people hold it: label maps, objects, COCO's annotations, classes."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from unitlens.data.inmemory.images import array_of
from unitlens.data.readers.coco.masks import painted
from unitlens.data.readers.files import layered
from unitlens.errors import UnitlensError

OBJECT = "object"
"""The category of what is marked, where none is named."""

INDEXED = ("L", "P", "1", "I", "I;16")
"""Modes of Pillow images that are label maps."""

Planes = dict[str, list[npt.NDArray[Any]]]


class Marked(NamedTuple):
    """What a target says of its image: label maps by category, and its class."""

    planes: Planes
    class_: str | int | None = None


def kind_of(target: Any) -> str | None:
    """What a target is: "class", "label map", "label maps", "objects", "annotations", "nothing"; None: not known."""
    if target is None:
        return "nothing"
    if isinstance(target, Mapping):
        return _kind_of_mapping(target)
    if isinstance(target, str):
        return "class"
    if isinstance(target, Sequence) and not _is_numbers(target):
        known = all(isinstance(one, Mapping) and "category_id" in one for one in target)
        return "annotations" if known else None
    array = None if isinstance(target, Image.Image) and target.mode not in INDEXED else array_of(target)
    if array is None or array.dtype.kind not in "iub":
        return None
    if array.ndim == 0 or array.size == 1:
        return None if array.dtype == bool else "class"
    coloured = array.ndim == 3 and array.shape[2] in (3, 4) and array.shape[0] > 4
    return "label map" if array.ndim in (2, 3) and not coloured else None


def _kind_of_mapping(target: Mapping[str, Any]) -> str | None:
    if "labels" in target and ("masks" in target or "boxes" in target):
        return "objects"
    if "annotations" in target:
        return "annotations"
    maps = all(kind_of(one) == "label map" for one in target.values())
    return "label maps" if target and maps else None


def _is_numbers(target: Sequence[Any]) -> bool:
    return len(target) > 0 and array_of(target) is not None


def marked(target: Any, kind: str, size: tuple[int, int], name: str) -> Marked:
    """Read a target of a known kind.

    Parameters
    ----------
    target : object
    kind : str
        As `kind_of` says it of the first target.
    size : (int, int)
        Height and width of the image.
    name : str
        Of the image, for errors.

    Raises
    ------
    UnitlensError
        If it is not of this kind, or of another size.
    """
    given = kind_of(target)
    if target is not None and given != kind:
        raise UnitlensError(
            f"The first image has {kind} beside it, and {name} has {given or f'a {type(target).__name__}'}: give the "
            "same of every image."
        )
    match kind:
        case "class":
            return Marked({}, target if isinstance(target, str) else int(np.asarray(array_of(target)).item()))
        case "label map":
            return Marked({OBJECT: label_maps(target, name)})
        case "label maps":
            return Marked({str(category): label_maps(one, name) for category, one in target.items()})
        case "objects":
            return Marked({OBJECT: list(layered(_objects(target, size, name)))})
        case "annotations":
            annotations = target["annotations"] if isinstance(target, Mapping) else target
            return Marked({OBJECT: list(layered(_annotated(annotations, size)))})
    return Marked({})


def label_maps(value: Any, name: str) -> list[npt.NDArray[Any]]:
    """Label maps, each (rows, columns), of one map, several on top of each other, or one with a channel.

    Raises
    ------
    UnitlensError
        If it is none of these.
    """
    array = array_of(value)
    if array is None or array.dtype.kind not in "iub" or array.ndim not in (2, 3):
        what = "none" if array is None else f"{array.dtype} of {array.shape}"
        raise UnitlensError(f"The mask of {name} is {what}; it is one whole number at each pixel, (rows, columns).")
    array = array.astype(np.uint8) if array.dtype == bool else array
    return [array] if array.ndim == 2 else list(array)


def _objects(
    target: Mapping[str, Any], size: tuple[int, int], name: str
) -> Iterator[tuple[int, npt.NDArray[np.bool_]]]:
    """Objects as torchvision's detectors have them: labels with masks, (N, height, width), or boxes, (N, 4)."""
    labels = np.atleast_1d(np.asarray(array_of(target["labels"]))).astype(np.int64)
    regions = np.asarray(array_of(target["masks"] if "masks" in target else target["boxes"]))
    if len(labels) != len(regions):
        raise UnitlensError(f"{name} has {len(labels)} labels and {len(regions)} objects: give a label for each.")
    for label, region in zip(labels.tolist(), regions, strict=True):
        if "masks" in target:
            yield label, np.squeeze(region) > (0.5 if region.dtype.kind == "f" else 0)
        else:
            yield label, box_mask(region, size)


def box_mask(box: npt.NDArray[Any], size: tuple[int, int]) -> npt.NDArray[np.bool_]:
    """All pixels whose centre lies in a box (left, top, right, bottom), as bool (height, width).

    Examples
    --------
    >>> box_mask(np.array([1, 0, 3, 1]), (2, 4)).astype(int).tolist()
    [[0, 1, 1, 0], [0, 0, 0, 0]]
    """
    left, top, right, bottom = (float(side) for side in box)
    rows, columns = np.arange(size[0]) + 0.5, np.arange(size[1]) + 0.5
    return ((rows > top) & (rows < bottom))[:, None] & ((columns > left) & (columns < right))[None, :]


def _annotated(
    annotations: Iterable[Mapping[str, Any]], size: tuple[int, int]
) -> Iterator[tuple[int, npt.NDArray[np.bool_]]]:
    """Objects as COCO has them: polygons or run lengths, and boxes (left, top, width, height) where there are none."""
    for annotation in annotations:
        if annotation.get("segmentation"):
            yield from painted([annotation], *size)
        else:
            left, top, width, height = annotation["bbox"]
            yield int(annotation["category_id"]), box_mask(np.array([left, top, left + width, top + height]), size)
