"""The smallest set of units whose removal changes the prediction of one image: greedy, and by trying all sets."""

from functools import partial
from itertools import combinations, takewhile
from math import comb

import numpy as np
from torch import Tensor

from unitlens.ablation.replay.replayed import Replayed, Variant
from unitlens.explaining.explanation import AblatedSet, Answer, SmallestSet, UnitAnswers
from unitlens.stats.scores import Floats

MOST = 20
"""Sets of so many units at most are looked for."""

RIVALS = 3
"""So many other classes are led to in an order of their own."""

PASSES = 40.0
"""All sets of a size are tried as long as that takes no more than about so many passes of the network."""

SWEEPS = 600
"""And no more than so many replays of every unit: all pairs, of up to so many units."""


def answers(outputs: Tensor, class_: int) -> UnitAnswers:
    """Logit and softmax of a class and the predicted class, each (V,), from outputs (V, K)."""
    values = outputs.double().cpu()
    return UnitAnswers(values[:, class_].numpy(), values.softmax(1)[:, class_].numpy(), values.argmax(1).numpy())


def answer(output: Tensor, class_: int) -> Answer:
    """What one output, (K,), says of a class."""
    logit, probability, prediction = answers(output[None], class_)
    return Answer(float(logit[0]), float(probability[0]), int(prediction[0]))


def ask(replayed: Replayed, sets: list[tuple[int, ...]], class_: int) -> list[AblatedSet]:
    """What the network says of one image with each of some sets of units ablated."""
    found = []
    for _, outputs in replayed.outputs_of([Variant((units,)) for units in sets]):
        found += [answer(output, class_) for output in outputs[:, 0]]
    return [AblatedSet(*pair) for pair in zip(sets, found, strict=True)]


def alone(replayed: Replayed) -> Floats:
    """Outputs of one image with every unit of the layer ablated alone, beside what is ablated already, (U, K)."""
    return np.concatenate([outputs[:, 0].double().cpu().numpy() for _, outputs in replayed.outputs()])


def smallest_set(replayed: Replayed, single: Floats, *, share: float, most: int = MOST) -> SmallestSet:
    """Find the smallest set of units whose removal changes the prediction of one image.

    Greedy sets come first: the unit whose removal brings the predicted class down most beside the best of the others,
    then the next one beside it, and so on; and for each of the three next classes, the units in the order of what each
    alone does between the two. The smallest of these is returned, or a smaller one that trying all sets finds: all of
    one unit, all of two, ..., as long as that takes no more than 40 passes of the network and 600 replays of all units.

    Parameters
    ----------
    replayed : Replayed
        One image.
    single : float64 array, (U, K)
        Outputs with every unit ablated alone.
    share : float
        Which share of a pass a replay takes.
    most : int
        Sets of so many units at most are looked for.

    Returns
    -------
    SmallestSet
    """
    output = replayed.output[0].double().cpu().numpy()
    predicted, units = int(output.argmax()), len(single)
    most = min(most, units)
    best = _greedy(replayed, single, predicted, most)
    for units_in_order in _orders(single, output, predicted):
        limit = len(best) - 1 if best else most
        best = _first_that_changes(replayed, units_in_order[:limit], predicted) or best
    exhausted = 0
    while exhausted + 1 < (len(best) if best else most + 1):
        size = exhausted + 1
        if size > 1 and not _can_try_all(units, size, share=share):
            break
        found = _any_of_size(replayed, single, predicted, size)
        if found:
            best = found
            break
        exhausted = size
    changed = ask(replayed, [best], predicted)[0] if best else None
    return SmallestSet(changed, exhausted, most)


def most_replays(units: int, *, share: float, most: int = MOST) -> int:
    """So many replays `smallest_set` takes at most, with those of every unit alone.

    Examples
    --------
    >>> most_replays(100, share=0.001, most=3)
    10309
    """
    greedy, in_order = units * most, RIVALS * most
    sizes = takewhile(partial(_can_try_all, units, share=share), range(2, most + 1))
    return greedy + in_order + sum(comb(units, size - 1) * units for size in sizes)


def _can_try_all(units: int, size: int, *, share: float) -> bool:
    """Whether all sets of a size are tried, of one unit less each with every unit beside it."""
    sweeps = comb(units, size - 1)
    return sweeps <= SWEEPS and sweeps * units * share <= PASSES


def _lead(outputs: Floats, predicted: int) -> Floats:
    """By how much a class leads the best of the others, (...,), from outputs (..., K)."""
    others = np.delete(outputs, predicted, axis=-1)
    return np.asarray(outputs[..., predicted] - others.max(-1))


def _greedy(replayed: Replayed, single: Floats, predicted: int, most: int) -> tuple[int, ...]:
    """One unit after the other, each the one that costs most of the lead beside those before it; () if none does it."""
    chosen: list[int] = []
    outputs = single
    while len(chosen) < most:
        lead = _lead(outputs, predicted)
        lead[chosen] = np.inf
        chosen.append(int(lead.argmin()))
        if outputs[chosen[-1]].argmax() != predicted:
            return tuple(chosen)
        if len(chosen) < most:
            outputs = alone(replayed.without(chosen))
    return ()


def _orders(single: Floats, output: Floats, predicted: int) -> list[list[int]]:
    """For each of the next classes, units in the order of what each alone does between the two."""
    rivals = [k for k in np.argsort(-output, kind="stable").tolist() if k != predicted][:RIVALS]
    return [np.argsort(single[:, predicted] - single[:, rival], kind="stable").tolist() for rival in rivals]


def _first_that_changes(replayed: Replayed, units: list[int], predicted: int) -> tuple[int, ...]:
    """The first of the sets of the first unit, the first two, ... that changes the prediction; () if none does."""
    sets = [tuple(units[: size + 1]) for size in range(len(units))]
    for ablated in ask(replayed, sets, predicted) if sets else []:
        if ablated.answer.prediction != predicted:
            return ablated.units
    return ()


def _any_of_size(replayed: Replayed, single: Floats, predicted: int, size: int) -> tuple[int, ...]:
    """The set of so many units that changes the prediction most, of all there are; () if none does."""
    best, least = tuple[int, ...](), 0.0
    for first in combinations(range(len(single)), size - 1):
        outputs = alone(replayed.without(first)) if first else single
        start = first[-1] + 1 if first else 0
        lead = _lead(outputs[start:], predicted)
        if len(lead) and lead.min() < least:
            best, least = (*first, start + int(lead.argmin())), float(lead.min())
    return best
