"""A network in two halves: the front, which runs once, and the tail, which runs for every intervention."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from types import MappingProxyType
from typing import Any, NamedTuple

import torch
from torch import Tensor, fx, nn

from unitlens.ablation.replay.fast_front import FastFront, run_front
from unitlens.ablation.replay.growth import Growth, grow
from unitlens.ablation.replay.nests import ByImage, Output, joined, rebuilt, tensors
from unitlens.ablation.replay.splits import Split, Values, run
from unitlens.errors import UnitlensError
from unitlens.models.hooks import edit, record
from unitlens.models.passes import evaluating

Change = Callable[[Tensor, range], Tensor]
"""A function of a layer's output in some rows of a replay, and of the range of these rows, to its new output."""

_NOTHING: Mapping[str, Any] = MappingProxyType({})


class State(NamedTuple):
    """The values of some images after the front has run.

    Attributes
    ----------
    activation : Tensor, (N, U, h, w) or (N, U)
        The layer's output.
    rest : mapping
        The other values that the tail reads, or the images themselves where every intervention is a full pass.
    output : Tensor, (N, ...), nest of these, or ByImage
        The network's output with nothing changed.
    later : mapping of str to Tensor
        The outputs of further layers of the cut.
    """

    activation: Tensor
    rest: Mapping[Any, Any]
    output: Output
    later: Mapping[str, Tensor] = _NOTHING


@dataclass(frozen=True, repr=False)
class Cut:
    """A network, cut at the output of one layer, or of the first of several. Made by `cut_network`.

    Attributes
    ----------
    model : nn.Module
        The network itself; never changed.
    layer : str
        The name of the layer.
    later : tuple of str
        Further layers to change something in, called after it.
    reason : str
        Why every intervention takes a full pass of the network, one sentence; empty where the tail is replayed.
    split : Split or None
        The two halves; None where every intervention takes a full pass.
    growths : mapping
        How each value grows with the number of images.
    sizes : mapping
        Bytes of each value, per image.
    form : Output
        An output of the network, after which those of the tail are formed; None: they are one tensor.
    by_image : bool
        Whether the network returns a list with an item for each image.
    fast : FastFront, optional
        A fast copy's front, which runs in place of the network's; see `unitlens.ablation.replay.hastening`.
    """

    model: nn.Module
    layer: str
    later: tuple[str, ...] = ()
    reason: str = ""
    split: Split | None = None
    growths: Mapping[fx.Node, Growth] = field(default_factory=dict)
    sizes: Mapping[fx.Node, int] = field(default_factory=dict)
    form: Output = None
    by_image: bool = False
    fast: FastFront | None = None

    def __repr__(self) -> str:
        behaviour = self.reason or f"replays {len(self.split.tail) if self.split else 0} steps"
        return f"<Cut at {self.layer}: {behaviour}>"

    @property
    def replays(self) -> bool:
        """Whether only the tail runs for an intervention."""
        return self.split is not None

    def front(self, images: Tensor) -> State:
        """Run the network once, keeping what crosses the cut.

        Parameters
        ----------
        images : Tensor, (N, 3, height, width)
            As the network takes them.

        Returns
        -------
        State
            Nothing that is done with it changes its tensors.
        """
        with evaluating(self.model):
            if self.split is None:
                with record(self.model, [self.layer, *self.later]) as recording:
                    output = self.full_pass(images)
                later = {layer: recording[layer] for layer in self.later}
                return State(recording[self.layer], {"images": images}, output, later)
            # The tail runs once too: its output is the one that interventions are compared with, and on the way it
            # passes the further layers.
            fast = self.fast
            activation, rest = run_front(self.split, images) if fast is None else fast.run(images, self.split)
            seen: dict[str, Tensor] = {}
            notes = {layer: partial(_note, seen, layer) for layer in self.later}
            return State(activation, rest, self._tail(self.split, rest, activation, notes), seen)

    def full_pass(self, images: Tensor) -> Output:
        """What the network itself returns."""
        output = self.model(images)
        return ByImage(output) if self.by_image else output

    def back(self, state: State, activation: Tensor, changes: Mapping[str, Change] = _NOTHING) -> Output:
        """Compute the output for other activations of the layer.

        Parameters
        ----------
        state : State
            Of N images, from `front`.
        activation : Tensor, (V * N, U, ...)
            V variants of ``state.activation``, one after the other, each of all N images.
        changes : mapping of str to function, optional
            For further layers of the cut, functions of the layer's output in some of the V * N rows, and of the range
            of these rows, to its new output.

        Returns
        -------
        Tensor, (V * N, ...), nest of these, or ByImage
        """
        count = len(state.activation)
        if activation.shape[1:] != state.activation.shape[1:] or len(activation) % count:
            raise UnitlensError(
                f"The activation to replay has shape {tuple(activation.shape)}; it must be that of {self.layer}, "
                f"{tuple(state.activation.shape)}, or a multiple of it along the first dimension."
            )
        with evaluating(self.model):
            if self.split is None:
                return _full_passes(self, state, activation, changes)
            rest = state.rest
            if len(activation) != count:  # several variants of each image: so is everything else that the tail reads
                images = torch.arange(len(activation), device=activation.device) % count
                rest = {node: grow(value, self.growths[node], images, count) for node, value in rest.items()}
            return self._tail(self.split, rest, activation, changes)

    def _tail(self, split: Split, rest: Mapping[Any, Any], activation: Tensor, changes: Mapping[str, Change]) -> Output:
        values: Values = {**rest, split.start: activation}
        rows, nodes = range(len(activation)), dict(zip(self.later, split.later, strict=True))
        run(
            split.tail,
            values,
            {nodes[layer]: partial(_change_rows, change, rows) for layer, change in changes.items()},
        )
        output = values[split.output]
        return output if self.form is None else rebuilt(self.form, tensors(output))


def replayed_share(cut: Cut, image: Tensor) -> float:
    """Which share of a pass's multiplications a replay takes; 1 where every intervention takes a full pass."""
    from torch.utils.flop_counter import FlopCounterMode

    if not cut.replays:
        return 1.0
    with evaluating(cut.model):
        with FlopCounterMode(display=False) as whole:
            state = cut.front(image)
        with FlopCounterMode(display=False) as tail:
            cut.back(state, state.activation)
    return float(tail.get_total_flops() / max(whole.get_total_flops(), 1))


def _full_passes(cut: Cut, state: State, activation: Tensor, changes: Mapping[str, Change]) -> Output:
    outputs, count = [], len(state.activation)
    for first in range(0, len(activation), count):
        rows = range(first, first + count)
        edits = {layer: partial(_change_rows, change, rows) for layer, change in changes.items()}
        with edit(cut.model, {cut.layer: partial(_instead, activation[first : rows.stop]), **edits}):
            outputs.append(cut.full_pass(state.rest["images"]))
    return joined(outputs)


def _instead(variant: Tensor, activation: Tensor) -> Tensor:
    return variant


def _change_rows(change: Change, rows: range, activation: Tensor) -> Tensor:
    return change(activation, rows)


def _note(seen: dict[str, Tensor], layer: str, activation: Tensor, rows: range) -> Tensor:
    seen[layer] = activation
    return activation
