"""An image segmented by units: each position in the colour of the unit that is furthest above its threshold there."""

import io
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from unitlens.drawing.strips import enlarged

PALETTE = (
    (230, 159, 0),
    (86, 180, 233),
    (0, 158, 115),
    (240, 228, 66),
    (0, 114, 178),
    (213, 94, 0),
    (204, 121, 167),
    (140, 90, 60),
    (150, 150, 150),
)
"""Colours that people with any colour vision tell apart (Okabe and Ito), a brown one, and grey."""

GREY = len(PALETTE) - 1
"""The place of grey."""

_DIMMED = 0.35


def draw_segments(
    image: npt.NDArray[np.uint8],
    maps: npt.NDArray[np.floating],
    thresholds: npt.NDArray[np.floating],
    colours: Sequence[int],
    *,
    size: int = 224,
) -> bytes:
    """Draw an image in which each position has the colour of the unit that is furthest above its threshold.

    Parameters
    ----------
    image : uint8 array, (height, width, 3)
    maps : float array, (K, h, w)
        Activations of K units on the image.
    thresholds : float array, (K,)
    colours : sequence of int, K
        Of each unit, its place in `PALETTE`.
    size : int
        Height of the picture in pixels.

    Returns
    -------
    bytes
        A PNG. Where no unit is above its threshold, the image is dimmed and grey.
    """
    from PIL import Image

    height, width = size, max(1, round(size * image.shape[1] / image.shape[0]))
    method = Image.Resampling.BOX if image.shape[0] > size else Image.Resampling.BICUBIC
    pixels = np.asarray(Image.fromarray(np.ascontiguousarray(image)).resize((width, height), method), np.float32)
    drawn = np.repeat(pixels.mean(2, keepdims=True) * _DIMMED + 40, 3, 2)
    if len(maps):
        above = enlarged(maps, (height, width)) - np.asarray(thresholds, np.float32)[:, None, None]
        # each unit on its own scale: how far above its threshold, of the most that it reaches here
        above /= np.maximum(above.max((1, 2), keepdims=True), 1e-12)
        first, inside = above.argmax(0), (above > 0).any(0)
        tints = np.array(PALETTE, np.float32)[np.asarray(colours) % len(PALETTE)][first]
        drawn[inside] = 0.45 * pixels[inside] + 0.55 * tints[inside]
    file = io.BytesIO()
    Image.fromarray(drawn.round().clip(0, 255).astype(np.uint8)).save(file, "PNG", optimize=True)
    return file.getvalue()
