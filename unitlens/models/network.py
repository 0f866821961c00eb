"""A network, with what is known about it: its preprocessing, its classes, its layers."""

import hashlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from unitlens.errors import UnitlensError, spelled
from unitlens.files import encoded
from unitlens.models.latents import LatentInput, drawn_images, latent_errors
from unitlens.models.layers import uncompiled
from unitlens.models.listing import LayerInfo, Survey, survey
from unitlens.models.passes import evaluating, pass_errors
from unitlens.models.preprocessing import Preprocessing
from unitlens.models.transfers import to_device
from unitlens.plurals import counted


@dataclass(frozen=True, eq=False, repr=False)
class Network:
    """A model, and what is needed to give it images and to read its outputs.

    Made by `load`, `classifier` and `generator`. A classifier and a generator differ in `prepare`, `images` and
    `example_inputs` alone.

    Attributes
    ----------
    model : nn.Module
        The module itself.
    preprocessing : Preprocessing
        How images are prepared for it; of a generator, ``image_size`` is that of the images it draws.
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
    latents : LatentInput or None
        What a generator takes; None where the network takes images.

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
    latents: LatentInput | None = None

    def __repr__(self) -> str:
        weights = "" if self.weights is None else f", weights {self.weights}"
        classes = "" if self.classes is None else f"; {counted(len(self.classes), 'class', 'classes')}"
        if self.latents is not None:
            height, width = self.preprocessing.image_size
            return f"<Network {self.name}{weights}; {self.latents}; draws images {height} x {width}{classes}>"
        return f"<Network {self.name}{weights}; images {self.preprocessing}{classes}>"

    @property
    def device(self) -> torch.device:
        """The device of its parameters, and of the images it takes."""
        return next((p.device for p in self.model.parameters()), torch.device("cpu"))

    @property
    def dtype(self) -> torch.dtype:
        """The number type of its parameters, and of the images it takes."""
        return next((p.dtype for p in self.model.parameters() if p.is_floating_point()), torch.float32)

    def prepare(self, inputs: Tensor, *, noise: Tensor | None = None) -> Tensor:
        """Prepare images or latents for the network, on its device and in its number type.

        Parameters
        ----------
        inputs : uint8 or float tensor, (N, bands, height, width), or float tensor, (N, ...)
            Images of the network's input size already, in 8 bits or deeper ones in [0, 1]; of a generator, latents.
        noise : tensor, optional
            Of the same shape, added to images in [0, 1], which stay there, or to latents.

        Returns
        -------
        tensor, (N, bands, height, width) or (N, ...)
            ``(images / 255 - mean) / std``, of deeper images ``(images - mean) / std``, or the latents.

        Raises
        ------
        UnitlensError
            If a generator is given images, or latents of another shape, or another network latents.

        Examples
        --------
        >>> import unitlens as ul
        >>> net = ul.load("bundled:scenes")
        >>> images = torch.zeros(2, 3, 112, 112, dtype=torch.uint8)
        >>> with ul.evaluating(net.model):
        ...     net.model(net.prepare(images)).shape
        torch.Size([2, 12])
        """
        if self.latents is not None:
            return self.latents.prepare(inputs, device=self.device, dtype=self.dtype, noise=noise)
        deep = inputs.is_floating_point()
        if deep and tuple(inputs.shape[1:]) != (self.preprocessing.count, *self.preprocessing.image_size):
            raise UnitlensError(
                f"{self.name} takes images and was given latents: "
                + spelled(
                    python="make a generator of it with ul.generator(model, latents=...), or give it images.",
                    shell="name their shape with --latent-shape if it is a generator, or give it images.",
                )
            )
        scaled = to_device(inputs, self.device).float()
        scaled = scaled if deep else scaled.div_(255)
        if noise is not None:
            scaled = (scaled + to_device(noise, self.device)).clamp_(0, 1)
        return self.preprocessing.normalise(scaled).to(self.dtype)

    def images(self, inputs: Tensor, outputs: Any) -> Tensor:
        """Return the images that units are compared with: the input, or what a generator drew.

        Parameters
        ----------
        inputs : tensor
            As `prepare` takes them, of N images.
        outputs : Any
            What the network returned for them.

        Returns
        -------
        uint8 tensor, (N, 3, height, width), or what is given to `prepare`

        Raises
        ------
        UnitlensError
            If a generator drew no images, or images of another size than before.
        """
        return self.arriving_images(inputs, outputs)()

    def arriving_images(self, inputs: Tensor, outputs: Any) -> Callable[[], Tensor]:
        """Begin to bring the images here that units are compared with; calling what is returned waits for them.

        Parameters
        ----------
        inputs, outputs
            As for `images`.

        Raises
        ------
        UnitlensError
            As `images`, now or when they are waited for.
        """
        if self.latents is None:
            return lambda: inputs
        drawn = drawn_images(outputs, len(inputs))
        if tuple(drawn.shape[2:]) != self.preprocessing.image_size:
            there, here = drawn.shape[2:], self.preprocessing.image_size
            raise UnitlensError(
                f"{self.name} draws images of {there[0]} x {there[1]} and of {here[0]} x {here[1]}: units are compared "
                "with images of one size."
            )
        return self.latents.arriving_images(drawn)

    def example_inputs(self, count: int = 1) -> Tensor:
        """Return some inputs, prepared for the network: random pixels or latents, always the same.

        Examples
        --------
        >>> import unitlens as ul
        >>> ul.load("bundled:scenes").example_inputs(2).shape
        torch.Size([2, 3, 112, 112])
        """
        if self.latents is not None:
            return self.prepare(self.latents.example(count))
        shape = self.preprocessing.count, *self.preprocessing.image_size
        pixels = torch.rand(count, *shape, generator=torch.Generator().manual_seed(0))
        return self.preprocessing.normalise(pixels).to(self.device, self.dtype)

    def pass_errors(self, inputs: Tensor) -> AbstractContextManager[None]:
        """Turn whatever a pass of prepared inputs raises into one sentence, inside a ``with``."""
        if self.latents is not None:
            return latent_errors(self.latents, len(inputs))
        return pass_errors(self.model, inputs)

    def layers(self) -> list[LayerInfo]:
        """List its layers in the order in which they return, followed by those that are never reached.

        One random image or latent is passed through the network, in evaluation mode.

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
        example = self.example_inputs()
        with evaluating(self.model), self.pass_errors(example):
            return survey(self.model, example, image_size=self.preprocessing.image_size)
