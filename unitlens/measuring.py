"""The loop over pictures: each goes through the network once, and every intervention is replayed on it."""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from unitlens.classes import Classes, join_classes
from unitlens.columns import Columns
from unitlens.concepts import Data
from unitlens.cut import Cut, State
from unitlens.data import Batch, Unread, data_digest
from unitlens.errors import UnitlensError
from unitlens.holding import Holding, read
from unitlens.hooks import edit
from unitlens.layers import shown, told
from unitlens.network import Network, evaluating
from unitlens.observation import Reading
from unitlens.outcomes import Outcome, values_of
from unitlens.progress import progress
from unitlens.replay import MEMORY, TOLERANCE, cut_network, sweep
from unitlens.scores import Ints
from unitlens.tallies import Folds, Tally

Units = tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Plan:
    """What is measured.

    Attributes
    ----------
    layer : str
    sets : tuple of tuple of int, optional
        Units that are held together, a set at a time; None: every unit of the layer alone.
    outcomes : mapping of str to callable
        Outcomes to sum.
    folds : {"all", "even", "odd"}
        Which pictures are measured; of the others nothing is computed.
    holding : Holding
        What units are held at.
    """

    layer: str
    sets: tuple[Units, ...] | None = None
    outcomes: Mapping[str, Outcome] = field(default_factory=dict)
    folds: Folds = "all"
    holding: Holding = field(default_factory=Holding)


class Measured(NamedTuple):
    """What was counted, and how.

    Attributes
    ----------
    tally : Tally
    classes : Classes
    units : int
        How many the layer has.
    peaks : float64 array, (U,)
        Mean over the pictures of each unit's largest activation.
    info : dict
        Data read and left out, the way it was computed, notes, seconds.
    """

    tally: Tally
    classes: Classes
    units: int
    peaks: npt.NDArray[np.float64]
    info: dict[str, Any]


