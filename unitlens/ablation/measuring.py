"""The loop over images: each goes through the network once, and every intervention is replayed on it."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Generic, NamedTuple, TypeVar, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from unitlens.ablation.activity import LayerValues, unit_peaks
from unitlens.ablation.replay.cut import Cut
from unitlens.ablation.replay.hastening import Hastened
from unitlens.ablation.replay.replayed import MeasuredImages, Replayed, Replays, Variant
from unitlens.ablation.responses.response import Addable, Counter, Response
from unitlens.ablation.table import LayerUnits
from unitlens.ablation.work.kept import NOTHING_KEPT, Kept, measurement_key
from unitlens.data.batches import Batch, Batches, ChangedImagesError, ImageRecord, reading_notes
from unitlens.data.columns import Columns
from unitlens.data.concepts import Data, described
from unitlens.data.copies import copies_note
from unitlens.data.reading import ALL, Part, Reading
from unitlens.dissection.provenance import describe_read
from unitlens.dissection.store.folder import Store
from unitlens.dissection.store.images import StoredImages, going_on, join_records
from unitlens.dissection.store.rows import sound
from unitlens.errors import UnitlensError
from unitlens.models.bases import Coding
from unitlens.models.fast.precision import Fast
from unitlens.models.network import Network
from unitlens.models.passes import evaluating
from unitlens.processes import ALONE
from unitlens.progress import tell
from unitlens.stats.exact_sums import ExactSums
from unitlens.stats.folds import FEWEST_FOLDS, Folds
from unitlens.stats.scores import Floats, Ints

Counts = TypeVar("Counts")

_STATE = "counted"
"""Name of the arrays in the store of a measurement."""


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
    fast : {"float32", "bfloat16"}, optional
        What a fast copy computes all in front of the layers in; None: the network itself does.
    basis : Coding, optional
        Directions that are the units of the layers.
    """

    layers: tuple[str, ...]
    values: tuple[LayerValues, ...]
    response: Response[Counts]
    sets: tuple[LayerUnits, ...] | None = None
    places: tuple[Tensor, ...] | None = None
    folds: Folds = "all"
    grid: tuple[int, int] = (1, 1)
    fast: Fast | None = None
    basis: Coding | None = None

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
        Whether what lies behind the layer was replayed, or why not; and what a fast front changed.
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


class CountedPart(NamedTuple):
    """What was counted of a part of the images.

    Attributes
    ----------
    record : ImageRecord
        What was read.
    state : mapping of str to array or None
        What was counted; None where nothing was measured.
    """

    record: ImageRecord
    state: Mapping[str, npt.NDArray[Any]] | None


