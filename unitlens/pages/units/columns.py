"""The units of a page as columns of numbers, by which its script sorts, filters, searches and draws further cards."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from unitlens.pages.formats import image_uri, percent, slug
from unitlens.pages.units.cards import NUMBERS, CardLabel, Strips, UnitExemplars, also_fitting, needed_concepts

if TYPE_CHECKING:
    import pandas as pd

    from unitlens.pages.uses import Use

COMPUTED = {
    "iou": "iou",
    "low": "iou_low",
    "high": "iou_high",
    "heldout": "heldout_iou",
    "heldout_low": "heldout_low",
    "heldout_high": "heldout_high",
    "chance": "chance_iou",
    "q": "q_value",
    "second_iou": "second_iou",
}
"""Numbers that the script computes with, by their columns; the others are texts, as on the cards."""

USES = 4
"""So many of the classes that a unit serves are named on its card."""


class _Texts:
    """Texts, each once, by their places."""

    def __init__(self) -> None:
        self.places: dict[str, int] = {}

    def at(self, text: str | None) -> int:
        """Return the place of a text; -1 for None."""
        return -1 if text is None else self.places.setdefault(text, len(self.places))


def unit_columns(
    ranked: "pd.DataFrame",
    exemplars: Sequence[UnitExemplars],
    strips: Strips,
    *,
    labels: Mapping[str, Sequence[CardLabel]],
    people: Mapping[str, str],
    uses: "Mapping[str, Sequence[Use]]",
    full: int,
) -> dict[str, Any]:
    """Return what the script of the page takes, as JSON does.

    Parameters
    ----------
    ranked : DataFrame
        What `unitlens.pages.units.ranked.ranked_units` returned.
    exemplars : sequence of list of (str, str)
        Of each unit, what `unitlens.pages.units.cards.exemplars_by_place` returned.
    strips : mapping of (layer, unit) to bytes
    labels : mapping of str to sequence of CardLabel
        By the ids of the units.
    people : mapping of str to str
        How often people chose the concepts of units, by their ids.
    uses : mapping of str to sequence of Use
        The classes that units serve, by their ids.
    full : int
        So many units have their card in the page: what only the cards of others show is left out of them.

    Returns
    -------
    dict
        Lists with a value for each unit, None where it is missing; texts that are repeated by their places in
        ``names``, ``images``, ``layers``, ``verdicts`` and ``concepts``, -1 without one. What only some units have is
        given by the places of these units; ``said`` is what the search finds beside the concepts of a unit: all other
        concepts and labels on its card.
    """
    names, images, layers, verdicts = _Texts(), _Texts(), _Texts(), _Texts()
    values = {str(name): ranked[name].astype(object).where(ranked[name].notna(), None).tolist() for name in ranked}
    concepts = list(dict.fromkeys(zip(*(values[name] for name in ("concept_id", "concept", "category")), strict=True)))
    concepts = [one for one in concepts if one[0]]
    concept_at = {one[0]: place for place, one in enumerate(concepts)}
    further = range(full, len(ranked))

    def also(place: int) -> list[int]:
        return [names.at(one) for one in also_fitting(values["concept"][place], values["concept_set"][place])]

    def labels_of(place: int) -> list[list[Any]]:
        of_unit = labels.get(values["id"][place], ())
        by_place = ({"label": names.at(one.label), "also": list(map(names.at, one.also))} for one in of_unit)
        return [list((one._asdict() | places).values()) for one, places in zip(of_unit, by_place, strict=True)]

    def strip(place: int) -> str:
        content = strips.get((values["layer"][place], values["unit"][place]))
        return "" if content is None else image_uri(content)

    def said(place: int) -> list[int]:
        of_unit = labels.get(values["id"][place], ())
        needed = needed_concepts(values["needed_concepts"][place])
        texts = (text for label in of_unit for text in (label.label, *label.also))
        return list(dict.fromkeys([*also(place), *map(names.at, needed), *map(names.at, texts)]))

    columns = {
        "full": full,
        "concepts": concepts,
        "layer": [layers.at(layer) for layer in values["layer"]],
        "unit": values["unit"],
        "concept": [concept_at.get(one, -1) for one in values["concept_id"]],
        "verdict": [verdicts.at(one) for one in values["shown"]],
        "detector": [int(bool(one)) for one in values["detector"]],
        "above": [int(bool(one)) for one in values["above_min_iou"]],
        "second": [names.at(one) for one in values["second_concept"]],
        **{name: [_short(value) for value in values[column]] for name, column in COMPUTED.items()},
        "numbers": _numbers(values),
        "exemplars": [[images.at(name) for name, _ in of_unit] for of_unit in exemplars],
        "peaks": _of(further, lambda place: [peak for _, peak in exemplars[place]]),
        "said": _of(range(len(ranked)), said),
        "also": _of(further, also),
        "needed": _of(further, lambda place: needed_concepts(values["needed_concepts"][place])),
        "together": _of(further, lambda place: _percent(values["needed_precision"][place])),
        "labels": _of(further, labels_of),
        "people": _of(further, lambda place: people.get(values["id"][place], "")),
        "uses": _of(range(len(ranked)), lambda place: _uses(uses.get(values["id"][place], ()))),
        "strips": _of(further, strip),
    }
    texts = {"names": names, "images": images, "layers": layers, "verdicts": verdicts}
    return {
        **columns,
        **{name: list(one.places) for name, one in texts.items()},
        "slugs": list(map(slug, layers.places)),
    }


def _of(places: range, value: Callable[[int], Any]) -> dict[int, Any]:
    """The values of some units by their places, those that are not empty."""
    found = ((place, value(place)) for place in places)
    return {place: one for place, one in found if one}


def _short(value: float | None) -> float | None:
    """A number to six digits: what sorts and draws needs no more."""
    return None if value is None else float(f"{value:.6g}")


def _numbers(values: Mapping[str, Sequence[Any]]) -> list[tuple[str, list[str]]]:
    """The further numbers by what they are called, as texts, empty where missing; without those that no unit has."""
    written = {
        text: ["" if value is None else write(value) for value in values[name]]
        for name, (text, write) in NUMBERS.items()
    }
    return [(text, column) for text, column in written.items() if any(column)]


def _percent(share: float | None) -> str:
    return "" if share is None else percent(share)


def _uses(uses: "Sequence[Use]") -> list[tuple[str, str, str]]:
    return [(use.class_, use.class_id, f"{use.logit:+.2f}") for use in uses[:USES]]
