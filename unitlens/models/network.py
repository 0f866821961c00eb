"""A network and all that is needed to show it images."""

import hashlib
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from unitlens.models.layers import uncompiled
from unitlens.models.listing import LayerInfo, Survey, survey
from unitlens.models.passes import evaluating, pass_errors
from unitlens.models.preprocessing import Preprocessing


@dataclass(frozen=True, eq=False, repr=False)
class Network:
    """A model and all that is needed to show it images.

    Attributes
    ----------
    model : nn.Module
        The module itself.
    preprocessing : Preprocessing
        What happens to an image before the model sees it.
    classes : tuple of str or None
        The names of its outputs, where known.
    name : str
        ``torchvision.models:resnet18``, or the class's name for a module that was passed in.
    weights : str or None
        As given to `load`: "DEFAULT", "none", a file, or None.
    default_layer : str or None
        The layer to look at if none is named.
    """

    model: nn.Module
    preprocessing: Preprocessing
    classes: tuple[str, ...] | None
    name: str
    weights: str | None = None
    default_layer: str | None = None

    def __repr__(self) -> str:
        weights = "" if self.weights is None else f", weights {self.weights}"
        classes = "" if self.classes is None else f"; {len(self.classes)} classes"
        return f"<Network {self.name}{weights}; images {self.preprocessing}{classes}>"

    @property
    def device(self) -> torch.device:
        """Where its parameters are, and images have to be."""
        return next((p.device for p in self.model.parameters()), torch.device("cpu"))

    @property
    def dtype(self) -> torch.dtype:
        """The number type of its parameters, and of the images it takes."""
        return next((p.dtype for p in self.model.parameters() if p.is_floating_point()), torch.float32)

    def prepare(self, images: Tensor) -> Tensor:
        """Return what the network is shown for 8-bit images, on its device and in its number type.

        Parameters
        ----------
        images : uint8 tensor, (N, 3, height, width)
            Scaled and cropped already.

        Returns
        -------
        tensor, (N, 3, height, width)
            ``(images / 255 - mean) / std``.
        """
        return self.preprocessing.normalise(images.to(self.device).float().div_(255)).to(self.dtype)

    def layers(self) -> list[LayerInfo]:
        """List its layers in forward order, that is in the order in which they return; never reached ones come last.

        One random image is let through for it, in evaluation mode.

        Raises
        ------
        UnitlensError
            If an image of this size does not go through.
        """
        return self._survey().layers

    def output_count(self) -> int | None:
        """Return how many outputs (classes) it has; None if it does not return (N, classes)."""
        outputs = self._survey().outputs
        return outputs[0][1] if len(outputs) == 1 and len(outputs[0]) == 2 and outputs[0][0] == 1 else None

    def fingerprint(self) -> str:
        """Return a hash of its weights.

        Returns
        -------
        str
            SHA-256 over names, number types, shapes and bytes of all parameters and buffers, in the order of their
            names; the same on every device.
        """
        model, digest = uncompiled(self.model), hashlib.sha256()
        tensors = {
            **dict(model.named_parameters(remove_duplicate=False)),
            **dict(model.named_buffers(remove_duplicate=False)),
        }
        for name, tensor in sorted(tensors.items()):
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
            digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
        return digest.hexdigest()

    def _survey(self) -> Survey:
        size = self.preprocessing.image_size
        pixels = torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(0))
        image = self.preprocessing.normalise(pixels).to(self.device, self.dtype)
        with evaluating(self.model), pass_errors(self.model, image):
            return survey(self.model, image)
