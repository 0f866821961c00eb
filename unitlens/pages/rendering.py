"""The page: one self-contained HTML file that shows a run, with nothing to fetch and nothing to install."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from unitlens.dissection.settings import Settings
from unitlens.drawing.emergence import HEIGHT, WIDTH, counts_by_layer, panels
from unitlens.pages import concepts as views
from unitlens.pages.cards import VERDICTS, Card, Strips, make_cards, scale_top
from unitlens.pages.document import document

if TYPE_CHECKING:
    import pandas as pd


def render_report(
    *,
    info: Mapping[str, Any],
    units: "pd.DataFrame",
    exemplars: "pd.DataFrame",
    strips: Strips,
    effects: Any = None,
) -> str:
    """Make the page of a run.

    Parameters
    ----------
    info : mapping
        ``run.json``: network, data, settings, layers, warnings.
    units : DataFrame
        ``units.csv``, one row a unit; columns of the evidence may be missing or empty.
    exemplars : DataFrame
        ``exemplars.csv``: layer, unit, rank, image, value. May be empty.
    strips : mapping of (layer, unit) to bytes
        What `unitlens.drawing.strips.draw_strip` returned, tiles in the order of the ranks. May be empty, or lack
        units.
    effects : unitlens.pages.effects.EffectsView, optional
        What units are used for, where it was measured.

    Returns
    -------
    str
        HTML. It makes no request of any kind, and a policy in its head forbids any; names of concepts, images and
        layers are text, whatever they hold.
    """
    settings = Settings.from_json(info["settings"])
    min_iou = settings.min_iou
    top, chart = scale_top(units, min_iou), views.chart(units)
    cards = make_cards(units, exemplars, strips, top=top)
    several = len(info["layers"]) > 1 and bool(chart)
    named = [card.category for card in cards if card.concept is not None]
    return document(
        "report.html",
        version=info["unitlens"],
        categories=[*named, *(concept["category"] for concept in info["data"]["concepts"])],
        styles=(*_styles(with_effects=effects is not None), *(["emergence.css"] if several else [])),
        scripts=("first.js", "report.js"),
        info=info,
        cards=cards,
        concepts=views.concept_views(cards, info, settings),
        chart=chart,
        **_bars(chart),
        counts=_counts(cards),
        layers=[(layer, _counts([card for card in cards if card.layer == layer])) for layer in info["layers"]],
        without=_without(info, settings, cards),
        verdicts={name: text for name, text in VERDICTS.items() if any(card.verdict == name for card in cards)},
        evidence=any(card.chance is not None for card in cards),
        panels=panels(counts_by_layer(units)) if several else [],
        width=WIDTH,
        height=HEIGHT,
        gridless=[layer for layer, own in info["layers"].items() if own["grid"] is None],
        min_iou=min_iou,
        min_place=100 * min_iou / top,
        top=top,
        effects=effects,
    )


def render_effects(effects: Any) -> str:
    """Make the page of effects that were measured without a dissection; see `render_report`."""
    return document(
        "effects_page.html",
        version=effects.info["unitlens"],
        styles=_styles(with_effects=True),
        info=effects.info,
        effects=effects,
    )


def _styles(*, with_effects: bool) -> tuple[str, ...]:
    return ("report.css", *(["effects.css"] if with_effects else []))


def _bars(chart: Iterable[views.Group]) -> dict[str, Any]:
    """How many bars the chart has, how tall the tallest is, and whether any has a pale part."""
    bars = [bar for group in chart for bar in group.bars]
    tallest = max((bar.detectors + bar.others for bar in bars), default=1)
    return {"bars": len(bars), "tallest": tallest, "pale": any(bar.others for bar in bars)}


def _counts(cards: Iterable[Card]) -> dict[str, int]:
    """How many units, detectors, unique concepts of detectors, silent and nonfinite units."""
    own = list(cards)
    detectors = [card for card in own if card.detector]
    return {
        "units": len(own),
        "detectors": len(detectors),
        "concepts": len({card.concept_id for card in detectors}),
        "silent": sum(card.verdict == "silent" for card in own),
        "nonfinite": sum(card.verdict == "nonfinite" for card in own),
    }


def _without(info: Mapping[str, Any], settings: Settings, cards: Iterable[Card]) -> list[views.Share]:
    """The concepts that are no unit's label."""
    labels = {(card.category, card.concept) for card in cards}
    return [share for share in views.concept_shares(info, settings) if (share.category, share.concept) not in labels]
