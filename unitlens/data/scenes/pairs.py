"""Minimal pairs: a drawn scene, and the same scene without one concept, all else the same to the pixel."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from unitlens.data.concepts import Concept, Example
from unitlens.data.scenes.canvas import Canvas
from unitlens.data.scenes.words import CONCEPTS
from unitlens.data.scenes.world import PLACES
from unitlens.errors import UnitlensError, did_you_mean
from unitlens.plurals import counted

_BEHIND_ALL = ("sky", "wall", "floor")
_NO_HUE = ("black", "white", "grey")
LEFT_OUT = tuple(
    concept
    for concept in CONCEPTS
    if concept.name not in {"object": _BEHIND_ALL, "color": _NO_HUE}.get(concept.category, ())
)
"""Concepts that can be left out. Behind sky, walls and floors there is nothing; a colour is made grey, as every pixel
has one, and what has no hue cannot be."""

LEAST_AREA = 1 / 784
"""A concept is left out of scenes where it takes at least this share, one cell of the label grid of 28 x 28."""

MOST_SCENES = 3000
"""So many scenes are looked through for those that have a rare concept."""

_IMAGES_PER_PAIR = 134  # of each concept: 114 without one, and 20 scenes with all

_SPLIT = 2  # of no image of `Scenes`


class ScenePair(NamedTuple):
    """Two images that differ in one concept.

    Attributes
    ----------
    concept : Concept
    without, with_it : int
        Their indices in the data.
    """

    concept: Concept
    without: int
    with_it: int


class _Drawn(NamedTuple):
    """An image: the number of its scene, and what is left out of it."""

    scene: int
    without: Concept | None


class ScenePairs:
    """Drawn scenes, each followed by the same scene without one concept or another.

    What is left out is so with its shadow; everything else falls as it would have fallen with it, and all else is the
    same to the pixel, in the image and in every label plane. Left out are objects, parts and materials, with all that
    is drawn of them (a house goes with its roof and its bricks, a roof leaves the house), and hues: what is painted in
    one becomes as light a grey. Of sky, walls and floors, behind which there is nothing, and of black, white and grey
    there are no pairs. A scene with all that is in it stands in several pairs, but once in the data. No image is among
    those of `unitlens.Scenes`.

    The name of an image says its scene and what is left out of it, the group is the scene, the class its kind.

    Parameters
    ----------
    pairs : int
        How many for each concept; fewer of what is in few scenes.
    concepts : sequence of str, optional
        Those that are left out, as names or category/name; all that can be.
    seed : int
        Another seed, other scenes; 0 or more.
    size : int
        Pixels along a side, 16 or more.

    Attributes
    ----------
    pairs : tuple of ScenePair
        Which images differ in which concept.

    Raises
    ------
    UnitlensError
        If a setting is out of its range, or a concept does not exist or cannot be left out.

    Examples
    --------
    >>> from unitlens.data.scenes.pairs import ScenePairs
    >>> data = ScenePairs(2, concepts=["umbrella"])
    >>> data
    ScenePairs(2 pairs of 1 concept, 4 images of 112 x 112, seed 0)
    >>> data[0].name, data[1].name, data[1].group
    ('pairs-0/000000-beach/all.png', 'pairs-0/000000-beach/without-object-umbrella.png', 'pairs-0/000000-beach')
    >>> data.pairs[0].without, data.pairs[0].with_it
    (1, 0)
    """

    grouped = True

    def __init__(
        self, pairs: int = 24, *, concepts: Sequence[str] | None = None, seed: int = 0, size: int = 112
    ) -> None:
        for what, value, least in (("pairs", pairs, 1), ("seed", seed, 0), ("size", size, 16)):
            if value < least:
                raise UnitlensError(f"{what} is {value}; the drawn pairs need {what} of {least} or more.")
        self.seed = seed
        self.size = size
        wanted = LEFT_OUT if concepts is None else tuple(map(_left_out, concepts))
        self._images = tuple(_choose(dict.fromkeys(wanted, pairs), seed))
        self.pairs = tuple(_pairs(self._images))

    @classmethod
    def of_images(cls, images: int | None, *, seed: int = 0) -> "ScenePairs":
        """Pairs of every concept, as many of each as take about so many images; None: 24."""
        return cls(24 if images is None else max(1, images // _IMAGES_PER_PAIR), seed=seed)

    @property
    def concepts(self) -> Sequence[Concept]:
        """Every concept that may be marked."""
        return CONCEPTS

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the scenes, in the order of the bundled network's outputs."""
        return tuple(PLACES)

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, index: int, /) -> Example:
        if not -len(self) <= index < len(self):
            raise IndexError(f"Image {index} of {len(self)}.")
        scene, without = self._images[index]
        canvas = _draw(scene, self.seed, size=self.size, without=without)
        image, planes = canvas.finish()
        group = f"pairs-{self.seed}/{scene:06d}-{_place(scene)}"
        side = "all" if without is None else f"without-{without.category}-{without.name.replace(' ', '-')}"
        maps = {category: [plane] for category, plane in planes.items()}
        return Example(image, maps, f"{group}/{side}.png", _place(scene), group=group)

    @property
    def source(self) -> str:
        """What ``--data`` takes to draw them."""
        return "bundled:scenes-pairs"

    def __repr__(self) -> str:
        concepts = len({pair.concept for pair in self.pairs})
        return (
            f"ScenePairs({counted(len(self.pairs), 'pair')} of {counted(concepts, 'concept')}, "
            f"{counted(len(self), 'image')} of {self.size} x {self.size}, seed {self.seed})"
        )


