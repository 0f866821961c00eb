"""Units of two layers matched by what they detect, and the best unit of every concept."""

from typing import NamedTuple

import numpy as np

from unitlens.stats.blocks import in_blocks
from unitlens.stats.counts import Counts
from unitlens.stats.folds import FOLDS, filled_folds, fold_table, iou_interval, jackknife_half_width
from unitlens.stats.recounts import Interval
from unitlens.stats.scores import Floats, Ints, iou, share

_AT_ONCE = 1 << 22  # numbers of one intermediate array


class LayerToMatch(NamedTuple):
    """One of the two layers whose units are matched.

    Attributes
    ----------
    counts : Counts
    units : int64 array, (n,)
        The units that take part.
    concept : int64 array, (U,)
        Column of each unit's concept in the counts; read for units that take part.
    columns : int64 array, (common,)
        Columns of the concepts that both layers have, in the same order for both.
    """

    counts: Counts
    units: Ints
    concept: Ints
    columns: Ints


class Matches(NamedTuple):
    """Pairs of units, most similar first, and their 95 % intervals (NaN below 8 filled folds).

    Attributes
    ----------
    unit, other : int64 arrays, (pairs,)
    similarity, similarity_half_width : float64 arrays, (pairs,)
        Cosine of the two profiles, see `profiles`, and half of its interval.
    difference, difference_half_width : float64 arrays, (pairs,)
        IoU of the other unit with this unit's concept, less this unit's own; NaN where the other run has no such
        concept.
    """

    unit: Ints
    other: Ints
    similarity: Floats
    similarity_half_width: Floats
    difference: Floats
    difference_half_width: Floats


def profiles(scores: Floats, mean: Floats) -> Floats:
    """Compute what sets units apart: their IoU with each concept less the mean over units, at length 1 (or 0).

    Without the mean all units would be alike, as large concepts overlap a little with every unit.
    """
    deviation = scores - mean
    return share(deviation, np.linalg.norm(deviation, axis=-1, keepdims=True))


def match_units(first: LayerToMatch, second: LayerToMatch, *, paired: bool) -> Matches:
    """Match units one to one, such that the sum of the similarities of all pairs is as large as it can be.

    Parameters
    ----------
    first, second : LayerToMatch
    paired : bool
        Whether both saw the same images; intervals then leave the same folds out of both.

    Returns
    -------
    Matches
        As many pairs as the smaller layer has units.

    References
    ----------
    Kuhn, "The Hungarian method for the assignment problem", Nav. Res. Logist. Q. 2 (1955).
    """
    from scipy.optimize import linear_sum_assignment

    if not len(first.units) or not len(second.units):
        no_units, no_numbers = np.zeros(0, np.int64), np.zeros(0)
        return Matches(no_units, no_units, no_numbers, no_numbers, no_numbers, no_numbers)
    scores = [layer.counts.iou[layer.units][:, layer.columns] for layer in (first, second)]
    similarity = profiles(scores[0], scores[0].mean(0)) @ profiles(scores[1], scores[1].mean(0)).T
    row, column = linear_sum_assignment(similarity, maximize=True)
    order = np.argsort(-similarity[row, column], kind="stable")
    row, column = row[order], column[order]
    unit, other = first.units[row], second.units[column]
    concept = first.concept[unit]
    other_column = _columns_in(second, first, concept)
    known = other_column >= 0
    difference = np.full(len(unit), np.nan)
    difference[known] = (
        second.counts.iou[other[known], other_column[known]] - first.counts.iou[unit[known], concept[known]]
    )
    of_similarity, of_difference = _half_widths(
        (first, unit, concept), (second, other, np.maximum(other_column, 0)), paired=paired
    )
    return Matches(
        unit=unit,
        other=other,
        similarity=similarity[row, column],
        similarity_half_width=of_similarity,
        difference=difference,
        difference_half_width=np.where(known, of_difference, np.nan),
    )


def _columns_in(other: LayerToMatch, layer: LayerToMatch, concepts: Ints) -> Ints:
    """Columns in the counts of the other layer of concepts given as columns of this one; -1 where it has none."""
    column_of = dict(zip(layer.columns.tolist(), other.columns.tolist(), strict=True))
    return np.array([column_of.get(concept, -1) for concept in concepts.tolist()], np.int64)


_Pairs = tuple[LayerToMatch, Ints, Ints]  # a layer, and for each pair its unit and the column of a concept


