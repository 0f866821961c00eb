"""Interventions on some images: they go through the network once, and what lies behind the layers is replayed."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from unitlens.ablation.activity import LayerValues, unit_peaks, unit_space
from unitlens.ablation.interventions import Replacement, replace_units
from unitlens.ablation.replay.cut import Change, Cut, State
from unitlens.ablation.replay.cutting import cut_network, distances
from unitlens.ablation.replay.hastening import Hastened, hasten
from unitlens.ablation.replay.nests import Output, by_variant, mapped
from unitlens.ablation.replay.sweeps import MEMORY, sweep
from unitlens.ablation.table import LayerUnits
from unitlens.data.batches import Batch
from unitlens.data.classes import Classes
from unitlens.models.bases import Coding
from unitlens.models.fast.precision import Fast
from unitlens.models.hooks import edit
from unitlens.models.layers import display_name
from unitlens.models.network import Network
from unitlens.models.passes import evaluating
from unitlens.models.units.space import UnitSpace
from unitlens.stats.scores import Ints


class MeasuredImages(NamedTuple):
    """Some images of a batch, as they are measured.

    Attributes
    ----------
    batch : Batch
    chosen : int64 array, (N,)
        Their indices in the batch.
    inputs : Tensor, (N, ...)
        As the network takes them.
    """

    batch: Batch
    chosen: npt.NDArray[np.int64]
    inputs: Tensor

    @property
    def folds(self) -> Ints:
        """Their folds, (N,)."""
        return np.array([self.batch.folds[i] for i in self.chosen], dtype=np.int64)

    def truth(self, classes: Classes) -> Ints:
        """The output of each one's own class, (N,)."""
        return np.array([classes.output_of[str(self.batch.classes[i])] for i in self.chosen], dtype=np.int64)


class Variant(NamedTuple):
    """One intervention.

    Attributes
    ----------
    units : tuple of tuple of int
        The units of each layer.
    where : Tensor, (h, w), optional
        Where they are replaced; None: where the values of the layer say.
    """

    units: LayerUnits
    where: Tensor | None = None


class Replays:
    """The network, cut at some layers with the first images; one batch of images after another is replayed with it.

    Parameters
    ----------
    net : Network
    layers : tuple of str
    values : tuple of LayerValues
        What the units of each layer are replaced by.
    variants : sequence of Variant, optional
        The interventions; None: every unit of the one layer alone.
    total : int
        How many images the data set counts, for positions that are given for each of them.
    fast : {"float32", "bfloat16"}, optional
        What a fast copy computes the front in.
    basis : Coding, optional
        Directions that are the units of the layers.

    Attributes
    ----------
    hastened : Hastened or None
        What became of that, once there were images.
    """

    def __init__(
        self,
        net: Network,
        layers: tuple[str, ...],
        values: tuple[LayerValues, ...],
        variants: Sequence[Variant] | None,
        *,
        total: int,
        fast: Fast | None = None,
        basis: Coding | None = None,
    ) -> None:
        self.net, self.layers, self.values, self.variants, self.total = net, layers, values, variants, total
        self._fast, self._basis = fast, basis
        self.hastened: Hastened | None = None
        self._cut: Cut | None = None
        self._spaces: dict[str, UnitSpace] = {}

    @property
    def cut(self) -> Cut | None:
        """The network in two halves, once there were images."""
        return self._cut

    def on(self, images: MeasuredImages) -> "Replayed":
        """Run the network once on some images.

        Raises
        ------
        UnitlensError
            If the network fails, or positions do not fit the grid of a layer.
        """
        if self._cut is not None:
            return self._replayed(self._cut, images)
        with self.net.pass_errors(images.inputs):
            self._cut = cut_network(self.net.model, self.layers, images.inputs[:3])
        first = self._replayed(self._cut, images)
        self._spaces = dict(first.spaces)
        last = self._replacements(images._replace(chosen=images.chosen[-1:]), first.recorded, first.spaces)
        checked = _spot_checked(first, replace(first, replacements=last))
        if self._fast is not None:
            self.hastened = hasten(checked, self.net, self._fast, images.inputs)
            checked = self.hastened.cut
        if checked is self._cut:
            return first
        self._cut = checked
        return self._replayed(checked, images)

    def _replayed(self, cut: Cut, images: MeasuredImages) -> "Replayed":
        state = cut.front(images.inputs)
        recorded = {**state.later, cut.layer: state.activation}
        spaces = self._spaces or {
            layer: unit_space(self.net, layer, recorded[layer], self._basis) for layer in self.layers
        }
        if not self._spaces:
            self._check_positions({layer: space.read(recorded[layer]).shape[2:] for layer, space in spaces.items()})
        replacements = self._replacements(images, recorded, spaces)
        return Replayed(images, cut, state, self.layers, spaces, recorded, replacements, self.variants)

    def _check_positions(self, grids: Mapping[str, torch.Size]) -> None:
        places = {id(variant.where): Replacement(where=variant.where) for variant in self.variants or ()}
        for layer, values in zip(self.layers, self.values, strict=True):
            for replacement in (values.replacement, *places.values()):
                replacement.check_positions(self.total, grids[layer], layer=layer)

    def _replacements(
        self, images: MeasuredImages, recorded: Mapping[str, Tensor], spaces: Mapping[str, UnitSpace]
    ) -> dict[str, Replacement]:
        rows = images.chosen.tolist()
        return {
            layer: values.for_images(images.batch, rows, recorded[layer].ndim).in_layer(
                spaces[layer], recorded[layer], spaces[layer].count(recorded[layer])
            )
            for layer, values in zip(self.layers, self.values, strict=True)
        }


