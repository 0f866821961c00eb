"""Checks of units' concepts that take the counts of a run only: halves of the images, trivial baselines, collisions."""

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from unitlens.comparison.columns import AUDIT_COLUMNS, AUDIT_SUMMARY_COLUMNS, CHECKS
from unitlens.stats.blocks import in_blocks
from unitlens.stats.folds import even_and_odd, filled_folds, fold_table
from unitlens.stats.intervals import wilson
from unitlens.stats.scores import SCORES, Floats, Ints, choose, share

if TYPE_CHECKING:
    import pandas as pd

    from unitlens.comparison.entries import Entry
    from unitlens.dissection.store.labels import LabelPlanes
    from unitlens.stats.counts import Counts

_AT_ONCE = 1 << 22  # numbers of one intermediate array


class CheckedConcepts(NamedTuple):
    """Concepts of the units of a layer under one check.

    Attributes
    ----------
    concept : int64 array, (U,)
        Column of the unit's concept; -1 where there is none.
    iou : float64 array, (U,)
        IoU with it under the check.
    run_concept_iou : float64 array, (U,)
        IoU under the check with the concept in the run.
    """

    concept: Ints
    iou: Floats
    run_concept_iou: Floats


class LayerCheck(NamedTuple):
    """One check of one layer; the name is a key of `CHECKS`."""

    layer: str
    name: str
    checked: CheckedConcepts


