"""The table of a dissection, one row a unit, and the meaning of its columns."""

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from unitlens.data.concepts import Concept
from unitlens.dissection.settings import DetectorRule
from unitlens.stats.chance import Association
from unitlens.stats.counts import Counts
from unitlens.stats.evidence import ConceptEvidence
from unitlens.stats.scores import share

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = {
    "layer": "the layer's name",
    "unit": "the unit's number in it, from 0",
    "concept": "the concept of highest score; empty for silent and nonfinite units, and where no concept overlaps",
    "category": "the concept's category",
    "iou": "IoU with the concept over all images, in [0, 1]",
    "verdict": "nonfinite, silent, chance, context, weak, untrained or detector: the first that holds",
    "detector": "True where the verdict is detector",
    "above_min_iou": "True where iou > min_iou, the papers' rule",
    "silent": "True where the largest value is reached on more positions than the quantile allows",
    "nonfinite": "how many of its activations were NaN or infinite",
    "second_concept": "the runner-up",
    "second_category": "the runner-up's category",
    "second_iou": "IoU with the runner-up",
    "precision": "share of the active positions that lie in the concept: intersection / activated_pixels",
    "iou_ceiling": "the highest IoU that areas allow: the smaller of activated_pixels and concept_pixels / the larger",
    "segmenter_iou": "IoU of the segmenter with the concept, where the truth is known: no label is better than it",
    "active_images": "images with any active position",
    "concepts_needed": "how many concepts of the category it takes to cover the mask; empty below 8 judged folds",
    "needed_concepts": "JSON list of these concepts, the one that holds most of the mask first",
    "needed_precision": "share of the active positions that lie in any of them",
    "iou_low": "lower end of the 95 % interval of iou (jackknife); empty below 8 folds judged for the category",
    "iou_high": "its upper end",
    "concept_stability": "share of 200 resamples of folds in which the concept comes first; empty for scores at levels",
    "concept_set": "JSON list of concepts whose difference in IoU to this one has an interval that contains 0",
    "heldout_iou": "IoU on one half of the folds with the concept chosen on the other half, both ways, averaged",
    "heldout_low": "lower end of the 95 % interval of heldout_iou (jackknife of each half); empty below 8 judged folds",
    "heldout_high": "its upper end",
    "chance_iou": "mean best IoU of the same masks with the labels of other images",
    "chance_sd": "standard deviation of that best IoU over the draws",
    "p_value": "rank of (iou - chance_iou) / chance_sd among the same number of all units and draws",
    "q_value": "Benjamini and Hochberg's, over units not silent: does the unit go with some concept, whichever it is?",
    "q_over_layers": "the same where the rate is to hold over all layers of the table (Benjamini and Bogomolov)",
    "concept_p_value": "p_value for heldout_iou: a test that the concept found on one half holds on the other",
    "concept_q_value": "Benjamini and Hochberg's of it",
    "context_iou": "mean best IoU with the labels of other images of the same kind (class, stratum)",
    "context_p": "rank of iou among these; empty where the kind of image determines the concept",
    "context_q": "Benjamini and Hochberg's of it",
    "untrained_percentile": "share of untrained copies' units with lower held-out IoU for the concept, where it ran",
    "untrained_percentile_all": "share of their units whose best held-out IoU, for any concept, is lower",
    "untrained_share": "share of the untrained copies in which some unit reaches heldout_iou for the concept",
    "presence_accuracy": "balanced accuracy of the peak as a test of the concept's presence in images, held out",
    "threshold": "the activation above which the unit is active",
    "active_share": "realised share of all positions above the threshold",
    "activated_pixels": "A: active positions that are judged for the concept's category",
    "concept_pixels": "G: positions labelled with the concept",
    "intersection": "I: active positions labelled with the concept",
    "evaluated_on": "grid, or image where the layer has no grid and each image is one position",
}
"""Name and meaning of every column of ``units.csv``, in its order."""

UNTRAINED_SHARE = 0.5
"""A detector that is reached in this share of the untrained copies, or more, has the verdict untrained."""


