"""Sets of units that are drawn to compare a set with: random ones of its size, and others that hand on as much."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from unitlens.ablation.estimates import OVERALL, estimate, estimate_overall
from unitlens.ablation.table import LayerUnits, Units, named_units
from unitlens.ablation.tallies import Counted
from unitlens.errors import UnitlensError
from unitlens.stats.scores import Floats, share

if TYPE_CHECKING:
    import pandas as pd

    from unitlens.ablation.activity import Contributions

COLUMNS = {
    "layer": "as in effects.csv",
    "units": "as in effects.csv: the set that is compared",
    "class": "as in effects.csv",
    "measure": "as in effects.csv",
    "kind": "random: sets of as many units, drawn at random; matched: of other units that hand on about as much",
    "draws": "how many such sets",
    "effect": "of the set, as in effects.csv",
    "mean": "mean effect of the drawn sets, measured on the same images",
    "low": "lower end of the band in which a further set lies with the probability `holds`: their 2.5 percentile",
    "high": "its upper end: their 97.5 percentile",
    "holds": "0.95; with fewer than 39 draws the band goes from the smallest to the largest, and holds less",
    "below": "share of the drawn sets whose effect is below that of the set; one that is equal counts half",
    "p_value": "(1 + how many of them have an effect as large or larger, of either sign) / (1 + draws)",
}
"""Name and meaning of every column of ``effects.random_sets.csv``, in its order."""

KINDS = {"random": "drawn at random", "matched": "matched"}
"""The kinds of sets that are drawn, in words."""

DRAWS, FEW_DRAWS = 199, 39
"""How many sets are drawn of each kind; and how many where these are dear, or for each size of a curve.

