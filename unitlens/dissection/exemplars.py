"""Exemplars: the images with the highest activation of each unit, and the strips that show them."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from unitlens.dissection.store.layers import LayerMaps
from unitlens.dissection.store.passes import StoredPass
from unitlens.drawing.strips import draw_strip, strip_limit, tile_masks

if TYPE_CHECKING:
    import pandas as pd


class Exemplars(NamedTuple):
    """For every unit, the K images with the highest peak; ties in the order of the images.

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


def find_exemplars(layer: LayerMaps, count: int) -> Exemplars:
    """Find the images with the highest activation of each unit of a layer.

    Parameters
    ----------
    layer : LayerMaps
    count : int
        K; at most the number of images.

    Returns
    -------
    Exemplars
    """
    count = min(count, layer.peaks.count)
    ranked = [np.argsort(-peaks, axis=1, kind="stable")[:, :count] for _, peaks in layer.peaks_by_unit()]
    image = np.concatenate(ranked)
    h, w = layer.maps.shape[1:]
    value, cell = np.zeros(image.shape, np.float32), np.zeros(image.shape, np.int64)
    for unit in range(layer.units):
        maps = layer.maps.read(image[unit], slice(unit, unit + 1)).reshape(count, -1)
        cell[unit] = maps.argmax(1)
        value[unit] = layer.peaks.read(image[unit], slice(unit, unit + 1))[:, 0]
    return Exemplars(image, value, (cell // w + 0.5) / h, (cell % w + 0.5) / w)


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
    *,
    size: int,
    strips: int,
) -> list[bytes]:
    """Draw an image file for each unit: its exemplars side by side, with the mask on them.

    Parameters
    ----------
    stored : StoredPass
        With thumbnails.
    layer : LayerMaps
    exemplars : Exemplars
    threshold : float32 array, (U,)
    size : int
        Side of a tile in pixels.
    strips : int
        How many the whole run has: the more, the smaller each file may be.
    """
    if stored.thumbnails is None:
        return []
    drawn = []
    for unit, images in enumerate(exemplars.image):
        maps = layer.maps.read(images, slice(unit, unit + 1))[:, 0]
        masks = tile_masks(maps, float(threshold[unit]), size)
        drawn.append(draw_strip(stored.thumbnails.read(images), masks, size=size, limit=strip_limit(strips)))
    return drawn
