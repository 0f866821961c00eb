"""The loop over images: each goes through the network once, and every intervention is replayed on it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from unitlens.ablation.activity import LayerValues, summed_peaks, unit_axis
from unitlens.ablation.interventions import Replacement, replace_units
from unitlens.ablation.outcomes import Outcome, values_of
from unitlens.ablation.replay.cut import Change, Cut, State
from unitlens.ablation.replay.cutting import TOLERANCE, cut_network
from unitlens.ablation.replay.sweeps import MEMORY, sweep
from unitlens.ablation.table import LayerUnits
from unitlens.ablation.tallies import Folds, Tally, row_count
from unitlens.data.batches import Batch, Batches, ImageRecord
from unitlens.data.classes import Classes, join_classes
from unitlens.data.columns import Columns
from unitlens.data.concepts import Data, described
from unitlens.data.reading import Reading
from unitlens.errors import UnitlensError
from unitlens.models.hooks import edit
from unitlens.models.layers import display_name
from unitlens.models.network import Network
from unitlens.models.passes import evaluating, pass_errors
from unitlens.stats.scores import Floats, Ints


@dataclass(frozen=True, eq=False)
class Design:
    """What is measured.

    Attributes
    ----------
    layers : tuple of str
    values : tuple of LayerValues
        What the units of each layer are replaced by.
    sets : tuple of tuple of tuple of int, optional
        Units of each layer that are ablated together, a set at a time; None: every unit of the one layer alone.
    outcomes : mapping of str to Outcome
        Outcomes to sum.
    folds : {"all", "even", "odd"}
        Which images are measured; of the others nothing is computed.
    """

    layers: tuple[str, ...]
    values: tuple[LayerValues, ...]
    sets: tuple[LayerUnits, ...] | None = None
    outcomes: Mapping[str, Outcome] = field(default_factory=dict)
    folds: Folds = "all"


class Measured(NamedTuple):
    """What was counted, and how.

    Attributes
    ----------
    tally : Tally
    outputs : Classes
        Which output is which class.
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

    tally: Tally
    outputs: Classes
    units: tuple[int, ...]
    peaks: Floats
    data: dict[str, Any]
    replay: dict[str, Any]
    notes: list[str]
    seconds: float


def measure(net: Network, data: Data, design: Design, reading: Reading) -> Measured:
    """Measure interventions on every image that has a class.

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
        If no image has a class, a unit is out of range, or the network fails or does not return finite scores of
        classes.
    """
    columns = Columns.of(data.concepts)
    batches = Batches(data, net.preprocessing, reading, columns=columns, task="ablating")
    work = _Work(net, data, design)
    for batch in batches:
        chosen = _chosen(batch, design.folds)
        if len(chosen):
            work.add(batch, chosen)
    read = batches.record
    if work.tally is None or work.outputs is None or work.cut is None:
        raise UnitlensError(_nothing_measured(read, design.folds))
    return Measured(
        work.tally,
        work.outputs,
        work.units,
        work.peaks / max(work.images, 1),
        {
            "images": len(read.names),
            "measured": work.images,
            "sha256": read.sha256(columns.concepts),
            "skipped": [unread._asdict() for unread in read.unread],
        },
        {"replays": work.cut.replays, "reason": work.cut.reason or None},
        [*read.notes, *_without_class(read), *filter(None, [work.cut.reason])],
        read.seconds,
    )


def _chosen(batch: Batch, folds: Folds) -> npt.NDArray[np.int64]:
    """Indices in the batch of the images to measure: those with a class, in the folds."""
    chosen = np.array([class_ is not None for class_ in batch.classes], dtype=bool)
    if folds != "all":
        chosen &= np.array(batch.folds, dtype=np.int64) % 2 == (folds == "odd")
    return np.flatnonzero(chosen)


def _nothing_measured(read: ImageRecord, folds: Folds) -> str:
    if all(class_ is None for class_ in read.classes):
        return f"None of the {len(read.classes)} images that were read has a class."
    return f"No image with a class is of the {folds} folds: use more images."


def _without_class(read: ImageRecord) -> list[str]:
    """A note, where images without a class were left out."""
    count = read.classes.count(None)
    return [f"{count} of {len(read.classes)} images have no class and count for nothing."] if count else []


