"""Networks that draw images."""

from torch import nn

from unitlens.errors import UnitlensError
from unitlens.models.network import Network


def drawing_network(net: Network | nn.Module) -> Network:
    """A network that draws images.

    Raises
    ------
    UnitlensError
        If it is none.
    """
    if isinstance(net, Network) and net.image == "output":
        return net
    what = net.name if isinstance(net, Network) else f"A {type(net).__name__}"
    raise UnitlensError(
        f"{what} is not known to draw images, so that nothing can be removed from them: make it with "
        "ul.generator(model, latents=...); what units do to predictions is measured by ul.ablate."
    )
