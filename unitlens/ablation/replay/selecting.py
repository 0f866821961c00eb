"""Compute only the positions that are read, of what treats every position by itself.

A vision transformer normalises all tokens, and then reads the first. Picked before, it is the only one that has to be
normalised; so it is with all that treats tokens alone, back to the last attention.
"""

import operator
from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import fx, nn

from unitlens.ablation.replay.inplace import changed_value
from unitlens.ablation.replay.per_unit import ELEMENTWISE
from unitlens.ablation.replay.splits import Split, halves

Shapes = Mapping[fx.Node, Any]
"""The outline of each value; its shape where it is a tensor."""

_LAST_DIMENSION = (nn.LayerNorm, nn.RMSNorm, nn.Linear, F.layer_norm, F.rms_norm, F.linear)
_ELEMENTWISE = frozenset(ELEMENTWISE)


def selects(split: Split) -> bool:
    """Whether any step of the tail picks one position of what another step of the tail makes."""
    behind = {step.node for step in split.tail}
    return any(_position(node) is not None and node.args[0] in behind for node in behind)


def select_early(split: Split, shapes: Shapes) -> Split:
    """Pick positions as early as possible, where nothing else reads the others.

    Parameters
    ----------
    split : Split
        Its graph is changed in place.
    shapes : mapping
        Of the values of a pass.

    Returns
    -------
    Split
    """
    graph, known = split.start.graph, dict(shapes)
    behind = {step.node for step in split.tail} - {split.start, *split.later}
    # Readers come before what they read: once a step reads one position of a value, that may be all that is read of it.
    for node in reversed(list(graph.nodes)):
        readers = [reader for reader in node.users if reader in behind or reader.op == "output"]
        positions = {_position(reader) for reader in readers}
        if node not in behind or len(positions) != 1 or None in positions:
            continue
        narrow = _inputs(node, split.root, known)
        if narrow is None:
            continue
        with graph.inserting_before(node):
            picked = {source: graph.call_function(operator.getitem, (source, readers[0].args[1])) for source in narrow}
            fresh = graph.node_copy(node, partial(_instead, picked))
        known[fresh] = _without_second(known[node])
        known |= {pick: _without_second(known[source]) for source, pick in picked.items()}
        behind |= {fresh, *picked.values()}
        for reader in readers:
            reader.replace_all_uses_with(fresh)
            graph.erase_node(reader)
        behind.discard(node)
    return halves(graph, split.root, (split.start, *split.later))


def _instead(others: Mapping[fx.Node, fx.Node], node: fx.Node) -> fx.Node:
    return others.get(node, node)


def _position(node: fx.Node) -> int | None:
    """Return which position along dimension 1 a step picks of a tensor, all else staying; None: it does not."""
    index = node.args[1] if node.op == "call_function" and node.target is operator.getitem else None
    if not isinstance(index, tuple) or len(index) < 2:
        return None
    images, position, *others = index
    is_one = type(position) is int and all(part == slice(None) for part in (images, *others))
    return position if is_one else None


def _inputs(node: fx.Node, root: nn.Module, shapes: Shapes) -> list[fx.Node] | None:
    """Return which inputs of a step can be picked from before it; None if it does not treat positions alone."""
    shape = shapes.get(node)
    if not isinstance(shape, torch.Size) or len(shape) < 3 or changed_value(node, root) is not None:
        return None
    kind = _kind(node, root)
    if kind in _LAST_DIMENSION:
        return _first_input(node, root, shape, shapes)
    if kind not in _ELEMENTWISE:
        return None
    narrow = []
    for source in node.all_input_nodes:
        given = shapes.get(source)
        if not isinstance(given, torch.Size):
            return None
        if given[1:2] == shape[1:2] and len(given) == len(shape):
            narrow.append(source)
        elif len(given) > len(shape) - 2:  # broadcast over the positions, or otherwise
            return None
    return narrow


def _first_input(node: fx.Node, root: nn.Module, shape: torch.Size, shapes: Shapes) -> list[fx.Node] | None:
    """Return the input of a step along the last dimension; None if it works along more dimensions than that."""
    source, *others = node.args
    given = shapes.get(source) if isinstance(source, fx.Node) else None
    if not isinstance(source, fx.Node) or not isinstance(given, torch.Size) or given[:-1] != shape[:-1]:
        return None
    if node.op == "call_module":
        normalised = getattr(root.get_submodule(str(node.target)), "normalized_shape", (0,))
    else:
        normalised = (0,) if node.target is F.linear else others[0] if others else ()
    return [source] if isinstance(normalised, tuple | list) and len(normalised) == 1 else None


def _kind(node: fx.Node, root: nn.Module) -> Any:
    """What tells a step's arithmetic, as `unitlens.ablation.replay.per_unit.kind_of` does of a step."""
    if node.op != "call_module":
        return node.target
    module = root.get_submodule(str(node.target))
    return None if module._forward_hooks or module._forward_pre_hooks or module.training else type(module)


def _without_second(shape: torch.Size) -> torch.Size:
    return torch.Size((*shape[:1], *shape[2:]))
