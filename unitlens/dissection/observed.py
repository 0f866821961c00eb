"""What one pass over the images leaves on disk: maps at the size of the layer's own grid, and label planes."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from unitlens.data.batches import Batch, Unread, data_digest
from unitlens.data.columns import Columns
from unitlens.dissection.store import Rows, Spool
from unitlens.stats.folds import FOLDS
from unitlens.stats.masks import at_most_grid

KEPT_PLANES = 1 << 28
"""Label planes of at most so many bytes are read into memory once."""

_PEAKS_AT_ONCE = 1 << 24


@dataclass
class LayerMaps:
    """The activations of one layer over all images.

    Attributes
    ----------
    name : str
        The layer.
    layer_grid : tuple of int or None
        (h, w) of its maps, or None where it has no grid and every image is one position.
    maps : Rows
        (N, U, h', w') float32: the maps, on the sides where the layer is finer than the label grid brought to it.
    peaks : Rows
        (N, U) float32: largest activation of each image.
    smallest, largest : float32 arrays, (U,)
        Over all images.
    total : float64 array, (U,)
        Sum over all positions of the layer grid, added in the order of the images.
    nonfinite : int64 array, (U,)
        How many activations were NaN or infinite; 0 stands in their place.
    layout : str
        How the layer's output was laid out; see `unitlens.models.layouts`.
    left_out : dict of str to int
        How many of its tokens are no patches, by kind; see `unitlens.models.layouts`.
    """

    name: str
    layer_grid: tuple[int, int] | None
    maps: Rows
    peaks: Rows
    smallest: npt.NDArray[np.float32]
    largest: npt.NDArray[np.float32]
    total: npt.NDArray[np.float64]
    nonfinite: npt.NDArray[np.int64]
    layout: str = "channels_first"
    left_out: dict[str, int] = field(default_factory=dict)

    @property
    def units(self) -> int:
        """Number of units."""
        return len(self.smallest)

    def peaks_by_unit(self) -> Iterator[tuple[slice, npt.NDArray[np.float32]]]:
        """Peaks of all images, (units, N), for one block of units after another."""
        step = max(1, _PEAKS_AT_ONCE // max(self.peaks.count, 1))
        for first in range(0, self.units, step):
            units = slice(first, min(first + step, self.units))
            yield units, self.peaks.read(range(self.peaks.count), units).T

    @classmethod
    def start(cls, name: str, maps: Tensor, grid: tuple[int, int], spool: Spool) -> "LayerMaps":
        """Files for a layer whose first maps are known, (N, U, h, w)."""
        units, h, w = maps.shape[1:]
        return cls(
            name=name,
            layer_grid=None if (h, w) == (1, 1) else (h, w),
            maps=spool.rows(f"maps {name}", (units, min(h, grid[0]), min(w, grid[1])), np.float32),
            peaks=spool.rows(f"peaks {name}", (units,), np.float32),
            smallest=np.full(units, np.inf, np.float32),
            largest=np.full(units, -np.inf, np.float32),
            total=np.zeros(units),
            nonfinite=np.zeros(units, np.int64),
        )

    def add(self, maps: Tensor, grid: tuple[int, int]) -> None:
        """Append the maps of further images, (N, U, h, w)."""
        maps = maps.float()
        finite = torch.isfinite(maps)
        if not bool(finite.all()):
            self.nonfinite += (~finite).sum((0, 2, 3)).cpu().numpy()
            maps = torch.where(finite, maps, 0.0)
        flat = maps.flatten(2)
        peaks = flat.amax(2)
        self.largest = np.maximum(self.largest, peaks.amax(0).cpu().numpy())
        self.smallest = np.minimum(self.smallest, flat.amin((0, 2)).cpu().numpy())
        for image in flat.sum(2, dtype=torch.float64).cpu().numpy():
            self.total += image
        self.peaks.append(peaks.cpu().numpy())
        self.maps.append(at_most_grid(maps, grid).cpu().numpy())


@dataclass
class Marked:
    """What is marked in all images, on the label grid.

    Attributes
    ----------
    columns : Columns
        What the numbers mean.
    grid : tuple of int
        (H, W).
    planes : Rows
        (N, K, H * W) int16, see `Columns.planes`.
    holds : Rows
        (N, columns) uint8: 1 where an image, as a whole, counts for the column: where any cell holds the concept, or
        where no cell is judged.
    positions, images : int64 arrays, (32, columns)
        By fold, how many positions and how many images as a whole count for each column.
    further : list of Rows
        (N, H * W) int16 each: planes of categories that have several.
    """

    columns: Columns
    grid: tuple[int, int]
    planes: Rows
    holds: Rows
    positions: npt.NDArray[np.int64]
    images: npt.NDArray[np.int64]
    spool: Spool
    further: list[Rows] = field(default_factory=list)

    @classmethod
    def start(cls, columns: Columns, grid: tuple[int, int], spool: Spool) -> "Marked":
        """Files for label planes."""
        cells = grid[0] * grid[1]
        return cls(
            columns,
            grid,
            planes=spool.rows("planes", (len(columns.categories), cells), np.int16),
            holds=spool.rows("holds", (columns.count,), np.uint8),
            positions=np.zeros((FOLDS, columns.count), np.int64),
            images=np.zeros((FOLDS, columns.count), np.int64),
            spool=spool,
        )

    def add(self, batch: Batch) -> None:
        """Append the planes of further images."""
        own, first = len(self.columns.categories), self.planes.count
        counted = np.zeros((len(batch.planes), self.columns.count), np.int64)
        for number, planes in enumerate(batch.planes):
            counted[number] = np.bincount(planes.ravel(), minlength=self.columns.count)
            for extra, plane in enumerate(planes[own:]):
                if extra == len(self.further):
                    self.further.append(self.spool.rows(f"planes {extra}", self.planes.shape[1:], np.int16))
                self.further[extra].put(first + number, plane[None])
        concepts = 1 + len(self.columns.concepts)
        holds = counted > 0
        holds[:, concepts:] = counted[:, concepts:] == self.planes.shape[1]
        np.add.at(self.positions, batch.folds, counted)
        np.add.at(self.images, batch.folds, holds)
        self.holds.append(holds.astype(np.uint8))
        self.planes.append(np.stack([planes[:own] for planes in batch.planes]))

    def by_fold(self, *, grid: bool) -> npt.NDArray[np.int64]:
        """What counts for each column by fold: positions of the grid, or else whole images, (32, columns)."""
        return self.positions if grid else self.images

    def held(self, images: Sequence[int] | npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Columns that some images count for as a whole, (images, columns)."""
        distinct, place = np.unique(images, return_inverse=True)
        return self.holds.read(distinct).astype(np.int64)[place]

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


