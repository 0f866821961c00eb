"""Every unit of a layer held in turn, for the price of as little arithmetic as the network's tail allows."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, fx

from unitlens.batches import Growth, grow
from unitlens.contributions import Mixed, PerUnit, follow
from unitlens.tracing import Split, Step, apply


class Plan(NamedTuple):
    """What of a tail has to be computed for every unit, and what serves all of them.

    Attributes
    ----------
    known : dict
        What serves all units, by node.
    steps : tuple of Step
        What is computed for every unit.
    split : Split
        The network.
    changed : Tensor of bool, (units, N), or None
        Where holding a unit changes anything that the steps read; None where there are no steps.
    row_bytes : int
        Memory that one unit in one picture takes.
    """

    known: dict[fx.Node, Any]
    steps: tuple[Step, ...]
    split: Split
    changed: Tensor | None
    row_bytes: int


def plan_sweep(
    split: Split, place: PerUnit, rest: Mapping[fx.Node, Any], sizes: Mapping[fx.Node, int], *, alone: bool
) -> Plan:
    """Follow all units at once through a tail, and leave what then remains for each unit.

    Parameters
    ----------
    split : Split
        The network.
    place : PerUnit
        The layer's output, with no unit and with every unit held.
    rest : mapping
        What else crosses the cut.
    sizes : mapping
        Bytes of each value, per picture.
    alone : bool
        Follow units by themselves as far as possible; else the whole tail is computed for every unit.

    Returns
    -------
    Plan
    """
    known: dict[fx.Node, Any] = {**rest, split.place: place}
    steps = []
    for step in split.tail:
        reads = step.node.all_input_nodes
        followed = None
        if all(node in known and not isinstance(known[node], Mixed) for node in reads):
            if not any(isinstance(known[node], PerUnit) for node in reads):
                known[step.node] = apply(step, known.__getitem__)
                continue
            followed = _follow(step, known) if alone else None
        if followed is None:
            steps.append(step)
        else:
            known[step.node] = followed
    return Plan(known, tuple(steps), split, _changed(split, known, steps), _row_bytes(known, steps, sizes))


def _follow(step: Step, known: Mapping[fx.Node, Any]) -> Any:
    return follow(step, known.__getitem__)


def sweep_block(plan: Plan, growths: Mapping[fx.Node, Growth], output: Tensor, block: range, memory: int) -> Tensor:
    """Compute the outputs with each of some units held in turn.

    Parameters
    ----------
    plan : Plan
        From `plan_sweep`.
    growths : mapping
        How each value grows with the number of pictures.
    output : Tensor, (N, ...)
        The network's output with no unit held.
    block : range
        Consecutive units.
    memory : int
        Bytes to stay within, as far as a single unit in a single picture does.

    Returns
    -------
    Tensor, (units of the block, N, ...)
    """
    count, whole = len(output), len(block) * len(output)
    made = plan.known.get(plan.split.output)
    if isinstance(made, Mixed) and made.grid is not None:
        return made.grid(block.start, block.stop)
    every = torch.arange(whole, device=output.device)
    chosen = every if plan.changed is None else plan.changed[block.start : block.stop].flatten().nonzero()[:, 0]
    limit = rows_within(plan, output, memory)
    if len(chosen) == whole <= limit:
        rows = _Rows(block.start + every // count, every % count, block, None)
        return _run(plan, growths, rows, count).reshape(len(block), *output.shape)
    result = output.expand(len(block), *output.shape).clone()
    for begin in range(0, len(chosen), limit):
        part = chosen[begin : begin + limit]
        rows = _Rows(block.start + part // count, part % count, block, part)
        result.flatten(0, 1)[part] = _run(plan, growths, rows, count)
    return result


def rows_within(plan: Plan, output: Tensor, memory: int) -> int:
    """Return how many rows, each a unit in a picture, fit into so many bytes; 1 or more."""
    return max(1, memory // max(1, plan.row_bytes + output[0].nbytes))


class _Rows(NamedTuple):
    """Which unit is held in which picture, row by row; ``chosen`` picks the rows from the block's units x pictures."""

    units: Tensor
    pictures: Tensor
    block: range
    chosen: Tensor | None


def _run(plan: Plan, growths: Mapping[fx.Node, Growth], rows: _Rows, count: int) -> Tensor:
    """Compute the output for some rows."""
    values: dict[fx.Node, Any] = {}

    def value_of(node: fx.Node) -> Any:
        if node not in values:
            values[node] = _for_rows(plan.known[node], growths.get(node), rows, count)
        return values[node]

    for step in plan.steps:
        values[step.node] = apply(step, value_of)
        for node in step.done:
            values.pop(node, None)
    result: Tensor = value_of(plan.split.output)
    return result


def _for_rows(known: Any, how: Growth, rows: _Rows, count: int) -> Any:
    """Give what is known for all units for some rows."""
    if isinstance(known, PerUnit):
        return known.rows(rows.units, rows.pictures)
    if not isinstance(known, Mixed):
        return grow(known, how, rows.pictures, count)
    if known.rows is not None:
        return known.rows(rows.units, rows.pictures)
    assert known.grid is not None
    grid = known.grid(rows.block.start, rows.block.stop).flatten(0, 1)
    return grid if rows.chosen is None else grid.index_select(0, rows.chosen)


def _changed(split: Split, known: Mapping[fx.Node, Any], steps: list[Step]) -> Tensor | None:
    """Say where holding a unit changes anything that is computed for every unit."""
    frontier = {node for step in steps for node in step.node.all_input_nodes} | {split.output}
    sources = [known[node] for node in frontier if node in known]
    sources = [value.source if isinstance(value, Mixed) else value for value in sources]
    changes = [value.changed() for value in sources if isinstance(value, PerUnit)]
    return torch.stack(changes).any(0) if changes else None


def _row_bytes(known: Mapping[fx.Node, Any], steps: list[Step], sizes: Mapping[fx.Node, int]) -> int:
    """Add up what is alive at the worst moment."""
    live: dict[fx.Node, int] = {}
    peak = 0
    for step in steps:
        live |= {node: sizes.get(node, 0) for node in (*step.node.all_input_nodes, step.node)}
        peak = max(peak, sum(live.values()))
        for node in step.done:
            live.pop(node, None)
    return peak
