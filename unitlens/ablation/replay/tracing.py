"""Trace a network into a graph of steps with torch.fx, and split it at the output of a layer."""

import operator
import warnings
from collections.abc import Callable, Sequence
from typing import Any

from torch import fx, nn

from unitlens.ablation.replay.splits import OneInput, Split, Untraceable, mark, split_graph
from unitlens.models.fast.pooling import Pooling
from unitlens.models.fast.winograd import Winograd
from unitlens.models.layers import LayerRef
from unitlens.models.units.heads import taken_apart

_Call = tuple[nn.Module, bool, int]
"""A module, whether the layer is what it is given, and which of its calls in one pass, from 0."""


def split_network(model: nn.Module, layers: Sequence[LayerRef], *, fine: bool = True) -> Split:
    """Split a network at the output of one call of one of its layers.

    Parameters
    ----------
    model : nn.Module
        In eval mode. Traced with torch.fx (Reed et al., MLSys 2022); nothing is computed, nothing is written to it.
    layers : sequence of LayerRef
        The one to split at; further ones, which are called after it, are marked in the tail. None is one of several
        tensors that a module returns.
    fine : bool
        Look into every module that is not torch's own, so that the tail is seen in single operations; else only into
        the modules that contain a layer, so that whatever the others do stays theirs.

    Returns
    -------
    Split

    Raises
    ------
    Untraceable
        Where tracing fails or does not meet a layer.
    Independent
        Where the output does not depend on what a layer returns.
    """
    calls = [(*ref.place, ref.call or 0) for ref in layers]
    tracer = _Tracer(calls, fine)
    try:
        with warnings.catch_warnings(), taken_apart(ref.joint for ref in layers):
            warnings.simplefilter("ignore")
            graph = tracer.trace(OneInput(model))
    except Exception as error:  # whatever a forward may do when it is given a proxy for a tensor
        raise Untraceable(f"torch.fx cannot trace the network ({_first_line(error)})") from error
    for call in calls:
        if call not in tracer.marked:
            raise Untraceable(f"torch.fx met {tracer.calls[call[0]]} calls of the layer")
    return split_graph(graph, tracer.root, [tracer.marked[call] for call in calls])


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:120]}" if lines else type(error).__name__


class _Writable(fx.Proxy):
    """A proxy that records ``x[index] = value``, which torch.fx's own refuses."""

    def __setitem__(self, index: Any, value: Any) -> None:
        self.tracer.create_proxy("call_function", operator.setitem, (self, index, value), {})


class _Tracer(fx.Tracer):
    """Traces a network and marks the outputs of some calls of its layers."""

    def __init__(self, layers: Sequence[_Call], fine: bool) -> None:
        super().__init__(param_shapes_constant=True)
        self.layers, self.fine = layers, fine
        self.calls = {layer: 0 for layer, _, _ in layers}
        self.marked: dict[_Call, fx.Node] = {}

    def proxy(self, node: fx.Node) -> fx.Proxy:
        """Give a node to the network's code, as a value into which it can also write: ``x[:, 0] = 1``."""
        return _Writable(node, self)

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """Say whether a module stays one step: never where a layer is inside it."""
        if any(inner in self.calls for inner in m.modules() if inner is not m):
            return False
        return not self.fine or isinstance(m, Winograd | Pooling) or super().is_leaf_module(m, module_qualified_name)

    def call_module(
        self, m: nn.Module, forward: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """Trace the call of a module; where it is a layer's, its readers read the marked output instead."""
        if m not in self.calls:
            return super().call_module(m, forward, args, kwargs)
        call = self.calls[m]
        self.calls[m] += 1
        if (m, True, call) in self.layers:
            args = (self._marked((m, True, call), args[0]), *args[1:])
        result = super().call_module(m, forward, args, kwargs)
        return self._marked((m, False, call), result) if (m, False, call) in self.layers else result

    def _marked(self, call: _Call, value: Any) -> fx.Proxy:
        if not isinstance(value, fx.Proxy):
            raise TypeError(f"the layer returns a {type(value).__name__}, not one tensor")
        marked = self.create_proxy("call_function", mark, (value,), {})
        self.marked[call] = marked.node
        return marked