@dataclass
class Observed:
    """All that the one pass leaves behind.

    Attributes
    ----------
    layers : dict of str to LayerMaps
        By the names that were given, in that order.
    marked : Marked
        The label planes.
    names, classes : list
        Of the images that were read, in the order of the data set.
    hashes : list of int
        Where their folds come from.
    annotated : list of int
        For which categories each is annotated, as bits.
    unread : list of Unread
        Images that were left out.
    notes : list of str
        What the user should know.
    thumbnails : Rows or None
        (N, height, width, 3) uint8.
    sha256 : str
        Of everything that was read, the order of the images aside, and of what the labels mean.
    seconds : float
        The pass took.
    deviation : dict of str to float
        With ``fast``: largest difference of an activation, as a share of the layer's largest.
    """

    layers: dict[str, LayerMaps]
    marked: Marked
    names: list[str] = field(default_factory=list)
    classes: list[str | int | None] = field(default_factory=list)
    hashes: list[int] = field(default_factory=list)
    annotated: list[int] = field(default_factory=list)
    digests: list[bytes] = field(default_factory=list)
    unread: list[Unread] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    thumbnails: Rows | None = None
    seconds: float = 0.0
    deviation: dict[str, float] = field(default_factory=dict)

    @property
    def images(self) -> int:
        """Number of images that were read."""
        return len(self.names)

    @property
    def folds(self) -> npt.NDArray[np.int64]:
        """Fold of each image, (N,)."""
        return np.array([hash_ % FOLDS for hash_ in self.hashes], dtype=np.int64)

    def judged(self, *, grid: bool) -> npt.NDArray[np.int64]:
        """Positions of the grid, or else images, that are judged for each category by fold, (32, K)."""
        marked = self.marked
        each = marked.grid[0] * marked.grid[1] if grid else 1
        images = np.bincount(self.folds, minlength=FOLDS)
        left_out = marked.by_fold(grid=grid)[:, 1 + len(marked.columns.concepts) :]
        judged: npt.NDArray[np.int64] = images[:, None] * each - left_out
        return judged

    @property
    def sha256(self) -> str:
        """Hash of the data."""
        return data_digest(self.digests, self.marked.columns.concepts)
