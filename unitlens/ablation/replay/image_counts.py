"""Find where a recorded pass depends on the number of images, by comparing it with one of another number."""

import operator
from typing import Any, NamedTuple

import torch
from torch import Tensor, fx

from unitlens.ablation.replay.growth import growth
from unitlens.ablation.replay.splits import OneInput, Untraceable


class RecordedPass(NamedTuple):
    """What a network did with some images.

    Attributes
    ----------
    graph : fx.Graph
        Its steps; the first node is the images, the last the output.
    root : OneInput
        What the steps are of.
    marks : tuple of fx.Node
        The marked outputs of the layers.
    """

    graph: fx.Graph
    root: OneInput
    marks: tuple[fx.Node, ...]


def count_images(one: RecordedPass, other: RecordedPass, images: tuple[int, int]) -> None:
    """Let a recorded pass count its images wherever a whole number grows with them.

    Parameters
    ----------
    one : RecordedPass
        Changed in place.
    other : RecordedPass
        Of the same network.
    images : tuple of int
        How many images the two passes had.

    Raises
    ------
    Untraceable
        If the passes differ in anything else.
    """
    nodes, others = list(one.graph.nodes), list(other.graph.nodes)
    if [_kind(node) for node in nodes] != [_kind(node) for node in others]:
        raise Untraceable(f"it takes other steps for {images[1]} images than for {images[0]}")
    same = _Same(one.graph, dict(zip(nodes, others, strict=True)), images)
    for node, another in zip(nodes, others, strict=True):
        if node.op == "get_attr":
            _check_constant(*(_constant(of, node) for of in (one, other)))
        node.args, node.kwargs = same.merged(node.args, another.args), same.merged(node.kwargs, another.kwargs)


def _kind(node: fx.Node) -> tuple[Any, ...]:
    return node.op, node.target


def _constant(of: RecordedPass, node: fx.Node) -> Any:
    return operator.attrgetter(str(node.target))(of.root)


def _check_constant(one: Tensor, other: Tensor) -> None:
    if one is not other and not torch.equal(one, other):
        raise Untraceable(
            f"it reads a tensor of {tuple(one.shape)} that differs from pass to pass, and that no step is known to give"
        )


class _Same:
    """What the steps of two passes are given, as one that holds for any number of images."""

    def __init__(self, graph: fx.Graph, pairs: dict[fx.Node, fx.Node], images: tuple[int, int]) -> None:
        self._graph, self._pairs, self._images = graph, pairs, images
        self._counts: dict[int, fx.Node] = {}

    def merged(self, one: Any, other: Any) -> Any:
        """Return what both steps are given, with the number of images counted."""
        if isinstance(one, fx.Node):
            if self._pairs[one] is not other:
                raise Untraceable("its steps read other values for another number of images")
            return one
        if isinstance(one, slice) and isinstance(other, slice):
            ends = [(one.start, other.start), (one.stop, other.stop), (one.step, other.step)]
            return slice(*(self.merged(*pair) for pair in ends))
        if type(one) is not type(other):
            raise Untraceable(f"a step is given {_shown(one)} in one pass and {_shown(other)} in another")
        if isinstance(one, tuple | list) and len(one) == len(other):
            return type(one)(self.merged(*pair) for pair in zip(one, other, strict=True))
        if isinstance(one, dict) and one.keys() == other.keys():
            return {key: self.merged(one[key], other[key]) for key in one}
        if one is other or _equal(one, other):
            return one
        return self._count(one, other)

    def _count(self, one: Any, other: Any) -> fx.Node:
        try:
            how = growth(one, other, self._images)
        except ValueError:
            how = None
        if how != "number":
            raise Untraceable(f"a step is given {_shown(one)} for one number of images and {_shown(other)} for another")
        each = one // self._images[0]
        if each not in self._counts:
            after = self._counts[1] if 1 in self._counts else next(iter(self._graph.nodes))
            with self._graph.inserting_after(after):
                if 1 not in self._counts:
                    self._counts[1] = self._graph.call_function(len, (after,))
            if each != 1:
                with self._graph.inserting_after(self._counts[1]):
                    self._counts[each] = self._graph.call_function(operator.mul, (self._counts[1], each))
        return self._counts[each]


def _equal(one: Any, other: Any) -> bool:
    both_nan = one != one and other != other if isinstance(one, float) else False
    return both_nan or bool(one == other)


def _shown(value: Any) -> str:
    return f"{value!r}"[:60]
