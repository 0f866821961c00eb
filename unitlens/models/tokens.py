"""What of a layer's output is left out, or read with doubt, and how that is said."""

import re
from collections.abc import Mapping

from torch import nn

from unitlens.models.layers import shown, uncompiled
from unitlens.models.layouts import Layout, Size, stretched

_KINDS = {
    "class": r"(cls|class)_(token|embedding)s?(_\d+)?",
    "distillation": r"dist(illation)?_tokens?",
    "register": r"reg(ister)?_tokens?",
}
"""What the tokens' parameters are called in torchvision, timm and transformers."""

_DOUBTFUL = 1.5
"""A grid whose proportions differ from the image's by more is said to."""


def left_out(model: nn.Module, layout: Layout) -> dict[str, int]:
    """Count the tokens of a layer that are no patches, by kind.

    Parameters
    ----------
    model : nn.Module
        Its parameters' names tell the kinds.
    layout : Layout
        Of the layer.

    Returns
    -------
    dict of str to int
        ``{"class": 1, "register": 4}``; ``{"unknown": n}`` where the parameters' names do not account for all of them;
        nothing where none is left out.
    """
    if not layout.special:
        return {}
    found: dict[str, int] = {}
    for name, parameter in uncompiled(model).named_parameters():
        for kind, pattern in _KINDS.items():
            if re.fullmatch(pattern, name.rpartition(".")[2]):  # networks of two branches have one in each
                found[kind] = max(found.get(kind, 0), parameter.shape[-2] if parameter.dim() > 1 else 1)
    return found if sum(found.values()) == layout.special else {"unknown": layout.special}


def layout_note(layer: str, layout: Layout, kinds: Mapping[str, int], image: Size) -> str | None:
    """Say what the user should know of a layer's layout.

    Parameters
    ----------
    layer : str
    layout : Layout
    kinds : mapping of str to int
        As `left_out` counts them.
    image : (int, int)
        Height and width of the network's input.

    Returns
    -------
    str or None
        One sentence: how many tokens were left out, or that a grid has not the proportions of the image.
    """
    if layout.special:
        h, w = layout.grid or (1, 1)
        named = [f"{count} {kind} token{'s' if count > 1 else ''}" for kind, count in kinds.items()]
        which = "class and register tokens" if "unknown" in kinds else ", ".join(named)
        return (
            f"{shown(layer)}: {layout.special} of {layout.special + h * w} tokens, in front, "
            f"{'is no patch' if layout.special == 1 else 'are no patches'} ({which}) and left out; the others are the "
            f"grid of {h} x {w}."
        )
    if layout.grid and stretched(layout.grid, image) > _DOUBTFUL:
        return (
            f"{shown(layer)} is read as {layout.units} units on a grid of {layout.grid[0]} x {layout.grid[1]}, which "
            f"has not the proportions of the image, {image[0]} x {image[1]}: if that is no grid, say what it is "
            "with --layout (layout=), or choose another layer."
        )
    return None
