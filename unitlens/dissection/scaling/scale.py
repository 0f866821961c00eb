"""The cost model of a dissection: what it takes for so many images and processes, from what its steps take.

A process looks at its part of the images, N / P of them, in every pass. Blocks of units are then dealt over the
processes: whoever counts a block reads its maps, and the labels, of all images. The first process gathers the counts.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from unitlens.dissection.scaling.rates import Rates

PAGE = 4096
"""Bytes that a disk reads at least."""


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
        How many of these are counted: the network's own and its controls'.
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
        Bytes of labels that a process keeps, so that it reads them once.
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
    written = work.counted * work.images * work.store_bytes
    disk, network = rates.disk or float("inf"), rates.network or float("inf")
    shown = work.passes * share + -(-work.calibrations // processes) * work.calibrated
    looking = max(shown * work.image_seconds, written / processes / disk)
    blocks = [-(-layer.blocks // processes) for layer in work.layers]  # of the process that has most
    counting = work.counted * sum(
        count * (layer.fixed + work.images * layer.image) for count, layer in zip(blocks, work.layers, strict=True)
    )
    read = _read(work, processes)
    sent = work.counted * sum(layer.counts for layer in work.layers) * (processes - 1) // processes
    reading = read / processes / disk
    gathering = sent / network + sum(layer.exemplars for layer in work.layers)
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


def _read(work: Workload, processes: int) -> int:
    """Bytes that are read from disk while units are counted, by all processes together."""
    labels, maps = work.images * work.label_bytes, sum(layer.row_bytes for layer in work.layers) * work.images
    total = 0
    for layer in work.layers:
        total += layer.blocks * layer.scans * work.images * layer.block_bytes
        if labels > work.in_memory:
            of_each = min(processes, layer.blocks)  # a process without a block reads none
            total += of_each * -(-layer.blocks // (of_each * layer.together)) * work.readings * labels
    if work.machine is not None and labels + maps // processes <= work.machine // 2:
        total = min(total, 0 if processes == 1 else processes * labels + maps)  # written here a moment ago, or once
    return work.counted * total


def _memory(work: Workload) -> int | None:
    """Of the first process, which has the counts of all layers in the end."""
    if work.held is None:
        return None
    counts = work.counted * sum(layer.counts for layer in work.layers)
    return work.held + work.block + counts + work.images * work.record
