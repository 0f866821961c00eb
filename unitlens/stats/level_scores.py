"""Scores over all levels of activation at once: area under the precision-recall and ROC curves, and correlation."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from unitlens.stats.scores import Floats, Ints, share

QUANTILES = (
    *(0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.07, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9),
    *(0.95, 0.98, 0.99, 0.995),
)
"""Shares of all positions that lie above the levels; those that fewer than one position would reach are left out.

The last four are for units that are not rectified: in one lowest tenth, far negative values would count as its mean.
"""


class Levels(NamedTuple):
    """Counts of units and concepts between levels of activation, the highest interval first; they add.

    Attributes
    ----------
    intersection, judged : int64 arrays, (U, J, C)
        Positions in each interval that hold the concept, and that are judged for its category.
    mean, square : float64 arrays, (U, J)
        About the mean of the unit's values in each interval, and of their squares.
    """

    intersection: Ints
    judged: Ints
    mean: Floats
    square: Floats

    def __add__(self, other: "Levels") -> "Levels":  # type: ignore[override]  # counts add; they are not appended
        """Counts of two sets of images at the same levels."""
        return self._replace(intersection=self.intersection + other.intersection, judged=self.judged + other.judged)


def auroc(levels: Levels) -> Floats:
    """Area under the curve of recall against the share of other positions that are active, (U, C).

    The probability that the unit is higher where the concept is than where it is not; straight lines between the
    levels, as if the order within an interval were random. 0.5 where a concept is nowhere, or everywhere.
    """
    there, elsewhere = levels.intersection, levels.judged - levels.intersection
    before = np.cumsum(there, 1) - there / 2
    pairs = there.sum(1) * elsewhere.sum(1, dtype=np.float64)
    return np.where(pairs > 0, share((before * elsewhere).sum(1), pairs), 0.5)


def auroc_error(levels: Levels) -> Floats:
    """How far `auroc` can be off for want of levels, (U, C): every pair within an interval may be in either order."""
    there, elsewhere = levels.intersection, levels.judged - levels.intersection
    return share((there * elsewhere.astype(np.float64)).sum(1) / 2, there.sum(1) * elsewhere.sum(1, dtype=np.float64))


def auprc(levels: Levels) -> Floats:
    """Area under the precision-recall curve, (U, C); 0 where a concept is nowhere.

    Between two levels the true and the false positives grow in proportion, as if the order within an interval were
    random; precision then follows a curve, not a straight line, whose area is known in closed form.

    Source: Davis and Goadrich, "The relationship between precision-recall and ROC curves", ICML 2006.
    """
    there, judged = levels.intersection.astype(np.float64), levels.judged.astype(np.float64)
    active = np.cumsum(judged, 1)
    before = active - judged  # active positions above the interval
    hits_before = np.cumsum(there, 1) - there
    slope = share(there, judged)  # of true positives per active position
    # With x active positions from `before` to `active`: precision = (hits_before + slope * (x - before)) / x, and
    # recall grows by slope / total per position.
    growth = np.log(np.divide(active, before, out=np.ones_like(active), where=before > 0))
    area = slope * (slope * judged + (hits_before - slope * before) * growth)
    return share(area.sum(1), there.sum(1))


def correlation(levels: Levels) -> Floats:
    """Pearson's correlation of the activation with the concept's presence, over judged positions, (U, C).

    Within an interval every position counts with the interval's mean.
    """
    there, judged = levels.intersection.astype(np.float64), levels.judged.astype(np.float64)
    total, concept = judged.sum(1), there.sum(1)
    mean, value, square = (
        share(np.einsum("uj,ujc->uc", of, counts), size)
        for of, counts, size in (
            (levels.mean, there, total),
            (levels.mean, judged, total),
            (levels.square, judged, total),
        )
    )
    part = share(concept, total)
    spread = np.sqrt(np.maximum(square - value**2, 0.0) * part * (1 - part))
    return np.clip(share(mean - value * part, spread), -1.0, 1.0)


LevelScore = Callable[[Levels], Floats]

LEVEL_SCORES: Mapping[str, LevelScore] = {"auprc": auprc, "auroc": auroc, "correlation": correlation}
"""Scores that need counts at several levels, by the names that ``score=`` takes."""
