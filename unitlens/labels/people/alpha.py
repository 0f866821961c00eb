"""How far people agree beyond chance: Krippendorff's alpha of nominal answers, and its interval. Arithmetic.

References
----------
Krippendorff, "Content Analysis" (4th ed., 2018), chapter 12.
"""

from typing import NamedTuple

import numpy as np

from unitlens.stats.scores import Floats, Ints

_RESAMPLES = 1000

_BLOCK = 1 << 18  # resamples times questions that are in memory together


class Alpha(NamedTuple):
    """Krippendorff's alpha, and the ends of its 95 % interval; NaN where nobody shares a question with another."""

    value: float
    low: float
    high: float


def krippendorff_alpha(chosen: Ints) -> float:
    """Krippendorff's alpha of nominal answers, (raters, questions), -1 where there is none; NaN if it is undefined.

    Examples
    --------
    >>> krippendorff_alpha(np.array([[0, 1, 2, 0], [0, 1, 2, 0]]))
    1.0
    """
    return float(_alpha(*_by_question(chosen), np.ones((1, chosen.shape[1])))[0])


def alpha_interval(chosen: Ints, *, seed: int = 0) -> Alpha:
    """Krippendorff's alpha of the same, and its 95 % interval by the bootstrap over questions that several answered."""
    value = krippendorff_alpha(chosen)
    if np.isnan(value):
        return Alpha(value, np.nan, np.nan)
    counts, disagreement = _by_question(chosen[:, (chosen >= 0).sum(0) > 1])
    rng, questions = np.random.default_rng(seed), len(counts)
    at_once = max(1, _BLOCK // questions)
    found = []
    for first in range(0, _RESAMPLES, at_once):
        drawn = rng.integers(0, questions, (min(at_once, _RESAMPLES - first), questions))
        times = np.stack([np.bincount(row, minlength=questions) for row in drawn]).astype(np.float64)
        found.append(_alpha(counts, disagreement, times))
    low, high = np.nanquantile(np.concatenate(found), [0.025, 0.975])
    return Alpha(value, float(low), float(high))


def _by_question(chosen: Ints) -> tuple[Floats, Floats]:
    """Of each question that several answered, how many chose each place, (questions, places), and their disagreement.

    Others count for nothing.
    """
    places = range(int(chosen.max(initial=-1)) + 1)
    counts = np.stack([(chosen == place).sum(0) for place in places] or [np.zeros(chosen.shape[1])], 1)
    raters = counts.sum(1)
    counts = np.where(raters[:, None] > 1, counts, 0).astype(np.float64)
    return counts, np.where(raters > 1, raters**2 - (counts**2).sum(1), 0) / np.maximum(raters - 1, 1)


def _alpha(counts: Floats, disagreement: Floats, times: Floats) -> Floats:
    """Alpha where each question counts so many times, (resamples, questions)."""
    values, observed = times @ counts, times @ disagreement
    total = values.sum(1)
    expected = total * total - (values**2).sum(1)
    possible = expected > 0
    return np.where(possible, 1 - (total - 1) * observed / np.where(possible, expected, 1), np.nan)
