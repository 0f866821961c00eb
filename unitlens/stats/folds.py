"""Counts by fold, and how much a statistic depends on the images: one fold left out, or half of them.

Every image belongs to one of 32 folds, by a hash of its name. Statistics are computed again without some of the folds,
as they would have been on other images.
"""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from unitlens.errors import UnitlensError
from unitlens.stats.blocks import in_blocks
from unitlens.stats.scores import Bools, Floats, Ints, Overlap, share

if TYPE_CHECKING:
    from unitlens.stats.counts import Counts

FOLDS = 32
"""Every image belongs to one of these, by a hash of its name."""

FEWEST_FOLDS = 8
"""With fewer filled folds there is no interval."""

Folds = Literal["all", "even", "odd"]
"""Which images count: a choice by rank is made on the even folds and measured on the odd."""

_AT_ONCE = 64  # units of which counts by fold are dense together

HALVES = 50
"""Random halves of the folds that are drawn, each with its complement."""


def chosen_folds(folds: Folds) -> Bools:
    """Which of the 32 folds are meant, (32,).

    Raises
    ------
    UnitlensError
        If something else is.
    """
    if folds not in ("all", "even", "odd"):
        raise UnitlensError(f"Folds are 'all', 'even' or 'odd', not {folds!r}.")
    left_out = {"all": -1, "even": 1, "odd": 0}[folds]
    return np.asarray(np.arange(FOLDS) % 2 != left_out)


class FoldTable(NamedTuple):
    """Counts of U units and C concepts by filled fold.

    Attributes
    ----------
    intersection, activated : int64 arrays, (U, F, C)
    concept, judged : int64 arrays, (F, C)
    folds : int64 array, (F,)
        The numbers of the folds; those without images may be absent.
    """

    intersection: Ints
    activated: Ints
    concept: Ints
    judged: Ints
    folds: Ints

    @classmethod
    def of(
        cls, intersection: Ints, activated: Ints, concept: Ints, judged: Ints, *, category_of: Ints, folds: Ints
    ) -> "FoldTable":
        """Select the filled folds, and give every concept the positions of its category.

        Parameters
        ----------
        intersection : int64 array, (U, 32, C)
        activated : int64 array, (U, 32, K)
            Active positions that are judged for each category.
        concept : int64 array, (32, C)
        judged : int64 array, (32, K)
        category_of : int64 array, (C,)
        folds : int64 array, (F,)
            Those to be selected.
        """
        return cls(
            intersection=intersection[:, folds],
            activated=activated[:, folds][:, :, category_of],
            concept=concept[folds],
            judged=judged[folds][:, category_of],
            folds=folds,
        )

    def overlap(self, weights: Floats) -> Overlap:
        """Sum over folds, each counted ``weights`` times, (..., F) -> 2 x 2 tables of (..., U, C)."""
        return next(self.overlaps([weights]))

    def overlaps(self, weights: Iterable[Floats]) -> "Iterator[Overlap]":
        """The same for some weights after the others."""
        units, folds, concepts = self.intersection.shape
        intersection, activated = (
            counts.transpose(1, 0, 2).reshape(folds, -1).astype(np.float64)
            for counts in (self.intersection, self.activated)
        )
        for some in weights:
            shape = (*some.shape[:-1], units, concepts)
            concept, judged = ((some @ counts)[..., None, :] for counts in (self.concept, self.judged))
            yield Overlap((some @ intersection).reshape(shape), (some @ activated).reshape(shape), concept, judged)

    def of_units(self, units: slice) -> "FoldTable":
        """The table of a block of its units."""
        return self._replace(intersection=self.intersection[units], activated=self.activated[units])


def filled_folds(counts: "Counts") -> Ints:
    """Numbers of the folds in which anything is judged, (F,)."""
    return np.flatnonzero(counts.judged_by_fold.any(1))


def fold_table(counts: "Counts", units: slice) -> FoldTable:
    """Counts of a block of units by filled fold.

    Parameters
    ----------
    counts : Counts
    units : slice
        With a start and a stop.
    """
    return FoldTable.of(
        counts.intersection_by_fold(units),
        counts.activated_by_fold[units],
        counts.concept_by_fold,
        counts.judged_by_fold,
        category_of=counts.category_of,
        folds=filled_folds(counts),
    )


