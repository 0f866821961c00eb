"""The loop over images: each goes through the network once, and every intervention is replayed on it."""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from unitlens.ablation.holding import Holding, peaks_of, read, unit_axis
from unitlens.ablation.outcomes import Outcome, values_of
from unitlens.ablation.replay.cut import Change, Cut, State
from unitlens.ablation.replay.cutting import TOLERANCE, cut_network
from unitlens.ablation.replay.sweeps import MEMORY, sweep
from unitlens.ablation.table import Held
from unitlens.ablation.tallies import Folds, Tally
from unitlens.data.batches import Batch, Unread, data_digest
from unitlens.data.classes import Classes, join_classes
from unitlens.data.columns import Columns
from unitlens.data.concepts import Data
from unitlens.dissection.forward import Reading
from unitlens.errors import UnitlensError, argument
from unitlens.models.hooks import edit
from unitlens.models.layers import shown, told
from unitlens.models.network import Network
from unitlens.models.passes import evaluating
from unitlens.progress import progress
from unitlens.stats.scores import Ints


@dataclass(frozen=True, eq=False)
class Plan:
    """What is measured.

    Attributes
    ----------
    layers : tuple of str
    sets : tuple of tuple of tuple of int, optional
        Units of each layer that are held together, a set at a time; None: every unit of the one layer alone.
    outcomes : mapping of str to callable
        Outcomes to sum.
    folds : {"all", "even", "odd"}
        Which images are measured; of the others nothing is computed.
    holdings : tuple of Holding
        What units of each layer are held at.
    """

    layers: tuple[str, ...]
    holdings: tuple[Holding, ...]
    sets: tuple[Held, ...] | None = None
    outcomes: Mapping[str, Outcome] = field(default_factory=dict)
    folds: Folds = "all"


class Measured(NamedTuple):
    """What was counted, and how.

    Attributes
    ----------
    tally : Tally
    classes : Classes
    units : tuple of int
        How many each layer has.
    peaks : float64 array, (U,)
        Mean over the images of each unit's largest activation; of several layers, one after the other.
    info : dict
        Data read and left out, the way it was computed, notes, seconds.
    """

    tally: Tally
    classes: Classes
    units: tuple[int, ...]
    peaks: npt.NDArray[np.float64]
    info: dict[str, Any]


def measure(net: Network, data: Data, plan: Plan, reading: Reading) -> Measured:
    """Measure interventions on every image that has a class.

    Parameters
    ----------
    net : Network
    data : Data
    plan : Plan
    reading : Reading

    Returns
    -------
    Measured

    Raises
    ------
    UnitlensError
        If no image has a class, a unit is out of range, or the network fails or returns no scores of classes.
    """
    start = time.perf_counter()
    work, taken = _Work(net, data, plan), _Taken()
    total = len(data) if reading.limit is None else min(reading.limit, len(data))
    with progress(total, "ablating", show=reading.show) as bar:
        for batch in read(net, data, reading):
            chosen = taken.choose(batch, plan.folds)
            if len(chosen):
                work.add(batch, chosen)
            bar.update(len(batch.names) + len(batch.unread))
    if work.tally is None or work.classes is None:
        raise UnitlensError(taken.reason(plan.folds))
    info = {**taken.describe(data), "replay": work.describe(), "seconds": time.perf_counter() - start}
    return Measured(work.tally, work.classes, work.units, work.peaks / max(work.images, 1), info)


class _Taken:
    """Which images were read, which were left out, and why."""

    def __init__(self) -> None:
        self.digests: list[bytes] = []
        self.unread: list[Unread] = []
        self.without_class = self.measured = 0

    def choose(self, batch: Batch, folds: Folds) -> npt.NDArray[np.int64]:
        """Places in the batch of the images to measure."""
        self.digests += batch.digests
        self.unread += batch.unread
        named = np.array([class_ is not None for class_ in batch.classes], dtype=bool)
        self.without_class += int((~named).sum())
        if folds != "all":
            named &= np.array(batch.folds, dtype=np.int64) % 2 == (folds == "odd")
        self.measured += int(named.sum())
        return np.flatnonzero(named)

    def reason(self, folds: Folds) -> str:
        if not self.digests:
            why = f": {self.unread[0].reason}" if self.unread else ""
            return f"None of the {len(self.unread)} images could be read{why}."
        if self.without_class == len(self.digests):
            return f"None of the {len(self.digests)} images that were read has a class."
        return f"No image with a class is of the {folds} folds: use more images."

    def describe(self, data: Data) -> dict[str, Any]:
        notes = []
        if self.unread:
            count = len(self.unread)
            left = "1 file was left out:" if count == 1 else f"{count} files were left out, such as"
            notes.append(f"{left} {self.unread[0].image}.")
        if self.without_class:
            notes.append(f"{self.without_class} of {len(self.digests)} images have no class and count for nothing.")
        return {
            "images": len(self.digests),
            "measured": self.measured,
            "sha256": data_digest(self.digests, Columns.of(data.concepts).concepts),
            "skipped": [unread._asdict() for unread in self.unread],
            "notes": notes,
        }


