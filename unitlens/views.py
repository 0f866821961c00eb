"""What the report shows, as plain values: words, numbers and places, ready to be put on the page."""

import base64
import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote

from unitlens.figures import category_colours, concept_counts

if TYPE_CHECKING:
    import pandas as pd

Row = Mapping[str, Any]
Strips = Mapping[tuple[str, int], bytes]

VERDICTS = {
    "detector": "IoU above the least IoU, and associated with its concept more than chance",
    "untaught": "an untrained twin of the network has a unit that does as well",
    "weak": "associated with its concept, but the IoU is not above the least IoU",
    "chance": "not told apart from what the labels of other pictures give",
    "above": "IoU above the least IoU; whether it is more than chance was not computed",
    "below": "IoU not above the least IoU",
    "silent": "no label: its largest value is reached on more positions than a mask may hold",
    "nonfinite": "no label: its activations hold NaN or infinity",
}
"""Every verdict and what it means, best first; above and below stand where no evidence was computed."""


class Card(NamedTuple):
    """One unit, as its card says it. Places are percent of the scale; what is not known is None or empty."""

    id: str
    layer: str
    unit: int
    concept: str | None
    category: str
    concept_id: str
    verdict: str
    detector: bool
    above: bool
    iou: float | None
    q_value: float | None
    low: float | None
    heldout: float | None
    chance: float | None
    places: str
    spoken: str
    second: str
    second_iou: str
    also: list[str]
    numbers: list[tuple[str, str]]
    strip: str
    pictures: list[tuple[str, str]]


class Bar(NamedTuple):
    """One bar of the chart: a concept, its detectors and the other units above the least IoU."""

    id: str
    concept: str
    detectors: int
    others: int


class Group(NamedTuple):
    """The bars of one category, with its unique concepts and detectors counted."""

    category: str
    concepts: int
    detectors: int
    bars: list[Bar]


class ConceptView(NamedTuple):
    """One concept: which units, which pictures, and how much of the data it covers."""

    id: str
    concept: str
    category: str
    detectors: list[Card]
    others: list[Card]
    pictures: list[tuple[str, int, Card, int]]  # name, units that it excites, the best of them, its rank there
    share: float | None
    ceiling: float | None


class Share(NamedTuple):
    """A concept that no unit has as its label."""

    concept: str
    category: str
    share: float | None
    ceiling: float | None


def unit_id(layer: str, unit: int) -> str:
    """The place of a unit on the page, for a link: ``report.html#unit-layer4-17``.

    Parameters
    ----------
    layer : str
        Any layer name; what is no letter, digit, ``.``, ``_`` or ``-`` becomes ``~`` and its hexadecimal code.
    unit : int
        The unit's number.

    Returns
    -------
    str
        Different for different units.
    """
    return f"unit-{_slug(layer)}-{unit}"


def concept_id(category: str, concept: str) -> str:
    """The place of a concept's section on the page: ``concept-object/tree``."""
    return f"concept-{_slug(category)}/{_slug(concept)}"


def _slug(text: str) -> str:
    """Text as a part of a link's fragment; different texts stay different."""
    return quote(text, safe="").replace("~", "%7E").replace("%", "~")


def known(row: Row, name: str) -> float | None:
    """A number of a row, or None where the column or the number is missing or not finite."""
    value = row.get(name)
    if value is None or isinstance(value, str):
        return None
    return float(value) if math.isfinite(value) else None


def word(row: Row, name: str) -> str:
    """A text of a row, empty where the column or the text is missing."""
    value = row.get(name)
    return value if isinstance(value, str) else ""


def number(value: float | None, digits: int = 3) -> str:
    """A number with so many significant digits, whole ones in full; a dash for None."""
    if value is None:
        return "-"
    return f"{int(value):,}" if value == int(value) and abs(value) < 1e15 else f"{float(f'{value:.{digits}g}'):g}"


def percent(share: float | None, digits: int = 2) -> str:
    """A share as a percentage; a dash for None."""
    return "-" if share is None else f"{float(f'{100 * share:.{digits}g}'):g}\N{NO-BREAK SPACE}%"