def iou_in(counts: "Counts", folds: Folds) -> Floats:
    """IoU of every unit with every concept on the images of some folds, (U, C)."""
    kept = chosen_folds(folds)
    if folds == "all":
        return counts.iou
    tables = (fold_table(counts, block) for block in in_blocks(len(counts.active), _AT_ONCE))
    return np.concatenate([table.overlap(kept[table.folds].astype(np.float64)).iou() for table in tables])


def even_and_odd(folds: Ints) -> Floats:
    """Weights of the even and of the odd folds, (2, F); a row without a fold is all 0."""
    even = folds % 2 == 0
    return np.stack([even, ~even]).astype(np.float64)


def random_halves(folds: Ints, *, seed: int = 0) -> Floats:
    """Weights of random halves of the folds, then of their complements, (2 * HALVES, F).

    They depend on the number of folds and the seed alone, so that runs on the same images are compared on the same
    halves.
    """
    drawn = random_parts(folds, len(folds) // 2, parts=HALVES, seed=seed)
    return np.concatenate([drawn, 1.0 - drawn])


def random_parts(folds: Ints, size: int, *, parts: int = 2 * HALVES, seed: int = 0) -> Floats:
    """Weights of random sets of so many folds, (parts, F)."""
    rng = np.random.default_rng([seed, len(folds)])
    return np.stack([rng.permutation(len(folds)) < size for _ in range(parts)]).astype(np.float64)


def subsample_half_width(parts: Floats, *, folds: int, size: float, stands_for: float) -> Floats:
    """Half of the 95 % interval of a number, from what it is on random parts of the folds.

    Parameters
    ----------
    parts : float64 array, (P, ...)
        The number on each of `random_halves` or `random_parts`.
    folds : int
        How many folds there are.
    size : float
        Folds in a part; half of them for halves.
    stands_for : float
        The interval is that of the number on so many folds: all, or as many as a part has.

    Returns
    -------
    float64 array, (...)
        Student's t with ``folds - 1`` degrees of freedom times the standard error; NaN with fewer than 8 folds.

    References
    ----------
    Shao and Wu, "A general theory for jackknife variance estimation", Ann. Statist. 17 (1989).
    """
    from scipy.special import stdtrit

    if folds < FEWEST_FOLDS:
        return np.full(np.shape(parts)[1:], np.nan)
    # Parts are drawn without replacement: with a variance v of a single fold, that of a mean over m of F folds is
    # v / m (F - m) / F between parts, and that over k folds of other images is v / k. For halves and k = F they agree.
    scale = size * folds / ((folds - size) * stands_for)
    return np.asarray(stdtrit(folds - 1, 0.975) * np.sqrt(scale) * np.std(parts, axis=0))


def jackknife_half_width(left_out: Floats, filled: Bools | None = None) -> Floats:
    """Half of the 95 % interval of a statistic, by the jackknife that leaves out one fold at a time.

    Parameters
    ----------
    left_out : float64 array, (F, ...)
        The statistic without each fold.
    filled : bool array, (F, ...), optional
        Which folds have anything to say about it; by default all.

    Returns
    -------
    float64 array, (...)
        Student's t with F - 1 degrees of freedom times the jackknife's standard error, F the number of filled folds;
        NaN with fewer than 8.
    """
    from scipy.special import stdtrit

    filled = np.ones(left_out.shape, bool) if filled is None else filled
    folds = filled.sum(0)
    error = _jackknife_error(folds, _squared_deviations(left_out, filled).sum(0))
    # Computed once for each number of folds: the function is slow.
    student = stdtrit(np.arange(1, len(left_out) + 1), 0.975)[np.maximum(folds, 2) - 2]
    return np.where(folds >= FEWEST_FOLDS, student * error, np.nan)


def left_out_half_width(left_out: Floats) -> float:
    """Half of a 95 % interval from a statistic without each fold, (32,), which is NaN where a fold has no images."""
    filled = np.isfinite(left_out)
    return float(jackknife_half_width(left_out[filled])) if filled.sum() >= FEWEST_FOLDS else float("nan")


def iou_interval(value: Floats, left_out: Floats, filled: Bools) -> tuple[Floats, Floats]:
    """95 % interval of IoUs, by the jackknife that leaves out one fold at a time.

    Its coverage is closer to 95 % than that of the IoU plus and minus `jackknife_half_width`, most of all where few
    images contain the concept, for two reasons. It is symmetric on the scale of log(IoU / (1 - IoU)), as small IoUs
    scatter further upwards than downwards. And where a few folds dominate, Student's t has fewer degrees of freedom, by
    the kurtosis of the folds' deviations (that of a normal distribution, 3, leaves all of them).

    Parameters
    ----------
    value : float64 array, (U,)
    left_out : float64 array, (F, U)
        The IoU without each fold.
    filled : bool array, (F, U)
        Whether the fold is judged for the concept.

    Returns
    -------
    low, high : float64 arrays, (U,)
        NaN with fewer than 8 filled folds.
    """
    half_width = effective_half_width(left_out, filled)
    # Without an overlap, or with nothing else, no fold deviates: there the interval is the value itself.
    low, high = on_log_odds(value, np.where((value > 0) & (value < 1), half_width, 0.0))
    enough = filled.sum(0) >= FEWEST_FOLDS
    return np.where(enough, low, np.nan), np.where(enough, high, np.nan)


def effective_half_width(left_out: Floats, filled: Bools) -> Floats:
    """Half of a 95 % interval where a few folds may dominate: as `jackknife_half_width`, with `effective_folds`.

    Parameters
    ----------
    left_out : float64 array, (F, ...)
        The statistic without each fold.
    filled : bool array, (F, ...)
        Which folds have anything to say about it.

    Returns
    -------
    float64 array, (...)
        Also with fewer than 8 folds.
    """
    from scipy.special import stdtrit

    error, carrying = jackknife_error(left_out, filled)
    return np.asarray(stdtrit(np.maximum(carrying, 2) - 1, 0.975) * error)


def jackknife_error(left_out: Floats, filled: Bools) -> tuple[Floats, Floats]:
    """Standard error of a statistic from what it is without each fold, and how many folds carry it, each (...)."""
    folds, squares = filled.sum(0), _squared_deviations(left_out, filled)
    return _jackknife_error(folds, squares.sum(0)), effective_folds(squares, folds)


def effective_folds(squares: Floats, folds: Ints) -> Floats:
    """How many folds carry the variance, (...), from their squared deviations, (F, ...), and how many there are, (...).

    The kurtosis of the deviations is F sum(d^4) / sum(d^2)^2: F times 3 / kurtosis folds carry it, and at most all.
    """
    return np.minimum(3 * share(squares.sum(0) ** 2, (squares**2).sum(0)), folds)


def on_log_odds(value: Floats, half_width: Floats) -> tuple[Floats, Floats]:
    """Ends of intervals of shares, (U,), that are symmetric on the scale of log(share / (1 - share)).

    By the delta method the standard error there is that of the share divided by share * (1 - share). The scale has no
    finite value at 0 and 1; there the interval is the share plus and minus its half-width, between 0 and 1.
    """
    from scipy.special import expit, logit

    inside = (value > 0) & (value < 1)
    middle, slope = np.where(inside, value, 0.5), np.where(inside, value * (1 - value), 1.0)
    low, high = (
        np.where(inside, expit(logit(middle) + sign * half_width / slope), np.clip(value + sign * half_width, 0, 1))
        for sign in (-1, 1)
    )
    return low, high


def _squared_deviations(left_out: Floats, filled: Bools) -> Floats:
    """Squared distance of the statistic without each fold from their mean over filled folds, 0 in others, (F, ...)."""
    mean = np.where(filled, left_out, 0.0).sum(0) / np.maximum(filled.sum(0), 1)
    squares: Floats = np.where(filled, left_out - mean, 0.0) ** 2
    return squares


def _jackknife_error(folds: Ints, squares: Floats) -> Floats:
    """Standard error of the statistic on all folds, from the sum of squared deviations."""
    return np.asarray(np.sqrt((folds - 1) / np.maximum(folds, 1) * squares))
