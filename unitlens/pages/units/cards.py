"""The card of each unit: what it shows beside the unit's row of the table."""

import json
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from unitlens.labels.columns import DISSECTION, REFERENCES
from unitlens.pages.formats import Row, image_uri, number, percent, rows_of, slug

if TYPE_CHECKING:
    import pandas as pd

Strips = Mapping[tuple[str, int], bytes]
"""Image files by layer and unit: what `unitlens.drawing.strips.draw_strip` returned."""

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
"""The columns of units.csv that a card uses; those of the evidence may be missing."""


class CardLabel(NamedTuple):
    """A label of a unit by another method.

    Attributes
    ----------
    method, label, verdict : str
    summary : str
        The most telling of its numbers: held out or, without that, its score.
    numbers : tuple of str
        Its score, and what it is held out, by chance and as an IoU; a dash where that is not known.
    about : str
        Of which range of activation it is, and how much of that it holds; empty where it is of the unit's mask.
    also : list of str
        Labels of the method that fit as well.
    people : str
        How often people chose it; empty where they were not asked.
    """

    method: str
    label: str
    verdict: str
    summary: str
    numbers: tuple[str, ...]
    about: str
    also: list[str]
    people: str


class Card(NamedTuple):
    """One unit.

    Attributes
    ----------
    row : Row
        Its row of units.csv, with all columns of `USED`; without a concept the IoU is None.
    id, concept_id : str
        Where the card, and the section of its concept, stand on the page.
    verdict : str
        One of `VERDICTS`.
    scale, description : str
        The places of the IoU scale as CSS variables, in percent; and the same in words.
    also : list of str
        Other concepts that fit as well.
    needed : list of str
        The concepts that its mask needs, where they are several.
    numbers : list of (str, str)
        Further numbers with their names.
    strip : str
        The address of the strip of exemplars; empty without one.
    images : list of (str, str)
        Name of each exemplar, and the unit's largest activation in it.
    labels : list of CardLabel
        By other methods.
    people : str
        How often people chose its concept; empty where they were not asked.
    """

    row: Row
    id: str
    concept_id: str
    verdict: str
    scale: str
    description: str
    also: list[str]
    needed: list[str]
    numbers: list[tuple[str, str]]
    strip: str
    images: list[tuple[str, str]]
    labels: list[CardLabel]
    people: str


def unit_id(layer: str, unit: int) -> str:
    """Return the place of a unit on the page, for a link: ``report.html#unit-layer4-17``.

    Parameters
    ----------
    layer : str
        Any layer name; whatever is not a letter, digit, ``.``, ``_`` or ``-`` becomes ``~`` and its hexadecimal code.
    unit : int
        The unit's number.

    Returns
    -------
    str
        Different for different units.
    """
    return f"unit-{slug(layer)}-{unit}"


def concept_id(category: str, concept: str) -> str:
    """Return the place of a concept's section on the page: ``concept-object/tree``."""
    return f"concept-{slug(category)}/{slug(concept)}"


def class_id(name: str) -> str:
    """Return the place of a class's section on the page: ``class-ski_slope``."""
    return f"class-{slug(name)}"


def scale_top(units: "pd.DataFrame", min_iou: float) -> float:
    """Return the right end of every IoU scale of the page: the largest number drawn, rounded up to a tenth."""
    names = [name for name in ("iou", "iou_high", "chance_iou", "heldout_iou") if name in units]
    largest = max((float(units[name].max()) for name in names if units[name].notna().any()), default=0.0)
    return min(1.0, max(math.ceil(10 * max(largest, min_iou)), 1) / 10)


