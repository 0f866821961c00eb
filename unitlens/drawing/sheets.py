"""Sheets of images: a row for each, what it was, what it became, and the difference."""

import io
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Images = npt.NDArray[np.uint8]

GAP = 2
"""Pixels of white between tiles."""


def differences(before: Images, after: Images) -> Images:
    """Grey where nothing changes, brighter or darker where numbers rise or fall: half of the difference, and 127.

    Examples
    --------
    >>> differences(np.array([10, 10], np.uint8), np.array([10, 255], np.uint8)).tolist()
    [127, 250]
    """
    return ((after.astype(np.int16) - before + 1) // 2 + 127).astype(np.uint8)


def sheet(columns: Sequence[Images], *, size: int = 96, across: int = 1) -> bytes:
    """Draw images in rows as one PNG.

    Parameters
    ----------
    columns : sequence of uint8 arrays, (N, height, width, 3)
        The first, second, ... image of each of the N groups, which stand side by side.
    size : int
        Height of a tile in pixels.
    across : int
        So many groups stand in one row.
    """
    from PIL import Image

    count, height, width = columns[0].shape[:3]
    tile = (max(1, round(size * width / height)), size)
    method = Image.Resampling.BOX if height > size else Image.Resampling.NEAREST
    step, group = tile[0] + GAP, len(columns) * (tile[0] + GAP) + 3 * GAP
    rows = -(-count // across)
    canvas = Image.new("RGB", (min(across, count) * group - 4 * GAP, rows * (size + GAP) - GAP), "white")
    for number in range(count):
        for k, images in enumerate(columns):
            drawn = Image.fromarray(np.ascontiguousarray(images[number])).resize(tile, method)
            canvas.paste(drawn, (number % across * group + k * step, number // across * (size + GAP)))
    file = io.BytesIO()
    canvas.save(file, "PNG", optimize=True)
    return file.getvalue()
