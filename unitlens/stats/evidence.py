"""How certain the concept of a unit is: intervals, stability, rivals and a held-out IoU, all from counts by fold."""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from unitlens.stats.blocks import in_blocks
from unitlens.stats.folds import FoldTable, even_and_odd, iou_interval, jackknife_half_width
from unitlens.stats.heldout import heldout_interval
from unitlens.stats.needed import needed_concepts
from unitlens.stats.scores import Bools, Floats, Ints, Overlap, Score, choose, score_function

RESAMPLES = 200
"""Resamples of the folds, for the stability of a concept."""

AT_ONCE = 1 << 22
"""Most numbers in one intermediate array."""

_RESAMPLE_BLOCKS = 4


class ConceptEvidence(NamedTuple):
    """Evidence for the concept of each unit.

    Attributes
    ----------
    concept : int64 array, (U,)
        That of highest score on all folds, or the one that was given.
    low, high : float64 arrays, (U,)
        95 % interval of its IoU; NaN with fewer than 8 folds in which its category is judged.
    stability : float64 array, (U,)
        Share of 200 resamples of folds in which it has the highest score; NaN where counts at one level cannot tell.
    rivals : bool array, (U, C)
        Concepts that meet the mask and whose difference in IoU to the unit's concept has an interval that contains 0;
        the unit's concept included; none where there is no interval.
    heldout : float64 array, (U,)
        IoU on one half of the folds of the concept chosen on the other, both ways, averaged; NaN without two halves.
    heldout_low, heldout_high : float64 arrays, (U,)
        95 % interval of it; see `unitlens.stats.heldout.heldout_interval`.
    needed : bool array, (U, C)
        Concepts that the unit's mask needs; see `unitlens.stats.needed.needed_concepts`.
    needed_known : bool array, (U,)
        Whether enough folds are judged to tell.
    """

    concept: Ints
    low: Floats
    high: Floats
    stability: Floats
    rivals: Bools
    heldout: Floats
    heldout_low: Floats
    heldout_high: Floats
    needed: Bools
    needed_known: Bools


class GivenConcepts(NamedTuple):
    """Concepts that were chosen by something other than the counts at the threshold.

    Attributes
    ----------
    whole : int64 array, (U,)
        On all folds.
    halves : int64 array, (2, U)
        On the even and on the odd folds.
    """

    whole: Ints
    halves: Ints


def concept_evidence(
    table: FoldTable,
    score: str = "iou",
    *,
    category_of: Ints | None = None,
    seed: int = 0,
    given: GivenConcepts | None = None,
) -> ConceptEvidence:
    """Evidence for the concepts of U units.

    Parameters
    ----------
    table : FoldTable
    score : str
        Which score chooses the concept; a key of `unitlens.stats.scores.SCORES`.
    category_of : int64 array, (C,), optional
        Category of each concept; by default all are of one.
    seed : int
        Of the resamples of folds.
    given : GivenConcepts, optional
        Concepts to use in place of those that the score chooses; they have no stability.

    Returns
    -------
    ConceptEvidence
    """
    units, folds, concepts = table.intersection.shape
    size = AT_ONCE // (max(folds, RESAMPLES // _RESAMPLE_BLOCKS) * max(concepts, 1))
    category_of = np.zeros(concepts, np.int64) if category_of is None else category_of
    parts = []
    for block in in_blocks(units, size):
        if given is None:
            parts.append(_evidence_of_chosen(table.of_units(block), category_of, score_function(score), seed))
        else:
            of_block = GivenConcepts(given.whole[block], given.halves[:, block])
            parts.append(_evidence_of_given(table.of_units(block), category_of, of_block))
    return join_evidence(parts)


def join_evidence(parts: Iterable[ConceptEvidence]) -> ConceptEvidence:
    """Evidence of several blocks of units as that of all units."""
    return ConceptEvidence(*(np.concatenate(field) for field in zip(*parts, strict=True)))


def _evidence_of_chosen(table: FoldTable, category_of: Ints, score: Score, seed: int) -> ConceptEvidence:
    """Evidence for the concepts of highest score."""
    whole, halves = _whole(table), _halves(table)
    chosen = GivenConcepts(choose(whole, score), choose(halves, score))
    return _evidence(table, category_of, chosen, whole, halves, _stability(table, chosen.whole, score, seed))


def _evidence_of_given(table: FoldTable, category_of: Ints, given: GivenConcepts) -> ConceptEvidence:
    """Evidence for concepts that are given, which cannot be chosen again on resamples."""
    return _evidence(table, category_of, given, _whole(table), _halves(table), np.full(len(given.whole), np.nan))


