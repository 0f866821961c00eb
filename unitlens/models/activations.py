"""Run the network once and return each layer's output as maps of units, (N, U, h, w)."""

import copy
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from unitlens.errors import UnitlensError
from unitlens.models.bases import Basis
from unitlens.models.hooks import Tap, record
from unitlens.models.layers import LayerRef, display_name, find_layers
from unitlens.models.layouts import Layout, Order, need_layout
from unitlens.models.passes import pass_errors

Reader = Callable[[Tensor], dict[str, Tensor]]
"""From prepared images to each layer's output, (N, U, h, w), by the layer's name."""


@dataclass(frozen=True)
class Readout:
    """Which layers are read in a pass, at which moment, and as which units.

    Attributes
    ----------
    layers : tuple of str
        Their names.
    tap : {"output", "after_inplace"}
        As for `record`.
    layout : str or None
        How their outputs are laid out, one of `ORDERS`; None: as `find_layout` finds it.
    basis : Basis or None
        Directions that are read in place of the units.
    layouts : dict of str to Layout
        How each layer's output is laid out, as the last pass found it.
    """

    layers: tuple[str, ...]
    tap: Tap = "output"
    layout: Order | None = None
    basis: Basis | None = None
    layouts: dict[str, Layout] = field(default_factory=dict)

    def read(self, ref: LayerRef, activation: Tensor, images: Tensor) -> Tensor:
        """Return a layer's output as maps of units, (N, U, h, w)."""
        if activation.is_complex():
            raise UnitlensError(
                f"{display_name(ref.given)} returns complex numbers, which no threshold orders: choose another layer."
            )
        layout = self.layouts[ref.given] = need_layout(ref, activation, images, order=self.layout)
        maps = layout.maps(activation)
        return self.basis.apply(maps, display_name(ref.given)) if self.basis else maps


def reader(model: nn.Module, readout: Readout) -> Reader:
    """Return a function that runs the network on prepared images and returns each layer's output, (N, U, h, w)."""
    refs = find_layers(model, readout.layers)

    def read(images: Tensor) -> dict[str, Tensor]:
        with record(model, readout.layers, tap=readout.tap) as recording, pass_errors(model, images):
            model(images)
        return {ref.given: readout.read(ref, recording[ref.given], images) for ref in refs}

    return read


def fast_reader(model: nn.Module, readout: Readout) -> Reader:
    """Return the same of a copy of the network that computes in channels-last order, on a GPU in bfloat16."""
    read = reader(copy.deepcopy(model).to(memory_format=torch.channels_last), readout)

    def fast(images: Tensor) -> dict[str, Tensor]:
        with torch.autocast(images.device.type, torch.bfloat16, enabled=images.device.type != "cpu"):
            return read(images.contiguous(memory_format=torch.channels_last))

    return fast


def largest_deviation(exact: dict[str, Tensor], fast: dict[str, Tensor]) -> dict[str, float]:
    """Return each layer's largest difference of an activation, as a share of its largest activation."""
    return {
        layer: float((fast[layer].float() - maps.float()).abs().max() / maps.float().abs().max().clamp(min=1e-30))
        for layer, maps in exact.items()
    }
