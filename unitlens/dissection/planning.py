"""What a dissection would take, before it is run: passes, time, memory and disk."""

import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from torch import nn

from unitlens.data.concepts import Data
from unitlens.dissection.controls import batch_norms
from unitlens.dissection.costs import PassCost, counting_cost, exemplar_seconds
from unitlens.dissection.forward import Resources, observe
from unitlens.dissection.memory import counting_memory, kept_memory, peak_memory
from unitlens.dissection.run import task_of
from unitlens.dissection.store.folder import Store
from unitlens.dissection.store.passes import StoredPass
from unitlens.dissection.store.temporary import temporary_store
from unitlens.dissection.work.passes import passes_of
from unitlens.dissection.work.task import Task
from unitlens.models.network import Network
from unitlens.stats.thresholds import threshold_rank

SAMPLE = 32
"""So many images are measured, or one batch where it is larger."""


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
    images : int
        How many images there are.
    passes : int
        How often the network is run on all of them: once, and for every control again.
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
        How many images were measured to estimate it.
    """

    layers: tuple[LayerPlan, ...]
    images: int
    passes: int
    concepts: int
    categories: int
    grid: tuple[int, int]
    seconds: float
    memory: int | None
    disk: int
    free: int
    sample: int


def plan(net: Network | nn.Module, layers: str | Sequence[str] | None, data: Data | str | Path, **options: Any) -> Plan:
    """Estimate what a dissection would take, from one batch of images.

    The batch is decoded, shown to the network and counted for one block of units of each layer; all that grows with
    images and units is multiplied. The estimate of the time is within a factor of two where the machine is as busy
    during the run. Loading the network, opening the images and writing the files are not in it.

    Parameters
    ----------
    net, layers, data
        As for `unitlens.dissect`.
    **options
        Any keyword of `unitlens.dissect`.

    Returns
    -------
    Plan

    Raises
    ------
    UnitlensError
        What `unitlens.dissect` would raise on its first images.

    Examples
    --------
    >>> import unitlens as ul
    >>> planned = ul.plan(ul.load("bundled:scenes"), None, "bundled:scenes", limit=64, control="untrained")
    >>> planned.images, planned.passes
    (64, 2)
    """
    task = task_of(net, layers, data, options)
    settings = task.settings
    keeps = 1 if options.get("checkpoint") is None else len(passes_of(settings))
    total = len(task.data) if settings.limit is None else min(settings.limit, len(task.data))
    with temporary_store() as store:
        _observe(task, store, min(2, total))  # what the first pass alone takes is not multiplied
    with temporary_store() as store:
        stored = _observe(task, store, min(total, max(SAMPLE, settings.batch_size)))
        for layer in stored.layers.values():
            positions = layer.positions(settings.grid, raw=settings.threshold_on == "raw")
            threshold_rank(settings.quantile, total * positions)
        return Plan(
            layers=tuple(LayerPlan(layer.name, layer.units, layer.layer_grid) for layer in stored.layers.values()),
            images=total,
            passes=_passes(task),
            concepts=len(stored.labels.columns.concepts),
            categories=len(stored.labels.columns.categories),
            grid=settings.grid,
            seconds=_seconds(task, stored, total),
            memory=_memory(task, stored, total),
            disk=total * store.row_bytes * keeps,
            free=shutil.disk_usage(tempfile.gettempdir()).free,
            sample=stored.images,
        )


def _observe(task: Task, store: Store, images: int) -> StoredPass:
    """A pass over a few images, of which no quantile is taken."""
    settings, resources = replace(task.settings, limit=images, quantile=0.5), Resources()
    thumbnails = settings.exemplars > 0
    return observe(task.net, task.data, settings, store, basis=task.basis, resources=resources, thumbnails=thumbnails)


def _passes(task: Task) -> int:
    """How often the network is run on all images: once, and for every control again."""
    kinds = [control.kind for control in task.settings.control_passes]
    untrained = kinds.count("untrained") * (1 + bool(batch_norms(task.net.model)))  # calibrated in a pass of its own
    return 1 + untrained + (len(task.settings.layers) if "rotated" in kinds else 0)


def _seconds(task: Task, stored: StoredPass, total: int) -> float:
    """The time of all passes, and of what is computed for every layer of the network and of its controls."""
    settings, layers = task.settings, list(stored.layers.values())
    seconds = _passes(task) * PassCost.of(stored).seconds(total, workers=task.resources.workers)
    units = sum(layer.units for layer in layers)
    for layer in layers:
        cost = counting_cost(stored, layer, settings, images=total)
        seconds += cost.seconds(total, levels=True) + len(settings.control_passes) * cost.seconds(total, levels=False)
        seconds += exemplar_seconds(stored, layer, settings, units=units)
    return seconds


def _memory(task: Task, stored: StoredPass, total: int) -> int | None:
    """The most memory that was held so far, and what the counts of all images take, in bytes."""
    held, columns, settings = peak_memory(), stored.labels.columns, task.settings
    if held is None:
        return None
    units = [layer.units for layer in stored.layers.values()]
    cells = settings.grid[0] * settings.grid[1]
    counting = counting_memory(units, columns, images=total, cells=cells, draws=settings.draws)
    return held + counting + len(settings.control_passes) * sum(kept_memory(count, columns) for count in units)
