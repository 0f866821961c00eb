"""What an explanation is asked of (layer, network, classes, value), and where it is said to come from."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from unitlens.ablation.activity import unit_means
from unitlens.data.batches import Batches
from unitlens.data.classes import Classes, output_names
from unitlens.data.concepts import Data, described
from unitlens.data.reading import Reading
from unitlens.dissection.provenance import describe_network, versions
from unitlens.dissection.reopening import run_basis
from unitlens.dissection.result import Dissection
from unitlens.errors import UnitlensError, argument
from unitlens.explaining.labelled_units import LabelledUnits
from unitlens.models.activations import Readout
from unitlens.models.bases import BasisLike, Coding
from unitlens.models.layers import find_layers
from unitlens.models.network import Network
from unitlens.models.units.zero_shot import encoder_of, layer_behind


def class_count(net: Network) -> int:
    """How many classes the network tells apart.

    Raises
    ------
    UnitlensError
        If it does not return scores of classes.
    """
    outputs = net.output_count()
    if outputs is None or outputs < 2:
        raise UnitlensError(
            f"{net.name} does not return scores of classes, images x classes: a prediction can be explained of a "
            "classifier (what a generator draws is changed by unitlens.intervene)."
        )
    return outputs


def output_classes(net: Network, data: Data) -> Classes:
    """What each output is called, and which class of the data it stands for, where images may have no class.

    Raises
    ------
    UnitlensError
        If the network does not return scores of classes.
    """
    outputs = class_count(net)
    index = {str(name): number for name, number in described(data).class_index.items()}
    return Classes(output_names(net.classes, index, outputs), index)


@dataclass(frozen=True, eq=False)
class AskedLayer:
    """A dissected layer, and where its units are in a network.

    Attributes
    ----------
    name : str
        As the dissection calls it.
    place : str
        As the network calls it: where this gives classes to the encoder that was dissected, behind ``encoder.``.
    labelled : LabelledUnits
        What the dissection says of its units.
    basis : Coding or None
        Directions, or features of a dictionary, that are its units.
    """

    name: str
    place: str
    labelled: LabelledUnits
    basis: Coding | None

    @classmethod
    def of(cls, net: Network, dissection: Dissection, layer: str | None, basis: BasisLike | None) -> "AskedLayer":
        """Find a layer; of a dissection of one layer, that one.

        Raises
        ------
        UnitlensError
            If it was not dissected, the dissection is of other weights, or its directions are not at hand.
        """
        name, sha256 = given_layer(dissection, layer), dissection.info["network"]["sha256"]
        encoder = encoder_of(net)
        if net.fingerprint() == sha256:
            place = name
        elif encoder is not None and encoder.fingerprint() == sha256:
            place = layer_behind(name)
        else:
            raise UnitlensError(
                f"The dissection is of {dissection.info['network']['name']} with other weights than this network has: "
                "dissect this network, or load the weights that were dissected."
            )
        return cls(name, place, LabelledUnits.of(dissection, name), run_basis(dissection.settings, basis))

    def of_heads(self, net: Network) -> bool:
        """Whether its units are heads of attention, each of several numbers."""
        return self.basis is None and find_layers(net.model, self.place)[0].heads is not None


def given_layer(dissection: Dissection, layer: str | None) -> str:
    """The layer that is meant, checked; of a dissection of one layer, that one."""
    if layer is None and len(dissection.layers) > 1:
        raise UnitlensError(
            f"Several layers were dissected: choose one of {', '.join(dissection.layers)}, as in "
            f"layer={dissection.layers[-1]!r}."
        )
    return dissection[dissection.layers[0] if layer is None else layer].layers[0]


def given_value(
    value: float | str, net: Network, dissection: Dissection, layer: AskedLayer, data: Data | None
) -> float | Tensor:
    """What units are set to: a number, or their means over the images of the dissection.

    Of a head the dissection has its mean length, and not the mean of each of its numbers, to which it is set: these are
    measured on ``data``, of which as many images are read as were dissected.

    Raises
    ------
    UnitlensError
        If there is no such value, or the units are heads and there are no data.
    """
    if value == "mean":
        if layer.of_heads(net):
            if data is None:
                raise UnitlensError(
                    f"The run has the mean length of each head of {layer.name}, and not the means of its numbers, to "
                    f"which it would be set: give the images that they are means over as {argument('data')}."
                )
            settings = dissection.settings
            return unit_means(net, layer.place, data, Reading(limit=settings.limit, seed=settings.seed)).float()
        return torch.tensor(dissection.info["layers"][layer.name]["mean"], dtype=torch.float32)
    if isinstance(value, str):
        raise UnitlensError(f"value is {value!r}; units are set to a number, or to 'mean', their mean.")
    return float(value)


def map_reader(net: Network, dissection: Dissection, layer: AskedLayer) -> Callable[[Tensor], Tensor]:
    """From the layer's output, as the network lays it out, to maps of units, as the dissection reads them."""
    (ref,) = find_layers(net.model, [layer.place])
    readout = Readout((layer.place,), layout=dissection.settings.layout, basis=layer.basis)
    return lambda activation: readout.read(ref, activation, len(activation), net.preprocessing.image_size)


def describe(
    net: Network,
    data: Data,
    read: Mapping[str, Any],
    *,
    settings: Mapping[str, Any],
    seconds: float,
    notes: Sequence[str],
    replay: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Where an explanation comes from.

    Parameters
    ----------
    net, data
        Of what.
    read : mapping
        What `unitlens.dissection.provenance.describe_read` says of the images.
    settings : mapping
        What was chosen.
    seconds : float
        It took.
    notes : sequence of str
        What was warned of.
    replay : mapping, optional
        Whether what lies behind the layer was replayed; None: nothing was removed.
    """
    return {
        "unitlens": versions()["unitlens"],
        "network": describe_network(net),
        "data": {"source": described(data).source, **read},
        "settings": dict(settings),
        **({} if replay is None else {"replay": replay}),
        "timings": {"seconds": seconds},
        "warnings": list(notes),
        "versions": versions(),
    }


def network_images(net: Network, data: Data) -> npt.NDArray[np.uint8]:
    """A few images as the network sees them, and as they are shown, (N, height, width, 3)."""
    batches = Batches(data, net.preprocessing, Reading(), task="looking")
    size = net.preprocessing.image_size
    shown = (net.preprocessing.shown(batch.images) for batch in batches) if len(data) else ()
    parts = [images.permute(0, 2, 3, 1).numpy() for images in shown]
    return np.concatenate(parts) if parts else np.zeros((0, *size, 3), np.uint8)
