"""Trace a network into a list of steps, and split it at the output of a layer."""

import operator
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import fx, nn
from torch.fx.node import map_arg
from torch.nn import functional

from unitlens.ablation.replay.inplace import call_in_front, call_sparing, read_changed_values

Values = dict[fx.Node, Any]
"""The result of each step, by its node."""

_NO_EDITS: Mapping[fx.Node, Callable[[Any], Any]] = {}


class Untraceable(Exception):
    """The network cannot be split by tracing; the message says why."""


class Independent(Exception):
    """The network's output does not depend on what a layer returns; `which` of those that were given, from 0."""

    def __init__(self, which: int = 0) -> None:
        super().__init__(which)
        self.which = which


class Step(NamedTuple):
    """One operation of the network.

    Attributes
    ----------
    node : fx.Node
        Its place in the graph, and the key of its value.
    call : callable
        The function or module that runs; a module of the model itself, or an out-of-place copy with its parameters.
    done : tuple of fx.Node
        The values that no later step of the same half needs.
    """

    node: fx.Node
    call: Callable[..., Any]
    done: tuple[fx.Node, ...]


class Split(NamedTuple):
    """A network in two halves.

    Attributes
    ----------
    images : fx.Node
        Where the images go in.
    activation : fx.Node
        The layer's output in the front.
    start : fx.Node
        The layer's output as the tail reads it.
    later : tuple of fx.Node
        The same of further layers, in the order in which those were given: steps of the tail.
    crossing : tuple of fx.Node
        Everything else that the tail needs from the front, in the order of the network.
    output : fx.Node
        The network's output; where it is a nest of tensors, the step that gathers these.
    front, tail : tuple of Step
        The two halves, each in the order of the network.
    """

    images: fx.Node
    activation: fx.Node
    start: fx.Node
    later: tuple[fx.Node, ...]
    crossing: tuple[fx.Node, ...]
    output: fx.Node
    front: tuple[Step, ...]
    tail: tuple[Step, ...]


def split_network(model: nn.Module, layers: Sequence[tuple[nn.Module, int]], *, fine: bool = True) -> Split:
    """Split a network at the output of one call of one of its layers.

    Parameters
    ----------
    model : nn.Module
        In eval mode. Traced with torch.fx (Reed et al., MLSys 2022); nothing is computed, nothing is written to it.
    layers : sequence of (nn.Module, int)
        Of its modules, the one to split at, and which of its calls in one pass, from 0. Further ones, which are called
        after it, are marked in the tail.
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
    tracer = _Tracer(layers, fine)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            graph = tracer.trace(_OneInput(model))
    except Exception as error:  # whatever a forward may do when it is given a proxy for a tensor
        raise Untraceable(f"torch.fx cannot trace the network ({_first_line(error)})") from error
    for layer, call in layers:
        if (layer, call) not in tracer.marked:
            raise Untraceable(f"torch.fx met {tracer.calls[layer]} calls of the layer")
    read_changed_values(graph, tracer.root)
    return _halves(graph, tracer.root, [tracer.marked[layer] for layer in layers])


def run(steps: Iterable[Step], values: Values, edits: Mapping[fx.Node, Callable[[Any], Any]] = _NO_EDITS) -> None:
    """Run steps, adding the result of each to ``values`` and dropping what no later step needs.

    The result of a step of ``edits`` is first replaced by what the function returns for it.
    """
    for step in steps:
        value = apply(step, values.__getitem__)
        values[step.node] = edits[step.node](value) if step.node in edits else value
        for node in step.done:
            values.pop(node, None)


def apply(step: Step, value_of: Callable[[fx.Node], Any]) -> Any:
    """Run one step with the values that ``value_of`` gives for the nodes it reads."""
    args, kwargs = map_arg((step.node.args, step.node.kwargs), value_of)
    if step.call is functional.interpolate or isinstance(step.call, nn.Upsample):
        args = tuple(map(_units_last, args))
    return step.call(*args, **kwargs)


def _units_last(value: Any) -> Any:
    """Lay maps out with their units side by side.

    So they are enlarged several times as fast on a CPU, to the same bits; what follows keeps the layout, in which
    convolutions of few units are faster too.
    """
    on_cpu = isinstance(value, torch.Tensor) and value.device.type == "cpu" and value.ndim == 4
    return value.contiguous(memory_format=torch.channels_last) if on_cpu else value


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:120]}" if lines else type(error).__name__


def _mark(value: Any) -> Any:
    """Mark a layer's output in the graph, where it is replaced."""
    return value


