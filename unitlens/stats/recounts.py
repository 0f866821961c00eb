"""Detectors and unique concepts counted again on halves of the folds: how far such numbers are from chance to chance.

How many units lie above a level is no smooth function of the counts: left out one at a time, 32 folds move almost no
unit across the level, and the few that cross weigh far too much. Leaving out half of the folds (the delete-d jackknife)
moves as many as another set of images would.
Source: Shao and Wu, "A general theory for jackknife variance estimation", Ann. Statist. 17 (1989).
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from unitlens.stats.counts import Counts
from unitlens.stats.evidence import FEWEST_FOLDS, FoldTable
from unitlens.stats.scores import Floats, Ints, Score, choose

HALVES = 50
"""Halves of the folds that are tried, each with what it leaves out."""

_AT_ONCE = 1 << 22  # numbers of one intermediate array

Flags = npt.NDArray[np.bool_]


class Recount(NamedTuple):
    """How many units have each concept as their label above the least IoU, on all folds and on halves of them.

    Attributes
    ----------
    whole : int64 array, (C,)
        On all folds.
    halves : int64 array, (2 * HALVES, C)
        On each half.
    matched, matched_halves : bool arrays, (C,) and (2 * HALVES, C)
        Which concepts count as unique ones: those that are a label, or the best of their category for some unit.
    folds : int
        How many are filled.
    """

    whole: Ints
    halves: Ints
    matched: Flags
    matched_halves: Flags
    folds: int


class Estimate(NamedTuple):
    """A number and its 95 % interval, NaN below 8 filled folds."""

    value: float
    low: float
    high: float

    @property
    def told_apart(self) -> bool:
        """Whether the interval leaves out 0."""
        return self.low > 0 or self.high < 0


def filled_folds(counts: Counts) -> Ints:
    """The numbers of the folds that hold images, (F,)."""
    return np.flatnonzero(counts.judged_by_fold.any(1) | counts.activated_by_fold.any((0, 2)))


def fold_table(counts: Counts, units: slice, folds: Ints) -> FoldTable:
    """Counts of some units by fold; folds are those of `filled_folds`."""
    intersection, activated = counts.by_fold(units)
    judged = counts.judged_by_fold[folds][:, counts.category_of]
    return FoldTable(intersection[:, folds], activated[:, folds], counts.concept_by_fold[folds], judged, folds)


def halves_of(folds: Ints, *, seed: int = 0) -> Floats:
    """Halves of the folds as weights, each followed by what it leaves out, (2 * HALVES, F).

    The same folds are halved in the same way, whichever run they are of: runs on the same images are compared on
    the same halves.
    """
    rng = np.random.default_rng([seed, len(folds)])
    chosen = np.stack([rng.permutation(len(folds)) < len(folds) // 2 for _ in range(HALVES)])
    return np.concatenate([chosen, ~chosen]).astype(np.float64)


def recount(
    counts: Counts,
    eligible: Flags,
    *,
    score: Score | None,
    min_iou: float,
    label: Ints | None = None,
    unique: str = "label",
    seed: int = 0,
) -> Recount:
    """Choose labels again on halves of the folds, and count units by label.

    Parameters
    ----------
    counts : Counts
        U units, C concepts.
    eligible : bool array, (U,)
        Units that may count.
    score : callable or None
        What chooses the label; None: each unit keeps the one in ``label``.
    min_iou : float
        A unit counts where the IoU with its label is larger.
    label : int64 array, (U,), optional
        Labels that are kept.
    unique : {"label", "category"}
        Whether unique concepts are labels, or the best concepts of every category; see `unitlens.stats.scores.matches`.
    seed : int
        Of the halves.

    Returns
    -------
    Recount
    """
    folds = filled_folds(counts)
    weights = np.concatenate([np.ones((1, len(folds))), halves_of(folds, seed=seed)])
    units, _, concepts = counts.shape
    found = np.zeros((len(weights), concepts), np.int64)
    matched = np.zeros((len(weights), concepts), bool)
    step = max(1, _AT_ONCE // (len(weights) * max(concepts, 1)))
    for first in range(0, units, step):
        some = slice(first, min(first + step, units))
        overlap = fold_table(counts, some, folds).over(weights)
        kept = np.zeros(some.stop - some.start, np.int64) if label is None else label[some]
        iou = overlap.iou()
        chosen = np.broadcast_to(kept, iou.shape[:2]) if score is None else choose(overlap, score)
        row, own = _above(iou, chosen, eligible[some], min_iou)
        np.add.at(found, (row, own), 1)
        for columns in _groups(counts.category_of, unique):
            matched[_above(iou, columns[iou[:, :, columns].argmax(2)], eligible[some], min_iou)] = True
    matched = matched if unique == "category" else found > 0
    return Recount(found[0], found[1:], matched[0], matched[1:], len(folds))


def _above(iou: Floats, chosen: Ints, eligible: Flags, min_iou: float) -> tuple[Ints, Ints]:
    """Rows and concepts of the units that count, one each: IoU is (rows, U, C), the concept of each (rows, U)."""
    above = (np.take_along_axis(iou, chosen[:, :, None], 2)[:, :, 0] > min_iou) & eligible
    return np.nonzero(above)[0], chosen[above]


def _groups(category_of: Ints, unique: str) -> list[Ints]:
    if unique != "category":
        return []
    return [np.flatnonzero(category_of == category) for category in np.unique(category_of)]


def half_width(halves: Floats, folds: int) -> Floats:
    """Half of the 95 % interval of a number, from what it is on halves of the folds.

    Parameters
    ----------
    halves : float64 array, (2 * HALVES, ...)
        The number on each half.
    folds : int
        How many folds there are.

    Returns
    -------
    float64 array, (...)
        Student's t with ``folds - 1`` degrees of freedom times the standard error; NaN with fewer than 8 folds.
    """
    from scipy.special import stdtrit

    if folds < FEWEST_FOLDS:
        return np.full(np.shape(halves)[1:], np.nan)
    # The delete-d jackknife multiplies by (n - d) / d, which is 1 for halves.
    return np.asarray(stdtrit(folds - 1, 0.975) * np.std(halves, axis=0))


def estimate(value: float, halves: Floats, folds: int, *, most: float) -> Estimate:
    """A count with its interval, which stays between 0 and ``most``."""
    half = float(half_width(halves, folds))
    return Estimate(value, max(value - half, 0.0), min(value + half, most)) if half == half else _unknown(value)


def difference(one: "Series", other: "Series", *, paired: bool) -> Estimate:
    """How much larger a number is in another run, with its interval.

    Parameters
    ----------
    one, other : Series
    paired : bool
        Whether both are of the same images: chance that both share then drops out.

    Returns
    -------
    Estimate
    """
    value = other.value - one.value
    if paired:
        half = float(half_width(other.halves - one.halves, one.folds))
    else:
        widths = [float(half_width(series.halves, series.folds)) for series in (one, other)]
        half = float(np.hypot(widths[0], widths[1]))
    return Estimate(value, value - half, value + half)


class Series(NamedTuple):
    """A number on all folds and on halves of them."""

    value: float
    halves: Floats
    folds: int


def _unknown(value: float) -> Estimate:
    return Estimate(value, float("nan"), float("nan"))


def detectors_of(found: Recount, concepts: Flags) -> Series:
    """Units whose label is among some concepts."""
    return Series(float(found.whole[concepts].sum()), found.halves[:, concepts].sum(1).astype(float), found.folds)


def unique_of(found: Recount, concepts: Flags) -> Series:
    """How many of some concepts count as unique ones."""
    whole, halves = found.matched[concepts], found.matched_halves[:, concepts]
    return Series(float(whole.sum()), halves.sum(1).astype(float), found.folds)
