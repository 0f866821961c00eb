"""Scores of units for concepts: functions of the counts at the threshold, or of counts at several levels.

Examples
--------
>>> table = Overlap(np.array([20]), np.array([40]), np.array([60]), np.array([100]))
>>> {name: round(float(score(table)[0]), 2) for name, score in SCORES.items()}
{'iou': 0.25, 'precision': 0.5, 'recall': 0.33, 'f1': 0.4, 'dice': 0.4, 'lift': 0.83, 'pmi': -0.18, 'iqr': 0.01}
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from unitlens.errors import UnitlensError, did_you_mean

Ints = npt.NDArray[np.int64]
ShortInts = npt.NDArray[np.int32]
AnyInts = npt.NDArray[np.integer]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


def iou(intersection: npt.ArrayLike, activated: npt.ArrayLike, concept: npt.ArrayLike) -> Floats:
    """Intersection over union; 0 where both are empty.

    Parameters
    ----------
    intersection : array_like of int
        Positions with mask and concept.
    activated : array_like of int
        Positions with mask, where the concept's category is judged.
    concept : array_like of int
        Positions with the concept.

    Returns
    -------
    float64 array
        In [0, 1], of the shape to which the arguments broadcast.

    Examples
    --------
    >>> iou([2, 0], [4, 0], [6, 0])
    array([0.25, 0.  ])
    """
    intersection = np.asarray(intersection)
    return share(intersection, np.asarray(activated) + np.asarray(concept) - intersection)


def share(part: npt.ArrayLike, whole: npt.ArrayLike) -> Floats:
    """Part of whole, 0 where the whole is empty."""
    part, whole = np.asarray(part, np.float64), np.asarray(whole, np.float64)
    return np.asarray(
        np.divide(part, whole, out=np.zeros(np.broadcast_shapes(part.shape, whole.shape)), where=whole != 0)
    )


class Overlap(NamedTuple):
    """The 2 x 2 table of masks and concepts, which broadcast to units x concepts.

    Attributes
    ----------
    intersection, activated, concept, judged : arrays of whole numbers
        Positions with both, with mask, with concept, and in all; each over what is judged for the category.
    """

    intersection: Ints | Floats
    activated: Ints | Floats
    concept: Ints | Floats
    judged: Ints | Floats

    def iou(self) -> Floats:
        """Intersection over union."""
        return iou(self.intersection, self.activated, self.concept)

    def precision(self) -> Floats:
        """Share of the mask that lies in the concept."""
        return share(self.intersection, self.activated)

    def recall(self) -> Floats:
        """Share of the concept that lies in the mask."""
        return share(self.intersection, self.concept)

    def f1(self) -> Floats:
        """Harmonic mean of precision and recall; the same number as Dice's coefficient."""
        return share(2 * self.intersection, self.activated + self.concept)

    def lift(self) -> Floats:
        """How many times more often mask and concept meet than if they were independent."""
        return share(
            self.intersection * self.judged.astype(np.float64), self.activated * self.concept.astype(np.float64)
        )

    def pmi(self) -> Floats:
        """Pointwise mutual information in nats: the logarithm of the lift; minus infinity without intersection."""
        with np.errstate(divide="ignore"):
            return np.asarray(np.log(self.lift()))

    def iqr(self) -> Floats:
        """Information quality ratio: mutual information over joint entropy, in [0, 1].

        Source: Wijaya, Sarno and Zulaika, Chemometr. Intell. Lab. Syst. 160 (2017).
        """
        mask_only = self.activated - self.intersection
        concept_only = self.concept - self.intersection
        neither = self.judged - self.activated - self.concept + self.intersection
        cells = (self.intersection, mask_only, concept_only, neither)
        joint = sum(_entropy(share(cell, self.judged)) for cell in cells)
        mask, concept = share(self.activated, self.judged), share(self.concept, self.judged)
        marginal = _entropy(mask) + _entropy(1 - mask) + _entropy(concept) + _entropy(1 - concept)
        return share(np.maximum(marginal - joint, 0.0), joint)  # rounding may leave a little less than 0


def _entropy(probability: Floats) -> Floats:
    """Compute -p log p, which is 0 at 0."""
    safe = np.where(probability > 0, probability, 1.0)
    return np.asarray(-safe * np.log(safe))


Score = Callable[[Overlap], Floats]

SCORES: Mapping[str, Score] = {
    "iou": Overlap.iou,
    "precision": Overlap.precision,
    "recall": Overlap.recall,
    "f1": Overlap.f1,
    "dice": Overlap.f1,
    "lift": Overlap.lift,
    "pmi": Overlap.pmi,
    "iqr": Overlap.iqr,
}
"""Scores at the threshold, by the names that ``score=`` takes."""


def choose(overlap: Overlap, score: Score | None = None) -> Ints:
    """Choose the concept of highest score (by default IoU) among those that the mask meets, (..., U)."""
    return best_met(overlap.intersection, (score or Overlap.iou)(overlap))


def best_met(intersection: Ints | Floats, score: Floats) -> Ints:
    """Choose the concept of highest score, the first of equals, among those with an intersection; 0 without any."""
    chosen: Ints = np.where(intersection > 0, score, -np.inf).argmax(-1)
    return chosen


