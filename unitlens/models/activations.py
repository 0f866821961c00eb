"""Run the network once and return each layer's output as maps of units, (N, U, h, w)."""

import copy
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from unitlens.errors import UnitlensError
from unitlens.models.bases import Basis
from unitlens.models.fast.ending import EndingPasses
from unitlens.models.hooks import Tap
from unitlens.models.layers import LayerRef, display_name, find_layers
from unitlens.models.layouts import Layout, Order, need_layout
from unitlens.models.network import Network


class LayerPass(NamedTuple):
    """What a pass returned.

    Attributes
    ----------
    maps : dict of str to Tensor
        Each layer's output, (N, U, h, w), by the layer's name.
    outputs : Any
        The network's own; None where the pass ended behind the deepest layer.
    """

    maps: dict[str, Tensor]
    outputs: Any


Reader = Callable[[Tensor], LayerPass]
"""From prepared inputs to what the layers and the network return."""


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

    def read(self, ref: LayerRef, activation: Tensor, images: int, image_size: tuple[int, int]) -> Tensor:
        """Return a layer's output for so many images of a size as maps of units, (N, U, h, w)."""
        if activation.is_complex():
            raise UnitlensError(
                f"{display_name(ref.given)} returns complex numbers, which no threshold orders: choose another layer."
            )
        layout = self.layouts[ref.given] = need_layout(ref, activation, images, image_size, order=self.layout)
        maps = layout.maps(activation)
        return self.basis.apply(maps, display_name(ref.given)) if self.basis else maps


def reader(net: Network, readout: Readout, *, outputs: bool = True) -> Reader:
    """Return a function that runs the network on prepared inputs and returns each layer's output, (N, U, h, w).

    Parameters
    ----------
    net : Network
    readout : Readout
    outputs : bool
        Whether the network's own output is needed; else passes end behind the deepest layer.
    """
    image_size = net.preprocessing.image_size
    refs = find_layers(net.model, readout.layers)
    run = EndingPasses(net.model, readout.layers, tap=readout.tap, whole=outputs)

    def read(inputs: Tensor) -> LayerPass:
        with net.pass_errors(inputs):
            recording, returned = run(inputs)
        count = len(inputs)
        return LayerPass(
            {ref.given: readout.read(ref, recording[ref.given], count, image_size) for ref in refs}, returned
        )

    return read


def fast_reader(net: Network, readout: Readout, *, outputs: bool = True) -> Reader:
    """Return the same of a copy of the network that computes in channels-last order, on a GPU in bfloat16."""
    read = reader(
        replace(net, model=copy.deepcopy(net.model).to(memory_format=torch.channels_last)), readout, outputs=outputs
    )

    def fast(inputs: Tensor) -> LayerPass:
        if inputs.ndim == 4:
            inputs = inputs.contiguous(memory_format=torch.channels_last)
        with torch.autocast(inputs.device.type, torch.bfloat16, enabled=inputs.device.type != "cpu"):
            return read(inputs)

    return fast


def largest_deviation(exact: dict[str, Tensor], fast: dict[str, Tensor]) -> dict[str, float]:
    """Return each layer's largest difference of an activation, as a share of its largest activation."""
    return {
        layer: float((fast[layer].float() - maps.float()).abs().max() / maps.float().abs().max().clamp(min=1e-30))
        for layer, maps in exact.items()
    }
