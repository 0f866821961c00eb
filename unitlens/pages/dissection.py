"""The page of a dissection, with the effects that were measured of the same run."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from unitlens.dissection.sentences.headline import (
    RANDOM_WEIGHTS,
    describe_comparison,
    describe_context,
    has_random_weights,
    untrained_detectors,
)
from unitlens.dissection.sentences.methods import methods_bibtex, methods_text
from unitlens.dissection.settings import DETECTOR_RULES, Settings
from unitlens.drawing.emergence import HEIGHT, WIDTH, counts_by_layer, panels
from unitlens.labels.columns import VERDICTS as LABEL_VERDICTS
from unitlens.pages.document import document
from unitlens.pages.labels.by_method import labels_view
from unitlens.pages.units.cards import VERDICTS, Card, Strips, make_cards, scale_top
from unitlens.pages.units.concepts import Group, Share, concept_shares, concept_views, make_chart
from unitlens.pages.units.word_search import word_search

if TYPE_CHECKING:
    import pandas as pd

    from unitlens.labels.result import Labels


def render_dissection(
    *,
    info: Mapping[str, Any],
    units: "pd.DataFrame",
    exemplars: "pd.DataFrame",
    strips: Strips,
    effects: Any = None,
    interventions: Any = None,
    causal: Any = None,
    outcomes: Any = None,
    labels: "Labels | None" = None,
) -> str:
    """Return the page of a dissection as text.

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
    interventions : unitlens.pages.interventions.InterventionsView, optional
        What units draw, where they were removed and inserted.
    causal : unitlens.pages.causal_labels.CausalLabelsView, optional
        Whether units answer to what they are labelled as, where minimal pairs were looked at.
    outcomes : unitlens.pages.outcomes.OutcomesView, optional
        What units do to other outcomes, where that was measured.
    labels : Labels, optional
        Labels by other methods, where there are any.

    Returns
    -------
    str
        One self-contained HTML file. Names of concepts, images and layers are text, whatever they contain.
    """
    settings = Settings.from_json(info["settings"])
    min_iou = settings.min_iou
    top, chart = scale_top(units, min_iou), make_chart(units)
    answers = None if labels is None or labels.answers is None else labels.answers.by_label()
    cards = make_cards(
        units, exemplars, strips, top=top, labels=None if labels is None else labels.rows, answers=answers
    )
    by_layer = {layer: [card for card in cards if card.row["layer"] == layer] for layer in info["layers"]}
    evidence = any(card.row["chance_iou"] is not None for card in cards)
    emerging = len(by_layer) > 1 and bool(chart)
    matched = [card.row["category"] for card in cards if card.row["concept"] is not None]
    return document(
        "dissection.html",
        version=info["unitlens"],
        warnings=info["warnings"],
        categories=[*matched, *(concept["category"] for concept in info["data"]["concepts"])],
        styles=_styles(
            effects=effects is not None,
            emergence=emerging,
            changes=bool(interventions or outcomes),
            labels=labels is not None,
        ),
        scripts=("report.js",),
        info=info,
        drawn=info["network"]["image"] == "output",
        cards=cards,
        concepts=concept_views(cards, info, settings),
        chart=chart,
        bars=_bars(chart),
        counts=_counts(cards),
        random_weights=RANDOM_WEIGHTS if has_random_weights(info) else "",
        untrained_copies=untrained_detectors(info),
        methods=methods_text(info, settings),
        bibtex=methods_bibtex(info, settings),
        rule=DETECTOR_RULES[settings.rule],
        # The same page whoever writes it: the keyword, which is the option's name, too.
        context=describe_context(units) if evidence else "",
        compared=describe_comparison(info, evidence=evidence, hint="control=untrained"),
        layers=[(layer, _counts(cards)) for layer, cards in by_layer.items()],
        unmatched=_unmatched(info, settings, cards),
        verdicts={name: text for name, text in VERDICTS.items() if any(card.verdict == name for card in cards)},
        evidence=evidence,
        panels=panels(counts_by_layer(units)) if emerging else [],
        width=WIDTH,
        height=HEIGHT,
        gridless=[layer for layer, described in info["layers"].items() if described["grid"] is None],
        min_iou=min_iou,
        min_place=100 * min_iou / top,
        top=top,
        effects=effects,
        interventions=interventions,
        causal=causal,
        minimal_pairs=causal is not None or (info["data"]["source"] == DRAWN and info["network"]["image"] == "input"),
        outcomes=outcomes,
        label_methods=None if labels is None else labels_view(labels),
        word_search=word_search(None if labels is None else labels.vectors),
        label_verdicts={name: text for name, text in LABEL_VERDICTS.items() if labels is not None},
    )


DRAWN = "bundled:scenes"
"""Of these images, there are minimal pairs: where they were not looked at, the page says how."""


def _styles(*, effects: bool, emergence: bool, changes: bool, labels: bool) -> list[str]:
    further = {
        "effects.css": effects,
        "emergence.css": emergence,
        "interventions.css": changes,
        "labels.css": labels,
    }
    return ["report.css", *(name for name, there in further.items() if there)]


def _bars(chart: Iterable[Group]) -> dict[str, Any]:
    """Return how many bars the chart has, the height of the tallest, and whether any has a pale part."""
    bars = [bar for group in chart for bar in group.bars]
    tallest = max((bar.detectors + bar.others for bar in bars), default=1)
    return {"count": len(bars), "tallest": tallest, "pale": any(bar.others for bar in bars)}


def _counts(cards: Iterable[Card]) -> dict[str, int]:
    """Count units, detectors, unique concepts of detectors, silent and nonfinite units."""
    cards = list(cards)
    detectors = [card for card in cards if card.row["detector"]]
    return {
        "units": len(cards),
        "detectors": len(detectors),
        "concepts": len({card.concept_id for card in detectors}),
        "silent": sum(card.verdict == "silent" for card in cards),
        "nonfinite": sum(card.verdict == "nonfinite" for card in cards),
    }


def _unmatched(info: Mapping[str, Any], settings: Settings, cards: Iterable[Card]) -> list[Share]:
    """List the concepts that no unit is matched to."""
    matched = {(card.row["category"], card.row["concept"]) for card in cards}
    return [share for share in concept_shares(info, settings) if (share.category, share.concept) not in matched]
