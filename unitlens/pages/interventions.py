"""What the page shows of units that were removed from and inserted into drawn images."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from unitlens.ablation.random_sets import Band
from unitlens.editing.causal_result import CausalEffects
from unitlens.editing.concept_set_result import ConceptSet
from unitlens.editing.detector_result import DrawnDetectors
from unitlens.editing.insertion_result import InsertionMap
from unitlens.editing.saving.files import SavedInterventions
from unitlens.editing.set_result import SetAreas
from unitlens.pages.document import document
from unitlens.pages.formats import image_uri

if TYPE_CHECKING:
    import pandas as pd

Rows = list[dict[str, Any]]

MOST_CONCEPTS = 12
"""Rows of a set's table."""

MOST_UNITS = 5
"""Units of largest effect on each concept."""

MOST_LOST, MOST_TAKERS = 3, 5
"""Concepts of which is said what took their place, and how many things."""

MOST_DETECTORS = 10
"""Rows of a table of detectors."""


class Replaced(NamedTuple):
    """A concept that lost area, as a share of the image, and what took its place, with the shares of what was lost."""

    concept: str
    lost: float
    by: list[tuple[str, float]]


class SetSection(NamedTuple):
    """One set: rows of interventions.csv and how many there are more, what took places, and a sheet as a URI."""

    result: SetAreas
    units: str
    rows: Rows
    others: int
    replaced: list[Replaced]
    random: Band | None
    sheet: str | None


class Causes(NamedTuple):
    """A concept, its units of largest effect, and a row of causal_effects.csv that says what other units do."""

    concept: str
    units: Rows
    of_others: dict[str, Any]


class SweepSection(NamedTuple):
    """A sweep: the units of largest effect on each concept, and rows of causal_effects.rankings.csv."""

    result: CausalEffects
    concepts: list[Causes]
    rankings: Rows


class MapSection(NamedTuple):
    """Units inserted at every place: rows of insertions.csv, and the figure as a URI."""

    result: InsertionMap
    rows: Rows
    figure: str


class ConceptSetSection(NamedTuple):
    """The units that a concept rests on: rows of concept_sets.csv, and what the set removes with its interval."""

    result: ConceptSet
    units: str
    rows: Rows
    removed: tuple[float, float, float]


class DetectorsSection(NamedTuple):
    """Units as detectors of what is drawn: the first rows of drawn_detectors.csv, and how many there are more."""

    result: DrawnDetectors
    rows: Rows
    others: int


class InterventionsView(NamedTuple):
    """All that is shown.

    Attributes
    ----------
    saved : SavedInterventions
    resists : list of dict
        Rows of interventions.csv: of each set that was removed for a concept, that of the concept.
    sets, sweeps, maps, concept_sets, detectors : lists of sections
    measured : bool
        Whether what marks the images says how good it is.
    """

    saved: SavedInterventions
    resists: Rows
    sets: list[SetSection]
    sweeps: list[SweepSection]
    maps: list[MapSection]
    concept_sets: list[ConceptSetSection]
    detectors: list[DetectorsSection]
    measured: bool


def interventions_view(saved: SavedInterventions) -> InterventionsView:
    """Gather what the page shows."""
    images = {number: image_uri(content) for number, content in saved.images.items()}
    numbered = list(enumerate(saved.results))
    results = saved.results
    return InterventionsView(
        saved=saved,
        resists=_resists([one for one in results if isinstance(one, SetAreas)]),
        sets=[_set(one, images.get(number)) for number, one in numbered if isinstance(one, SetAreas)],
        sweeps=[_sweep(one, saved.rankings) for one in results if isinstance(one, CausalEffects)],
        maps=[_map(one, images[number]) for number, one in numbered if isinstance(one, InsertionMap)],
        concept_sets=[_concept_set(one) for one in results if isinstance(one, ConceptSet)],
        detectors=[_detectors(one) for one in results if isinstance(one, DrawnDetectors)],
        measured=any(bool((one.segmenter_iou >= 0).any()) for one in results),
    )


def render_interventions(view: InterventionsView) -> str:
    """The page of interventions without a dissection, as text."""
    return document(
        "interventions_page.html",
        version=view.saved.info["unitlens"],
        styles=("report.css", "effects.css", "interventions.css"),
        interventions=view,
    )


def _resists(sets: Sequence[SetAreas]) -> Rows:
    """What is left of concepts whose units were removed, the most first; nothing where there is one set alone."""
    import pandas as pd

    tables = [one.table().assign(count=len(one.units)) for one in sets if one.chosen_for]
    if not tables:
        return []
    rows = pd.concat(tables, ignore_index=True)
    named = (rows["concept"] == rows["chosen_for"]) | (rows["category"] + "/" + rows["concept"] == rows["chosen_for"])
    rows = rows[named & (rows["change"] == "set to 0") & (rows["before"] > 0)]
    several = len(rows.drop_duplicates(["layer", "category", "concept"])) > 1
    return _rows(rows.sort_values("removed", kind="stable")) if several else []


def _set(one: SetAreas, sheet: str | None) -> SetSection:
    table = one.table()
    shown = table.head(MOST_CONCEPTS)
    random = one.moved_by_drawn() if one.drawn else None
    others = len(table) - len(shown)
    return SetSection(one, _named(one.units), _rows(shown), others, _replaced(one, table), random, sheet)


def _replaced(one: SetAreas, table: "pd.DataFrame") -> list[Replaced]:
    """What took the place of the concepts that lost most."""
    replaced = []
    for row in _rows(table[table["effect"] < 0].head(MOST_LOST)):
        name = row["concept"] if row["concept"] in one.shown else f"{row['category']}/{row['concept']}"
        takers = one.took_its_place(name, MOST_TAKERS)
        replaced.append(Replaced(name, -row["effect"], [(str(k), float(v)) for k, v in takers.items()]))
    return replaced


def _sweep(one: CausalEffects, rankings: "pd.DataFrame | None") -> SweepSection:
    table = one.table()
    largest = table.groupby(["category", "concept"], sort=False)["average_causal_effect"].max()
    concepts = []
    for category, concept in largest.sort_values(ascending=False).index[: 2 * MOST_CONCEPTS]:
        of_concept = table[(table["category"] == category) & (table["concept"] == concept)]
        order = of_concept.sort_values("average_causal_effect", ascending=False, kind="stable")
        above = order[order["low"] > 0].head(MOST_UNITS)
        (first,) = _rows(order.head(1))
        concepts.append(Causes(str(concept), _rows(above), first))
    ranked = [] if rankings is None else _rows(rankings[rankings["layer"] == one.settings.layer])
    return SweepSection(one, concepts, ranked)


def _map(one: InsertionMap, figure: str) -> MapSection:
    return MapSection(one, _rows(one.table().head(MOST_CONCEPTS)), figure)


def _concept_set(one: ConceptSet) -> ConceptSetSection:
    return ConceptSetSection(one, _named(one.units), _rows(one.table()), one.removed())


def _detectors(one: DrawnDetectors) -> DetectorsSection:
    table = one.table()
    return DetectorsSection(one, _rows(table.head(MOST_DETECTORS)), max(0, len(table) - MOST_DETECTORS))


def _rows(table: "pd.DataFrame") -> Rows:
    return [{str(name): value for name, value in record.items()} for record in table.to_dict("records")]


def _named(units: tuple[int, ...], most: int = 24) -> str:
    more = f" and {len(units) - most} more" if len(units) > most else ""
    return ", ".join(map(str, units[:most])) + more
