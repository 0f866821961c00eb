"""Exemplars: the images with the highest activation of each unit, no two alike, and the strips that show them."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from unitlens.data.copies import fingerprint, is_near_copy
from unitlens.dissection.settings import Settings
from unitlens.dissection.store.layers import LayerMaps
from unitlens.dissection.store.passes import StoredPass
from unitlens.dissection.store.rows import Rows
from unitlens.drawing.strips import TilePlanes, join_tiles, strip_limit, strip_size, tile_masks
from unitlens.stats.blocks import in_blocks

if TYPE_CHECKING:
    import pandas as pd

LOOKED_AT = 64
"""Of so many images for each exemplar those are left out that are like a better one."""

_PEAKS_AT_ONCE, _IMAGES_AT_ONCE = 1 << 21, 1 << 13

_TILE_BYTES = 1 << 26
"""Of images that are kept while strips are drawn."""


class Exemplars(NamedTuple):
    """For every unit, the K images with the highest peak, one a group; ties in the order of the images.

    Attributes
    ----------
    image : int64 array, (U, K)
        Number of the image in the run.
    value : float32 array, (U, K)
        The peak: the largest activation on the layer's own grid.
    peak_y, peak_x : float64 arrays, (U, K)
        Where it is, as a share of the height and width of the network's input; 0.5 where the layer has no grid.
    """

    image: npt.NDArray[np.int64]
    value: npt.NDArray[np.float32]
    peak_y: npt.NDArray[np.float64]
    peak_x: npt.NDArray[np.float64]


@dataclass
class Variety:
    """Which images show the same thing: those of one group, or, where no groups are known, near copies.

    Attributes
    ----------
    groups : sequence of str or None
        The group of each image; None: images are compared.
    thumbnails : Rows or None
        What is compared. Without it, all images are different.
    """

    groups: Sequence[str] | None
    thumbnails: Rows | None
    _fingerprints: dict[int, bytes] = field(default_factory=dict)

    @classmethod
    def of(cls, stored: StoredPass) -> "Variety":
        """Of the images of a pass."""
        return cls(stored.record.groups if stored.record.grouped else None, stored.thumbnails)

    def first(self, ranked: npt.NDArray[np.int64], count: int) -> npt.NDArray[np.int64]:
        """Of images in an order the first ones that are not like an earlier one, (count,).

        Where there are too few among the first ``LOOKED_AT * count``, the first of the others join them.
        """
        kept: list[int] = []
        others: list[int] = []
        for place, image in enumerate(ranked[: LOOKED_AT * count].tolist()):
            if len(kept) == count:
                break
            (others if self._is_like(image, ranked[kept].tolist()) else kept).append(place)
        return ranked[sorted(kept + others[: count - len(kept)])]

    def _is_like(self, image: int, others: Sequence[int]) -> bool:
        """Whether an image shows the same as one of some others."""
        if self.groups is not None:
            return self.groups[image] in {self.groups[other] for other in others}
        if self.thumbnails is None:
            return False
        return is_near_copy(self._fingerprint(image), [self._fingerprint(other) for other in others])

    def _fingerprint(self, image: int) -> bytes:
        if image not in self._fingerprints and self.thumbnails is not None:
            self._fingerprints[image] = fingerprint(self.thumbnails.read([image])[0])
        return self._fingerprints[image]


def find_exemplars(layer: LayerMaps, count: int, variety: Variety) -> Exemplars:
    """Find the images with the highest activation of each unit of a layer, of images that are alike the first.

    Parameters
    ----------
    layer : LayerMaps
    count : int
        K; at most the number of images.
    variety : Variety
        Which images are alike.

    Returns
    -------
    Exemplars
    """
    count = min(count, layer.peaks.count)
    image = np.stack([variety.first(ranked, count) for ranked in highest_peaks(layer, LOOKED_AT * count)])
    h, w = layer.maps.shape[1:]
    value, cell = np.zeros(image.shape, np.float32), np.zeros(image.shape, np.int64)
    for unit in range(layer.units):
        maps = layer.maps.read(image[unit], slice(unit, unit + 1)).reshape(count, -1)
        cell[unit] = maps.argmax(1)
        value[unit] = layer.peaks.read(image[unit], slice(unit, unit + 1))[:, 0]
    return Exemplars(image, value, (cell // w + 0.5) / h, (cell % w + 0.5) / w)


def highest_peaks(layer: LayerMaps, most: int) -> Iterator[npt.NDArray[np.int64]]:
    """Yield, unit by unit, the images of highest peak, (at most ``most``,): the highest first, ties in their order.

    Peaks are read in the order of the images, some at a time, whatever the number of images.
    """
    for units in in_blocks(layer.units, _PEAKS_AT_ONCE // most):
        count = units.stop - units.start
        kept = [(np.zeros(0, np.float32), np.zeros(0, np.int64))] * count
        for block in in_blocks(layer.peaks.count, min(_IMAGES_AT_ONCE, _PEAKS_AT_ONCE // count)):
            peaks = layer.peaks.read(range(block.start, block.stop), units)
            kept = [
                _highest(*of_unit, values, block.start, most)
                for of_unit, values in zip(kept, np.ascontiguousarray(peaks.T), strict=True)
            ]
        yield from (image for _, image in kept)


def _highest(
    value: npt.NDArray[np.float32],
    image: npt.NDArray[np.int64],
    peaks: npt.NDArray[np.float32],
    first: int,
    most: int,
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    """The highest values and their images, after peaks of further images from ``first`` on."""
    further = np.flatnonzero(peaks > value[-1]) if len(value) == most else np.arange(len(peaks))
    if not len(further):
        return value, image
    value, image = np.concatenate([value, peaks[further]]), np.concatenate([image, first + further])
    order = np.argsort(-value, kind="stable")[:most]
    return value[order], image[order]


def exemplar_table(layer: str, exemplars: Exemplars | None, names: Sequence[str]) -> "pd.DataFrame":
    """Make the rows of exemplars.csv: layer, unit, rank (from 1), image, value, peak_y, peak_x."""
    import pandas as pd

    if exemplars is None:
        return pd.DataFrame(columns=["layer", "unit", "rank", "image", "value", "peak_y", "peak_x"])
    units, count = exemplars.image.shape
    return pd.DataFrame(
        {
            "layer": layer,
            "unit": np.repeat(np.arange(units), count),
            "rank": np.tile(np.arange(1, count + 1), units),
            "image": [names[image] for image in exemplars.image.ravel().tolist()],
            "value": exemplars.value.ravel().astype(np.float64),
            "peak_y": exemplars.peak_y.ravel(),
            "peak_x": exemplars.peak_x.ravel(),
        }
    )


def draw_strips(
    stored: StoredPass,
    layer: LayerMaps,
    exemplars: Exemplars,
    threshold: npt.NDArray[np.float32],
    settings: Settings,
    *,
    chosen: Sequence[int],
    strips: int,
) -> list[bytes]:
    """Draw an image file for each chosen unit: its exemplars side by side, with the mask on them.

    Parameters
    ----------
    stored : StoredPass
        With thumbnails.
    layer : LayerMaps
    exemplars : Exemplars
    threshold : float32 array, (U,)
    settings : Settings
        Whether it says how large tiles are.
    chosen : sequence of int
        Units of the layer.
    strips : int
        How many units the whole run has: the more, the smaller each file may be where nothing is said of it.
    """
    if stored.thumbnails is None:
        return []
    size, limit = settings.exemplar_size, None
    if size is None:
        kept = min(stored.thumbnails.shape[:2])
        size, limit = strip_size(strips, tiles=settings.exemplars, largest=kept), strip_limit(strips)
    tile = _kept_tiles(stored.thumbnails, size)
    drawn = []
    for unit in chosen:
        images = exemplars.image[unit]
        maps = layer.maps.read(images, slice(unit, unit + 1))[:, 0]
        masks = tile_masks(maps, float(threshold[unit]), size)
        tiles = TilePlanes.joined([tile(image) for image in images.tolist()])
        drawn.append(join_tiles(tiles, masks, limit=limit))
    return drawn


def _kept_tiles(thumbnails: Rows, size: int) -> Callable[[int], TilePlanes]:
    """Images as tiles: many are exemplars of several units, and some are kept."""

    @lru_cache(maxsize=max(1, _TILE_BYTES // (6 * size * size)))
    def tile(image: int) -> TilePlanes:
        return TilePlanes.of(thumbnails.read([image]), size)

    return tile
