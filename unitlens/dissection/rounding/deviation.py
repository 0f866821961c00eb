"""How far a fast copy of a network is off, in activations, thresholds and concepts, on the first images."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from torch import Tensor

from unitlens.data.columns import Columns
from unitlens.dissection.counting import count_block
from unitlens.dissection.settings import Settings
from unitlens.dissection.store.labels import LabelPlanes
from unitlens.dissection.store.layers import ArrivingMaps, LayerMaps
from unitlens.dissection.store.temporary import temporary_store
from unitlens.errors import UnitlensError
from unitlens.models.fast.copies import largest_difference
from unitlens.stats.draws.partners import Partners
from unitlens.stats.scores import Bools, Floats, Ints, Overlap, choose
from unitlens.stats.thresholds import threshold_rank

ONE_OF, FEWEST, MOST = 100, 8, 16
"""The network itself also sees one image in so many, so many at least and at most: each takes a whole pass."""


class _Read(NamedTuple):
    """What follows from the activations of a layer: thresholds and concepts of its units, and which are active."""

    threshold: Floats
    concept: Ints
    active: Bools


def compared_images(images: int) -> int:
    """How many of so many images are also seen by the network itself, at most.

    Examples
    --------
    >>> [compared_images(images) for images in (100, 1000, 10_000)]
    [8, 10, 16]
    """
    return min(max(images // ONE_OF, FEWEST), MOST)


def measure_deviation(
    exact: Mapping[str, Tensor],
    fast: Mapping[str, Tensor],
    planes: Sequence[npt.NDArray[np.int16]],
    columns: Columns,
    settings: Settings,
) -> dict[str, dict[str, Any]]:
    """Compare the maps of some images, by layer, (N, U, h, w), and what they come to in a dissection of these alone.

    Parameters
    ----------
    exact, fast : mapping of str to Tensor
        Of the network itself, and of its fast copy.
    planes : sequence of int16 array
        What is marked in each of the images.
    columns : Columns
    settings : Settings

    Returns
    -------
    dict of str to dict
        For each layer ``images``, ``units``, ``activation`` (the largest difference, as a share of the largest
        activation), ``threshold`` (the same of a unit's threshold, as a share of its largest activation) and
        ``concepts`` (units whose best concept is another one); the last two are None where so few images have no
        thresholds.
    """
    images = len(planes)
    found: dict[str, dict[str, Any]] = {}
    with temporary_store() as store:
        labels = LabelPlanes.start(columns, settings.grid, store)
        labels.add(planes, [0] * images)
        for layer, maps in exact.items():
            both = []
            for kind, activation in (("exact", maps), ("fast", fast[layer])):
                rows = LayerMaps.start(f"{kind}/{layer}", activation, settings.grid, store)
                rows.add(ArrivingMaps.of(activation, settings.grid))
                both.append(_read(rows, labels, settings, images))
            threshold, concepts = _differences(maps, *both)
            found[layer] = {
                "images": images,
                "units": maps.shape[1],
                "activation": largest_difference(maps, fast[layer]),
                "threshold": threshold,
                "concepts": concepts,
            }
    return found


def _read(layer: LayerMaps, labels: LabelPlanes, settings: Settings, images: int) -> _Read | None:
    """Find thresholds and concepts on these images alone; None where they are too few."""
    raw = settings.threshold_on == "raw"
    try:
        rank = threshold_rank(settings.quantile, images * layer.positions(labels.grid, raw=raw))
    except UnitlensError:
        return None
    folds, partners = np.zeros(images, np.int64), Partners(images)
    everything = slice(0, layer.units)
    counted = count_block(layer, everything, labels, folds, settings, rank=rank, partners=partners)
    concepts, category_of = 1 + len(labels.columns.concepts), labels.columns.category_of
    marked, active = counted.by_fold.sum(1), counted.active.sum(1)
    totals = labels.by_fold(grid=layer.layer_grid is not None).sum(0)
    overlap = Overlap(
        marked[:, 1:concepts],
        (active[:, None] - marked[:, concepts:])[:, category_of],
        totals[1:concepts],
        (images * layer.positions(labels.grid) - totals[concepts:])[category_of],
    )
    return _Read(counted.threshold.astype(np.float64), choose(overlap), active > 0)


def _differences(maps: Tensor, exact: _Read | None, fast: _Read | None) -> tuple[float | None, int | None]:
    """The largest difference of a threshold, and how many units have another concept; of units that are not silent."""
    if exact is None or fast is None:
        return None, None
    largest = maps.float().amax((0, 2, 3)).abs().cpu().numpy().astype(np.float64)
    both = exact.active & fast.active
    off = np.abs(fast.threshold - exact.threshold) / np.maximum(largest, 1e-30)
    changed = (exact.concept != fast.concept) & both | (exact.active != fast.active)
    return float(off[both].max(initial=0.0)), int(changed.sum())
