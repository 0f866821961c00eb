"""A network, with what is known about it: its preprocessing, its classes, its layers."""

import hashlib
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from unitlens.files import encoded
from unitlens.models.layers import uncompiled
from unitlens.models.listing import LayerInfo, Survey, survey
from unitlens.models.passes import evaluating, pass_errors
from unitlens.models.preprocessing import Preprocessing


@dataclass(frozen=True, eq=False, repr=False)
class Network:
    """A model, and what is needed to give it images and to read its outputs. Made by `load` and `classifier`.

    Attributes
    ----------
    model : nn.Module
        The module itself.
    preprocessing : Preprocessing
        How images are prepared for it.
    classes : tuple of str or None
        The names of its outputs, where known.
    name : str
        ``torchvision.models:resnet18``, or the class's name for a module that was passed in.
    weights : str or None
        As given to `load`: "DEFAULT", "none", a file, or None.
    default_layer : str or None
        The layer to look at if none is named.
    image : {"input", "output"}
        The image that units are compared with: the network's input, as for classifiers, or its output, as for networks
        that generate images.

    Examples
    --------
    >>> import unitlens as ul
    >>> net = ul.load("bundled:scenes")
    >>> net.classes[:3], net.preprocessing.image_size, net.image
    (('beach', 'harbour', 'ski_slope'), (112, 112), 'input')
    """

    model: nn.Module
    preprocessing: Preprocessing
    classes: tuple[str, ...] | None
    name: str
    weights: str | None = None
    default_layer: str | None = None
    image: Literal["input", "output"] = "input"

    def __repr__(self) -> str:
        weights = "" if self.weights is None else f", weights {self.weights}"
        classes = "" if self.classes is None else f"; {len(self.classes)} classes"
        return f"<Network {self.name}{weights}; images {self.preprocessing}{classes}>"

    @property
    def device(self) -> torch.device:
        """The device of its parameters, and of the images it takes."""
        return next((p.device for p in self.model.parameters()), torch.device("cpu"))

    @property
    def dtype(self) -> torch.dtype:
        """The number type of its parameters, and of the images it takes."""
        return next((p.dtype for p in self.model.parameters() if p.is_floating_point()), torch.float32)

    def prepare(self, images: Tensor) -> Tensor:
        """Prepare 8-bit images for the network, on its device and in its number type.

        Parameters
        ----------
        images : uint8 tensor, (N, 3, height, width)
            Of the network's input size already.

        Returns
        -------
        tensor, (N, 3, height, width)
            ``(images / 255 - mean) / std``.

        Examples
        --------
        >>> import unitlens as ul
        >>> net = ul.load("bundled:scenes")
        >>> images = torch.zeros(2, 3, 112, 112, dtype=torch.uint8)
        >>> with ul.evaluating(net.model):
        ...     net.model(net.prepare(images)).shape
        torch.Size([2, 12])
        """
        return self.preprocessing.normalise(images.to(self.device).float().div_(255)).to(self.dtype)

    def layers(self) -> list[LayerInfo]:
        """List its layers in the order in which they return, followed by those that are never reached.

        One random image is passed through the network, in evaluation mode.

        Returns
        -------
        list of LayerInfo
            Name, kind, units and grid of each.

        Raises
        ------
        UnitlensError
            If the network does not take such an image.

        Examples
        --------
        >>> import unitlens as ul
        >>> layer = ul.load("bundled:scenes").layers()[0]
        >>> layer.name, layer.kind, layer.units, layer.grid
        ('conv1', 'Conv2d', 32, (56, 56))
        """
        return self._survey().layers

    def output_count(self) -> int | None:
        """Return the number of outputs (classes), or None if it does not return (N, classes).

        Examples
        --------
        >>> import unitlens as ul
        >>> ul.load("bundled:scenes").output_count()
        12
        """
        outputs = self._survey().outputs
        return outputs[0][1] if len(outputs) == 1 and len(outputs[0]) == 2 and outputs[0][0] == 1 else None

    def fingerprint(self) -> str:
        """Return a hash of its weights.

        Returns
        -------
        str
            SHA-256 over names, number types, shapes and bytes of all parameters and buffers, in the order of their
            names; the same on every device.

        Examples
        --------
        >>> import unitlens as ul
        >>> net = ul.load("bundled:scenes")
        >>> net.fingerprint() == ul.load("bundled:scenes").fingerprint()
        True
        """
        model, digest = uncompiled(self.model), hashlib.sha256()
        tensors = {
            **dict(model.named_parameters(remove_duplicate=False)),
            **dict(model.named_buffers(remove_duplicate=False)),
        }
        for name, tensor in sorted(tensors.items()):
            digest.update(encoded(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n"))
            digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
        return digest.hexdigest()

    def _survey(self) -> Survey:
        size = self.preprocessing.image_size
        pixels = torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(0))
        image = self.preprocessing.normalise(pixels).to(self.device, self.dtype)
        with evaluating(self.model), pass_errors(self.model, image):
            return survey(self.model, image)
