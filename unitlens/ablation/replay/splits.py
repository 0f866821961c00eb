"""A network as a list of steps in two halves, split at the output of a layer."""

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
    """The network cannot be split into steps; the message says why."""


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
    root : nn.Module
        The module that the steps' graph is of.
    """

    images: fx.Node
    activation: fx.Node
    start: fx.Node
    later: tuple[fx.Node, ...]
    crossing: tuple[fx.Node, ...]
    output: fx.Node
    front: tuple[Step, ...]
    tail: tuple[Step, ...]
    root: nn.Module


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


def mark(value: Any) -> Any:
    """Mark a layer's output in the graph, where it is replaced."""
    return value


def _gathered(values: Any) -> Any:
    """The last step of a network that returns a tuple, a list or a dictionary."""
    return values


class OneInput(nn.Module):
    """A root of our own: constants of a graph are written here, not into the model."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: torch.Tensor) -> Any:
        """What the network returns."""
        return self.network(images)


def split_graph(graph: fx.Graph, root: nn.Module, marks: Sequence[fx.Node]) -> Split:
    """Sort the steps that the output needs into those behind the first marked output and the others.

    Parameters
    ----------
    graph : fx.Graph
        The network's steps, in the order of a pass. Changed: no step is left that another one's writing would spoil.
    root : OneInput
        The module that the graph is of.
    marks : sequence of fx.Node
        Where the layers' outputs were marked by `mark`.

    Returns
    -------
    Split

    Raises
    ------
    Independent
        Where the output does not depend on what a layer returns.
    """
    read_changed_values(graph, root)
    result = graph.output_node().args[0]
    if not isinstance(result, fx.Node):
        with graph.inserting_before(graph.output_node()):
            graph.output_node().args = (graph.call_function(_gathered, (result,)),)
    return halves(graph, root, marks)


def halves(graph: fx.Graph, root: nn.Module, marks: Sequence[fx.Node]) -> Split:
    """Sort the steps of a graph in which no step spoils a value, and which ends in one; as `split_graph` does."""
    result = graph.output_node().args[0]
    assert isinstance(result, fx.Node)
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
        root,
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
