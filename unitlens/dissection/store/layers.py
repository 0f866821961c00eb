"""The activations of a layer over all images, on disk at the size of the layer's own grid."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from unitlens.dissection.store.folder import Store
from unitlens.dissection.store.rows import RowFile
from unitlens.stats.blocks import in_blocks
from unitlens.stats.masks import at_most_grid

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
    maps : RowFile
        (N, U, h', w') float32: the maps, on the sides where the layer is finer than the label grid brought to it.
    peaks : RowFile
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
    maps: RowFile
    peaks: RowFile
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

    def positions(self, grid: tuple[int, int], *, raw: bool = False) -> int:
        """How many values of a unit an image has: one, where the layer has no grid.

        Parameters
        ----------
        grid : tuple of int
            (H, W) of the label grid.
        raw : bool
            Whether values on the layer's own grid are meant; else on the label grid.
        """
        if self.layer_grid is None:
            return 1
        height, width = self.maps.shape[1:] if raw else grid
        return height * width

    def peaks_by_unit(self) -> Iterator[tuple[slice, npt.NDArray[np.float32]]]:
        """Peaks of all images, (units, N), for one block of units after another."""
        for units in in_blocks(self.units, _PEAKS_AT_ONCE // max(self.peaks.count, 1)):
            yield units, self.peaks.read(range(self.peaks.count), units).T

    @classmethod
    def start(cls, name: str, maps: Tensor, grid: tuple[int, int], store: Store) -> "LayerMaps":
        """Files for a layer whose first maps are known, (N, U, h, w)."""
        units, h, w = maps.shape[1:]
        return cls(
            name=name,
            layer_grid=None if (h, w) == (1, 1) else (h, w),
            maps=store.rows(f"maps {name}", (units, min(h, grid[0]), min(w, grid[1])), np.float32),
            peaks=store.rows(f"peaks {name}", (units,), np.float32),
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
