"""The pass over the images: activations and labels are written to the store, for all later steps."""

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from unitlens.data.batches import Batch, Batches, Reached
from unitlens.data.columns import Columns
from unitlens.data.concepts import Data, described
from unitlens.data.pixels.layout import moved_last
from unitlens.data.reading import ALL, Part, Reading
from unitlens.dissection.memory import counting_memory
from unitlens.dissection.rounding.deviation import compared_images, measure_deviation
from unitlens.dissection.settings import Settings
from unitlens.dissection.store.folder import Store
from unitlens.dissection.store.images import going_on
from unitlens.dissection.store.layers import ArrivingMaps, LayerMaps
from unitlens.dissection.store.limit import ALONE, PassesBeside, StoreLimit, in_bytes
from unitlens.dissection.store.passes import StoredPass
from unitlens.dissection.store.rows import Rows, append
from unitlens.errors import UnitlensError, argument
from unitlens.models.activations import Readout, reader
from unitlens.models.bases import Coding
from unitlens.models.fast.copies import FastCopy, fast_copy
from unitlens.models.fast.processor import lacks_bfloat16
from unitlens.models.layouts import layout_note, left_out
from unitlens.models.network import Network
from unitlens.models.passes import evaluating
from unitlens.models.preprocessing import Preprocessing
from unitlens.models.transfers import is_ahead, one_behind
from unitlens.progress import tell
from unitlens.stats.thresholds import threshold_rank

THUMBNAIL = 160
"""Images are kept for the exemplars at least so large, or as large as the network takes them."""

FEWEST_IMAGES = 2
"""A threshold is a quantile over all images; of a single image no statement on a unit can be made."""

COARSE = 16
"""There is a warning where a layer has fewer positions, each of which covers more cells of the label grid."""


@dataclass(frozen=True)
class Resources:
    """What a dissection may use of the machine; nothing of it changes the result.

    Attributes
    ----------
    workers : int
        Processes that decode images; 0: none beside this one.
    store_limit : int or None
        Bytes on disk; None: half of what is free.
    show : bool
        Whether progress is shown.
    """

    workers: int = 0
    store_limit: int | None = None
    show: bool = False

    def __post_init__(self) -> None:
        if self.workers < 0:
            raise UnitlensError(f"{argument('workers', self.workers)} must be 0 or more.")


def columns_of(data: Data, settings: Settings) -> Columns:
    """Return the columns of the counts: the concepts of the data, and how not-judged positions count."""
    return Columns.of(data.concepts, not_judged=settings.not_judged, union=settings.union)


def check_memory(batch: int, image_size: tuple[int, int], grid: tuple[int, int], *, planes: int) -> None:
    """Refuse a batch whose images and labels alone would take more than half of the machine's memory.

    The system ends a process that asks for too much without any message, so that this is checked beforehand.

    Parameters
    ----------
    batch : int
        Images at a time.
    image_size, grid : tuple of int
        Height and width of the network's input, rows and columns of the label grid.
    planes : int
        Label planes of an image.

    Raises
    ------
    UnitlensError
        If it would.
    """
    if not hasattr(os, "sysconf"):  # not on Windows
        return
    of_images, cells = 15 * image_size[0] * image_size[1], grid[0] * grid[1]  # 8 bits and float32, three colours
    of_labels = 4 * planes * cells  # int16, twice while they are stacked
    need = batch * (of_images + of_labels) + 32 * cells  # and one plane while it is sampled
    allowed = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    if need > allowed:
        largest = argument("grid" if of_labels > of_images else "image_size")
        raise UnitlensError(
            f"{batch} images of {image_size[0]} x {image_size[1]} at a time, with labels on a grid of {grid[0]} x "
            f"{grid[1]}, take {in_bytes(need)}, more than half of this machine's memory ({in_bytes(allowed)}): lower "
            f"{largest} or {argument('batch_size')}."
        )


