"""The units of a page in their order, as one table: what cards, filters, concepts and counts are made from."""

import math
from typing import TYPE_CHECKING

import numpy as np

from unitlens.dissection.exemplars.pictured import worth_a_look
from unitlens.pages.formats import Row, slug
from unitlens.pages.units.places import concept_id

if TYPE_CHECKING:
    import pandas as pd

VERDICTS = {
    "detector": "IoU above the minimum by the run's rule, and associated with its concept more than chance",
    "untrained": "in an untrained copy of the network, or in half of the copies, some unit does as well",
    "context": "goes with the kind of image: the labels of other images of that kind fit as well",
    "weak": "associated with its concept, but the IoU is not above the minimum by the run's rule",
    "chance": "not distinguishable from the same masks with the labels of other images",
    "above": "IoU above the minimum; chance was not computed",
    "below": "IoU not above the minimum",
    "silent": "no concept: the largest value is reached on more positions than a mask may hold",
    "nonfinite": "no concept: some activations are NaN or infinite",
}
"""Every verdict and what it means, best first; above and below are used where no evidence was computed."""

# fmt: off
USED = (
    "layer", "unit", "concept", "category", "verdict", "detector", "above_min_iou", "silent", "nonfinite",
    "iou", "iou_low", "iou_high", "heldout_iou", "chance_iou", "second_concept", "second_iou", "concept_set",
    "p_value", "q_value",
    "concept_q_value", "context_iou", "context_q", "threshold", "active_share", "activated_pixels",
    "concept_pixels", "intersection",
    "concept_stability", "presence_accuracy", "untrained_percentile", "untrained_percentile_all", "untrained_share",
    "precision", "iou_ceiling", "segmenter_iou", "active_images", "heldout_low", "heldout_high", "needed_concepts",
    "needed_precision",
)
# fmt: on
"""The columns of units.csv that the page uses; those of the evidence may be missing."""


def ranked_units(units: "pd.DataFrame") -> "pd.DataFrame":
    """Return the units in the order of the page, detectors first, by falling IoU; see `worth_a_look`.

    Parameters
    ----------
    units : DataFrame
        ``units.csv``.

    Returns
    -------
    DataFrame
        The columns of `USED`, in which infinite numbers are missing, and so is the IoU of a unit without a concept;
        and ``id`` and ``concept_id`` (where the card, and the section of its concept, stand on the page; empty without
        one) and ``shown`` (one of `VERDICTS`).
    """
    table = units.reindex(columns=list(USED))
    table = table.assign(**{name: _without_infinities(table[name]) for name in USED if name not in _OTHERS})
    table["iou"] = table["iou"].where(table["concept"].notna())
    table = table.iloc[worth_a_look(table)].reset_index(drop=True)
    layers = {layer: slug(layer) for layer in table["layer"].unique()}
    concepts = table[["category", "concept"]].where(table["concept"].notna(), "").astype(object).fillna("")
    ids = {key: concept_id(*key) for key in set(concepts.itertuples(index=False, name=None)) if key[1] != ""}
    return table.assign(
        id=[f"unit-{layers[layer]}-{unit}" for layer, unit in zip(table["layer"], table["unit"], strict=True)],
        concept_id=[ids.get(key, "") for key in concepts.itertuples(index=False, name=None)],
        shown=_verdicts(table),
    )


_OTHERS = {
    "layer", "unit", "concept", "category", "verdict", "detector", "above_min_iou", "silent", "nonfinite",
    "second_concept", "concept_set", "needed_concepts",
}  # fmt: skip
"""Columns that hold no numbers."""


def _without_infinities(column: "pd.Series") -> "pd.Series":
    """The column with missing values where a number is infinite (``replace`` would change its type)."""
    if column.dtype == object:
        return column.map(lambda value: None if isinstance(value, float) and math.isinf(value) else value)
    return column.where(~np.isinf(column.to_numpy(np.float64, na_value=np.nan)))


def verdict_of(row: Row) -> str:
    """Return the verdict of a unit; without a q-value, what the papers' rule alone says."""
    if row["q_value"] is not None and row["verdict"]:
        return str(row["verdict"])
    for name in ("nonfinite", "silent"):
        if row[name]:
            return name
    return "above" if row["above_min_iou"] else "below"


def _verdicts(table: "pd.DataFrame") -> list[str]:
    names = ["q_value", "verdict", "nonfinite", "silent", "above_min_iou"]
    values = table[names].astype(object).where(table[names].notna(), None)
    return [verdict_of(dict(zip(names, row, strict=True))) for row in values.itertuples(index=False, name=None)]
