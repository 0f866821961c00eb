"""Formulas against their parts: counts of any formula by fold, and how much more it says than what it is made of."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from unitlens.stats.folds import FoldTable
from unitlens.stats.formulas.formula import Formula
from unitlens.stats.formulas.signatures import Signatures
from unitlens.stats.scores import Bools, Ints, iou


class Gain(NamedTuple):
    """A formula and the best of its parts, on the positions on which the formula counts.

    Attributes
    ----------
    formula : Formula
    part : Formula
        Of all that remains where some of its concepts are left out, what has the highest IoU; the formula itself, where
        it is one concept.
    iou, part_iou : float
    """

    formula: Formula
    part: Formula
    iou: float
    part_iou: float

    @property
    def gain(self) -> float:
        """How much higher the IoU of the formula is; 0 for one concept."""
        return self.iou - self.part_iou


def gain(signatures: Signatures, formula: Formula, active: Ints, positions: Ints) -> Gain:
    """Compare a formula with its parts.

    Parameters
    ----------
    signatures : Signatures
    formula : Formula
    active, positions : int64 arrays, (S,)
        The mask's positions of each signature, and all.
    """
    counted = signatures.counted(formula)
    parts = sorted(formula.parts(), key=lambda part: part.length)
    scores = [
        float(_iou(one.holds(signatures.there) & counted, counted, active, positions)) for one in (formula, *parts)
    ]
    if not parts:
        return Gain(formula, formula, scores[0], scores[0])
    best = int(np.argmax(scores[1:]))
    return Gain(formula, parts[best], scores[0], scores[1 + best])


def is_trivial(signatures: Signatures, formula: Formula, positions: Ints) -> bool:
    """Whether a part of a formula is true at the same positions."""
    counted = signatures.counted(formula) & (positions > 0)
    return formula.is_trivial(lambda concept: signatures.there(concept)[counted])


def fold_counts(
    signatures: Signatures, active: Ints, formulas: Sequence[Formula], counted: Sequence[Formula] | None = None
) -> FoldTable:
    """Counts of a mask and formulas by filled fold.

    Parameters
    ----------
    signatures : Signatures
    active : int64 array, (32, S)
        The mask's positions of each signature.
    formulas : sequence of Formula
        n of them.
    counted : sequence of Formula, optional
        Each formula is counted on the positions on which one of these counts; by default on its own.

    Returns
    -------
    FoldTable
        Of one unit and n formulas in place of concepts.
    """
    judged = np.array([signatures.counted(formula) for formula in counted or formulas])
    true = np.array([formula.holds(signatures.there) for formula in formulas]) & judged
    positions = signatures.by_fold
    folds = np.flatnonzero(positions.any(1))
    weights = np.stack([true, judged]).reshape(-1, positions.shape[1]).T.astype(np.float64)
    inside, everywhere = (
        np.rint(counts[folds].astype(np.float64) @ weights).astype(np.int64) for counts in (active, positions)
    )
    n = len(formulas)
    return FoldTable(
        intersection=inside[None, :, :n],
        activated=inside[None, :, n:],
        concept=everywhere[:, :n],
        judged=everywhere[:, n:],
        folds=folds,
    )


def _iou(there: Bools, counted: Bools, active: Ints, positions: Ints) -> float:
    return float(iou(active[there].sum(), active[counted].sum(), positions[there].sum()))