def observe(
    net: Network,
    data: Data,
    settings: Settings,
    store: Store,
    *,
    resources: Resources,
    basis: Coding | None = None,
    thumbnails: bool = False,
    part: Part = ALL,
    of_network: Sequence[str] = (),
    beside: PassesBeside = ALONE,
) -> StoredPass:
    """Run the network once on every image, and keep the layers' activations and what is marked.

    Parameters
    ----------
    net : Network
    data : Data
    settings : Settings
        If there are too few positions for the quantile, that is an error at the first batch.
    store : Store
        Where it is kept. Of a store that was stopped, the pass goes on from its last commit; one that is complete is
        returned, if its images are what they were.
    resources : Resources
    basis : Coding, optional
        Directions that take the place of the layers' units.
    thumbnails : bool
        Whether small images are kept for the exemplars.
    part : Part
        Of the images, where the other ones are looked at elsewhere.
    of_network : sequence of str
        What the user should know of the network.
    beside : PassesBeside
        That will be on disk with it in the end.

    Returns
    -------
    StoredPass

    Raises
    ------
    UnitlensError
        If a batch cannot fit in memory, the store would be larger than allowed, there are too few positions for the
        quantile, no image can be read, the network fails on them, or images are others than before the pass was
        stopped. Whatever is raised, what was done is kept in a store that lasts, and a note of the error says so.
    """
    columns, grid = columns_of(data, settings), settings.grid
    reading = Reading(
        batch_size=settings.batch_size,
        workers=resources.workers,
        limit=settings.limit,
        seed=settings.seed,
        strict=settings.strict,
        progress=resources.show,
        part=part,
    )
    stored = (
        StoredPass.reopen(store)
        if store.manifest.images or store.manifest.complete
        else StoredPass.start(columns, grid, store, ious=described(data).ious, of_network=of_network)
    )
    stored.check_of(settings.layers, grid, columns)
    batches = Batches(
        data, net.preprocessing, reading, columns=columns, grid=grid, task="looking", record=stored.record
    )
    check_images(batches.of_all)
    check_memory(
        min(settings.batch_size, batches.of_all), net.preprocessing.image_size, grid, planes=len(columns.categories)
    )
    if store.manifest.complete:
        batches.check_unchanged()
        return stored
    with going_on(stored.kept, show=resources.show):
        checking = _look(net, batches, stored, settings, resources, basis=basis, thumbnails=thumbnails, beside=beside)
    stored.seconds = batches.record.seconds - checking
    if part.parts == 1:
        check_images(stored.images)
    stored.kept.settle()
    stored.commit(complete=True)
    return stored


def _look(
    net: Network,
    batches: Batches,
    stored: StoredPass,
    settings: Settings,
    resources: Resources,
    *,
    basis: Coding | None,
    thumbnails: bool,
    beside: PassesBeside,
) -> float:
    """Run the network on every batch; return the seconds that comparing a fast copy with the network took."""
    readout = Readout(settings.layers, settings.tap, settings.layout, basis)
    checking, store = 0.0, stored.labels.store
    limit = StoreLimit.of(store, resources.store_limit, images=batches.record.total, beside=beside)
    if stored.layers:
        limit.check()
    fast = None if settings.fast is None else fast_copy(net, settings.layers, settings.fast)
    if resources.show and settings.fast == "bfloat16" and lacks_bfloat16(net.device):
        tell("this processor has no instructions for bfloat16, which takes longer here than float32")
    run = reader(net, readout, outputs=net.image == "output", fast=fast)

    def given() -> Iterator[_OnTheWay]:
        """Give the network one batch after another."""
        nonlocal checking
        for batch in _waiting(batches, stored):
            inputs = net.prepare(batch.images)
            maps, outputs = run(inputs)
            images = net.arriving_images(batch.images, outputs)
            del outputs  # of a segmentation network, the first ones are larger than anything that is kept
            if not stored.layers:
                batch = batches.seen(batch, images())
                stored.thumbnails = _thumbnail_rows(batch.images, store, settings) if thumbnails else None
                _start(stored, maps, batches, settings, resources, limit)
                _note_layouts(stored, net, readout)
                if fast is not None:
                    start = time.perf_counter()
                    exact = reader(net, readout)(inputs[: compared_images(batches.of_all)]).maps
                    _note_deviation(stored, fast, exact, maps, batch, settings)
                    checking = time.perf_counter() - start
                stored.begin()
            leaving = {layer: ArrivingMaps.of(found, settings.grid) for layer, found in maps.items()}
            del maps
            yield _OnTheWay(batch, images, leaving, batches.record.reached)

    def add(one: _OnTheWay) -> None:
        _add(stored, batches, one, net.preprocessing, settings, limit)

    with evaluating(net.model):
        if is_ahead(net.device):
            with store.writing_behind():
                one_behind(given(), add)
        else:
            for one in given():
                add(one)
    return checking


class _OnTheWay(NamedTuple):
    """A batch that the network has been given, and what comes of it.

    While a GPU is at work on a batch, what came of the one before is stored.

    Attributes
    ----------
    batch : Batch
    images : callable
        Waits for the images that units are compared with.
    maps : dict of str to ArrivingMaps
        By layer.
    reached : Reached
        How far the images were read with this batch.
    """

    batch: Batch
    images: Callable[[], Tensor]
    maps: dict[str, ArrivingMaps]
    reached: Reached


def _waiting(batches: Iterable[Batch], stored: StoredPass) -> Iterator[Batch]:
    """Pass batches on, and add up how long they were waited for."""
    start = time.perf_counter()
    for batch in batches:
        stored.waiting += time.perf_counter() - start
        yield batch
        start = time.perf_counter()


