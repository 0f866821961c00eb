"""Encoders of images: the one vector that each returns of an image, and classes in its space."""

import math
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from unitlens.errors import UnitlensError
from unitlens.models.layers import display_shape

_EMBEDDINGS = ("image_embeds", "pooler_output")
"""What networks of Hugging Face call the one vector of an image, the most particular first."""


class Encoded(nn.Module):
    """What takes an encoder's vectors for classes.

    Attributes
    ----------
    encoder : nn.Module
        Its layers are this module's, behind ``encoder.``.
    """

    encoder: nn.Module


class ZeroShot(Encoded):
    """An encoder of images, and classes that are vectors in its space: a logit is scale x cosine.

    Parameters
    ----------
    encoder : nn.Module
        From images to a vector of each, (N, D), or to what has ``image_embeds`` or ``pooler_output``.
    vectors : Tensor, (K, D)
        Of the classes.
    scale : float
    """

    def __init__(self, encoder: nn.Module, vectors: Tensor, scale: float) -> None:
        super().__init__()
        self.encoder = encoder
        self.register_buffer("vectors", functional.normalize(vectors, dim=1))
        self.register_buffer("scale", torch.tensor(scale, dtype=vectors.dtype))

    def forward(self, images: Tensor) -> Tensor:
        """Logits of the classes, (N, K)."""
        images_of, classes_of = functional.normalize(embedding(self.encoder(images)), dim=1), cast(Tensor, self.vectors)
        return cast(Tensor, self.scale) * (images_of @ classes_of.T)


class NearestNeighbours(Encoded):
    """An encoder of images, and images of known classes, of which the nearest ones vote.

    An image that is among them has no vote on itself, nor has a copy of it. Of the k nearest others by cosine, each
    votes for its class with exp(cosine / temperature). A class's output is the logarithm of its votes, so that their
    softmax is the shares of the votes; one more vote for each class, of an image that is as far away as can be (cosine
    -1), keeps it finite.

    Parameters
    ----------
    encoder : nn.Module
        As for `ZeroShot`.
    vectors : Tensor, (M, D)
        Of the images that vote.
    seen : int64 Tensor, (M,)
        What these images are recognised by, see `recognised_by`.
    numbers : int
        Of an image, as the encoder is given it.
    classes : int64 Tensor, (M,)
        The number of each one's class.
    count : int
        Of the classes.
    k : int
    temperature : float
    """

    def __init__(
        self,
        encoder: nn.Module,
        vectors: Tensor,
        seen: Tensor,
        classes: Tensor,
        count: int,
        *,
        numbers: int,
        k: int,
        temperature: float,
    ) -> None:
        super().__init__()
        self.encoder, self.count, self.k, self.temperature = encoder, count, k, temperature
        self.register_buffer("vectors", functional.normalize(vectors, dim=1))
        # whole numbers stay what they are in a copy of another precision
        self.register_buffer("seen", seen)
        self.register_buffer("weights", _weights(numbers).to(vectors.device), persistent=False)
        self.register_buffer("classes", classes)
        # they decide what it says as weights do, and belong to what a network is recognised by
        self.register_buffer("settings", torch.tensor([k, temperature], dtype=torch.float64, device=vectors.device))

    def forward(self, images: Tensor) -> Tensor:
        """Logarithms of the classes' votes, (N, K)."""
        itself = _hashed(images, cast(Tensor, self.weights))[:, None] == cast(Tensor, self.seen)
        found = functional.normalize(embedding(self.encoder(images)), dim=1)
        cosines = (found @ cast(Tensor, self.vectors).T).double()
        cosines = cosines.masked_fill(itself, -math.inf)
        nearest, which = cosines.topk(self.k, dim=1)
        votes = ((nearest - 1) / self.temperature).exp()  # at most 1, and exp(-2 / temperature) where the cosine is -1
        least = torch.full_like(cosines[:, :1], math.exp(-2 / self.temperature)).repeat(1, self.count)
        of_classes = least.scatter_add(1, cast(Tensor, self.classes)[which], votes)
        return of_classes.log().to(found.dtype)


def recognised_by(images: Tensor) -> Tensor:
    """A number by which each image is recognised, int64 (N,): a hash of the numbers that a network is given.

    They are rounded to bfloat16 before, so that it is the same for a network and for a fast copy of it.
    """
    return _hashed(images, _weights(images[0].numel()).to(images.device))


def _hashed(images: Tensor, weights: Tensor) -> Tensor:
    bits = images.detach().to(torch.bfloat16).view(torch.int16).flatten(1).long()
    return (bits * weights).sum(1)  # modulo 2 ** 64


def _weights(count: int) -> Tensor:
    """Weights of so many numbers, which are all over the 64 bits: SplitMix64."""
    mixed = np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
    return torch.from_numpy((mixed ^ (mixed >> np.uint64(31))).view(np.int64))


class ImageTower(nn.Module):
    """The part of CLIP and its like that takes images: its vision model, and the projection into the texts' space.

    Parameters
    ----------
    vision_model, visual_projection : nn.Module
    """

    def __init__(self, vision_model: nn.Module, visual_projection: nn.Module) -> None:
        super().__init__()
        self.vision_model, self.visual_projection = vision_model, visual_projection

    def forward(self, images: Tensor) -> Tensor:
        """One vector of each image, (N, D)."""
        return cast(Tensor, self.visual_projection(self.vision_model(images).pooler_output))


def images_part(model: nn.Module) -> nn.Module:
    """Of CLIP and its like, which take text beside images, the part that takes images; of others the model itself."""
    vision, projection = getattr(model, "vision_model", None), getattr(model, "visual_projection", None)
    if not isinstance(vision, nn.Module) or not any(hasattr(model, text) for text in ("text_model", "language_model")):
        return model
    return vision if not isinstance(projection, nn.Module) else ImageTower(vision, projection)


def embedding(output: Any) -> Tensor:
    """The one vector of each image, (N, D), in what an encoder returns.

    Raises
    ------
    UnitlensError
        If there is none.
    """
    if not isinstance(output, Tensor):
        output = next((found for name in _EMBEDDINGS if (found := getattr(output, name, None)) is not None), output)
    if not isinstance(output, Tensor) or output.ndim != 2:
        kind = display_shape(output.shape) if isinstance(output, Tensor) else f"a {type(output).__name__}"
        raise UnitlensError(
            f"The network returns {kind}, not a vector of each image, images x numbers: take the encoder with its "
            "pooling and projection (of timm with num_classes=0)."
        )
    return output
