"""What layers say to images: one pass of the network, each layer's output read as maps of units."""

import copy
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from unitlens.errors import UnitlensError
from unitlens.models.bases import Basis
from unitlens.models.hooks import Tap, record
from unitlens.models.layers import Place, find_layers, shown
from unitlens.models.layouts import Layout, Order, need_layout
from unitlens.models.passes import pass_errors

Run = Callable[[Tensor], dict[str, Tensor]]


@dataclass(frozen=True)
class Answer:
    """What of a pass is kept: which layers, at which moment, and how they are read.

    Attributes
    ----------
    layers : tuple of str
    tap : {"output", "after_inplace"}
    layout : str or None
        What the user says; None: the rule.
    basis : Basis or None
    found : dict of str to Layout
        Of the layers that were seen, as the last pass showed them.
    """

    layers: tuple[str, ...]
    tap: Tap = "output"
    layout: Order | None = None
    basis: Basis | None = None
    found: dict[str, Layout] = field(default_factory=dict)

    def read(self, place: Place, activation: Tensor, images: Tensor) -> Tensor:
        """A layer's activation as (N, U, h, w)."""
        if activation.is_complex():
            raise UnitlensError(
                f"{shown(place.given)} returns complex numbers, which no threshold orders: choose another layer."
            )
        layout = self.found[place.given] = need_layout(place, activation, images, order=self.layout)
        maps = layout.maps(activation)
        return self.basis.apply(maps, shown(place.given)) if self.basis else maps


def runner(model: nn.Module, answer: Answer) -> Run:
    """What the layers say to prepared images, as (N, U, h, w); errors of the pass as sentences."""
    places = find_layers(model, answer.layers)

    def run(images: Tensor) -> dict[str, Tensor]:
        with record(model, answer.layers, tap=answer.tap) as recording, pass_errors(model, images):
            model(images)
        return {place.given: answer.read(place, recording[place.given], images) for place in places}

    return run


def fast_runner(model: nn.Module, answer: Answer) -> Run:
    """The same from a copy of the network that computes in channels-last order, on a GPU in bfloat16."""
    run = runner(copy.deepcopy(model).to(memory_format=torch.channels_last), answer)

    def fast(images: Tensor) -> dict[str, Tensor]:
        with torch.autocast(images.device.type, torch.bfloat16, enabled=images.device.type != "cpu"):
            return run(images.contiguous(memory_format=torch.channels_last))

    return fast


def deviation_of(exact: dict[str, Tensor], fast: dict[str, Tensor]) -> dict[str, float]:
    """Largest difference of an activation, as a share of the layer's largest."""
    return {
        layer: float((fast[layer].float() - maps.float()).abs().max() / maps.float().abs().max().clamp(min=1e-30))
        for layer, maps in exact.items()
    }