class _Work:
    """The state of the loop: the cut network, made with the first images, and the counts so far."""

    def __init__(self, net: Network, data: Data, design: Design) -> None:
        self.net, self.data, self.design = net, data, design
        self.cut: Cut | None = None
        self.outputs: Classes | None = None
        self.tally: Tally | None = None
        self.units: tuple[int, ...] = ()
        self.axes: dict[str, int] = {}
        self.peaks, self.images = np.zeros(0), 0

    def add(self, batch: Batch, chosen: npt.NDArray[np.int64]) -> None:
        """Run the network on some images of a batch, and replay every intervention on them."""
        images = self.net.prepare(batch.images[torch.from_numpy(chosen)])
        cut = self.cut = self.cut or _cut(self.net, self.design.layers, images)
        state = cut.front(images)
        activations = {**state.later, cut.layer: state.activation}
        self.axes = self.axes or {layer: unit_axis(self.net, layer, activations[layer]) for layer in self.design.layers}
        if self.tally is None:
            self._check_positions(activations)
        ablation = _Ablation.of(self.design, self.axes, activations, batch, chosen)
        if self.tally is None:
            self._start(state.output, tuple(activations[layer].shape[axis] for layer, axis in self.axes.items()))
            predictions(state.output, "The network's outputs")
            last = _Ablation.of(self.design, self.axes, activations, batch, chosen[-1:])
            self.cut = _spot_checked(cut, state, images, ablation, last)
            state = state if self.cut is cut else self.cut.front(images)
        assert self.outputs is not None
        truth = np.array([self.outputs.output_of[str(batch.classes[i])] for i in chosen])
        folds = np.array([batch.folds[i] for i in chosen], dtype=np.int64)
        with evaluating(self.net.model):
            self._count(self.cut, state, ablation, truth, folds)
        self.images += len(chosen)
        peaks = [summed_peaks(activations[layer].movedim(axis, 1)) for layer, axis in self.axes.items()]
        self.peaks += np.concatenate(peaks)

    def _check_positions(self, activations: Mapping[str, Tensor]) -> None:
        for layer, values in zip(self.design.layers, self.design.values, strict=True):
            grid = activations[layer].movedim(self.axes[layer], 1).shape[2:]
            values.replacement.check_positions(len(self.data), grid, layer=layer)

    def _start(self, outputs: Tensor, units: tuple[int, ...]) -> None:
        self.units = units
        if outputs.ndim != 2 or outputs.shape[1] < 2:
            raise UnitlensError(
                f"The network returns {' x '.join(map(str, outputs.shape))}; effects on predictions are measured where "
                "it returns scores of classes, images x classes."
            )
        self.outputs = join_classes(self.data, self.net.classes, outputs.shape[1])
        variants = self.units[0] if self.design.sets is None else len(self.design.sets)
        classes, outcomes = outputs.shape[1], self.design.outcomes
        rows = row_count(variants, classes, len(outcomes), grouped=described(self.data).grouped)
        self.tally = Tally.start(variants, classes, outcomes, rows=rows)
        self.peaks = np.zeros(sum(self.units))

    def _count(self, cut: Cut, state: State, ablation: "_Ablation", truth: Ints, folds: Ints) -> None:
        assert self.tally is not None
        classes = torch.from_numpy(truth).to(state.output.device)
        before = predictions(state.output, "The network's outputs")
        self.tally.add_untouched(truth, before, folds)
        outcomes = self.design.outcomes
        untouched = {name: values_of(outcome, state.output[None], classes)[0] for name, outcome in outcomes.items()}
        for first, outputs in _variants(cut, state, ablation, ablation.sets):
            after = predictions(outputs, "With units ablated, the network's outputs")
            self.tally.add_changes(first, truth, before, after, folds)
            for name, outcome in outcomes.items():
                self.tally.sums[name].add(first, truth, untouched[name], values_of(outcome, outputs, classes), folds)


def predictions(outputs: Tensor, what: str) -> Ints:
    """Return the class of the largest output, int64, of (..., K).

    Raises
    ------
    UnitlensError
        If the largest is nan or infinite.
    """
    largest, predicted = outputs.max(-1)
    wrong = int((~largest.isfinite()).sum())
    if wrong:
        raise UnitlensError(
            f"{what} are nan or infinite for {wrong} of {largest.numel()} images, so that nothing is predicted: check "
            "the network's weights, and the range of its input (mean and std)."
        )
    return np.asarray(predicted.cpu().numpy())


def _cut(net: Network, layers: Sequence[str], images: Tensor) -> Cut:
    with pass_errors(net.model, images):
        return cut_network(net.model, layers, images[:3])