39 are the fewest of which the smallest and the largest hold a further one with a probability of 95 %.
"""

MOST_PASSES = 10
"""Sets are dear that take more passes of the network than this, for each image."""

LIKE = 1.5
"""Units are alike that differ by this factor at most in what they hand on."""

_NEAREST = 8
"""A matched unit is drawn from all that are alike, and from so many of the nearest at least."""

Drawing = Callable[[Units, Floats, np.random.Generator], Units]


def draw_sets(
    units: LayerUnits, activity: Sequence[Floats], draws: int, *, seed: int
) -> dict[str, tuple[LayerUnits, ...]]:
    """Draw sets to compare a set with.

    Where it is more than half of a layer, what is drawn are the units that are left, and all others are ablated: so the
    sets are the same whether units are given to be ablated or to be kept.

    Parameters
    ----------
    units : tuple of tuple of int
        The units of each layer.
    activity : sequence of float64 arrays, (U,)
        Of every unit of each layer: what it hands on.
    draws : int
        Sets of each kind.
    seed : int

    Returns
    -------
    dict of str to tuple
        For each kind ("random", "matched") sets like ``units``; nothing where they are every unit of every layer.

    Raises
    ------
    UnitlensError
        If the number of draws is below 0.
    """
    if draws < 0:
        raise UnitlensError(f"{draws} sets cannot be drawn: give the number of draws, or 0 for none.")
    if draws == 0 or all(len(of_layer) == len(every) for of_layer, every in zip(units, activity, strict=True)):
        return {}
    rng = np.random.default_rng(seed)
    kinds: dict[str, Drawing] = {"random": at_random, "matched": matched}
    return {
        kind: tuple(
            tuple(_alike(of_layer, every, draw, rng) for of_layer, every in zip(units, activity, strict=True))
            for _ in range(draws)
        )
        for kind, draw in kinds.items()
    }


def at_random(units: Units, activity: Floats, rng: np.random.Generator) -> Units:
    """Draw as many units of a layer, each set of them with the same chance."""
    return tuple(int(unit) for unit in rng.permutation(len(activity))[: len(units)])


def matched(units: Units, activity: Floats, rng: np.random.Generator) -> Units:
    """Draw for each unit another that is like it; where hardly any is, one of the 8 nearest that are in neither set.

    Parameters
    ----------
    units : tuple of int
    activity : float64 array, (U,)
        Of every unit: what it hands on.
    rng : numpy Generator

    Returns
    -------
    tuple of int
        As many, none of them among ``units``; fewer where too few are left.
    """
    free = np.ones(len(activity), dtype=bool)
    free[list(units)] = False
    drawn: list[int] = []
    for unit in units:
        others = np.flatnonzero(free)
        if not len(others):
            break
        alike = others[_alike_to(activity[unit], activity[others])]
        near = alike if len(alike) > _NEAREST else _nearest(others, np.abs(activity[others] - activity[unit]))
        drawn.append(int(rng.choice(near)))
        free[drawn[-1]] = False
    return tuple(drawn)


def unmatched(units: Units, activity: Floats) -> Units:
    """Units of a set for which no other unit of the layer is like them; of more than half of a layer, of those left."""
    units = units if 2 * len(units) <= len(activity) else _others(units, len(activity))
    others = activity[list(_others(units, len(activity)))]
    return tuple(unit for unit in units if not _alike_to(activity[unit], others).any())


def alike_units(unit: int, activity: Floats) -> list[int]:
    """Units that hand on about as much as one; where hardly any do, the 8 nearest."""
    alike = np.flatnonzero(_alike_to(activity[unit], activity))
    near = alike if len(alike) > _NEAREST else _nearest(np.arange(len(activity)), np.abs(activity - activity[unit]))
    return [int(other) for other in near]


def _alike_to(value: float, others: Floats) -> npt.NDArray[np.bool_]:
    return (others * LIKE >= value) & (others <= value * LIKE)


class Band(NamedTuple):
    """Where a further set lies with the probability ``holds``, which is 95 % from 39 draws on; and the mean."""

    low: float
    mean: float
    high: float
    holds: float

    @classmethod
    def of(cls, drawn: Floats) -> "Band":
        """From what was drawn; NaN without any.

        Examples
        --------
        >>> Band.of(np.arange(1.0, 200.0)).holds
        0.95
        >>> round(Band.of(np.arange(20.0)).holds, 3)
        0.905
        """
        if not len(drawn):
            return cls(*[float("nan")] * 4)
        # of n draws, n + 1 gaps are equally likely for a further one
        low, high = np.quantile(drawn, [0.025, 0.975], method="weibull").tolist()
        return cls(low, float(drawn.mean()), high, min(0.95, 1 - 2 / (len(drawn) + 1)))


class Others(NamedTuple):
    """What the other units of a layer come to, for each of U units; all (U, C).

    Of a single unit, every set of as many that could be drawn is known: each of the other units.

    Attributes
    ----------
    mean, low, high : float64 arrays
        Of all others: their mean, and the ends of the band in which 95 % of them lie (of fewer than 39, all).
    matched : float64 array
        The mean of those that hand on about as much (`alike_units`).
    """

    mean: Floats
    low: Floats
    high: Floats
    matched: Floats

    @classmethod
    def of(cls, values: Floats, alike: npt.NDArray[np.bool_]) -> "Others":
        """From what each unit comes to, (U, C), and which others are like it, (U, U); NaN where there are none.

        Examples
        --------
        >>> Others.of(np.array([[1.0], [2.0], [6.0]]), ~np.eye(3, dtype=bool)).mean.ravel().tolist()
        [4.0, 3.5, 1.5]
        """
        others = len(values) - 1
        if not others:
            return cls(*[np.full(values.shape, np.nan)] * 4)
        ordered, rank = np.sort(values, 0), values.argsort(0, kind="stable").argsort(0, kind="stable")

        def quantile(q: float) -> Floats:
            at = min(max(q * (others + 1) - 1, 0), others - 1)
            ends = [np.take_along_axis(ordered, k + (rank <= k), 0) for k in (int(at), min(int(at) + 1, others - 1))]
            return np.asarray(ends[0] + (at - int(at)) * (ends[1] - ends[0]))

        matched = share(alike.astype(float) @ values, alike.sum(1)[:, None])
        return cls(
            (values.sum(0) - values) / others,
            quantile(0.025),
            quantile(0.975),
            np.where((alike.sum(1) > 0)[:, None], matched, np.nan),
        )


def random_set_rows(
    layer: str, units: str, of_set: Counted, drawn: Mapping[str, Counted], names: Sequence[str], measures: Sequence[str]
) -> "pd.DataFrame":
    """Make the table of a set beside those drawn.

    Parameters
    ----------
    layer, units : str
        As they stand in effects.csv.
    of_set : Counted
        Of the one set.
    drawn : mapping of str to Counted
        For each kind, of the sets that were drawn.
    names : sequence of str, K
        Of the outputs.
    measures : sequence of str
        Of each class; for all classes together as in effects.csv.

    Returns
    -------
    pandas.DataFrame
        With the columns `COLUMNS`: a row a kind, measure and class with images.
    """
    import pandas as pd

    seen = np.flatnonzero(of_set.images)
    overall = ["accuracy", *(measure for measure in measures if measure in of_set.sums)]
    rows: list[dict[str, Any]] = []
    for kind, counted in drawn.items():
        for measure in measures:
            effect, others = (estimate(c, measure).columns(seen).effect for c in (of_set, counted))
            for column, output in enumerate(seen.tolist()):
                rows.append(_row(kind, names[output], measure, float(effect[0, column]), others[:, column]))
        for measure in overall:
            effect, others = (estimate_overall(c, measure).effect for c in (of_set, counted))
            rows.append(_row(kind, OVERALL, measure, float(effect[0]), others))
    return pd.DataFrame([{"layer": layer, "units": units, **row} for row in rows], columns=list(COLUMNS))


def _row(kind: str, class_: str, measure: str, effect: float, drawn: Floats) -> dict[str, Any]:
    """One row; draws without a value, such as the precision of a class that is never predicted, are left out."""
    known, nothing = drawn[~np.isnan(drawn)], np.isnan(effect)
    below = float(share((known < effect).sum() + (known == effect).sum() / 2, len(known)))
    as_large = int((np.abs(known) >= abs(effect)).sum())
    return {
        "class": class_,
        "measure": measure,
        "kind": kind,
        "draws": len(known),
        "effect": effect,
        **Band.of(known)._asdict(),
        "below": float("nan") if nothing else below,
        "p_value": float("nan") if nothing else (1 + as_large) / (1 + len(known)),
    }


def _alike(units: Units, activity: Floats, draw: Drawing, rng: np.random.Generator) -> Units:
    if 2 * len(units) <= len(activity):
        return tuple(sorted(draw(units, activity, rng)))
    return _others(draw(_others(units, len(activity)), activity, rng), len(activity))


def _others(units: Units, count: int) -> Units:
    return tuple(sorted(set(range(count)) - set(units)))


def _nearest(others: npt.NDArray[np.int64], distance: Floats) -> npt.NDArray[np.int64]:
    return others[np.argsort(distance, kind="stable")[:_NEAREST]]


def describe_matching(layers: Sequence[str], units: LayerUnits, handed: Sequence["Contributions"]) -> str:
    """What sets are matched in, in words; and the units for which no other is like them."""
    weighted = [each.weighted for each in handed]
    what = "mean activation x outgoing weight" if all(weighted) else "mean activation"
    if any(weighted) and not all(weighted):
        what = "mean activation (x outgoing weight where the next layer's can be read)"
    alone = tuple(unmatched(own, each.values) for own, each in zip(units, handed, strict=True))
    names = named_units(layers, alone)
    if not names:
        return what
    named = ", ".join(map(str, names[:8])) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
    return f"{what} (no unit is like {named}: the nearest take their place)"
