"""What a generator takes, latents, and what it draws, images: shapes, classes, and the range of its outputs."""

import copy
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from unitlens.errors import UnitlensError, argument, spelled
from unitlens.models.layers import describe_error, display_shape, tensors_in
from unitlens.models.transfers import Arriving, to_device
from unitlens.records import check_range, check_types

Inputs = Callable[..., Any]
"""From latents (and classes, where there are any) to what a generator takes: a tensor, tuple or mapping."""

_MOST = 1 << 24
_DARK = -0.1
"""Outputs this far below 0 are of [-1, 1]; decoders that draw in [0, 1] overshoot it a little."""

_BRIGHT = 4.0
"""Outputs above it are of [0, 255]."""


@dataclass(frozen=True)
class LatentInput:
    """What a generator takes, and the range of what it returns.

    Attributes
    ----------
    shape : tuple of int
        Of one latent.
    output_range : (float, float)
        Outputs of the first number are black, of the second white.
    classes : int or None
        How many classes it can be asked for; None: it takes none. Where it takes one, a latent and its class travel
        together as one vector: all numbers of the latent, then the class.
    """

    shape: tuple[int, ...]
    output_range: tuple[float, float]
    classes: int | None = None

    def __post_init__(self) -> None:
        check_types(self)
        if not self.shape or min(self.shape) < 1 or math.prod(self.shape) > _MOST:
            raise UnitlensError(f"The shape of a latent is {self.shape}; it is one or more sizes, such as (100, 1, 1).")
        low, high = self.output_range
        if low >= high:
            raise UnitlensError(
                f"{argument('rescale')} is from {low:g} to {high:g}; it is the outputs that are black and white, such "
                f"as {spelled(python='(-1, 1)', shell='-1,1')}."
            )
        check_range("the number of classes", 1 if self.classes is None else self.classes, 1, 1 << 24)

    def __str__(self) -> str:
        low, high = self.output_range
        classes = "" if self.classes is None else f" of {self.classes} classes"
        return f"latents {display_shape(self.shape)}{classes}, outputs from {low:g} to {high:g}"

    @property
    def input_shape(self) -> tuple[int, ...]:
        """The shape of what the network is given for one image: of the latent, or of latent and class together."""
        return self.shape if self.classes is None else (math.prod(self.shape) + 1,)

    def prepare(self, inputs: Tensor, *, device: torch.device, dtype: torch.dtype, noise: Tensor | None) -> Tensor:
        """Return latents as the network takes them, on its device and in its number type.

        Raises
        ------
        UnitlensError
            If they are images, latents of another shape, or of classes that there are not.
        """
        if not inputs.is_floating_point():
            raise UnitlensError(
                f"The network draws images from latents ({display_shape(self.shape)}) and was given images: give it "
                + spelled(
                    python=f"latents, such as ul.latents({self.shape}, 1000).", shell="latents, such as --latents 1000."
                )
            )
        if tuple(inputs.shape[1:]) != self.input_shape:
            raise UnitlensError(
                f"The network takes {self._described()}, and was given {display_shape(tuple(inputs.shape[1:]))}: give "
                + spelled(
                    python=f"ul.latents({self.shape}, 1000{self._classes()}), or name another shape with latents=.",
                    shell=f"--latent-shape {','.join(map(str, self.shape))}, or the shape of the network's latents.",
                )
            )
        if self.classes is None:
            given = inputs if noise is None else inputs + noise.to(inputs.dtype)
            return to_device(given, device).to(dtype)
        last = inputs[:, -1]
        if bool(((last < 0) | (last >= self.classes)).any()):
            raise UnitlensError(f"The network draws {self.classes} classes, and was asked for class {int(last.max())}.")
        if noise is not None:
            inputs = torch.cat([inputs[:, :-1] + noise[:, :-1].to(inputs.dtype), inputs[:, -1:]], 1)
        return to_device(inputs, device)  # the class is not rounded

    def _described(self) -> str:
        latents = f"latents of {display_shape(self.shape)}"
        return latents if self.classes is None else f"{latents} with one of {self.classes} classes"

    def _classes(self) -> str:
        return "" if self.classes is None else f", classes={self.classes}"

    def example(self, count: int) -> Tensor:
        """Draw latents from the normal distribution, always the same, (count, ...); of the first class."""
        generator = torch.Generator().manual_seed(0)
        drawn = torch.stack([torch.randn(self.shape, generator=generator) for _ in range(count)])
        return drawn if self.classes is None else torch.cat([drawn.flatten(1), torch.zeros(count, 1)], 1)

    def arriving_images(self, drawn: Tensor) -> Callable[[], Tensor]:
        """Begin to bring images here that were drawn, (N, 3, height, width); calling what is returned waits for them.

        It returns a uint8 tensor, and raises a UnitlensError if images are not finite.
        """
        drawn = drawn.float()
        low, high = self.output_range
        wrong = (~drawn.isfinite()).flatten(1).any(1)
        pixels = ((drawn - low) * (255 / (high - low))).round_().clamp_(0, 255).byte()
        arriving = Arriving([wrong, pixels])

        def arrived() -> Tensor:
            wrong, pixels = arriving.tensors()
            if wrong.any():
                raise UnitlensError(
                    f"{int(wrong.sum())} of {len(wrong)} images that the network drew have NaN or infinite values: "
                    "check its weights, and that the latents are of the distribution that it was trained on."
                )
            return pixels

        return arrived


