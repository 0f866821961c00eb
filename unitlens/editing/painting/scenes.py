"""Images that a network draws, each gone through the front of the network once, to be edited many times."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from torch import Tensor

from unitlens.ablation.activity import unit_space
from unitlens.ablation.replay.cut import Cut, State
from unitlens.ablation.replay.cutting import cut_network
from unitlens.ablation.replay.edits import UnitEdit, output_with
from unitlens.ablation.responses.areas import drawn_images
from unitlens.data.concepts import Data
from unitlens.data.latent_sets import FILES, PREFIX, named_latents
from unitlens.editing.networks import drawing_network
from unitlens.errors import UnitlensError, did_you_mean
from unitlens.models.network import Network
from unitlens.models.units.space import UnitSpace

Pixels = npt.NDArray[np.uint8]


class PaintedLayer(NamedTuple):
    """A layer whose units are edited.

    Attributes
    ----------
    units : int
    grid : tuple of int
        Its rows and columns; empty where it has none, so that units are edited everywhere.
    space : UnitSpace
        Where the units are in its output.
    """

    units: int
    grid: tuple[int, ...]
    space: UnitSpace


@dataclass(frozen=True, eq=False)
class Painter:
    """A network that draws images, cut at the layers whose units are edited.

    Attributes
    ----------
    net : Network
    cut : Cut
    layers : mapping of str to PaintedLayer
    """

    net: Network
    cut: Cut
    layers: Mapping[str, PaintedLayer]

    @classmethod
    def of(cls, net: Network, layers: Sequence[str]) -> "Painter":
        """Cut a network at some layers.

        Raises
        ------
        UnitlensError
            If it draws no images, or there is no such layer.
        """
        net, examples = drawing_network(net), drawing_network(net).example_inputs(3)
        cut = cut_network(net.model, layers, examples)
        state = cut.front(examples[:1])
        recorded = {cut.layer: state.activation, **state.later}
        found = {}
        for layer in layers:
            space = unit_space(net, layer, recorded[layer])
            if space.each > 1:
                raise UnitlensError(
                    f"{layer} are heads of attention, which say several numbers at a position: paint with the units of "
                    "a layer that says one, such as its projection."
                )
            found[layer] = PaintedLayer(
                space.count(recorded[layer]), tuple(space.read(recorded[layer]).shape[2:]), space
            )
        return cls(net, cut, found)

    def scene(self, latent: Any) -> "Scene":
        """Draw an image.

        Parameters
        ----------
        latent : array or Tensor
            As the network takes one, with its class where there are classes.

        Raises
        ------
        UnitlensError
            If it is no latent of the network's.
        """
        inputs = self.net.prepare(_tensor(latent)[None])
        with self.net.pass_errors(inputs):
            state = self.cut.front(inputs)
        return Scene(self, inputs, state, _pixels(self.net, inputs, state.output))

    def check(self, edits: Sequence[UnitEdit]) -> None:
        """Make sure that edits are of these layers, of units that they have, and of their grids.

        Raises
        ------
        UnitlensError
            If they are not.
        """
        for edit in edits:
            layer = self.layers.get(edit.layer)
            if layer is None:
                near = did_you_mean(edit.layer, self.layers)
                raise UnitlensError(
                    f"An edit is of the layer {edit.layer}{near}, and what is painted with is {', '.join(self.layers)}."
                )
            edit.check(edit.layer, layer.units, layer.grid)


@dataclass(frozen=True, eq=False)
class Scene:
    """One image, as the network draws it, and as it draws it with units edited.

    Attributes
    ----------
    painter : Painter
    inputs : Tensor, (1, ...)
        The latent, as the network takes it.
    state : State
        What the front of the network gave.
    image : uint8 array, (height, width, 3)
        As it is drawn without edits.
    """

    painter: Painter
    inputs: Tensor
    state: State
    image: Pixels

    def edited(self, edits: Sequence[UnitEdit]) -> Pixels:
        """Draw the image with units edited, one edit after the other: uint8, (height, width, 3).

        The same edits give the same bytes, whatever was drawn before.

        Raises
        ------
        UnitlensError
            If there is no such layer or unit, or a mask is of another grid.
        """
        painter = self.painter
        painter.check(edits)
        spaces = {name: layer.space for name, layer in painter.layers.items()}
        return _pixels(painter.net, self.inputs, output_with(painter.cut, self.state, edits, spaces))


def _pixels(net: Network, inputs: Tensor, outputs: Any) -> Pixels:
    return np.ascontiguousarray(drawn_images(net, inputs, outputs)[0].transpose(1, 2, 0))


def _tensor(latent: Any) -> Tensor:
    import torch

    return torch.as_tensor(np.asarray(latent, np.float32))


MOST_SCENES = 1_000_000
"""Of latents that are drawn; each follows from its number."""


def scene_latents(latents: Data, source: str) -> Data:
    """All latents that there are of a kind: of those that are drawn, many more than a run looked at.

    Parameters
    ----------
    latents : Data
        Of a run.
    source : str
        Their name, as run.json says it.
    """
    drawn = source.startswith(PREFIX) and not source.endswith(FILES)
    return named_latents(source, MOST_SCENES, 0) if drawn else latents


def latent_of(latents: Data, number: int) -> npt.NDArray[np.float32]:
    """One of some latents, by its number.

    Raises
    ------
    UnitlensError
        If there are not so many.
    """
    if not 0 <= number < len(latents):
        raise UnitlensError(f"There is no scene {number}; there are {len(latents)}, counted from 0.")
    return np.asarray(latents[number].image, np.float32)
