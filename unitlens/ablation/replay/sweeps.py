"""Ablate every unit of a layer in turn, with as little arithmetic as the steps behind the layer allow."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from unitlens.ablation.replay.cut import Cut, State
from unitlens.ablation.replay.growth import Growth, grow
from unitlens.ablation.replay.nests import Output, by_variant, rebuilt, row_count, tensors
from unitlens.ablation.replay.per_unit import Mixed, PerUnit, Spread, follow, kind_of, units_apart
from unitlens.ablation.replay.splits import Split, Step, Values, apply
from unitlens.errors import UnitlensError
from unitlens.models.passes import evaluating
from unitlens.models.units.space import CHANNELS, UnitSpace

MEMORY = 2**26
"""Bytes that a sweep's batches stay within by default: 64 MiB, which is also about where larger ones stop paying."""

_TILE = 2**25
"""Bytes that one run of the tail works on: larger ones are not faster, and their memory has to be fetched anew."""

_CACHED = 2**22
"""Bytes of outputs that are still in the cache when they are looked at."""

_WORTHWHILE = 128
"""Rows of one image from which on it pays to look for what is 0 in all of them."""


class Swept(NamedTuple):
    """A block of a sweep.

    Attributes
    ----------
    units : range
        The units of the block.
    outputs : Tensor, (len(units), N, ...), nest of these, or ByImage
        The network's outputs with each of them ablated in turn; contiguous along the last dimension.
    """

    units: range
    outputs: Output


def sweep(
    cut: Cut,
    state: State,
    ablated: Tensor | None = None,
    *,
    units: range | None = None,
    memory: int = MEMORY,
    alone: bool = True,
    space: UnitSpace = CHANNELS,
) -> Iterator[Swept]:
    """Ablate every unit of the layer in turn, leaving all others as they are.

    Parameters
    ----------
    cut : Cut
        The network, cut at the layer.
    state : State
        Of N images, from `Cut.front`.
    ablated : Tensor, (N, U, ...), optional
        What each unit becomes, units first, as `UnitSpace.read` returns them and
        `unitlens.ablation.interventions.Replacement.values` computes it; 0 unless said otherwise.
    units : range, optional
        Consecutive units; all of them, unless said otherwise.
    memory : int
        Bytes that a batch may take, as far as one unit in one image fits in; the blocks follow from it.
    alone : bool
        Follow a unit by itself as long as nothing mixes it with others, and add only its own share where a Linear or a
        convolution does (exact, to float rounding). Else the whole tail is computed for every unit.
    space : UnitSpace
        Where the units are in the layer's output.

    Yields
    ------
    Swept
        In the order of the units.

    Raises
    ------
    UnitlensError
        If ``ablated`` is not of the shape of the units' activations.
    """
    activation = state.activation
    before = space.read(activation)
    units = range(space.count(activation)) if units is None else units
    ablated = torch.zeros_like(before) if ablated is None else ablated.to(activation)
    if ablated.shape != before.shape:
        raise UnitlensError(
            f"The ablated activations have shape {tuple(ablated.shape)}; they must have that of {cut.layer}, "
            f"{tuple(before.shape)}."
        )
    if cut.split is None:
        for unit in units:
            places = space.places([unit])
            one = space.write(activation, [unit], before[:, places], ablated[:, places])
            output = cut.back(state, one)
            yield Swept(range(unit, unit + 1), by_variant(output, row_count(output)))
        return
    with evaluating(cut.model):
        start = units_apart(space, activation, before, ablated)
        plan = plan_sweep(cut.split, start, state.rest, cut.sizes, alone=alone)
    size = units_at_once(plan, state.output, memory)
    for first in range(units.start, units.stop, size):
        block = range(first, min(first + size, units.stop))
        with evaluating(cut.model):
            outputs = sweep_block(plan, cut.growths, state.output, block, memory)
        yield Swept(block, outputs)


