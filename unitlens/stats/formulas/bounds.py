"""The most that the IoU of a formula can become by further steps, from counts that are known without looking.

The intersection of a formula with one more concept lies between bounds that follow from the intersections of any two
(Frechet's inequalities): from them, bounds of its IoU. Mu and Andreas (NeurIPS 2020) search without bounds; La Rosa,
Gilpin and Capobianco (NeurIPS 2023) were the first to prune by quantities of this kind.
"""

import numpy as np

from unitlens.stats.formulas.formula import OPERATORS, Operator
from unitlens.stats.formulas.spaces import Met
from unitlens.stats.scores import Bools, Floats, Ints, share


def extensions(formula: Met, extended: Met, single: Met, operator: Operator) -> Met:
    """How formulas with one more concept meet the mask, (n, D).

    Parameters
    ----------
    formula : Met
        The formulas, (n, 1).
    extended : Met
        Joined by AND with each concept, (n, D).
    single : Met
        The concepts, (D,).
    operator : {"AND", "OR", "AND NOT"}
    """
    if operator == "AND":
        return extended
    if operator == "OR":
        return formula.plus(single).minus(extended)
    return formula.minus(extended)


def shared_with(
    parent: Met, with_parent: Met, other: Met, with_other: Met, joined: Met, single: Met, operator: Operator
) -> tuple[Met, Met]:
    """Bounds of what formulas share with each concept, from what their parents and the concept of their last step do.

    Parameters
    ----------
    parent, with_parent : Met
        The parent of each formula, (n, 1), and what it shares with each concept, (n, D).
    other, with_other : Met
        The concept of the last step, and what it shares with each concept.
    joined : Met
        The formulas, (n, 1).
    single : Met
        The concepts, (D,).
    operator : {"AND", "OR", "AND NOT"}
        Of the last step.

    Returns
    -------
    pair of Met
        Smallest and largest values, (n, D).
    """
    (low_inside, high_inside), (low_outside, high_outside) = (
        _shared_bounds(
            parent[side], with_parent[side], other[side], with_other[side], joined[side], single[side], operator
        )
        for side in (0, 1)
    )
    return Met(low_inside, low_outside), Met(high_inside, high_outside)


def _shared_bounds(
    parent: Ints, with_parent: Ints, other: Ints, with_other: Ints, joined: Ints, single: Ints, operator: Operator
) -> tuple[Ints, Ints]:
    """The same on one side of the mask."""
    if operator == "OR":
        low = np.maximum(with_parent, with_other)
        return low, np.minimum(np.minimum(with_parent + with_other, single), joined)
    left = with_parent + joined - parent  # of the parent's part, no more is lost than was lost altogether
    if operator == "AND":
        low = np.maximum(np.maximum(with_parent + with_other - single, with_other + joined - other), left)
        high = np.minimum(with_parent, with_other)
    else:
        low = np.maximum(with_parent - with_other, left)
        high = np.minimum(np.minimum(with_parent, joined), single - with_other)
    return np.maximum(low, 0), high


def last_step_bound(
    formula: Met, low: Met, high: Met, single: Met, active: int, allowed: dict[Operator, Bools]
) -> Floats:
    """The highest IoU that formulas can have after one more step, (n,).

    Parameters
    ----------
    formula : Met
        (n, 1).
    low, high : Met
        Bounds of what each shares with each concept, (n, D).
    single : Met
        (D,).
    active : int
        Positions of the mask.
    allowed : dict of operator to bool array, (n, D)
        Steps that are possible.
    """
    best = np.zeros(len(low.inside))
    for operator in OPERATORS:
        if operator == "AND":
            inside, outside = high.inside, low.outside
        elif operator == "OR":
            inside = np.minimum(formula.inside + single.inside - low.inside, active)
            outside = formula.outside + single.outside - high.outside
        else:
            inside, outside = formula.inside - low.inside, formula.outside - high.outside
        scores = np.where(allowed[operator], share(inside, active + outside), 0.0)
        best = np.maximum(best, scores.max(1, initial=0.0))
    return best


def rough_bound(formula: Met, largest: Met, active: int, steps: int) -> Floats:
    """A bound of the IoU after so many steps, from the largest concepts alone; of the shape of the formula.

    Parameters
    ----------
    formula : Met
    largest : Met
        The concepts, (D,), each side falling.
    active : int
        Positions of the mask.
    steps : int
    """
    added = [int(largest.inside[:count].sum()) for count in (steps, steps - 1)]
    # Steps by OR alone leave all that lies outside.
    by_or = share(np.minimum(formula.inside + added[0], active), active + formula.outside)
    # With AND, nothing that lies outside need be left, and what lies inside is what one concept holds and ORs add.
    fewer = formula.inside + added[1]
    with_and = share(np.minimum(np.minimum(fewer, int(largest.inside[:1].sum()) + added[1]), active), active)
    # With AND NOT alone, what these concepts hold outside is the most that goes.
    left = np.maximum(formula.outside - int(largest.outside[:steps].sum()), 0)
    with_not = share(np.minimum(fewer, active), active + left)
    return np.maximum(np.maximum(by_or, with_and), with_not)