def verdict_of(row: Row) -> str:
    """The verdict of a unit; one of `VERDICTS`, by the papers' rule alone where no evidence was computed."""
    given = word(row, "verdict")
    if given:
        return given
    for name in ("nonfinite", "silent"):
        if known(row, name):
            return name
    return "above" if known(row, "above_min_iou") else "below"


def scale_top(units: "pd.DataFrame", min_iou: float) -> float:
    """The right end of every IoU scale of the page: the largest number drawn, rounded up to a tenth."""
    names = [name for name in ("iou", "iou_high", "chance_iou", "heldout_iou") if name in units]
    largest = max((float(units[name].max()) for name in names if units[name].notna().any()), default=0.0)
    return min(1.0, max(math.ceil(10 * max(largest, min_iou)), 1) / 10)


def cards(units: "pd.DataFrame", exemplars: "pd.DataFrame", strips: Strips, *, top: float) -> list[Card]:
    """A card for each unit, by falling IoU; units without one come last, in the order of the table.

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

    Returns
    -------
    list of Card
        One a unit.
    """
    pictures: dict[tuple[str, int], list[tuple[str, str]]] = {}
    for row in _records(exemplars.sort_values("rank", kind="stable") if len(exemplars) else exemplars):
        key = str(row["layer"]), int(row["unit"])
        pictures.setdefault(key, []).append((str(row["picture"]), number(known(row, "value"))))
    made = [_card(row, pictures, strips, top) for row in _records(units)]
    return sorted(made, key=lambda card: -math.inf if card.iou is None else card.iou, reverse=True)


def _records(table: "pd.DataFrame") -> list[dict[str, Any]]:
    return [{str(name): value for name, value in row.items()} for row in table.to_dict("records")]


def _card(row: Row, pictures: Mapping[tuple[str, int], list[tuple[str, str]]], strips: Strips, top: float) -> Card:
    key = layer, unit = str(row["layer"]), int(row["unit"])
    concept, category = word(row, "concept") or None, word(row, "category")
    low, high, chance = (known(row, name) for name in ("iou_low", "iou_high", "chance_iou"))
    iou, heldout = known(row, "iou") if concept else None, known(row, "heldout_iou")
    drawn = {"v": iou, "l": low, "h": high, "n": chance, "o": heldout} if iou is not None else {}
    return Card(
        id=unit_id(layer, unit),
        layer=layer,
        unit=unit,
        concept=concept,
        category=category,
        concept_id=concept_id(category, concept) if concept else "",
        verdict=verdict_of(row),
        detector=bool(known(row, "detector")),
        above=bool(known(row, "above_min_iou")),
        iou=iou,
        q_value=known(row, "q_value"),
        low=low,
        heldout=heldout,
        chance=chance,
        places=";".join(f"--{name}:{100 * value / top:.1f}" for name, value in drawn.items() if value is not None),
        spoken=_spoken(iou, low, high, chance, heldout),
        second=word(row, "second_concept"),
        second_iou=number(known(row, "second_iou"), 2),
        also=_also(row, concept),
        numbers=_numbers(row),
        strip=_data_uri(strips[key]) if key in strips else "",
        pictures=pictures.get(key, []),
    )


def _spoken(
    iou: float | None, low: float | None, high: float | None, chance: float | None, heldout: float | None
) -> str:
    """What a scale shows, in words."""
    if iou is None:
        return ""
    parts = [f"IoU {iou:.3f}"]
    if low is not None and high is not None:
        parts.append(f"95 % interval {low:.3f} to {high:.3f}")
    parts += [f"{name} {value:.3f}" for name, value in (("chance", chance), ("held out", heldout)) if value is not None]
    return ", ".join(parts)


def _also(row: Row, concept: str | None) -> list[str]:
    """The other labels that could as well be the first, from the JSON list ``label_set``."""
    given = word(row, "label_set")
    return [str(name) for name in json.loads(given) if name != concept] if given else []


