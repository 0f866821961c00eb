"""Run the network once and return each layer's output as maps of units, (N, U, h, w)."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor

from unitlens.errors import UnitlensError
from unitlens.models.bases import Coding
from unitlens.models.fast.copies import FastCopy
from unitlens.models.fast.ending import EndingPasses
from unitlens.models.hooks import Tap
from unitlens.models.layers import LayerRef, display_name, find_layers
from unitlens.models.layouts import Layout, Order, need_layout
from unitlens.models.network import Network
from unitlens.models.units.space import UnitSpace


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
    basis : Coding or None
        Directions that are read in place of the units.
    layouts : dict of str to Layout
        How each layer's output is laid out, as the last pass found it.
    """

    layers: tuple[str, ...]
    tap: Tap = "output"
    layout: Order | None = None
    basis: Coding | None = None
    layouts: dict[str, Layout] = field(default_factory=dict)

    def read(self, ref: LayerRef, activation: Tensor, images: int, image_size: tuple[int, int]) -> Tensor:
        """Return a layer's output for so many images of a size as maps of units, (N, U, h, w)."""
        if activation.is_complex():
            raise UnitlensError(
                f"{display_name(ref.given)} returns complex numbers, which no threshold orders: choose another layer."
            )
        layout = self.layouts[ref.given] = need_layout(ref, activation, images, image_size, order=self.layout)
        maps = layout.maps(activation)
        if self.basis is not None:
            return self.basis.apply(maps, display_name(ref.given))
        return maps if ref.heads is None else UnitSpace(each=maps.shape[1] // ref.heads).strengths(maps)


def reader(net: Network, readout: Readout, *, outputs: bool = True, fast: FastCopy | None = None) -> Reader:
    """Return a function that runs the network on prepared inputs and returns each layer's output, (N, U, h, w).

    Parameters
    ----------
    net : Network
    readout : Readout
    outputs : bool
        Whether the network's own output is needed; else passes end behind the deepest layer.
    fast : FastCopy, optional
        A copy of the network that runs in its place.
    """
    image_size, model = net.preprocessing.image_size, net.model if fast is None else fast.net.model
    refs = find_layers(model, readout.layers)
    run = EndingPasses(model, readout.layers, tap=readout.tap, whole=outputs)

    def read(inputs: Tensor) -> LayerPass:
        with net.pass_errors(inputs):
            recording, returned = run(inputs if fast is None else fast.prepare(inputs))
        found = {ref.given: recording[ref.given] for ref in refs}
        if fast is not None:
            found = {layer: _as_usual(tensor, net.dtype) for layer, tensor in found.items()}
            returned = _as_usual(returned, net.dtype)
        count = len(inputs)
        return LayerPass({ref.given: readout.read(ref, found[ref.given], count, image_size) for ref in refs}, returned)

    return read


def _as_usual(output: Any, dtype: torch.dtype) -> Any:
    """Return what a fast copy returned as the network itself lays it out, in its number type."""
    if not isinstance(output, Tensor):
        return output
    return output.contiguous().to(dtype if output.is_floating_point() else output.dtype)
