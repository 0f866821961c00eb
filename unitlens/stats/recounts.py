"""Detectors and unique concepts counted again on random parts of the folds: how much such numbers vary by chance.

How many units lie above a level is not a smooth function of the counts: left out one at a time, 32 folds move almost no
unit across the level, and the few that cross weigh far too much. Leaving out half of the folds moves as many as another
set of images would. On smaller parts the numbers are those of a run on fewer images, to be compared with such a run.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from unitlens.stats.blocks import in_blocks
from unitlens.stats.counts import Counts
from unitlens.stats.folds import filled_folds, fold_table, random_halves, random_parts, subsample_half_width
from unitlens.stats.scores import Bools, Floats, Ints, Score, choose, columns_by_category

_AT_ONCE = 1 << 22  # numbers of one intermediate array


class Interval(NamedTuple):
    """A number and the ends of its 95 % interval, which are NaN below 8 filled folds."""

    value: float
    low: float
    high: float


class Recount(NamedTuple):
    """A number of a run, or its mean over several trainings of a network, and what it is on random parts of the folds.

    Attributes
    ----------
    values : float64 array, (runs,)
        Of each training.
    parts : float64 array, (P,)
        On each part of the folds; the mean over trainings.
    folds : int
        How many folds are filled.
    size : float
        Folds in a part.
    stands_for : float
        How many folds the number stands for: all, or as many as a part has.
    """

    values: Floats
    parts: Floats
    folds: int
    size: float
    stands_for: float

    @property
    def value(self) -> float:
        """The number; of several trainings the mean."""
        return float(self.values.mean())

    @property
    def half_width(self) -> float:
        """Half of its 95 % interval."""
        images = self._images_half_width(self.parts)
        if len(self.values) == 1:
            return images
        return float(np.hypot(images, trainings_half_width([self.values])))

    def interval(self, *, most: float) -> Interval:
        """The number with its interval, which stays between 0 and ``most``."""
        half = self.half_width
        if np.isnan(half):
            return Interval(self.value, half, half)
        return Interval(self.value, max(self.value - half, 0.0), min(self.value + half, most))

    def over(self, total: float) -> "Recount":
        """The number as a share of a total, such as the units of a layer."""
        return self._replace(values=self.values / total, parts=self.parts / total)

    def minus(self, reference: "Recount", *, paired: bool) -> Interval:
        """How much larger it is than that of another run.

        Parameters
        ----------
        reference : Recount
        paired : bool
            Whether both saw the same images: variation that they share then cancels.

        Returns
        -------
        Interval
            Of other images of the same kind. Where there are several trainings of either network, also of other
            trainings (Welch's interval; a network that was trained once is given the other's variance).
        """
        value = self.value - reference.value
        if paired:
            half = self._images_half_width(self.parts - reference.parts)
        else:
            half = float(np.hypot(self._images_half_width(self.parts), reference._images_half_width(reference.parts)))
        if max(len(self.values), len(reference.values)) > 1:
            half = float(np.hypot(half, trainings_half_width([self.values, reference.values])))
        return Interval(value, value - half, value + half)

    def _images_half_width(self, parts: Floats) -> float:
        return float(subsample_half_width(parts, folds=self.folds, size=self.size, stands_for=self.stands_for))


def trainings_half_width(samples: Sequence[Floats]) -> float:
    """Half of the 95 % interval of a mean over trainings, or of a difference of two such means.

    Parameters
    ----------
    samples : sequence of float64 arrays, (runs,)
        One or two; at least one of them has two values or more. A single value is given the other's variance.

    References
    ----------
    Welch, "The generalization of Student's problem when several different population variances are involved",
    Biometrika 34 (1947).
    """
    from scipy.special import stdtrit

    known = [np.var(values, ddof=1) for values in samples if len(values) > 1]
    variances = [np.var(values, ddof=1) if len(values) > 1 else known[0] for values in samples]
    squares = np.array([variance / len(values) for variance, values in zip(variances, samples, strict=True)])
    if not squares.any():
        return 0.0
    freedom = np.array([len(values) - 1 for values in samples])
    welch = freedom.all()
    degrees = squares.sum() ** 2 / (squares**2 / freedom).sum() if welch else freedom.max()
    return float(stdtrit(degrees, 0.975) * np.sqrt(squares.sum()))


def mean_recount(recounts: Sequence[Recount]) -> Recount:
    """The mean of a number over several trainings of a network."""
    first = recounts[0]
    return first._replace(
        values=np.concatenate([recount.values for recount in recounts]),
        parts=np.mean([recount.parts for recount in recounts], axis=0),
        folds=min(recount.folds for recount in recounts),
    )


class ConceptCounts(NamedTuple):
    """How many units are matched to each concept above the least IoU, in all and on random parts of the folds.

    Attributes
    ----------
    whole : float64 array, (C,)
        On all folds; where the parts are those of fewer images, the mean over the parts.
    parts : int64 array, (2 * HALVES, C)
        On each part.
    unique : float64 array, (C,)
        1 where the concept counts as a unique one: one of a unit, or the best of its category for a unit; where the
        parts are those of fewer images, the share of parts in which it does.
    unique_parts : bool array, (2 * HALVES, C)
    folds : int
        How many folds are filled.
    size, stands_for : float
        As for `Recount`.
    """

    whole: Floats
    parts: Ints
    unique: Floats
    unique_parts: Bools
    folds: int
    size: float
    stands_for: float

    def units(self, concepts: Bools) -> Recount:
        """How many units are matched to one of the given concepts, (C,)."""
        return self._recount(self.whole[concepts].sum(), self.parts[:, concepts].sum(1))

    def unique_concepts(self, concepts: Bools) -> Recount:
        """How many of the given concepts, (C,), count as unique ones."""
        return self._recount(self.unique[concepts].sum(), self.unique_parts[:, concepts].sum(1))

    def _recount(self, value: float, parts: Ints) -> Recount:
        return Recount(np.array([value], np.float64), parts.astype(float), self.folds, self.size, self.stands_for)


def recount_concepts(
    counts: Counts,
    eligible: Bools,
    *,
    score: Score | None,
    min_iou: float,
    given: Ints | None = None,
    unique: str = "unit",
    share: float = 1.0,
    seed: int = 0,
) -> ConceptCounts:
    """Choose concepts again on random parts of the folds, and count units by concept.

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
    share : float
        Below 1: count as if there were only this share of the images, on parts of so many folds. Else on halves.
    seed : int
        Of the parts.

    Returns
    -------
    ConceptCounts
    """
    folds = filled_folds(counts)
    size = max(round(share * len(folds)), 1)
    fewer = size < len(folds)
    parts = random_parts(folds, size, seed=seed) if fewer else random_halves(folds, seed=seed)
    weights = np.concatenate([np.ones((1, len(folds))), parts])  # all folds come first
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
    return ConceptCounts(
        whole=labelled[1:].mean(0) if fewer else labelled[0].astype(np.float64),
        parts=labelled[1:],
        unique=is_unique[1:].mean(0) if fewer else is_unique[0].astype(np.float64),
        unique_parts=is_unique[1:],
        folds=len(folds),
        size=size if fewer else len(folds) / 2,
        stands_for=size if fewer else len(folds),
    )


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