def matches(iou: Floats, category_of: Ints, *, min_iou: float, unique: str = "unit") -> Bools:
    """Find the pairs of unit and concept that count as matches, (U, C); unique concepts are the columns with any.

    Parameters
    ----------
    iou : float64 array, (U, C)
    category_of : int64 array, (C,)
        Category of each concept.
    min_iou : float
        A match has a larger IoU.
    unique : {"unit", "category"}
        Whether a unit matches its best concept alone, or the best concept of every category (so counted the authors of
        the CVPR 2017 paper).

    Examples
    --------
    >>> iou = np.array([[0.2, 0.1, 0.3]])
    >>> matches(iou, np.array([0, 0, 1]), min_iou=0.04, unique="category")
    array([[ True, False,  True]])
    """
    out = np.zeros(iou.shape, bool)
    groups = columns_by_category(category_of) if unique == "category" else [np.arange(iou.shape[1])]
    for columns in groups:
        best = columns[iou[:, columns].argmax(1)]
        np.put_along_axis(out, best[:, None], True, 1)
    return out & (iou > min_iou)


def columns_by_category(category_of: Ints) -> list[Ints]:
    """Columns of the concepts of each category."""
    return [np.flatnonzero(category_of == category) for category in np.unique(category_of)]


def score_function(name: str) -> Score:
    """Look up a score at the threshold by its name.

    Raises
    ------
    UnitlensError
        If there is none of that name.
    """
    if name not in SCORES:
        raise UnitlensError(f"There is no score {name!r}{did_you_mean(name, SCORES)}; there are {', '.join(SCORES)}.")
    return SCORES[name]


QUANTILES = (
    0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.07, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9,
    0.95, 0.98, 0.99, 0.995,
)  # fmt: skip
"""Shares of all positions that lie above the levels; those of less than one position are left out.

The last four are for units that are not rectified: in a single lowest tenth, far negative values would count as its
mean.
"""


class Levels(NamedTuple):
    """Counts of units and concepts in the intervals between levels of activation, the highest interval first.

    Attributes
    ----------
    intersection, judged : int64 arrays, (U, J, C)
        Positions in each interval that lie in the concept, and that are judged for its category.
    mean, square : float64 arrays, (U, J)
        Approximate mean of the unit's values in each interval, and of their squares.
    """

    intersection: Ints
    judged: Ints
    mean: Floats
    square: Floats

    def __add__(self, other: "Levels") -> "Levels":  # type: ignore[override]  # counts add; they are not appended
        """Counts of two sets of images at the same levels."""
        return self._replace(intersection=self.intersection + other.intersection, judged=self.judged + other.judged)


def auroc(levels: Levels) -> Floats:
    """Area under the curve of recall against the share of positions without the concept that are active, (U, C).

    It is the probability that the unit is higher at a position with the concept than at one without. Between levels the
    curve is straight, as if the order within an interval were random. 0.5 where no position has the concept, or all.
    """
    present, absent = levels.intersection, levels.judged - levels.intersection
    # A position without the concept is ranked below all positions with it in higher intervals, and half of its own.
    present_above = np.cumsum(present, 1) - present / 2
    pairs = present.sum(1) * absent.sum(1, dtype=np.float64)
    return np.where(pairs > 0, share((present_above * absent).sum(1), pairs), 0.5)


def auroc_error(levels: Levels) -> Floats:
    """Bound the error of `auroc` for want of levels, (U, C): every pair within an interval may be in either order."""
    present, absent = levels.intersection, levels.judged - levels.intersection
    pairs = present.sum(1) * absent.sum(1, dtype=np.float64)
    return share((present * absent.astype(np.float64)).sum(1) / 2, pairs)


def auprc(levels: Levels) -> Floats:
    """Area under the precision-recall curve, (U, C); 0 where no position has the concept.

    Between two levels the true and the false positives grow in proportion, as if the order within an interval were
    random; precision then follows a curve, not a straight line, whose area is known in closed form.

    References
    ----------
    Davis and Goadrich, "The relationship between precision-recall and ROC curves", ICML 2006.
    """
    present, judged = levels.intersection.astype(np.float64), levels.judged.astype(np.float64)
    active = np.cumsum(judged, 1)  # positions above the lower end of the interval
    active_above = active - judged  # and above its upper end
    hits_above = np.cumsum(present, 1) - present
    slope = share(present, judged)  # true positives per active position, within the interval
    # With x active positions, from active_above to active: precision = (hits_above + slope * (x - active_above)) / x,
    # and recall grows by slope / total per position. The area is the integral of precision over recall.
    log_growth = np.log(np.divide(active, active_above, out=np.ones_like(active), where=active_above > 0))
    area = slope * (slope * judged + (hits_above - slope * active_above) * log_growth)
    return share(area.sum(1), present.sum(1))


def correlation(levels: Levels) -> Floats:
    """Pearson's correlation of the activation with the concept's presence, over judged positions, (U, C).

    Within an interval every position counts with the interval's mean.
    """
    present, judged = levels.intersection.astype(np.float64), levels.judged.astype(np.float64)
    total = judged.sum(1)

    def mean_over(counts: Floats, value: Floats) -> Floats:
        """Mean of what the intervals have, over all judged positions."""
        return share(np.einsum("uj,ujc->uc", value, counts), total)

    mean, square = mean_over(judged, levels.mean), mean_over(judged, levels.square)
    frequency = share(present.sum(1), total)  # of the concept
    covariance = mean_over(present, levels.mean) - mean * frequency
    deviations = np.sqrt(np.maximum(square - mean**2, 0.0) * frequency * (1 - frequency))
    return np.clip(share(covariance, deviations), -1.0, 1.0)


LevelScore = Callable[[Levels], Floats]

LEVEL_SCORES: Mapping[str, LevelScore] = {"auprc": auprc, "auroc": auroc, "correlation": correlation}
"""Scores that need counts at several levels, by the names that ``score=`` takes."""