class _Counting(Generic[Counts]):
    """The state of the loop over images.

    Parameters
    ----------
    net : Network
    data : Data
    design : Design

    Attributes
    ----------
    units : tuple of int
        How many each layer has, once there were images.
    images : int
        How many were measured.
    whole : bool
        Whether all that was counted is of whole batches: not so after an error within one.
    """

    def __init__(self, net: Network, data: Data, design: Design[Counts]) -> None:
        self.net, self.data, self.design = net, data, design
        self._replays = Replays(
            net,
            design.layers,
            design.values,
            design.variants(),
            total=len(data),
            fast=design.fast,
            basis=design.basis,
        )
        self._counter: Counter[Counts] | None = None
        self._peaks = ExactSums(1, (0,))
        self.units: tuple[int, ...] = ()
        self.images, self.whole = 0, True

    @property
    def begun(self) -> bool:
        """Whether there were images."""
        return self._counter is not None

    @property
    def cut(self) -> Cut:
        """The network in two halves, once there were images."""
        assert self._replays.cut is not None
        return self._replays.cut

    @property
    def hastened(self) -> Hastened | None:
        """What became of the fast front that was asked for."""
        return self._replays.hastened

    @property
    def _addable(self) -> Addable:
        assert self.design.response.adds
        return cast(Addable, self._counter)

    def begin(self, batch: Batch, chosen: npt.NDArray[np.int64]) -> None:
        """Cut the network with the first images that are measured at all, of which nothing is counted here."""
        self._start(self._replayed(batch, chosen))

    def add(self, batch: Batch, chosen: npt.NDArray[np.int64]) -> None:
        """Run the network on some images of a batch, and replay every intervention on them."""
        self.whole = False
        replayed = self._replayed(batch, chosen)
        counter = self._start(replayed) if self._counter is None else self._counter
        with evaluating(self.net.model):
            counter.add(replayed)
        self.images += len(chosen)
        peaks = [unit_peaks(replayed.activation(layer)) for layer in self.design.layers]
        self._peaks.add(np.zeros(len(chosen), np.int64), np.concatenate(peaks, 1))
        self.whole = True

    def _replayed(self, batch: Batch, chosen: npt.NDArray[np.int64]) -> Replayed:
        inputs = self.net.prepare(batch.images[torch.from_numpy(chosen)])
        return self._replays.on(MeasuredImages(batch, chosen, inputs))

    def _start(self, replayed: Replayed) -> Counter[Counts]:
        self.units = tuple(replayed.activation(layer).shape[1] for layer in self.design.layers)
        variants = self.units[0] if self.design.sets is None else len(self.design.sets)
        self._peaks = ExactSums(1, (sum(self.units),))
        with evaluating(self.net.model):
            response = self.design.response
            self._counter = response.start(self.net, self.data, replayed.images, replayed.output, variants)
        return self._counter

    def state(self) -> dict[str, npt.NDArray[Any]]:
        """All that was counted, as arrays; of a response that adds."""
        counts = {f"counts/{name}": array for name, array in self._addable.state().items()}
        images: Ints = np.array([self.images], np.int64)
        return {**counts, **self._peaks.state("peaks"), "images": images}

    def merge(self, state: Mapping[str, npt.NDArray[Any]]) -> None:
        """Add what was counted of images that come after those of this one."""
        counts = {name.removeprefix("counts/"): array for name, array in state.items() if name.startswith("counts/")}
        self._addable.merge(counts)
        self._peaks.merge(state, "peaks")
        self.images += int(state["images"][0])

    def counts(self) -> Counts:
        """What the response counted."""
        assert self._counter is not None
        return self._counter.counts()

    def peaks(self) -> Floats:
        """Mean over the images of each unit's largest activation, (U,); of several layers, one after the other."""
        return np.asarray(self._peaks.sums()[0] / max(self.images, 1))


def measure(
    net: Network, data: Data, design: Design[Counts], reading: Reading, kept: Kept = NOTHING_KEPT
) -> Measured[Counts]:
    """Measure interventions on every image that the response can be measured on.

    Parameters
    ----------
    net : Network
    data : Data
    design : Design
    reading : Reading
    kept : Kept
        Where it is kept, so that it goes on from there after it was stopped, and the processes over which images are
        dealt.

    Returns
    -------
    Measured

    Raises
    ------
    UnitlensError
        If nothing can be measured on any image, a unit is out of range, or the network fails or does not return what
        the response is measured of; if images are others than before the measurement was stopped.
    """
    columns, processes = Columns.of(data.concepts), kept.processes if design.response.adds else ALONE
    here = replace(reading, part=Part(processes.rank, processes.count))
    with processes.in_step():
        key = measurement_key(net, data, here, design) if kept.folder and design.response.adds else None
        try:
            with kept.store(key) as store:
                counting, read = _count(net, data, design, here, store)
        except ChangedImagesError:
            if not kept.replace:
                raise
            with kept.store(key, anew=True) as store:
                counting, read = _count(net, data, design, here, store)
    if processes.count > 1:
        own = CountedPart(read, counting.state() if counting.images else None)
        parts = processes.of_first(processes.gather(own))
        counting, read = _join(net, data, design, reading, parts or [])
    if not counting.begun:
        raise UnitlensError(_nothing_measured(read, design))
    cut, hastened = counting.cut, counting.hastened
    return Measured(
        counts=counting.counts(),
        units=counting.units,
        peaks=counting.peaks(),
        data=describe_read(read, columns.concepts, measured=counting.images),
        replay={
            "replays": cut.replays,
            "reason": cut.reason or None,
            "fast": None if hastened is None else hastened.described,
        },
        notes=[
            *read.notes,
            *_copies(read),
            *design.response.notes(read),
            *filter(None, [cut.reason, None if design.basis is None else design.basis.dependence]),
            *(() if hastened is None else hastened.notes),
        ],
        seconds=read.seconds,
    )


