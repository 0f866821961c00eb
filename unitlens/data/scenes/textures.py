"""What materials look like close up: bricks have joints, water has waves, grass has blades."""

from functools import cache

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from unitlens.data.scenes.words import MATERIALS

SIDE = 256
"""Texels along a side of a texture; half a texel is one world unit. Textures repeat without a seam."""

Texture = npt.NDArray[np.float32]


@cache
def textures() -> Texture:
    """How much lighter or darker each material is from place to place.

    Returns
    -------
    array of float32, (1 + materials) x SIDE x SIDE
        0 is the painted colour, -0.2 a fifth darker. Row 0 is "no material" and all 0. The same in every process.
    """
    rng = np.random.default_rng(20)
    stack = np.zeros((1 + len(MATERIALS), SIDE, SIDE), np.float32)
    for index, name in enumerate(MATERIALS, 1):
        if name in _DRAWN:
            stack[index] = _DRAWN[name](rng)
    stack.setflags(write=False)
    return stack


def _speckle(rng: np.random.Generator, *, across: float, down: float, amount: float) -> Texture:
    """Smooth noise, with grains of about the given width and height in texels."""
    frequency = np.fft.fftfreq(SIDE)
    low_pass = np.exp(-2 * (np.outer(frequency * down, np.ones(SIDE)) ** 2 + (frequency * across)[None, :] ** 2) * 4)
    noise = np.fft.ifft2(np.fft.fft2(rng.standard_normal((SIDE, SIDE))) * low_pass).real
    return np.asarray(amount * noise / noise.std(), np.float32)


def _strokes(rng: np.random.Generator, count: int, *, lean: float, length: float, amount: float) -> Texture:
    """Short strokes over one another, each a little lighter or darker, such as blades of grass."""
    image = Image.new("L", (SIDE, SIDE), 128)
    draw = ImageDraw.Draw(image)
    for x, y, slant, size, tone in zip(*rng.random((5, count)), strict=True):
        dx, dy, grey = (slant - 0.5) * lean, (0.4 + size) * length, int(128 + 127 * (tone - 0.5) * 2)
        for shift in (0, -SIDE):
            for drop in (0, SIDE):
                left, foot = x * SIDE + shift, y * SIDE + drop
                draw.line([left, foot, left + dx, foot - dy], fill=grey, width=2)
    return np.asarray((np.asarray(image, np.float32) / 128 - 1) * amount, np.float32)


def _blobs(rng: np.random.Generator, count: int, *, radius: float, amount: float) -> Texture:
    """Overlapping discs with a lit upper edge, such as leaves."""
    image = Image.new("L", (SIDE, SIDE), 128)
    draw = ImageDraw.Draw(image)
    for x, y, size, tone in zip(*rng.random((4, count)), strict=True):
        r, grey = (0.6 + size) * radius, int(128 + 110 * (tone - 0.5) * 2)
        for shift in (0, SIDE, -SIDE):
            for drop in (0, SIDE, -SIDE):
                cx, cy = x * SIDE + shift, y * SIDE + drop
                draw.ellipse([cx - r, cy - r, cx + r, cy + r], fill=grey)
    return np.asarray((np.asarray(image, np.float32) / 128 - 1) * amount, np.float32)


def _courses(
    rng: np.random.Generator, *, width: int, height: int, shifted: bool, joint: float, amount: float
) -> Texture:
    """Rectangles in rows with joints between them: bricks, tiles, planks."""
    rows, columns = np.mgrid[0:SIDE, 0:SIDE]
    row = rows // height
    moved = (columns + (row % 2) * (width // 2) * shifted) % SIDE
    tones = rng.uniform(-amount, amount, (SIDE // height, SIDE // width))
    texture = tones[row, moved // width]
    joints = (rows % height < 2) | (moved % width < 2)
    return np.where(joints, joint, texture).astype(np.float32)


def _wood(rng: np.random.Generator) -> Texture:
    planks = _courses(rng, width=128, height=16, shifted=True, joint=-0.3, amount=0.09)
    return planks + _speckle(rng, across=24, down=0.8, amount=0.05)


def _water(rng: np.random.Generator) -> Texture:
    swell = _speckle(rng, across=14, down=2.2, amount=1)
    return np.where(swell > 0.9, 0.22, 0.05 * swell).astype(np.float32)


def _stone(rng: np.random.Generator) -> Texture:
    cracks = np.abs(_speckle(rng, across=9, down=7, amount=1)) < 0.09
    return np.where(cracks, -0.22, _speckle(rng, across=6, down=5, amount=0.06)).astype(np.float32)


def _fabric(rng: np.random.Generator) -> Texture:
    rows, columns = np.mgrid[0:SIDE, 0:SIDE]
    return np.asarray(0.07 * (((rows // 2) + (columns // 2)) % 2 * 2 - 1), np.float32)


def _sand(rng: np.random.Generator) -> Texture:
    grains = _speckle(rng, across=0.7, down=0.7, amount=0.05)
    return grains + _speckle(rng, across=30, down=5, amount=0.03)


def _metal(rng: np.random.Generator) -> Texture:
    return _speckle(rng, across=30, down=0.6, amount=0.03)


_DRAWN = {
    "brick": lambda rng: _courses(rng, width=16, height=8, shifted=True, joint=0.28, amount=0.1),
    "wood": _wood,
    "grass": lambda rng: _strokes(rng, 3200, lean=8, length=11, amount=0.2),
    "sand": _sand,
    "water": _water,
    "snow": lambda rng: _speckle(rng, across=16, down=7, amount=0.02) - 0.01,
    "tile": lambda rng: _courses(rng, width=16, height=16, shifted=False, joint=-0.24, amount=0.03),
    "asphalt": lambda rng: _speckle(rng, across=0.9, down=0.9, amount=0.07),
    "stone": _stone,
    "foliage": lambda rng: _blobs(rng, 2600, radius=4, amount=0.24),
    "fabric": _fabric,
    "metal": _metal,
}
