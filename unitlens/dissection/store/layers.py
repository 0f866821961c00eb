"""The activations of a layer over all images: maps at the size of the layer's own grid, and what they come to."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from unitlens.dissection.store.documents import LayerDocument
from unitlens.dissection.store.folder import Store
from unitlens.dissection.store.peaks import PeaksByUnit
from unitlens.dissection.store.rows import Rows, append, sound
from unitlens.errors import UnitlensError
from unitlens.models.transfers import Arriving
from unitlens.stats.blocks import in_blocks
from unitlens.stats.masks import at_most_grid

FEW = 1 / 16
"""A layer is kept as what is not 0, where this is at most so large a share of its first maps."""

_FEW_POSITIONS = 1 << 8  # that are worth a call each

_UNITS_AT_ONCE = 1 << 22


def layer_bytes(units: int, layer_grid: tuple[int, int] | None, grid: tuple[int, int]) -> int:
    """Bytes that a layer takes on disk for each image: its maps, and peak, smallest value and sum of each unit.

    Examples
    --------
    >>> layer_bytes(512, (7, 7), (56, 56))
    108544
    """
    if layer_grid is None:
        return units * (4 + 4)
    return units * (4 * min(layer_grid[0], grid[0]) * min(layer_grid[1], grid[1]) + 4 + 4 + 8)


@dataclass(frozen=True)
class ArrivingMaps:
    """Maps of a layer that are reduced where the network runs, and what comes of it on its way to this process.

    Attributes
    ----------
    maps : float32 tensor, (N, U, h, w)
        As the network returned them.
    grid : tuple of int
        (H, W) of the label grid.
    arrived : Arriving
        Each image's largest and smallest value and its sum, (N, U), and the maps at most at the label grid.
    """

    maps: Tensor
    grid: tuple[int, int]
    arrived: Arriving

    @classmethod
    def of(cls, maps: Tensor, grid: tuple[int, int]) -> "ArrivingMaps":
        """Reduce maps of any type of number."""
        maps = maps.float()
        flat = maps.flatten(2)
        return cls(maps, grid, Arriving([flat.amax(2), flat.amin(2), _sums(flat), at_most_grid(maps, grid)]))


def _sums(flat: Tensor) -> Tensor:
    """Sums over the positions of maps, (N, U, positions), in float64, (N, U)."""
    if flat.device.type != "cpu" or flat.stride(1) != 1 or not 1 <= flat.shape[2] <= _FEW_POSITIONS:
        return flat.sum(2, dtype=torch.float64)
    # units lie side by side, as features do: adding one position after another takes an eighth of the time
    first, *others = flat.unbind(2)
    sums = first.double()
    for position in others:
        sums += position
    return sums


@dataclass(frozen=True)
class Filled:
    """How much of some maps is not 0, as a share.

    An image of which all of a layer is 0, such as a black one may be, tells nothing of the others and is left out.

    Attributes
    ----------
    positions : float
        Of all positions.
    images : float
        Of all units in all images, those that are not 0 somewhere.
    whole : float
        Those that are 0 nowhere.
    """

    positions: float = 1.0
    images: float = 1.0
    whole: float = 1.0

    @classmethod
    def of(cls, maps: Tensor) -> "Filled":
        """Of maps, (N, U, h, w); where nothing is there, everything may be filled elsewhere."""
        there = (maps != 0).flatten(2)
        there |= torch.signbit(maps).flatten(2)  # -0.0 is kept
        of_images = torch.stack([part.flatten(1).double().mean(1) for part in (there, there.any(2), there.all(2))])
        found: list[list[float]] = of_images.T.tolist()  # all together, as a device may have to be waited for
        telling = [shares for shares in found if any(shares)]
        return cls(*(fmean(shares) for shares in zip(*telling, strict=True))) if telling else cls()

    @property
    def few(self) -> bool:
        """Whether so little is filled that nothing else should be kept."""
        return self.positions <= FEW


@dataclass
class LayerMaps:
    """The activations of one layer over all images.

    Everything that is on disk is on disk image by image. What is summed over images follows from it, so that a store
    that was cut short, and parts of a store that are put together, give the same bits as one pass.

    Attributes
    ----------
    name : str
        The layer.
    layer_grid : tuple of int or None
        (h, w) of its maps, or None where it has no grid and every image is one position.
    maps : Rows
        (N, U, h', w') float32: the maps, on the sides where the layer is finer than the label grid brought to it. Of
        features that are 0 nearly everywhere, only what is not 0 is on disk; so it is with what follows.
    peaks : Rows
        (N, U) float32: largest activation of each image.
    lows, sums : Rows or None
        (N, U) float32 and float64: smallest activation of each image, and the sum over all positions of the layer
        grid; None where there is one position, and both are the peak.
    store : Store
        Has them, and where any activation was NaN or infinite how many were, (N, U) int32.
    smallest, largest : float32 arrays, (U,)
        Over all images.
    total : float64 array, (U,)
        Sum over all images and positions, added in the order of the images.
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
    lows: Rows | None
    sums: Rows | None
    store: Store
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

    def peaks_by_unit(self, units: Iterable[int]) -> PeaksByUnit:
        """Peaks of all images, unit by unit, of some units."""
        return PeaksByUnit(self.peaks, units)

    @classmethod
    def start(cls, name: str, maps: Tensor, grid: tuple[int, int], store: Store) -> "LayerMaps":
        """Make the files of a layer whose first maps, (N, U, h, w), are known; they say how much of it is 0."""
        units, h, w = maps.shape[1:]
        return cls._of(name, None if (h, w) == (1, 1) else (h, w), units, grid, store, filled=Filled.of(maps))

    @classmethod
    def reopen(cls, described: LayerDocument, grid: tuple[int, int], store: Store, *, images: int) -> "LayerMaps":
        """Open the files of a layer that `describe` describes, of so many images, and sum them up."""
        kinds = ("maps", "peaks", "lows", "sums") if described.grid else ("maps", "peaks")
        store.check_rows([f"{kind}/{described.name}" for kind in kinds], count=images)
        layer = cls._of(described.name, described.grid, described.units, grid, store)
        layer.layout, layer.left_out = described.layout, dict(described.left_out)
        with sound(store.folder):
            layer._sum_up_again()
        return layer

    def _sum_up_again(self) -> None:
        """Sum up what is there."""
        counted = f"nonfinite/{self.name}"
        nonfinite = self.store.rows(counted, (self.units,), np.int32) if self.store.existing(counted) else None
        for block in in_blocks(self.peaks.count, _UNITS_AT_ONCE // max(self.units, 1)):
            images = range(block.start, block.stop)
            peaks = self.peaks.read(images)
            lows = peaks if self.lows is None else self.lows.read(images)
            sums = peaks.astype(np.float64) if self.sums is None else self.sums.read(images)
            if not (np.isfinite(peaks).all() and np.isfinite(lows).all() and np.isfinite(sums).all()):
                raise UnitlensError(f"{self.name} has activations that are no numbers")
            self._sum_up(peaks, lows, sums)
            if nonfinite is not None:
                self.nonfinite += nonfinite.read(images).sum(0)

    @classmethod
    def _of(
        cls,
        name: str,
        layer_grid: tuple[int, int] | None,
        units: int,
        grid: tuple[int, int],
        store: Store,
        *,
        filled: "Filled | None" = None,
    ) -> "LayerMaps":
        """A layer whose files are there, or are made for maps of which so much is filled."""
        (h, w), filled = layer_grid or (1, 1), filled if filled is not None and filled.few else Filled()

        def rows(kind: str, shape: tuple[int, ...], dtype: type[np.floating], share: float) -> Rows:
            return store.rows(f"{kind}/{name}", shape, dtype, filled=share)

        return cls(
            name=name,
            layer_grid=layer_grid,
            maps=rows("maps", (units, min(h, grid[0]), min(w, grid[1])), np.float32, filled.positions),
            peaks=rows("peaks", (units,), np.float32, filled.images),
            lows=rows("lows", (units,), np.float32, filled.whole) if layer_grid else None,
            sums=rows("sums", (units,), np.float64, filled.images) if layer_grid else None,
            store=store,
            smallest=np.full(units, np.inf, np.float32),
            largest=np.full(units, -np.inf, np.float32),
            total=np.zeros(units),
            nonfinite=np.zeros(units, np.int64),
        )

    def describe(self) -> dict[str, Any]:
        """What `reopen` needs beside the files."""
        return {
            "name": self.name,
            "grid": self.layer_grid,
            "units": self.units,
            "layout": self.layout,
            "left_out": self.left_out,
        }

    def add(self, maps: "ArrivingMaps") -> None:
        """Append the maps of further images, once they have arrived."""
        peaks, lows, sums, on_grid = maps.arrived.arrays()
        if not np.isfinite(sums).all():  # float64 has room for the sum of any finite numbers of float32
            finite = torch.isfinite(maps.maps)
            self._add_nonfinite((~finite).sum((2, 3)).cpu().numpy())
            cleaned = ArrivingMaps.of(torch.where(finite, maps.maps, 0.0), maps.grid)
            peaks, lows, sums, on_grid = cleaned.arrived.arrays()
        self._sum_up(peaks, lows, sums)
        append(self.peaks, peaks)
        if self.lows is not None and self.sums is not None:
            append(self.lows, lows)
            append(self.sums, sums)
        append(self.maps, on_grid)

    def _add_nonfinite(self, counts: npt.NDArray[np.int64]) -> None:
        self.nonfinite += counts.sum(0)
        # Few networks have any, and then few units on few images: what is 0 takes no disk.
        rows = self.store.rows(f"nonfinite/{self.name}", (self.units,), np.int32, filled=0.0)
        rows.put(self.peaks.count, counts.astype(np.int32))

    def _sum_up(
        self, peaks: npt.NDArray[np.float32], lows: npt.NDArray[np.float32], sums: npt.NDArray[np.float64]
    ) -> None:
        """Add further images, (N, U) each, to what is said of all."""
        self.largest = np.maximum(self.largest, peaks.max(0))
        self.smallest = np.minimum(self.smallest, lows.min(0))
        for image in sums:  # one after another: another order would round differently
            self.total += image
