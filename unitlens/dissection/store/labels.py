"""The label planes of all images, on the label grid."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from unitlens.data.columns import Columns, NotJudged, Union
from unitlens.data.concepts import Concept
from unitlens.dissection.store.documents import are, check_sides, is_list
from unitlens.dissection.store.folder import Store
from unitlens.dissection.store.rows import Rows, append, sound
from unitlens.errors import UnitlensError
from unitlens.nameless import WaitingRows
from unitlens.records import check_types, read_record
from unitlens.stats.blocks import in_blocks
from unitlens.stats.draws.partners import Partners
from unitlens.stats.folds import FOLDS

KEPT_PLANES = 1 << 28
"""Label planes of at most so many bytes are read once and put into one file without a name, in few bits, to be read in
any order."""

_IMAGES_AT_ONCE = 256  # a multiple of 8, as bits are packed

_FARTHEST = 8
"""Rows are read together where they lie so far apart at most."""

ReadPlanes = Callable[[Sequence[int] | npt.NDArray[np.integer] | range], npt.NDArray[np.int16] | npt.NDArray[np.int32]]
"""Reads the planes of some images, (images, L, H * W)."""


def kept_type(columns: Columns) -> npt.DTypeLike:
    """The type of the numbers of label planes that are read in any order."""
    return np.uint8 if columns.count <= 1 << 8 else np.int16


@dataclass(frozen=True)
class _Meaning:
    """What the numbers of label planes mean, as the store keeps it."""

    grid: tuple[int, int]
    concepts: tuple[Any, ...]
    not_judged: NotJudged
    union: Union

    def __post_init__(self) -> None:
        check_types(self)
        check_sides(*self.grid)
        for entry in self.concepts:
            if not (is_list(entry, 3) and are(str, entry[0], entry[2]) and are(int, entry[1])):
                raise UnitlensError(f"concepts has {entry!r:.50}; a concept is category, label and name")

    def as_concepts(self) -> list[Concept]:
        """The concepts."""
        return [Concept(*entry) for entry in self.concepts]


@dataclass
class LabelPlanes:
    """What is marked in all images, on the label grid.

    Attributes
    ----------
    columns : Columns
        What the numbers mean.
    grid : tuple of int
        (H, W).
    planes : Rows
        (N, K, H * W) int16, see `Columns.planes`.
    presence : Rows
        (N, columns) uint8: 1 where an image, as a whole, counts for the column: where any cell has the concept, or
        where no cell is judged.
    positions, images : int64 arrays, (32, columns)
        By fold, how many positions (of column 0: none) and how many images as a whole count for each column.
    store : Store
        Has them.
    further : list of Rows
        (N, H * W) int16 each: planes of categories that have several.
    """

    columns: Columns
    grid: tuple[int, int]
    planes: Rows
    presence: Rows
    positions: npt.NDArray[np.int64]
    images: npt.NDArray[np.int64]
    store: Store
    further: list[Rows] = field(default_factory=list)

    @classmethod
    def start(cls, columns: Columns, grid: tuple[int, int], store: Store) -> "LabelPlanes":
        """Make the files of label planes."""
        meaning = {"grid": grid, "concepts": columns.concepts}
        store.write_document("labels", meaning | {"not_judged": columns.not_judged, "union": columns.union})
        return cls._of(columns, grid, store)

    @classmethod
    def reopen(cls, folds: npt.NDArray[np.uint8], store: Store) -> "LabelPlanes":
        """Open the files of label planes, and count them by the folds of their images, (N,)."""
        document = store.document("labels")
        store.check_rows(["planes", "presence"], count=len(folds))
        with sound(store.folder):
            meaning = read_record(_Meaning, document, what="labels.json")
            columns = Columns.of(meaning.as_concepts(), not_judged=meaning.not_judged, union=meaning.union)
            labels = cls._of(columns, meaning.grid, store)
            while store.existing(f"planes/{len(labels.further)}"):
                labels.further.append(store.rows(f"planes/{len(labels.further)}", labels.planes.shape[1:], np.int16))
            for block in in_blocks(len(folds), _IMAGES_AT_ONCE):
                labels._count_again(block, folds)
        return labels

    def _count_again(self, block: slice, folds: npt.NDArray[np.uint8]) -> None:
        """Count images of a store that was opened."""
        images = range(block.start, block.stop)
        planes, presence = self.read(images), self.presence.read(images)
        if planes.size and (planes.min() < 0 or planes.max() >= self.columns.count or presence.max() > 1):
            raise UnitlensError("label planes have numbers that no concept has")
        counted = np.stack([self._positions_of(of_image) for of_image in planes])
        self._sum_up(counted, presence, folds[block])

    @classmethod
    def _of(cls, columns: Columns, grid: tuple[int, int], store: Store) -> "LabelPlanes":
        return cls(
            columns,
            grid,
            planes=store.rows("planes", (len(columns.categories), grid[0] * grid[1]), np.int16),
            presence=store.rows("presence", (columns.count,), np.uint8),
            positions=np.zeros((FOLDS, columns.count), np.int64),
            images=np.zeros((FOLDS, columns.count), np.int64),
            store=store,
        )

    def add(self, planes: Sequence[npt.NDArray[np.int16]], folds: Sequence[int]) -> None:
        """Append the planes of further images.

        Parameters
        ----------
        planes : sequence of int16 arrays, (planes, H * W)
            Of each image: those of the categories, then further ones of categories that have several.
        folds : sequence of int
            Of each image.
        """
        categories, first = len(self.columns.categories), self.planes.count
        for number, of_image in enumerate(planes):
            for k, plane in enumerate(of_image[categories:]):
                if k == len(self.further):
                    self.further.append(self.store.rows(f"planes/{k}", self.planes.shape[1:], np.int16))
                self.further[k].put(first + number, plane[None])
        positions = np.stack([self._positions_of(of_image) for of_image in planes])
        # A concept is in an image if it is at any position; a category is not judged if it is so at every position.
        not_judged = 1 + len(self.columns.concepts)
        presence = (positions > 0).astype(np.uint8)
        presence[:, not_judged:] = positions[:, not_judged:] == self.planes.shape[1]
        self._sum_up(positions, presence, folds)
        append(self.presence, presence)
        append(self.planes, np.stack([of_image[:categories] for of_image in planes]))

    def _positions_of(self, planes: npt.NDArray[np.int16]) -> npt.NDArray[np.int64]:
        """How many positions of an image count for each column, (columns,)."""
        return np.bincount(planes.ravel(), minlength=self.columns.count)

    def _sum_up(
        self,
        positions: npt.NDArray[np.int64],
        presence: npt.NDArray[np.uint8],
        folds: Sequence[int] | npt.NDArray[np.uint8],
    ) -> None:
        positions[:, 0] = 0  # "none of this": whether a further plane says so or is not there is the same
        np.add.at(self.positions, folds, positions)
        np.add.at(self.images, folds, presence)

    def by_fold(self, *, grid: bool) -> npt.NDArray[np.int64]:
        """What counts for each column by fold: positions of the grid, or else whole images, (32, columns)."""
        return self.positions if grid else self.images

    def totals(self, partners: Partners, odd: npt.NDArray[np.uint8], *, grid: bool) -> npt.NDArray[np.int64]:
        """What counts for each column on either half of the folds, where images are given the labels of others.

        Parameters
        ----------
        partners : Partners
            For each draw and image, the image whose labels it is given; each image's labels are given once.
        odd : uint8 array, (N,)
            1 for images of the odd folds.
        grid : bool
            Whether positions of the grid are counted; else whole images.

        Returns
        -------
        int64 array, (draws, 2, columns)
        """
        # One bit for each draw and image: whether the image that it gives its labels to is of the odd folds.
        given_to = [_to_bits(odd, draw) for draw in partners.in_blocks()]
        out = np.zeros((len(partners), 2, self.columns.count))
        for block in in_blocks(len(odd), _IMAGES_AT_ONCE):
            images = range(block.start, block.stop)
            if grid:
                counted = np.stack([self._positions_of(planes) for planes in self.read(images)])
            else:
                counted = self.presence.read(images).astype(np.int64)
            bits = [of_draw[block.start // 8 :] for of_draw in given_to]
            to_odd = np.array([np.unpackbits(of_draw, count=len(images)) for of_draw in bits], np.float64)
            of_all, of_odd = counted.sum(0), to_odd.reshape(-1, len(images)) @ counted.astype(np.float64)
            out[:, 0] += of_all - of_odd
            out[:, 1] += of_odd
        return out.astype(np.int64)

    def shares(self, concepts: Sequence[int], *, grid: bool) -> npt.NDArray[np.float64]:
        """How much of each image is marked with some concepts.

        Parameters
        ----------
        concepts : sequence of int
            M of them, counted from 0.
        grid : bool
            Whether it is the share of the judged positions of the grid; else whether the image as a whole has it.

        Returns
        -------
        float64 array, (N, M)
            In [0, 1]; NaN where an image is not judged for the concept.
        """
        column = np.asarray(concepts, np.int64)
        not_judged = 1 + len(self.columns.concepts) + self.columns.category_of[column]
        cells = self.planes.shape[1] if grid else 1
        out = np.full((self.planes.count, len(column)), np.nan)
        for block in in_blocks(self.planes.count, _IMAGES_AT_ONCE):
            images = range(block.start, block.stop)
            if grid:
                counted = np.stack([self._positions_of(planes) for planes in self.read(images)])
            else:
                counted = self.presence.read(images).astype(np.int64)
            judged = cells - counted[:, not_judged]
            np.divide(counted[:, 1 + column], judged, out=out[block], where=judged > 0)
        return out

    def present(self, images: npt.NDArray[np.integer]) -> npt.NDArray[np.bool_]:
        """Whether each concept is in images, (images, C); their numbers rise."""
        concepts = slice(1, 1 + len(self.columns.concepts))
        span = range(int(images[0]), int(images[-1]) + 1) if len(images) else range(0)
        if len(span) > _FARTHEST * len(images):
            return self.presence.read(images, concepts) > 0
        return np.asarray(self.presence.read(span)[images - span.start, concepts] > 0)

    def reader(self) -> "ReadPlanes":
        """A function that reads the planes of some images, which are put into one file at the first call."""
        files = [self.planes, *self.further]
        narrow = np.dtype(kept_type(self.columns))
        cells = sum(math.prod(file.shape) for file in files)
        images = self.planes.count
        if images * cells * narrow.itemsize > KEPT_PLANES:
            return self.read

        @cache
        def kept() -> WaitingRows:
            rows = WaitingRows((cells // self.planes.shape[1], self.planes.shape[1]), narrow)
            for block in in_blocks(images, _IMAGES_AT_ONCE):
                rows.append(self.read(range(block.start, block.stop)))
            return rows

        return lambda some: kept().read(some, np.int16)

    def read(self, images: Sequence[int] | npt.NDArray[np.integer] | range) -> npt.NDArray[np.int16]:
        """Planes of some images, (images, L, H * W)."""
        planes = [self.planes.read(images), *(rows.read(images)[:, None] for rows in self.further)]
        return np.concatenate(planes, axis=1) if len(planes) > 1 else planes[0]


def _to_bits(
    odd: npt.NDArray[np.uint8], partners: Iterable[tuple[slice, npt.NDArray[np.integer]]]
) -> npt.NDArray[np.uint8]:
    """For each image, whether the one that its labels are given to is of the odd folds, as bits."""
    to_odd = np.zeros(len(odd), bool)
    for images, of_images in partners:
        to_odd[of_images] = odd[images] > 0
    return np.packbits(to_odd)
