"""Concept sources: what computes label maps for images, or looks them up, stacked on any data set."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from unitlens.data.concepts import (
    Class,
    Concept,
    ConceptSource,
    Data,
    Example,
    Finding,
    ListedFiles,
    described,
    ious_of,
)
from unitlens.data.reading import as_example, as_latent, encoded_example
from unitlens.data.tags import Tags
from unitlens.errors import UnitlensError, argument
from unitlens.plurals import counted


@dataclass(frozen=True, repr=False)
class StackedData:
    """A data set with the concepts of further sources; a `unitlens.data.concepts.Data`.

    Attributes
    ----------
    data : Data
        The images, and what is marked in them.
    sources : tuple of ConceptSource
        What marks more.
    masks : bool
        Whether what is marked in the data itself counts too.
    """

    data: Data
    sources: tuple[ConceptSource, ...]
    masks: bool

    @property
    def concepts(self) -> tuple[Concept, ...]:
        """Those of the data, then those of each source."""
        marked = self.data.concepts if self.masks else ()
        computed = (concept for source in self.sources for concept in source.concepts)
        return tuple(Concept(*concept) for concept in (*marked, *computed))

    @property
    def names(self) -> tuple[str, ...] | None:
        """The images' names, where the data list them."""
        return described(self.data).names

    @property
    def not_images(self) -> tuple[str, ...]:
        """Files of the data that are not images."""
        return described(self.data).not_images

    @property
    def class_index(self) -> Mapping[str, int]:
        """The network's output for each class, where the data give it."""
        return described(self.data).class_index

    @property
    def classes(self) -> tuple[Class | None, ...] | None:
        """The classes of the images, where the data list them."""
        return described(self.data).classes

    def file_findings(self) -> Iterator[Finding]:
        """What is wrong with the files of the data, and with tags of images that are not there."""
        if self.masks and isinstance(self.data, ListedFiles):
            yield from self.data.file_findings()
        for source in self.sources:
            if isinstance(source, Tags) and self.names is not None:
                yield from source.findings(self.names)

    @property
    def grouped(self) -> bool:
        """Whether images of the data belong together."""
        return described(self.data).grouped

    @property
    def exchangeable(self) -> bool:
        """Whether the first images of the data stand for all."""
        return described(self.data).exchangeable

    @cached_property
    def of_latents(self) -> bool:
        """Whether the examples are latents; the sources then mark the images that are drawn from them."""
        return described(self.data).of_latents

    @property
    def drawn_sources(self) -> tuple[ConceptSource, ...]:
        """Sources that mark the images once they are drawn."""
        if not self.of_latents:
            return ()
        of_data = described(self.data).drawn_sources if self.masks else ()
        return of_data + self.sources

    @property
    def ious(self) -> dict[tuple[str, str], float]:
        """How good the marks of the sources are, where they say it."""
        of_data = described(self.data).ious if self.masks else {}
        return {**of_data, **ious_of(self.sources)}

    @property
    def source(self) -> str:
        """The data, and the sources."""
        of_data = described(self.data).source
        return " + ".join([of_data if self.masks else f"images of {of_data}", *map(str, self.sources)])

    def __len__(self) -> int:
        return len(self.data)

    def __repr__(self) -> str:
        return f"<{self.source}: {counted(len(self), 'image')}, {counted(len(self.concepts), 'concept')}>"

    def __getitem__(self, index: int, /) -> Example:
        if self.of_latents:
            example = as_latent(self.data[index])
            return example if self.masks else example._replace(planes={})
        return self._marked(as_example(self.data[index]))

    def encoded(self, index: int, /) -> Example:
        """The example of an index, with files that are not decoded yet, if the data gives such."""
        return self[index] if self.of_latents else self._marked(encoded_example(self.data, index))

    def _marked(self, example: Example) -> Example:
        planes: dict[str, Sequence[npt.NDArray[Any]]] = {**example.planes} if self.masks else {}
        for source in self.sources:
            planes.update(source.planes(np.asarray(example.image), example.name))
        digest = None if example.file_digest is None else _digest(example.file_digest, planes)
        return example._replace(planes=planes, file_digest=digest)


def with_concepts(data: Data, *sources: ConceptSource, masks: bool = True) -> StackedData:
    """Stack concept sources on a data set.

    Parameters
    ----------
    data : Data
        Any images.
    *sources : ConceptSource
        `unitlens.data.colors.Colors`, tags (`unitlens.data.tags`), a segmenter
        (`unitlens.data.segmentation.segmenters`), or what else follows the protocol. What they mark is part of each
        image's digest.
    masks : bool
        Whether what is marked in the data itself counts too.

    Raises
    ------
    UnitlensError
        If something is not a source, or two of them mark the same category.
    """
    stacked = StackedData(data, sources, masks)
    marked: dict[str, str] = {}
    parts: list[tuple[str, Iterable[Any]]] = [("the data itself", data.concepts)] if masks else []
    for source in sources:
        if not isinstance(source, ConceptSource):
            raise UnitlensError(
                f"A {type(source).__name__} is not a concept source: it needs concepts and planes(image, name)."
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
