"""Encoders through to classes: the cosines of what they return with a vector of each class, such as CLIP's texts'."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from unitlens.errors import UnitlensError
from unitlens.files import read_arrays, read_npy
from unitlens.models.layers import display_shape
from unitlens.models.network import Network
from unitlens.models.passes import evaluating
from unitlens.models.units.encoders import Encoded, ZeroShot, embedding

CLIP_SCALE = 100.0
"""What CLIP multiplies cosines by, to make them logits."""


def zero_shot(
    net: Network,
    vectors: Any,
    classes: Sequence[str] | None = None,
    *,
    scale: float = CLIP_SCALE,
) -> Network:
    """Give an encoder of images classes, each of which is a vector in the space of what it returns.

    The logit of a class is ``scale`` times the cosine of the image's vector and the class's, so that `unitlens.ablate`,
    `unitlens.importance` and all others measure what units do to zero-shot predictions. Of CLIP and its like the
    vectors are those of texts; of DINO and other encoders without texts, those that `unitlens.class_centroids`
    computes from images.

    Parameters
    ----------
    net : Network
        It returns (N, D), or what has ``image_embeds`` or ``pooler_output``.
    vectors : array, Tensor, (K, D), mapping of names to (D,), or file of them
        Of each class. A file is ``.safetensors``, a vector of each class by its name, or ``.npy``.
    classes : sequence of str, optional
        Their names; those of the file, or "0", "1", ..., unless given.
    scale : float
        100 as in CLIP. It changes no prediction, but the size of logits and of their effects.

    Returns
    -------
    Network
        Its layers are those of ``net`` behind ``encoder.``, and its weights the same.

    Raises
    ------
    UnitlensError
        If there is no such file, the vectors are not finite numbers, as many as the network returns, one is 0, or names
        are not theirs.

    References
    ----------
    Radford et al., "Learning transferable visual models from natural language supervision", ICML 2021.

    Examples
    --------
    >>> import unitlens as ul
    >>> net = ul.zero_shot(ul.load("bundled:scenes"), torch.eye(12)[:2], ["beach", "harbour"])
    >>> net.classes, net.output_count()
    (('beach', 'harbour'), 2)
    """
    given, names = _named(_read(vectors) if isinstance(vectors, str | Path) else vectors)
    tensor = _checked(given, net)
    known = names if classes is None else tuple(classes)
    known = tuple(map(str, range(len(tensor)))) if known is None else known
    if len(known) != len(tensor) or len(set(known)) < len(known):
        raise UnitlensError(
            f"There are {len(tensor)} vectors and {len(set(known))} different names of classes: name each once."
        )
    if isinstance(classes, str):
        raise UnitlensError(f"classes is {classes!r}; it is a name for each vector, in a list.")
    if not (isinstance(scale, int | float) and scale > 0):
        raise UnitlensError(f"scale is {scale}; it is a number above 0, such as CLIP's 100.")
    return encoded(net, ZeroShot(net.model, tensor, float(scale)), known)


def encoded(net: Network, model: Encoded, classes: tuple[str, ...]) -> Network:
    """The network that gives an encoder classes, in the mode that the encoder is in."""
    layer = None if net.default_layer is None else layer_behind(net.default_layer)
    model = model.train(net.model.training)
    return Network(model, net.preprocessing, classes, net.name, net.weights, layer, net.image, net.latents)


def layer_behind(layer: str) -> str:
    """The name of an encoder's layer in the network that gives it classes."""
    return f"encoder.{layer}".rstrip(".")


def encoder_of(net: Network) -> Network | None:
    """The encoder that a network gives classes; None where it is no such network."""
    return replace(net, model=net.model.encoder) if isinstance(net.model, Encoded) else None


def _named(given: Any) -> tuple[Any, tuple[str, ...] | None]:
    """Vectors one below the other, and their names where each has one."""
    if not isinstance(given, Mapping):
        return given, None
    try:
        rows = [torch.as_tensor(vector).ravel() for vector in given.values()]
    except (TypeError, ValueError, RuntimeError):
        raise UnitlensError("vectors has a class without numbers; it is a vector for each name.") from None
    if len({len(row) for row in rows}) > 1:
        raise UnitlensError("The vectors of the classes are of different lengths: give vectors of one space.")
    return torch.stack(rows) if rows else torch.empty(0, 0), tuple(map(str, given))


def _read(path: str | Path) -> Any:
    file = Path(path)
    try:
        if file.suffix == ".npy":
            return read_npy(file)
        if file.suffix == ".safetensors":
            return read_arrays(file)
    except (OSError, ValueError, UnitlensError) as error:
        raise UnitlensError(f"The vectors in {path} cannot be read ({str(error).splitlines()[0]}).") from None
    raise UnitlensError(f"Vectors of classes are read from .npy and .safetensors files, and {path} is none of these.")


def _checked(given: Any, net: Network) -> Tensor:
    """The vectors on the network's device, in its number type."""
    try:
        vectors = torch.as_tensor(given).detach().to(net.device, net.dtype)
    except (TypeError, ValueError, RuntimeError):
        raise UnitlensError(f"vectors is a {type(given).__name__}; it is an array, classes x numbers.") from None
    if vectors.ndim != 2 or len(vectors) < 2:
        raise UnitlensError(
            f"vectors are {display_shape(vectors.shape)}; they are classes x numbers, of two classes or more."
        )
    if not bool(vectors.isfinite().all()):
        raise UnitlensError("The vectors hold NaN or infinite numbers, and cosines with these are none.")
    zero = (vectors == 0).all(1).nonzero()
    if len(zero):
        raise UnitlensError(f"The vector of class {int(zero[0])} is 0, which has no direction: leave the class out.")
    with evaluating(net.model):
        size = embedding(net.model(net.example_inputs())).shape[1]
    if size != vectors.shape[1]:
        raise UnitlensError(
            f"The vectors have {vectors.shape[1]} numbers, and {net.name} returns {size} for each image: give vectors "
            "of the same space."
        )
    return vectors
