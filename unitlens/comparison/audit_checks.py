"""What the counts of a run alone can tell of its labels: halves of the images, trivial baselines, collisions."""

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from unitlens.comparison.audit_columns import CHECKS, COLUMNS, SUMMARY_COLUMNS
from unitlens.comparison.entries import Entry
from unitlens.dissection.store.labels import LabelPlanes
from unitlens.stats.blocks import in_blocks
from unitlens.stats.folds import even_and_odd, filled_folds, fold_table
from unitlens.stats.scores import SCORES, Floats, Ints, choose, share

if TYPE_CHECKING:
    import pandas as pd

_AT_ONCE = 1 << 22  # numbers of one intermediate array


class Labelled(NamedTuple):
    """Labels of the units of a layer under some check.

    Attributes
    ----------
    label : int64 array, (U,)
        Column of the label; -1 where there is none.
    iou : float64 array, (U,)
        IoU with it.
    own_iou : float64 array, (U,)
        IoU with the label in the run.
    """

    label: Ints
    iou: Floats
    own_iou: Floats


def label_on_halves(entry: Entry) -> dict[str, Labelled]:
    """Labels chosen on the even and on the odd folds; nothing where a half is empty or counts cannot choose."""
    counts, folds = entry.counts, filled_folds(entry.counts)
    score = SCORES.get(entry.run.settings.score)
    weights = even_and_odd(folds)
    if score is None or not weights.any(1).all():
        return {}
    units, _, concepts = counts.shape
    parts = []
    for some in in_blocks(units, _AT_ONCE // (len(folds) * max(concepts, 1))):
        overlap = fold_table(counts, some).overlap(weights)
        iou, label = overlap.iou(), choose(overlap, score)
        met = np.asarray(overlap.intersection).any(2)
        own = np.broadcast_to(entry.label[some], label.shape)
        found = [np.take_along_axis(iou, which[:, :, None], 2)[:, :, 0] for which in (label, own)]
        parts.append((np.where(met, label, -1), *found))
    label, iou, own_iou = (np.concatenate(part, axis=1) for part in zip(*parts, strict=True))
    names = ("even folds", "odd folds")
    return {name: Labelled(label[half], iou[half], own_iou[half]) for half, name in enumerate(names)}


def unit_rows(entry: Entry, check: str, found: Labelled) -> "pd.DataFrame":
    """Rows of audit.csv: what became of the labels of a layer under one check."""
    import pandas as pd

    units = np.flatnonzero(entry.labelled)
    run = entry.run.table().iloc[units]
    label, names = found.label[units], np.array([*entry.run.concepts, None], object)
    categories = np.array([*(category for category, _ in entry.keys), None], object)
    rows: dict[str, Any] = {name: run[name].to_numpy() for name in ("unit", "concept", "category", "iou", "verdict")}
    rows |= {
        "layer": entry.layer,
        "check": check,
        "check_concept": names[label],
        "check_category": categories[label],
        "check_iou": np.where(label < 0, np.nan, found.iou[units]),
        "label_iou": found.own_iou[units],
        "same_label": label == entry.label[units],
        "same_category": categories[label] == categories[entry.label[units]],
        "above_min_iou": (label >= 0) & (found.iou[units] > entry.run.settings.min_iou),
    }
    return pd.DataFrame(rows, columns=list(COLUMNS))


def summarise(units: "pd.DataFrame", *, min_iou: float) -> "pd.DataFrame":
    """One row a layer and check, with the columns `SUMMARY_COLUMNS`."""
    import pandas as pd

    rows: list[dict[str, Any]] = []
    for (layer, check), own in units.groupby(["layer", "check"], sort=False):
        detectors = own[own["verdict"] == "detector"]
        rows.append(
            {
                **{"layer": layer, "check": check, "units": len(own), "detectors": len(detectors)},
                **_stayed("same_label", own["same_label"]),
                **_stayed("same_category", own["same_category"]),
                **_stayed("detectors_same_label", detectors["same_label"]),
                "mean_iou": own["iou"].mean(),
                "check_mean_iou": own["check_iou"].mean(),
                "above_min_iou": int((own["iou"] > min_iou).sum()),
                "check_above_min_iou": int(own["above_min_iou"].sum()),
            }
        )
    table = pd.DataFrame(rows, columns=list(SUMMARY_COLUMNS))
    order = {check: place for place, check in enumerate(CHECKS)}
    return table.sort_values("check", key=lambda checks: checks.map(order), kind="stable").reset_index(drop=True)


def _stayed(name: str, flags: "pd.Series[bool]") -> dict[str, float]:
    """The share of units of which something is true, and its interval, as three columns."""
    from scipy.stats import binomtest

    if not len(flags):
        return dict.fromkeys((name, f"{name}_low", f"{name}_high"), float("nan"))
    interval = binomtest(int(flags.sum()), len(flags)).proportion_ci(method="wilson")
    return {name: float(flags.mean()), f"{name}_low": float(interval.low), f"{name}_high": float(interval.high)}


def halves_agree(units: "pd.DataFrame", layer: str) -> float:
    """Share of the units of a layer whose labels on the even and on the odd folds are one; NaN without halves."""
    own = units[units["layer"] == layer].set_index("unit")
    even, odd = (own[own["check"] == name]["check_concept"] for name in ("even folds", "odd folds"))
    return float((even == odd.reindex(even.index)).mean()) if len(even) else float("nan")


def baselines(entry: Entry) -> list[dict[str, Any]]:
    """Mean IoU of the units with their labels, and with labels that anyone could give.

    Returns
    -------
    list of dict
        ``layer``, ``labels`` (which), ``concept`` (where it is one for all units) and ``mean_iou``, over the units that
        have a label. Where labels are drawn, it is the mean over all draws.
    """
    iou, label = entry.counts.iou[entry.labelled], entry.label[entry.labelled]
    if not len(iou):
        return []
    means, frequent = iou.mean(0), int(entry.counts.concept.argmax())
    dealt = np.bincount(label, minlength=iou.shape[1]) / len(label)
    constant, names = int(means.argmax()), entry.run.concepts
    heldout = entry.run.table()["heldout_iou"].astype(float)[entry.labelled].mean()
    rows = [
        ("the run's", None, iou[np.arange(len(iou)), label].mean()),
        ("the run's, held out", None, heldout),
        ("the run's, dealt out again among the units", None, float(means @ dealt)),
        ("one for all units, the best there is", names[constant], means[constant]),
        ("the most frequent concept", names[frequent], means[frequent]),
        ("any concept, at random", None, means.mean()),
    ]
    return [
        {"layer": entry.layer, "labels": what, "concept": concept, "mean_iou": float(mean)}
        for what, concept, mean in rows
        if not np.isnan(mean)
    ]


def collisions(entry: Entry) -> list[dict[str, Any]]:
    """Labels that several units of a layer share, most shared first: layer, category, concept and the units."""
    table = entry.run.table()[entry.labelled]
    rows = [
        {"layer": entry.layer, "category": category, "concept": concept, "units": [int(unit) for unit in own["unit"]]}
        for (category, concept), own in table.groupby(["category", "concept"])
        if len(own) > 1
    ]
    return sorted(rows, key=lambda row: (-len(row["units"]), row["category"], row["concept"]))


def overlapping_concepts(labels: LabelPlanes, images: int, names: list[str], *, most: int = 20) -> list[dict[str, Any]]:
    """Pairs of concepts whose regions overlap most, so that a unit for one is hardly told from a unit for the other.

    Parameters
    ----------
    labels : LabelPlanes
        What is marked in the images.
    images : int
        How many they are.
    names : list of str
        How the concepts are written.
    most : int
        So many pairs at most, of those that overlap at all.

    Returns
    -------
    list of dict
        ``concept``, ``other`` and ``iou`` over all images, in positions that are judged for both.
    """
    concepts, category_of = len(names), labels.columns.category_of
    categories = len(labels.columns.categories)
    both = np.zeros((concepts, concepts), np.int64)
    size = np.zeros((concepts, categories), np.int64)  # positions of a concept that are judged for a category
    for image in range(images):
        planes = labels.read([image])[0]
        held = np.unique(planes)
        there = held[(held > 0) & (held <= concepts)].astype(np.int64)
        holds = (planes[:, None, :] == there[None, :, None]).any(0).astype(np.float32)
        left_out = 1 + concepts + np.arange(categories)
        judged = ~(planes[:, None, :] == left_out[None, :, None]).any(0)
        both[np.ix_(there - 1, there - 1)] += np.rint(holds @ holds.T).astype(np.int64)
        size[there - 1] += np.rint(holds @ judged.T.astype(np.float32)).astype(np.int64)
    one = size[:, category_of]
    overlap = share(both, one + one.T - both)
    first, second = np.triu_indices(concepts, 1)
    order = np.argsort(-overlap[first, second], kind="stable")[:most]
    return [
        {"concept": names[a], "other": names[b], "iou": float(overlap[a, b])}
        for a, b in zip(first[order], second[order], strict=True)
        if overlap[a, b] > 0
    ]
