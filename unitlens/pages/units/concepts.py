"""Concepts on the page of a dissection: the bars of the chart, and the units and images of each."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from unitlens.dissection.settings import Settings
from unitlens.drawing.figures import category_colours, concept_counts
from unitlens.pages.units.cards import Card, concept_id

if TYPE_CHECKING:
    import pandas as pd


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


class ConceptView(NamedTuple):
    """One concept: its units, their images, and how much of the data it covers."""

    id: str
    concept: str
    category: str
    detectors: list[Card]
    others: list[Card]
    images: list[tuple[str, int, Card, int]]  # name, number of units, the best of them, the image's rank for it
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
    cards: Sequence[Card], info: Mapping[str, Any], settings: Settings, *, most: int = 12
) -> list[ConceptView]:
    """Return a view for each concept that units are matched to: by category, then by falling number of detectors.

    Parameters
    ----------
    cards : sequence of Card
        All cards, detectors first, by falling IoU.
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
    by_concept: dict[tuple[str, str], list[Card]] = {}
    for card in cards:
        if card.row["concept"] is not None:
            by_concept.setdefault((card.row["category"], card.row["concept"]), []).append(card)
    views = []
    for (category, concept), units in by_concept.items():
        detectors = [card for card in units if card.row["detector"]]
        others = [card for card in units if not card.row["detector"]]
        share = shares.get((category, concept), Share(concept, category, None, None, None))
        images = _images(detectors or others, most)
        views.append(
            ConceptView(
                id=concept_id(category, concept),
                concept=concept,
                category=category,
                detectors=detectors,
                others=others,
                images=images,
                share=share.share,
                ceiling=share.ceiling,
                segmenter_iou=share.segmenter_iou,
            )
        )
    order = {name: i for i, name in enumerate(category_colours(view.category for view in views))}
    return sorted(views, key=lambda view: (order[view.category], -len(view.detectors), view.concept))


def _images(cards: Sequence[Card], most: int) -> list[tuple[str, int, Card, int]]:
    """List images that are exemplars of these units: name, of how many, the best of those units and the rank there."""
    counts = Counter(name for card in cards for name in dict.fromkeys(name for name, _ in card.images))
    best: dict[str, tuple[Card, int]] = {}
    for card in cards:
        for rank, (name, _) in enumerate(card.images):
            best.setdefault(name, (card, rank))
    return [(name, count, *best[name]) for name, count in counts.most_common(most)]


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
