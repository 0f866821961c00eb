"""Encoders of images: the one vector that each returns of an image, and classes in its space."""

from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from unitlens.errors import UnitlensError
from unitlens.models.layers import display_shape

_EMBEDDINGS = ("image_embeds", "pooler_output")
"""What networks of Hugging Face call the one vector of an image, the most particular first."""


class ZeroShot(nn.Module):
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
