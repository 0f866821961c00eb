"""Concept sources: what computes label maps for images, or looks them up, stacked on any data set."""

import csv
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from unitlens.data.concepts import Class, Concept, Data, Example, described
from unitlens.data.reading import as_example
from unitlens.errors import UnitlensError, argument, did_you_mean


@runtime_checkable
class ConceptSource(Protocol):
    """Images in, label maps out; it looks, or it looks up."""

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


@dataclass(frozen=True, repr=False)
class StackedData:
    """A data set with the concepts of further sources; a `unitlens.data.concepts.Data`.

    Attributes
    ----------
    data : Data
        The images, and what is marked in them.
    sources : tuple of ConceptSource
        What marks more.
    own : bool
        Whether what is marked in the data itself counts too.
    """

    data: Data
    sources: tuple[ConceptSource, ...]
    own: bool

    @property
    def concepts(self) -> tuple[Concept, ...]:
        """Those of the data, then those of each source."""
        own = self.data.concepts if self.own else ()
        return tuple(Concept(*c) for some in (own, *(source.concepts for source in self.sources)) for c in some)

    @property
    def names(self) -> tuple[str, ...] | None:
        """The images' names, where the data lists them."""
        return described(self.data).names

    @property
    def not_images(self) -> tuple[str, ...]:
        """Files of the data that are no images."""
        return described(self.data).not_images

    @property
    def class_index(self) -> Mapping[str, int]:
        """The network's output for each class, where the data says so."""
        return described(self.data).class_index

    @property
    def classes(self) -> tuple[Class | None, ...] | None:
        """The classes of the images, where the data lists them."""
        return described(self.data).classes

    @property
    def exchangeable(self) -> bool:
        """Whether the first images of the data stand for all."""
        return described(self.data).exchangeable

    @property
    def source(self) -> str:
        """The data, and the sources."""
        of_data = described(self.data).source
        return " + ".join([of_data if self.own else f"images of {of_data}", *map(str, self.sources)])

    def __len__(self) -> int:
        return len(self.data)

    def __repr__(self) -> str:
        return f"<{self.source}: {len(self)} images, {len(self.concepts)} concepts>"

    def __getitem__(self, index: int, /) -> Example:
        example = as_example(self.data[index])
        planes: dict[str, Sequence[npt.NDArray[Any]]] = {**example.planes} if self.own else {}
        for source in self.sources:
            planes.update(source.planes(example.image, example.name))
        digest = None if example.file_digest is None else _digest(example.file_digest, planes)
        return Example(example.image, planes, example.name, example.class_, digest)


def with_concepts(data: Data, *sources: ConceptSource, own: bool = True) -> StackedData:
    """Stack concept sources on a data set.

    Parameters
    ----------
    data : Data
        Any images.
    *sources : ConceptSource
        `unitlens.data.colors.Colors`, `tags`, `folder_tags`, a segmenter of `unitlens.data.segmentation.segmenters`, or
        what else follows the protocol. What they mark is part of each image's digest.
    own : bool
        Whether what is marked in the data itself counts too.

    Raises
    ------
    UnitlensError
        If something is no source, or two of them mark the same category.
    """
    stacked = StackedData(data, sources, own)
    marked: dict[str, str] = {}
    parts: list[tuple[str, Iterable[Any]]] = [("the data itself", data.concepts)] if own else []
    for source in sources:
        if not isinstance(source, ConceptSource):
            raise UnitlensError(
                f"A {type(source).__name__} is no concept source: it needs concepts and planes(image, name)."
            )
        parts.append((str(source), source.concepts))
    for who, concepts in parts:
        for category in dict.fromkeys(Concept(*concept).category for concept in concepts):
            if category in marked:
                raise UnitlensError(
                    f"The category {category} is marked by {marked[category]} and by {who}: give one of them another "
                    f"name ({argument('category', option='--segmenter-category')}), or leave one out."
                )
            marked[category] = who
    return stacked