def _numbers(row: Row) -> list[tuple[str, str]]:
    """The further numbers of a unit, named; those that are not known are left out."""
    shares = {"active_share": "active share", "label_stability": "label stability", "presence_accuracy": "presence"}
    plain = {
        "threshold": "threshold",
        "activated_pixels": "activated A",
        "concept_pixels": "concept G",
        "intersection": "both I",
        "p_value": "p",
        "q_value": "q",
        "untrained_percentile": "untrained percentile",
        "untrained_percentile_all": "untrained percentile, any label",
    }
    found = [(text, number(known(row, name))) for name, text in plain.items() if known(row, name) is not None]
    found[1:1] = [(text, percent(known(row, name), 3)) for name, text in shares.items() if known(row, name) is not None]
    return found


def _data_uri(strip: bytes) -> str:
    """An image file as an address that needs no network."""
    kind = "webp" if strip[8:12] == b"WEBP" else "png" if strip.startswith(b"\x89PNG") else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(strip).decode()}"


def chart(units: "pd.DataFrame") -> list[Group]:
    """The bars of the chart, by category."""
    counts = concept_counts(units) if len(units) else []
    groups = []
    for category in category_colours(one.category for one in counts):
        own = [one for one in counts if one.category == category]
        bars = [Bar(concept_id(category, one.concept), one.concept, one.detectors, one.others) for one in own]
        detectors = sum(bar.detectors for bar in bars)
        groups.append(Group(category, sum(bar.detectors > 0 for bar in bars), detectors, bars))
    return groups


def concept_views(made: Sequence[Card], info: Mapping[str, Any], *, most: int = 12) -> list[ConceptView]:
    """A view for each concept that is some unit's label: by category, then by falling number of detectors.

    Parameters
    ----------
    made : sequence of Card
        All cards, by falling IoU.
    info : mapping
        ``run.json``.
    most : int
        Pictures shown for a concept: those among the exemplars of most of its units come first.

    Returns
    -------
    list of ConceptView
        Units in it by falling IoU.
    """
    shares = {(one.category, one.concept): one for one in concept_shares(info)}
    found: dict[tuple[str, str], list[Card]] = {}
    for card in made:
        if card.concept is not None:
            found.setdefault((card.category, card.concept), []).append(card)
    views = []
    for (category, concept), own in found.items():
        detectors, others = [card for card in own if card.detector], [card for card in own if not card.detector]
        share = shares.get((category, concept), Share(concept, category, None, None))
        pictures = _pictures(detectors or others, most)
        place = concept_id(category, concept)
        views.append(ConceptView(place, concept, category, detectors, others, pictures, share.share, share.ceiling))
    order = {name: i for i, name in enumerate(category_colours(view.category for view in views))}
    return sorted(views, key=lambda view: (order[view.category], -len(view.detectors), view.concept))


def _pictures(own: Sequence[Card], most: int) -> list[tuple[str, int, Card, int]]:
    """Pictures that are exemplars of these units: name, of how many, the best of those units and the rank there."""
    counts = Counter(name for card in own for name in dict.fromkeys(name for name, _ in card.pictures))
    best: dict[str, tuple[Card, int]] = {}
    for card in own:
        for rank, (name, _) in enumerate(card.pictures):
            best.setdefault(name, (card, rank))
    return [(name, count, *best[name]) for name, count in counts.most_common(most)]


def concept_shares(info: Mapping[str, Any]) -> list[Share]:
    """How much of the data each concept covers, and the IoU that no unit can pass for that reason.

    A mask holds at most the share q of all positions; so for a concept that covers the share f > q, the
    intersection is at most q and the union at least f: IoU <= q / f.

    Parameters
    ----------
    info : mapping
        ``run.json``.

    Returns
    -------
    list of Share
        A concept each, in the order of ``info``; the ceiling is None where f <= q.
    """
    data, settings = info["data"], info["settings"]
    twice = Counter(concept["name"] for concept in data["concepts"])
    gridless = bool(info["layers"]) and all(layer["grid"] is None for layer in info["layers"].values())
    height, width = settings.get("grid") or (1, 1)
    quantile = float(settings["quantile"])
    positions = data["pictures"] * (1 if gridless else height * width)
    shares = []
    for concept in data["concepts"]:
        category, name = concept["category"], concept["name"]
        shown = f"{category}/{name}" if twice[name] > 1 else name
        share = concept["pictures" if gridless else "positions"] / positions if positions else 0.0
        ceiling = quantile / share if share > quantile else None
        shares.append(Share(shown, category, share, ceiling))
    return shares
