"""The cost model of a dissection: what it takes for so many images and processes, from what its steps take.

A process looks at its part of the images, N / P of them, in every pass. The blocks of units of all layers of a pass are
then dealt over the processes by turns: whoever counts a block reads its maps, and the labels, of all images. The first
process gathers the counts.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from unitlens.dissection.scaling.rates import Rates

PAGE = 4096
"""Bytes that a disk reads at least."""

SUMMARY = 16
"""Bytes of the peak, the lowest value and the sum of a unit in an image."""

_PEAK = 4  # of these, bytes of the peak


@dataclass(frozen=True)
class LayerLoad:
    """What one layer takes, of one pass.

    Attributes
    ----------
    units, blocks : int
        How many units there are, and in how many blocks they are counted.
    row_bytes : int
        Of its maps, for one image.
    scans : int
        How often they are read to count a block.
    together : int
        Blocks that a process counts together, reading the labels once.
    fixed, image : float
        Seconds that a block takes whatever the images are, and for each image.
    exemplars : float
        Seconds to find and draw those of all units.
    counts : int
        Bytes of its counts and tables.
    """

    units: int
    blocks: int
    row_bytes: int
    scans: int
    together: int
    fixed: float
    image: float
    exemplars: float
    counts: int

    @property
    def block_bytes(self) -> int:
        """Bytes that are read of one image's maps for a block."""
        return min(self.row_bytes, max(PAGE, self.row_bytes // self.blocks))


@dataclass(frozen=True)
class Workload:
    """What is to be done.

    Attributes
    ----------
    images : int
    passes : int
        How often the network is run on all images.
    calibrations, calibrated : int
        How many networks have their batch norms calibrated, which processes share, and with how many images.
    counted : int
        How many of these are counted with all layers at a time: the network's own and its untrained copies'.
    by_layer : int
        How many controls are counted layer by layer, as each layer has a pass of its own.
    kept : int
        How many are on disk at the same time.
    image_seconds : float
        Of one image in a pass, its decoding included, for one process.
    layers : sequence of LayerLoad
    store_bytes, label_bytes : int
        What a pass leaves on disk of one image, and how much of that are labels.
    readings : int
        How often the labels of an image are read for blocks that are counted together: as they are, and for every
        draw.
    in_memory : int
        Bytes of labels that a process puts into one small file, so that it reads them from the store once.
    held, block, record : int
        Bytes of memory: of a process with the network, of a block that is counted, of what is known of an image and of
        its draws.
    machine : int or None
        Memory of the machine that a process has to itself; what fits into half of it is not read from disk again.
    """

    images: int
    passes: int
    calibrations: int
    calibrated: int
    counted: int
    by_layer: int
    kept: int
    image_seconds: float
    layers: Sequence[LayerLoad]
    store_bytes: int
    label_bytes: int
    readings: int
    in_memory: int
    held: int | None
    block: int
    record: int
    machine: int | None


@dataclass(frozen=True)
class ScalePlan:
    """What a dissection would take with so many processes, each on a machine of its own.

    Attributes
    ----------
    processes : int
    seconds : float
        The whole run.
    looking, counting, reading, gathering : float
        Of these: passes over the images; thresholds, counts and evidence; waiting for what is read from disk
        meanwhile; and what the first process does for all, exemplars and counts that are sent to it.
    memory : int or None
        Bytes of the first process, its workers aside; None where the system does not say.
    disk : int
        Bytes on disk, of all processes together.
    written, read, sent : int
        Bytes of traffic, of all processes together: to disk, from disk, and to the first process.
    """

    processes: int
    seconds: float
    looking: float
    counting: float
    reading: float
    gathering: float
    memory: int | None
    disk: int
    written: int
    read: int
    sent: int


def at_scale(work: Workload, rates: Rates, processes: int) -> ScalePlan:
    """Compute what the work takes with so many processes.

    Parameters
    ----------
    work : Workload
    rates : Rates
        Of which disk and network are needed.
    processes : int
    """
    share = -(-work.images // processes)
    counted = work.counted + work.by_layer
    written = counted * work.images * work.store_bytes
    disk, network = rates.disk or float("inf"), rates.network or float("inf")
    shown = work.passes * share + -(-work.calibrations // processes) * work.calibrated
    looking = max(shown * work.image_seconds, written / processes / disk)
    counting = sum(_longest(layers, work.images, processes) for layers in _dealt_together(work))
    read = _read(work, processes)
    sent = counted * sum(layer.counts for layer in work.layers) * (processes - 1) // processes
    reading = read / processes / disk
    ranked = sum(layer.units for layer in work.layers if layer.exemplars) * work.images * _PEAK
    gathering = sent / network + ranked / disk + sum(layer.exemplars for layer in work.layers)
    return ScalePlan(
        processes=processes,
        seconds=looking + counting + reading + gathering,
        looking=looking,
        counting=counting,
        reading=reading,
        gathering=gathering,
        memory=_memory(work),
        disk=work.kept * work.images * work.store_bytes,
        written=written,
        read=read,
        sent=sent,
    )


def _dealt_together(work: Workload) -> list[Sequence[LayerLoad]]:
    """Layers whose blocks are dealt together, pass after pass."""
    return [work.layers] * work.counted + [[layer] for layer in work.layers] * work.by_layer


def _longest(layers: Sequence[LayerLoad], images: int, processes: int) -> float:
    """Seconds of the process that has most to do, of blocks that are dealt by turns."""
    seconds = np.repeat([layer.fixed + images * layer.image for layer in layers], [layer.blocks for layer in layers])
    return max(float(seconds[rank::processes].sum()) for rank in range(min(processes, len(seconds))))


def _read(work: Workload, processes: int) -> int:
    """Bytes that are read from disk while units are counted, by all processes together."""
    labels, maps = work.images * work.label_bytes, sum(layer.row_bytes for layer in work.layers) * work.images
    counted = work.counted + work.by_layer
    total = sum(layer.blocks * layer.scans * work.images * layer.block_bytes for layer in work.layers) * counted
    if labels > work.in_memory:
        total += sum(_label_readings(layers, work.readings, processes) for layers in _dealt_together(work)) * labels
    if work.machine is not None and labels + maps // processes <= work.machine // 2:
        # It was written here a moment ago, or is read once.
        total = min(total, 0 if processes == 1 else (processes * labels + maps) * counted)
    if processes > 1:  # each sums up what the others have seen
        total += processes * sum(layer.units for layer in work.layers) * work.images * SUMMARY * counted
    return total


def _label_readings(layers: Sequence[LayerLoad], readings: int, processes: int) -> int:
    """How often the labels of all images are read for the blocks of some layers, by all processes together."""
    blocks = sum(layer.blocks for layer in layers)
    of_each = min(processes, blocks)  # a process without a block reads none
    rounds = -(-blocks // (of_each * min(layer.together for layer in layers)))
    return of_each * (rounds * readings + (readings > 1))  # once more for what concepts have in the draws


def _memory(work: Workload) -> int | None:
    """Of the first process, which has the counts of all layers in the end."""
    if work.held is None:
        return None
    counts = (work.counted + work.by_layer) * sum(layer.counts for layer in work.layers)
    return work.held + work.block + counts + work.images * work.record
