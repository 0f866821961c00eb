"""Checks of labels that take the counts of a run only: halves of the images, trivial baselines, collisions."""

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from unitlens.comparison.columns import AUDIT_COLUMNS, AUDIT_SUMMARY_COLUMNS, CHECKS
from unitlens.stats.blocks import in_blocks
from unitlens.stats.folds import even_and_odd, filled_folds, fold_table
from unitlens.stats.scores import SCORES, Floats, Ints, choose, share

if TYPE_CHECKING:
    import pandas as pd

    from unitlens.comparison.entries import Entry
    from unitlens.dissection.store.labels import LabelPlanes

_AT_ONCE = 1 << 22  # numbers of one intermediate array


class CheckedLabels(NamedTuple):
    """Labels of the units of a layer under one check.

    Attributes
    ----------
    label : int64 array, (U,)
        Column of the label; -1 where there is none.
    iou : float64 array, (U,)
        IoU with it under the check.
    run_label_iou : float64 array, (U,)
        IoU under the check with the label in the run.
    """

    label: Ints
    iou: Floats
    run_label_iou: Floats


class LayerCheck(NamedTuple):
    """One check of one layer; the name is a key of `CHECKS`."""

    layer: str
    name: str
    labels: CheckedLabels


def check_halves(entry: "Entry") -> list[LayerCheck]:
    """Choose labels on the even and on the odd folds; no check where a half is empty or counts cannot choose."""
    counts, folds = entry.counts, filled_folds(entry.counts)
    score, weights = SCORES.get(entry.run.settings.score), even_and_odd(folds)
    if score is None or not weights.any(1).all():
        return []
    units, _, concepts = counts.shape
    label, iou, run_label_iou = np.zeros((2, units), np.int64), np.zeros((2, units)), np.zeros((2, units))
    for block in in_blocks(units, _AT_ONCE // (len(folds) * max(concepts, 1))):
        overlap = fold_table(counts, block).overlap(weights)
        scores, chosen = overlap.iou(), choose(overlap, score)
        meets = np.asarray(overlap.intersection).any(2)
        label[:, block] = np.where(meets, chosen, -1)
        iou[:, block] = np.take_along_axis(scores, chosen[:, :, None], 2)[:, :, 0]
        run_label_iou[:, block] = scores[:, np.arange(scores.shape[1]), entry.label[block]]
    return [
        LayerCheck(entry.layer, name, CheckedLabels(label[half], iou[half], run_label_iou[half]))
        for half, name in enumerate(("even folds", "odd folds"))
    ]


def unit_rows(entry: "Entry", check: LayerCheck) -> "pd.DataFrame":
    """Rows of audit.csv: the labels of a layer in the run and under one check."""
    import pandas as pd

    units = np.flatnonzero(entry.labelled)
    run, label, run_label = entry.run.table().iloc[units], check.labels.label[units], entry.label[units]
    # No label is column -1: the last one, which stands for nothing.
    names = np.array([*entry.run.concepts, None], object)
    categories = np.array([*(category for category, _ in entry.concepts), None], object)
    rows: dict[str, Any] = {name: run[name].to_numpy() for name in ("unit", "concept", "category", "iou", "verdict")}
    rows |= {
        "layer": entry.layer,
        "check": check.name,
        "check_concept": names[label],
        "check_category": categories[label],
        "check_iou": np.where(label < 0, np.nan, check.labels.iou[units]),
        "label_iou": check.labels.run_label_iou[units],
        "same_label": label == run_label,
        "same_category": categories[label] == categories[run_label],
        "above_min_iou": (label >= 0) & (check.labels.iou[units] > entry.run.settings.min_iou),
    }
    return pd.DataFrame(rows, columns=list(AUDIT_COLUMNS))


def summarise(units: "pd.DataFrame", *, min_iou: float) -> "pd.DataFrame":
    """One row for each layer and check, with the columns `AUDIT_SUMMARY_COLUMNS`."""
    import pandas as pd

    rows: list[dict[str, Any]] = []
    for (layer, check), group in units.groupby(["layer", "check"], sort=False):
        detectors = group[group["verdict"] == "detector"]
        row: dict[str, Any] = {"layer": layer, "check": check, "units": len(group), "detectors": len(detectors)}
        row |= _share_columns("same_label", group["same_label"])
        row |= _share_columns("same_category", group["same_category"])
        row |= _share_columns("detectors_same_label", detectors["same_label"])
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
    """The share of units for which something is true, and Wilson's interval of it, as three columns.

    References
    ----------
    Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22 (1927).
    """
    from scipy.stats import binomtest

    if not len(flags):
        return dict.fromkeys((name, f"{name}_low", f"{name}_high"), float("nan"))
    interval = binomtest(int(flags.sum()), len(flags)).proportion_ci(method="wilson")
    return {name: float(flags.mean()), f"{name}_low": float(interval.low), f"{name}_high": float(interval.high)}


def agreement_of_halves(units: "pd.DataFrame", layer: str) -> float:
    """Share of the units of a layer with the same label on the even and on the odd folds; NaN without halves."""
    rows = units[units["layer"] == layer].set_index("unit")
    even, odd = (rows[rows["check"] == name]["check_concept"] for name in ("even folds", "odd folds"))
    return float((even == odd.reindex(even.index)).mean()) if len(even) else float("nan")


def baselines(entry: "Entry") -> list[dict[str, Any]]:
    """Mean IoU of the units with their labels, and with labels that could be given without looking at the units.

    Returns
    -------
    list of dict
        ``layer``, ``labels`` (which), ``concept`` (where it is the same for all units) and ``mean_iou``, over the units
        that have a label. Where labels are random, it is the mean over all ways to draw them.
    """
    iou, label = entry.counts.iou[entry.labelled], entry.label[entry.labelled]
    if not len(iou):
        return []
    mean_of_concept, names = iou.mean(0), entry.run.concepts
    best, most_frequent = int(mean_of_concept.argmax()), int(entry.counts.concept.argmax())
    frequency_of_label = np.bincount(label, minlength=iou.shape[1]) / len(label)
    heldout = entry.run.table()["heldout_iou"].astype(float)[entry.labelled].mean()
    rows = [
        ("labels of the run", None, iou[np.arange(len(iou)), label].mean()),
        ("labels of the run, held out", None, heldout),
        ("labels of the run, shuffled among the units", None, mean_of_concept @ frequency_of_label),
        ("best single label for all units", names[best], mean_of_concept[best]),
        ("most frequent concept", names[most_frequent], mean_of_concept[most_frequent]),
        ("random concept", None, mean_of_concept.mean()),
    ]
    return [
        {"layer": entry.layer, "labels": labels, "concept": concept, "mean_iou": float(mean)}
        for labels, concept, mean in rows
        if not np.isnan(mean)
    ]


def collisions(entry: "Entry") -> list[dict[str, Any]]:
    """Labels that several units of a layer share, by falling number of units: layer, category, concept and units."""
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