def check_halves(entry: "Entry", counts: "Counts | None" = None) -> list[LayerCheck]:
    """Choose concepts on the even and on the odd folds; no check where a half is empty or counts cannot choose.

    Parameters
    ----------
    entry : Entry
    counts : Counts, optional
        Of the same layer and images by other folds; those of the run.
    """
    counts = entry.counts if counts is None else counts
    folds = filled_folds(counts)
    score, weights = SCORES.get(entry.run.settings.score), even_and_odd(folds)
    if score is None or not weights.any(1).all():
        return []
    units, _, concepts = counts.shape
    concept, iou, run_concept_iou = np.zeros((2, units), np.int64), np.zeros((2, units)), np.zeros((2, units))
    for block in in_blocks(units, _AT_ONCE // (len(folds) * max(concepts, 1))):
        overlap = fold_table(counts, block).overlap(weights)
        scores, chosen = overlap.iou(), choose(overlap, score)
        meets = np.asarray(overlap.intersection).any(2)
        concept[:, block] = np.where(meets, chosen, -1)
        iou[:, block] = np.take_along_axis(scores, chosen[:, :, None], 2)[:, :, 0]
        run_concept_iou[:, block] = scores[:, np.arange(scores.shape[1]), entry.concept[block]]
    return [
        LayerCheck(entry.layer, name, CheckedConcepts(concept[half], iou[half], run_concept_iou[half]))
        for half, name in enumerate(("even folds", "odd folds"))
    ]


def unit_rows(entry: "Entry", check: LayerCheck) -> "pd.DataFrame":
    """Rows of audit.csv: the concepts of a layer's units in the run and under one check."""
    import pandas as pd

    units = np.flatnonzero(entry.labelled)
    checked, in_run = check.checked, entry.concept[units]
    run, concept = entry.run.table().iloc[units], checked.concept[units]
    # No concept is column -1: the last one, which stands for nothing.
    names = np.array([*entry.run.concepts, None], object)
    categories = np.array([*(category for category, _ in entry.concepts), None], object)
    rows: dict[str, Any] = {name: run[name].to_numpy() for name in ("unit", "concept", "category", "iou", "verdict")}
    rows |= {
        "layer": entry.layer,
        "check": check.name,
        "check_concept": names[concept],
        "check_category": categories[concept],
        "check_iou": np.where(concept < 0, np.nan, checked.iou[units]),
        "concept_iou": checked.run_concept_iou[units],
        "same_concept": concept == in_run,
        "same_category": categories[concept] == categories[in_run],
        "above_min_iou": (concept >= 0) & (checked.iou[units] > entry.run.settings.min_iou),
    }
    return pd.DataFrame(rows, columns=list(AUDIT_COLUMNS))


def summarise(units: "pd.DataFrame", *, min_iou: float) -> "pd.DataFrame":
    """One row for each layer and check, with the columns `AUDIT_SUMMARY_COLUMNS`."""
    import pandas as pd

    rows: list[dict[str, Any]] = []
    for (layer, check), group in units.groupby(["layer", "check"], sort=False):
        detectors = group[group["verdict"] == "detector"]
        row: dict[str, Any] = {"layer": layer, "check": check, "units": len(group), "detectors": len(detectors)}
        row |= _share_columns("same_concept", group["same_concept"])
        row |= _share_columns("same_category", group["same_category"])
        row |= _share_columns("detectors_same_concept", detectors["same_concept"])
        row |= {
            "mean_iou": group["iou"].mean(),
            "check_mean_iou": group["check_iou"].mean(),
            "above_min_iou": int((group["iou"] > min_iou).sum()),
            "check_above_min_iou": int(group["above_min_iou"].sum()),
        }
        rows.append(row)
    table = pd.DataFrame(rows, columns=list(AUDIT_SUMMARY_COLUMNS))
    order = list(CHECKS)
    return table.sort_values("check", key=lambda names: names.map(order.index), kind="stable").reset_index(drop=True)


def _share_columns(name: str, flags: "pd.Series[bool]") -> dict[str, float]:
    """The share of units for which something is true, and Wilson's interval of it, as three columns."""
    if not len(flags):
        return dict.fromkeys((name, f"{name}_low", f"{name}_high"), float("nan"))
    low, high = wilson(int(flags.sum()), len(flags))
    return {name: float(flags.mean()), f"{name}_low": low, f"{name}_high": high}


def agreement_of_halves(units: "pd.DataFrame", layer: str) -> float:
    """Share of the units of a layer with the same concept on the even and on the odd folds; NaN without halves."""
    rows = units[units["layer"] == layer].set_index("unit")
    even, odd = (rows[rows["check"] == name]["check_concept"] for name in ("even folds", "odd folds"))
    return float((even == odd.reindex(even.index)).mean()) if len(even) else float("nan")


def baselines(entry: "Entry") -> list[dict[str, Any]]:
    """Mean IoU of the units with their concepts, and with concepts that could be given without looking at the units.

    Returns
    -------
    list of dict
        ``layer``, ``baseline``, ``concept`` (where it is the same for all units) and ``mean_iou``, over the units
        that have a concept. Where concepts are random, it is the mean over all ways to draw them.
    """
    iou, chosen = entry.counts.iou[entry.labelled], entry.concept[entry.labelled]
    if not len(iou):
        return []
    mean_of_concept, names = iou.mean(0), entry.run.concepts
    best, most_frequent = int(mean_of_concept.argmax()), int(entry.counts.concept.argmax())
    frequency = np.bincount(chosen, minlength=iou.shape[1]) / len(chosen)
    heldout = entry.run.table()["heldout_iou"].astype(float)[entry.labelled].mean()
    rows = [
        ("concepts of the run", None, iou[np.arange(len(iou)), chosen].mean()),
        ("concepts of the run, held out", None, heldout),
        ("concepts of the run, shuffled among the units", None, mean_of_concept @ frequency),
        ("best single concept for all units", names[best], mean_of_concept[best]),
        ("most frequent concept", names[most_frequent], mean_of_concept[most_frequent]),
        ("random concept", None, mean_of_concept.mean()),
    ]
    return [
        {"layer": entry.layer, "baseline": baseline, "concept": concept, "mean_iou": float(mean)}
        for baseline, concept, mean in rows
        if not np.isnan(mean)
    ]


def collisions(entry: "Entry") -> list[dict[str, Any]]:
    """Concepts that several units of a layer share, by falling number of units: layer, category, concept and units."""
    table = entry.run.table()[entry.labelled]
    rows = [
        {"layer": entry.layer, "category": category, "concept": concept, "units": group["unit"].astype(int).tolist()}
        for (category, concept), group in table.groupby(["category", "concept"])
        if len(group) > 1
    ]
    return sorted(rows, key=lambda row: (-len(row["units"]), row["category"], row["concept"]))


def overlapping_concepts(
    labels: "LabelPlanes", images: int, names: list[str], *, most: int = 20
) -> list[dict[str, Any]]:
    """Find the pairs of concepts whose regions overlap most, so that their units can hardly be distinguished.

    Parameters
    ----------
    labels : LabelPlanes
        What is marked in the images.
    images : int
        Number of images.
    names : list of str
        Names of the concepts.
    most : int
        Number of pairs at most, of those that overlap at all.

    Returns
    -------
    list of dict
        ``concept``, ``other`` and ``iou`` over all images, in positions that are judged for both.
    """
    concepts, category_of = len(names), labels.columns.category_of
    categories = len(labels.columns.categories)
    both = np.zeros((concepts, concepts), np.int64)
    judged_for = np.zeros((concepts, categories), np.int64)  # positions of a concept that are judged for a category
    not_judged = 1 + concepts + np.arange(categories)  # the columns that stand for it
    for image in range(images):
        planes = labels.read([image])[0]
        columns = np.unique(planes)
        present = columns[(columns > 0) & (columns <= concepts)].astype(np.int64)
        regions = (planes[:, None, :] == present[None, :, None]).any(0).astype(np.float32)  # (present, positions)
        judged = ~(planes[:, None, :] == not_judged[None, :, None]).any(0)
        both[np.ix_(present - 1, present - 1)] += np.rint(regions @ regions.T).astype(np.int64)
        judged_for[present - 1] += np.rint(regions @ judged.T.astype(np.float32)).astype(np.int64)
    size = judged_for[:, category_of]  # of the first concept, where the second one's category is judged
    overlap = share(both, size + size.T - both)
    first, second = np.triu_indices(concepts, 1)
    order = np.argsort(-overlap[first, second], kind="stable")[:most]
    return [
        {"concept": names[a], "other": names[b], "iou": float(overlap[a, b])}
        for a, b in zip(first[order], second[order], strict=True)
        if overlap[a, b] > 0
    ]
