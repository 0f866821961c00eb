"""The loop over images: each goes through the network once, and every intervention is replayed on it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from unitlens.ablation.activity import LayerValues, summed_peaks, unit_axis
from unitlens.ablation.interventions import Replacement, replace_units
from unitlens.ablation.replay.cut import Change, Cut, State
from unitlens.ablation.replay.cutting import TOLERANCE, cut_network
from unitlens.ablation.replay.sweeps import MEMORY, sweep
from unitlens.ablation.responses.response import Counter, MeasuredImages, Response
from unitlens.ablation.table import LayerUnits
from unitlens.data.batches import Batch, Batches, ImageRecord
from unitlens.data.columns import Columns
from unitlens.data.concepts import Data
from unitlens.data.copies import copies_note
from unitlens.data.reading import Reading
from unitlens.dissection.provenance import describe_read
from unitlens.errors import UnitlensError
from unitlens.models.hooks import edit
from unitlens.models.layers import display_name
from unitlens.models.network import Network
from unitlens.models.passes import evaluating
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
    """

    layers: tuple[str, ...]
    values: tuple[LayerValues, ...]
    response: Response[Counts]
    sets: tuple[LayerUnits, ...] | None = None
    places: tuple[Tensor, ...] | None = None
    folds: Folds = "all"


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
    batches = Batches(data, net.preprocessing, reading, columns=columns, task="ablating")
    work = _Work(net, data, design)
    for batch in batches:
        chosen = _chosen(batch, design)
        if len(chosen):
            work.add(batch, chosen)
    read = batches.record
    if work.counter is None or work.cut is None:
        raise UnitlensError(_nothing_measured(read, design))
    return Measured(
        counts=work.counter.counts(),
        units=work.units,
        peaks=work.peaks / max(work.images, 1),
        data=describe_read(read, columns.concepts, measured=work.images),
        replay={"replays": work.cut.replays, "reason": work.cut.reason or None},
        notes=[*read.notes, *_copies(read), *design.response.notes(read), *filter(None, [work.cut.reason])],
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
    """The state of the loop: the cut network, made with the first images, and the counts so far."""

    def __init__(self, net: Network, data: Data, design: Design[Counts]) -> None:
        self.net, self.data, self.design = net, data, design
        self.cut: Cut | None = None
        self.counter: Counter[Counts] | None = None
        self.units: tuple[int, ...] = ()
        self.axes: dict[str, int] = {}
        self.peaks, self.images = np.zeros(0), 0

    def add(self, batch: Batch, chosen: npt.NDArray[np.int64]) -> None:
        """Run the network on some images of a batch, and replay every intervention on them."""
        images = MeasuredImages(batch, chosen, self.net.prepare(batch.images[torch.from_numpy(chosen)]))
        cut = self.cut = self.cut or _cut(self.net, self.design.layers, images.inputs)
        state = cut.front(images.inputs)
        activations = {**state.later, cut.layer: state.activation}
        self.axes = self.axes or {layer: unit_axis(self.net, layer, activations[layer]) for layer in self.design.layers}
        if self.counter is None:
            self._check_positions(activations)
        ablation = _Ablation.of(self.design, self.axes, activations, batch, chosen)
        if self.counter is None:
            self.units = tuple(activations[layer].shape[axis] for layer, axis in self.axes.items())
            variants = self.units[0] if ablation.variants is None else len(ablation.variants)
            self.counter = self.design.response.start(self.net, self.data, images, state.output, variants)
            self.peaks = np.zeros(sum(self.units))
            last = _Ablation.of(self.design, self.axes, activations, batch, chosen[-1:])
            self.cut = _spot_checked(cut, state, images.inputs, ablation, last)
            state = state if self.cut is cut else self.cut.front(images.inputs)
        with evaluating(self.net.model):
            self.counter.add(images, state.output, _outputs(self.cut, state, ablation, ablation.variants))
        self.images += len(chosen)
        peaks = [summed_peaks(activations[layer].movedim(axis, 1)) for layer, axis in self.axes.items()]
        self.peaks += np.concatenate(peaks)

    def _check_positions(self, activations: Mapping[str, Tensor]) -> None:
        for layer, values in zip(self.design.layers, self.design.values, strict=True):
            grid = activations[layer].movedim(self.axes[layer], 1).shape[2:]
            for replacement in (values.replacement, *(Replacement(where=place) for place in self.design.places or ())):
                replacement.check_positions(len(self.data), grid, layer=layer)


def _cut(net: Network, layers: Sequence[str], images: Tensor) -> Cut:
    with net.pass_errors(images):
        return cut_network(net.model, layers, images[:3])


class _Variant(NamedTuple):
    """One intervention: the units of each layer, and where they are replaced; None: where their values say."""

    units: LayerUnits
    where: Tensor | None = None


class _Ablation(NamedTuple):
    """What the units of each layer are replaced by, and along which dimension they lie, in some images."""

    layers: tuple[str, ...]
    variants: Sequence[_Variant] | None
    axes: Mapping[str, int]
    replacements: Mapping[str, Replacement]
    images: int

    @classmethod
    def of(
        cls,
        design: Design[Any],
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
        variants: list[_Variant] | None = None
        if design.sets is not None:
            places = design.places or [None] * len(design.sets)
            variants = [_Variant(*pair) for pair in zip(design.sets, places, strict=True)]
        return cls(design.layers, variants, axes, replacements, len(chosen))

    def values(self, layer: str, activation: Tensor) -> Tensor:
        """What all units of a layer become, (N, U, ...)."""
        return self.replacements[layer].values(activation.movedim(self.axes[layer], 1), layer=layer)

    def on(self, layer: str, variant: _Variant, activation: Tensor) -> Tensor:
        """A layer's output in the images, with the units of a set replaced."""
        ablated = variant.units[self.layers.index(layer)]
        if not ablated:
            return activation
        replacement = self.replacements[layer].of_units(ablated, activation.ndim)
        if variant.where is not None:
            replacement = replace(replacement, where=variant.where)
        return replace_units(activation, ablated, replacement, axis=self.axes[layer], layer=layer)

    def changes(self, layer: str, variants: Sequence[_Variant]) -> Change:
        """What `Cut.back` does to a further layer, with one set of units in each variant of the images."""
        count = self.images

        def change(activation: Tensor, rows: range) -> Tensor:
            of_rows = variants[rows.start // count : rows.stop // count]
            return torch.cat(
                [self.on(layer, *pair) for pair in zip(of_rows, torch.split(activation, count), strict=True)]
            )

        return change


def _outputs(
    cut: Cut, state: State, ablation: _Ablation, variants: Sequence[_Variant] | None
) -> Iterator[tuple[int, Tensor]]:
    """Outputs under intervention after intervention, (V, N, K), with the number of the first of them."""
    count, axis = len(state.activation), ablation.axes[cut.layer]
    if variants is None and axis == 1:
        for swept in sweep(cut, state, ablation.values(cut.layer, state.activation)):
            yield swept.units.start, swept.outputs
        return
    if variants is None:
        variants = [_Variant(((unit,),)) for unit in range(state.activation.shape[axis])]
    size = max(1, MEMORY // (count * max([*cut.sizes.values(), state.activation.nbytes // count])))
    for first in range(0, len(variants), size):
        block = variants[first : first + size]
        changed = torch.cat([ablation.on(cut.layer, variant, state.activation) for variant in block])
        outputs = cut.back(state, changed, {layer: ablation.changes(layer, block) for layer in cut.later})
        yield first, outputs.reshape(-1, count, *outputs.shape[1:])


def _spot_checked(cut: Cut, state: State, images: Tensor, ablation: _Ablation, last: _Ablation) -> Cut:
    """Compare one intervention on the last image with the full network; where they differ, do full passes.

    With the check of `cut_network`, 8 passes of single images in all.
    """
    if not cut.replays:
        return cut
    variants, axis = ablation.variants, ablation.axes[cut.layer]
    most_active = int(summed_peaks(state.activation.abs().movedim(axis, 1)).argmax())
    variant = _Variant(((most_active,),)) if variants is None else variants[-1]
    with evaluating(cut.model):
        if variants is None and axis == 1:
            values = ablation.values(cut.layer, state.activation)
            replayed = next(iter(sweep(cut, state, values, units=range(most_active, most_active + 1)))).outputs[0, -1]
        else:
            replayed = next(_outputs(cut, state, ablation, [variant]))[1][0, -1]
        edits = {layer: partial(last.on, layer, variant) for layer in (cut.layer, *cut.later)}
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
