"""The columns of a table of counts, and how the labels of an image become their numbers on the label grid."""

import operator
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from unitlens.data.concepts import Concept, Example, told_apart
from unitlens.data.images import same_aspect, size_of
from unitlens.data.pixels.fit import Fit
from unitlens.errors import UnitlensError, did_you_mean

NotJudged = Literal["left_out", "none"]
Union = Literal["annotated", "all"]


@dataclass(frozen=True)
class Columns:
    """The columns of a table of counts, and how labels become their numbers.

    Column 0 is "none of this"; 1 to C are the concepts; C + 1 to C + K say that a position counts for nothing in one of
    the K categories.

    Attributes
    ----------
    concepts : tuple of Concept
        In the order of the columns.
    not_judged : {"left_out", "none"}
        Whether not-judged positions count for nothing, or as none of the category's concepts.
    union : {"annotated", "all"}
        Whether an image counts for a category only where it is annotated for it, or always.
    """

    concepts: tuple[Concept, ...]
    not_judged: NotJudged = "left_out"
    union: Union = "annotated"

    @classmethod
    def of(
        cls, concepts: Sequence[Any], *, not_judged: NotJudged = "left_out", union: Union = "annotated"
    ) -> "Columns":
        """Columns for the concepts of a data set; plain (category, label, name) tuples do."""
        columns = cls(tuple(_as_concept(concept) for concept in concepts), not_judged, union)
        if columns.count > _MOST_COLUMNS:
            raise UnitlensError(f"The data mark {len(concepts)} concepts; at most about 32,000 are possible.")
        first: dict[tuple[str, str | int], Concept] = {}
        for concept in columns.concepts:
            for what, key in (("name", concept.name), ("label", concept.label)):
                other = first.setdefault((concept.category, key), concept)
                if other is not concept:
                    raise UnitlensError(
                        f"Two concepts of the category {concept.category} have the {what} {key!r}: give each concept "
                        "one name and one label."
                    )
        return columns

    @cached_property
    def categories(self) -> tuple[str, ...]:
        """Categories in the order in which the concepts name them."""
        return tuple(dict.fromkeys(concept.category for concept in self.concepts))

    @cached_property
    def category_of(self) -> npt.NDArray[np.int64]:
        """Index of the category of each concept, (C,)."""
        index = {category: k for k, category in enumerate(self.categories)}
        return np.array([index[concept.category] for concept in self.concepts], dtype=np.int64)

    @property
    def count(self) -> int:
        """Number of columns in all: 1 + C + K."""
        return 1 + len(self.concepts) + len(self.categories)

    def names(self) -> list[str]:
        """How each concept is written: its name, or category/name where several categories have that name."""
        return told_apart([(concept.category, concept.name) for concept in self.concepts])

    def planes(self, example: Example, fit: Fit, grid: tuple[int, int]) -> npt.NDArray[np.int16]:
        """Column of every cell of the grid, in one plane for each category and further ones where it has several.

        Returns
        -------
        int16 array, (planes, H * W)
            The first K planes are the categories'. A concept that several planes of a category hold at one cell stands
            there once.

        Raises
        ------
        UnitlensError
            If a map has another aspect ratio than the image, or a label that no concept has.
        """
        for category in example.planes.keys() - set(self.categories):
            raise UnitlensError(
                f"{example.name} has label maps of the category {category}{did_you_mean(category, self.categories)}, "
                "of which the data name no concept: add its concepts or leave the maps out."
            )
        nowhere = 0 if self.union == "all" else None
        first: list[npt.NDArray[np.int16]] = []
        further: list[npt.NDArray[np.int16]] = []
        for k, category in enumerate(self.categories):
            left_out = 1 + len(self.concepts) + k
            maps = [self._sampled(plane, category, example, fit, grid) for plane in example.planes.get(category, ())]
            if not maps:
                first.append(np.full(grid[0] * grid[1], left_out if nowhere is None else nowhere, np.int16))
                continue
            unknown = np.logical_or.reduce([plane < 0 for plane in maps])
            planes = [np.where(unknown, 0, plane) for plane in maps]
            # a concept that several planes hold at one cell stays in the first of them
            for later in range(1, len(planes)):
                for earlier in planes[:later]:
                    planes[later] = np.where(planes[later] == earlier, 0, planes[later])
            planes[0] = np.where(unknown, left_out if self.not_judged == "left_out" else 0, planes[0])
            first.append(planes[0].astype(np.int16))
            further += [plane.astype(np.int16) for plane in planes[1:]]
        return np.stack(first + further) if first else np.zeros((0, grid[0] * grid[1]), np.int16)

    def numbered(self, maps: Any, category: str, name: str) -> npt.NDArray[np.int16]:
        """Column of every position of label maps of a category, in their own shape; -1 where not judged.

        Raises
        ------
        UnitlensError
            If there is a label that no concept has; the name is that of the images.
        """
        labels = _as_labels(maps, category, name)
        columns = self._lookup(category, labels.dtype).take(labels, mode="wrap")
        self._check_known(labels, columns == _STRAY, category, name)
        return columns

    def _sampled(
        self, given: Any, category: str, example: Example, fit: Fit, grid: tuple[int, int]
    ) -> npt.NDArray[np.int16]:
        """Column of every cell; -1 where not judged."""
        given = np.asarray(given)  # of a file: decoded here, once
        plane = _as_plane(given, category, example)
        column_of = self._lookup(category, plane.dtype)
        stray = column_of.take(plane, mode="wrap") == _STRAY  # of the whole map: the same error on every grid
        self._check_known(given, stray, category, example.name)
        sampled: npt.NDArray[np.int16] = column_of.take(fit.labels(plane, grid).ravel(), mode="wrap")
        return sampled

    def _check_known(self, given: npt.NDArray[Any], stray: npt.NDArray[np.bool_], category: str, name: str) -> None:
        """Make sure that there are no labels without a concept."""
        if not stray.any():
            return
        labels = np.unique(given[stray]).tolist()
        more = ", ..." if len(labels) > 5 else ""
        raise UnitlensError(
            f"The {category} label map of {name} holds the {'label' if len(labels) == 1 else 'labels'} "
            f"{', '.join(map(str, labels[:5]))}{more}, which no concept of {category} has: "
            "add rows to concepts.csv or mend the map (0 is none, 255 is not judged)."
        )

    @cached_property
    def _tables(self) -> dict[tuple[str, str], npt.NDArray[np.int16]]:
        """Those that were made, by category and type of the labels."""
        return {}

    def _lookup(self, category: str, dtype: np.dtype[Any]) -> npt.NDArray[np.int16]:
        """The table of a category for labels of a type, which is made once."""
        key = (category, dtype.str)
        if key not in self._tables:
            self._tables[key] = self._table(category, dtype)
        return self._tables[key]

    def _table(self, category: str, dtype: np.dtype[Any]) -> npt.NDArray[np.int16]:
        """Column of each label, with -1 where not judged and _STRAY where no concept has it; the last is for -1."""
        columns = {concept.label: c + 1 for c, concept in enumerate(self.concepts) if concept.category == category}
        largest = {"u1": 255, "u2": 65535}.get(dtype.str[1:])
        table = np.full(_MOST_LABELS + 1 if largest is None else largest + 1, _STRAY, np.int16)
        table[-1] = -1
        for label in {255, 65535} if largest is None else ():
            table[label] = -1
        for label, column in {0: 0, **columns}.items():
            if label < len(table) - 1:
                table[label] = column
        return table


