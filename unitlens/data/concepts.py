"""What is marked in images: concepts, examples, and the protocols that data sets and concept sources follow."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from unitlens.errors import UnitlensError

NOT_JUDGED = 65535
"""The value of a position that nobody judged, in the 16-bit label maps that unitlens makes; `Example` has those that
maps of other types may hold. 0 is judged, and none of the concepts."""


class Concept(NamedTuple):
    """A word for a region.

    Attributes
    ----------
    category : str
        Its kind: object, part, material, texture, color, scene, ...
    label : int
        Its id in the label maps of the category, 1 or more.
    name : str
        The word. Identity is (category, name).
    """

    category: str
    label: int
    name: str


def told_apart(concepts: Sequence[tuple[str, str]]) -> list[str]:
    """How concepts are written, each a category and a name: category/name where several have the name.

    Examples
    --------
    >>> told_apart([("object", "tree"), ("color", "orange"), ("object", "orange")])
    ['tree', 'color/orange', 'object/orange']
    """
    count = Counter(name for _, name in concepts)
    return [f"{category}/{name}" if count[name] > 1 else name for category, name in concepts]


class Example(NamedTuple):
    """One image and what is marked in it.

    Attributes
    ----------
    image : array, height x width x bands
        Of 8-bit images uint8, mostly RGB (EXIF rotation done); of others uint16 or floats (docs/bands.md). In data
        whose examples are latents, the latent of an image that is yet to be drawn, of any shape.
    planes : mapping of str to sequence of integer arrays
        For each category that the image is annotated for, one or more label maps (rows x columns, of the image's
        aspect ratio; for a latent, of the whole image that is drawn): 0 is none. In maps of uint8, 255 is not judged;
        of uint16, 65535 (255 is a label like others); of any other type negative values, 255 and 65535 are. An absent
        category is not annotated.
    name : str
        Unique in the data set; for files, the POSIX path under ``images/``.
    class_ : str or int or None
        The class of the whole image, where it is known.
    file_digest : str or None
        SHA-256 of the files that the example was read from; None for what was made in memory. It tells which of the
        two the image's fold is drawn from: its name, or its bytes.
    group : str or None
        What the image belongs to with others: a video, a place, a patient. Images of a group are one draw in every
        statistic; None: the image is a group of its own.
    exact : array of floats, height x width x bands, or None
        The image as it was given in memory, where ``image`` has been brought to 8 bits, for networks with a range of
        their own.
    """

    image: npt.NDArray[Any]
    planes: Mapping[str, Sequence[npt.NDArray[Any]]]
    name: str
    class_: str | int | None = None
    file_digest: str | None = None
    group: str | None = None
    exact: npt.NDArray[Any] | None = None


@runtime_checkable
class ConceptSource(Protocol):
    """Images in, label maps out, computed or looked up."""

    @property
    def concepts(self) -> Sequence[Concept]:
        """Every concept that it may mark."""
        ...

    def planes(self, image: npt.NDArray[np.uint8], name: str, /) -> Mapping[str, Sequence[npt.NDArray[Any]]]:
        """The label maps of an image for each category, as in `unitlens.Example`.

        Parameters
        ----------
        image : uint8 array, (height, width, 3)
        name : str
            Of the image in its data set.
        """
        ...


Ious = Mapping[tuple[str, str], float]
"""IoUs of concepts, by (category, name)."""


@runtime_checkable
class MeasuredSource(ConceptSource, Protocol):
    """A concept source that was compared with the truth: no number that rests on its marks is better known."""

    @property
    def ious(self) -> Ious:
        """IoU of what it marks with what is there, on images that did not train it; of some concepts, or of all."""
        ...


@runtime_checkable
class FingerprintedSource(ConceptSource, Protocol):
    """A concept source that says when it has become another one."""

    @property
    def fingerprint(self) -> str | None:
        """Changes whenever its marks may change; None where that cannot be known."""
        ...


def ious_of(sources: Iterable[ConceptSource]) -> dict[tuple[str, str], float]:
    """How good the marks of some sources are, where they say it.

    Raises
    ------
    UnitlensError
        If an IoU is none.
    """
    ious: dict[tuple[str, str], float] = {}
    for source in sources:
        for (category, name), iou in source.ious.items() if isinstance(source, MeasuredSource) else ():
            if not 0 <= iou <= 1:
                raise UnitlensError(f"{source} has an IoU of {iou} with {category}/{name}; an IoU lies in [0, 1].")
            ious[category, name] = float(iou)
    return ious


Class = str | int
"""The class of a whole image: its name, or the number of the network's output."""