@dataclass(frozen=True, eq=False, repr=False)
class Replayed:
    """Some images that went through the network once, and interventions on them.

    Attributes
    ----------
    images : MeasuredImages
        N of them.
    cut, state : Cut, State
        The network in two halves, and what its front gave.
    layers : tuple of str
    spaces : mapping of str to UnitSpace
        Where the units of each layer are in its output.
    recorded : mapping of str to Tensor
        The output of each layer without any intervention, as the network lays it out.
    replacements : mapping of str to Replacement
        What the units of each layer are replaced by in these images.
    variants : sequence of Variant, optional
        The interventions; None: every unit of the one layer alone.
    """

    images: MeasuredImages
    cut: Cut
    state: State
    layers: tuple[str, ...]
    spaces: Mapping[str, UnitSpace]
    recorded: Mapping[str, Tensor]
    replacements: Mapping[str, Replacement]
    variants: Sequence[Variant] | None

    @property
    def output(self) -> Output:
        """What the network returns without an intervention, (N, ...); behind `without`, with those units ablated."""
        return self.state.output

    def activation(self, layer: str) -> Tensor:
        """The activations of a layer's units without an intervention, (N, U, ...)."""
        return self.spaces[layer].strengths(self.spaces[layer].read(self.recorded[layer]))

    def outputs(self) -> Iterator[tuple[int, Output]]:
        """Outputs under intervention after intervention, (V, N, ...), with the number of the first of them.

        Of a network that returns a nest of tensors, each is (V, N, ...); of one that returns a list with an item for
        each image, there are V such lists.
        """
        return self.outputs_of(self.variants)

    def outputs_of(self, variants: Sequence[Variant] | None) -> Iterator[tuple[int, Output]]:
        """The same for other interventions than those of the design; None: every unit of the one layer alone."""
        cut, state, space = self.cut, self.state, self.spaces[self.cut.layer]
        if variants is None:
            for swept in sweep(cut, state, self._values(cut.layer), space=space):
                yield swept.units.start, swept.outputs
            return
        count = len(state.activation)
        size = max(1, MEMORY // (count * max([*cut.sizes.values(), state.activation.nbytes // count])))
        # A position is encoded as a whole, however few features are replaced: for many interventions once.
        known = None if space.basis is None else space.read(state.activation)
        for first in range(0, len(variants), size):
            block = variants[first : first + size]
            changed = torch.cat([self.changed(cut.layer, variant, state.activation, known=known) for variant in block])
            outputs = cut.back(state, changed, {layer: self._changes(layer, block) for layer in cut.later})
            yield first, by_variant(outputs, len(self.images.inputs))

    def without(self, units: Sequence[int]) -> "Replayed":
        """The same images with some units of the one layer ablated, for interventions beside these."""
        layer = self.cut.layer
        activation = self.changed(layer, Variant((tuple(units),)), self.recorded[layer])
        output = self.cut.back(self.state, activation)
        return replace(self, state=self.state._replace(activation=activation, output=output))

    def changed(self, layer: str, variant: Variant, activation: Tensor, *, known: Tensor | None = None) -> Tensor:
        """A layer's output in the images, with the units of an intervention replaced; see `replace_units`."""
        ablated = variant.units[self.layers.index(layer)]
        if not ablated:
            return activation
        space = self.spaces[layer]
        replacement = self.replacements[layer].of_units(space.places(ablated), activation.ndim)
        if variant.where is not None:
            replacement = replace(replacement, where=variant.where)
        return replace_units(activation, ablated, replacement, space=space, layer=layer, known=known)

    def _values(self, layer: str) -> Tensor:
        """What all units of a layer become, as `UnitSpace.read` returns them."""
        return self.replacements[layer].values(self.spaces[layer].read(self.recorded[layer]), layer=layer)

    def _changes(self, layer: str, variants: Sequence[Variant]) -> Change:
        """What `Cut.back` does to a further layer, with one set of units in each variant of the images."""
        count = len(self.state.activation)

        def change(activation: Tensor, rows: range) -> Tensor:
            of_rows = variants[rows.start // count : rows.stop // count]
            parts = zip(of_rows, torch.split(activation, count), strict=True)
            return torch.cat([self.changed(layer, variant, part) for variant, part in parts])

        return change


def _spot_checked(replayed: Replayed, last: Replayed) -> Cut:
    """Compare one intervention on the last image with the full network; where they differ, do full passes.

    With the check of `cut_network`, 8 passes of single images in all.
    """
    cut, state, variants = replayed.cut, replayed.state, replayed.variants
    if not cut.replays or variants == []:
        return cut
    most_active = int(unit_peaks(replayed.activation(cut.layer).abs()).sum(0).argmax())
    variant = Variant(((most_active,),)) if variants is None else variants[-1]
    with evaluating(cut.model):
        if variants is None:
            units, space = range(most_active, most_active + 1), replayed.spaces[cut.layer]
            swept = next(iter(sweep(cut, state, replayed._values(cut.layer), units=units, space=space)))
            again = swept.outputs
        else:
            again = next(replayed.outputs_of([variant]))[1]
        edits = {layer: partial(last.changed, layer, variant) for layer in (cut.layer, *cut.later)}
        with edit(cut.model, edits):
            full = cut.full_pass(replayed.images.inputs[-1:])
    too_far = [each for each in distances(mapped(again, lambda tensor: tensor[0, -1:]), full) if each.too_far]
    if not too_far:
        return cut
    off, largest, _ = too_far[0]
    at = " and ".join(map(display_name, (cut.layer, *cut.later)))
    reason = (
        f"Every intervention at {at} takes a full pass of the network, as replaying only what lies behind the layer is "
        f"off by {off:.3g} on an image of this run, where the largest output is {largest:.3g}."
    )
    return Cut(cut.model, cut.layer, cut.later, reason)