class SweepPlan(NamedTuple):
    """Which steps behind the layer are computed for every unit, and what is computed once for all of them.

    Attributes
    ----------
    known : dict
        What is computed once for all units, by node.
    steps : tuple of Step
        The steps that are computed for every unit.
    split : Split
        The network in two halves.
    changed : Tensor of bool, (N, units)
        Where ablating a unit changes anything that the steps read.
    row_bytes : int
        Memory that one unit in one image takes while the steps run.
    grid_bytes : int
        Memory that one unit in one image takes before they do.
    """

    known: dict[fx.Node, Any]
    steps: tuple[Step, ...]
    split: Split
    changed: Tensor
    row_bytes: int
    grid_bytes: int


def plan_sweep(
    split: Split, start: PerUnit | Spread, rest: Mapping[fx.Node, Any], sizes: Mapping[fx.Node, int], *, alone: bool
) -> SweepPlan:
    """Compute as much of the tail as serves all units at once, and list the steps that remain for each unit.

    Parameters
    ----------
    split : Split
        The network.
    start : PerUnit or Spread
        The layer's output, with no unit and with every unit ablated; or, of directions, with each of them.
    rest : mapping
        The other values that cross the cut.
    sizes : mapping
        Bytes of each value, per image.
    alone : bool
        Follow units by themselves as far as possible; else the whole tail is computed for every unit.

    Returns
    -------
    SweepPlan
    """
    known: dict[fx.Node, Any] = {**rest, split.start: start}
    steps = []
    # A step whose inputs are known for all units is computed now, for all of them; the others wait for `sweep_block`.
    for step in split.tail:
        reads = step.node.all_input_nodes
        followed = None
        if all(node in known and not isinstance(known[node], Mixed) for node in reads):
            if not any(isinstance(known[node], PerUnit | Spread) for node in reads):
                known[step.node] = apply(step, known.__getitem__)
                continue
            followed = follow(step, known.__getitem__) if alone else None
        if followed is None:
            steps.append(step)
        else:
            known[step.node] = followed
    grids = [node for node, value in known.items() if isinstance(value, Mixed) and value.grid is not None]
    return SweepPlan(
        known,
        tuple(steps),
        split,
        _changed(split, known, steps),
        _row_bytes(steps, sizes),
        sum(sizes[node] for node in grids),
    )


