"""Whether units go with their labels more than with the labels of other images: shifted labels, p- and q-values."""

import math
from typing import NamedTuple

import numpy as np

from unitlens.stats.families import false_discovery
from unitlens.stats.scores import Bools, Floats

FEWEST_DRAWS, MOST_DRAWS = 8, 100

_ROUNDING = 1e-12
"""Differences of IoUs that are smaller come from rounding."""


def draws_for(fdr: float) -> int:
    """Choose how often every image is given another image's labels, so that a single unit can be significant.

    With U units and D draws the smallest p-value is 1 / (1 + D U). A unit that reaches it alone has the q-value
    U / (1 + D U), which lies below the false discovery rate if D is at least its inverse.

    Parameters
    ----------
    fdr : float
        The false discovery rate, in (0, 1).

    Returns
    -------
    int
        8 to 100.

    Examples
    --------
    >>> draws_for(0.05)
    20
    """
    return min(MOST_DRAWS, max(FEWEST_DRAWS, math.ceil(1 / fdr)))


class Association(NamedTuple):
    """How units go with their labels, compared with the labels of other images.

    Attributes
    ----------
    chance : float64 array, (U,)
        Mean over draws of the IoU with the labels of other images; NaN without a draw.
    chance_sd : float64 array, (U,)
        Standard deviation of these IoUs; NaN with fewer than two draws.
    p_value, q_value : float64 arrays, (U,)
        NaN for units that take no part.
    least : float64 array, (U,)
        The smallest IoU that would have been significant, the other units being as they are; infinite where none is.
    """

    chance: Floats
    chance_sd: Floats
    p_value: Floats
    q_value: Floats
    least: Floats


def association(value: Floats, drawn: Floats, left_out: Bools, *, fdr: float = 0.05) -> Association:
    """Rank each unit's IoU among those that masks like these reach by chance.

    Parameters
    ----------
    value : float64 array, (U,)
        An IoU of each unit, such as the best one.
    drawn : float64 array, (U, draws)
        The same with the labels of other images.
    left_out : bool array, (U,)
        Units that take no part, as silent ones.
    fdr : float
        False discovery rate, for the least IoU that would have been significant.

    Returns
    -------
    Association
        The p-value is the rank of (IoU - mean of the draws) / their standard deviation among the same number of all
        units and draws of the layer, each draw compared with the unit's other draws; the q-value is Benjamini and
        Hochberg's. With fewer than two draws every p-value is 1.

    References
    ----------
    Benjamini and Hochberg, "Controlling the false discovery rate", J. R. Statist. Soc. B 57 (1995).
    """
    draws, part = drawn.shape[1], ~left_out
    value, drawn = np.asarray(value, np.float64), np.asarray(drawn, np.float64)
    unknown = np.full(len(value), np.nan)
    chance = drawn.mean(1) if draws else unknown
    chance_sd = drawn.std(1, ddof=1) if draws > 1 else unknown
    # Units differ in what they reach by chance and in how much it varies, most of all those that are active in a
    # handful of images: each is compared with its own draws, and what comes of it is alike and one null distribution.
    # A draw is compared with the other draws, as the unit's IoU is not one of its draws. All are taken relative to the
    # first draw, so that draws that are equal differ by exactly 0, and not by how their mean is rounded.
    first = drawn[:, :1] if draws else np.zeros((len(value), 1))
    above_first, drawn_above_first = _without_rounding(value - first[:, 0]), _without_rounding(drawn - first)
    spread, spread_of_others, mean_of_others = _spreads(drawn_above_first, part)
    null = np.sort(((drawn_above_first - mean_of_others) / spread_of_others)[part].ravel())
    z = ((above_first - drawn_above_first.sum(1) / max(draws, 1)) / spread)[part]
    ties = _ROUNDING * (1 + np.abs(z))  # what is equal but for rounding counts as equal
    at_least = len(null) - np.searchsorted(null, z - ties, side="left") if draws > 1 else len(null)
    p_value, q_value, least = unknown.copy(), unknown.copy(), unknown.copy()
    p_value[part] = (1 + at_least) / (1 + len(null))  # the unit itself counts as one of the draws
    q_value[part] = false_discovery(p_value[part])
    significant = max(int((q_value[part] <= fdr).sum()), 1)
    above = int(fdr * significant / max(int(part.sum()), 1) * (1 + len(null)) + 1e-9) - 1  # of the null, at most
    needed = np.inf if above < 0 or not draws else null[-1 - above] if above < len(null) else -np.inf
    least[part] = (chance + needed * spread)[part] if np.isfinite(needed) else needed
    return Association(chance, chance_sd, p_value, q_value, least)


def _without_rounding(difference: Floats) -> Floats:
    """Differences of IoUs, 0 where they come from rounding alone."""
    return np.where(np.abs(difference) < _ROUNDING, 0.0, difference)


def _spreads(drawn: Floats, part: Bools) -> tuple[Floats, Floats, Floats]:
    """How much the draws of each unit vary, (U,), and how much all but one do, with their means, (U, draws) each.

    A few draws may be equal by accident, above all 0. So the variance is that of the unit's draws together with the
    typical one of the layer, the median, which counts as one more draw. With fewer than three draws, differences count
    as they are.
    """
    draws = drawn.shape[1]
    mean_of_others = (drawn.sum(1, keepdims=True) - drawn) / max(draws - 1, 1)
    if draws < 3:
        return np.ones(len(drawn)), np.ones(drawn.shape), mean_of_others
    squares = ((drawn - drawn.mean(1, keepdims=True)) ** 2).sum(1)
    # Leaving out one draw takes its squared distance from all draws' mean away from the sum, D / (D - 1) times.
    of_one = (drawn - drawn.mean(1, keepdims=True)) ** 2 * draws / (draws - 1)
    squares_of_others = np.maximum(squares[:, None] - of_one, 0.0)
    typical = float(np.median(squares[part] / (draws - 1))) if part.any() else 0.0
    typical = typical or float(squares[part].sum() / max(squares[part].size * (draws - 1), 1)) or np.finfo(float).tiny
    spread = np.sqrt((squares + typical) / draws)
    return spread, np.sqrt((squares_of_others + typical) / (draws - 1)), mean_of_others