def unit_table(
    layer: str,
    counts: Counts,
    concepts: tuple[Concept, ...],
    names: list[str],
    *,
    score: npt.NDArray[np.float64],
    threshold: npt.NDArray[np.float32],
    nonfinite: npt.NDArray[np.int64],
    active_images: npt.NDArray[np.int64],
    min_iou: float,
    rule: DetectorRule,
    fdr: float,
    evaluated_on: str,
    segmenter_iou: npt.NDArray[np.float64],
    evidence: ConceptEvidence | None,
    chance: Association | None,
    concept_test: Association | None,
    context: Association | None,
    presence: npt.NDArray[np.float64] | None,
) -> "pd.DataFrame":
    """Make the rows of one layer.

    Parameters
    ----------
    layer : str
    counts : Counts
    concepts : tuple of Concept
        Of the columns of the counts.
    names : list of str
        How each is written.
    score : float64 array, (U, C)
        What chooses the concept.
    threshold : float32 array, (U,)
    nonfinite, active_images : int64 arrays, (U,)
    min_iou : float
    rule : {"plain", "heldout", "lower"}
    fdr : float
        Of the verdict.
    evaluated_on : {"grid", "image"}
    segmenter_iou : float64 array, (C,)
        How good the segmenter is at each concept; NaN where its marks are not those of one, or it does not say.
    evidence, chance, concept_test, context, presence : optional
        The evidence: of IoUs, of the best IoU against labels of other images, of the held-out IoU against them, and
        against labels of other images of the same stratum.

    Returns
    -------
    pandas.DataFrame
        With the columns `COLUMNS`.
    """
    import pandas as pd

    units = len(threshold)
    silent = (counts.active == 0) & (nonfinite == 0)
    mute = silent | (nonfinite > 0)
    met = np.where(counts.intersection > 0, score, -np.inf)
    order = np.argsort(-met, axis=1, kind="stable")
    first, second = order[:, 0], order[:, min(1, len(concepts) - 1)]
    rows: dict[str, Any] = {
        "layer": [layer] * units,
        "unit": np.arange(units),
        "silent": silent,
        "nonfinite": nonfinite,
        "segmenter_iou": segmenter_iou[first],
        "active_images": active_images,
        "threshold": threshold.astype(np.float64),
        "active_share": counts.active / max(counts.positions, 1),
        "evaluated_on": [evaluated_on] * units,
        "presence_accuracy": np.nan if presence is None else presence,
        **_counted_columns(counts, first, second),
        **_chance_columns(chance, concept_test, context),
    }
    for prefix, column in (("", first), ("second_", second)):
        rows[prefix + "concept"] = [names[c] for c in column]
        rows[prefix + "category"] = [concepts[c].category for c in column]
    if evidence is not None:
        rows |= _evidence_columns(evidence, names, order) | _needed_columns(counts, names, first, evidence)
    rows["above_min_iou"] = (rows["iou"] > min_iou) & ~mute
    q_value = None if chance is None else chance.q_value
    context_q = None if context is None else context.q_value
    heldout, low = (None, None) if evidence is None else (evidence.heldout, evidence.low)
    passes = rows["above_min_iou"] & passes_rule(rule, min_iou=min_iou, iou=rows["iou"], heldout=heldout, low=low)
    rows["verdict"] = verdicts(silent, nonfinite > 0, passes, q_value, context_q, fdr=fdr)
    rows["detector"] = rows["verdict"] == "detector"
    table = pd.DataFrame(rows, index=pd.RangeIndex(units)).reindex(columns=list(COLUMNS))
    overlapping = (counts.intersection > 0).sum(1)
    return _without_concepts(table, mute, overlapping == 0, (overlapping < 2) | mute)


