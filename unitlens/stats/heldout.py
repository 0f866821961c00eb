"""The 95 % interval of a held-out IoU: each half of the folds under the concept that the other half chose."""

from typing import NamedTuple

import numpy as np

from unitlens.stats.folds import FEWEST_FOLDS, FoldTable, effective_folds, on_log_odds
from unitlens.stats.scores import Bools, Floats, Ints, iou, share


class _Half(NamedTuple):
    """Counts of each unit with the concept chosen on the other half, by fold, (F, U) each."""

    intersection: Floats
    activated: Floats
    concept: Floats
    filled: Bools


def heldout_interval(table: FoldTable, chosen: Ints) -> tuple[Floats, Floats]:
    """95 % interval of the held-out IoU, for the concepts that were chosen.

    The halves are independent given the concepts: their jackknife variances, leaving out one fold at a time, add. As in
    `unitlens.stats.folds.iou_interval`, the interval is symmetric on the scale of log(IoU / (1 - IoU)), and where few
    folds say nearly all, Student's t has fewer degrees of freedom. Where mask and concept never meet in a half, no fold
    deviates from 0, and the jackknife takes that 0 for certain; there, half of what could have met in one fold counts
    as a deviation.

    Parameters
    ----------
    table : FoldTable
        Of U units.
    chosen : int64 array, (2, U)
        Concepts chosen on the even and on the odd folds.

    Returns
    -------
    low, high : float64 arrays, (U,)
        NaN where fewer than 8 folds are judged for the concepts, or fewer than 4 in a half.
    """
    from scipy.special import stdtrit

    even = table.folds % 2 == 0
    halves = (_half(table, ~even, chosen[0]), _half(table, even, chosen[1]))
    value = (_iou(halves[0]) + _iou(halves[1])) / 2
    deviations = np.concatenate([_deviations(half) for half in halves]) / 2
    squares = deviations**2
    filled = np.stack([half.filled.sum(0) for half in halves])
    freedom = np.maximum(effective_folds(squares, filled.sum(0)) - 2, 1)  # each half has its own mean
    low, high = on_log_odds(value, stdtrit(freedom, 0.975) * np.sqrt(squares.sum(0)))
    enough = (filled.sum(0) >= FEWEST_FOLDS) & (filled.min(0) >= FEWEST_FOLDS // 2)
    return np.where(enough, low, np.nan), np.where(enough, high, np.nan)


def _half(table: FoldTable, folds: Bools, chosen: Ints) -> _Half:
    unit = np.arange(len(chosen))
    return _Half(
        intersection=table.intersection[unit, :, chosen][:, folds].T.astype(np.float64),
        activated=table.activated[unit, :, chosen][:, folds].T.astype(np.float64),
        concept=table.concept[folds][:, chosen].astype(np.float64),
        filled=table.judged[folds][:, chosen] > 0,
    )


def _iou(half: _Half) -> Floats:
    return iou(half.intersection.sum(0), half.activated.sum(0), half.concept.sum(0))


def _deviations(half: _Half) -> Floats:
    """What each fold adds to the standard error of a half's IoU, and a last row for halves without a meeting."""
    left_out = iou(*(counts.sum(0) - counts for counts in half[:3]))
    folds = np.maximum(half.filled.sum(0), 1)
    mean = np.where(half.filled, left_out, 0.0).sum(0) / folds
    deviations = np.where(half.filled, left_out - mean, 0.0) * np.sqrt((folds - 1) / folds)
    # What could have met in a fold: the smaller of mask and concept, averaged over the folds that have both.
    smaller = np.minimum(half.activated, half.concept)
    possible = share(smaller.sum(0), (smaller > 0).sum(0))
    unseen = np.where(half.intersection.sum(0) == 0, 0.5 * share(possible, (half.activated + half.concept).sum(0)), 0.0)
    return np.concatenate([deviations, unseen[None]])
