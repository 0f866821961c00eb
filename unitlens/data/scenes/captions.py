"""What a drawn scene is captioned with: short phrases on what is in it, and nothing on where."""

from collections.abc import Iterator, Mapping

import numpy as np
import numpy.typing as npt

from unitlens.data.concepts import Example
from unitlens.data.scenes.words import CATEGORIES, COLORS, MATERIALS, OBJECTS, PARTS

Labels = npt.NDArray[np.integer]

KINDS: Mapping[str, tuple[str, ...]] = {
    "animal": ("cow", "sheep", "dog", "cat", "bird"),
    "vehicle": ("car", "bus", "tractor", "boat"),
    "building": ("house", "skyscraper", "barn", "lighthouse"),
    "furniture": ("sofa", "armchair", "table", "chair", "bookcase", "bed", "wardrobe", "cupboard"),
}
"""Objects that one word says together."""
STRIPED = ("towel", "lighthouse")
"""Objects that are drawn with stripes."""
LEAST = 0.002
"""Share of an image that a concept covers at least, to be worth a word."""
MOSTLY = 0.4
"""Share of an object that a colour or material covers at least, to be said of it."""


def captions(example: Example, *, visible: npt.NDArray[np.bool_] | None = None) -> tuple[str, ...]:
    """Short phrases on what is in a drawn scene: "red car", "house with brown roof", "metal car", "beach".

    Parameters
    ----------
    example : Example
        A drawn scene: each plane has one map, of the size of the image.
    visible : array of bool, height x width, optional
        The pixels that are captioned; all, unless given. Of a part nobody says which scene it is from.

    Returns
    -------
    tuple of str
        Each once; of concepts that cover 0.2 % of the visible pixels or more.

    Examples
    --------
    >>> from unitlens.data.scenes.world import Scenes
    >>> captions(Scenes(24)[0])[:4]
    ('beach', 'sky', 'grey sky', 'mountain')
    """
    shown = {
        category: maps[0] if visible is None else maps[0][visible]
        for category, maps in example.planes.items()
        if category in CATEGORIES
    }
    scene = [str(example.class_).replace("_", " ")] if visible is None else []
    return tuple(dict.fromkeys([*scene, *_phrases(shown)]))


def _phrases(shown: Mapping[str, Labels]) -> Iterator[str]:
    """What is said of each object, of its parts and its materials; then the names of parts, materials and colours."""
    objects, parts, colors, materials = (shown[name].ravel() for name in ("object", "part", "color", "material"))
    least = max(1.0, LEAST * len(objects))
    for label in _large(objects, least):
        name, at = OBJECTS[label - 1], objects == label
        color = _main(colors[at], COLORS)
        yield name
        if color:
            yield f"{color} {name}"
        yield from (kind for kind, members in KINDS.items() if name in members)
        if name in STRIPED:
            yield f"striped {name}"
        material = _main(materials[at], MATERIALS)
        if material:
            yield f"{material} {name}"
        for part in _large(parts[at], least):
            with_color = _main(colors[at & (parts == part)], COLORS)
            yield f"{name} with {f'{with_color} {PARTS[part - 1]}'.strip()}"
    for labels, names in ((parts, PARTS), (materials, MATERIALS), (colors, COLORS)):
        yield from (names[label - 1] for label in _large(labels, least))


def _large(labels: Labels, least: float) -> list[int]:
    """The labels of at least so many pixels, in their order; 0 is none."""
    counts = np.bincount(labels)
    return [label for label in range(1, len(counts)) if counts[label] >= least]


def _main(labels: Labels, names: tuple[str, ...]) -> str:
    """What most of an object is, if it is clear; else nothing."""
    counts = np.bincount(labels, minlength=1 + len(names))[1:]
    return names[int(counts.argmax())] if counts.max() >= MOSTLY * len(labels) > 0 else ""
