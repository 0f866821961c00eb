"""COCO's polygons and run lengths as masks, drawn by pycocotools."""

import warnings
from collections.abc import Iterable, Iterator, Mapping
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

from unitlens.errors import UnitlensError


def pycocotools() -> ModuleType:
    """The module that draws.

    Raises
    ------
    UnitlensError
        If it is not installed.
    """
    try:
        from pycocotools import mask
    except ImportError:
        raise UnitlensError(
            "COCO's polygons and run lengths are drawn by pycocotools, which is not installed: "
            "pip install 'unitlens[coco]'."
        ) from None
    module: ModuleType = mask
    return module


def painted(
    annotations: Iterable[Mapping[str, Any]], height: int, width: int
) -> Iterator[tuple[int, npt.NDArray[np.bool_]]]:
    """The category and the region of each annotation.

    Parameters
    ----------
    annotations : iterable of mappings
        Each with ``category_id`` and ``segmentation``: polygons (lists of x, y, x, y, ...), or run lengths (``counts``
        and ``size``), compressed or not. Polygons of fewer than three points are nothing.
    height, width : int
        Of the image.

    Yields
    ------
    tuple of (int, bool array of height x width)

    Raises
    ------
    UnitlensError
        If a region cannot be drawn, or pycocotools is not installed.
    """
    draw = pycocotools()
    for annotation in annotations:
        try:
            mask = _drawn(annotation.get("segmentation") or [], height, width, draw)
        except Exception as error:  # whatever the C code says of strange numbers
            raise UnitlensError(
                f"The annotation {annotation.get('id')!r} of COCO cannot be drawn ({type(error).__name__}: {error})."
            ) from None
        if mask is not None:
            yield int(annotation["category_id"]), mask


def _drawn(segmentation: Any, height: int, width: int, draw: ModuleType) -> npt.NDArray[np.bool_] | None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # pycocotools and NumPy 2 disagree about __array__
        coded = _coded(segmentation, height, width, draw)
        return None if coded is None else np.asarray(draw.decode(coded), bool)


def _coded(segmentation: Any, height: int, width: int, draw: ModuleType) -> Any:
    """One run-length code, of the image's size."""
    if isinstance(segmentation, list):
        polygons = [polygon for polygon in segmentation if len(polygon) >= 6]  # 4 numbers would be read as a box
        return draw.merge(draw.frPyObjects(polygons, height, width)) if polygons else None
    if list(segmentation["size"]) != [height, width]:
        raise ValueError(f"its size is {segmentation['size']}, not {[height, width]}")
    counts = segmentation["counts"]
    if not isinstance(counts, list):
        return segmentation
    if sum(counts) != height * width or min(counts, default=0) < 0:
        raise ValueError("its run lengths do not fill the image")
    return draw.frPyObjects(segmentation, height, width)
