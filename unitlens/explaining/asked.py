"""What an explanation is asked of: the layer of a dissection, its network, and the classes of the outputs."""

from unitlens.data.classes import Classes, output_names
from unitlens.data.concepts import Data, described
from unitlens.dissection.result import Dissection
from unitlens.errors import UnitlensError
from unitlens.models.network import Network


def output_classes(net: Network, data: Data) -> Classes:
    """What each output is called, and which class of the data it stands for, where images may have no class.

    Raises
    ------
    UnitlensError
        If the network does not return scores of classes.
    """
    outputs = net.output_count()
    if outputs is None or outputs < 2:
        raise UnitlensError(
            f"{net.name} does not return scores of classes, images x classes: a prediction can be explained of a "
            "classifier (what a generator draws is changed by unitlens.intervene)."
        )
    index = {str(name): number for name, number in described(data).class_index.items()}
    return Classes(output_names(net.classes, index, outputs), index)


def check_network(net: Network, dissection: Dissection) -> None:
    """Make sure that a dissection is of this network.

    Raises
    ------
    UnitlensError
        If its weights are others.
    """
    if net.fingerprint() != dissection.info["network"]["sha256"]:
        raise UnitlensError(
            f"The dissection is of {dissection.info['network']['name']} with other weights than this network has: "
            "dissect this network, or load the weights that were dissected."
        )


def given_layer(dissection: Dissection, layer: str | None) -> str:
    """The layer that is meant, checked; of a dissection of one layer, that one."""
    if layer is None and len(dissection.layers) > 1:
        raise UnitlensError(
            f"Several layers were dissected: choose one of {', '.join(dissection.layers)}, as in "
            f"layer={dissection.layers[-1]!r}."
        )
    return dissection[dissection.layers[0] if layer is None else layer].layers[0]
