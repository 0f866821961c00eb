"""A network in two halves: the front, run once, and what lies behind it, run for every intervention."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, fx, nn

from unitlens.batches import Growth, grow
from unitlens.errors import UnitlensError
from unitlens.hooks import edit, record
from unitlens.network import evaluating
from unitlens.tracing import Split, Values, run


class State(NamedTuple):
    """What is known of some pictures when the front has run.

    Attributes
    ----------
    activation : Tensor, (N, U, h, w) or (N, U)
        What the layer returned.
    rest : mapping
        What else the tail needs: whatever else crosses the cut, or the pictures themselves for full passes.
    output : Tensor, (N, ...)
        The network's ordinary output.
    """

    activation: Tensor
    rest: Mapping[Any, Any]
    output: Tensor


@dataclass(frozen=True, repr=False)
class Cut:
    """A network, cut at the output of one layer. Made by `cut_network`.

    Attributes
    ----------
    model : nn.Module
        The network itself; never changed.
    layer : str
        The layer.
    reason : str
        Why every intervention takes a full pass of the network, one sentence; empty where the tail is replayed.
    split : Split or None
        The two halves; None where every intervention takes a full pass.
    growths : mapping
        How each value grows with the number of pictures.
    sizes : mapping
        Bytes of each value, per picture.
    """

    model: nn.Module
    layer: str
    reason: str = ""
    split: Split | None = None
    growths: Mapping[fx.Node, Growth] = field(default_factory=dict)
    sizes: Mapping[fx.Node, int] = field(default_factory=dict)

    def __repr__(self) -> str:
        how = self.reason or f"replays {len(self.split.tail) if self.split else 0} steps"
        return f"<Cut at {self.layer}: {how}>"

    @property
    def replays(self) -> bool:
        """Whether only the tail is run for an intervention."""
        return self.split is not None

    def front(self, pictures: Tensor) -> State:
        """Run the network once, keeping what crosses the cut.

        Parameters
        ----------
        pictures : Tensor, (N, 3, height, width)
            As the network takes them.

        Returns
        -------
        State
            Its tensors are kept as they are by everything that is done with it.
        """
        with evaluating(self.model):
            if self.split is None:
                with record(self.model, self.layer) as recording:
                    output = self.model(pictures)
                return State(recording[self.layer], {"pictures": pictures}, output)
            values: Values = {self.split.pictures: pictures}
            run(self.split.front, values)
            activation = values[self.split.before]
            rest = {node: values[node] for node in self.split.crossing}
            return State(activation, rest, _tail(self.split, rest, activation))

    def back(self, state: State, activation: Tensor) -> Tensor:
        """Compute the output for other activations of the layer.

        Parameters
        ----------
        state : State
            Of N pictures, from `front`.
        activation : Tensor, (V * N, U, ...)
            V variants of ``state.activation``, one after the other, each of all N pictures.

        Returns
        -------
        Tensor, (V * N, ...)
        """
        count = len(state.activation)
        if activation.shape[1:] != state.activation.shape[1:] or len(activation) % count:
            raise UnitlensError(
                f"The activation to replay has shape {tuple(activation.shape)}; it must be that of {self.layer}, "
                f"{tuple(state.activation.shape)}, or a multiple of it along the first dimension."
            )
        with evaluating(self.model):
            if self.split is None:
                return _full_passes(self, state, activation)
            rest = state.rest
            if len(activation) != count:
                pictures = torch.arange(len(activation), device=activation.device) % count
                rest = {node: grow(value, self.growths[node], pictures, count) for node, value in rest.items()}
            return _tail(self.split, rest, activation)


def _tail(split: Split, rest: Mapping[Any, Any], activation: Tensor) -> Tensor:
    values: Values = {**rest, split.place: activation}
    run(split.tail, values)
    output: Tensor = values[split.output]
    return output


def _full_passes(cut: Cut, state: State, activation: Tensor) -> Tensor:
    outputs = []
    for variant in torch.split(activation, len(state.activation)):
        with edit(cut.model, {cut.layer: partial(_instead, variant)}):
            outputs.append(cut.model(state.rest["pictures"]))
    return torch.cat(outputs)


def _instead(variant: Tensor, activation: Tensor) -> Tensor:
    return variant
