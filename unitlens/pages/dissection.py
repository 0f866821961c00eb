"""The page of a dissection, with the effects that were measured of the same run."""

from collections.abc import Iterable, Mapping
from itertools import islice
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
from unitlens.drawing.strips import strips_drawn
from unitlens.labels.columns import VERDICTS as LABEL_VERDICTS
from unitlens.pages.document import document
from unitlens.pages.labels.by_method import labels_view
from unitlens.pages.units.cards import (
    Strips,
    exemplars_by_place,
    labels_by_unit,
    make_cards,
    people_by_label,
    people_by_unit,
    scale_top,
)
from unitlens.pages.units.columns import unit_columns
from unitlens.pages.units.concepts import LISTED, Group, Share, concept_shares, concept_views, make_chart
from unitlens.pages.units.ranked import VERDICTS, ranked_units
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
    ranked = ranked_units(units)
    full = strips_drawn(len(ranked))
    strips = _pictured(ranked, strips, settings)
    images = exemplars_by_place(ranked, exemplars)
    people = people_by_label(None if labels is None or labels.answers is None else labels.answers.by_label())
    named = labels_by_unit(None if labels is None else labels.rows, people)
    chosen = people_by_unit(ranked, people)
    top, chart = scale_top(units, min_iou), make_chart(units)
    by_layer = [(layer, ranked[ranked["layer"] == layer]) for layer in info["layers"]]
    evidence = bool(ranked["chance_iou"].notna().any())
    emerging = len(by_layer) > 1 and bool(chart)
    matched = ranked["category"][ranked["concept"].notna()].unique()
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
        scripts=("units.js", "report.js"),
        info=info,
        drawn=info["network"]["image"] == "output",
        cards=make_cards(ranked.iloc[:full], images, strips, top=top, labels=named, people=chosen),
        columns=unit_columns(
            ranked,
            images,
            strips,
            labels=named,
            people=chosen,
            uses=effects.serves if effects is not None and effects.linked else {},
            full=full,
        ),
        without_images=_without_images(info, len(ranked), len(strips)),
        concepts=concept_views(ranked, images, strips, info, settings),
        chart=chart,
        bars=_bars(chart),
        counts=_counts(ranked),
        random_weights=RANDOM_WEIGHTS if has_random_weights(info) else "",
        untrained_copies=untrained_detectors(info),
        methods=methods_text(info, settings),
        bibtex=methods_bibtex(info, settings),
        rule=DETECTOR_RULES[settings.rule],
        # The same page whoever writes it: the keyword, which is the option's name, too.
        context=describe_context(units) if evidence else "",
        compared=describe_comparison(info, evidence=evidence, hint="control=untrained"),
        layers=[(layer, _counts(of_layer)) for layer, of_layer in by_layer],
        without_concept={kind: _listed(kind, by_layer) for kind in ("silent", "nonfinite")},
        unmatched=_unmatched(info, settings, ranked),
        verdicts={name: text for name, text in VERDICTS.items() if (ranked["shown"] == name).any()},
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


def _pictured(ranked: "pd.DataFrame", strips: Strips, settings: Settings) -> Strips:
    """The strips that the page holds: all or, of thousands of units, the first ones, unless a size was asked for."""
    most = len(ranked) if settings.exemplar_size is not None else strips_drawn(len(ranked))
    keys = zip(ranked["layer"], ranked["unit"].tolist(), strict=True)
    return {key: strips[key] for key in islice((key for key in keys if key in strips), most)}


def _bars(chart: Iterable[Group]) -> dict[str, Any]:
    """Return how many bars the chart has, the height of the tallest, and whether any has a pale part."""
    bars = [bar for group in chart for bar in group.bars]
    tallest = max((bar.detectors + bar.others for bar in bars), default=1)
    return {"count": len(bars), "tallest": tallest, "pale": any(bar.others for bar in bars)}


def _counts(units: "pd.DataFrame") -> dict[str, int]:
    """Count units, detectors, unique concepts of detectors, silent and nonfinite units."""
    detectors = units[units["detector"].astype(bool)]
    return {
        "units": len(units),
        "detectors": len(detectors),
        "concepts": detectors["concept_id"].nunique(),
        "silent": int((units["shown"] == "silent").sum()),
        "nonfinite": int((units["shown"] == "nonfinite").sum()),
    }


def _listed(kind: str, by_layer: "Iterable[tuple[str, pd.DataFrame]]") -> dict[str, list[tuple[str, int]]]:
    """List the ids and numbers of the first units with a verdict, by layer."""
    listed = {layer: units[units["shown"] == kind].head(LISTED) for layer, units in by_layer}
    return {
        layer: list(zip(units["id"], units["unit"].tolist(), strict=True))
        for layer, units in listed.items()
        if len(units)
    }


def _without_images(info: Mapping[str, Any], units: int, strips: int) -> str:
    """Say that of thousands of units some are shown with images, and how the others are."""
    if not strips or strips == units:
        return ""
    return (
        f"Of the {units:,} units, {strips:,} are shown with images: detectors first, then those of highest IoU. The "
        "names of all exemplars are on the cards and in exemplars.csv; redrawn(dissection, [UNIT]).show(UNIT) draws "
        "those of any unit, and a dissection with exemplar_size=64 those of all."
    )


def _unmatched(info: Mapping[str, Any], settings: Settings, units: "pd.DataFrame") -> list[Share]:
    """List the concepts that no unit is matched to."""
    matched = set(zip(units["category"], units["concept"], strict=True))
    return [share for share in concept_shares(info, settings) if (share.category, share.concept) not in matched]
