"""What a dissection would take, before it is run: units, passes, time, memory and disk."""

import math
import shutil
import tempfile
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from torch import nn

from unitlens.data.columns import Columns
from unitlens.data.concepts import Data
from unitlens.data.opening import open_data
from unitlens.dissection.forward import THUMBNAIL
from unitlens.dissection.memory import kept_memory, peak_memory
from unitlens.dissection.result import Dissection
from unitlens.dissection.run import dissect
from unitlens.dissection.store.layers import layer_bytes
from unitlens.errors import UnitlensError, UnitlensWarning
from unitlens.models.loading import classifier
from unitlens.models.network import Network

BATCHES = 3
"""At most so many are dissected, and at most a quarter of the images, and a third of that too: time has a part that
is fixed and a part that grows with the images."""


class LayerPlan(NamedTuple):
    """Units and grid of a layer."""

    name: str
    units: int
    grid: tuple[int, int] | None


@dataclass(frozen=True)
class Plan:
    """What a dissection would take.

    Attributes
    ----------
    layers : tuple of LayerPlan
    images, batches : int
        How many images are shown to the network, each once, and in how many forward passes.
    concepts, categories : int
    grid : (int, int)
        The label grid.
    seconds : float
        The whole run, on this machine as busy as it is now.
    memory : int or None
        Bytes of this process at most, the workers aside; None where the system does not say.
    disk, free : int
        Bytes that wait on disk while it runs, and that are free there.
    sample : int
        How many images were dissected to estimate it.
    """

    layers: tuple[LayerPlan, ...]
    images: int
    batches: int
    concepts: int
    categories: int
    grid: tuple[int, int]
    seconds: float
    memory: int | None
    disk: int
    free: int
    sample: int


class _Timed(NamedTuple):
    images: int
    seconds: float
    result: Dissection


def plan(
    net: Network | nn.Module,
    layers: str | Sequence[str] | None,
    data: Data | str | Path,
    *,
    quantile: float | None = None,
    limit: int | None = None,
    batch_size: int = 32,
    **options: Any,
) -> Plan:
    """Say what a dissection would take, from a few batches.

    Parameters
    ----------
    net, layers, data, quantile, limit, batch_size
        As for `unitlens.dissect`.
    **options
        Any other keyword of `unitlens.dissect`.

    Returns
    -------
    Plan

    Raises
    ------
    UnitlensError
        What `unitlens.dissect` would raise on the first images.
    """
    net = net if isinstance(net, Network) else classifier(net)
    data = open_data(data) if isinstance(data, str | Path) else data
    total = len(data) if limit is None else min(limit, len(data))
    batch_size = max(1, batch_size)
    more = max(1, min(BATCHES * batch_size, total // 4))
    fewer = max(1, more // 3)
    warm_up = {**options, "evidence": False, "exemplars": 0}
    _sample(net, layers, data, fewer, quantile, batch_size, warm_up)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UnitlensWarning)  # what there is to say was said
        timed = [_sample(net, layers, data, count, quantile, batch_size, options) for count in (fewer, more)]
    result = timed[-1].result
    grid = result.settings.grid
    on_disk = total * _row_bytes(result, net.preprocessing.image_size, grid, shown=options.get("exemplars", 8) > 0)
    own = tuple(
        LayerPlan(name, layer["units"], tuple(layer["grid"]) if layer["grid"] else None)
        for name, layer in result.info["layers"].items()
    )
    concepts = result.info["data"]["concepts"]
    return Plan(
        layers=own,
        images=total,
        batches=math.ceil(total / batch_size),
        concepts=len(concepts),
        categories=len(result.info["data"]["categories"]),
        grid=(grid[0], grid[1]),
        seconds=_extrapolated(timed, total),
        memory=_memory(result),
        disk=on_disk,
        free=shutil.disk_usage(tempfile.gettempdir()).free,
        sample=more,
    )


def _sample(
    net: Network,
    layers: str | Sequence[str] | None,
    data: Data,
    count: int,
    quantile: float | None,
    batch_size: int,
    options: dict[str, Any],
) -> _Timed:
    """Dissect the first images; a few positions need a larger quantile, which changes the time by little."""
    start = time.perf_counter()
    arguments = {**options, "quantile": quantile, "batch_size": batch_size, "limit": count}
    try:
        result = dissect(net, layers, data, **arguments)
    except UnitlensError as error:
        if not str(error).startswith("There are only"):
            raise
        start = time.perf_counter()
        result = dissect(net, layers, data, **{**arguments, "quantile": min(0.5, 2 / count)})
    return _Timed(count, time.perf_counter() - start, result)


def _extrapolated(timed: Sequence[_Timed], total: int) -> float:
    first, last = timed[0], timed[-1]
    if last.images == first.images:
        return last.seconds
    an_image = max(0.0, last.seconds - first.seconds) / (last.images - first.images)
    return last.seconds + an_image * (total - last.images)


def _row_bytes(result: Dissection, image: tuple[int, int], grid: tuple[int, ...], *, shown: bool) -> int:
    """Bytes that one image takes on disk: maps and peaks, label planes, and a small image."""
    size = 0
    for layer in result.info["layers"].values():
        layer_grid = tuple(layer["grid"]) if layer["grid"] else None
        size += layer_bytes(layer["units"], layer_grid, (grid[0], grid[1]))
    concepts, categories = len(result.info["data"]["concepts"]), len(result.info["data"]["categories"])
    size += 2 * categories * grid[0] * grid[1] + 1 + concepts + categories
    factor = max(1, round(min(image) / THUMBNAIL))
    return size + (3 * (image[0] // factor) * (image[1] // factor) if shown else 0)


def _memory(result: Dissection) -> int | None:
    """The most memory that was held so far, and what the counts of all images may take, in bytes."""
    held, concepts = peak_memory(), result.info["data"]["concepts"]
    columns = Columns.of([(row["category"], row["label"], row["name"]) for row in concepts])
    counts = sum(kept_memory(layer["units"], columns) for layer in result.info["layers"].values())
    return None if held is None else held + counts
