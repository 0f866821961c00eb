"""Torchvision's networks by name: for classification, segmentation and detection."""

import inspect
import warnings
from collections.abc import Mapping
from functools import cache
from pathlib import Path, PurePosixPath
from types import ModuleType
from typing import Any
from urllib.parse import urlparse

import torch
from torch import Tensor, nn

from unitlens.errors import UnitlensError, argument
from unitlens.models.opened import OpenedModel
from unitlens.models.preprocessing import Declared, Interpolation
from unitlens.models.weights import put_weights, read_weights, untrained_error


@cache
def zoo_names() -> dict[str, str]:
    """Return the names of torchvision's networks, each with the module that has it."""
    from torchvision import models

    families: tuple[ModuleType, ...] = (models, models.segmentation, models.detection)
    return {name: family.__name__ for family in families for name in models.list_models(module=family)}


@cache
def other_names() -> dict[str, str]:
    """Return the names of torchvision's networks that cannot be used here, each with the reason."""
    from torchvision import models

    families: tuple[tuple[ModuleType, str], ...] = (
        (models.video, "looks at video"),
        (models.optical_flow, "compares two images"),
        (models.quantization, "computes in whole numbers"),
    )
    return {name: what for family, what in families for name in models.list_models(module=family)}


def zoo_network(name: str, weights: str | None) -> OpenedModel:
    """Build one of torchvision's networks.

    Parameters
    ----------
    name : str
        One of `zoo_names`.
    weights : str or None
        "DEFAULT" or another name of torchvision's weights for this network, downloaded if they are not on this machine
        yet; a file; or "none".

    Returns
    -------
    OpenedModel
        In evaluation mode, with the preprocessing that torchvision declares for its DEFAULT weights, or for those asked
        for.

    Raises
    ------
    UnitlensError
        If no weights were asked for, they cannot be had, or they are another network's.
    """
    from torchvision import models

    entries = models.get_model_weights(name)
    if weights is None:
        raise untrained_error(name)
    entry = entries[weights] if weights in entries.__members__ else entries.DEFAULT
    if weights == "none":
        model = _build(name, weights=None)
    elif weights == "DEFAULT" or weights in entries.__members__:
        model = _download(name, entry)
    else:
        state = read_weights(weights)
        model = _build(name, weights=None, **_options_for(name, state))
        put_weights(model, state, weights)
    classes = None if weights == "none" else tuple(entry.meta["categories"])
    return OpenedModel(model.eval(), f"{zoo_names()[name]}:{name}", _declared(model, entry.transforms()), classes)


def published_file(name: str, weights: str) -> Path | None:
    """Say where torchvision's own weights of a network lie, or would after a download.

    Parameters
    ----------
    name : str
        A network, perhaps one of torchvision's.
    weights : str
        "DEFAULT", or another name of its weights.

    Returns
    -------
    Path or None
        None if there are no such weights.
    """
    from torchvision import models

    entries = models.get_model_weights(name).__members__ if name in zoo_names() else {}
    if weights not in entries:
        return None
    return Path(torch.hub.get_dir(), "checkpoints", PurePosixPath(urlparse(entries[weights].url).path).name)


def _build(name: str, **options: Any) -> nn.Module:
    from torchvision import models

    if "weights_backbone" in inspect.signature(models.get_model_builder(name)).parameters:
        options["weights_backbone"] = None  # its default is a download that nobody asked for
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # of GoogLeNet and Inception, about how they draw weights
        built: nn.Module = models.get_model(name, **options)
    return built


def _download(name: str, entry: Any) -> nn.Module:
    try:
        return _build(name, weights=entry)
    except Exception as error:  # network, proxy, disk, a damaged file in the cache: all end here
        raise UnitlensError(
            f"The weights {entry.name} of {name} could not be had from {entry.url} ({type(error).__name__}: {error}); "
            f"try again with a connection, or give a file with {argument('weights')}."
        ) from error


def _options_for(name: str, state: Mapping[str, Tensor]) -> dict[str, Any]:
    """Return how to build a network so that it is the one that torchvision's own weights files are for."""
    if name in ("googlenet", "inception_v3"):  # their published weights expect the input scaled in another way
        auxiliary = any(".aux" in f".{key.lower()}" for key in state)
        return {"transform_input": True, "aux_logits": auxiliary, "init_weights": False}
    if any("aux_classifier." in key for key in state):
        return {"aux_loss": True}
    return {}


def _declared(model: nn.Module, transforms: Any) -> Declared:
    """Return the preprocessing that weights declare; a detection network prepares images itself, so only their size."""
    crop, resize = getattr(transforms, "crop_size", None), getattr(transforms, "resize_size", None)
    if resize:
        sides = list(crop or resize)
        style: Interpolation = "bicubic" if transforms.interpolation.value == "bicubic" else "bilinear"
        return Declared((sides[0], sides[-1]), resize[0], tuple(transforms.mean), tuple(transforms.std), style)
    transform: Any = getattr(model, "transform", None)
    side = max(getattr(transform, "min_size", (224,)))
    return Declared((side, side), None, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
