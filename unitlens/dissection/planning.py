"""What a dissection would take, before it is run: passes, time, memory and disk."""

import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from torch import nn

from unitlens.data.batches import ImageRecord
from unitlens.data.concepts import Data
from unitlens.dissection.controls import CALIBRATION_IMAGES, batch_norms
from unitlens.dissection.costs import PassCost, counting_cost, exemplar_seconds
from unitlens.dissection.draws import plan_draws
from unitlens.dissection.forward import Resources, observe
from unitlens.dissection.memory import counting_memory, kept_memory, peak_memory
from unitlens.dissection.run import task_of
from unitlens.dissection.scaling.rates import NETWORK, Rates, disk_rate, machine_memory
from unitlens.dissection.scaling.scale import LayerLoad, ScalePlan, Workload, at_scale
from unitlens.dissection.scaling.widened import widened
from unitlens.dissection.store.folder import Store
from unitlens.dissection.store.labels import KEPT_PLANES, kept_type
from unitlens.dissection.store.passes import StoredPass
from unitlens.dissection.store.temporary import temporary_store
from unitlens.dissection.work.passes import passes_of
from unitlens.dissection.work.task import Task
from unitlens.errors import UnitlensError, argument
from unitlens.models.network import Network
from unitlens.packed import Packed
from unitlens.stats.thresholds import threshold_rank

SAMPLE = 32
"""So many images are measured, or one batch where it is larger."""

_CHOOSING = 24
"""Bytes of an image's fold and its stratum, and of its place in the order of images while draws are chosen."""


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
    scales : tuple of ScalePlan
        The same with so many processes each, in the order in which they were asked for.
    rates : Rates
        What one process does in a second, as measured or given.
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
    scales: tuple[ScalePlan, ...]
    rates: Rates


def plan(
    net: Network | nn.Module,
    layers: str | Sequence[str] | None,
    data: Data | str | Path,
    *,
    images: int | None = None,
    concepts: int | None = None,
    processes: int | Sequence[int] = 1,
    rates: Mapping[str, float] | None = None,
    **options: Any,
) -> Plan:
    """Estimate what a dissection would take, from one batch of images.

    The batch is decoded, shown to the network and counted for one block of units of each layer; all that grows with
    images and units is multiplied. The estimate of the time is within a factor of two where the machine is as busy
    during the run. Loading the network, opening the images and writing the files are not in it.

    Parameters
    ----------
    net, layers, data
        As for `unitlens.dissect`.
    images : int, optional
        As if the data were so many images like those that are there.
    concepts : int, optional
        As if so many concepts were marked in them, of which each image has as many as now.
    processes : int or sequence of int
        Over how many processes the images and units are dealt, each with a machine like this one to itself.
    rates : mapping of str to float, optional
        What one process does in a second, in place of what is measured here, such as ``{"forward": 2500}`` for a GPU
        that is not here; see `unitlens.dissection.scaling.rates.RATES`.
    **options
        Any keyword of `unitlens.dissect`.

    Returns
    -------
    Plan
        Its ``scales`` say for each number of processes what takes how long, and how much memory, disk and traffic there
        is; see docs/scale.md for the model.

    Raises
    ------
    UnitlensError
        What `unitlens.dissect` would raise on its first images; or if a number is not possible.

    Examples
    --------
    >>> import unitlens as ul
    >>> planned = ul.plan(ul.load("bundled:scenes"), None, "bundled:scenes", limit=64, control="untrained")
    >>> planned.images, planned.passes
    (64, 2)
    >>> planned = ul.plan(ul.load("bundled:scenes"), None, "bundled:scenes", images=10**6, processes=[1, 8])
    >>> [scale.processes for scale in planned.scales], planned.scales[0].seconds > planned.scales[1].seconds
    ([1, 8], True)
    """
    counts = [processes] if isinstance(processes, int) else list(processes)
    for name, value in (("images", images), ("concepts", concepts), *(("processes", count) for count in counts)):
        if value is not None and value < 1:
            raise UnitlensError(f"{argument(name, value)} must be 1 or more.")
    given = Rates.of(rates)
    task = task_of(net, layers, data, options)
    settings = task.settings
    if concepts is not None:
        task = replace(task, data=widened(task.data, concepts))
    keeps = 1 if options.get("checkpoint") is None else len(passes_of(settings))
    there = len(task.data) if settings.limit is None else min(settings.limit, len(task.data))
    total = images or there
    with temporary_store() as store:
        _observe(task, store, min(2, there))  # what the first pass alone takes is not multiplied
    with temporary_store() as store:
        stored = _observe(task, store, min(there, max(SAMPLE, settings.batch_size)))
        for layer in stored.layers.values():
            positions = layer.positions(settings.grid, raw=settings.threshold_on == "raw")
            threshold_rank(settings.quantile, total * positions)
        work, used = _workload(task, stored, total, given, kept=keeps)
        scales = tuple(at_scale(work, used, count) for count in counts)
        return Plan(
            layers=tuple(LayerPlan(layer.name, layer.units, layer.layer_grid) for layer in stored.layers.values()),
            images=total,
            passes=work.passes,
            concepts=len(stored.labels.columns.concepts),
            categories=len(stored.labels.columns.categories),
            grid=settings.grid,
            seconds=scales[0].seconds,
            memory=scales[0].memory,
            disk=scales[0].disk,
            free=shutil.disk_usage(tempfile.gettempdir()).free,
            sample=stored.images,
            scales=scales,
            rates=used,
        )


