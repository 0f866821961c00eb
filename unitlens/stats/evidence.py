"""How certain the concept of a unit is: intervals, stability, rivals and a held-out IoU, all from counts by fold."""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

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

_LEVELS_AT_ONCE = 1 << 13

Singles = npt.NDArray[np.float32]


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


def presence_accuracy(peaks: Floats | Singles, present: Bools, judged: Bools, *, even: Bools) -> float:
    """Balanced accuracy of "the unit's peak lies above a level" as a test of whether an image contains a concept.

    The level is the best one on the even folds, the accuracy that on the odd.

    Parameters
    ----------
    peaks : float array, (N,)
        Largest activation of the unit in each image.
    present : bool array, (N,)
        Whether the image contains the concept.
    judged : bool array, (N,)
        Whether it is judged for the concept; others are left out.
    even : bool array, (N,)
        Whether it belongs to an even fold.

    Returns
    -------
    float
        In [0, 1], chance 0.5; NaN where a half lacks images with or without the concept.
    """
    with_it, without = judged & present, judged & ~present
    if not all((images & half).any() for images in (with_it, without) for half in (even, ~even)):
        return float("nan")
    level = _best_level(peaks[without & even], peaks[with_it & even])
    above = peaks > level
    found, left = (np.count_nonzero(images & ~even & right) for images, right in ((with_it, above), (without, ~above)))
    return (found / np.count_nonzero(with_it & ~even) + left / np.count_nonzero(without & ~even)) / 2


def _best_level(without: Floats | Singles, with_it: Floats | Singles) -> float:
    """The lowest level that best tells the peaks of images with a concept from those of others, which lie below.

    It is a peak of one of the others: any other level does worse than the next lower one of these. All are sorted.
    """
    without.sort()
    with_it.sort()
    best, level = -1, float("nan")
    for block in in_blocks(len(without), _LEVELS_AT_ONCE):
        some, following = without[block], without[block.start + 1 : block.stop + 1]
        is_last = np.ones(len(some), bool)  # of the peaks of one value: a level lies behind them
        is_last[: len(following)] = some[: len(following)] != following
        last = np.flatnonzero(is_last)
        # The balanced accuracy as a whole number, up to scale and shift: of levels that do equally well, the first.
        reached = np.searchsorted(with_it, some[last], side="right")
        accuracy = (block.start + 1 + last) * len(with_it) - reached * len(without)
        if len(last) and accuracy.max() > best:
            best, level = int(accuracy.max()), some[last[accuracy.argmax()]]
    return level
