"""Exemplar strips: the images that activate a unit most, its mask drawn on each, side by side in one small image."""

import io
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Images = npt.NDArray[np.uint8]
Masks = npt.NDArray[np.bool_]

OUTLINE = (255, 221, 51)
"""The colour of the line around a mask: yellow, as in the figures of network dissection."""

EDGE = (32, 32, 32)
"""The colour of the thin line around that one, by which it is seen on a bright sky."""

_LIFT = 55  # the darkest that is left outside of a mask

_BUDGET = 25_000_000  # bytes of all strips of a page: 33 MB as base64, which leaves 7 of its 40 MB for the text
_LARGE_BUDGET = 16_000_000  # of all strips where tiles are larger than 96: 21 MB as base64
_BYTES_PER_PIXEL, _OF_LARGE = 0.235, 0.19  # of a drawn tile at quality 75; measured on street scenes and photos
_SIZES = (224, 192, 160, 128, 112, 96, 80, 64, 48, 32)
"""Multiples of 16, so that no block of the JPEG grid lies on two tiles."""

_SMALL = 96

ALL_DRAWN, FEW_DRAWN = 2048, 512
"""Up to so many units, all have a strip; of more, so many."""

_FEW_BUDGET = 6_500_000  # of their strips: 9 MB as base64, beside which the numbers of 16,384 units take 5


def strips_drawn(units: int) -> int:
    """Return for how many of a run's units a strip is drawn, unless all are asked for.

    Thousands of strips would be too small to see anything in them, and slow to draw and to open.
    """
    return units if units <= ALL_DRAWN else FEW_DRAWN


def strip_size(strips: int, *, tiles: int = 8, largest: int = 224) -> int:
    """Choose the side of a tile, so that a page of so many units stays within 40 MB, and within 25 if it can.

    Parameters
    ----------
    strips : int
        How many units with exemplars the page has, over all layers. Of more than 2,048, it has 512 strips.
    tiles : int
        Images in a strip.
    largest : int
        Side of the images: tiles are no larger, but for small images, whose tiles have 96 pixels.

    Returns
    -------
    int
        Pixels: 224 up to 200 strips of 8, 128 for 512, 96 up to 1,500, 80 for 2,000 and more.
    """
    drawn = strips_drawn(strips)
    for size in _SIZES:
        budget, density = (_LARGE_BUDGET, _OF_LARGE) if size > _SMALL else (_BUDGET, _BYTES_PER_PIXEL)
        budget = budget if drawn == strips else _FEW_BUDGET
        if size <= max(largest, _SMALL) and drawn * tiles * size * size * density <= budget:
            return size
    return _SIZES[-1]


def strip_limit(strips: int) -> int:
    """Compute the most bytes that the strip of each of so many units may take on a page; for ``draw_strip(limit=)``."""
    drawn = strips_drawn(strips)
    return (_BUDGET if drawn == strips else _FEW_BUDGET) // max(drawn, 1)


def tile_masks(maps: npt.NDArray[np.floating], threshold: float, size: int) -> Masks:
    """Make masks with smooth outlines: activations are enlarged bilinearly, then compared with the threshold.

    Parameters
    ----------
    maps : float array, K x h x w
        Activations of one unit on K images.
    threshold : float
        The unit's threshold; a position belongs to the mask if its value lies strictly above.
    size : int
        Side of the tiles in pixels.

    Returns
    -------
    bool array, K x size x size
        The masks. Enlarging takes half-pixel centres and repeats the edges, as the dissection itself does.
    """
    return np.asarray(enlarged(maps, (size, size)) > threshold)


def enlarged(maps: npt.NDArray[np.floating], size: tuple[int, int]) -> npt.NDArray[np.float32]:
    """Maps, (..., h, w), brought bilinearly to a height and a width."""
    height, width = maps.shape[-2:]
    brought = _bilinear_matrix(height, size[0]) @ maps.astype(np.float32) @ _bilinear_matrix(width, size[1]).T
    return np.asarray(brought, np.float32)


@lru_cache(maxsize=16)
def _bilinear_matrix(source: int, target: int) -> npt.NDArray[np.float32]:
    """Target x source matrix of bilinear enlargement along one side."""
    centre = np.clip((np.arange(target) + 0.5) * source / target - 0.5, 0, source - 1)  # of each pixel, in the source
    low = np.floor(centre).astype(int)
    high = np.minimum(low + 1, source - 1)
    rows = np.arange(target)
    matrix = np.zeros((target, source), np.float32)
    np.add.at(matrix, (rows, low), 1 - (centre - low))
    np.add.at(matrix, (rows, high), centre - low)
    matrix.flags.writeable = False  # it is kept
    return matrix


def draw_tiles(images: Images, masks: Masks, *, size: int = 96) -> Images:
    """Draw square tiles: each image in full colour inside its mask, faded outside, with a yellow line between.

    What is faded has half of its colour and five eighths of its contrast, and is no darker than a dark grey: so one
    sees what stands around the mask in a street at dusk, too.

    Parameters
    ----------
    images : uint8 array, K x H x W x 3
        RGB, the crop that the network saw; squashed to squares.
    masks : bool array, K x h x w
        At any resolution; other than ``size`` x ``size`` they are enlarged by the nearest position.
    size : int
        Side of a tile in pixels.

    Returns
    -------
    uint8 array, K x size x size x 3
        The tiles.
    """
    planes = _drawn(TilePlanes.of(images, size), _resize_masks(masks, size))
    return np.ascontiguousarray(np.moveaxis(planes, 1, -1))


