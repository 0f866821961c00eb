"""What the report says of concepts, as plain values: the bars of the chart, and which units and images match each."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from unitlens.dissection.settings import Settings
from unitlens.drawing.figures import category_colours, concept_counts
from unitlens.pages.cards import Card, concept_id

if TYPE_CHECKING:
    import pandas as pd


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
    """One concept: which units, which images, and how much of the data it covers."""

    id: str
    concept: str
    category: str
    detectors: list[Card]
    others: list[Card]
    images: list[tuple[str, int, Card, int]]  # name, units that it excites, the best of them, its rank there
    share: float | None
    ceiling: float | None


class Share(NamedTuple):
    """A concept that no unit has as its label."""

    concept: str
    category: str
    share: float | None
    ceiling: float | None


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


def concept_views(
    made: Sequence[Card], info: Mapping[str, Any], settings: Settings, *, most: int = 12
) -> list[ConceptView]:
    """A view for each concept that is some unit's label: by category, then by falling number of detectors.

    Parameters
    ----------
    made : sequence of Card
        All cards, by falling IoU.
    info : mapping
        ``run.json``.
    settings : Settings
        Of the run.
    most : int
        Images shown for a concept: those among the exemplars of most of its units come first.

    Returns
    -------
    list of ConceptView
        Units in it by falling IoU.
    """
    shares = {(one.category, one.concept): one for one in concept_shares(info, settings)}
    found: dict[tuple[str, str], list[Card]] = {}
    for card in made:
        if card.concept is not None:
            found.setdefault((card.category, card.concept), []).append(card)
    views = []
    for (category, concept), own in found.items():
        detectors, others = [card for card in own if card.detector], [card for card in own if not card.detector]
        share = shares.get((category, concept), Share(concept, category, None, None))
        images = _images(detectors or others, most)
        place = concept_id(category, concept)
        views.append(ConceptView(place, concept, category, detectors, others, images, share.share, share.ceiling))
    order = {name: i for i, name in enumerate(category_colours(view.category for view in views))}
    return sorted(views, key=lambda view: (order[view.category], -len(view.detectors), view.concept))


def _images(own: Sequence[Card], most: int) -> list[tuple[str, int, Card, int]]:
    """Images that are exemplars of these units: name, of how many, the best of those units and the rank there."""
    counts = Counter(name for card in own for name in dict.fromkeys(name for name, _ in card.images))
    best: dict[str, tuple[Card, int]] = {}
    for card in own:
        for rank, (name, _) in enumerate(card.images):
            best.setdefault(name, (card, rank))
    return [(name, count, *best[name]) for name, count in counts.most_common(most)]


def concept_shares(info: Mapping[str, Any], settings: Settings) -> list[Share]:
    """How much of the data each concept covers, and the IoU that no unit can pass for that reason.

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
    twice = Counter(concept["name"] for concept in data["concepts"])
    gridless = bool(info["layers"]) and all(layer["grid"] is None for layer in info["layers"].values())
    positions = data["images"] * (1 if gridless else settings.grid[0] * settings.grid[1])
    shares = []
    for concept in data["concepts"]:
        category, name = concept["category"], concept["name"]
        shown = f"{category}/{name}" if twice[name] > 1 else name
        share = concept["images" if gridless else "positions"] / positions if positions else 0.0
        ceiling = quantile / share if share > quantile else None
        shares.append(Share(shown, category, share, ceiling))
    return shares