def _start(
    stored: StoredPass,
    maps: dict[str, Tensor],
    batches: Batches,
    settings: Settings,
    resources: Resources,
    limit: StoreLimit,
) -> None:
    """Make the files, now that the layers' shapes are known; tell what they and the counts will take, or refuse it."""
    store, grid, total = stored.labels.store, stored.labels.grid, batches.of_all
    stored.layers = {layer: LayerMaps.start(layer, activation, grid, store) for layer, activation in maps.items()}
    limit.check()
    if resources.show:
        _announce(limit)
        units = [layer.units for layer in stored.layers.values()]
        columns = stored.labels.columns
        needed = counting_memory(units, columns, images=total, cells=grid[0] * grid[1], draws=settings.draws)
        whole = batches.reading.part.parts == 1
        counting = "counting" if whole else "putting the parts together and counting"
        tell(f"{counting} takes at most {in_bytes(needed)} of memory" + ", beside the network" * whole)
    for layer in stored.layers.values():  # images that cannot be read may make them too few later on
        threshold_rank(settings.quantile, total * layer.positions(grid, raw=settings.threshold_on == "raw"))


def _note_layouts(stored: StoredPass, net: Network, readout: Readout) -> None:
    """Note how the layers were read, and what of them was left out."""
    for layer, layout in readout.layouts.items():
        kinds = left_out(net.model, layout)
        note = layout_note(layer, layout, kinds, net.preprocessing.image_size)
        stored.layers[layer].layout, stored.layers[layer].left_out = layout.order, kinds
        stored.notes += [note] if note else []
    grid = stored.labels.grid
    for maps in stored.layers.values():
        h, w = maps.layer_grid or grid
        if h * w < COARSE and grid[0] * grid[1] > COARSE * h * w:
            stored.notes.append(
                f"{maps.name} has only {h} x {w} positions for a label grid of {grid[0]} x {grid[1]}: its masks are "
                f"too coarse for most concepts. Use larger images ({argument('image_size')}) or an earlier layer."
            )


def _note_deviation(
    stored: StoredPass,
    fast: FastCopy,
    exact: Mapping[str, Tensor],
    maps: Mapping[str, Tensor],
    batch: Batch,
    settings: Settings,
) -> None:
    """Note what a fast copy does without, and how far it is off on the first images."""
    stored.notes += fast.notes
    count = len(next(iter(exact.values())))
    first = {layer: found[:count] for layer, found in maps.items()}
    deviation = measure_deviation(exact, first, batch.planes[:count], stored.labels.columns, settings)
    stored.deviation = {layer: {**fast.describe(), **off} for layer, off in deviation.items()}


def check_images(count: int) -> None:
    """Make sure that there are images enough for a threshold.

    Raises
    ------
    UnitlensError
        If there are not.
    """
    if count < FEWEST_IMAGES:
        raise UnitlensError(
            f"There is only {count} image: a unit's threshold is a quantile over at least {FEWEST_IMAGES} images. Use "
            f"more data, or a larger {argument('limit')}."
        )


def _add(
    stored: StoredPass,
    batches: Batches,
    one: _OnTheWay,
    preprocessing: Preprocessing,
    settings: Settings,
    limit: StoreLimit,
) -> None:
    """Store what came of a batch, and let it count; refuse to go on where that will take too much."""
    batch = batches.seen(one.batch, one.images())
    for layer, maps in one.maps.items():
        stored.layers[layer].add(maps)
    stored.labels.add(batch.planes, batch.folds)
    if stored.thumbnails is not None:
        small = preprocessing.shown(batch.images)
        factor = _thumbnail_factor(batch.images, settings)
        if factor > 1:
            small = torch.nn.functional.avg_pool2d(small.float(), factor).round_().byte()
        append(stored.thumbnails, moved_last(small.numpy()))
    stored.kept.settled = one.reached
    limit.check()
    if stored.labels.store.due:
        stored.commit()


def _thumbnail_rows(images: Tensor, store: Store, settings: Settings) -> Rows:
    factor = _thumbnail_factor(images, settings)
    return store.rows("thumbnails", (images.shape[2] // factor, images.shape[3] // factor, 3), np.uint8)


def _thumbnail_factor(images: Tensor, settings: Settings) -> int:
    """How many pixels a side become one of an exemplar."""
    return max(1, min(images.shape[2:]) // (settings.exemplar_size or THUMBNAIL))


def _announce(limit: StoreLimit) -> None:
    """Tell how large the store will be, with those of further passes that are kept beside it."""
    passes = "" if limit.passes == 1 else f" in {limit.passes} passes"
    gone = "" if limit.store.lasting else ", removed afterwards"
    tell(f"keeping {in_bytes(limit.needed)} of activations and labels{passes} under {limit.store.folder.parent}{gone}")


def nonfinite_notes(stored: StoredPass) -> list[str]:
    """Note activations that are not finite numbers."""
    notes = []
    for layer in stored.layers.values():
        bad = np.flatnonzero(layer.nonfinite)
        if len(bad):
            units = ", ".join(map(str, bad[:8])) + (", ..." if len(bad) > 8 else "")
            notes.append(
                f"{layer.name} has NaN or infinite activations in {len(bad)} of {layer.units} units ({units}), "
                f"{int(layer.nonfinite.sum())} values in all: these units get no concept."
            )
    return notes
