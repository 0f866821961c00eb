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
    for annotation in annotations:
        try:
            mask = _drawn(annotation.get("segmentation") or [], height, width)
            category = int(annotation["category_id"])
        except UnitlensError:
            raise
        except Exception as error:  # whatever NumPy and the C code of pycocotools raise at strange values
            raise UnitlensError(
                f"An annotation of COCO cannot be drawn ({type(error).__name__}: {error}): {shortened(annotation)}."
            ) from None
        if mask is not None:
            yield category, mask


def shortened(value: Any, most: int = 80) -> str:
    """The start of what a value looks like."""
    text = repr(value)
    return text if len(text) <= most else f"{text[:most]}..."


def _drawn(segmentation: Any, height: int, width: int) -> npt.NDArray[np.bool_] | None:
    """The region of an annotation; None where there is none."""
    if isinstance(segmentation, list):
        return _polygons(segmentation, height, width)
    if list(segmentation["size"]) != [height, width]:
        raise ValueError(f"its size is {segmentation['size']}, not {[height, width]}")
    counts = segmentation["counts"]
    return _runs(counts if isinstance(counts, list) else _uncompressed(counts), height, width)


def _polygons(polygons: list[Any], height: int, width: int) -> npt.NDArray[np.bool_] | None:
    """Polygons, drawn by pycocotools; those of fewer than three points are nothing."""
    draw = pycocotools()
    points = [np.asarray(polygon, np.float64) for polygon in polygons]
    far = _FAR * max(height, width)
    if any(one.ndim != 1 or not (np.abs(one) <= far).all() for one in points):  # memory grows with the outline
        raise ValueError(f"a polygon is a list of numbers x, y, x, y, ..., none beyond {far}")
    drawable = [one.tolist() for one in points if len(one) >= 6]  # 4 numbers would be read as a box
    if not drawable:
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # pycocotools and NumPy 2 disagree about __array__
        return np.asarray(draw.decode(draw.merge(draw.frPyObjects(drawable, height, width))), bool)


_FAR = 10
"""Polygons may lie outside of the image, but not at any distance: so many times its longer side."""


def _runs(counts: list[int], height: int, width: int) -> npt.NDArray[np.bool_]:
    """Run lengths, column by column: how many pixels are outside, then how many inside, and so on."""
    if sum(counts) != height * width or min(counts, default=0) < 0:
        raise ValueError("its run lengths do not fill the image")
    inside = np.arange(len(counts)) % 2 == 1
    return np.repeat(inside, counts).reshape(width, height).T


def _uncompressed(code: str | bytes) -> list[int]:
    """The run lengths of COCO's compressed code: little-endian groups of 5 bits, 48 added to each, bit 5 for "more".

    From the fourth on, a run length is stored as its difference from the one two before. Bit 4 of the last group is
    its sign.

    Source: rleFrString in maskApi.c of pycocotools.
    """
    counts: list[int] = []
    value = shift = 0
    for byte in code.encode("ascii") if isinstance(code, str) else code:
        group = byte - 48
        if not 0 <= group < 64:
            raise ValueError(f"its run lengths hold the character {chr(byte)!r}")
        value |= (group & 31) << shift
        shift += 5
        if group & 32:
            continue
        if group & 16:
            value -= 1 << shift
        counts.append(value + counts[-2] if len(counts) > 2 else value)
        value = shift = 0
    return counts
