"""What concept sources mark in images that a network has drawn: label maps and areas of many images at a time."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt
from torch import Tensor

from unitlens.data.columns import Columns
from unitlens.data.concepts import Concept, ConceptSource, ious_of
from unitlens.data.pixels.layout import moved_last
from unitlens.errors import UnitlensError, did_you_mean, spelled

Maps = npt.NDArray[np.int16]

AT_ONCE = 32
"""Images that a source marks at a time: more are not faster, and a segmentation network's memory grows with them."""


@runtime_checkable
class BatchSource(ConceptSource, Protocol):
    """A concept source that marks many images of one size at a time, which is faster than one by one."""

    def planes_of(self, images: npt.NDArray[np.uint8], /) -> Mapping[str, Sequence[npt.NDArray[Any]]]:
        """The label maps of images, uint8 (N, height, width, 3): for each category, (N, rows, columns)."""
        ...


@runtime_checkable
class SoftSource(ConceptSource, Protocol):
    """A concept source that says how likely each of its concepts is at each position, so that gradients flow."""

    def probabilities(self, images: Tensor, /) -> Tensor:
        """Of images, float (N, 3, height, width) in [0, 1]: (N, concepts, rows, columns), in the order of concepts."""
        ...


class CategoryMaps(NamedTuple):
    """What is marked in N images, for one category.

    Attributes
    ----------
    category : str
    maps : int16 array, (N, planes, rows, columns)
        At each position 1 + the index of its concept among all C; 0: none of the category's, or not judged. Of several
        planes, a concept stands in one at most.
    """

    category: str
    maps: Maps


@dataclass(frozen=True)
class DrawnConcepts:
    """Concept sources that look at drawn images.

    Attributes
    ----------
    sources : tuple of ConceptSource
    columns : Columns
        Of all their concepts.
    """

    sources: tuple[ConceptSource, ...]
    columns: Columns

    @classmethod
    def of(cls, sources: Sequence[ConceptSource]) -> "DrawnConcepts":
        """Join sources.

        Raises
        ------
        UnitlensError
            If there is none, something is not a source, or two of them mark the same concept.
        """
        if not sources:
            raise UnitlensError(
                "Nothing looks at what is drawn (masks that are given with latents do not change with the images): "
                "give a concept source, such as "
                + spelled(
                    python="ul.Colors() or ul.segmenter(...).",
                    shell="--concepts colors or --concepts segmenter:NETWORK.",
                )
            )
        wrong = [source for source in sources if not isinstance(source, ConceptSource)]
        if wrong:
            raise UnitlensError(
                f"A {type(wrong[0]).__name__} is not a concept source: it needs concepts and planes(image, name)."
            )
        return cls(tuple(sources), Columns.of([concept for source in sources for concept in source.concepts]))

    @property
    def concepts(self) -> tuple[Concept, ...]:
        """All concepts, C of them."""
        return self.columns.concepts

    def names(self) -> list[str]:
        """How each concept is written: its name, or category/name where several categories have that name."""
        return self.columns.names()

    def ious(self) -> npt.NDArray[np.float64]:
        """How good the marks of each concept are, where its source says it, (C,); else NaN."""
        known = ious_of(self.sources)
        return np.array([known.get((concept.category, concept.name), np.nan) for concept in self.concepts])

    def index_of(self, concept: str | Concept) -> int:
        """Which concept is meant by a name.

        Raises
        ------
        UnitlensError
            If there is none of this name, or several.
        """
        return concept_index(concept, self.concepts, ", ".join(map(str, self.sources)))

    def maps(self, images: npt.NDArray[np.uint8], *, of: str | None = None) -> list[CategoryMaps]:
        """What is marked in images.

        Parameters
        ----------
        images : uint8 array, (N, 3, height, width)
        of : str, optional
            The one category that is needed: sources of others do not look.

        Returns
        -------
        list of CategoryMaps
            For each category of each source.
        """
        pixels = moved_last(images)
        return [
            CategoryMaps(category, self._joined(planes, category))
            for source in self.sources
            if of is None or any(concept.category == of for concept in source.concepts)
            for category, planes in _planes_of(source, pixels).items()
            if of in (None, category)
        ]

    def _joined(self, planes: Sequence[npt.NDArray[Any]], category: str) -> Maps:
        """Planes of a category, each (N, rows, columns), as one array in which a concept stands once at a position."""
        numbered = [np.maximum(self.columns.numbered(plane, category, "drawn images"), 0) for plane in planes]
        for later in range(1, len(numbered)):
            for earlier in numbered[:later]:
                numbered[later] = np.where(numbered[later] == earlier, 0, numbered[later]).astype(np.int16)
        return np.stack(numbered, 1)

    def areas(self, marked: Sequence[CategoryMaps]) -> npt.NDArray[np.int64]:
        """How many positions of its maps each concept takes in each image, (N, C)."""
        counts = [_counts(of_category.maps, len(self.concepts)) for of_category in marked]
        return np.asarray(np.add.reduce(counts))

    def positions(self, marked: Sequence[CategoryMaps]) -> npt.NDArray[np.int64]:
        """How many positions the maps of each concept's category have in an image, (C,)."""
        return self.category_positions(marked)[self.columns.category_of]

    def category_positions(self, marked: Sequence[CategoryMaps]) -> npt.NDArray[np.int64]:
        """How many positions the maps of each category have in an image, (K,)."""
        size = {of_category.category: of_category.maps[0, 0].size for of_category in marked}
        return np.array([size.get(category, 1) for category in self.columns.categories], np.int64)

    def shown(self, maps: CategoryMaps) -> Maps:
        """What each position of a category's first plane shows, (N, rows, columns).

        The index of the concept among all C; C + k where it shows none of category k.
        """
        none = len(self.concepts) + self.columns.categories.index(maps.category)
        first = maps.maps[:, 0]
        return np.where(first > 0, first - 1, none).astype(np.int16)

    def shown_names(self) -> list[str]:
        """Names of what positions show, as `shown_names`."""
        return shown_names(self.columns)