def units_at_once(plan: SweepPlan, output: Output, memory: int) -> int:
    """Return how many units a block should have, so that its outputs are small enough; 1 or more."""
    size = sum(each.nbytes for each in tensors(output))
    return max(1, (memory // 2 if plan.steps else min(memory, _CACHED)) // max(1, size))


def sweep_block(
    plan: SweepPlan, growths: Mapping[fx.Node, Growth], output: Output, units: range, memory: int
) -> Output:
    """Compute the outputs with each of some units ablated in turn.

    Parameters
    ----------
    plan : SweepPlan
        From `plan_sweep`.
    growths : mapping
        How each value grows with the number of images.
    output : Tensor, (N, ...), or nest of these
        The network's output with no unit ablated.
    units : range
        Consecutive units.
    memory : int
        Bytes to stay within, as far as a single unit in a single image does.

    Returns
    -------
    Tensor, (len(units), N, ...), or nest of these
    """
    # Where the tail ends in one linear step, its result for all units and images is the output.
    made, every = plan.known.get(plan.split.output), range(row_count(output))
    if isinstance(made, Mixed) and made.grid is not None:
        return made.grid(units, every)
    # Where ablating a unit changes nothing that the remaining steps read, the output stays as it is; all other pairs of
    # a unit and an image are rows of batches that stay within the memory.
    results = [each.expand(len(units), *each.shape).clone() for each in tensors(output)]
    limit = max(1, min(memory, _TILE) // max(1, plan.row_bytes))
    for group in _parts(every, memory // max(1, plan.grid_bytes * len(units))):
        grids: Values = {}
        for images in _parts(group, limit // len(units)):
            for unit, image in _chosen(plan, units, images, limit):
                rows = _Rows(unit, image, units, group, grids)
                for result, changed in zip(results, _run(plan, growths, rows, len(every)), strict=True):
                    result[unit - units.start, image] = changed
    return rebuilt(output, results)


def _parts(of: range, size: int) -> Iterator[range]:
    """Cut a range into ranges of at most this size, 1 or more."""
    for first in range(of.start, of.stop, max(1, size)):
        yield range(first, min(first + max(1, size), of.stop))


def _chosen(plan: SweepPlan, units: range, images: range, limit: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the units x images in which ablating the unit changes anything, as (units, images), image by image."""
    changed = plan.changed[images.start : images.stop, units.start : units.stop]
    image, unit = changed.nonzero(as_tuple=True)
    for part in _parts(range(len(unit)), limit):
        rows = slice(part.start, part.stop)
        yield units.start + unit[rows], images.start + image[rows]


class _Rows(NamedTuple):
    """Which unit is ablated in which image, row by row, out of which units and images."""

    units: Tensor
    images: Tensor
    among_units: range
    among_images: range
    grids: Values


def _run(plan: SweepPlan, growths: Mapping[fx.Node, Growth], rows: _Rows, count: int) -> list[Tensor]:
    """Compute the output's tensors for some rows."""
    values: Values = {}

    def value_of(node: fx.Node) -> Any:
        if node not in values:
            values[node] = _for_rows(node, plan.known[node], growths.get(node), rows, count)
        return values[node]

    for step in plan.steps:
        if kind_of(step) is nn.Linear and len(step.node.args) == 1:
            values[step.node] = _linear_of_nonzero(step.call, value_of(step.node.all_input_nodes[0]), rows.images)
        else:
            values[step.node] = apply(step, value_of)
        for node in step.done:
            values.pop(node, None)
    return tensors(value_of(plan.split.output))


def _for_rows(node: fx.Node, known: Any, growing: Growth, rows: _Rows, count: int) -> Any:
    """Return a value that is known for all units, for some rows."""
    if isinstance(known, PerUnit | Spread):
        return known.rows(rows.units, rows.images)
    if not isinstance(known, Mixed):
        return grow(known, growing, rows.images, count)
    if known.rows is not None:
        return known.rows(rows.units, rows.images)
    assert known.grid is not None
    if node not in rows.grids:
        rows.grids[node] = known.grid(rows.among_units, rows.among_images)
    return rows.grids[node][rows.units - rows.among_units.start, rows.images - rows.among_images.start]


def _linear_of_nonzero(layer: Any, value: Tensor, images: Tensor) -> Tensor:
    """Apply a Linear, leaving out what is 0 in every row of an image.

    Behind a ReLU that is a large share, and nearly the same whichever unit is ablated.
    """
    lengths = torch.unique_consecutive(images, return_counts=True)[1].tolist()
    if value.ndim != 2 or len(value) != len(images) or min(lengths) < _WORTHWHILE:
        return cast(Tensor, layer(value))
    results = []
    for part in torch.split(value, lengths):
        used = (part != 0).any(0).nonzero()[:, 0]
        if len(used) < 0.75 * layer.in_features:
            weight = layer.weight.index_select(1, used)
            results.append(F.linear(part.index_select(1, used), weight, layer.bias))
        else:
            results.append(layer(part))
    return torch.cat(results) if len(results) > 1 else results[0]


def _changed(split: Split, known: Mapping[fx.Node, Any], steps: list[Step]) -> Tensor:
    """Say where ablating a unit changes anything that is computed for every unit."""
    frontier = {node for step in steps for node in step.node.all_input_nodes} | {split.output}
    sources = [known[node] for node in frontier if node in known]
    sources = [value.source if isinstance(value, Mixed | Spread) else value for value in sources]
    changes = [value.changed() for value in sources if isinstance(value, PerUnit)]
    return torch.stack(changes).any(0)


def _row_bytes(steps: list[Step], sizes: Mapping[fx.Node, int]) -> int:
    """Return how many bytes of one row the steps hold at once, at most."""
    live: dict[fx.Node, int] = {}
    peak = 0
    for step in steps:
        live |= {node: sizes.get(node, 0) for node in (*step.node.all_input_nodes, step.node)}
        peak = max(peak, sum(live.values()))
        for node in step.done:
            live.pop(node, None)
    return peak