def drawn_images(outputs: Any, count: int) -> Tensor:
    """Return the images among a generator's outputs, (N, 3, height, width), as they are; grey ones in three channels.

    Raises
    ------
    UnitlensError
        If there is no such tensor, or several.
    """
    tensors = [tensor for _, tensor in tensors_in(outputs)]
    images = [t for t in tensors if t.ndim == 4 and len(t) == count and t.shape[1] in (1, 3) and min(t.shape) > 0]
    if len(images) != 1 or images[0].is_complex():
        shapes = ", ".join(display_shape(tuple(tensor.shape)) for tensor in tensors) or "no tensor"
        several = "several of which are images" if len(images) > 1 else "which is no image"
        raise UnitlensError(
            f"The network returns {shapes} for {count} latents, {several}: a generator returns images, {count} x 3 x "
            "height x width, or grey ones with 1 in place of 3. Wrap it in a module that returns one of them, or, if "
            f"it is a classifier, open it without {argument('latents', option='--latent-shape')}."
        )
    return images[0].expand(-1, 3, -1, -1)


def find_range(images: Tensor) -> tuple[float, float]:
    """Find the range of a generator's outputs from the first images that it drew.

    Examples
    --------
    >>> find_range(torch.tensor([-0.9, 0.8])), find_range(torch.tensor([-0.02, 0.8])), find_range(torch.tensor([200.0]))
    ((-1.0, 1.0), (0.0, 1.0), (0.0, 255.0))
    """
    lowest, highest = float(images.min()), float(images.max())
    if lowest < _DARK:
        return -1.0, 1.0
    return (0.0, 255.0) if highest > _BRIGHT else (0.0, 1.0)


def with_one_input(model: nn.Module, latents: LatentInput, inputs: Inputs | None) -> nn.Module:
    """Return a generator that takes one tensor for each image, in place of several inputs.

    It shares all layers and weights with the given one, and they have the same names.

    Parameters
    ----------
    model : nn.Module
        It is not changed.
    latents : LatentInput
    inputs : callable or None
        From latents, (N, *shape), and the classes, int64 (N,), where there are any, to what the model takes.
    """
    if latents.classes is None and inputs is None:
        return model
    kind: type[nn.Module] = type(model)

    def forward(self: nn.Module, packed: Tensor) -> Any:
        parts = _parts(self, packed, latents)
        given = parts if inputs is None else inputs(*parts)
        if isinstance(given, Mapping):
            return kind.forward(self, **given)
        return kind.forward(self, *(given if isinstance(given, tuple | list) else (given,)))

    made = copy.copy(model)
    made.__class__ = type(kind.__name__, (kind,), {"forward": forward, "__module__": kind.__module__})
    return made


def _parts(model: nn.Module, packed: Tensor, latents: LatentInput) -> tuple[Tensor, ...]:
    if latents.classes is None:
        return (packed,)
    dtype = next((p.dtype for p in model.parameters() if p.is_floating_point()), torch.float32)
    return packed[:, :-1].reshape(-1, *latents.shape).to(dtype), packed[:, -1].long()


@contextmanager
def latent_errors(latents: LatentInput, count: int) -> Iterator[None]:
    """Turn whatever a pass of some latents raises into one sentence, inside a ``with``."""
    try:
        yield
    except UnitlensError:
        raise
    except (Exception, SystemExit) as error:  # whatever the network's own code raises
        raise _describe_latent_error(error, latents, count) from error


def _describe_latent_error(error: BaseException, latents: LatentInput, count: int) -> UnitlensError:
    if isinstance(error, torch.OutOfMemoryError | MemoryError) or "allocate memory" in str(error):
        return UnitlensError(f"{count} images at a time do not fit in memory: lower {argument('batch_size')}.")
    further = ""
    if latents.classes is None:
        further = " If it takes classes or other inputs too, say so with " + spelled(
            python="classes= or inputs= of ul.generator.",
            shell="--latent-classes, or wrap it in a module that takes latents alone.",
        )
    else:
        further = f" If it takes latents alone, leave {argument('classes', option='--latent-classes')} out."
    return UnitlensError(
        f"The network fails on latents of {display_shape(latents.shape)} ({describe_error(error)}): if it takes "
        f"latents of another shape, give it with {argument('latents', option='--latent-shape')}.{further}"
    )
