"""Learn how values inside a network grow with the number of images, so that those of N images serve V x N."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

Growth = Any
"""How a value grows: None (it does not), a dimension of a tensor, "number", or a list or dict of these."""


def outline(value: Any) -> Any:
    """Reduce a value to what grows: shapes of tensors, numbers, and containers of these."""
    if isinstance(value, Tensor):
        return value.shape
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, (tuple, list)):
        return [outline(item) for item in value]
    if isinstance(value, dict):
        return {key: outline(item) for key, item in value.items()}
    return None


def numbers(outlined: Any) -> int:
    """Return how many numbers the tensors of an outlined value hold."""
    if isinstance(outlined, torch.Size):
        return outlined.numel()
    parts = outlined.values() if isinstance(outlined, dict) else outlined
    return sum(map(numbers, parts)) if isinstance(outlined, list | dict) else 0


def growth(one: Any, other: Any, images: tuple[int, int]) -> Growth:
    """Find from two passes how a value grows with the number of images.

    Parameters
    ----------
    one, other : object
        The `outline` of the value in a pass over ``images[0]`` and in one over ``images[1]`` images.
    images : tuple of int
        How many images the two passes had.

    Returns
    -------
    Growth

    Raises
    ------
    ValueError
        If the value grows in another way than in proportion, along one dimension.

    Examples
    --------
    >>> growth(torch.Size([2, 8]), torch.Size([3, 8]), (2, 3))
    0
    >>> growth([8, 64], [12, 64], (2, 3))
    ['number', None]
    """
    if one == other:
        return None
    if isinstance(one, torch.Size) and isinstance(other, torch.Size) and len(one) == len(other):
        grown = [dim for dim in range(len(one)) if one[dim] != other[dim]]
        if len(grown) == 1 and _proportional(one[grown[0]], other[grown[0]], images):
            return grown[0]
    elif isinstance(one, int) and isinstance(other, int) and _proportional(one, other, images):
        return "number"
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        return [growth(*pair, images) for pair in zip(one, other, strict=True)]
    elif isinstance(one, dict) and isinstance(other, dict) and one.keys() == other.keys():
        return {key: growth(one[key], other[key], images) for key in one}
    raise ValueError(f"a value inside does not grow with the number of images ({one} and {other})")


def grow(value: Any, growing: Growth, images: Tensor, count: int) -> Any:
    """Return a value for other images than those it was computed for.

    Parameters
    ----------
    value : object
        Computed for ``count`` images.
    growing : Growth
        As `growth` found.
    images : Tensor of int64, (rows,)
        For each row, which of the images it belongs to.
    count : int
        How many images there were.
    """
    if growing is None:
        return value
    if isinstance(value, Tensor):
        # Rows of one image are views of it; rows that are whole images are picked; else an image has several rows (its
        # windows or tokens, folded into the batch), which stay together.
        if count == 1 and value.shape[growing] == 1:
            return value.expand(*value.shape[:growing], len(images), *value.shape[growing + 1 :])
        if value.shape[growing] == count:
            return value.index_select(growing, images)
        shape = value.shape
        parts = value.reshape(*shape[:growing], count, shape[growing] // count, *shape[growing + 1 :])
        return parts.index_select(growing, images).flatten(growing, growing + 1)
    if isinstance(value, int):
        return value // count * len(images)
    if isinstance(value, dict):
        return {key: grow(item, growing[key], images, count) for key, item in value.items()}
    items: Iterable[Any] = (grow(item, part, images, count) for item, part in zip(value, growing, strict=True))
    return list(items) if isinstance(value, list) else tuple(items)


def _proportional(one: int, other: int, images: tuple[int, int]) -> bool:
    return one * images[1] == other * images[0] and one % images[0] == 0
