"""Latents as a data set: drawn from a seed, or given, each standing for the image that a generator draws from it."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from numbers import Integral
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from unitlens.data.concepts import Concept, Data, DataDescription, Example, described
from unitlens.data.reading import as_example
from unitlens.errors import UnitlensError, argument
from unitlens.files import read_arrays, read_npy
from unitlens.plurals import counted

PREFIX = "latents:"
"""Of the names by which latents are opened: ``latents:100x1x1,seed=0``, ``latents:FILE.npy``."""

FILES = (".npy", ".safetensors")
DRAWN = 1000

MOST_NUMBERS, MOST_CLASSES = 1 << 27, 1 << 20
"""Of a latent, and of a generator: names of latents are also read from files, which may say anything."""

Classes = tuple[int, ...] | None


@dataclass(frozen=True)
class DrawnLatents:
    """Latents drawn from the normal distribution; a `unitlens.data.concepts.Data`.

    Latent i follows from (seed, i) alone, so that the first are the same however many there are.

    Attributes
    ----------
    shape : tuple of int
        Of one latent.
    count : int
    seed : int
    classes : tuple of int or None
        Of class-conditional generators: latent i is of class ``classes[i % len(classes)]``, which stands behind its
        numbers (see `unitlens.models.latents.LatentInput`).
    """

    shape: tuple[int, ...]
    count: int
    seed: int = 0
    classes: Classes = None

    @property
    def concepts(self) -> tuple[Concept, ...]:
        """None: nothing is marked before an image is drawn."""
        return ()

    @cached_property
    def description(self) -> DataDescription:
        """What they are, and how they are drawn again."""
        name = _name(self.shape, self.seed, self.classes)
        return DataDescription(name, classes=self.classes, exchangeable=True, of_latents=True)

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int, /) -> Example:
        if not 0 <= index < self.count:
            raise IndexError(f"Latent {index} of {self.count}.")
        latent = np.random.default_rng([self.seed, index]).standard_normal(self.shape, np.float32)
        class_ = None if self.classes is None else self.classes[index % len(self.classes)]
        return Example(_with_class(latent, class_), {}, f"latent-{index:06d}", class_)


@dataclass(frozen=True, eq=False, repr=False)
class GivenLatents:
    """Latents of an array or a file; a `unitlens.data.concepts.Data`.

    Attributes
    ----------
    array : float array, (N, ...)
    source : str
        Where they are from.
    classes : tuple of int or None
        The class of each, of class-conditional generators.
    masks : Data or None
        What is marked in the images that are drawn from them, one for each latent.
    """

    array: npt.NDArray[Any]
    source: str
    classes: Classes = None
    masks: Data | None = None

    @property
    def concepts(self) -> Sequence[Concept]:
        """Those of the masks."""
        return () if self.masks is None else self.masks.concepts

    @cached_property
    def description(self) -> DataDescription:
        """What they are; with masks, the names and groups of their images."""
        if self.masks is None:
            return DataDescription(self.source, classes=self.classes, of_latents=True)
        of_masks = described(self.masks)
        return DataDescription(
            f"{self.source} with masks of {of_masks.source}",
            names=of_masks.names,
            classes=of_masks.classes if self.classes is None else self.classes,
            class_index=of_masks.class_index,
            categories=of_masks.categories,
            grouped=of_masks.grouped,
            of_latents=True,
            ious=of_masks.ious,
        )

    def __len__(self) -> int:
        return len(self.array)

    def __repr__(self) -> str:
        shape = " x ".join(map(str, self.array.shape[1:]))
        return f"<{self.description.source}: {counted(len(self), 'latent')} of {shape}>"

    def __getitem__(self, index: int, /) -> Example:
        class_ = None if self.classes is None else self.classes[index]
        latent = _with_class(np.asarray(self.array[index], np.float32), class_)
        if self.masks is None:
            return Example(latent, {}, f"latent-{index:06d}", class_)
        marked = as_example(self.masks[index])
        return Example(
            latent, marked.planes, marked.name, marked.class_ if class_ is None else class_, group=marked.group
        )


def _with_class(latent: npt.NDArray[np.float32], class_: int | None) -> npt.NDArray[np.float32]:
    return latent if class_ is None else np.append(latent.ravel(), np.float32(class_))


def latents(
    source: int | Sequence[int] | str | Path | npt.NDArray[Any] | Any,
    n: int | None = None,
    *,
    seed: int = 0,
    classes: int | Sequence[int] | None = None,
    masks: Data | None = None,
) -> DrawnLatents | GivenLatents:
    """Make a data set of latents, from which a generator draws the images that its units are compared with.

    Parameters
    ----------
    source : shape, path, or array
        The shape of one latent, such as (100, 1, 1), 512 for a vector: they are drawn from the normal distribution,
        latent i from (seed, i) alone, so that the first are the same whatever their number. Or a file of latents,
        ``.npy`` or ``.safetensors``, or an array or tensor, (N, ...).
    n : int, optional
        How many: 1,000, or all that there are.
    seed : int
        Of those that are drawn.
    classes : int or sequence of int, optional
        For class-conditional generators. Of drawn latents, the classes to draw, in turns, or how many the generator
        has; of given ones, the class of each.
    masks : Data, optional
        What is marked in the images drawn from given latents, such as photos that were encoded: annotated images, one
        for each latent, whose label maps show the whole image that is drawn. Without it nothing is marked, and a source
        of concepts looks at what is drawn: `with_concepts`.

    Returns
    -------
    Data

    Raises
    ------
    UnitlensError
        If there is no such file, or a number is not possible.

    Examples
    --------
    >>> import unitlens as ul
    >>> few, many = ul.latents((100, 1, 1), 2), ul.latents((100, 1, 1), 1000)
    >>> few[1].image.shape, bool((few[1].image == many[1].image).all())
    ((100, 1, 1), True)
    """
    if n is not None and (isinstance(n, bool) or not isinstance(n, int) or n < 1):
        raise UnitlensError(f"{n!r} latents were asked for; give a whole number, 1 or more.")
    shape = _as_shape(source)
    if shape is not None:
        if masks is not None:
            raise UnitlensError("masks= is for latents that are given: give the array of those that were encoded.")
        return _drawn(shape, n, seed, classes)
    if isinstance(source, str | Path):
        array, title = _read_latents(Path(source)), f"{PREFIX}{source}"
    else:
        array, title = _as_array(source), "latents in memory"
    return _given(array, title, n, classes, masks)


def _as_shape(source: Any) -> tuple[int, ...] | None:
    """The shape of a latent, where it is one."""
    if isinstance(source, Integral):
        return (int(source),)
    is_shape = isinstance(source, tuple | list) and all(isinstance(side, Integral) for side in source)
    return tuple(int(side) for side in source) if is_shape else None


def _drawn(sides: tuple[int, ...], n: int | None, seed: int, classes: int | Sequence[int] | None) -> DrawnLatents:
    if not sides or min(sides) < 1 or math.prod(sides) > MOST_NUMBERS:
        raise UnitlensError(
            f"The shape of a latent is {sides}; it is one or more sizes, such as (100, 1, 1), of {MOST_NUMBERS:,} "
            "numbers at most."
        )
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise UnitlensError(f"{argument('seed', seed)} must be 0 or more.")
    if isinstance(classes, int) and classes > MOST_CLASSES:
        raise UnitlensError(f"A generator was said to have {classes:,} classes; {MOST_CLASSES:,} are the most.")
    of = range(classes) if isinstance(classes, int) else classes
    chosen = None if of is None else tuple(int(class_) for class_ in of)
    if chosen is not None and (not chosen or min(chosen) < 0):
        raise UnitlensError(f"classes is {classes!r}; it is how many there are, or their numbers, from 0.")
    return DrawnLatents(sides, DRAWN if n is None else n, seed, chosen)


def _given(
    array: npt.NDArray[Any], title: str, n: int | None, classes: int | Sequence[int] | None, masks: Data | None
) -> GivenLatents:
    count = len(array) if n is None else n
    if count > len(array):
        raise UnitlensError(f"{title} has {counted(len(array), 'latent')}, and {count} were asked for.")
    if isinstance(classes, int):
        raise UnitlensError(f"classes is {classes}; of latents that are given it is the class of each.")
    if classes is not None and len(classes) != len(array):
        raise UnitlensError(f"{len(classes)} classes were given for {len(array)} latents: give one for each.")
    if masks is not None and len(masks) != len(array):
        raise UnitlensError(f"{len(masks)} masked images were given for {len(array)} latents: give one for each.")
    if masks is not None and described(masks).of_latents:
        raise UnitlensError("masks= takes annotated images, and these are latents.")
    chosen = None if classes is None else tuple(int(class_) for class_ in classes[:count])
    return GivenLatents(array[:count], title, chosen, masks)


def _as_array(source: Any) -> npt.NDArray[Any]:
    array: npt.NDArray[Any] = np.asarray(source.detach().cpu() if hasattr(source, "detach") else source)
    if array.ndim < 2 or array.dtype.kind not in "fiu" or not array.size:
        raise UnitlensError(
            f"Latents were given as {array.dtype} of the shape {array.shape}; they are numbers, (N, ...), or the shape "
            "of one, such as (100, 1, 1)."
        )
    return array


def _read_latents(path: Path) -> npt.NDArray[Any]:
    """Read an array of latents; one of ``.npy`` stays on disk."""
    if path.suffix not in FILES:
        raise UnitlensError(f"{path} is not a file of latents: give {' or '.join(FILES)}, an array of (N, ...).")
    if not path.is_file():
        raise UnitlensError(f"There is no file {path}.")
    if path.suffix == ".npy":
        return _as_array(read_npy(path, mapped=True))
    arrays: Mapping[str, npt.NDArray[Any]] = read_arrays(path)
    if len(arrays) != 1:
        raise UnitlensError(f"{path} holds {len(arrays)} arrays ({', '.join(sorted(arrays)[:5])}); latents are one.")
    return _as_array(next(iter(arrays.values())))


def drawn_name(shape: tuple[int, ...], *, seed: int, classes: int | None) -> str:
    """The name by which `open_data` draws latents of a shape, of all classes in turns.

    Examples
    --------
    >>> drawn_name((100, 1, 1), seed=0, classes=10)
    'latents:100x1x1,seed=0,classes=0-9'
    """
    return _name(shape, seed, None if classes is None else tuple(range(classes)))


def _name(shape: tuple[int, ...], seed: int, classes: Classes) -> str:
    of = "" if classes is None else f",classes={_spell(classes)}"
    return f"{PREFIX}{'x'.join(map(str, shape))},seed={seed}{of}"


def _spell(classes: tuple[int, ...]) -> str:
    """Classes in a name: 0-9 for all of a range, else 3+5."""
    first, last = classes[0], classes[-1]
    return f"{first}-{last}" if classes == tuple(range(first, last + 1)) else "+".join(map(str, classes))


def _unspell(classes: str) -> list[int]:
    first, dash, last = classes.partition("-")
    if not dash:
        return [int(class_) for class_ in classes.split("+")]
    if int(last) - int(first) >= MOST_CLASSES:
        raise ValueError(classes)
    return list(range(int(first), int(last) + 1))


def named_latents(name: str, n: int | None, seed: int) -> DrawnLatents | GivenLatents:
    """Open latents by their name, as run.json records it.

    Parameters
    ----------
    name : str
        ``latents:100x1x1``, with ``,seed=3`` and ``,classes=0-9`` or ``,classes=3+5`` where they are, or
        ``latents:FILE.npy``.
    n : int or None
        How many are drawn; of a file they are all.
    seed : int
        Where the name says none.

    Raises
    ------
    UnitlensError
        If it is no such name, or there is no such file.

    Examples
    --------
    >>> named_latents("latents:8x4x4,seed=3", 2, 0)
    DrawnLatents(shape=(8, 4, 4), count=2, seed=3, classes=None)
    """
    what = name.removeprefix(PREFIX)
    if what.endswith(FILES):
        return latents(what)
    shape, *further = what.split(",")
    try:
        sides = tuple(int(side) for side in shape.split("x"))
        options = dict(one.split("=", 1) for one in further)
        seed = int(options.pop("seed", seed))
        of = options.pop("classes", None)
        classes = None if of is None else _unspell(of)
        if options:
            raise ValueError(options)
    except ValueError:
        raise UnitlensError(
            f"There are no latents {name!r}; there are latents:100x1x1 (their shape), latents:100x1x1,seed=3 and "
            f"latents:FILE with a file of {' or '.join(FILES)}."
        ) from None
    return latents(sides, n, seed=seed, classes=classes)
