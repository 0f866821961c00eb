"""Scores of units against concepts: pure functions of counts."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from unitlens.errors import UnitlensError, did_you_mean

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


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
        """Share of the mask that holds the concept."""
        return share(self.intersection, self.activated)

    def recall(self) -> Floats:
        """Share of the concept that lies in the mask."""
        return share(self.intersection, self.concept)

    def f1(self) -> Floats:
        """Harmonic mean of precision and recall; the same number as Dice's coefficient."""
        return share(2 * self.intersection, self.activated + self.concept)

    def lift(self) -> Floats:
        """How many times more often they meet than if they were independent."""
        return share(
            self.intersection * self.judged.astype(np.float64), self.activated * self.concept.astype(np.float64)
        )

    def pmi(self) -> Floats:
        """Pointwise mutual information in nats: the logarithm of the lift; minus infinity where they never meet."""
        with np.errstate(divide="ignore"):
            return np.asarray(np.log(self.lift()))

    def iqr(self) -> Floats:
        """Information quality ratio: mutual information over joint entropy, in [0, 1].

        Source: Wijaya, Sarno and Zulaika, Chemometr. Intell. Lab. Syst. 160 (2017).
        """
        both, only = self.intersection, self.activated - self.intersection
        missed, neither = (
            self.concept - self.intersection,
            self.judged - self.activated - self.concept + self.intersection,
        )
        cells = [share(cell, self.judged) for cell in (both, only, missed, neither)]
        a, c = share(self.activated, self.judged), share(self.concept, self.judged)
        joint = sum(_entropy(cell) for cell in cells)
        alone = _entropy(a) + _entropy(1 - a) + _entropy(c) + _entropy(1 - c)
        return share(np.maximum(alone - joint, 0.0), joint)


def _entropy(probability: Floats) -> Floats:
    """-p log p, 0 at 0."""
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
"""Scores by the names that ``score=`` takes."""


def choose(overlap: Overlap, score: Score | None = None) -> Ints:
    """The concept of highest score (IoU, if none is given) among those that the mask meets, (..., U)."""
    return best_met(overlap.intersection, (score or Overlap.iou)(overlap))


def best_met(intersection: Ints | Floats, score: Floats) -> Ints:
    """The concept of highest score, the first of equals, among those with an intersection; 0 where there is none."""
    chosen: Ints = np.where(intersection > 0, score, -np.inf).argmax(-1)
    return chosen


def matches(iou: Floats, category_of: Ints, *, min_iou: float, unique: str = "label") -> npt.NDArray[np.bool_]:
    """Which pairs of unit and concept count as matches, (U, C); unique concepts are the columns with any.

    Parameters
    ----------
    iou : float64 array, (U, C)
    category_of : int64 array, (C,)
        Category of each concept.
    min_iou : float
        A match has a larger IoU.
    unique : {"label", "category"}
        Whether a unit matches its best concept alone, or the best concept of every category (so counted the authors of
        the CVPR 2017 paper).

    Examples
    --------
    >>> iou = np.array([[0.2, 0.1, 0.3]])
    >>> matches(iou, np.array([0, 0, 1]), min_iou=0.04, unique="category")
    array([[ True, False,  True]])
    """
    out = np.zeros(iou.shape, bool)
    groups = [np.arange(iou.shape[1])]
    if unique == "category":
        groups = [np.flatnonzero(category_of == category) for category in np.unique(category_of)]
    for columns in groups:
        best = columns[iou[:, columns].argmax(1)]
        np.put_along_axis(out, best[:, None], True, 1)
    return out & (iou > min_iou)


def score_function(name: str) -> Score:
    """The score of a name.

    Raises
    ------
    UnitlensError
        If there is none of that name.
    """
    if name not in SCORES:
        raise UnitlensError(f"There is no score {name!r}{did_you_mean(name, SCORES)}; there are {', '.join(SCORES)}.")
    return SCORES[name]