def _half_widths(first: _Pairs, second: _Pairs, *, paired: bool) -> tuple[Floats, Floats]:
    """Half-widths of each pair's similarity and of its difference in IoU, by leaving out one fold at a time."""
    means = [_mean_left_out(layer) for layer, _, _ in (first, second)]
    of_similarity, of_difference = [], []
    for block in in_blocks(len(first[1]), _AT_ONCE // (FOLDS * max(len(first[0].columns), 1))):
        a, b = (
            _left_out_of(layer, units[block], concepts[block], mean)
            for (layer, units, concepts), mean in zip((first, second), means, strict=True)
        )
        if paired:
            of_similarity.append(jackknife_half_width((a.profile * b.profile).sum(2)))
            of_difference.append(jackknife_half_width(b.iou - a.iou))
        else:
            # Independent images: each layer's folds are left out while the other is whole, and the variances add.
            from_a = jackknife_half_width((a.profile * b.whole_profile).sum(2))
            from_b = jackknife_half_width((b.profile * a.whole_profile).sum(2))
            of_similarity.append(np.hypot(from_a, from_b))
            of_difference.append(np.hypot(jackknife_half_width(a.iou), jackknife_half_width(b.iou)))
    return np.concatenate(of_similarity), np.concatenate(of_difference)


class _LeftOut(NamedTuple):
    """Units of a layer without each fold.

    Attributes
    ----------
    profile : float64 array, (F, n, common)
    iou : float64 array, (F, n)
        With one concept for each unit.
    whole_profile : float64 array, (n, common)
        On all folds.
    """

    profile: Floats
    iou: Floats
    whole_profile: Floats


def _left_out_of(layer: LayerToMatch, units: Ints, concepts: Ints, mean: Floats) -> _LeftOut:
    """Leave out each fold of some units; ``mean`` is that of all units of the layer, (F, common)."""
    left_out = np.stack([_iou_left_out(layer.counts, unit) for unit in units.tolist()], axis=1)
    whole = layer.counts.iou[:, layer.columns]
    return _LeftOut(
        profile=profiles(left_out[:, :, layer.columns], mean[:, None]),
        iou=np.take_along_axis(left_out, concepts[None, :, None], 2)[:, :, 0],
        whole_profile=profiles(whole[units], whole[layer.units].mean(0)),
    )


def _mean_left_out(layer: LayerToMatch) -> Floats:
    """Mean IoU of all units that take part with each common concept, without each fold, (F, common)."""
    total = np.zeros((len(filled_folds(layer.counts)), len(layer.columns)))
    for unit in layer.units.tolist():
        total += _iou_left_out(layer.counts, unit)[:, layer.columns]
    return total / len(layer.units)


def _iou_left_out(counts: Counts, unit: int) -> Floats:
    """IoU of a unit with every concept without each fold, (F, C)."""
    table = fold_table(counts, slice(unit, unit + 1))
    intersection, activated, concept = (
        part.sum(0) - part for part in (table.intersection[0], table.activated[0], table.concept)
    )
    return iou(intersection, activated, concept)


class BestUnits(NamedTuple):
    """The unit of highest IoU with each concept, whether or not the unit is matched to it.

    Attributes
    ----------
    unit : int64 array, (C,)
    iou : float64 array, (C,)
        On all folds.
    left_out : float64 array, (F, C)
        The same unit's IoU without each fold.
    """

    unit: Ints
    iou: Floats
    left_out: Floats

    def interval(self, concept: int) -> Interval:
        """The best unit's IoU with a concept, with its interval."""
        left_out = self.left_out[:, [concept]]
        low, high = iou_interval(self.iou[[concept]], left_out, np.ones(left_out.shape, bool))
        return Interval(float(self.iou[concept]), float(low[0]), float(high[0]))

    def half_width(self, concept: int) -> float:
        """Half of the interval of the best unit's IoU with a concept, on the plain scale."""
        return float(jackknife_half_width(self.left_out[:, concept]))

    def difference(self, concept: int, reference: "BestUnits", column: int, *, paired: bool) -> Interval:
        """How much larger it is than that of a reference, which has the concept in the given column."""
        value = float(self.iou[concept] - reference.iou[column])
        left_out, of_reference = self.left_out[:, concept], reference.left_out[:, column]
        if paired:
            half_width = float(jackknife_half_width(left_out - of_reference))
        else:
            half_width = float(np.hypot(self.half_width(concept), reference.half_width(column)))
        return Interval(value, value - half_width, value + half_width)


def best_units(counts: Counts, units: Ints) -> BestUnits:
    """Find the unit of highest IoU with each concept among those that take part."""
    scores = np.full(counts.shape[::2], -1.0)
    scores[units] = counts.iou[units]
    best = scores.argmax(0)
    left_out = np.zeros((len(filled_folds(counts)), len(best)))
    for unit in np.unique(best).tolist():
        left_out[:, best == unit] = _iou_left_out(counts, unit)[:, best == unit]
    return BestUnits(best, np.maximum(scores.max(0), 0.0), left_out)