_MOST_LABELS = 65537  # of 16 bits, and one for all larger ones
_STRAY = -2
_MOST_COLUMNS = 1 << 15  # their numbers are 16 bits


def _as_concept(item: Any) -> Concept:
    try:
        category, label, name = item
        concept = Concept(str(category), operator.index(label), str(name))
    except (TypeError, ValueError):
        raise UnitlensError(
            f"{item!r} is not a concept: a concept is (category, label, name), such as ('object', 3, 'tree')."
        ) from None
    if not 1 <= concept.label <= 65534:
        raise UnitlensError(
            f"The concept {concept.category}/{concept.name} has the label {concept.label}; a label lies between 1 and "
            "65534."
        )
    return concept


def _as_plane(given: Any, category: str, example: Example) -> npt.NDArray[Any]:
    """A label map as uint8, uint16, or int32 where -1 is not judged."""
    plane: npt.NDArray[Any] = np.asarray(given)
    if plane.ndim != 2 or plane.dtype.kind not in "iub" or not plane.size:
        raise UnitlensError(
            f"The {category} label map of {example.name} is {plane.dtype}, {size_of(plane)}; a category has a "
            "list of label maps, each rows x columns of whole numbers."
        )
    of_image = example.image.dtype == np.uint8  # of a latent, the map shows the whole image that is drawn
    if of_image and not same_aspect(example.image.shape[:2], plane.shape):
        raise UnitlensError(
            f"The {category} label map of {example.name} is {size_of(plane)} (width x height), its image "
            f"{size_of(example.image[..., 0])}: a label map shows the whole image, at any size of the same aspect "
            "ratio."
        )
    return _narrow(plane)


def _as_labels(given: Any, category: str, name: str) -> npt.NDArray[Any]:
    """Label maps of many images, in the types of `_as_plane`."""
    labels: npt.NDArray[Any] = np.asarray(given)
    if labels.dtype.kind not in "iub":
        raise UnitlensError(f"The {category} label maps of {name} are {labels.dtype}; they hold whole numbers.")
    return _narrow(labels)


def _narrow(labels: npt.NDArray[Any]) -> npt.NDArray[Any]:
    if labels.dtype.kind == "b":
        return labels.astype(np.uint8)
    if labels.dtype in (np.uint8, np.uint16):
        return labels
    return labels.astype(np.int64).clip(-1, _MOST_LABELS - 1).astype(np.int32)