def make_cards(
    units: "pd.DataFrame",
    exemplars: "pd.DataFrame",
    strips: Strips,
    *,
    top: float,
    labels: "pd.DataFrame | None" = None,
    answers: "pd.DataFrame | None" = None,
) -> list[Card]:
    """Make a card for each unit: detectors first, by falling IoU; units without one come last, as in the table.

    Parameters
    ----------
    units : DataFrame
        ``units.csv``.
    exemplars : DataFrame
        ``exemplars.csv``.
    strips : mapping of (layer, unit) to bytes
        JPEG, WebP or PNG files.
    top : float
        The IoU at the right end of the scales.
    labels : DataFrame, optional
        ``labels.csv``.
    answers : DataFrame, optional
        How often people chose labels: `Ratings.by_label`.

    Returns
    -------
    list of Card
        One a unit.
    """
    images: dict[tuple[str, int], list[tuple[str, str]]] = {}
    for row in rows_of(exemplars.sort_values("rank", kind="stable") if len(exemplars) else exemplars):
        images.setdefault((row["layer"], row["unit"]), []).append((row["image"], number(row["value"])))
    rows = [_without_infinities(row) for row in rows_of(units.reindex(columns=list(USED)))]
    people = _people_by_label(answers)
    by_unit = _labels_by_unit(labels, people)
    cards = [_card(row, images, strips, by_unit, people, top) for row in rows]
    return sorted(cards, key=_rank)


def _rank(card: Card) -> tuple[bool, float]:
    """Of thousands of units, many with a high IoU did not pass a test: detectors stand before them."""
    return not card.row["detector"], math.inf if card.row["iou"] is None else -card.row["iou"]


def _without_infinities(row: Row) -> dict[str, Any]:
    """Return the row with None where a number is infinite (``DataFrame.replace`` would change the types of columns)."""
    return {name: None if isinstance(value, float) and math.isinf(value) else value for name, value in row.items()}


def _card(
    row: dict[str, Any],
    images: Mapping[tuple[str, int], list[tuple[str, str]]],
    strips: Strips,
    labels: Mapping[tuple[str, int], list[CardLabel]],
    people: "_People",
    top: float,
) -> Card:
    key = row["layer"], row["unit"]
    if row["concept"] is None:
        row["iou"] = None
    needed = json.loads(row["needed_concepts"] or "[]")
    return Card(
        row=row,
        id=unit_id(*key),
        concept_id=concept_id(row["category"], row["concept"]) if row["concept"] is not None else "",
        verdict=verdict_of(row),
        scale=_scale(row, top),
        description=_description(row),
        also=[name for name in json.loads(row["concept_set"] or "[]") if name != row["concept"]],
        needed=needed if len(needed) > 1 else [],
        numbers=_numbers(row),
        strip=image_uri(strips[key]) if key in strips else "",
        images=images.get(key, []),
        labels=labels.get(key, []),
        people=next((people[one] for one in _written(*key, row) if one in people), ""),
    )


_LabelKey = tuple[str, int, str, str]
"""Layer, unit, method and label."""

_People = Mapping[_LabelKey, str]


def _people_by_label(answers: "pd.DataFrame | None") -> _People:
    """Say of each label how often people chose it."""
    return {
        (row["layer"], row["unit"], row["method"], row["label"]): (
            f"chosen in {row['right']} of {row['answers']} answers ({percent(row['low'], 2)} to "
            f"{percent(row['high'], 2)})"
        )
        for row in (() if answers is None else rows_of(answers))
    }


def _written(layer: str, unit: int, row: Row) -> list[_LabelKey]:
    """How the concept of a unit may be written as a label."""
    names = (row["concept"], f"{row['category']}/{row['concept']}") if row["concept"] is not None else ()
    return [(layer, unit, DISSECTION, str(name)) for name in names]


def _labels_by_unit(labels: "pd.DataFrame | None", people: _People) -> dict[tuple[str, int], list[CardLabel]]:
    """Sort labels by their units; of each method and range, the best one is shown, and none of the references."""
    found: dict[tuple[str, int], list[CardLabel]] = {}
    if labels is not None and len(labels):
        shown = (labels["rank"] == 1) & ~labels["method"].isin(REFERENCES)
        for row in rows_of(labels[shown].sort_values(["method", "range_low"], kind="stable")):
            found.setdefault((row["layer"], row["unit"]), []).append(_card_label(_without_infinities(row), people))
    return found