class _Work:
    """The state of the loop: the cut network, found with the first images, and the counts so far."""

    def __init__(self, net: Network, data: Data, plan: Plan) -> None:
        self.net, self.data, self.plan = net, data, plan
        self.cut: Cut | None = None
        self.classes: Classes | None = None
        self.tally: Tally | None = None
        self.units: tuple[int, ...] = ()
        self.axes: dict[str, int] = {}
        self.peaks, self.images = np.zeros(0), 0

    def add(self, batch: Batch, chosen: npt.NDArray[np.int64]) -> None:
        """Run the network on some images of a batch, and replay everything on them."""
        images = self.net.prepare(batch.images[torch.from_numpy(chosen)])
        cut = self.cut = self.cut or _cut(self.net, self.plan.layers, images)
        state = cut.front(images)
        said = {**state.later, cut.layer: state.activation}
        self.axes = self.axes or {layer: unit_axis(self.net, layer, said[layer]) for layer in self.plan.layers}
        hold = _Hold(self.plan, self.axes, [batch.names[i] for i in chosen], [batch.hashes[i] for i in chosen])
        if self.tally is None:
            self._start(state.output, tuple(said[layer].shape[axis] for layer, axis in self.axes.items()))
            self.cut = _spot_checked(cut, state, images, hold)
            state = state if self.cut is cut else self.cut.front(images)
        assert self.tally is not None
        assert self.classes is not None
        truth = np.array([self.classes.output_of[str(batch.classes[i])] for i in chosen])
        odd = np.array([batch.folds[i] % 2 == 1 for i in chosen])
        with evaluating(self.net.model):
            self._count(self.cut, state, hold, truth, odd)
        self.images += len(chosen)
        self.peaks += np.concatenate([peaks_of(said[layer].movedim(axis, 1)) for layer, axis in self.axes.items()])

    def _start(self, outputs: Tensor, units: tuple[int, ...]) -> None:
        self.units = units
        if outputs.ndim != 2 or outputs.shape[1] < 2:
            raise UnitlensError(
                f"The network returns {' x '.join(map(str, outputs.shape))}; effects on predictions are measured where "
                "it returns scores of classes, images x classes."
            )
        self.classes = join_classes(self.data, self.net.classes, outputs.shape[1])
        variants = self.units[0] if self.plan.sets is None else len(self.plan.sets)
        self.tally = Tally.start(variants, outputs.shape[1], self.plan.outcomes)
        self.peaks = np.zeros(sum(self.units))

    def _count(self, cut: Cut, state: State, hold: "_Hold", truth: Ints, odd: npt.NDArray[np.bool_]) -> None:
        assert self.tally is not None
        own = torch.from_numpy(truth).to(state.output.device)
        before = state.output.argmax(1).cpu().numpy()
        self.tally.add_untouched(truth, before, odd)
        values = {name: values_of(outcome, state.output[None], own)[0] for name, outcome in self.plan.outcomes.items()}
        for first, outputs in _variants(cut, state, hold, self.plan.sets):
            self.tally.add_changes(first, truth, before, outputs.argmax(2).cpu().numpy(), odd)
            for name, outcome in self.plan.outcomes.items():
                self.tally.sums[name].add(first, truth, values[name], values_of(outcome, outputs, own), odd)

    def describe(self) -> dict[str, Any]:
        assert self.cut is not None
        return {"replays": self.cut.replays, "reason": self.cut.reason or None}


