"""A module that was opened by name, and what is known about it."""

from typing import NamedTuple

from torch import nn

from unitlens.models.latents import LatentInput
from unitlens.models.preprocessing import Declared


class OpenedModel(NamedTuple):
    """A module that was opened by name, and what is known about it.

    Attributes
    ----------
    model : nn.Module
        The module.
    name : str
        Its full name, ``torchvision.models:resnet18`` for ``resnet18``.
    declared : Declared
        The preprocessing that it declares.
    classes : tuple of str or None
        The names of its outputs, where known.
    default_layer : str or None
        The layer to look at if none is named.
    latents : LatentInput or None
        What it takes, if it is a generator.
    """

    model: nn.Module
    name: str
    declared: Declared
    classes: tuple[str, ...] | None = None
    default_layer: str | None = None
    latents: LatentInput | None = None
