"""A drawn world as a data set: images of scenes, with the truth known at every pixel."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from unitlens.data.concepts import Concept, Example
from unitlens.data.scenes import coast, indoors, outdoors
from unitlens.data.scenes.canvas import Canvas
from unitlens.data.scenes.infrared import infrared
from unitlens.data.scenes.words import CONCEPTS
from unitlens.errors import UnitlensError, did_you_mean

PLACES: Mapping[str, Callable[[Canvas], None]] = {
    "beach": coast.beach,
    "harbour": coast.harbour,
    "ski_slope": outdoors.ski_slope,
    "forest": outdoors.forest,
    "campsite": outdoors.campsite,
    "farm": outdoors.farm,
    "city_street": outdoors.city_street,
    "playground": outdoors.playground,
    "living_room": indoors.living_room,
    "kitchen": indoors.kitchen,
    "bedroom": indoors.bedroom,
    "bathroom": indoors.bathroom,
}
_SPLITS = {"train": 0, "test": 1}


class Scenes:
    """Images of a drawn world, made when they are asked for.

    Every image is drawn from (seed, split, index) alone: the same in every process, in any order, and unlike any
    image of the other split. Image i shows class i modulo 12. The planes are those of
    ``unitlens.data.scenes.words.CATEGORIES``, all of them for every image, judged at every pixel.

    Parameters
    ----------
    images : int
        How many, 1 or more.
    seed : int
        Another seed, another world; 0 or more.
    split : {"test", "train"}
        The bundled network was trained on images of "train".
    size : int
        Pixels along a side, 16 or more.
    infrared : bool
        Whether images have a fourth band, near infrared (`unitlens.data.scenes.infrared`); ``bundled:scenes-infrared``
        takes it.

    Raises
    ------
    UnitlensError
        If a setting is out of its range.

    Examples
    --------
    >>> from unitlens.data.scenes.world import Scenes
    >>> data = Scenes(24)
    >>> data
    Scenes(24 images of 112 x 112, 12 classes, seed 0, split 'test')
    >>> data[3].class_, data[3].image.shape, sorted(data[3].planes)
    ('forest', (112, 112, 3), ['color', 'material', 'object', 'part'])
    >>> Scenes(24, infrared=True)[3].image.shape
    (112, 112, 4)
    """

    def __init__(
        self, images: int = 1000, *, seed: int = 0, split: str = "test", size: int = 112, infrared: bool = False
    ) -> None:
        check_drawing(split, images=images, seed=seed, size=size)
        self.infrared = infrared
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

    def __len__(self) -> int:
        return self._images

    def __getitem__(self, index: int, /) -> Example:
        if not -len(self) <= index < len(self):
            raise IndexError(f"Image {index} of {len(self)}.")
        index %= len(self)
        name = self.classes[index % len(PLACES)]
        canvas = Canvas(np.random.default_rng([self.seed, _SPLITS[self.split], index]), size=self.size)
        PLACES[name](canvas)
        image, planes = canvas.finish()
        if self.infrared:
            noise = np.random.default_rng([self.seed, _SPLITS[self.split], index, 1])
            image = np.dstack([image, infrared(image, planes, noise)])
        path = f"{self.split}-{self.seed}/{index:06d}-{name}.png"
        return Example(image, {category: [plane] for category, plane in planes.items()}, path, name)

    @property
    def exchangeable(self) -> bool:
        """Any first N images stand for all: they are drawn one by one, and their classes take turns."""
        return True

    @property
    def source(self) -> str:
        """What ``--data`` takes to draw them."""
        return "bundled:scenes-infrared" if self.infrared else "bundled:scenes"

    def __repr__(self) -> str:
        return (
            f"Scenes({len(self)} images of {self.size} x {self.size}, {len(PLACES)} classes, "
            f"seed {self.seed}, split {self.split!r}{', with infrared' if self.infrared else ''})"
        )


_LEAST = {"images": 1, "seed": 0, "size": 16}


def check_drawing(split: str, **settings: int) -> None:
    """Make sure that scenes can be drawn so: images, seed and size are large enough, and there is the split.

    Raises
    ------
    UnitlensError
        If one is out of its range.
    """
    if split not in _SPLITS:
        raise UnitlensError(f"There is no split {split!r}{did_you_mean(split, _SPLITS)}; use 'test' or 'train'.")
    for what, value in settings.items():
        if value < _LEAST[what]:
            raise UnitlensError(f"{what} is {value}; the drawn scenes need {what} of {_LEAST[what]} or more.")