def _gathered(values: Any) -> Any:
    """The last step of a network that returns a tuple, a list or a dictionary."""
    return values


class _OneInput(nn.Module):
    """A root of our own: the tracer writes its constants here, not into the model."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: torch.Tensor) -> Any:
        return self.network(images)


class _Writable(fx.Proxy):
    """A proxy that records ``x[index] = value``, which torch.fx's own refuses."""

    def __setitem__(self, index: Any, value: Any) -> None:
        self.tracer.create_proxy("call_function", operator.setitem, (self, index, value), {})


class _Tracer(fx.Tracer):
    """Traces a network and marks the outputs of some calls of its layers."""

    def __init__(self, layers: Sequence[tuple[nn.Module, int]], fine: bool) -> None:
        super().__init__(param_shapes_constant=True)
        self.layers, self.fine = layers, fine
        self.calls = {layer: 0 for layer, _ in layers}
        self.marked: dict[tuple[nn.Module, int], fx.Node] = {}

    def proxy(self, node: fx.Node) -> fx.Proxy:
        """Give a node to the network's code, as a value into which it can also write: ``x[:, 0] = 1``."""
        return _Writable(node, self)

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """Say whether a module stays one step: never where a layer is inside it."""
        if any(inner in self.calls for inner in m.modules() if inner is not m):
            return False
        return not self.fine or super().is_leaf_module(m, module_qualified_name)

    def call_module(
        self, m: nn.Module, forward: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """Trace the call of a module; where it is a layer's, its readers read the marked output instead."""
        result = super().call_module(m, forward, args, kwargs)
        if m not in self.calls:
            return result
        call = m, self.calls[m]
        self.calls[m] += 1
        if call not in self.layers:
            return result
        if not isinstance(result, fx.Proxy):
            raise TypeError(f"the layer returns a {type(result).__name__}, not one tensor")
        marked = self.create_proxy("call_function", _mark, (result,), {})
        self.marked[call] = marked.node
        return marked


def _halves(graph: fx.Graph, root: nn.Module, marks: Sequence[fx.Node]) -> Split:
    """Sort the steps that the output needs into those behind the first marked output and the others."""
    result = graph.output_node().args[0]
    if not isinstance(result, fx.Node):
        with graph.inserting_before(graph.output_node()):
            result = graph.call_function(_gathered, (result,))
    needed = _ancestors(result)
    for which, marked in enumerate(marks):
        if marked not in needed:
            raise Independent(which)
    start = marks[0]
    # Behind it is all that reads it, or reads something behind it; the nodes are in the order of the pass.
    behind: set[fx.Node] = set(marks)
    for node in graph.nodes:
        if behind.intersection(node.all_input_nodes):
            behind.add(node)
    steps = [node for node in graph.nodes if node in needed and node.op != "placeholder" and node is not start]
    tail = [node for node in steps if node in behind]
    front = [node for node in steps if node not in behind]
    # Of the front, what the tail reads is kept; so is the layer's own output.
    read = {source for node in tail for source in node.all_input_nodes}
    images = next(iter(graph.nodes))
    crossing = tuple(node for node in [images, *front] if node in read)
    activation = start.all_input_nodes[0]
    kept = {*crossing, activation}
    return Split(
        images,
        activation,
        start,
        tuple(marks[1:]),
        crossing,
        result,
        _steps(front, kept, lambda node: call_in_front(node, root)),
        _steps(tail, {result}, lambda node: call_sparing(node, root)),
    )


def _ancestors(node: fx.Node) -> set[fx.Node]:
    ancestors: set[fx.Node] = set()
    waiting = [node]
    while waiting:
        current = waiting.pop()
        if current not in ancestors:
            ancestors.add(current)
            waiting += current.all_input_nodes
    return ancestors


def _steps(nodes: list[fx.Node], kept: set[fx.Node], callable_of: Callable[[fx.Node], Any]) -> tuple[Step, ...]:
    """Make the steps of one half, each with the values that are not read after it."""
    last = {source: node for node in nodes for source in (node, *node.all_input_nodes)}
    done: dict[fx.Node, list[fx.Node]] = {node: [] for node in nodes}
    for source, node in last.items():
        if source not in kept:
            done[node].append(source)
    return tuple(Step(node, callable_of(node), tuple(done[node])) for node in nodes)
