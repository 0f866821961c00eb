"""The label planes of all images, on the label grid."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from unitlens.data.batches import Batch
from unitlens.data.columns import Columns
from unitlens.dissection.store.folder import Store
from unitlens.dissection.store.rows import RowFile
from unitlens.stats.folds import FOLDS

KEPT_PLANES = 1 << 28
"""Label planes of at most so many bytes are read into memory once."""


@dataclass
class LabelPlanes:
    """What is marked in all images, on the label grid.

    Attributes
    ----------
    columns : Columns
        What the numbers mean.
    grid : tuple of int
        (H, W).
    planes : RowFile
        (N, K, H * W) int16, see `Columns.planes`.
    presence : RowFile
        (N, columns) uint8: 1 where an image, as a whole, counts for the column: where any cell has the concept, or
        where no cell is judged.
    positions, images : int64 arrays, (32, columns)
        By fold, how many positions and how many images as a whole count for each column.
    further : list of RowFile
        (N, H * W) int16 each: planes of categories that have several.
    """

    columns: Columns
    grid: tuple[int, int]
    planes: RowFile
    presence: RowFile
    positions: npt.NDArray[np.int64]
    images: npt.NDArray[np.int64]
    store: Store
    further: list[RowFile] = field(default_factory=list)

    @classmethod
    def start(cls, columns: Columns, grid: tuple[int, int], store: Store) -> "LabelPlanes":
        """Files for label planes."""
        cells = grid[0] * grid[1]
        return cls(
            columns,
            grid,
            planes=store.rows("planes", (len(columns.categories), cells), np.int16),
            presence=store.rows("presence", (columns.count,), np.uint8),
            positions=np.zeros((FOLDS, columns.count), np.int64),
            images=np.zeros((FOLDS, columns.count), np.int64),
            store=store,
        )

    def add(self, batch: Batch) -> None:
        """Append the planes of further images."""
        own, first = len(self.columns.categories), self.planes.count
        counted = np.zeros((len(batch.planes), self.columns.count), np.int64)
        for number, planes in enumerate(batch.planes):
            counted[number] = np.bincount(planes.ravel(), minlength=self.columns.count)
            for extra, plane in enumerate(planes[own:]):
                if extra == len(self.further):
                    self.further.append(self.store.rows(f"planes {extra}", self.planes.shape[1:], np.int16))
                self.further[extra].put(first + number, plane[None])
        concepts = 1 + len(self.columns.concepts)
        presence = counted > 0
        presence[:, concepts:] = counted[:, concepts:] == self.planes.shape[1]
        np.add.at(self.positions, batch.folds, counted)
        np.add.at(self.images, batch.folds, presence)
        self.presence.append(presence.astype(np.uint8))
        self.planes.append(np.stack([planes[:own] for planes in batch.planes]))

    def by_fold(self, *, grid: bool) -> npt.NDArray[np.int64]:
        """What counts for each column by fold: positions of the grid, or else whole images, (32, columns)."""
        return self.positions if grid else self.images

    def presence_of(self, images: Sequence[int] | npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Columns that some images count for as a whole, (images, columns)."""
        distinct, place = np.unique(images, return_inverse=True)
        return self.presence.read(distinct).astype(np.int64)[place]

    def reader(self) -> "ReadPlanes":
        """A function that reads the planes of some images; what is small is read once and kept."""
        files = [self.planes, *self.further]
        if self.planes.count * sum(file.row_bytes for file in files) > KEPT_PLANES:
            return self.read
        kept = self.read(range(self.planes.count))
        return lambda images: kept[np.asarray(images)]

    def read(self, images: Sequence[int] | npt.NDArray[np.int64] | range) -> npt.NDArray[np.int16]:
        """Planes of some images, (images, L, H * W)."""
        planes = [self.planes.read(images), *(rows.read(images)[:, None] for rows in self.further)]
        return np.concatenate(planes, axis=1) if len(planes) > 1 else planes[0]


ReadPlanes = Callable[[Sequence[int] | npt.NDArray[np.int64] | range], npt.NDArray[np.int16]]