def _count(
    net: Network, data: Data, design: Design[Counts], reading: Reading, store: Store | None
) -> tuple[_Counting[Counts], ImageRecord]:
    """Measure all images, or go on with those that are left; with what was read of them."""
    counting = _Counting(net, data, design)
    before = None if store is None else StoredImages.reopen(store)
    batches = _batches(net, data, design, reading, record=None if before is None else before.record)
    if reading.part.number:
        _begin(counting, reading)
    if before is None:
        for batch in batches:
            _add(counting, batch)
        return counting, batches.record
    made = before.store.manifest.complete
    if made and reading.progress:
        tell("measured before, by the same command: not measured again")
    with going_on(before, show=reading.progress and not made):
        state = before.store.arrays(_STATE)
        if state is not None:
            _begin(counting, reading)
            with sound(before.store.folder):
                counting.merge(state)
        _add_and_keep(counting, batches, before)
    return counting, batches.record


def _join(
    net: Network, data: Data, design: Design[Counts], reading: Reading, parts: Sequence[CountedPart]
) -> tuple[_Counting[Counts], ImageRecord]:
    """Add what was counted of the parts of all images, in their order."""
    counting, read = _Counting(net, data, design), join_records([part.record for part in parts])
    read.notes = reading_notes(read, described(data).classes, limited=reading.limit is not None)
    read.seconds = max(part.record.seconds for part in parts)
    states = [part.state for part in parts if part.state is not None]
    if states:
        _begin(counting, reading)
    for state in states:
        counting.merge(state)
    return counting, read


def _batches(
    net: Network, data: Data, design: Design[Any], reading: Reading, *, record: ImageRecord | None = None
) -> Batches:
    return Batches(data, net.preprocessing, reading, grid=design.grid, task="ablating", record=record)


def _add(counting: _Counting[Any], batch: Batch) -> None:
    chosen = _chosen(batch, counting.design)
    if len(chosen):
        counting.add(batch, chosen)


def _begin(counting: _Counting[Any], reading: Reading) -> None:
    """Cut the network as any process does that measures a part: by the first images of all that are measured."""
    if counting.begun:
        return
    first = replace(reading, workers=0, progress=False, part=ALL)
    for batch in _batches(counting.net, counting.data, counting.design, first):
        chosen = _chosen(batch, counting.design)
        if len(chosen):
            counting.begin(batch, chosen)
            return


def _add_and_keep(counting: _Counting[Any], batches: Batches, kept: StoredImages) -> None:
    """Measure the images that are left, and keep what was counted from time to time, and where an error ends it."""

    def commit(*, complete: bool = False) -> None:
        kept.settled = reached
        kept.commit(complete=complete, arrays={_STATE: counting.state()} if counting.begun else None)

    reached = kept.settled
    try:
        for batch in batches:
            _add(counting, batch)
            reached = batches.record.reached
            if kept.store.due:
                commit()
    except BaseException:
        if counting.begun and counting.whole and reached.images > kept.settled.images:
            with suppress(UnitlensError):  # a full disk: what was kept before counts
                commit()
        raise
    reached = batches.record.reached
    commit(complete=True)


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