class _Ablation(NamedTuple):
    """What the units of each layer are replaced by, and along which dimension they lie, in some images."""

    layers: tuple[str, ...]
    sets: Sequence[LayerUnits] | None
    axes: Mapping[str, int]
    replacements: Mapping[str, Replacement]
    images: int

    @classmethod
    def of(
        cls,
        design: Design,
        axes: Mapping[str, int],
        activations: Mapping[str, Tensor],
        batch: Batch,
        chosen: npt.NDArray[np.int64],
    ) -> "_Ablation":
        """That of some images of a batch."""
        rows = chosen.tolist()
        replacements = {
            layer: values.for_images(batch, rows, activations[layer].ndim)
            for layer, values in zip(design.layers, design.values, strict=True)
        }
        return cls(design.layers, design.sets, axes, replacements, len(chosen))

    def values(self, layer: str, activation: Tensor) -> Tensor:
        """What all units of a layer become, (N, U, ...)."""
        return self.replacements[layer].values(activation.movedim(self.axes[layer], 1), layer=layer)

    def on(self, layer: str, units: LayerUnits, activation: Tensor) -> Tensor:
        """A layer's output in the images, with the units of a set replaced."""
        ablated = units[self.layers.index(layer)]
        if not ablated:
            return activation
        replacement = self.replacements[layer].of_units(ablated, activation.ndim)
        return replace_units(activation, ablated, replacement, axis=self.axes[layer], layer=layer)

    def changes(self, layer: str, sets: Sequence[LayerUnits]) -> Change:
        """What `Cut.back` does to a further layer, with one set of units in each variant of the images."""
        count = self.images

        def change(activation: Tensor, rows: range) -> Tensor:
            of_rows = sets[rows.start // count : rows.stop // count]
            return torch.cat(
                [self.on(layer, *pair) for pair in zip(of_rows, torch.split(activation, count), strict=True)]
            )

        return change


def _variants(
    cut: Cut, state: State, ablation: _Ablation, sets: Sequence[LayerUnits] | None
) -> Iterator[tuple[int, Tensor]]:
    """Outputs under intervention after intervention, (V, N, K), with the number of the first of them."""
    count, axis = len(state.activation), ablation.axes[cut.layer]
    if sets is None and axis == 1:
        for swept in sweep(cut, state, ablation.values(cut.layer, state.activation)):
            yield swept.units.start, swept.outputs
        return
    sets = [((unit,),) for unit in range(state.activation.shape[axis])] if sets is None else sets
    size = max(1, MEMORY // (count * max([*cut.sizes.values(), state.activation.nbytes // count])))
    for first in range(0, len(sets), size):
        block = sets[first : first + size]
        changed = torch.cat([ablation.on(cut.layer, units, state.activation) for units in block])
        outputs = cut.back(state, changed, {layer: ablation.changes(layer, block) for layer in cut.later})
        yield first, outputs.reshape(-1, count, *outputs.shape[1:])


def _spot_checked(cut: Cut, state: State, images: Tensor, ablation: _Ablation, last: _Ablation) -> Cut:
    """Compare one intervention on the last image with the full network; where they differ, do full passes.

    With the check of `cut_network`, 8 passes of single images in all.
    """
    if not cut.replays:
        return cut
    sets, axis = ablation.sets, ablation.axes[cut.layer]
    most_active = int(summed_peaks(state.activation.abs().movedim(axis, 1)).argmax())
    units = ((most_active,),) if sets is None else sets[-1]
    with evaluating(cut.model):
        if sets is None and axis == 1:
            values = ablation.values(cut.layer, state.activation)
            replayed = next(iter(sweep(cut, state, values, units=range(most_active, most_active + 1)))).outputs[0, -1]
        else:
            replayed = next(_variants(cut, state, ablation, [units]))[1][0, -1]
        edits = {layer: partial(last.on, layer, units) for layer in (cut.layer, *cut.later)}
        with edit(cut.model, edits):
            full = cut.model(images[-1:])[0]
    off, largest = float((replayed - full).abs().amax()), float(full.abs().amax())
    if off <= TOLERANCE.get(full.dtype, 2e-2) * largest:
        return cut
    at = " and ".join(map(display_name, (cut.layer, *cut.later)))
    reason = (
        f"Every intervention at {at} takes a full pass of the network, as replaying only what lies behind the layer is "
        f"off by {off:.3g} on an image of this run, where the largest output is {largest:.3g}."
    )
    return Cut(cut.model, cut.layer, cut.later, reason)
