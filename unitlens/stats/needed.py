"""Units of several concepts: which concepts of one category a unit's mask needs, and how many these are."""

from typing import NamedTuple

import numpy as np

from unitlens.stats.folds import FEWEST_FOLDS, FoldTable, effective_half_width
from unitlens.stats.scores import Bools, Floats, Ints, share

LEAST_EXCESS = 0.1
"""A concept is needed where it holds more of the mask than of the other positions, by more than this share."""

_MOST = 9  # so many concepts at most can each have an excess above a tenth, as all together have 1 at most


def needed_concepts(table: FoldTable, concept: Ints, category_of: Ints) -> tuple[Bools, Bools]:
    """Find the smallest set of concepts that covers what a unit's mask has in excess, within its concept's category.

    A concept's *excess* is the share of the mask that lies in it, less the share of all other positions that do. Those
    of concepts that do not overlap add: the k concepts of largest excess are the best k. One is added as long as its
    excess is above 0.1 and has a 95 % interval (jackknife over folds) above 0.

    Parameters
    ----------
    table : FoldTable
        Of U units and C concepts.
    concept : int64 array, (U,)
        Each unit's concept, which says the category.
    category_of : int64 array, (C,)

    Returns
    -------
    needed : bool array, (U, C)
    known : bool array, (U,)
        Whether 8 folds or more are judged for the category.

    Notes
    -----
    Concepts of other categories are left out, so that a wheel beside a car (a part beside its object) counts once.
    Within a category, concepts in several planes may overlap, which counts cannot tell: they count as if they did not,
    up to the one with which they would hold more than the whole mask.
    """
    units, _, concepts = table.intersection.shape
    needed = np.zeros((units, concepts), bool)
    excess = np.where(category_of[concept][:, None] == category_of, _excess(_summed(table)), -np.inf)
    candidates = np.argsort(-excess, axis=1, kind="stable")[:, : min(_MOST, concepts)]
    largest = np.take_along_axis(excess, candidates, 1)
    possible = (largest > LEAST_EXCESS) & (largest > _half_width(_by_fold(table, candidates)))
    # Concepts that hold more than the whole mask together overlap, as two words for one thing do.
    unit, summed = np.arange(units)[:, None], _summed(table)
    held = np.where(possible, summed.intersection[unit, candidates], 0).cumsum(1)
    possible &= held <= summed.activated[unit, candidates]
    np.put_along_axis(needed, candidates, possible, 1)
    known = (table.judged[:, concept] > 0).sum(0) >= FEWEST_FOLDS
    return needed & known[:, None], known


class _Masks(NamedTuple):
    """Positions with mask and concept, with mask, with concept, and in all; they broadcast."""

    intersection: Ints
    activated: Ints
    concept: Ints
    judged: Ints


def _summed(table: FoldTable) -> _Masks:
    return _Masks(table.intersection.sum(1), table.activated.sum(1), table.concept.sum(0), table.judged.sum(0))


def _by_fold(table: FoldTable, concepts: Ints) -> _Masks:
    """The counts by fold of some concepts of each unit, (F, U, K)."""
    unit = np.arange(len(concepts))[:, None]
    return _Masks(
        intersection=np.moveaxis(table.intersection, 1, 0)[:, unit, concepts],
        activated=np.moveaxis(table.activated, 1, 0)[:, unit, concepts],
        concept=table.concept[:, concepts],
        judged=table.judged[:, concepts],
    )


def _excess(masks: _Masks) -> Floats:
    """Share of the mask in the concept, less the share of all other positions."""
    elsewhere = share(masks.concept - masks.intersection, masks.judged - masks.activated)
    return share(masks.intersection, masks.activated) - elsewhere


def _half_width(by_fold: _Masks) -> Floats:
    """Half of the 95 % interval of excesses, by leaving out one fold at a time; (F, U, K) -> (U, K)."""
    left_out = _excess(_Masks(*(counts.sum(0) - counts for counts in by_fold)))
    return effective_half_width(left_out, by_fold.judged > 0)
