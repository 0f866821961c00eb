"""A canvas that paints the image and what is true of it in one stroke."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from unitlens.data.concepts import Concept
from unitlens.data.scenes.textures import SIDE, textures
from unitlens.data.scenes.words import CATEGORIES, PALETTE, RGB

WORLD = 112.0
"""The world is 112 units wide and high, whatever the size of the image in pixels; y grows downwards."""

T = TypeVar("T")

Stroke = Callable[[ImageDraw.ImageDraw, int], None]
"""Draws with a pen, in an ink."""

_BARE = -1  # paper that no stroke covers


@dataclass(frozen=True)
class Mark:
    """What a stroke leaves behind: a colour, and the concepts that hold where it is seen.

    Attributes
    ----------
    object, part, material : str or None
        The concepts, from ``words``.
    color : str
        One of the 11 basic colours; ``rgb`` is a shade of it.
    rgb : tuple of int
        The shade, 0..255, before texture, light and noise.
    tone : float
        The shade is multiplied by this (a side in the shade is 0.85); mild, so that the colour's name stays true.
    fade : float
        By how much the bottom of the image is lighter than its top (below 0: darker).
    flat : bool
        Lies on the ground: its texture runs towards the horizon.
    """

    object: str | None
    color: str
    rgb: RGB
    part: str | None = None
    material: str | None = None
    tone: float = 1.0
    fade: float = 0.0
    flat: bool = False

    def but(self, **changes: Any) -> "Mark":
        """The same mark with some attributes replaced."""
        return replace(self, **changes)

    def without(self, concept: Concept) -> "Mark | None":
        """The same mark with a concept left out: None where it is the concept; of a colour, a grey as light as it."""
        word = {"object": self.object, "part": self.part, "material": self.material, "color": self.color}
        if word[concept.category] != concept.name:
            return self
        if concept.category != "color":
            return None
        red, green, blue = self.rgb
        grey = round(0.299 * red + 0.587 * green + 0.114 * blue)
        return self.but(color="grey", rgb=(grey, grey, grey))

    def labels(self) -> list[int]:
        """The label of the mark in each category, in the order of ``CATEGORIES``; 0 is none."""
        words = (self.object, self.part, self.material, self.color)
        return [0 if word is None else names.index(word) + 1 for word, names in zip(words, _NAMES, strict=True)]


_NAMES = tuple(CATEGORIES.values())


class Canvas:
    """Paper, pencils and dice: every stroke covers what was there, in the image and in all label planes.

    Strokes are drawn as the number of their mark, at twice the image's resolution. ``finish`` looks the colours and
    labels of the numbers up, so the planes cannot disagree with the image; the image is then reduced (smooth
    edges), the planes are sampled (never blended).

    Parameters
    ----------
    rng : numpy.random.Generator
        The source of all chance.
    size : int
        Pixels along a side of the image.
    without : Concept, optional
        What is left out, with its shadow: its strokes are not drawn, those of a colour in grey. All chance is as with
        it, so that nothing else changes.
    """

    def __init__(self, rng: np.random.Generator, *, size: int = 112, without: Concept | None = None) -> None:
        self.rng = rng
        self.size = size
        self._without = without
        self._shadows: list[tuple[str | None, Stroke, int]] = []
        self.horizon = WORLD / 2
        self._zoom = 2 * size / WORLD
        self._marks: dict[Mark, int] = {}
        self._numbers = Image.new("I", (2 * size, 2 * size), _BARE)
        self._light = Image.new("L", (2 * size, 2 * size), 128)
        self._pens = (ImageDraw.Draw(self._numbers), ImageDraw.Draw(self._light))

    # dice

    def between(self, low: float, high: float) -> float:
        """A number, evenly spread."""
        return low + (high - low) * float(self.rng.random())

    def whole(self, low: int, high: int) -> int:
        """A whole number from ``low`` to ``high``, both possible."""
        return low + int(self.rng.random() * (high - low + 1))

    def chance(self, share: float) -> bool:
        """True in that share of cases."""
        return float(self.rng.random()) < share

    def pick(self, *choices: T) -> T:
        """One of the choices; one that is named twice comes twice as often."""
        return choices[int(self.rng.random() * len(choices))]

    # pencils

    def mark(self, object_: str | None, color: str, *, rgb: RGB | None = None, **more: Any) -> Mark:
        """A mark in some shade of a colour (or exactly in ``rgb``); ``more`` are attributes of ``Mark``."""
        red, green, blue = rgb or self.pick(*PALETTE[color])
        glow, warm = self.whole(-7, 7), self.whole(-4, 4)
        shade = (red + glow + warm, green + glow, blue + glow - warm)
        return Mark(object_, color, shade, **more)

    def polygon(self, mark: Mark, *points: tuple[float, float]) -> None:
        """Fill the polygon through the points."""
        scaled = [(x * self._zoom, y * self._zoom) for x, y in points]
        self._stroke(mark, lambda pen, ink: pen.polygon(scaled, fill=ink))

    def box(self, mark: Mark, left: float, top: float, right: float, bottom: float, *, radius: float = 0.0) -> None:
        """Fill an upright rectangle, with round corners if asked."""
        corners = [left * self._zoom, top * self._zoom, right * self._zoom - 1, bottom * self._zoom - 1]
        if corners[2] < corners[0] or corners[3] < corners[1]:
            return
        if radius:
            self._stroke(mark, lambda pen, ink: pen.rounded_rectangle(corners, radius * self._zoom, fill=ink))
        else:
            self._stroke(mark, lambda pen, ink: pen.rectangle(corners, fill=ink))

    def disc(self, mark: Mark, x: float, y: float, across: float, down: float | None = None) -> None:
        """Fill an ellipse about (x, y) with the given half-axes; without ``down`` it is a circle."""
        around = self._around(x, y, across, across if down is None else down)
        self._stroke(mark, lambda pen, ink: pen.ellipse(around, fill=ink))

    def line(self, mark: Mark, *points: tuple[float, float], width: float = 1.0) -> None:
        """Draw a line through the points."""
        scaled = [(x * self._zoom, y * self._zoom) for x, y in points]
        wide = max(1, round(width * self._zoom))
        self._stroke(mark, lambda pen, ink: pen.line(scaled, fill=ink, width=wide, joint="curve"))

    def blob(self, mark: Mark, x: float, y: float, across: float, down: float, *, rough: float = 0.15) -> None:
        """Fill an uneven roundish shape about (x, y)."""
        radii = 1 + rough * (2 * self.rng.random(13) - 1)
        turns = [2 * math.pi * corner / 13 for corner in range(13)]
        self.polygon(
            mark,
            *(
                (x + across * float(r) * math.cos(turn), y + down * float(r) * math.sin(turn))
                for r, turn in zip(radii, turns, strict=True)
            ),
        )

    def shadow(
        self, x: float, y: float, across: float, down: float, *, depth: float = 0.22, of: str | None = None
    ) -> None:
        """Darken an ellipse of what is there; below 0, ``depth`` lightens. Later strokes cover it.

        It is the shadow of an object: of that which is drawn next, unless ``of`` names another.
        """
        around = self._around(x, y, across, down)
        self._shadows.append((of, lambda pen, ink: pen.ellipse(around, fill=ink), round(128 * (1 - depth))))

    def shade(self, *points: tuple[float, float], depth: float = 0.15) -> None:
        """Darken a polygon of what is there, as ``shadow`` does."""
        scaled = [(x * self._zoom, y * self._zoom) for x, y in points]
        self._shadows.append((None, lambda pen, ink: pen.polygon(scaled, fill=ink), round(128 * (1 - depth))))

    def _around(self, x: float, y: float, across: float, down: float) -> list[float]:
        zoom = self._zoom
        return [(x - across) * zoom, (y - down) * zoom, (x + across) * zoom, (y + down) * zoom]

    def _stroke(self, mark: Mark, draw: Stroke) -> None:
        """Draw in both, after the shadows that wait for it, unless the mark is left out."""
        numbers, light = self._pens
        for object_, darken, ink in self._shadows:
            if self._without is None or self._without[::2] != ("object", object_ or mark.object):
                darken(light, ink)
        self._shadows.clear()
        drawn = mark if self._without is None else mark.without(self._without)
        if drawn is not None:
            draw(numbers, self._number(drawn))
            draw(light, 128)

    def _number(self, mark: Mark) -> int:
        return self._marks.setdefault(mark, len(self._marks))

    # paper

    @property
    def bare(self) -> bool:
        """Whether any of the paper is not drawn on, as where a wall is left out; the image is of no use then."""
        return bool(np.asarray(self._numbers).min() == _BARE)

    def areas(self) -> npt.NDArray[np.float64]:
        """The share of the image that each concept of ``words.CONCEPTS`` takes, so far; not of bare paper."""
        labels = np.array([mark.labels() for mark in self._marks], np.int64)
        starts = np.cumsum([0, *(len(names) for names in _NAMES[:-1])])
        per_mark = np.bincount(np.asarray(self._numbers).ravel(), minlength=len(labels))
        columns = np.where(labels > 0, labels - 1 + starts, -1)
        areas = np.zeros(sum(map(len, _NAMES)) + 1)  # the last is of no concept
        np.add.at(areas, columns, per_mark[:, None])
        return np.asarray(areas[:-1] / per_mark.sum())

    def finish(self) -> tuple[npt.NDArray[np.uint8], dict[str, npt.NDArray[np.uint8]]]:
        """The image and its label planes.

        Returns
        -------
        image : array of uint8, size x size x 3
        planes : dict of str to array of uint8, size x size
            One plane for each category of ``words.CATEGORIES``.
        """
        numbers = np.maximum(np.asarray(self._numbers), 0)
        labels = np.array([mark.labels() for mark in self._marks], np.uint8)
        sampled = labels[numbers[1::2, 1::2]]
        planes = {name: np.ascontiguousarray(sampled[..., i]) for i, name in enumerate(CATEGORIES)}
        return self._image(numbers, labels[:, list(CATEGORIES).index("material")]), planes

    def _image(self, numbers: npt.NDArray[np.int32], material: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        tones = np.array([mark.tone / 255 for mark in self._marks], np.float32)
        shades = np.array([mark.rgb for mark in self._marks], np.float32) * tones[:, None]
        fades = np.array([mark.fade for mark in self._marks], np.float32)
        light = self._texture(numbers, material)
        light += fades[numbers] * np.linspace(0, 1, len(numbers), dtype=np.float32)[:, None]
        light += 1
        light *= np.asarray(self._light, np.float32) / 128
        fine = np.take(shades, numbers, axis=0)
        fine *= light[..., None]
        coarse = fine[::2] + fine[1::2]
        return self._lit(coarse[:, ::2] + coarse[:, 1::2])

    def _texture(self, numbers: npt.NDArray[np.int32], material: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """The materials' textures; on flat marks, drawn towards the horizon and fainter there."""
        position = np.arange(len(numbers), dtype=np.float32) * np.float32(2 / self._zoom)
        x, y = self.between(0, SIDE), self.between(0, SIDE)
        upright = _texel(position[:, None] + y, position + x)
        depth = np.maximum(position - np.float32(2 * self.horizon), 3)[:, None] / 60
        across, along = (position - WORLD) / depth + x, 90 / depth + y
        is_wood = np.arange(1 + len(CATEGORIES["material"])) == 1 + CATEGORIES["material"].index("wood")
        flat = np.array([mark.flat for mark in self._marks])
        boards, lying = (flat & is_wood[material])[numbers], flat[numbers]
        # planks run away from the viewer, waves and courses across
        texel = np.where(boards, _texel(across, along), np.where(lying, _texel(along, across), upright))
        texel += material.astype(np.int32)[numbers] * SIDE**2
        strength = np.where(lying, np.minimum(1, 1.6 * depth), np.float32(1))
        return np.asarray(np.take(textures(), texel) * strength, np.float32)

    def _lit(self, image: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
        """Sums of four dots to an image, in mild light (brightness, warmth, a brighter side), with noise."""
        warmth, side = self.between(-0.05, 0.05), self.between(-0.07, 0.07)
        tint = np.array([1 + warmth, 1, 1 - warmth], np.float32) * self.between(0.86, 1.04)
        across = 1 + np.linspace(-side, side, self.size, dtype=np.float32)
        noise = self.rng.standard_normal(image.shape, dtype=np.float32) * np.float32(self.between(0.004, 0.02))
        lit = image * (0.25 * tint) * across[None, :, None] + noise
        return (np.clip(lit, 0, 1) * 255 + 0.5).astype(np.uint8)


def _texel(down: npt.NDArray[np.float32], right: npt.NDArray[np.float32]) -> npt.NDArray[np.int32]:
    """Where a texture holds the point, as an index into its flattened SIDE x SIDE texels."""
    return down.astype(np.int32) % SIDE * SIDE + right.astype(np.int32) % SIDE
