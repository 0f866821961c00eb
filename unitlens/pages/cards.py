"""What the card of a unit says, as plain values: words, numbers and places, ready to be put on the page."""

import base64
import json
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote

if TYPE_CHECKING:
    import pandas as pd

Row = Mapping[str, Any]
Strips = Mapping[tuple[str, int], bytes]

VERDICTS = {
    "detector": "IoU above the least IoU, and associated with its concept more than chance",
    "untrained": "an untrained copy of the network has a unit that does as well",
    "weak": "associated with its concept, but the IoU is not above the least IoU",
    "chance": "not told apart from what the labels of other images give",
    "above": "IoU above the least IoU; whether it is more than chance was not computed",
    "below": "IoU not above the least IoU",
    "silent": "no label: the largest value is reached on more positions than a mask may hold",
    "nonfinite": "no label: among the activations are NaN or infinity",
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
    images: list[tuple[str, str]]


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


def class_id(name: str) -> str:
    """The place of a class's section on the page: ``class-ski_slope``."""
    return f"class-{_slug(name)}"


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
    """The verdict of a unit, one of `VERDICTS`; without a q-value, what the papers' rule alone says."""
    if known(row, "q_value") is not None and word(row, "verdict"):
        return word(row, "verdict")
    for name in ("nonfinite", "silent"):
        if known(row, name):
            return name
    return "above" if known(row, "above_min_iou") else "below"


def scale_top(units: "pd.DataFrame", min_iou: float) -> float:
    """The right end of every IoU scale of the page: the largest number drawn, rounded up to a tenth."""
    names = [name for name in ("iou", "iou_high", "chance_iou", "heldout_iou") if name in units]
    largest = max((float(units[name].max()) for name in names if units[name].notna().any()), default=0.0)
    return min(1.0, max(math.ceil(10 * max(largest, min_iou)), 1) / 10)


def make_cards(units: "pd.DataFrame", exemplars: "pd.DataFrame", strips: Strips, *, top: float) -> list[Card]:
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
    images: dict[tuple[str, int], list[tuple[str, str]]] = {}
    for row in _records(exemplars.sort_values("rank", kind="stable") if len(exemplars) else exemplars):
        key = str(row["layer"]), int(row["unit"])
        images.setdefault(key, []).append((str(row["image"]), number(known(row, "value"))))
    made = [_card(row, images, strips, top) for row in _records(units)]
    return sorted(made, key=lambda card: -math.inf if card.iou is None else card.iou, reverse=True)


def _records(table: "pd.DataFrame") -> list[dict[str, Any]]:
    """Rows as mappings; whatever pandas uses for what is missing becomes None."""
    whole = table.astype(object).where(table.notna(), None)
    return [{str(name): value for name, value in row.items()} for row in whole.to_dict("records")]


def _card(row: Row, images: Mapping[tuple[str, int], list[tuple[str, str]]], strips: Strips, top: float) -> Card:
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
        second_iou="" if known(row, "second_iou") is None else f"{known(row, 'second_iou'):.3f}",
        also=_also(row, concept),
        numbers=_numbers(row),
        strip=_data_uri(strips[key]) if key in strips else "",
        images=images.get(key, []),
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
    shares = {
        "active_share": "active share",
        "label_stability": "label stability",
        "presence_accuracy": "presence accuracy",
    }
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