def _evidence(
    table: FoldTable, category_of: Ints, concepts: GivenConcepts, whole: Overlap, halves: Overlap, stability: Floats
) -> ConceptEvidence:
    low, high, rivals = _interval_and_rivals(table, whole.iou(), concepts.whole)
    heldout_low, heldout_high = heldout_interval(table, concepts.halves)
    needed, known = needed_concepts(table, concepts.whole, category_of)
    return ConceptEvidence(
        concept=concepts.whole,
        low=low,
        high=high,
        stability=stability,
        rivals=rivals,
        heldout=_heldout_iou(table, halves, concepts.halves),
        heldout_low=heldout_low,
        heldout_high=heldout_high,
        needed=needed,
        needed_known=known,
    )


def _whole(table: FoldTable) -> Overlap:
    """The 2 x 2 tables over all folds, (U, C)."""
    return table.overlap(np.ones(len(table.folds)))


def _halves(table: FoldTable) -> Overlap:
    """The 2 x 2 tables over the even and over the odd folds, (2, U, C)."""
    return table.overlap(even_and_odd(table.folds))


def _interval_and_rivals(table: FoldTable, iou: Floats, chosen: Ints) -> tuple[Floats, Floats, Bools]:
    """The ends of the interval of the IoU with each unit's concept, (U,), and the concepts that fit as well, (U, C)."""
    filled = table.judged > 0
    left_out = table.overlap(1.0 - np.eye(len(table.folds))).iou()  # (F, U, C)
    chosen_iou = np.take_along_axis(iou, chosen[:, None], 1)[:, 0]
    chosen_left_out = np.take_along_axis(left_out, chosen[None, :, None], 2)
    low, high = iou_interval(chosen_iou, chosen_left_out[..., 0], filled[:, chosen])
    # A fold that is judged for either concept has something to say about their difference.
    either = filled[:, chosen][:, :, None] | filled[:, None, :]
    rivals = chosen_iou[:, None] - iou <= jackknife_half_width(chosen_left_out - left_out, either)
    known = np.isfinite(low)
    rivals &= (iou > 0) & known[:, None]
    np.put_along_axis(rivals, chosen[:, None], known[:, None], 1)
    return low, high, rivals


def _stability(table: FoldTable, chosen: Ints, score: Score, seed: int) -> Floats:
    """Share of resamples of folds in which each unit's concept has the highest score, (U,)."""
    folds = len(table.folds)
    rng = np.random.default_rng(seed)
    weights = rng.multinomial(folds, np.full(folds, 1 / folds), size=RESAMPLES).astype(np.float64)
    wins = np.zeros(len(chosen))
    for overlap in table.overlaps(np.array_split(weights, _RESAMPLE_BLOCKS)):
        wins += (choose(overlap, score) == chosen).sum(0)
    return wins / RESAMPLES


def _heldout_iou(table: FoldTable, halves: Overlap, chosen: Ints) -> Floats:
    """IoU, on one half of the folds, of the concept chosen on the other half; both ways, averaged, (U,)."""
    if not _both_halves(table):
        return np.full(len(table.intersection), np.nan)
    return np.asarray(np.take_along_axis(halves.iou()[::-1], chosen[:, :, None], 2)[:, :, 0].mean(0))


def halves_iou(table: FoldTable) -> Floats:
    """IoU with each concept on each half of the folds, averaged, (U, C): the held-out IoU of given concepts."""
    if not _both_halves(table):
        units, _, concepts = table.intersection.shape
        return np.full((units, concepts), np.nan)
    return np.asarray(_halves(table).iou().mean(0))


def _both_halves(table: FoldTable) -> bool:
    return bool(even_and_odd(table.folds).any(1).all())


def presence_accuracy(peaks: Floats, present: Bools, even: Bools) -> float:
    """Balanced accuracy of "the unit's peak lies above a level" as a test of whether an image contains a concept.

    The level is the best one on the even folds, the accuracy that on the odd.

    Parameters
    ----------
    peaks : float array, (N,)
        Largest activation of the unit in each judged image.
    present : bool array, (N,)
        Whether the image contains the concept.
    even : bool array, (N,)
        Whether it belongs to an even fold.

    Returns
    -------
    float
        In [0, 1], chance 0.5; NaN where a half lacks images with or without the concept.
    """
    learn, test = present[even], present[~even]
    if learn.all() or not learn.any() or test.all() or not test.any():
        return float("nan")
    order = np.argsort(peaks[even], kind="stable")
    values, learn = peaks[even][order], learn[order]
    below = np.arange(1, len(learn) + 1)
    present_below = np.cumsum(learn)
    # The balanced accuracy as a whole number, up to scale and shift: of levels that do equally well, always the first.
    accuracy = (below - present_below) * int(learn.sum()) - present_below * int((~learn).sum())
    accuracy[:-1][values[:-1] == values[1:]] = accuracy.min() - 1  # a level lies behind all images of its value
    level = values[int(accuracy.argmax())]
    predicted = peaks[~even] > level
    return float((predicted[test].mean() + (~predicted[~test]).mean()) / 2)
