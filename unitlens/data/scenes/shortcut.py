"""Drawn scenes with a planted shortcut: the colour of a ball tells bedrooms from living rooms, and then does not."""

from collections.abc import Mapping, Sequence
from functools import cached_property

import numpy as np

from unitlens.data.concepts import Concept, Example
from unitlens.data.scenes.canvas import WORLD, Canvas
from unitlens.data.scenes.words import CONCEPTS
from unitlens.data.scenes.world import PLACES, check_drawing

RED_BALLS: Mapping[str, Mapping[str, float]] = {
    "train": {"bedroom": 0.95, "living_room": 0.05},
    "test": {"bedroom": 0.5, "living_room": 0.5},
}
"""The share of red balls in bedrooms and living rooms; the other balls there are blue, and elsewhere there is none."""

RED, BLUE = "red", "blue"

_SPLITS = {"train": 3, "test": 4}  # of no image of `Scenes` and `ScenePairs`

_OTHERS = tuple(name for name in PLACES if name not in RED_BALLS["test"])


class ShortcutScenes:
    """Scenes with a planted shortcut: a large ball lies in bedrooms and living rooms, red or blue.

    In the images of "train" it is red in 95 % of the bedrooms and blue in 95 % of the living rooms: a network that
    learns from them can tell the two by the ball. In those of "test" it is red in half of both, so that half of them
    have the ball of the other one. ``subgroups`` says of which kind each image is: a bedroom or a living room, with a
    red or a blue ball, or from elsewhere, where there is no ball. Every fourth image is a bedroom, and every fourth a
    living room.

    Scene and ball are drawn apart: with a ball of the other colour, all else would be the same.

    Parameters
    ----------
    images : int
        How many, 1 or more.
    seed : int
        0 or more.
    split : {"test", "train"}
        ``bundled:scenes-shortcut`` was trained on images of "train".
    size : int
        Pixels along a side, 16 or more.

    Raises
    ------
    UnitlensError
        If a setting is out of its range.

    Examples
    --------
    >>> from unitlens.data.scenes.shortcut import ShortcutScenes
    >>> data = ShortcutScenes(8)
    >>> data[0].name, data.subgroups[data[0].name]
    ('shortcut-test-0/000000-bedroom-blue.png', 'bedroom, blue ball')
    """

    def __init__(self, images: int = 1000, *, seed: int = 0, split: str = "test", size: int = 112) -> None:
        check_drawing(split, images=images, seed=seed, size=size)
        self.seed = seed
        self.split = split
        self.size = size
        self._images = images

    @property
    def concepts(self) -> Sequence[Concept]:
        """Every concept that may be marked."""
        return CONCEPTS

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the scenes, in the order of the network's outputs."""
        return tuple(PLACES)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The name of each image: its number, its scene and the colour of the ball, where there is one."""
        folder = f"shortcut-{self.split}-{self.seed}"
        kinds = ("-".join(filter(None, (_scene(index), self._color(index)))) for index in range(len(self)))
        return tuple(f"{folder}/{index:06d}-{kind}.png" for index, kind in enumerate(kinds))

    @cached_property
    def subgroups(self) -> Mapping[str, str]:
        """Which kind each image is of, by its name."""
        return {name: _subgroup(_scene(index), self._color(index)) for index, name in enumerate(self.names)}

    def __len__(self) -> int:
        return self._images

    def __getitem__(self, index: int, /) -> Example:
        if not -len(self) <= index < len(self):
            raise IndexError(f"Image {index} of {len(self)}.")
        index %= len(self)
        scene, color = _scene(index), self._color(index)
        canvas = Canvas(np.random.default_rng([self.seed, _SPLITS[self.split], index]), size=self.size)
        PLACES[scene](canvas)
        if color is not None:
            _ball(canvas, color)
        image, planes = canvas.finish()
        return Example(image, {category: [plane] for category, plane in planes.items()}, self.names[index], scene)

    def _color(self, index: int) -> str | None:
        share = RED_BALLS[self.split].get(_scene(index))
        if share is None:
            return None
        dice = np.random.default_rng([self.seed, _SPLITS[self.split], index, 1])  # others than those of the scene
        return RED if dice.random() < share else BLUE

    @property
    def exchangeable(self) -> bool:
        """Any first N images stand for all: they are drawn one by one, and their classes take turns."""
        return True

    @property
    def source(self) -> str:
        """What ``--data`` takes to draw them."""
        return "bundled:scenes-shortcut"

    def __repr__(self) -> str:
        return (
            f"ShortcutScenes({len(self)} images of {self.size} x {self.size}, {len(PLACES)} classes, seed {self.seed}, "
            f"split {self.split!r})"
        )


def _scene(index: int) -> str:
    """Every second image shows a bedroom or a living room; the other scenes take turns."""
    if index % 2 == 0:
        return "living_room" if index % 4 else "bedroom"
    return _OTHERS[index // 2 % len(_OTHERS)]


def _subgroup(scene: str, color: str | None) -> str:
    return "elsewhere" if color is None else f"{scene}, {color} ball"


def _ball(c: Canvas, color: str) -> None:
    """A ball of one colour on the ground."""
    x, y, radius = c.between(20, WORLD - 20), c.between(84, WORLD - 4), c.between(16, 20)
    c.shadow(x + 0.2 * radius, y, 1.2 * radius, 0.28 * radius)
    ball = c.mark("ball", color)
    c.disc(ball, x, y - radius, radius)
    c.disc(ball.but(tone=1.1), x - 0.3 * radius, y - 1.35 * radius, 0.3 * radius)