def _card_label(row: Row, people: _People) -> CardLabel:
    score, heldout = row["score"], row["heldout_score"]
    summary = f"held out {heldout:.2f}" if heldout is not None else f"score {score:.2f}" if score is not None else ""
    values, about = [row[name] for name in ("score", "heldout_score", "chance_score", "iou")], _range_of(row)
    return CardLabel(
        method=row["method"],
        label=row["label"],
        verdict=row["verdict"],
        summary=summary,
        numbers=tuple("\N{EN DASH}" if value is None else f"{value:.3f}" for value in values),
        about=about,
        also=json.loads(row["also"] or "[]"),
        people="" if about else people.get((row["layer"], row["unit"], row["method"], row["label"]), ""),
    )


def _range_of(row: Row) -> str:
    """Of which range of activation a label is, and how much of it the label holds."""
    low, high = (None if row[end] is None else number(row[end]) for end in ("range_low", "range_high"))
    if low is None and high is None:
        return ""
    about = f"up to {high}" if low is None else f"above {low}" if high is None else f"{low} to {high}"
    return about if row["share"] is None else f"{about}, {percent(row['share'], 2)} of it"


def verdict_of(row: Row) -> str:
    """Return the verdict of a unit; without a q-value, what the papers' rule alone says."""
    if row["q_value"] is not None and row["verdict"]:
        return str(row["verdict"])
    for name in ("nonfinite", "silent"):
        if row[name]:
            return name
    return "above" if row["above_min_iou"] else "below"


def _scale(row: Row, top: float) -> str:
    if row["iou"] is None:
        return ""
    drawn = {"v": "iou", "l": "iou_low", "h": "iou_high", "n": "chance_iou", "o": "heldout_iou"}
    places = {name: 100 * row[column] / top for name, column in drawn.items() if row[column] is not None}
    return ";".join(f"--{name}:{position:.1f}" for name, position in places.items())


def _description(row: Row) -> str:
    if row["iou"] is None:
        return ""
    parts = [f"IoU {row['iou']:.3f}"]
    if row["iou_low"] is not None and row["iou_high"] is not None:
        parts.append(f"95 % interval {row['iou_low']:.3f} to {row['iou_high']:.3f}")
    for name, column in (("chance", "chance_iou"), ("held out", "heldout_iou")):
        if row[column] is not None:
            parts.append(f"{name} {row[column]:.3f}")
    if row["heldout_low"] is not None and row["heldout_high"] is not None:
        parts[-1] += f" (95 % interval {row['heldout_low']:.3f} to {row['heldout_high']:.3f})"
    return ", ".join(parts)


_PLAIN = {
    "threshold": "threshold",
    "iou_ceiling": "IoU ceiling",
    "segmenter_iou": "IoU of the segmenter",
    "active_images": "active images",
    "activated_pixels": "activated A",
    "concept_pixels": "concept G",
    "intersection": "both I",
    "p_value": "p",
    "q_value": "q",
    "concept_q_value": "q of the concept",
    "context_iou": "IoU with its kind of image",
    "context_q": "q against its kind of image",
    "untrained_percentile": "untrained percentile",
    "untrained_percentile_all": "untrained percentile, any concept",
    "untrained_share": "share of untrained copies that reach it",
}
_SHARES = {
    "precision": "precision",
    "active_share": "active share",
    "concept_stability": "concept stability",
    "presence_accuracy": "presence accuracy",
}


def _numbers(row: Row) -> list[tuple[str, str]]:
    """Name the further numbers of a unit, the threshold first; those that are missing are left out."""
    numbers = [(text, number(row[name])) for name, text in _PLAIN.items() if row[name] is not None]
    numbers[1:1] = [(text, percent(row[name], 3)) for name, text in _SHARES.items() if row[name] is not None]
    return numbers