def _counted_columns(
    counts: Counts, first: npt.NDArray[np.int64], second: npt.NDArray[np.int64]
) -> dict[str, npt.NDArray[Any]]:
    """What is counted of each unit and its concept, and the IoU with the runner-up."""
    row = np.arange(len(first))
    activated, concept, intersection = (
        counts.activated[row, first],
        counts.concept[first],
        counts.intersection[row, first],
    )
    return {
        "iou": counts.iou[row, first],
        "second_iou": counts.iou[row, second],
        "precision": share(intersection, activated),
        "iou_ceiling": iou_ceiling(activated, concept),
        "activated_pixels": activated,
        "concept_pixels": concept,
        "intersection": intersection,
    }


def _evidence_columns(evidence: ConceptEvidence, names: list[str], order: npt.NDArray[np.int64]) -> dict[str, Any]:
    """Intervals and held-out checks of each unit's concept, and the concepts that it cannot be told from."""
    return {
        "iou_low": evidence.low,
        "iou_high": evidence.high,
        "concept_stability": evidence.stability,
        "heldout_iou": evidence.heldout,
        "heldout_low": evidence.heldout_low,
        "heldout_high": evidence.heldout_high,
        "concept_set": [
            _json_list([names[c] for c in concepts if rivals[c]])
            for concepts, rivals in zip(order, evidence.rivals, strict=True)
        ],
    }


def _chance_columns(
    chance: Association | None, concept_test: Association | None, context: Association | None
) -> dict[str, npt.NDArray[np.float64]]:
    """What labels of other images come to, where that was asked."""
    columns: dict[str, npt.NDArray[np.float64]] = {}
    if chance is not None:
        columns |= {
            "chance_iou": chance.chance,
            "chance_sd": chance.chance_sd,
            "p_value": chance.p_value,
            "q_value": chance.q_value,
        }
    if concept_test is not None:
        columns |= {"concept_p_value": concept_test.p_value, "concept_q_value": concept_test.q_value}
    if context is not None:
        columns |= {
            "context_iou": np.where(np.isnan(context.p_value), np.nan, context.chance),
            "context_p": context.p_value,
            "context_q": context.q_value,
        }
    return columns


def _needed_columns(
    counts: Counts, names: list[str], concept: npt.NDArray[np.int64], evidence: ConceptEvidence
) -> dict[str, Any]:
    """The concepts that each unit's mask needs, the one that holds most of it first; no list where there is none."""
    met = np.where(evidence.needed, counts.intersection, 0)
    order = np.argsort(-met, axis=1, kind="stable")
    number = evidence.needed.sum(1)
    row, known = np.arange(len(number)), evidence.needed_known
    return {
        "concepts_needed": [int(number[u]) if known[u] else None for u in row],
        "needed_concepts": [_json_list([names[c] for c in order[u, : number[u]]]) for u in row],
        "needed_precision": np.where(known, share(met.sum(1), counts.activated[row, concept]), np.nan),
    }


