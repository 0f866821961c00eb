"""How images are read: the settings, which images are taken, and what a data set gives for one of them."""

import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any, NamedTuple

import numpy as np

from unitlens.data.concepts import Concept, Data, DataDescription, EncodedData, Example, described
from unitlens.data.images import Encoded, size_of, unreadable
from unitlens.data.pixels.files import UnreadableError
from unitlens.data.workers import in_batches
from unitlens.errors import UnitlensError, UnitlensWarning, argument
from unitlens.models.bands.limits import MOST_BANDS


class Unread(NamedTuple):
    """An image that was left out, and why."""

    image: str
    reason: str


_NOTED: ContextVar[list[Unread] | None] = ContextVar("unitlens.unread", default=None)


@contextmanager
def noting_unread() -> Iterator[list[Unread]]:
    """Collect all images that are left out inside of the ``with``, in whatever loop over images, and before it stopped.

    Whoever calls what looks at images knows so whether it saw all of them, though its result does not say that.

    Yields
    ------
    list of Unread
        Those so far.
    """
    noted, outer = list[Unread](), _NOTED.get()
    token = _NOTED.set(noted)
    try:
        yield noted
    finally:
        _NOTED.reset(token)
        if outer is not None:
            outer += noted


def note_unread(unread: Iterable[Unread]) -> list[Unread]:
    """Let `noting_unread` know of images that are left out, and return them."""
    listed, noted = list(unread), _NOTED.get()
    if noted is not None:
        noted += listed
    return listed


def left_out_notes(unread: Sequence[Unread]) -> list[str]:
    """Say in a sentence how many files were left out, and why the first was; nothing where none was."""
    if not unread:
        return []
    files = "1 file was" if len(unread) == 1 else f"{len(unread)} files were"
    return [f"{files} left out, such as {unread[0].image}: {unread[0].reason}."]


@contextmanager
def warning_of_unread() -> Iterator[None]:
    """Warn of images that are left out inside of the ``with``, for functions whose results do not say so."""
    with noting_unread() as unread:
        yield
    for note in left_out_notes(list(dict.fromkeys(unread))):  # a pass that is stored and read again notes them twice
        warnings.warn(note, UnitlensWarning, stacklevel=4)


