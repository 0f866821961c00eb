"""The card of each unit: what it shows beside the unit's row of the table."""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from unitlens.labels.columns import DISSECTION, REFERENCES
from unitlens.pages.formats import Row, image_uri, number, percent, rows_of
from unitlens.pages.units.places import unit_id

if TYPE_CHECKING:
    import pandas as pd

Strips = Mapping[tuple[str, int], bytes]
"""Image files by layer and unit: what `unitlens.drawing.strips.draw_strip` returned."""

UnitExemplars = list[tuple[str, str]]
"""Name of each exemplar of a unit, and the unit's largest activation in it."""


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
        Its row of the ranked units.
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
    images: UnitExemplars
    labels: list[CardLabel]
    people: str


def scale_top(units: "pd.DataFrame", min_iou: float) -> float:
    """Return the right end of every IoU scale of the page: the largest number drawn, rounded up to a tenth."""
    names = [name for name in ("iou", "iou_high", "chance_iou", "heldout_iou") if name in units]
    largest = max((float(units[name].max()) for name in names if units[name].notna().any()), default=0.0)
    return min(1.0, max(math.ceil(10 * max(largest, min_iou)), 1) / 10)


def make_cards(
    ranked: "pd.DataFrame",
    exemplars: Sequence[UnitExemplars],
    strips: Strips,
    *,
    top: float,
    labels: Mapping[str, list[CardLabel]],
    people: Mapping[str, str],
) -> list[Card]:
    """Make a card for each unit.

    Parameters
    ----------
    ranked : DataFrame
        What `unitlens.pages.units.ranked.ranked_units` returned, or its first rows.
    exemplars : sequence of list of (str, str)
        Of each unit, what `exemplars_by_place` returned.
    strips : mapping of (layer, unit) to bytes
        JPEG, WebP or PNG files.
    top : float
        The IoU at the right end of the scales.
    labels : mapping of str to list of CardLabel
        By the ids of the units: what `labels_by_unit` returned.
    people : mapping of str to str
        By the ids of the units: what `people_by_unit` returned.

    Returns
    -------
    list of Card
        One a unit, in their order.
    """
    return [
        _card(row, images, strips, labels.get(row["id"], []), people.get(row["id"], ""), top)
        for row, images in zip(rows_of(ranked), exemplars, strict=False)
    ]


def exemplars_by_place(ranked: "pd.DataFrame", exemplars: "pd.DataFrame") -> list[UnitExemplars]:
    """Return the exemplars of each unit, in the order of the units: names of images, and the unit's peak in each."""
    lists: list[UnitExemplars] = [[] for _ in range(len(ranked))]
    if len(exemplars):
        place = {key: lists[k] for k, key in enumerate(zip(ranked["layer"], ranked["unit"].tolist(), strict=True))}
        table = exemplars.sort_values("rank", kind="stable")
        columns = [table[name].tolist() for name in ("layer", "unit", "image", "value")]
        for layer, unit, image, value in zip(*columns, strict=True):
            place[layer, unit].append((image, number(value)))
    return lists


def _card(
    row: dict[str, Any], images: UnitExemplars, strips: Strips, labels: list[CardLabel], people: str, top: float
) -> Card:
    key = row["layer"], row["unit"]
    return Card(
        row=row,
        id=row["id"],
        concept_id=row["concept_id"],
        verdict=row["shown"],
        scale=_scale(row, top),
        description=_description(row),
        also=also_fitting(row["concept"], row["concept_set"]),
        needed=needed_concepts(row["needed_concepts"]),
        numbers=_numbers(row),
        strip=image_uri(strips[key]) if key in strips else "",
        images=images,
        labels=labels,
        people=people,
    )


def also_fitting(concept: str | None, concept_set: str | None) -> list[str]:
    """Return the concepts that fit as well as a unit's own."""
    return [name for name in json.loads(concept_set or "[]") if name != concept]


def needed_concepts(needed: str | None) -> list[str]:
    """Return the concepts that a unit's mask needs, where they are several."""
    names = json.loads(needed or "[]")
    return names if len(names) > 1 else []


People = Mapping[tuple[str, int, str, str], str]
"""How often people chose a label, in words: by layer, unit, method and label."""


def people_by_label(answers: "pd.DataFrame | None") -> People:
    """Say of each label how often people chose it.

    Parameters
    ----------
    answers : DataFrame or None
        What `Ratings.by_label` returned.
    """
    return {
        (row["layer"], row["unit"], row["method"], row["label"]): (
            f"chosen in {row['right']} of {row['answers']} answers ({percent(row['low'], 2)} to "
            f"{percent(row['high'], 2)})"
        )
        for row in (() if answers is None else rows_of(answers))
    }


def people_by_unit(ranked: "pd.DataFrame", people: People) -> dict[str, str]:
    """Say how often people chose the concept of the dissection, by the ids of units; without those of no answers."""
    if not people:
        return {}
    found = {}
    for row in rows_of(ranked[["id", "layer", "unit", "category", "concept"]]):
        names = (row["concept"], f"{row['category']}/{row['concept']}")  # it may be written in either way
        keys = ((row["layer"], row["unit"], DISSECTION, str(name)) for name in names)
        found[row["id"]] = next((people[key] for key in keys if key in people), "")
    return {id_: said for id_, said in found.items() if said}


def labels_by_unit(labels: "pd.DataFrame | None", people: People) -> dict[str, list[CardLabel]]:
    """Sort labels by the ids of units; of each method and range, the best one is shown, and none of the references."""
    found: dict[str, list[CardLabel]] = {}
    if labels is not None and len(labels):
        shown = (labels["rank"] == 1) & ~labels["method"].isin(REFERENCES)
        for row in rows_of(labels[shown].sort_values(["method", "range_low"], kind="stable")):
            label = _card_label(_without_infinities(row), people)
            found.setdefault(unit_id(row["layer"], row["unit"]), []).append(label)
    return found


def _without_infinities(row: Row) -> dict[str, Any]:
    """Return the row with None where a number is infinite."""
    return {name: None if isinstance(value, float) and math.isinf(value) else value for name, value in row.items()}


def _card_label(row: Row, people: People) -> CardLabel:
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
NUMBERS: Mapping[str, tuple[str, Callable[[float], str]]] = {
    "threshold": ("threshold", number),
    **{name: (text, partial(percent, digits=3)) for name, text in _SHARES.items()},
    **{name: (text, number) for name, text in _PLAIN.items()},
}
"""The further numbers of a unit in their order: by their columns, what they are called, and how they are written."""


def _numbers(row: Row) -> list[tuple[str, str]]:
    """Name the further numbers of a unit; those that are missing are left out."""
    return [(text, write(row[name])) for name, (text, write) in NUMBERS.items() if row[name] is not None]
