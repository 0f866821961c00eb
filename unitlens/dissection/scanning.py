"""Walk through the stored activations of a layer and find the positions at which its units are active."""

import math
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from unitlens.dissection.memory import KEPT
from unitlens.dissection.positions.waiting import KeptPositions
from unitlens.dissection.store.layers import LayerMaps
from unitlens.dissection.store.nonzero import NonZero
from unitlens.stats.blocks import in_blocks
from unitlens.stats.masks import Active, Axis, SamplePlan, Upsampling, interpolate, true_at

CHUNK_VALUES = 1 << 17
"""Values of the layer grid that are looked at together: half a megabyte, and what comes of it still fits a cache."""

MOST_IMAGES = 64
"""Images that are looked at together at most where nearly all maps are 0 everywhere."""

GUESS_SHARES = (1.3, 6.0)
"""Guesses of a threshold leave so many times more positions above them than the quantile does, best guess first."""

_GUESS_IMAGES, _GUESS_VALUES = 127, 1 << 13
"""Levels are guessed from so many images at least, and from more where they have few positions.

The number is odd: of images that take turns, such as those of two classes, all are among them.
"""

_GUESS_EVERY = 4


class Scanner:
    """Active positions of a block of units over all images, from the store.

    A threshold takes several scans, each at a higher level than the one before. What the first finds is kept
    in a file, as far as it has room there (`KEPT` positions), and the next then only sifts it.

    Parameters
    ----------
    layer : LayerMaps
    units : slice
        The block, with a start and a stop.
    grid : tuple of int
        (H, W) of the label grid.
    upsampling : {"edges", "zeros"}
    images : int, optional
        Only so many from the start.
    pieces_of : int, optional
        Images of each piece that is yielded; by default so many that their maps fit a cache.

    Attributes
    ----------
    units : int
        How many they are.
    on_grid : bool
        Whether the layer has a grid.
    """

    def __init__(
        self,
        layer: LayerMaps,
        units: slice,
        grid: tuple[int, int],
        upsampling: Upsampling,
        *,
        images: int | None = None,
        pieces_of: int | None = None,
    ) -> None:
        self._layer, self._block = layer, units
        self._images = layer.peaks.count if images is None else images
        self.units, self.on_grid = units.stop - units.start, layer.layer_grid is not None
        h, w = layer.maps.shape[1:]
        self._plan = SamplePlan((h, w), grid, upsampling) if self.on_grid else SamplePlan((h, w), (1, 1))
        self._chunk = pieces_of or images_at_once(layer, self.units)
        # All positions above ``_kept_level`` of their unit; nothing is kept of a unit where it is infinite.
        self._kept: list[KeptPositions] = []  # of each scan that read from the store, a piece for every piece of images
        self._kept_level = torch.full((self.units,), torch.inf)

    def __call__(self, level: Tensor, top: Tensor | None = None) -> Iterator[Active]:
        """Yield all positions strictly above the level of their unit, those that are kept in 32 bits.

        ``image`` counts through the data set.

        Parameters
        ----------
        level : float32 tensor, (U,)
            Infinite for units that are not looked for.
        top : float32 tensor, (U,), optional
            What lies above it is left out.
        """
        # Units whose level is lower than what is kept of them are read from the store; of the others, all that lies
        # above their level has been kept.
        is_read = level < self._kept_level
        level_of_others = torch.where(is_read, torch.inf, self._kept_level)
        if bool(is_read.any()):
            self._kept = [KeptPositions(_sift(active, level_of_others) for active in kept) for kept in self._kept]
        yield from (_sift(active, level, top) for kept in self._kept for active in kept)
        if not bool(is_read.any()):
            return
        self._kept_level = torch.where(is_read, level, level_of_others)
        size, found = sum(kept.count for kept in self._kept), KeptPositions()
        self._kept.append(found)
        for active in self.above(torch.where(is_read, level, torch.inf)):
            size += len(active.unit)
            if size <= KEPT:
                active = Active(active.unit.int(), active.image.int(), active.position.int(), active.value)
                found.append(active)
            yield active if top is None else _sift(active, level, top)
        if size > KEPT:  # a part would be of no use
            self._kept, self._kept_level = [], torch.full((self.units,), torch.inf)

    def kept_above(self, level: Tensor) -> Iterator[Active]:
        """Yield all positions above levels that are final, and keep them here no longer.

        Parameters
        ----------
        level : float32 tensor, (U,)

        Yields
        ------
        Active
            A piece for every piece of images that `above` yields, in 32 bits; nothing where they were not kept.
        """
        kept = self._kept if bool((level >= self._kept_level).all()) else []
        self._kept, self._kept_level = [], torch.full((self.units,), torch.inf)
        for pieces in zip(*kept, strict=True):
            yield _join([_sift(active, level) for active in pieces])

    def above(self, level: Tensor) -> Iterator[Active]:
        """Yield the same positions from the store, a piece for every piece of images; nothing is kept."""
        for images, active in self._above(self._plan, level):
            yield active._replace(image=active.image + images.start)

    def raw(self, level: Tensor, top: Tensor | None = None) -> Iterator[Active]:
        """Yield the same on the layer's own grid, where no map is brought to another; images are not told apart."""
        h, w = self._layer.maps.shape[1:]
        for _, active in self._above(SamplePlan((h, w), (h, w)), level):
            yield active if top is None else _sift(active, level, top)

    def _above(self, plan: SamplePlan, level: Tensor) -> Iterator[tuple[slice, Active]]:
        """What lies above the levels in each piece of images, whose numbers count from its first."""
        zero_is_above = bool((level < 0).any())
        for images in in_blocks(self._images, self._chunk):
            numbers = range(images.start, images.stop)
            found = None if zero_is_above else self._layer.maps.nonzero(numbers, self._block)
            if found is None:
                yield images, plan.above(torch.from_numpy(self._layer.maps.read(numbers, self._block)), level)
            else:
                yield images, plan.above_in(*_filled_maps(found, *plan.layer_grid), level)

    def guesses(self, quantile: float) -> Iterator[Tensor]:
        """Levels that probably lie below the threshold: quantiles of some images, at some cells of the grid.

        Yields
        ------
        float32 tensor, (U,)
            Best guess first; the others, which are hardly ever needed, are computed when they are asked for.
        """
        return (self._guess(quantile, share) for share in GUESS_SHARES)

    def _guess(self, quantile: float, share: float) -> Tensor:
        """The level that so many times more positions of some images lie above than the quantile says."""
        every = [slice(min(_GUESS_EVERY // 2, cells - 1), None, _GUESS_EVERY) for cells in self._plan.grid]
        cells = math.prod(len(range(side)[some]) for side, some in zip(self._plan.grid, every, strict=True))
        count = min(self._images, max(_GUESS_IMAGES, _GUESS_VALUES // cells))
        some_images = np.arange(count) * self._images // count
        pieces = (self._layer.maps.read(some_images[piece], self._block) for piece in in_blocks(count, self._chunk))
        above_zero, below_zero, parts = torch.zeros(self.units, dtype=torch.int64), False, list[Tensor]()
        for maps in map(torch.from_numpy, pieces):
            above_zero += (maps > 0).sum((0, 2, 3))
            below_zero = below_zero or bool((maps < 0).any())
            sampled = self._plan.padded(maps)
            for side, dim in enumerate((-2, -1)):  # some of the grid's own cells: those of a coarser one are averages
                axis = self._plan.axis(side, maps.device)
                sampled = interpolate(sampled, Axis(*(part[every[side]] for part in axis)), dim=dim)
            parts.append(sampled.transpose(0, 1).flatten(1))
        values = torch.cat(parts, 1)
        # Of units that are 0 at nearly all positions, as features of a dictionary are, all that lies above 0 is little.
        dense = true_at(above_zero > quantile / 4 * count * math.prod(self._layer.maps.shape[1:]))
        mostly_zero = not below_zero and len(dense) < self.units
        if mostly_zero:
            values = values.index_select(0, dense)
        rank = min(values.shape[1], int(share * quantile * values.shape[1]) + 1)
        level = values.topk(rank, dim=1).values[:, -1]
        return torch.zeros(self.units).index_copy_(0, dense, level) if mostly_zero else level


def images_at_once(layer: LayerMaps, units: int) -> int:
    """Images of a piece, so many that the maps of so many units fit a cache, those that are 0 everywhere aside.

    It is a power of 2: some pieces of one layer are of the images of one piece of any other.
    """
    h, w = layer.maps.shape[1:]
    whole = CHUNK_VALUES // (units * h * w)
    share = min(1.0, max(layer.maps.filled, 1 / CHUNK_VALUES) * h * w)  # of the maps, those that are not 0, at most
    return 1 << (max(1, whole, min(int(CHUNK_VALUES / (share * units * h * w)), MOST_IMAGES)).bit_length() - 1)


def _filled_maps(found: NonZero, h: int, w: int) -> tuple[Tensor, Tensor, Tensor]:
    """The maps that are not 0 everywhere, (M, h, w), and the image and unit of each, (M,)."""
    unit, position = np.divmod(found.place, h * w)
    begins = np.ones(len(unit), bool)  # the numbers of one map stand together
    begins[1:] = (unit[1:] != unit[:-1]) | (found.row[1:] != found.row[:-1])
    maps = np.zeros((np.count_nonzero(begins), h * w), np.float32)
    maps[begins.cumsum() - 1, position] = found.value
    return torch.from_numpy(maps).view(-1, h, w), torch.from_numpy(found.row[begins]), torch.from_numpy(unit[begins])


def _join(pieces: Sequence[Active]) -> Active:
    """Active positions of several pieces as one."""
    return pieces[0] if len(pieces) == 1 else Active(*map(torch.cat, zip(*pieces, strict=True)))


def _sift(active: Active, level: Tensor, top: Tensor | None = None) -> Active:
    """Those of some active positions that lie above higher levels, (U,), in as many bits as they had; see `Scanner`."""
    between = active.value > level.index_select(0, active.unit)
    if top is not None:
        between &= active.value <= top.index_select(0, active.unit)
    there = true_at(between)
    return Active(*(part.index_select(0, there) for part in active))
