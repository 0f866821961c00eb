"""Find which dimensions of a layer's output are its units, and which its grid.

The rule is explained in docs/layouts.md. In short, for an image of height x width:

- (N, U) has units and no grid, and so has (N, U, 1) of a pool along one axis.
- (N, U, h, w) and (N, h, w, U): convolutions, pools and batch norms put the units first, `nn.Linear` last,
  `nn.LayerNorm` where its own size is; of any other module, the two sides that have the image's proportions are the
  grid. If none have, but of an image that is not square the last two nearly so, units come first.
- (N, T, U) are tokens, if T is a grid of patches and at most 16 more in front of it (class and register tokens), which
  are left out.
- (N, A, T, T) from a module of attention, T with a class token: each of the A heads is a unit, seen from that token.
- Inside attention, only a grid of patches is a grid: windows of tokens have no units that could be distinguished.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn

from unitlens.errors import UnitlensError, argument, did_you_mean
from unitlens.models.layers import LayerRef, display_name, display_shape, listing_hint, uncompiled

Order = Literal["channels_first", "channels_last", "tokens", "heads", "attention"]
Size = tuple[int, int]

ORDERS: dict[Order, str] = {
    "channels_first": "(images, units, height, width)",
    "channels_last": "(images, height, width, units)",
    "tokens": "(images, tokens, units)",
    "heads": "(images, heads, tokens, units of a head)",
    "attention": "(images, heads, tokens, tokens)",
}
"""The values of ``layout``, and the dimensions that they stand for."""

MOST_SPECIAL = 16
"""The largest number of tokens that are not patches."""

_UNITS_FIRST = (
    nn.Conv2d,
    nn.ConvTranspose2d,
    nn.BatchNorm2d,
    nn.InstanceNorm2d,
    nn.GroupNorm,
    nn.MaxPool2d,
    nn.AvgPool2d,
    nn.AdaptiveMaxPool2d,
    nn.AdaptiveAvgPool2d,
    nn.Upsample,
)

_ALONG_ONE_AXIS = (nn.AdaptiveAvgPool1d, nn.AdaptiveMaxPool1d, nn.AvgPool1d, nn.MaxPool1d, nn.Conv1d, nn.BatchNorm1d)

_NEARLY = 1.5
"""The largest factor between the proportions of a grid and of an image that is not square, where nothing else tells."""

_ATTENTION = ("attention", "attn", "window", "partition")
"""Words in the names of modules of attention, or of their classes."""


_KINDS = {
    "class": r"(cls|class)_(token|embedding)s?(_\d+)?",
    "distillation": r"dist(illation)?_tokens?",
    "register": r"reg(ister)?_tokens?",
}
"""Names of the tokens' parameters in torchvision, timm and transformers."""

_DOUBTFUL = 1.5
"""A grid whose proportions differ from the image's by a larger factor is reported."""


@dataclass(frozen=True)
class Layout:
    """How a layer's output is laid out.

    Attributes
    ----------
    order : str
        A key of `ORDERS`, or "units" for (N, U).
    units : int
    grid : (int, int) or None
        h and w; None where every image is one position.
    special : int
        Tokens in front that are no patches (class and register tokens), and are left out.
    """

    order: Order | Literal["units"]
    units: int
    grid: Size | None
    special: int = 0

    def maps(self, activation: Tensor) -> Tensor:
        """Return the activation as (N, U, h, w), with h = w = 1 where there is no grid."""
        shape = (len(activation), self.units, *(self.grid or (1, 1)))
        match self.order:
            case "channels_last":
                return activation.permute(0, 3, 1, 2)
            case "tokens":
                return activation[:, self.special :].transpose(1, 2).reshape(shape)
            case "heads":
                return activation[:, :, self.special :].transpose(2, 3).reshape(shape)
            case "attention":
                seen = activation[:, :, 0] if self.special else activation.mean(2)
                return seen[:, :, self.special :].reshape(shape)
            case _:
                return activation.reshape(shape)


