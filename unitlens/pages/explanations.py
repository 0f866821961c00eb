"""The page that explains predictions: image by image, what units and concepts do to the answer."""

from typing import Any, NamedTuple

import numpy as np

from unitlens.drawing.segments import GREY, PALETTE, draw_segments
from unitlens.drawing.sheets import sheet
from unitlens.drawing.strips import draw_strip, tile_masks
from unitlens.explaining.explanation import TOP, Explanation, Explanations, SmallestSet
from unitlens.explaining.sentences import sentence
from unitlens.pages.document import document
from unitlens.pages.formats import image_uri, rows_of

Rows = list[dict[str, Any]]

SEGMENTED_BY = 8
"""An image is segmented by so many units: of those that speak most for the class."""

MOST_CONCEPTS = 8
"""Rows of an image's table of concepts."""

SIZE = 224
"""Height of images in pixels."""

TILE = 64

NO_LABEL = "no good label"


class Segment(NamedTuple):
    """One colour of a segmented image: what it stands for, as CSS."""

    colour: str
    name: str


class ImageSection(NamedTuple):
    """One image: pictures as URIs, its sentence, and rows of the tables."""

    one: Explanation
    id: str
    predicted: str
    followed: str
    right: bool | None
    sentence: str
    image: str
    segmented: str
    legend: list[Segment]
    units: Rows
    concepts: Rows
    together: Rows
    smallest: str
    agreement: Rows


def render_explanations(explanations: Explanations) -> str:
    """Return the page as text: one self-contained HTML file."""
    tables = {"concepts": explanations.concepts(), "sets": explanations.sets(), "agreement": explanations.agreement()}
    sections = [_section(explanations, number, tables) for number in range(len(explanations))]
    return document(
        "explanations.html",
        version=explanations.info["unitlens"],
        warnings=explanations.info["warnings"],
        styles=("comparison.css", "explanations.css"),
        info=explanations.info,
        layer=explanations.layer,
        sections=sections,
        confident=sum(1 for section in sections if section.right),
        known=sum(1 for section in sections if section.right is not None),
    )


def _section(explanations: Explanations, number: int, tables: dict[str, Any]) -> ImageSection:
    one, labelled, classes = explanations.images[number], explanations.labelled, explanations.classes
    followed, predicted = classes[one.explained], classes[one.before.prediction]
    speaking = [unit for unit in one.ranked if one.logit_effect[unit] < 0][:SEGMENTED_BY]
    names = [_label(labelled.table.iloc[unit]) for unit in speaking]
    concepts = dict.fromkeys(name for name in names if name != NO_LABEL)
    places = {name: place for place, name in enumerate(concepts)} | {NO_LABEL: GREY}
    legend = [Segment("rgb({}, {}, {})".format(*PALETTE[places[name]]), name) for name in dict.fromkeys(names)]
    segmented = draw_segments(
        one.pixels, one.maps[speaking], labelled.thresholds[speaking], [places[name] for name in names], size=SIZE
    )
    of_image = {name: rows_of(table[table["image"] == one.image]) for name, table in tables.items()}
    return ImageSection(
        one=one,
        id=f"image-{number}",
        predicted=predicted,
        followed=followed,
        right=None if one.class_of is None else one.class_of == predicted,
        sentence=sentence(one, labelled, classes),
        image=image_uri(sheet([one.pixels[None]], size=SIZE)),
        segmented=image_uri(segmented),
        legend=legend,
        units=[_unit(explanations, one, unit) for unit in one.ranked[:TOP]],
        concepts=[row for row in of_image["concepts"] if row["logit_effect"] < 0][:MOST_CONCEPTS],
        together=[row for row in of_image["sets"] if row["set"] == "top"],
        smallest=describe_smallest(one.smallest, classes),
        agreement=of_image["agreement"],
    )


def _unit(explanations: Explanations, one: Explanation, unit: int) -> dict[str, Any]:
    """A row of explanation.csv, with the image and the unit's mask on it."""
    row = explanations.labelled.table.iloc[unit]
    threshold = explanations.labelled.thresholds[unit]
    tile = draw_strip(one.pixels[None], tile_masks(one.maps[unit][None], float(threshold), TILE), size=TILE)
    return {
        "unit": unit,
        "label": _label(row),
        "good": bool(explanations.labelled.good[unit]),
        "verdict": row["verdict"],
        "logit_effect": one.logit_effect[unit],
        "probability_effect": one.probability_effect[unit],
        "prediction": explanations.classes[one.units.prediction[unit]],
        "changes": one.units.prediction[unit] != one.before.prediction,
        "attributed": {method: values[unit] for method, values in one.attributions.items()},
        "area": one.area[unit],
        "ratio": one.peak[unit] / threshold if threshold > 0 else np.nan,
        "tile": image_uri(tile),
    }


def _label(row: Any) -> str:
    """The concept of a unit, where its label is good."""
    return str(row["concept"]) if row["verdict"] == "detector" else NO_LABEL


def describe_smallest(smallest: SmallestSet, classes: tuple[str, ...]) -> str:
    """Say which smallest set of units changes the prediction, and how sure it is that no smaller one does."""
    if not smallest.most:
        return ""
    tried = {0: "", 1: "no single unit does", 2: "no pair of units does"}
    none_does = tried.get(smallest.exhausted, f"no set of up to {smallest.exhausted} units does")
    if smallest.found is None:
        known = f"; {none_does}, as all were tried" if none_does else ""
        return f"No set of up to {smallest.most} units was found whose removal changes the prediction{known}."
    units, found = smallest.found.units, classes[smallest.found.answer.prediction]
    if len(units) == 1:
        return f"Without unit {units[0]} the prediction is {found}."
    said = f"Without units {', '.join(map(str, units))} the prediction is {found}"
    if smallest.certain:
        return f"{said}, and fewer do not do it: {none_does}, as all were tried."
    left = len(units) - 1
    between = (
        f"of sets of {left}" if smallest.exhausted + 1 == left else f"of sets of {smallest.exhausted + 1} to {left}"
    )
    return f"{said}; {none_does}, as all were tried, and {between} not all."
