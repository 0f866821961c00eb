"""What a network returns: one tensor, a nest of tensors, or a list with an item for each image."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

Output = Any
"""A tensor with a row for each image; tuples, lists and dictionaries of such tensors; or a `ByImage`."""


class ByImage(list[Any]):
    """A list with an item for each image, such as the boxes that a detector finds in it."""


def tensors(output: Output) -> list[Tensor]:
    """The tensors of an output, in their order; of a list with an item for each image, none."""
    if isinstance(output, Tensor):
        return [output]
    return [leaf for leaf in pytree.tree_leaves(output) if isinstance(leaf, Tensor)]


def mapped(output: Output, function: Callable[[Tensor], Tensor]) -> Output:
    """The same nest with what a function returns for each tensor."""
    return rebuilt(output, map(function, tensors(output)))


def rebuilt(output: Output, others: Any) -> Output:
    """The same nest with other tensors in place of its own."""
    others = iter(others)
    if isinstance(output, Tensor):
        return next(others)
    leaves, form = pytree.tree_flatten(output)
    return pytree.tree_unflatten([next(others) if isinstance(leaf, Tensor) else leaf for leaf in leaves], form)


def row_count(output: Output) -> int:
    """How many images an output is of."""
    return len(output if isinstance(output, ByImage) else tensors(output)[0])


def has_rows(output: Output, count: int) -> bool:
    """Whether every tensor has a row for each of so many images, and there is nothing else but None."""
    leaves = pytree.tree_leaves(output)
    found = [leaf for leaf in leaves if isinstance(leaf, Tensor)]
    nothing_else = all(leaf is None or isinstance(leaf, Tensor) for leaf in leaves)
    return bool(found) and nothing_else and all(leaf.shape[:1] == (count,) for leaf in found)


def joined(outputs: Sequence[Output]) -> Output:
    """Outputs for some images and for others as one."""
    if isinstance(outputs[0], ByImage):
        return ByImage(item for output in outputs for item in output)
    return rebuilt(outputs[0], map(torch.cat, zip(*map(tensors, outputs), strict=True)))


def some(output: Output, images: slice) -> Output:
    """What an output says of some of its images."""
    return ByImage(output[images]) if isinstance(output, ByImage) else mapped(output, lambda tensor: tensor[images])


def by_variant(output: Output, count: int) -> Output:
    """Take the rows of V variants of N images, one after the other, apart: tensors (V, N, ...), or V lists of N."""
    if isinstance(output, ByImage):
        return ByImage(ByImage(output[first : first + count]) for first in range(0, len(output), count))
    return mapped(output, lambda tensor: tensor.reshape(-1, count, *tensor.shape[1:]))


def in_rows(outputs: Output) -> Output:
    """The other way around: from V variants of N images to V * N rows."""
    return joined(outputs) if isinstance(outputs, ByImage) else mapped(outputs, lambda tensor: tensor.flatten(0, 1))


def describe(output: Output) -> str:
    """What an output is, in words, such as "2 x 12" or "a dict of tensors of 2 x 21 x 64 x 64"."""
    if isinstance(output, Tensor):
        return " x ".join(map(str, output.shape)) or "one number"
    kind = "list with an item for each image" if isinstance(output, ByImage) else type(output).__name__
    shapes = " and ".join(describe(tensor) for tensor in tensors(output))
    return f"a {kind}" + (f" of tensors of {shapes}" if shapes else "")