def iou_ceiling(activated: npt.NDArray[np.int64], concept: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """The highest IoU that masks and concepts of these areas can have: where the smaller lies in the larger."""
    return share(np.minimum(activated, concept), np.maximum(activated, concept))


_COUNTED = ["activated_pixels", "concept_pixels", "intersection", "concepts_needed"]
_OF_CONCEPT = [
    "concept", "category", "iou_low", "iou_high", "concept_stability", "concept_set", "presence_accuracy",
    "precision", "iou_ceiling", "segmenter_iou", "needed_concepts", "needed_precision",
]  # fmt: skip
_TESTS = ["concept_p_value", "concept_q_value", "context_iou", "context_p", "context_q"]
_MEASURED = [
    "iou", "heldout_iou", "heldout_low", "heldout_high", "chance_iou", "chance_sd", "p_value", "q_value",
    "q_over_layers", *_TESTS,
]  # fmt: skip
_SECOND = ["second_concept", "second_category", "second_iou"]


def _json_list(names: list[str]) -> str | None:
    return json.dumps(names) if names else None


def _without_concepts(
    table: "pd.DataFrame",
    mute: npt.NDArray[np.bool_],
    overlaps_none: npt.NDArray[np.bool_],
    no_second: npt.NDArray[np.bool_],
) -> "pd.DataFrame":
    """Empty the concept of mute units and of those that overlap with none, and the runner-up where there is none."""
    table = table.astype(dict.fromkeys(_COUNTED, "Int64") | {"concept_set": object, "needed_concepts": object})
    for rows, columns in ((mute | overlaps_none, _OF_CONCEPT + _COUNTED), (mute, _MEASURED), (no_second, _SECOND)):
        for name in columns if rows.any() else ():  # one by one: half the time of assigning to `loc`
            table[name] = table[name].mask(rows, None)
    return table


class UntrainedLayer(NamedTuple):
    """What the units of a layer of one untrained copy reach.

    Attributes
    ----------
    by_concept : float64 array, (U, C)
        Held-out IoU with each concept; 0 for those that are silent.
    best : float64 array, (U,)
        Held-out IoU of each unit with its concept; 0 for those that have none.
    """

    by_concept: npt.NDArray[np.float64]
    best: npt.NDArray[np.float64]


def add_untrained(
    table: "pd.DataFrame", concept: npt.NDArray[np.int64], copies: Sequence[UntrainedLayer]
) -> "pd.DataFrame":
    """Compare the units of one layer with those of untrained copies.

    Parameters
    ----------
    table : pandas.DataFrame
        As `unit_table` made it, U rows.
    concept : int64 array, (U,)
        Columns of the units' concepts.
    copies : sequence of UntrainedLayer
        One or more.

    Returns
    -------
    pandas.DataFrame
        With the two percentiles, over the units of all copies, and the share of the copies in which some unit reaches
        the held-out IoU for that concept. Where that is half of them or more, a detector gets the verdict untrained.
    """
    heldout = table["heldout_iou"].to_numpy(np.float64)
    known = np.isfinite(heldout) & table["concept"].notna().to_numpy()
    known &= all(np.isfinite(copy.by_concept).all() for copy in copies)
    of_concept = np.mean([(copy.by_concept[:, concept] < heldout).mean(0) for copy in copies], axis=0)
    of_all = np.mean([(copy.best[:, None] < heldout).mean(0) for copy in copies], axis=0)
    reached = np.mean([heldout <= copy.by_concept[:, concept].max(0) for copy in copies], axis=0)
    untrained = known & (table["verdict"] == "detector").to_numpy() & (reached >= UNTRAINED_SHARE)
    return table.assign(
        untrained_percentile=np.where(known, of_concept, np.nan),
        untrained_percentile_all=np.where(known, of_all, np.nan),
        untrained_share=np.where(known, reached, np.nan),
        verdict=np.where(untrained, "untrained", table["verdict"]),
        detector=table["detector"] & ~untrained,
    )


def passes_rule(
    rule: DetectorRule,
    *,
    min_iou: float,
    iou: npt.NDArray[np.float64],
    heldout: npt.NDArray[np.float64] | None,
    low: npt.NDArray[np.float64] | None,
) -> npt.NDArray[np.bool_]:
    """Whether what a rule for detectors looks at is above the minimum IoU, (U,); not where it is unknown."""
    value = {"plain": iou, "heldout": heldout, "lower": low}[rule]
    return np.zeros(len(iou), bool) if value is None else np.asarray(value > min_iou)


def verdicts(
    silent: npt.NDArray[np.bool_],
    nonfinite: npt.NDArray[np.bool_],
    passes: npt.NDArray[np.bool_],
    q_value: npt.NDArray[np.float64] | None,
    context_q: npt.NDArray[np.float64] | None,
    *,
    fdr: float,
) -> npt.NDArray[np.str_]:
    """The first of nonfinite, silent, chance, context, weak and detector that holds, (U,).

    Weak is what does not pass the rule for detectors. Chance is q_value > fdr, context is context_q > fdr; they are
    left out where no q-values were computed, and context where a unit has none.
    """
    by_chance = np.zeros_like(silent) if q_value is None else ~(q_value <= fdr)
    by_context = np.zeros_like(silent) if context_q is None else context_q > fdr
    return np.select(
        [nonfinite, silent, by_chance, by_context, ~passes],
        ["nonfinite", "silent", "chance", "context", "weak"],
        "detector",
    )