def _observe(task: Task, store: Store, images: int) -> StoredPass:
    """A pass over a few images, of which no quantile is taken."""
    settings, resources = replace(task.settings, limit=images, quantile=0.5), Resources()
    thumbnails = settings.exemplars > 0
    return observe(task.net, task.data, settings, store, basis=task.basis, resources=resources, thumbnails=thumbnails)


def _passes(task: Task) -> int:
    """How often the network is run on all images: once, and for every control again."""
    return len(passes_of(task.settings))


def _workload(task: Task, stored: StoredPass, total: int, given: Rates, *, kept: int) -> tuple[Workload, Rates]:
    """What is to be done for so many images, and the rates at which it is done."""
    settings, labels, layers = task.settings, stored.labels, list(stored.layers.values())
    draws = len(plan_draws(stored, settings).partners)
    costs = [counting_cost(stored, layer, settings, images=total) for layer in layers]
    units, columns = [layer.units for layer in layers], labels.columns
    files, cells = [labels.planes, *labels.further], settings.grid[0] * settings.grid[1]
    kept_counts = [kept_memory(count, columns) for count in units]
    image_seconds, rates = _pass_rates(task, stored, total, given)
    copies = sum(one.kind == "untrained" for one in settings.control_passes)
    controls = len(settings.control_passes)
    work = Workload(
        images=total,
        passes=_passes(task),
        calibrations=copies if batch_norms(task.net.model) else 0,
        calibrated=min(total, CALIBRATION_IMAGES),
        counted=1 + copies,
        by_layer=controls - copies,
        kept=kept,
        image_seconds=image_seconds,
        layers=[
            LayerLoad(
                units=layer.units,
                blocks=cost.blocks,
                row_bytes=layer.maps.row_bytes,
                scans=cost.scans,
                together=cost.together,
                fixed=cost.fixed,
                image=(cost.image if given.count is None else cost.units / given.count)
                + cost.levels / (1 + controls),  # which have none
                exemplars=exemplar_seconds(stored, layer, settings, units=sum(units)),
                counts=counts,
            )
            for layer, cost, counts in zip(layers, costs, kept_counts, strict=True)
        ],
        store_bytes=labels.store.row_bytes,
        label_bytes=sum(file.row_bytes for file in files),
        readings=1 + draws,
        in_memory=KEPT_PLANES * 2 // np.dtype(kept_type(columns)).itemsize,  # of the bytes on disk
        held=peak_memory(),
        block=counting_memory(units, columns, images=total, cells=cells, draws=settings.draws) - sum(kept_counts),
        record=_record_bytes(stored.record, draws),
        machine=machine_memory(),
    )
    slowest = min(cost.rate for cost in costs)
    return work, replace(rates, count=given.count or slowest)


def _pass_rates(task: Task, stored: StoredPass, total: int, given: Rates) -> tuple[float, Rates]:
    """Seconds of one image in a pass, and the rates of one process."""
    cost, workers = PassCost.of(stored), task.resources.workers
    forward = given.forward or 1 / max(cost.forward, 1e-9)
    decode = given.decode or max(1, workers) / max(cost.decoding, 1e-9)
    rates = replace(
        given,
        forward=forward,
        decode=decode,
        disk=given.disk or disk_rate(),
        network=given.network or NETWORK,
    )
    if given.forward is None and given.decode is None:
        return cost.seconds(total, workers=workers) / total, rates
    if workers or given.decode is not None:  # beside the network
        return max(1 / forward, 1 / decode), rates
    return 1 / forward + 1 / decode, rates


def _record_bytes(record: ImageRecord, draws: int) -> int:
    """Bytes of memory that what is known of one image takes, and whose labels it is given in so many draws.

    Labels move on in circles, which are in files; those of groups do not, and are numbered draw by draw.
    """
    lists: tuple[Packed[Any], ...] = (record.names, record.classes, record.digests, record.hashes, record.groups)
    lists += (record.fingerprints, record.annotated, record.indices)
    of_draws = _CHOOSING + (4 * draws if record.grouped else 0)
    return of_draws + sum(values.nbytes for values in lists) // max(len(record.names), 1)
