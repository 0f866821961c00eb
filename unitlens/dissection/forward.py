"""The one pass over the images: what every later step needs is put on disk."""

import os
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from unitlens.data.batches import Batch, Unread, batches
from unitlens.data.columns import Columns
from unitlens.data.concepts import Data
from unitlens.dissection.memory import counting_memory
from unitlens.dissection.store.folder import Store
from unitlens.dissection.store.labels import LabelPlanes
from unitlens.dissection.store.layers import LayerMaps
from unitlens.dissection.store.passes import StoredPass
from unitlens.dissection.store.rows import RowFile
from unitlens.errors import UnitlensError, argument
from unitlens.models.activations import Answer, deviation_of, fast_runner, runner
from unitlens.models.bases import Basis
from unitlens.models.hooks import Tap
from unitlens.models.layouts import Order, layout_note, left_out
from unitlens.models.network import Network
from unitlens.models.passes import evaluating
from unitlens.progress import progress, tell
from unitlens.stats.thresholds import threshold_rank

THUMBNAIL = 112
"""Images are kept for the exemplars at about this size."""


@dataclass(frozen=True)
class Reading:
    """How images are read and shown to the network, and how its answer is read.

    Attributes
    ----------
    batch_size, workers, limit, strict
        See `unitlens.data.batches.batches`.
    fast : bool
        Whether the network may compute in a faster way that rounds differently.
    store_limit : int or None
        Bytes that the store may take; None: half of the free disk.
    thumbnails : bool
        Whether small images are kept for the exemplars.
    show : bool
        Whether progress is shown.
    layout : str or None
        How the layers' outputs are laid out; None: by the rule of `unitlens.models.layouts`.
    basis : Basis or None
        Directions that are the units; None: the layers' own units.
    """

    batch_size: int = 32
    workers: int = 0
    limit: int | None = None
    strict: bool = False
    fast: bool = False
    store_limit: int | None = None
    thumbnails: bool = False
    show: bool = False
    layout: Order | None = None
    basis: Basis | None = None

    def __post_init__(self) -> None:
        for name, smallest in (("batch_size", 1), ("workers", 0), ("limit", 1)):
            value = getattr(self, name)
            if value is not None and value < smallest:
                raise UnitlensError(f"{name} is {value}; it is {smallest} or more.")