def shown_names(columns: Columns) -> list[str]:
    """Names of what positions show: of the C concepts, and of nothing in each of the K categories."""
    categories = columns.categories
    return [*columns.names(), *("nothing" if len(categories) == 1 else f"no {category}" for category in categories)]


def concept_index(concept: str | Concept, concepts: Sequence[Concept], source: str) -> int:
    """Which of some concepts is meant by a name, or category/name; ``source`` is what knows them.

    Raises
    ------
    UnitlensError
        If there is none of this name, or several.
    """
    given = f"{concept[0]}/{concept[2]}" if isinstance(concept, tuple) else concept
    full = [f"{known.category}/{known.name}" for known in concepts]
    matches = [c for c, known in enumerate(concepts) if given in (known.name, full[c])]
    if len(matches) == 1:
        return matches[0]
    if matches:
        raise UnitlensError(f"{given} stands in several categories: say {' or '.join(full[c] for c in matches)}.")
    names = [known.name for known in concepts]
    raise UnitlensError(
        f"{source} does not know the concept {given!r}{did_you_mean(given, names)}; it knows {', '.join(names[:12])}"
        f"{', ...' if len(names) > 12 else ''}."
    )


def _planes_of(source: ConceptSource, images: npt.NDArray[np.uint8]) -> Mapping[str, Sequence[npt.NDArray[Any]]]:
    """Label maps of images, (N, height, width, 3): for each category, planes (N, rows, columns)."""
    if isinstance(source, BatchSource):
        parts = [source.planes_of(images[first : first + AT_ONCE]) for first in range(0, len(images), AT_ONCE)]
        return {
            category: [np.concatenate(planes) for planes in zip(*(part[category] for part in parts), strict=True)]
            for category in parts[0]
        }
    each = [source.planes(image, f"drawn image {number}") for number, image in enumerate(images)]
    categories = dict.fromkeys(category for planes in each for category in planes)
    return {category: _stacked([planes.get(category, ()) for planes in each]) for category in categories}


def _stacked(each: Sequence[Sequence[npt.NDArray[Any]]]) -> list[npt.NDArray[Any]]:
    """Planes of all images together, where an image has fewer with nothing in the others."""
    like = next(plane for planes in each for plane in planes)
    nothing = np.zeros_like(like)
    return [
        np.stack([planes[k] if k < len(planes) else nothing for planes in each]) for k in range(max(map(len, each)))
    ]


def _counts(maps: Maps, concepts: int) -> npt.NDArray[np.int64]:
    """Positions of each concept in each image of maps, (N, planes, rows, columns) to (N, concepts)."""
    images = len(maps)
    flat = maps.reshape(images, -1) + (np.arange(images, dtype=np.int64) * (concepts + 1))[:, None]
    counted = np.bincount(flat.ravel(), minlength=images * (concepts + 1)).reshape(images, concepts + 1)
    return counted[:, 1:].astype(np.int64)
