"""Detectors and unique concepts counted again on random halves of the folds: how much such numbers vary by chance.

How many units lie above a level is not a smooth function of the counts: left out one at a time, 32 folds move almost no
unit across the level, and the few that cross weigh far too much. Leaving out half of the folds
(`unitlens.stats.folds.half_sample_half_width`) moves as many as another set of images would.
"""

from typing import NamedTuple

import numpy as np

from unitlens.stats.blocks import in_blocks
from unitlens.stats.counts import Counts
from unitlens.stats.folds import filled_folds, fold_table, half_sample_half_width, random_halves
from unitlens.stats.scores import Bools, Floats, Ints, Score, choose, columns_by_category

_AT_ONCE = 1 << 22  # numbers of one intermediate array


class Interval(NamedTuple):
    """A number and the ends of its 95 % interval, which are NaN below 8 filled folds."""

    value: float
    low: float
    high: float


class Recount(NamedTuple):
    """A number on all folds, and on each of the random halves of the folds.

    Attributes
    ----------
    value : float
        On all folds.
    halves : float64 array, (2 * HALVES,)
        On each half.
    folds : int
        How many folds are filled.
    """

    value: float
    halves: Floats
    folds: int

    @property
    def half_width(self) -> float:
        """Half of its 95 % interval."""
        return float(half_sample_half_width(self.halves, self.folds))

    def interval(self, *, most: float) -> Interval:
        """The number with its interval, which stays between 0 and ``most``."""
        half = self.half_width
        if np.isnan(half):
            return Interval(self.value, half, half)
        return Interval(self.value, max(self.value - half, 0.0), min(self.value + half, most))


class ConceptCounts(NamedTuple):
    """How many units are matched to each concept above the least IoU, on all folds and on halves of them.

    Attributes
    ----------
    whole : int64 array, (C,)
        On all folds.
    halves : int64 array, (2 * HALVES, C)
        On each half.
    unique, unique_halves : bool arrays, (C,) and (2 * HALVES, C)
        Which concepts count as unique ones: those of units, or the best of their category for a unit.
    folds : int
        How many folds are filled.
    """

    whole: Ints
    halves: Ints
    unique: Bools
    unique_halves: Bools
    folds: int

    def units(self, concepts: Bools) -> Recount:
        """How many units are matched to one of the given concepts, (C,)."""
        return Recount(float(self.whole[concepts].sum()), self.halves[:, concepts].sum(1).astype(float), self.folds)

    def unique_concepts(self, concepts: Bools) -> Recount:
        """How many of the given concepts, (C,), count as unique ones."""
        halves = self.unique_halves[:, concepts].sum(1).astype(float)
        return Recount(float(self.unique[concepts].sum()), halves, self.folds)


def recount_concepts(
    counts: Counts,
    eligible: Bools,
    *,
    score: Score | None,
    min_iou: float,
    given: Ints | None = None,
    unique: str = "unit",
    seed: int = 0,
) -> ConceptCounts:
    """Choose concepts again on halves of the folds, and count units by concept.

    Parameters
    ----------
    counts : Counts
        U units, C concepts.
    eligible : bool array, (U,)
        Units that may count.
    score : callable or None
        Chooses the concept; None: each unit keeps the one in ``given``.
    min_iou : float
        A unit counts where the IoU with its concept is larger.
    given : int64 array, (U,), optional
        Column of each unit's concept, which is kept.
    unique : {"unit", "category"}
        Whether unique concepts are those of units, or the best ones of every category, see
        `unitlens.stats.scores.matches`.
    seed : int
        Of the halves.

    Returns
    -------
    ConceptCounts
    """
    folds = filled_folds(counts)
    weights = np.concatenate([np.ones((1, len(folds))), random_halves(folds, seed=seed)])  # all folds come first
    units, _, concepts = counts.shape
    labelled = np.zeros((len(weights), concepts), np.int64)
    best_of_category = np.zeros((len(weights), concepts), bool)
    groups = columns_by_category(counts.category_of) if unique == "category" else []
    for block in in_blocks(units, _AT_ONCE // (len(weights) * max(concepts, 1))):
        overlap = fold_table(counts, block).overlap(weights)
        iou = overlap.iou()
        kept = np.zeros(block.stop - block.start, np.int64) if given is None else given[block]
        chosen = np.broadcast_to(kept, iou.shape[:2]) if score is None else choose(overlap, score)
        np.add.at(labelled, _above(iou, chosen, eligible[block], min_iou), 1)
        for columns in groups:
            best = columns[iou[:, :, columns].argmax(2)]
            best_of_category[_above(iou, best, eligible[block], min_iou)] = True
    is_unique = best_of_category if unique == "category" else labelled > 0
    return ConceptCounts(labelled[0], labelled[1:], is_unique[0], is_unique[1:], len(folds))


def _above(iou: Floats, chosen: Ints, eligible: Bools, min_iou: float) -> tuple[Ints, Ints]:
    """Find the units whose IoU with the chosen concept is above the least IoU.

    Parameters
    ----------
    iou : float64 array, (R, U, C)
    chosen : int64 array, (R, U)
    eligible : bool array, (U,)
    min_iou : float

    Returns
    -------
    row, concept : int64 arrays
        One entry for each unit and row.
    """
    above = (np.take_along_axis(iou, chosen[:, :, None], 2)[:, :, 0] > min_iou) & eligible
    return np.nonzero(above)[0], chosen[above]


def difference(reference: Recount, other: Recount, *, paired: bool) -> Interval:
    """How much larger a number is in another run, with its interval.

    Parameters
    ----------
    reference, other : Recount
    paired : bool
        Whether both runs saw the same images: variation that they share then cancels.

    Returns
    -------
    Interval
    """
    value = other.value - reference.value
    if paired:
        half = float(half_sample_half_width(other.halves - reference.halves, reference.folds))
    else:
        half = float(np.hypot(reference.half_width, other.half_width))
    return Interval(value, value - half, value + half)