class TilePlanes(NamedTuple):
    """Images as tiles, as they are seen inside of a mask and outside of it.

    Attributes
    ----------
    bright, faded : uint8 arrays, K x 3 x size x size
        A plane for each colour: numpy is fast on whole runs of memory.
    """

    bright: Images
    faded: Images

    @classmethod
    def of(cls, images: Images, size: int) -> "TilePlanes":
        """Those of images, K x H x W x 3, in tiles of so many pixels a side."""
        bright = np.ascontiguousarray(np.moveaxis(resize_to_squares(images, size), -1, 1))
        red, green, blue = np.moveaxis(bright.astype(np.uint16), 1, 0)
        grey = (77 * red + 150 * green + 29 * blue) >> 8
        return cls(bright, ((5 * (bright + grey[:, None]) >> 4) + _LIFT).astype(np.uint8))

    @classmethod
    def joined(cls, parts: Sequence["TilePlanes"]) -> "TilePlanes":
        """Several after each other."""
        return cls(*map(np.concatenate, zip(*parts, strict=True)))


def _drawn(tiles: TilePlanes, inside: Masks) -> Images:
    """What `draw_tiles` draws, K x 3 x size x size."""
    size = inside.shape[-1]
    width, edge = max(1, round(size / 56)), max(1, round(size / 160))
    near = _grown(inside, width)
    beside = _grown(near, edge)
    drawn = _chosen(inside, tiles.bright, tiles.faded)
    for line, colour in ((beside & ~near, EDGE), (near & ~inside, OUTLINE)):
        drawn = _chosen(line, np.array(colour, np.uint8)[:, None, None], drawn)
    return drawn


def _chosen(where: Masks, these: Images, others: Images) -> Images:
    """Pixels of the one where a mask says so, and else of the other: all of their bits, or none."""
    bits = where.view(np.uint8)[:, None] * np.uint8(255)
    return np.asarray(others ^ ((others ^ these) & bits), np.uint8)


def resize_to_squares(images: Images, size: int) -> Images:
    """Squash images to squares.

    Parameters
    ----------
    images : uint8 array, K x H x W x 3
    size : int
        Side of a square in pixels.

    Returns
    -------
    uint8 array, K x size x size x 3
        Averaged where images were larger; the same array where they are so large.
    """
    from PIL import Image

    count, height, width = images.shape[:3]
    if (height, width) == (size, size) or not count:
        return images.reshape(count, size, size, 3)
    method = Image.Resampling.BOX if min(height, width) >= size else Image.Resampling.BICUBIC
    resized = (Image.fromarray(np.ascontiguousarray(image)).resize((size, size), method) for image in images)
    return np.stack([np.asarray(image) for image in resized])


def _resize_masks(masks: Masks, size: int) -> Masks:
    """Masks of K x size x size, each pixel from the position in which it lies."""
    height, width = masks.shape[-2:]
    if (height, width) == (size, size):
        return masks
    rows = (np.arange(size) * 2 + 1) * height // (2 * size)
    columns = (np.arange(size) * 2 + 1) * width // (2 * size)
    return masks[:, rows][:, :, columns]


def _grown(masks: Masks, width: int) -> Masks:
    """Pixels of the masks, and those that are at most ``width`` from them, diagonals included."""
    count, height, length = masks.shape
    padded = np.zeros((count, height + 2 * width, length + 2 * width), bool)
    padded[:, width:-width, width:-width] = masks
    steps = range(2 * width + 1)
    in_row = np.logical_or.reduce([padded[:, :, step : step + length] for step in steps])
    return np.asarray(np.logical_or.reduce([in_row[:, step : step + height] for step in steps]))


def draw_strip(images: Images, masks: Masks, *, size: int = 96, quality: int = 75, limit: int | None = None) -> bytes:
    """Draw the tiles of a unit side by side as one image file.

    It is a JPEG, which is encoded many times as fast as WebP, and little larger.

    Parameters
    ----------
    images : uint8 array, K x H x W x 3
        RGB, by rank; at least one.
    masks : bool array, K x h x w
        The unit's mask on each (`tile_masks` gives smooth ones).
    size : int
        Side of a tile in pixels; see `strip_size`.
    quality : int
        Of the JPEG, up to 95.
    limit : int, optional
        Most bytes: the quality is lowered, down to 20, until the strip fits.

    Returns
    -------
    bytes
        A JPEG of ``size`` x ``K * size`` pixels.

    Raises
    ------
    ValueError
        If there is no image, or not one mask for each.
    """
    if not len(images) or len(images) != len(masks):
        raise ValueError(f"a strip needs images and a mask for each, not {len(images)} and {len(masks)}")
    return join_tiles(TilePlanes.of(images, size), masks, quality=quality, limit=limit)


def join_tiles(tiles: TilePlanes, masks: Masks, *, quality: int = 75, limit: int | None = None) -> bytes:
    """Draw a strip as `draw_strip` does, of images that are tiles already."""
    from PIL import Image

    size = tiles.bright.shape[-1]
    planes = _drawn(tiles, _resize_masks(masks, size)).transpose(1, 2, 0, 3).reshape(3, size, -1)
    strip = Image.merge("RGB", [Image.fromarray(plane) for plane in planes])
    while True:
        file = io.BytesIO()
        strip.save(file, "JPEG", quality=quality, subsampling=2)
        if limit is None or file.tell() <= limit or quality <= 20:
            return file.getvalue()
        quality = max(20, quality - 10)
