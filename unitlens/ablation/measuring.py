"""The loop over images: each goes through the network once, and every intervention is replayed on it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from unitlens.ablation.activity import LayerValues, unit_peaks
from unitlens.ablation.replay.replayed import MeasuredImages, Replays, Variant
from unitlens.ablation.responses.response import Counter, Response
from unitlens.ablation.table import LayerUnits
from unitlens.data.batches import Batch, Batches, ImageRecord
from unitlens.data.columns import Columns
from unitlens.data.concepts import Data
from unitlens.data.copies import copies_note
from unitlens.data.reading import Reading
from unitlens.dissection.provenance import describe_read
from unitlens.errors import UnitlensError
from unitlens.models.network import Network
from unitlens.models.passes import evaluating
from unitlens.stats.exact_sums import ExactSums
from unitlens.stats.folds import FEWEST_FOLDS, Folds
from unitlens.stats.scores import Floats, Ints

Counts = TypeVar("Counts")


@dataclass(frozen=True, eq=False)
class Design(Generic[Counts]):
    """What is measured.

    Attributes
    ----------
    layers : tuple of str
    values : tuple of LayerValues
        What the units of each layer are replaced by.
    response : Response
        What is measured of the outputs.
    sets : tuple of tuple of tuple of int, optional
        Units of each layer that are ablated together, a set at a time; None: every unit of the one layer alone.
    places : tuple of Tensor, each (h, w), optional
        Where the units of each set are replaced, in all images; None: where ``values`` say.
    folds : {"all", "even", "odd"}
        Which images are measured; of the others nothing is computed.
    grid : (int, int)
        Of the label grid, where the response asks for what is marked.
    """

    layers: tuple[str, ...]
    values: tuple[LayerValues, ...]
    response: Response[Counts]
    sets: tuple[LayerUnits, ...] | None = None
    places: tuple[Tensor, ...] | None = None
    folds: Folds = "all"
    grid: tuple[int, int] = (1, 1)

    def variants(self) -> list[Variant] | None:
        """The interventions; None: every unit of the one layer alone."""
        if self.sets is None:
            return None
        places = self.places or [None] * len(self.sets)
        return [Variant(*pair) for pair in zip(self.sets, places, strict=True)]


@dataclass(frozen=True, eq=False)
class Measured(Generic[Counts]):
    """What was counted, and how.

    Attributes
    ----------
    counts
        Of the response.
    units : tuple of int
        How many each layer has.
    peaks : float64 array, (U,)
        Mean over the images of each unit's largest activation; of several layers, one after the other.
    data : dict
        Of the images: how many were read and measured, their hash, those that were left out.
    replay : dict
        Whether what lies behind the layer was replayed, or why not.
    notes : list of str
        What to warn of.
    seconds : float
    """

    counts: Counts
    units: tuple[int, ...]
    peaks: Floats
    data: dict[str, Any]
    replay: dict[str, Any]
    notes: list[str]
    seconds: float


def measure(net: Network, data: Data, design: Design[Counts], reading: Reading) -> Measured[Counts]:
    """Measure interventions on every image that the response can be measured on.

    Parameters
    ----------
    net : Network
    data : Data
    design : Design
    reading : Reading

    Returns
    -------
    Measured

    Raises
    ------
    UnitlensError
        If nothing can be measured on any image, a unit is out of range, or the network fails or does not return what
        the response is measured of.
    """
    columns = Columns.of(data.concepts)
    batches = Batches(data, net.preprocessing, reading, columns=columns, grid=design.grid, task="ablating")
    work = _Work(net, data, design)
    for batch in batches:
        chosen = _chosen(batch, design)
        if len(chosen):
            work.add(batch, chosen)
    read = batches.record
    cut = work.replays.cut
    if work.counter is None or cut is None:
        raise UnitlensError(_nothing_measured(read, design))
    return Measured(
        counts=work.counter.counts(),
        units=work.units,
        peaks=work.peaks.sums()[0] / work.images,
        data=describe_read(read, columns.concepts, measured=work.images),
        replay={"replays": cut.replays, "reason": cut.reason or None},
        notes=[*read.notes, *_copies(read), *design.response.notes(read), *filter(None, [cut.reason])],
        seconds=read.seconds,
    )


def _copies(read: ImageRecord) -> list[str]:
    """Note copies and near copies, where images have no groups; of latents, images are not looked at."""
    if read.grouped or len(read.fingerprints) < len(read.names):
        return []
    return copies_note(read.names, read.fingerprints)


def few_folds(data: Mapping[str, Any], images: Ints) -> str:
    """Say that there are no intervals, as the images of a measurement, by fold (F, ...), fill too few folds."""
    groups = "" if data["groups"] is None else f" in {data['groups']['count']} groups"
    filled = int(images.reshape(len(images), -1).any(1).sum())
    return (
        f"The {data['measured']} images that were measured{groups} fill {filled} of {len(images)} folds, fewer than "
        f"{FEWEST_FOLDS}: there are no intervals (low, high and q_value are empty)."
    )


def _chosen(batch: Batch, design: Design[Any]) -> npt.NDArray[np.int64]:
    """Indices in the batch of the images to measure: those that can be, in the folds."""
    chosen = design.response.measurable(batch)
    if design.folds != "all":
        chosen = chosen & (np.array(batch.folds, dtype=np.int64) % 2 == (design.folds == "odd"))
    return np.flatnonzero(chosen)


def _nothing_measured(read: ImageRecord, design: Design[Any]) -> str:
    why = design.response.why_nothing(read)
    return why or f"No image that can be measured is of the {design.folds} folds: use more images."


class _Work(Generic[Counts]):
    """The state of the loop: the network, cut with the first images, and the counts so far."""

    def __init__(self, net: Network, data: Data, design: Design[Counts]) -> None:
        self.net, self.data, self.design = net, data, design
        self.replays = Replays(net, design.layers, design.values, design.variants(), total=len(data))
        self.counter: Counter[Counts] | None = None
        self.units: tuple[int, ...] = ()
        self.peaks, self.images = ExactSums(1, (0,)), 0

    def add(self, batch: Batch, chosen: npt.NDArray[np.int64]) -> None:
        """Run the network on some images of a batch, and replay every intervention on them."""
        images = MeasuredImages(batch, chosen, self.net.prepare(batch.images[torch.from_numpy(chosen)]))
        replayed = self.replays.on(images)
        activations = [replayed.activation(layer) for layer in self.design.layers]
        if self.counter is None:
            self.units = tuple(activation.shape[1] for activation in activations)
            variants = self.units[0] if self.design.sets is None else len(self.design.sets)
            self.counter = self.design.response.start(self.net, self.data, images, replayed.output, variants)
            self.peaks = ExactSums(1, (sum(self.units),))
        with evaluating(self.net.model):
            self.counter.add(replayed)
        self.images += len(chosen)
        peaks = [unit_peaks(activation) for activation in activations]
        self.peaks.add(np.zeros(len(chosen), np.int64), np.concatenate(peaks, 1))