def check_memory(batch: int, image_size: tuple[int, int], grid: tuple[int, int], *, planes: int) -> None:
    """Refuse a batch whose images and labels alone would take more than half of the machine's memory.

    The kernel ends a process that asks for too much without a word, so that this has to be said before.

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
    layers: Sequence[str],
    data: Data,
    columns: Columns,
    store: Store,
    *,
    grid: tuple[int, int],
    tap: Tap,
    reading: Reading,
    quantile: float | None = None,
    draws: int | None = None,
) -> StoredPass:
    """Show every image to the network once, and keep what the layers say and what is labels.

    Parameters
    ----------
    net : Network
    layers : sequence of str
    data : Data
    columns : Columns
    store : Store
        Where it is kept.
    grid : tuple of int
        (H, W) of the label grid.
    tap : {"output", "after_inplace"}
        What counts as the layer's activation.
    reading : Reading
    quantile : float, optional
        Of the thresholds to come: with too few positions for it, the first batch is the last.
    draws : int, optional
        How often images will be given the labels of others, where units are going to be counted: what that takes of
        memory is said beforehand.

    Returns
    -------
    StoredPass

    Raises
    ------
    UnitlensError
        If a batch cannot fit in memory, the store would be larger than allowed, there are too few positions for the
        quantile, no image can be read, or the network fails on them.
    """
    total = len(data) if reading.limit is None else min(reading.limit, len(data))
    check_memory(min(reading.batch_size, total), net.preprocessing.image_size, grid, planes=len(columns.categories))
    stored = StoredPass({}, LabelPlanes.start(columns, grid, store))
    stored.unread += [Unread(name, "not an image file") for name in getattr(data, "not_images", ())]
    start = time.perf_counter()
    answer = Answer(tuple(layers), tap, reading.layout, reading.basis)
    run = (fast_runner if reading.fast else runner)(net.model, answer)
    stream = batches(
        data,
        columns,
        net.preprocessing,
        grid=grid,
        batch_size=reading.batch_size,
        workers=reading.workers,
        limit=reading.limit,
        strict=reading.strict,
    )
    with evaluating(net.model), progress(total, "looking", show=reading.show) as bar:
        for batch in stream:
            if batch.names:
                images = net.prepare(batch.images)
                maps = run(images)
                if not stored.layers:
                    _start(stored, maps, batch, total, reading, draws)
                    _check_positions(stored, total, quantile)
                    _note_layouts(stored, net, answer)
                    if reading.fast:
                        stored.deviation = deviation_of(runner(net.model, answer)(images), maps)
                _add(stored, batch, maps)
            stored.unread += batch.unread
            bar.update(len(batch.names) + len(batch.unread))
    stored.seconds = time.perf_counter() - start
    _note_losses(stored, total)
    return stored


def _start(
    stored: StoredPass, maps: dict[str, Tensor], batch: Batch, total: int, reading: Reading, draws: int | None
) -> None:
    """Make the files, whose shapes the first batch tells."""
    store, grid = stored.labels.store, stored.labels.grid
    stored.layers = {layer: LayerMaps.start(layer, activation, grid, store) for layer, activation in maps.items()}
    stored.thumbnails = _thumbnail_rows(batch.images, store) if reading.thumbnails else None
    _announce(stored, total, reading.store_limit, show=reading.show)
    if draws is not None and reading.show:
        units = [layer.units for layer in stored.layers.values()]
        needed = counting_memory(units, stored.labels.columns, images=total, cells=grid[0] * grid[1], draws=draws)
        tell(f"counting takes at most {in_bytes(needed)} of memory, beside the network")


def _check_positions(stored: StoredPass, total: int, quantile: float | None) -> None:
    """Refuse too few positions at once; images that turn out unreadable can still make them too few in the end."""
    cells = stored.labels.grid[0] * stored.labels.grid[1]
    for layer in stored.layers.values():
        if quantile is not None:
            threshold_rank(quantile, total * (cells if layer.layer_grid else 1))


def _note_layouts(stored: StoredPass, net: Network, answer: Answer) -> None:
    """Note how the layers were read, and what of them was left out."""
    for layer, layout in answer.found.items():
        kinds = left_out(net.model, layout)
        note = layout_note(layer, layout, kinds, net.preprocessing.image_size)
        stored.layers[layer].layout, stored.layers[layer].left_out = layout.order, kinds
        stored.notes += [note] if note else []


def _add(stored: StoredPass, batch: Batch, maps: dict[str, Tensor]) -> None:
    for layer, activation in maps.items():
        stored.layers[layer].add(activation, stored.labels.grid)
    stored.labels.add(batch)
    if stored.thumbnails is not None:
        factor = _thumbnail_factor(batch.images)
        small = torch.nn.functional.avg_pool2d(batch.images.float(), factor).round_().byte()
        stored.thumbnails.append(small.permute(0, 2, 3, 1).numpy())
    stored.names += batch.names
    stored.classes += batch.classes
    stored.hashes += batch.hashes
    stored.annotated += batch.annotated
    stored.digests += batch.digests


def _thumbnail_factor(images: Tensor) -> int:
    return max(1, round(min(images.shape[2:]) / THUMBNAIL))


def _thumbnail_rows(images: Tensor, store: Store) -> RowFile:
    factor = _thumbnail_factor(images)
    return store.rows("thumbnails", (images.shape[2] // factor, images.shape[3] // factor, 3), np.uint8)


def _announce(stored: StoredPass, total: int, limit: int | None, *, show: bool) -> None:
    """Say how large the store will be, or refuse."""
    labels = stored.labels
    files = [labels.planes, labels.presence, *([stored.thumbnails] if stored.thumbnails else [])]
    files += [rows for layer in stored.layers.values() for rows in (layer.maps, layer.peaks)]
    size = total * sum(rows.row_bytes for rows in files)
    free = shutil.disk_usage(labels.store.folder).free
    allowed = free // 2 if limit is None else limit
    if size > allowed:
        raise UnitlensError(
            f"The store needs {in_bytes(size)} for {total} images, more than the {in_bytes(allowed)} allowed "
            f"({in_bytes(free)} are free under {labels.store.folder.parent}): choose fewer images "
            f"({argument('limit')}), fewer or coarser layers or a coarser {argument('grid')}, or raise "
            f"{argument('store_limit')}."
        )
    if show:
        tell(
            f"keeping {in_bytes(size)} of activations and labels under {labels.store.folder.parent}, removed afterwards"
        )


def _note_losses(stored: StoredPass, total: int) -> None:
    """Note what was left out, and activations that are no numbers."""
    if not stored.images:
        reason = f": {stored.unread[-1].reason}" if stored.unread else ""
        raise UnitlensError(f"None of the {total} images could be read{reason}.")
    if stored.unread:
        first = stored.unread[0]
        files = "1 file was" if len(stored.unread) == 1 else f"{len(stored.unread)} files were"
        stored.notes.append(f"{files} left out, such as {first.image}: {first.reason}.")
    for layer in stored.layers.values():
        bad = np.flatnonzero(layer.nonfinite)
        if len(bad):
            some = ", ".join(map(str, bad[:8])) + (", ..." if len(bad) > 8 else "")
            stored.notes.append(
                f"{layer.name} has NaN or infinite activations in {len(bad)} of {layer.units} units ({some}), "
                f"{int(layer.nonfinite.sum())} values in all: these units get no label."
            )


def in_bytes(count: float) -> str:
    """A number of bytes, to be read.

    Examples
    --------
    >>> in_bytes(123_456_789)
    '123 MB'
    """
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"