def find_layout(
    shape: tuple[int, ...], module: nn.Module, image: Size, *, name: str = "", order: Order | None = None
) -> Layout | None:
    """Find how the output of a layer is laid out.

    Parameters
    ----------
    shape : tuple of int
        Of the output, with the images first.
    module : nn.Module
        The layer.
    image : (int, int)
        Height and width of the network's input.
    name : str
        Of the layer.
    order : str, optional
        The layout that the user gives; an output of (N, U) stays what it is.

    Returns
    -------
    Layout or None
        None if it is none of the known ones, or cannot be the given one.

    Examples
    --------
    >>> find_layout((1, 197, 768), nn.Identity(), (224, 224))
    Layout(order='tokens', units=768, grid=(14, 14), special=1)
    >>> find_layout((1, 7, 7, 512), nn.Identity(), (224, 224)).units
    512
    """
    if 0 in shape:
        return None
    match shape[1:]:
        case (units,):
            return Layout("units", units, None)
        case (units, length) if order is None and isinstance(module, _ALONG_ONE_AXIS):
            return Layout("units", units, None) if length == 1 else None
        case (tokens, units) if order in (None, "tokens"):
            return _of_tokens("tokens", units, tokens, image, given=order is not None)
        case (first, second, third):
            sides = first, second, third
            known = order or _order_of_four(sides, module, image, name)
            return _of_four(sides, known, image, given=order is not None)
        case _:
            return None


def _of_four(sides: tuple[int, int, int], order: Order | None, image: Size, *, given: bool) -> Layout | None:
    first, second, third = sides
    match order:
        case "channels_first":
            return Layout(order, first, _grid(second, third))
        case "channels_last":
            return Layout(order, third, _grid(first, second))
        case "heads":
            return _of_tokens(order, first * third, second, image, given=given)
        case "attention" if second == third:
            return _of_tokens(order, first, second, image, given=given)
        case _:
            return None


def _order_of_four(sides: tuple[int, int, int], module: nn.Module, image: Size, name: str) -> Order | None:
    """Find where the units are: by the module, else by the image's proportions, else first (not inside attention)."""
    first, second, third = sides
    if isinstance(module, _UNITS_FIRST):
        return "channels_first"
    if any(word in f"{name} {type(module).__name__}".lower() for word in _ATTENTION):
        return _order_of_attention(sides, image)
    in_front, behind = _distance((second, third), image), _distance((first, second), image)
    if _normalised_last(module, sides):
        return "channels_last" if behind is not None else None  # else windows of tokens, as in MaxViT
    if behind is not None and (in_front is None or behind < in_front):
        return "channels_last"
    nearly = image[0] != image[1] and stretched((second, third), image) <= _NEARLY
    return "channels_first" if in_front is not None or nearly else None


def _normalised_last(module: nn.Module, sides: tuple[int, int, int]) -> bool:
    """Return whether a module works along the last dimension: a linear layer, or a layer norm of its size."""
    if isinstance(module, nn.LayerNorm):
        width, first = module.normalized_shape[-1], sides[0]
        return width == sides[2] and (width != first or type(module) is nn.LayerNorm)
    return type(module) is nn.Linear


def _order_of_attention(sides: tuple[int, int, int], image: Size) -> Order | None:
    """Find where the units are inside attention, where there are windows and heads too."""
    first, second, third = sides
    grids = _grids(image)
    if (second, third) in grids:
        return "channels_first"
    if (first, second) in grids:
        return "channels_last"
    tokens = _of_tokens("attention", first, second, image) if second == third else None
    return "attention" if tokens and tokens.special else None


