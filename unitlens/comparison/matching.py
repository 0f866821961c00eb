"""Units of two networks matched by what they detect."""

from typing import NamedTuple

import numpy as np

from unitlens.stats.blocks import in_blocks
from unitlens.stats.counts import Counts
from unitlens.stats.folds import filled_folds, fold_table, jackknife_half_width
from unitlens.stats.scores import Floats, Ints, iou, share

_AT_ONCE = 1 << 22  # numbers of one intermediate array


class Side(NamedTuple):
    """One of the two: its counts, the units that take part, their labels, and the columns of the common concepts.

    Attributes
    ----------
    counts : Counts
    units : int64 array, (n,)
    label : int64 array, (U,)
        A column of the counts for each unit; read for those that take part.
    columns : int64 array, (common,)
        Where each common concept stands in the counts.
    """

    counts: Counts
    units: Ints
    label: Ints
    columns: Ints


class Matches(NamedTuple):
    """Pairs of units, most alike first, and 95 % intervals (NaN below 8 filled folds).

    Attributes
    ----------
    unit, other : int64 arrays, (pairs,)
    similarity, similarity_half : float64 arrays, (pairs,)
        Cosine of the two profiles, see `profiles`, and half of its interval.
    difference, difference_half : float64 arrays, (pairs,)
        IoU of the other unit with this unit's label, less this unit's own; NaN where the other run has no such
        concept.
    """

    unit: Ints
    other: Ints
    similarity: Floats
    similarity_half: Floats
    difference: Floats
    difference_half: Floats


def profiles(scores: Floats, mean: Floats) -> Floats:
    """What sets units apart: their IoU with each concept less the mean over the units, at length 1; 0 if nothing does.

    The mean goes, since large concepts overlap a little with every unit: it would make all units alike.
    """
    apart = scores - mean
    return share(apart, np.linalg.norm(apart, axis=-1, keepdims=True))


def match_units(one: Side, other: Side, *, paired: bool) -> Matches:
    """Match units one to one, such that the sum of the similarities of all pairs is as large as it can be.

    Parameters
    ----------
    one, other : Side
        With the same common concepts, in the same order.
    paired : bool
        Whether both saw the same images; intervals then leave the same folds out of both.

    Returns
    -------
    Matches
        As many pairs as the smaller side has units.

    References
    ----------
    Kuhn, "The Hungarian method for the assignment problem", Nav. Res. Logist. Q. 2 (1955).
    """
    from scipy.optimize import linear_sum_assignment

    whole = [side.counts.iou[side.units][:, side.columns] for side in (one, other)]
    if not len(one.units) or not len(other.units):
        none, nothing = np.zeros(0, np.int64), np.zeros(0)
        return Matches(none, none, nothing, nothing, nothing, nothing)
    similarity = profiles(whole[0], whole[0].mean(0)) @ profiles(whole[1], whole[1].mean(0)).T
    row, column = linear_sum_assignment(similarity, maximize=True)
    order = np.argsort(-similarity[row, column], kind="stable")
    pairs = np.stack([one.units[row[order]], other.units[column[order]]])
    label = np.array([_column(other, one, int(one.label[unit])) for unit in pairs[0]], np.int64)
    known = label >= 0
    difference = np.full(len(label), np.nan)
    difference[known] = (
        other.counts.iou[pairs[1, known], label[known]] - one.counts.iou[pairs[0], one.label[pairs[0]]][known]
    )
    halves = _half_widths(one, other, pairs, label, paired=paired)
    alike = similarity[row[order], column[order]]
    return Matches(pairs[0], pairs[1], alike, halves[0], difference, np.where(known, halves[1], np.nan))


def _column(there: Side, here: Side, concept: int) -> int:
    """Where a concept of one side stands in the counts of the other; -1 if nowhere."""
    place = np.flatnonzero(here.columns == concept)
    return int(there.columns[place[0]]) if len(place) else -1


def _half_widths(one: Side, other: Side, pairs: Ints, label: Ints, *, paired: bool) -> tuple[Floats, Floats]:
    """Half-widths of similarity and difference of each pair, by the jackknife that leaves out one fold at a time."""
    labels = one.label[pairs[0]], np.maximum(label, 0)
    means = [_mean_left_out(side) for side in (one, other)]
    alike, apart = [], []
    for some in in_blocks(pairs.shape[1], _AT_ONCE // (32 * max(len(one.columns), 1))):
        a, b = (
            _Left.of(side, units[some], own[some], mean)
            for side, units, own, mean in zip((one, other), pairs, labels, means, strict=True)
        )
        if paired:
            alike.append(jackknife_half_width((a.profile * b.profile).sum(2)))
            apart.append(jackknife_half_width(b.own - a.own))
        else:
            halves = [jackknife_half_width((x.profile * y.whole).sum(2)) for x, y in ((a, b), (b, a))]
            alike.append(np.hypot(*halves))
            apart.append(np.hypot(jackknife_half_width(a.own), jackknife_half_width(b.own)))
    return np.concatenate(alike), np.concatenate(apart)


class _Left(NamedTuple):
    """Some units without each fold: profiles, (F, n, C), and the IoU with one concept each, (F, n); on all, (n, C)."""

    profile: Floats
    own: Floats
    whole: Floats

    @classmethod
    def of(cls, side: Side, units: Ints, concepts: Ints, mean: Floats) -> "_Left":
        folds = filled_folds(side.counts)
        scores = np.stack([_left_out(side.counts, int(unit), folds) for unit in units], axis=1)
        own = np.take_along_axis(scores, concepts[None, :, None], 2)[:, :, 0]
        whole = side.counts.iou[:, side.columns]
        everywhere = profiles(whole[units], whole[side.units].mean(0))
        return cls(profiles(scores[:, :, side.columns], mean[:, None]), own, everywhere)


def _mean_left_out(side: Side) -> Floats:
    """Mean IoU of all units that take part with each common concept, without each fold, (F, common)."""
    folds = filled_folds(side.counts)
    total = np.zeros((len(folds), len(side.columns)))
    for unit in side.units:
        total += _left_out(side.counts, int(unit), folds)[:, side.columns]
    return total / len(side.units)


def _left_out(counts: Counts, unit: int, folds: Ints) -> Floats:
    """IoU of a unit with every concept without each fold, (F, C)."""
    table = fold_table(counts, slice(unit, unit + 1))
    parts = (table.intersection[0], table.activated[0], table.concept)
    return iou(*(part.sum(0) - part for part in parts))


def left_out_best(side: Side) -> tuple[Ints, Floats, Floats]:
    """The unit of highest IoU with each concept, (C,), that IoU, (C,), and the same without each fold, (F, C)."""
    scores = np.where(np.isin(np.arange(side.counts.shape[0]), side.units)[:, None], side.counts.iou, -1.0)
    best, folds = scores.argmax(0), filled_folds(side.counts)
    left = np.zeros((len(folds), len(best)))
    for unit in np.unique(best):
        left[:, best == unit] = _left_out(side.counts, int(unit), folds)[:, best == unit]
    return best, np.maximum(scores.max(0), 0.0), left