def measure(net: Network, data: Data, plan: Plan, reading: Reading) -> Measured:
    """Measure interventions on every picture that has a class.

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
        If no picture has a class, a unit is out of range, or the network fails or returns no scores of classes.
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
    return Measured(work.tally, work.classes, work.units, work.peaks / max(work.pictures, 1), info)


class _Taken:
    """Which pictures were read, which were left out, and why."""

    def __init__(self) -> None:
        self.digests: list[bytes] = []
        self.unread: list[Unread] = []
        self.without_class = self.measured = 0

    def choose(self, batch: Batch, folds: Folds) -> npt.NDArray[np.int64]:
        """Places in the batch of the pictures to measure."""
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
            return f"None of the {len(self.unread)} pictures could be read{why}."
        if self.without_class == len(self.digests):
            return f"None of the {len(self.digests)} pictures that were read has a class."
        return f"No picture with a class is of the {folds} folds: use more pictures."

    def describe(self, data: Data) -> dict[str, Any]:
        notes = []
        if self.unread:
            notes.append(f"{len(self.unread)} files were left out, such as {self.unread[0].picture}.")
        if self.without_class:
            notes.append(f"{self.without_class} of {len(self.digests)} pictures have no class and count for nothing.")
        return {
            "pictures": len(self.digests),
            "measured": self.measured,
            "sha256": data_digest(self.digests, Columns.of(data.concepts).concepts),
            "skipped": [unread._asdict() for unread in self.unread],
            "notes": notes,
        }


class _Work:
    """The state of the loop: the cut network, found with the first pictures, and the counts so far."""

    def __init__(self, net: Network, data: Data, plan: Plan) -> None:
        self.net, self.data, self.plan = net, data, plan
        self.cut: Cut | None = None
        self.classes: Classes | None = None
        self.tally: Tally | None = None
        self.units = self.pictures = 0
        self.peaks = np.zeros(0)

    def add(self, batch: Batch, chosen: npt.NDArray[np.int64]) -> None:
        """Run the network on some pictures of a batch, and replay everything on them."""
        pictures = self.net.prepare(batch.pictures[torch.from_numpy(chosen)])
        cut = self.cut = self.cut or _cut(self.net, self.plan.layer, pictures)
        state = cut.front(pictures)
        held = self.plan.holding.of(
            state.activation, [batch.names[i] for i in chosen], [batch.hashes[i] for i in chosen]
        )
        if self.tally is None:
            self._start(state)
            self.cut = _spot_checked(cut, state, pictures, self.plan, held)
            state = state if self.cut is cut else self.cut.front(pictures)
        assert self.tally is not None
        assert self.classes is not None
        truth = np.array([self.classes.output_of[str(batch.classes[i])] for i in chosen])
        odd = np.array([batch.folds[i] % 2 == 1 for i in chosen])
        with evaluating(self.net.model):
            self._count(self.cut, state, held, truth, odd)
        self.pictures += len(chosen)
        self.peaks += state.activation.double().flatten(2).amax(2).sum(0).cpu().numpy()

    def _start(self, state: State) -> None:
        outputs, self.units = state.output, state.activation.shape[1]
        if outputs.ndim != 2 or outputs.shape[1] < 2:
            raise UnitlensError(
                f"The network returns {' x '.join(map(str, outputs.shape))}; effects on predictions are measured where "
                "it returns scores of classes, pictures x classes."
            )
        outside = [unit for units in self.plan.sets or () for unit in units if not 0 <= unit < self.units]
        if outside:
            raise UnitlensError(
                f"{shown(self.plan.layer)} has {self.units} units, 0 to {self.units - 1}; unit {outside[0]} is not "
                "among them."
            )
        self.classes = join_classes(self.data, self.net.classes, outputs.shape[1])
        variants = self.units if self.plan.sets is None else len(self.plan.sets)
        self.tally = Tally.start(variants, outputs.shape[1], self.plan.outcomes)
        self.peaks = np.zeros(self.units)

    def _count(self, cut: Cut, state: State, held: float | Tensor, truth: Ints, odd: npt.NDArray[np.bool_]) -> None:
        assert self.tally is not None
        own = torch.from_numpy(truth).to(state.output.device)
        before = state.output.argmax(1).cpu().numpy()
        self.tally.add_untouched(truth, before, odd)
        values = {name: values_of(outcome, state.output[None], own)[0] for name, outcome in self.plan.outcomes.items()}
        for first, outputs in _variants(cut, state, self.plan.sets, held):
            self.tally.add_changes(first, truth, before, outputs.argmax(2).cpu().numpy(), odd)
            for name, outcome in self.plan.outcomes.items():
                self.tally.sums[name].add(first, truth, values[name], values_of(outcome, outputs, own), odd)

    def describe(self) -> dict[str, Any]:
        assert self.cut is not None
        return {"replays": self.cut.replays, "reason": self.cut.reason or None}


def _cut(net: Network, layer: str, pictures: Tensor) -> Cut:
    size = " x ".join(map(str, pictures.shape[2:]))
    try:
        return cut_network(net.model, layer, pictures[:3])
    except UnitlensError:
        raise
    except Exception as error:  # whatever the network's own code raises
        raise UnitlensError(
            f"The network fails on pictures of {size} ({told(error)}): check --image-size (image_size=)."
        ) from error


def _variants(
    cut: Cut, state: State, sets: Sequence[Units] | None, held: float | Tensor
) -> Iterator[tuple[int, Tensor]]:
    """Outputs under intervention after intervention, (V, N, K), with the number of the first of them."""
    if sets is None:
        for swept in sweep(cut, state, held):
            yield swept.units.start, swept.outputs
        return
    count = len(state.activation)
    size = max(1, MEMORY // (count * max([*cut.sizes.values(), state.activation.nbytes // count])))
    for first in range(0, len(sets), size):
        changed = torch.cat([_with(state.activation, units, held) for units in sets[first : first + size]])
        outputs = cut.back(state, changed)
        yield first, outputs.reshape(-1, count, *outputs.shape[1:])


def _with(activation: Tensor, units: Units, held: float | Tensor) -> Tensor:
    """A copy of a layer's output with some units held."""
    changed, some = activation.clone(), list(units)
    if some:
        changed[:, some] = held[:, some] if isinstance(held, Tensor) else held
    return changed


def _spot_checked(cut: Cut, state: State, pictures: Tensor, plan: Plan, held: float | Tensor) -> Cut:
    """Hold one intervention on one picture against the full network; where they differ, do full passes.

    With the check of `cut_network`, 8 passes of single pictures in all.
    """
    if not cut.replays:
        return cut
    units = (int(state.activation.abs().flatten(2).sum((0, 2)).argmax()),) if plan.sets is None else plan.sets[-1]
    with evaluating(cut.model):
        if plan.sets is None:
            replayed = next(iter(sweep(cut, state, held, units=range(units[0], units[0] + 1)))).outputs[0, -1]
        else:
            replayed = next(_variants(cut, state, [units], held))[1][0, -1]
        own = held[-1:] if isinstance(held, Tensor) else held
        with edit(cut.model, {cut.layer: lambda activation: _with(activation, units, own)}):
            full = cut.model(pictures[-1:])[0]
    off, largest = float((replayed - full).abs().amax()), float(full.abs().amax())
    if off <= TOLERANCE.get(full.dtype, 2e-2) * largest:
        return cut
    return Cut(
        cut.model,
        cut.layer,
        f"Every intervention at {shown(cut.layer)} takes a full pass of the network, as replaying only what lies "
        f"behind the layer is off by {off:.3g} on a picture of this run, where the largest output is {largest:.3g}.",
    )