class Part(NamedTuple):
    """A share of the images that are read; by default all of them.

    Attributes
    ----------
    number : int
        Which of the parts, from 0.
    parts : int
        How many there are.
    """

    number: int = 0
    parts: int = 1

    @classmethod
    def of(cls, shard: tuple[int, int]) -> "Part":
        """Return the part that is called (1, 8), the first of eight.

        Raises
        ------
        UnitlensError
            If there is no such part.
        """
        pair = isinstance(shard, tuple | list) and len(shard) == 2 and all(type(number) is int for number in shard)
        if not pair or not 1 <= shard[0] <= shard[1]:
            raise UnitlensError(
                f"{argument('shard', shard)} is not a part: it is which one of how many, from (1, 8) to (8, 8)."
            )
        return cls(shard[0] - 1, shard[1])

    def stretch(self, total: int, batch_size: int) -> slice:
        """Return the stretch of so many images that it is: whole batches, so that parts have the batches of all images.

        Examples
        --------
        >>> [Part(number, 3).stretch(10, 4) for number in range(3)]
        [slice(0, 4, None), slice(4, 8, None), slice(8, 10, None)]
        >>> [Part(number, 3).stretch(5, 4) for number in range(3)]
        [slice(0, 0, None), slice(0, 4, None), slice(4, 5, None)]
        """
        batches = -(-total // batch_size)
        first, last = (batches * number // self.parts for number in (self.number, self.number + 1))
        return slice(min(total, first * batch_size), min(total, last * batch_size))


ALL = Part()


@dataclass(frozen=True)
class Reading:
    """How the images of a data set are read.

    Attributes
    ----------
    batch_size : int
        Images at a time.
    workers : int
        Processes that decode images; 0: this one.
    limit : int or None
        Read only so many images, spread evenly over the data set; None: all.
    seed : int
        Which images a limit takes.
    strict : bool
        Whether an image that cannot be read is an error; else it is left out and named.
    progress : bool
        Whether progress is shown.
    part : Part
        Which of these images are read here; the others are read elsewhere.
    """

    batch_size: int = 32
    workers: int = 0
    limit: int | None = None
    seed: int = 0
    strict: bool = False
    progress: bool = False
    part: Part = ALL

    def __post_init__(self) -> None:
        for name, value, smallest in (
            ("batch_size", self.batch_size, 1),
            ("workers", self.workers, 0),
            ("limit", self.limit, 1),
        ):
            if value is not None and value < smallest:
                raise UnitlensError(f"{argument(name, value)} must be {smallest} or more.")


def chosen_images(data: Data, limit: int | None, *, seed: int = 0) -> Sequence[int]:
    """Indices of the images that are read, in the order of the data set.

    A limit of N cuts the data set into N stretches of equal length and takes one image of each, at random: in a data
    set that is sorted by class or place, every class and place has its share. Of exchangeable images, which are drawn
    at will, it takes the first.

    Parameters
    ----------
    data : Data
    limit : int or None
        How many; None, or more than there are: all.
    seed : int
        Another seed takes other images.

    Examples
    --------
    >>> chosen_images(range(10), 3), chosen_images(range(10), 99)
    ([2, 4, 8], range(0, 10))
    """
    total = len(data)
    if limit is not None and limit < total and described(data).exchangeable:
        return range(limit)
    return spread(total, limit, seed=seed)


def spread(total: int, limit: int | None, *, seed: int = 0) -> Sequence[int]:
    """One index of each of ``limit`` stretches of equal length, at random; all, where there are no more than that.

    Examples
    --------
    >>> spread(10, 3), spread(10, 99)
    ([2, 4, 8], range(0, 10))
    """
    if limit is None or limit >= total:
        return range(total)
    edges = np.arange(limit + 1) * total // limit
    chosen: list[int] = np.random.default_rng(seed).integers(edges[:-1], edges[1:]).tolist()
    return chosen


@dataclass(frozen=True)
class Subset:
    """Some images of a data set, by their indices; a `unitlens.data.concepts.Data`."""

    data: Data
    indices: Sequence[int]

    @property
    def concepts(self) -> Sequence[Concept]:
        """Those of the whole data set."""
        return self.data.concepts

    @cached_property
    def description(self) -> DataDescription:
        """That of the whole data set, with the names of these images; classes mean the same outputs."""
        whole = described(self.data)
        names = None if whole.names is None else tuple(whole.names[index] for index in self.indices)
        return replace(whole, names=names, not_images=(), exchangeable=False)

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int, /) -> Example:
        return self.data[self.indices[index]]

    def encoded(self, index: int, /) -> Example:
        """The example of an index, with files that are not decoded yet, if the whole data set gives such."""
        return encoded_example(self.data, self.indices[index])


@dataclass(frozen=True)
class ExampleRead:
    """What a data set gave for an index: an example, or why there is none."""

    index: int
    example: Example | UnitlensError


def read_examples(
    data: Data, indices: Sequence[int] | None = None, *, bands: int | None = None
) -> Iterator[ExampleRead]:
    """Read one image after another, without a network.

    Parameters
    ----------
    data : Data
    indices : sequence of int, optional
        Of the images to read; all, unless given.
    bands : int, optional
        How many are wanted of an image, see `unitlens.data.pixels.files.decode_pixels`.

    Yields
    ------
    ExampleRead
    """
    order = range(len(data)) if indices is None else indices
    description = described(data)
    one = partial(_example_or_error, data, description.names, description.of_latents, bands)
    read = in_batches(one, order, batch_size=1, workers=0)
    for index, (example,) in zip(order, read, strict=True):
        yield ExampleRead(index, example)


def _example_or_error(
    data: Data, names: Sequence[str] | None, of_latents: bool, bands: int | None, index: int
) -> Example | UnitlensError:
    try:
        if bands is None:
            return read_example(data, index, names, of_latents=of_latents)
        return decoded(read_example(data, index, names, encoded=True), bands=bands)
    except UnitlensError as error:
        return error


def encoded_example(data: Data, index: int) -> Example:
    """The example of an index, with files that are not decoded yet where the data set gives such."""
    return data.encoded(index) if isinstance(data, EncodedData) else as_example(data[index])


def decoded(example: Example, *, bands: int | None = None) -> Example:
    """The same example, with its image and label maps as arrays; of the image so many bands, where it is a file.

    Raises
    ------
    UnreadableError
        If a file is no image or is cut short.
    """
    planes = {category: [np.asarray(plane) for plane in maps] for category, maps in example.planes.items()}
    file: object = example.image
    image = file.pixels(bands) if isinstance(file, Encoded) and bands is not None else np.asarray(file)
    return example._replace(image=image, planes=planes)


def read_example(
    data: Data, index: int, names: Sequence[str] | None, *, of_latents: bool = False, encoded: bool = False
) -> Example:
    """Read an image; whatever the data set raises becomes a sentence that names the image.

    Parameters
    ----------
    data : Data
    index : int
    names : sequence of str or None
        The names that the data set lists, if any.
    of_latents : bool
        Whether its examples are latents.
    encoded : bool
        Whether files need not be decoded, see `unitlens.data.concepts.EncodedData`.

    Raises
    ------
    UnreadableError
        If the data set raises an error of its own.
    UnitlensError
        If what it gives is not an example.
    """
    try:
        if encoded:
            return encoded_example(data, index)
        return as_latent(data[index]) if of_latents else as_example(data[index])
    except UnitlensError:
        raise
    except OSError as error:  # a folder that may not be entered, a disk that is gone
        raise unreadable(error, error.filename or image_name(names, index)) from error
    except Exception as error:  # also a StopIteration, which would end the loop as if there were no more images
        message = ": ".join(filter(None, (type(error).__name__, str(error).rstrip("."))))
        raise UnreadableError(f"{image_name(names, index)} cannot be read; the data set raises {message}.") from error


def image_name(names: Sequence[str] | None, index: int) -> str:
    """The name of an image that cannot be read, where the data set lists names, or else its index."""
    return f"image {index}" if names is None or index >= len(names) else names[index]


def as_example(item: Any) -> Example:
    """Whatever has the attributes of an example, or is a tuple of them, as one.

    Raises
    ------
    UnitlensError
        If it is neither, or its image is no array of numbers, height x width or height x width x bands.
    """
    example = _read_fields(item)
    image, name = example.image, example.name
    if image.ndim == 2:
        image = image[:, :, None]
    if image.ndim != 3 or not 1 <= image.shape[2] <= MOST_BANDS or image.dtype.kind not in "buif" or not image.size:
        raise UnitlensError(
            f"The image {name} is {image.dtype}, {size_of(image)}; an image is uint8, uint16 or of floats, height x "
            f"width x bands, such as 3 (RGB), {MOST_BANDS} at most."
        )
    return example._replace(image=image)


def as_latent(item: Any) -> Example:
    """The same, with a latent in place of the image: float32, of any shape.

    Raises
    ------
    UnitlensError
        If it is not an example, or the latent is not of finite numbers.
    """
    example = _read_fields(item)
    latent = example.image
    if latent.dtype.kind not in "fiu" or not latent.size or not latent.ndim:
        raise UnitlensError(
            f"The latent {example.name} is {latent.dtype} of the shape {latent.shape}; a latent is an array of numbers."
        )
    latent = np.ascontiguousarray(latent, np.float32)
    if not np.isfinite(latent).all():
        raise UnitlensError(f"The latent {example.name} has NaN or infinite numbers: leave it out.")
    return example._replace(image=latent)


def _read_fields(item: Any) -> Example:
    """Whatever has the attributes of an example, or is a tuple of them."""
    try:
        item = Example(*item) if isinstance(item, tuple) and not hasattr(item, "image") else item
        image, planes, name = np.asarray(item.image), item.planes, str(item.name)
    except (AttributeError, TypeError):
        raise UnitlensError(
            f"The data set gives a {type(item).__name__}, which is not an example: it has image, planes, name and, "
            "optionally, class_ (see unitlens.Example), as attributes or as a tuple in this order."
        ) from None
    group = getattr(item, "group", None)
    return Example(
        image,
        planes,
        name,
        getattr(item, "class_", None),
        getattr(item, "file_digest", None),
        None if group is None else str(group),
        getattr(item, "exact", None),
    )
