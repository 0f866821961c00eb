"""The front of a cut, as a fast copy of the network computes it."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, fx
from torch.fx.node import map_aggregate

from unitlens.ablation.replay.splits import Split, Values, run


class Crossing(NamedTuple):
    """What the front of a cut hands on: the layer's output, and the other values that the tail reads."""

    activation: Tensor
    rest: Mapping[fx.Node, Any]


class FastFront(NamedTuple):
    """The front of a fast copy, which is split as the network is.

    Attributes
    ----------
    split : Split
        Of the copy.
    prepare : function
        From the network's inputs to the copy's.
    """

    split: Split
    prepare: Callable[[Tensor], Tensor]

    def run(self, images: Tensor, split: Split) -> Crossing:
        """Compute what crosses the cut, in the number type and layout of the network itself.

        Parameters
        ----------
        images : Tensor
            As the network takes them.
        split : Split
            Of the network, whose tail reads the values.
        """
        values: Values = {self.split.images: self.prepare(images)}
        run(self.split.front, values)
        usual = _as_usual(images.dtype)
        pairs = zip(split.crossing, self.split.crossing, strict=True)
        rest = {
            node: images if node is split.images else map_aggregate(values[copied], usual) for node, copied in pairs
        }
        return Crossing(usual(values[self.split.activation]), rest)


def run_front(split: Split, images: Tensor) -> Crossing:
    """Compute what crosses the cut with the network itself."""
    values: Values = {split.images: images}
    run(split.front, values)
    return Crossing(values[split.activation], {node: values[node] for node in split.crossing})


def _as_usual(dtype: torch.dtype) -> Callable[[Any], Any]:
    def usual(value: Any) -> Any:
        if not isinstance(value, Tensor):
            return value
        return value.contiguous().to(dtype if value.is_floating_point() else value.dtype)

    return usual
