"""Encoders of images: the one vector that each returns of an image, and classes in its space."""

import math
from typing import Any, cast

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

    Of the k nearest by cosine, each votes for its class with exp(cosine / temperature). A class's output is the
    logarithm of its votes, so that their softmax is the shares of the votes; one more vote for each class, of an image
    that is as far away as can be (cosine -1), keeps it finite.

    Parameters
    ----------
    encoder : nn.Module
        As for `ZeroShot`.
    vectors : Tensor, (M, D)
        Of the images that vote.
    classes : int64 Tensor, (M,)
        The number of each one's class.
    count : int
        Of the classes.
    k : int
    temperature : float
    """

    def __init__(
        self, encoder: nn.Module, vectors: Tensor, classes: Tensor, count: int, *, k: int, temperature: float
    ) -> None:
        super().__init__()
        self.encoder, self.count, self.k, self.temperature = encoder, count, k, temperature
        self.register_buffer("vectors", functional.normalize(vectors, dim=1))
        self.register_buffer("classes", classes)
        # they decide what it says as weights do, and belong to what a network is recognised by
        self.register_buffer("settings", torch.tensor([k, temperature], dtype=torch.float64, device=vectors.device))

    def forward(self, images: Tensor) -> Tensor:
        """Logarithms of the classes' votes, (N, K)."""
        found = functional.normalize(embedding(self.encoder(images)), dim=1)
        cosines = (found @ cast(Tensor, self.vectors).T).double()
        nearest, which = cosines.topk(self.k, dim=1)
        votes = ((nearest - 1) / self.temperature).exp()  # at most 1, and exp(-2 / temperature) where the cosine is -1
        least = torch.full_like(cosines[:, :1], math.exp(-2 / self.temperature)).repeat(1, self.count)
        of_classes = least.scatter_add(1, cast(Tensor, self.classes)[which], votes)
        return of_classes.log().to(found.dtype)


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
