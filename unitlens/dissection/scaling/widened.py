"""A data set with more concepts than it has, to measure what so many would cost."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from unitlens.data.concepts import Concept, Data, DataDescription, Example, described
from unitlens.data.reading import as_example
from unitlens.errors import UnitlensError, argument

_FIRST = 256
"""Labels begin here, beyond all that some type of label map takes for not judged."""


@dataclass(frozen=True)
class WidenedData:
    """A data set in which each concept stands for several, one in each image by turns.

    Images have as many concepts as before, and there are more of them in all: as in larger data sets.

    Attributes
    ----------
    data : Data
    count : int
        Concepts in all.
    """

    data: Data
    count: int

    @cached_property
    def variants(self) -> dict[tuple[str, int], list[int]]:
        """The labels that each label of a category stands for."""
        known = [Concept(*concept) for concept in self.data.concepts]
        labels: dict[tuple[str, int], list[int]] = {(concept.category, concept.label): [] for concept in known}
        for number in range(self.count):
            concept = known[number % len(known)]
            labels[concept.category, concept.label].append(_FIRST + number)
        return labels

    @cached_property
    def concepts(self) -> Sequence[Concept]:
        """Those of the data set, and further ones."""
        return [
            Concept(concept.category, label, concept.name if not number else f"{concept.name} {number + 1}")
            for concept in (Concept(*concept) for concept in self.data.concepts)
            for number, label in enumerate(self.variants[concept.category, concept.label])
        ]

    @cached_property
    def description(self) -> DataDescription:
        """That of the data set."""
        return described(self.data)

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int, /) -> Example:
        example = as_example(self.data[index])
        planes = {
            category: [self._widened(category, np.asarray(plane), index) for plane in of_category]
            for category, of_category in example.planes.items()
        }
        return example._replace(planes=planes)

    def _widened(self, category: str, plane: npt.NDArray[Any], index: int) -> npt.NDArray[np.int64]:
        """A label map whose labels are those of this image's turn; what nobody judged stays."""
        wide = plane.astype(np.int64)
        not_judged = {np.dtype(np.uint8): plane == 255, np.dtype(np.uint16): plane == 65535}.get(
            plane.dtype, (plane < 0) | (plane == 255) | (plane == 65535)
        )
        for label in np.unique(plane[~not_judged]).tolist():
            turns = self.variants.get((category, label), [label])
            wide[plane == label] = turns[index % len(turns)]
        wide[not_judged] = -1
        return wide


def widened(data: Data, count: int) -> Data:
    """Give a data set so many concepts.

    Raises
    ------
    UnitlensError
        If it has more, or they are found in images that are yet to be drawn.
    """
    if described(data).of_latents:
        raise UnitlensError(
            f"{argument('concepts', count)} is of images in which concepts are marked, and these are latents, of which "
            "the images are drawn later: leave it out."
        )
    if count < len(data.concepts):
        raise UnitlensError(
            f"{described(data).source} has {len(data.concepts)} concepts: {argument('concepts', count)} must be as "
            "many or more."
        )
    return data if count == len(data.concepts) else WidenedData(data, count)