def _digest(file_digest: str, planes: Mapping[str, Sequence[npt.NDArray[Any]]]) -> str:
    hashed = hashlib.sha256(file_digest.encode())
    for category in sorted(planes):
        for plane in planes[category]:
            array = np.ascontiguousarray(plane)
            hashed.update(f"\n{category} {array.dtype.str} {array.shape}\n".encode() + array.tobytes())
    return hashed.hexdigest()


@dataclass(frozen=True, repr=False)
class Tags:
    """Words for whole images: a concept source.

    Attributes
    ----------
    of_image : mapping of str to sequence of (category, word)
        By the image's name. An image without a word of a category is not annotated for it.
    title : str
        Where they come from.
    """

    of_image: Mapping[str, Sequence[tuple[str, str]]]
    title: str

    @property
    def concepts(self) -> tuple[Concept, ...]:
        """The words of each category, in the order of the alphabet."""
        words = sorted({pair for pairs in self.of_image.values() for pair in pairs})
        labels: dict[str, int] = {}
        found = []
        for category, word in words:
            labels[category] = labels.get(category, 0) + 1
            found.append(Concept(category, labels[category], word))
        return tuple(found)

    def planes(self, image: npt.NDArray[np.uint8], name: str) -> Mapping[str, Sequence[npt.NDArray[np.uint16]]]:
        """One map of a single cell for each word."""
        label = {(concept.category, concept.name): concept.label for concept in self.concepts}
        planes: dict[str, list[npt.NDArray[np.uint16]]] = {}
        for category, word in self.of_image.get(name, ()):
            planes.setdefault(category, []).append(np.array([[label[category, word]]], np.uint16))
        return planes

    def __repr__(self) -> str:
        return self.title


def tags(path: str | Path, *, category: str = "scene") -> Tags:
    """Read words for whole images from a CSV file.

    Parameters
    ----------
    path : str or Path
        With a column image (the image's name in its data set), a column tag (or class, concept, scene, name), and
        possibly a column category. An image may have several rows.
    category : str
        Of rows that name none.

    Raises
    ------
    UnitlensError
        If there is no such file, it lacks a column, or holds no tag.
    """
    path = Path(path)
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = [{str(k).strip(): str(v or "").strip() for k, v in row.items()} for row in csv.DictReader(file)]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UnitlensError(f"The tags in {path} cannot be read ({error}).") from None
    columns = rows[0].keys() if rows else ()
    word = next((name for name in ("tag", "class", "concept", "scene", "name") if name in columns), None)
    if "image" not in columns or word is None:
        raise UnitlensError(
            f"{path} is no list of tags: it needs the columns image and tag, and has {', '.join(columns) or 'no row'}."
        )
    of_image: dict[str, list[tuple[str, str]]] = {}
    for row in rows:
        pair = (row.get("category") or category, row[word])
        if row[word] and pair not in of_image.setdefault(row["image"], []):
            of_image[row["image"]].append(pair)
    return Tags(of_image, f"tags of {path}")


def folder_tags(data: Data, *, category: str = "scene") -> Tags:
    """Take the name of each image's folder as a word for it.

    Parameters
    ----------
    data : Data
        With names that are paths.
    category : str
        Of the words.

    Raises
    ------
    UnitlensError
        If the images do not lie in folders.
    """
    names = described(data).names or ()
    folders = {name: PurePosixPath(name).parent.as_posix() for name in names}
    if not any(folder != "." for folder in folders.values()):
        raise UnitlensError(f"The images of {data!r} do not lie in folders whose names could be their tags.")
    return Tags({name: [(category, folder)] for name, folder in folders.items() if folder != "."}, "names of folders")


def check_names(found: Tags, data: Data) -> None:
    """Make sure that tags are about the images of a data set.

    Raises
    ------
    UnitlensError
        If none of them is.
    """
    names = described(data).names
    if names and not set(names) & found.of_image.keys():
        some = next(iter(found.of_image), "nothing")
        raise UnitlensError(
            f"The {found} name no image of the data; the first is {some}{did_you_mean(some, names)}, an image "
            f"{names[0]}."
        )