def _left_out(name: str) -> Concept:
    """A concept by its name, or category/name, if it can be left out."""
    fitting = [one for one in CONCEPTS if name in (one.name, f"{one.category}/{one.name}")]
    if not fitting:
        raise UnitlensError(f"Nothing drawn is called {name!r}{did_you_mean(name, [one.name for one in CONCEPTS])}.")
    if len(fitting) > 1:
        pairs = " or ".join(f"{one.category}/{one.name}" for one in fitting)
        raise UnitlensError(f"{name} stands in several categories: say {pairs}.")
    if fitting[0] not in LEFT_OUT:
        why = "has no hue" if fitting[0].category == "color" else "has nothing behind it"
        raise UnitlensError(f"{name} cannot be left out, as it {why}: choose other concepts.")
    return fitting[0]


def _place(scene: int) -> str:
    return tuple(PLACES)[scene % len(PLACES)]


def _draw(scene: int, seed: int, *, size: int = 112, without: Concept | None = None) -> Canvas:
    canvas = Canvas(np.random.default_rng([seed, _SPLIT, scene]), size=size, without=without)
    PLACES[_place(scene)](canvas)
    return canvas


def _choose(wanted: dict[Concept, int], seed: int) -> Iterator[_Drawn]:
    """Go through the scenes until every concept was left out of enough of them."""
    wanted = dict(wanted)
    for scene in range(MOST_SCENES):
        if not wanted:
            break
        areas = dict(zip(CONCEPTS, _draw(scene, seed).areas().tolist(), strict=True))
        left_out = [one for one in wanted if areas[one] >= LEAST_AREA and _can_go(one, scene, seed)]
        if left_out:
            yield _Drawn(scene, None)
        for concept in left_out:
            yield _Drawn(scene, concept)
            wanted[concept] -= 1
            if not wanted[concept]:
                del wanted[concept]


def _can_go(concept: Concept, scene: int, seed: int) -> bool:
    """Whether all of a scene is still drawn on without a concept: only materials are of walls and floors."""
    return concept.category != "material" or not _draw(scene, seed, without=concept).bare


def _pairs(images: Sequence[_Drawn]) -> Iterator[ScenePair]:
    whole = -1
    for index, image in enumerate(images):
        if image.without is None:
            whole = index
        else:
            yield ScenePair(image.without, index, whole)
