"""From the formulas of all masks of a layer to labels: which say more than chance, and more than their parts."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from unitlens.labels.compositional.masks import Counted
from unitlens.stats.chance import Association, association
from unitlens.stats.formulas.formula import Formula
from unitlens.stats.formulas.signatures import Signatures
from unitlens.stats.formulas.weighing import Weighed
from unitlens.stats.scores import Floats, Ints

_ORDER = ("supported", "no gain", "chance", "untested")


@dataclass(frozen=True, eq=False)
class NamedMask:
    """A mask that meets a concept, and its formulas.

    Attributes
    ----------
    unit, number : int
        The unit, and which of its masks, from 0.
    low, high : float
        The values that belong to it: above the one, and up to the other.
    weighed : Weighed
    shares : float64 array, (L,)
        Of the positions that are judged, the share that lies in the formula of each length.
    """

    unit: int
    number: int
    low: float
    high: float
    weighed: Weighed
    shares: Floats

    @classmethod
    def of(cls, counted: Counted, weighed: Weighed, signatures: Signatures) -> "NamedMask":
        """The mask that was counted, with its formulas."""
        total = counted.by_fold.sum(0)
        shares = [_share(signatures, one.formula, total) for one in weighed.gains]
        return cls(counted.unit, counted.number, counted.low, counted.high, weighed, np.array(shares))


def _share(signatures: Signatures, formula: Formula, active: Ints) -> float:
    counted = signatures.counted(formula)
    inside = active[formula.holds(signatures.there) & counted].sum()
    return float(inside / max(active[counted].sum(), 1))


def label_rows(
    layer: str, named: Sequence[NamedMask], names: Sequence[str], *, fdr: float, of_ranges: bool
) -> list[dict[str, Any]]:
    """Choose the label of each mask, and what the evidence says of it.

    Parameters
    ----------
    layer : str
    named : sequence of NamedMask
        All masks of the layer that meet a concept.
    names : sequence of str
        Of the concepts.
    fdr : float
        False discovery rate, over the masks of the layer.
    of_ranges : bool
        Whether the masks are ranges of activation.

    Returns
    -------
    list of dict
        Rows of labels.csv.
    """
    if not named:
        return []
    tested = np.stack([one.weighed.tested for one in named])  # (masks, 2, L)
    drawn = np.stack([one.weighed.drawn for one in named])  # (masks, 2, L, draws)
    nothing = np.zeros(len(named), bool)
    lengths = range(tested.shape[2])
    score = [association(tested[:, 0, k], drawn[:, 0, k], nothing, fdr=fdr) for k in lengths]
    gain = [association(tested[:, 1, k], drawn[:, 1, k], nothing, fdr=fdr) for k in lengths]
    rows = []
    for row, one in enumerate(named):
        verdicts = [_verdict(one.weighed, k, score[k], gain[k], row, fdr=fdr) for k in lengths]
        k = _chosen(verdicts)
        rows.append(_row(layer, one, k, names, score[k], row, of_ranges=of_ranges) | {"verdict": verdicts[k]})
    return rows


def _verdict(weighed: Weighed, k: int, score: Association, gain: Association, row: int, *, fdr: float) -> str:
    """What the evidence says of the best formula of at most k + 1 concepts.

    A formula gains something where it exceeds its best part by more than the best formulas of other images' labels
    exceed theirs, and where it does so in images that did not choose it.
    """
    if not weighed.drawn.shape[2] or not np.isfinite(weighed.heldout[k]):
        return "untested"
    if not score.q_value[row] <= fdr or not weighed.heldout[k] > score.chance[row]:
        return "chance"
    if k == 0:
        return "supported"
    if weighed.gains[k].formula.length == 1 or not gain.q_value[row] <= fdr:
        return "no gain"
    low = weighed.heldout_gain_low[k]
    certain = weighed.heldout_gain[k] if np.isnan(low) else low
    return "supported" if certain > 0 else "no gain"


def _chosen(verdicts: Sequence[str]) -> int:
    """The length whose formula is the label: the longest that is supported; else the longest of the best verdict.

    A single concept is the label where nothing longer was asked for.
    """
    longer = range(min(1, len(verdicts) - 1), len(verdicts))
    return min(longer, key=lambda k: (_ORDER.index(verdicts[k]), -k))


def _row(
    layer: str, one: NamedMask, k: int, names: Sequence[str], score: Association, row: int, *, of_ranges: bool
) -> dict[str, Any]:
    weighed = one.weighed
    near, even = [formula.written(names) for formula in weighed.near[k]], weighed.even[k]
    out = {
        "layer": layer,
        "unit": one.unit,
        "rank": 1,
        "label": weighed.gains[k].formula.written(names),
        "also": json.dumps(near, ensure_ascii=False) if near else "",
        "score": weighed.gains[k].iou,
        "bound": weighed.bounds[k],
        "heldout_score": weighed.heldout[k],
        "chance_score": score.chance[row],
        "chance_sd": score.chance_sd[row],
        "p_value": score.p_value[row],
        "q_value": score.q_value[row],
        "even_label": "" if even is None else even.written(names),
        "iou": weighed.gains[k].iou,
    }
    if of_ranges:
        out |= {"range_low": one.low, "range_high": one.high, "share": one.shares[k], "iou": np.nan}
    return out
