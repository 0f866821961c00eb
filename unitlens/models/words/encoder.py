"""The protocol of an encoder of images and words, and one whose answers are checked."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch.nn import functional

from unitlens.errors import UnitlensError
from unitlens.models.layers import describe_error, display_shape
from unitlens.models.network import Network
from unitlens.models.passes import evaluating

BATCH = 128
"""Texts or images that are encoded at a time."""


@runtime_checkable
class TextImageEncoder(Protocol):
    """Images and words become vectors of one space, in which those that belong together are close by their cosine."""

    def encode_images(self, images: Tensor, /) -> Tensor:
        """Return a vector of each image, (N, D).

        Parameters
        ----------
        images : float tensor, (N, 3, height, width)
            RGB in [0, 1], of any size; the encoder resizes and normalises them as it needs.
        """
        ...

    def encode_words(self, words: Sequence[str], /) -> Tensor:
        """Return a vector of each word or sentence, (W, D)."""
        ...


@dataclass(frozen=True)
class Encoder:
    """An encoder by its name. It gives float32 vectors of length 1 on the CPU, and says in one sentence what is wrong.

    Made by `unitlens.encoder`; it is a `TextImageEncoder` itself.

    Attributes
    ----------
    given : TextImageEncoder
        What encodes.
    name : str
        ``open_clip:ViT-B-32``, or the class's name of an encoder that was passed in.
    weights : str or None
        SHA-256 of its weights, where it is a module; None where that cannot be known.

    Examples
    --------
    >>> import unitlens as ul
    >>> encoder = ul.encoder("bundled:scenes-words")
    >>> cosines = encoder.encode_images(torch.zeros(2, 3, 96, 96)) @ encoder.encode_words(["red car", "sea", "cat"]).T
    >>> cosines.shape
    torch.Size([2, 3])
    """

    given: TextImageEncoder
    name: str
    weights: str | None = None

    def __repr__(self) -> str:
        return f"<Encoder {self.name}>"

    def encode_images(self, images: Tensor) -> Tensor:
        """Return a vector of each image, (N, D), of length 1.

        Parameters
        ----------
        images : uint8 or float tensor, (N, 3, height, width)
            RGB, in 8 bits or in [0, 1].

        Raises
        ------
        UnitlensError
            If images are of another form, or the encoder fails or gives anything but a vector of each.
        """
        if images.ndim != 4 or images.shape[1] != 3:
            raise UnitlensError(
                f"Images are {display_shape(images.shape)}; an encoder of words takes RGB, images x 3 x height x width."
            )
        scaled = images.float() / 255 if not images.is_floating_point() else images.float()
        return self._checked("encode_images", self.given.encode_images, torch.split(scaled, BATCH), len(images))

    def encode_words(self, words: Sequence[str]) -> Tensor:
        """Return a vector of each word or sentence, (W, D), of length 1.

        Raises
        ------
        UnitlensError
            If there is none, one is no text, the encoder does not know it, or gives anything but a vector of each.
        """
        if isinstance(words, str) or not all(isinstance(word, str) and word.strip() for word in words) or not words:
            raise UnitlensError(f"words is {words!r}; it is a list of words or sentences, one at least.")
        parts = [list(words[start : start + BATCH]) for start in range(0, len(words), BATCH)]
        return self._checked("encode_words", self.given.encode_words, parts, len(words))

    def _checked(self, method: str, encode: Callable[[Any], Any], parts: Sequence[Any], count: int) -> Tensor:
        """What a method gives, part by part, as vectors of length 1."""
        try:
            with evaluating(self.given) if isinstance(self.given, nn.Module) else torch.inference_mode():
                vectors = torch.cat([torch.as_tensor(encode(part)).float().cpu() for part in parts])
        except UnitlensError:
            raise
        except Exception as error:  # whatever an encoder that was passed in may raise
            raise UnitlensError(f"{method} of {self.name} failed: {describe_error(error)}.") from error
        if vectors.ndim != 2 or len(vectors) != count:
            raise UnitlensError(
                f"{method} of {self.name} gives {display_shape(vectors.shape)} for {count}; it gives a vector of each, "
                f"{count} x numbers."
            )
        if not bool(vectors.isfinite().all()) or bool((vectors == 0).all(1).any()):
            raise UnitlensError(f"{method} of {self.name} gives a vector that is 0 or not finite, which has no cosine.")
        return functional.normalize(vectors, dim=1).clone()  # of inference mode, which a clone is not


def encoder_of(given: TextImageEncoder, name: str) -> Encoder:
    """An encoder with its name, and the hash of its weights where it is a module."""
    if not isinstance(given, nn.Module):
        return Encoder(given, name)
    nothing: Any = None  # which a hash of weights does not depend on
    return Encoder(given, name, Network(given, nothing, None, "").fingerprint())
