"""The counts of a layer: whole numbers by fold, which add; every score and all evidence are functions of them."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from unitlens.errors import UnitlensError
from unitlens.stats.blocks import in_blocks
from unitlens.stats.scores import Ints, Overlap, iou

_AT_ONCE = 1 << 20  # intersections that are summed together


def narrow(counts: Ints, *, most: int | None = None) -> Ints:
    """Convert counts to int32, if they all fit: half of the memory.

    Parameters
    ----------
    counts : int64 array
    most : int, optional
        The largest number that must fit; by default the largest of the counts.
    """
    most = int(counts.max(initial=0)) if most is None else most
    return counts.astype(np.int32) if most <= np.iinfo(np.int32).max else counts


@dataclass(frozen=True, eq=False)
class Counts:
    """How often U units are active where C concepts of K categories are marked, by F = 32 folds.

    For a layer without a grid a position is an image.

    Examples
    --------
    One unit, two concepts, one fold: the unit is active at 4 of 10 positions, 3 of which lie in the second concept.

    >>> counts = Counts(
    ...     category_of=np.array([0, 0]),
    ...     index=np.array([1]),
    ...     value=np.array([3]),
    ...     activated_by_fold=np.array([[[4]]]),
    ...     active=np.array([4]),
    ...     concept_by_fold=np.array([[2, 5]]),
    ...     judged_by_fold=np.array([[10]]),
    ...     positions=10,
    ... )
    >>> counts.iou
    array([[0. , 0.5]])
    >>> (counts + counts).intersection
    array([[0, 6]])

    Attributes
    ----------
    category_of : int64 array, (C,)
        Category of each concept.
    index, value : int32 or int64 arrays
        The intersections that are not 0: their flat index in a (U, F, C) array, rising, and their number; int32 where
        all fit (`narrow`).
    activated_by_fold : int64 array, (U, F, K)
        Active positions that are judged for the category.
    active : int64 array, (U,)
        Active positions, judged or not.
    concept_by_fold : int64 array, (F, C)
        Positions that lie in the concept.
    judged_by_fold : int64 array, (F, K)
        Positions that are judged for the category.
    positions : int
        Positions in all.
    """

    category_of: Ints
    index: Ints
    value: Ints
    activated_by_fold: Ints
    active: Ints
    concept_by_fold: Ints
    judged_by_fold: Ints
    positions: int

    @property
    def shape(self) -> tuple[int, int, int]:
        """(U, F, C)."""
        return (*self.activated_by_fold.shape[:2], len(self.category_of))

    @cached_property
    def intersection(self) -> Ints:
        """I, (U, C): active positions that lie in the concept."""
        units, folds, concepts = self.shape
        out = np.zeros(units * concepts, np.int64)
        for block in in_blocks(len(self.index), _AT_ONCE):
            index, value = (part[block].astype(np.int64) for part in (self.index, self.value))
            np.add.at(out, index // (folds * concepts or 1) * concepts + index % (concepts or 1), value)
        return out.reshape(units, concepts)

    @property
    def activated(self) -> Ints:
        """A, (U, C): active positions that are judged for the concept's category."""
        activated: Ints = self.activated_by_fold.sum(1)[:, self.category_of]
        return activated

    @property
    def concept(self) -> Ints:
        """G, (C,): positions that lie in the concept."""
        concept: Ints = self.concept_by_fold.sum(0)
        return concept

    @property
    def judged(self) -> Ints:
        """Positions that are judged for the concept's category, (C,)."""
        judged: Ints = self.judged_by_fold.sum(0)[self.category_of]
        return judged

    @cached_property
    def iou(self) -> npt.NDArray[np.float64]:
        """Intersection over union, (U, C)."""
        return iou(self.intersection, self.activated, self.concept)

    @property
    def overlap(self) -> Overlap:
        """The 2 x 2 tables of all pairs."""
        return Overlap(self.intersection, self.activated, self.concept, self.judged)

    def intersection_by_fold(self, units: slice) -> Ints:
        """Intersections of a block of units, (units, F, C); the block has a start and a stop."""
        _, folds, concepts = self.shape
        ends = np.array([units.start, units.stop]) * folds * concepts
        first, last = np.searchsorted(self.index, ends.astype(self.index.dtype))  # of another type it would be copied
        out = np.zeros((units.stop - units.start, folds, concepts), np.int64)
        out.reshape(-1)[self.index[first:last] - units.start * folds * concepts] = self.value[first:last]
        return out

    def __add__(self, other: "Counts") -> "Counts":
        """Counts of two sets of images together, at the same thresholds."""
        if self.shape != other.shape or not np.array_equal(self.category_of, other.category_of):
            raise UnitlensError(f"Counts of {self.shape} and {other.shape} units, folds and concepts cannot be added.")
        index, position = np.unique(np.concatenate([self.index, other.index]), return_inverse=True)
        value = np.zeros(len(index), np.int64)
        np.add.at(value, position, np.concatenate([self.value, other.value]))
        return Counts(
            category_of=self.category_of,
            index=narrow(index, most=int(np.prod(self.shape))),
            value=narrow(value),
            activated_by_fold=self.activated_by_fold + other.activated_by_fold,
            active=self.active + other.active,
            concept_by_fold=self.concept_by_fold + other.concept_by_fold,
            judged_by_fold=self.judged_by_fold + other.judged_by_fold,
            positions=self.positions + other.positions,
        )

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """All fields as named arrays, to be saved."""
        return {name: np.asarray(getattr(self, name)) for name in self.__dataclass_fields__}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, npt.NDArray[Any]]) -> "Counts":
        """The reverse of `arrays`."""
        whole = {name: arrays[name] for name in cls.__dataclass_fields__ if name != "positions"}
        return cls(**whole, positions=int(np.asarray(arrays["positions"]).item()))