def _cut(net: Network, layers: Sequence[str], images: Tensor) -> Cut:
    size = " x ".join(map(str, images.shape[2:]))
    try:
        return cut_network(net.model, layers, images[:3])
    except UnitlensError:
        raise
    except Exception as error:  # whatever the network's own code raises
        raise UnitlensError(
            f"The network fails on images of {size} ({told(error)}): check {argument('image_size')}."
        ) from error


class _Hold(NamedTuple):
    """What units are held at in some images."""

    plan: Plan
    axes: Mapping[str, int]
    names: Sequence[str]
    hashes: Sequence[int]

    def at(self, layer: str, activation: Tensor) -> float | Tensor:
        """What all units of a layer are held at, given what it says to the images; units along dimension 1."""
        own = activation.movedim(self.axes[layer], 1)
        return self.plan.holdings[self._place(layer)].of(own, self.names, self.hashes)

    def on(self, layer: str, held: Held, activation: Tensor, at: float | Tensor | None = None) -> Tensor:
        """A copy of what a layer says to the images, with some of its units held."""
        changed, some = activation.clone(), list(held[self._place(layer)])
        if some:
            at = self.at(layer, activation) if at is None else at
            changed.movedim(self.axes[layer], 1)[:, some] = at[:, some] if isinstance(at, Tensor) else at
        return changed

    def changes(self, layer: str, sets: Sequence[Held]) -> Change:
        """What `Cut.back` does to a further layer, for a set of units in each variant of the images."""
        count = len(self.names)

        def change(activation: Tensor, rows: range) -> Tensor:
            own = sets[rows.start // count : rows.stop // count]
            return torch.cat([self.on(layer, *pair) for pair in zip(own, torch.split(activation, count), strict=True)])

        return change

    def _place(self, layer: str) -> int:
        return self.plan.layers.index(layer)


def _variants(cut: Cut, state: State, hold: _Hold, sets: Sequence[Held] | None) -> Iterator[tuple[int, Tensor]]:
    """Outputs under intervention after intervention, (V, N, K), with the number of the first of them."""
    at = hold.at(cut.layer, state.activation)
    count, axis = len(state.activation), hold.axes[cut.layer]
    if sets is None and axis == 1:
        for swept in sweep(cut, state, at):
            yield swept.units.start, swept.outputs
        return
    sets = [((unit,),) for unit in range(state.activation.shape[axis])] if sets is None else sets
    size = max(1, MEMORY // (count * max([*cut.sizes.values(), state.activation.nbytes // count])))
    for first in range(0, len(sets), size):
        some = sets[first : first + size]
        changed = torch.cat([hold.on(cut.layer, held, state.activation, at) for held in some])
        outputs = cut.back(state, changed, {layer: hold.changes(layer, some) for layer in cut.later})
        yield first, outputs.reshape(-1, count, *outputs.shape[1:])


def _spot_checked(cut: Cut, state: State, images: Tensor, hold: _Hold) -> Cut:
    """Hold one intervention on one image against the full network; where they differ, do full passes.

    With the check of `cut_network`, 8 passes of single images in all.
    """
    if not cut.replays:
        return cut
    sets = hold.plan.sets
    axis = hold.axes[cut.layer]
    held = sets[-1] if sets is not None else ((int(peaks_of(state.activation.abs().movedim(axis, 1)).argmax()),),)
    last = hold._replace(names=hold.names[-1:], hashes=hold.hashes[-1:])
    with evaluating(cut.model):
        if sets is None and axis == 1:
            unit, at = held[0][0], hold.at(cut.layer, state.activation)
            replayed = next(iter(sweep(cut, state, at, units=range(unit, unit + 1)))).outputs[0, -1]
        else:
            replayed = next(_variants(cut, state, hold, [held]))[1][0, -1]
        with edit(cut.model, {layer: partial(last.on, layer, held) for layer in (cut.layer, *cut.later)}):
            full = cut.model(images[-1:])[0]
    off, largest = float((replayed - full).abs().amax()), float(full.abs().amax())
    if off <= TOLERANCE.get(full.dtype, 2e-2) * largest:
        return cut
    return Cut(
        cut.model,
        cut.layer,
        cut.later,
        f"Every intervention at {' and '.join(map(shown, (cut.layer, *cut.later)))} takes a full pass of the network, "
        f"as replaying only what lies behind the layer is off by {off:.3g} on an image of this run, where the largest "
        f"output is {largest:.3g}.",
    )