def _of_tokens(order: Order, units: int, tokens: int, image: Size, *, given: bool = False) -> Layout | None:
    """Read tokens as a grid of patches, with the fewest special tokens in front.

    Where the user gives the layout, patches may overlap, so that any grid of the image's proportions will do.
    """
    grids = _grids(image)
    candidates = [(tokens - h * w, h, w) for h, w in grids if 0 <= tokens - h * w <= MOST_SPECIAL]
    if given and not candidates:
        rows = range(1, tokens + 1)
        grids = {(h, w) for h in rows for w in {h * image[1] // image[0], -(-h * image[1] // image[0])}}
        candidates = [(tokens - h * w, h, w) for h, w in grids if w and 0 <= tokens - h * w <= MOST_SPECIAL]
    if not candidates:
        return None
    special, h, w = min(candidates)
    return Layout(order, units, _grid(h, w), special)


def _grids(image: Size) -> set[Size]:
    """Return the grids of patches of p x p pixels, for every p; a patch cut off at the edge may count or not."""
    height, width = image
    sides = range(1, min(height, width) + 1)
    return {(height // p, width // p) for p in sides} | {(-(-height // p), -(-width // p)) for p in sides}


def _distance(grid: Size, image: Size) -> int | None:
    """Return how far a grid is from the image's proportions; None if by more than a cell of rounding.

    A square image has square grids.
    """
    off = abs(grid[0] * image[1] - grid[1] * image[0])
    return off if off <= (0 if image[0] == image[1] else max(image)) else None


def stretched(grid: Size, image: Size) -> float:
    """Return the factor between the proportions of a grid and of the image; 1 if they are the same."""
    factor = grid[0] * image[1] / (grid[1] * image[0])
    return max(factor, 1 / factor)


def _grid(height: int, width: int) -> Size | None:
    return None if (height, width) == (1, 1) else (height, width)


def unit_axis(ref: LayerRef, activation: Tensor, image: Size) -> int:
    """Return the dimension of a layer's output along which its units lie.

    Parameters
    ----------
    ref : LayerRef
        The layer.
    activation : Tensor
        What it returned.
    image : (int, int)
        Height and width of the network's input.

    Raises
    ------
    UnitlensError
        If they lie along none, or it is not clear along which.
    """
    layout = find_layout(tuple(activation.shape), ref.module, image, name=ref.name)
    axes = {"units": 1, "channels_first": 1, "attention": 1, "channels_last": 3, "tokens": 2}
    if layout is None or layout.order not in axes:
        raise UnitlensError(
            f"{display_name(ref.given)} returns {display_shape(activation.shape)}, which has no units that could be "
            "ablated: choose a layer of (images, units), (images, units, height, width), (images, height, width, "
            f"units) or (images, tokens, units); {listing_hint()}."
        )
    return axes[layout.order]


def need_layout(
    ref: LayerRef, activation: Tensor, images: int, image_size: Size, *, order: Order | None = None
) -> Layout:
    """Find the layout of a layer whose units are wanted, or explain why there is none.

    Parameters
    ----------
    ref : LayerRef
        The layer.
    activation : Tensor
        What it returned.
    images : int
        How many images it was returned for.
    image_size : (int, int)
        Height and width of the image that units are compared with.
    order : str, optional
        The layout that the user gives.

    Raises
    ------
    UnitlensError
        If it has neither units nor a grid that are known.
    """
    if order is not None and order not in ORDERS:
        raise UnitlensError(
            f"There is no layout {order!r}{did_you_mean(str(order), ORDERS)}; there are {', '.join(ORDERS)}."
        )
    name, shape = display_name(ref.given), display_shape(activation.shape)
    if activation.dim() < 2 or len(activation) != images:
        raise UnitlensError(
            f"{name} returns {shape} for {images} images, and not something for each image: choose another "
            f"layer ({listing_hint()})."
        )
    layout = find_layout(tuple(activation.shape), ref.module, image_size, name=ref.name, order=order)
    if layout is not None:
        return layout
    if order is not None:
        raise UnitlensError(f"{name} returns {shape}, which cannot be read as {ORDERS[order]}, {order}.")
    raise UnitlensError(
        f"{name} returns {shape}, and it is not clear which of that are units: they are known in (images, units), "
        f"(images, tokens, units) and, of a grid with the proportions of the image, {ORDERS['channels_first']} and "
        f"{ORDERS['channels_last']}; give it with {argument('layout')}, or choose another layer "
        f"({listing_hint()})."
    )


def left_out(model: nn.Module, layout: Layout) -> dict[str, int]:
    """Count the tokens of a layer that are not patches, by kind.

    Parameters
    ----------
    model : nn.Module
        The network; the kinds are known by the names of its parameters.
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
    kinds: dict[str, int] = {}
    for name, parameter in uncompiled(model).named_parameters():
        for kind, pattern in _KINDS.items():
            if re.fullmatch(pattern, name.rpartition(".")[2]):  # networks of two branches have one in each
                kinds[kind] = max(kinds.get(kind, 0), parameter.shape[-2] if parameter.dim() > 1 else 1)
    return kinds if sum(kinds.values()) == layout.special else {"unknown": layout.special}


def layout_note(layer: str, layout: Layout, kinds: Mapping[str, int], image: Size) -> str | None:
    """Return what the user should know about a layer's layout.

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
        One sentence: how many tokens were left out, or that the proportions of a grid are not the image's.
    """
    if layout.special:
        h, w = layout.grid or (1, 1)
        named = [f"{count} {kind} token{'s' if count > 1 else ''}" for kind, count in kinds.items()]
        which = "class and register tokens" if "unknown" in kinds else ", ".join(named)
        return (
            f"{display_name(layer)}: {layout.special} of {layout.special + h * w} tokens, in front, "
            f"{'is no patch' if layout.special == 1 else 'are no patches'} ({which}) and left out; the others are the "
            f"grid of {h} x {w}."
        )
    if layout.grid and stretched(layout.grid, image) > _DOUBTFUL:
        return (
            f"{display_name(layer)} is read as {layout.units} units on a grid of {layout.grid[0]} x {layout.grid[1]}, "
            f"which has not the proportions of the image, {image[0]} x {image[1]}: if that is not a grid, give the "
            f"layout with {argument('layout')}, or choose another layer."
        )
    return None