@runtime_checkable
class Data(Protocol):
    """Annotated images: anything with a length, concepts, and examples by index.

    It may have further members, all of which are declared in `DataDescription`, `ListedFiles` and `EncodedData`; those
    of `DataDescription` one by one, or together as a member ``description``, as data that stand on other data have
    them.
    """

    @property
    def concepts(self) -> Sequence[Concept]:
        """Every concept that may be marked."""
        ...

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Example: ...


@runtime_checkable
class EncodedData(Protocol):
    """Data whose files can be read without decoding them, which takes most of the time."""

    def encoded(self, index: int, /) -> Example:
        """The example of an index; its image and label maps may be `unitlens.data.images.Encoded`."""
        ...


class Finding(NamedTuple):
    """Something that is wrong with annotated images: its kind, and a sentence."""

    kind: str
    text: str


def name_findings(kind: str, names: Iterable[str], text: str, *, most: int = 20) -> Iterator[Finding]:
    """A finding for each of some names, up to a number, and then how many more there are.

    Parameters
    ----------
    kind : str
    names : iterable of str
    text : str
        The sentence, with ``{name}`` in it.
    most : int
        So many names at most.

    Examples
    --------
    >>> [finding.text for finding in name_findings("missing image", ["a", "b", "c"], "{name} is not there.", most=2)]
    ['a is not there.', 'b is not there.', 'The same is true of 1 more.']
    """
    names = list(names)
    yield from (Finding(kind, text.replace("{name}", name)) for name in names[:most])
    if len(names) > most:
        yield Finding(kind, f"The same is true of {len(names) - most:,} more.")


@runtime_checkable
class ListedFiles(Protocol):
    """Data whose lists and files can contradict each other in ways that reading the images does not tell."""

    def file_findings(self) -> Iterable[Finding]:
        """Files that are listed and not there, or there and not listed, so that they are left out."""
        ...


@dataclass(frozen=True)
class DataDescription:
    """The optional members of `Data`: an attribute of the same name, or what stands here where there is none.

    Attributes
    ----------
    source : str
        What ``--data`` takes to open the data again, or any other title; else their ``repr``.
    names : tuple of str or None
        The name of each image, in their order; else only reading an image tells its name.
    classes : tuple of str, int or None, or None
        The classes of the images, each image's own or each class once; else only reading the images tells them.
    class_index : mapping of str to int
        The network's output for each class; else empty, and classes are joined with outputs by their names.
    categories : tuple of str or None
        The categories that any image is annotated for; else those of the concepts.
    not_images : tuple of str
        Files that lie among the images and are none.
    grouped : bool
        Whether images belong together: examples have groups.
    exchangeable : bool
        Whether the first N images stand for all of them, whatever N is, as where they are drawn at will: a limit takes
        those, and otherwise spreads over all images.
    of_latents : bool
        Whether the examples are latents, and the images that units are compared with are drawn from them.
    drawn_sources : tuple of ConceptSource
        What marks these images once they are drawn.
    ious : mapping of (str, str) to float
        How good the marks of a concept are, by (category, name), where its source says it (`MeasuredSource`).
    subgroups : mapping of str to str
        Kinds of images that the data name, by the images' names: accuracy can be taken of each.
    """

    source: str
    names: tuple[str, ...] | None = None
    classes: tuple[Class | None, ...] | None = None
    class_index: Mapping[str, int] = field(default_factory=dict)
    categories: tuple[str, ...] | None = None
    not_images: tuple[str, ...] = ()
    grouped: bool = False
    exchangeable: bool = False
    of_latents: bool = False
    drawn_sources: tuple[ConceptSource, ...] = ()
    ious: Ious = field(default_factory=dict)
    subgroups: Mapping[str, str] = field(default_factory=dict)


def described(data: Data) -> DataDescription:
    """Read what a data set says of itself; the one place where its optional members are looked for.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> described(SimpleNamespace(source="photos", names=["a.jpg"])).names
    ('a.jpg',)
    """
    description = getattr(data, "description", None)
    if isinstance(description, DataDescription):
        return description

    def optional(name: str) -> tuple[Any, ...] | None:
        value = getattr(data, name, None)
        return None if value is None else tuple(value)

    return DataDescription(
        source=str(getattr(data, "source", None) or repr(data)),
        names=optional("names"),
        classes=optional("classes"),
        class_index=dict(getattr(data, "class_index", None) or {}),
        categories=optional("categories"),
        not_images=optional("not_images") or (),
        grouped=bool(getattr(data, "grouped", False)),
        exchangeable=bool(getattr(data, "exchangeable", False)),
        of_latents=bool(getattr(data, "of_latents", False)),
        drawn_sources=optional("drawn_sources") or (),
        ious=dict(getattr(data, "ious", None) or {}),
        subgroups=dict(getattr(data, "subgroups", None) or {}),
    )
