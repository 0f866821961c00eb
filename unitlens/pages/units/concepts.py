"""Concepts on the page of a dissection: the bars of the chart, and the units and images of each."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from unitlens.dissection.settings import Settings
from unitlens.drawing.figures import category_colours, concept_counts
from unitlens.pages.formats import rows_of
from unitlens.pages.units.cards import Strips, UnitExemplars
from unitlens.pages.units.places import concept_id

if TYPE_CHECKING:
    import pandas as pd

LISTED = 60
"""So many detectors, and so many other units, are listed with their concept; all of them are among the units."""


class Bar(NamedTuple):
    """One bar of the chart: a concept, its detectors and the other units above the minimum IoU."""

    id: str
    concept: str
    detectors: int
    others: int


class Group(NamedTuple):
    """The bars of one category, and how many unique concepts and detectors it has."""

    category: str
    concepts: int
    detectors: int
    bars: list[Bar]


class ListedUnit(NamedTuple):
    """A unit in the list of a concept."""

    id: str
    layer: str
    unit: int
    iou: float
    chance_iou: float | None


class ConceptView(NamedTuple):
    """One concept: its units, their images, and how much of the data it covers.

    Attributes
    ----------
    id, concept, category : str
    detectors, others : int
        How many units it has.
    best : float
        The highest IoU with it.
    listed, listed_others : list of ListedUnit
        The first of its detectors, and of its other units.
    images : list of (str, int, str, int)
        Name, number of units, the id of one that shows it, and the image's rank there.
    share, ceiling, segmenter_iou : float or None
        As of `Share`.
    """

    id: str
    concept: str
    category: str
    detectors: int
    others: int
    best: float
    listed: list[ListedUnit]
    listed_others: list[ListedUnit]
    images: list[tuple[str, int, str, int]]
    share: float | None
    ceiling: float | None
    segmenter_iou: float | None


class Share(NamedTuple):
    """How much of the data a concept covers, the highest IoU that any unit can reach with it, and the segmenter's."""

    concept: str
    category: str
    share: float | None
    ceiling: float | None
    segmenter_iou: float | None


def make_chart(units: "pd.DataFrame") -> list[Group]:
    """Return the bars of the chart, by category."""
    counts = concept_counts(units) if len(units) else []
    groups = []
    for category in category_colours(count.category for count in counts):
        bars = [
            Bar(concept_id(category, count.concept), count.concept, count.detectors, count.others)
            for count in counts
            if count.category == category
        ]
        detectors = sum(bar.detectors for bar in bars)
        groups.append(Group(category, sum(bar.detectors > 0 for bar in bars), detectors, bars))
    return groups


def concept_views(
    ranked: "pd.DataFrame",
    exemplars: Sequence[UnitExemplars],
    strips: Strips,
    info: Mapping[str, Any],
    settings: Settings,
    *,
    most: int = 12,
) -> list[ConceptView]:
    """Return a view for each concept that units are matched to: by category, then by falling number of detectors.

    Parameters
    ----------
    ranked : DataFrame
        What `unitlens.pages.units.ranked.ranked_units` returned.
    exemplars : sequence of list of (str, str)
        Of each unit, what `unitlens.pages.units.cards.exemplars_by_place` returned.
    strips : mapping of (layer, unit) to bytes
        Of the units that the page shows with images.
    info : mapping
        ``run.json``.
    settings : Settings
        Of the run.
    most : int
        Images shown for a concept: those among the exemplars of most of its units come first.

    Returns
    -------
    list of ConceptView
        Its detectors, and its other units, by falling IoU.
    """
    shares = {(one.category, one.concept): one for one in concept_shares(info, settings)}
    rows = [ListedUnit(**row) for row in rows_of(ranked[list(ListedUnit._fields)])]  # by the places of the units
    pictured = [key in strips for key in zip(ranked["layer"], ranked["unit"].tolist(), strict=True)]
    views = []
    for _, units in ranked[ranked["concept"].notna()].groupby("concept_id", sort=False):
        category, concept = units[["category", "concept"]].iloc[0]
        detector = units["detector"].astype(bool)
        detectors, others = units[detector], units[~detector]
        share = shares.get((category, concept), Share(concept, category, None, None, None))
        shown = (detectors if len(detectors) else others)["id"]
        views.append(
            ConceptView(
                id=units["concept_id"].iloc[0],
                concept=concept,
                category=category,
                detectors=len(detectors),
                others=len(others),
                best=float(units["iou"].max()),
                listed=[rows[place] for place in detectors.index[:LISTED]],
                listed_others=[rows[place] for place in others.index[:LISTED]],
                images=_images(shown, exemplars, pictured, most),
                share=share.share,
                ceiling=share.ceiling,
                segmenter_iou=share.segmenter_iou,
            )
        )
    order = {name: i for i, name in enumerate(category_colours(view.category for view in views))}
    return sorted(views, key=lambda view: (order[view.category], -view.detectors, view.concept))


def _images(
    units: "pd.Series[str]", exemplars: Sequence[UnitExemplars], pictured: Sequence[bool], most: int
) -> list[tuple[str, int, str, int]]:
    """List images that are exemplars of these units: name, of how many, the best unit that shows it, and its rank."""
    counts = Counter(name for place in units.index for name in dict.fromkeys(name for name, _ in exemplars[place]))
    seen = [place for place in units.index if pictured[place]] or units.index
    best: dict[str, tuple[str, int]] = {}
    for place in seen:
        for rank, (name, _) in enumerate(exemplars[place]):
            best.setdefault(name, (units[place], rank))
    return [(name, count, *best[name]) for name, count in counts.most_common() if name in best][:most]


def concept_shares(info: Mapping[str, Any], settings: Settings) -> list[Share]:
    """Return how much of the data each concept covers, and the ceiling of IoU that follows from it.

    A mask holds at most the share q of all positions; so for a concept that covers the share f > q, the
    intersection is at most q and the union at least f: IoU <= q / f.

    Parameters
    ----------
    info : mapping
        ``run.json``.
    settings : Settings
        Of the run.

    Returns
    -------
    list of Share
        A concept each, in the order of ``info``; the ceiling is None where f <= q.
    """
    data, quantile = info["data"], settings.quantile
    categories = Counter(concept["name"] for concept in data["concepts"])
    gridless = bool(info["layers"]) and all(layer["grid"] is None for layer in info["layers"].values())
    positions = data["images"] * (1 if gridless else settings.grid[0] * settings.grid[1])
    shares = []
    for concept in data["concepts"]:
        category, name = concept["category"], concept["name"]
        full_name = f"{category}/{name}" if categories[name] > 1 else name
        share = concept["images" if gridless else "positions"] / positions if positions else 0.0
        ceiling = quantile / share if share > quantile else None
        shares.append(Share(full_name, category, share, ceiling, concept.get("segmenter_iou")))
    return shares
