"""What the page shows of units that were removed from and inserted into drawn images."""

from typing import TYPE_CHECKING, Any, NamedTuple

from unitlens.editing.files import CAUSAL, INSERTIONS, SETS, SavedInterventions
from unitlens.editing.record import CausalRecord, InterventionsRecord, MapRecord, SetRecord
from unitlens.pages.document import document
from unitlens.pages.formats import image_uri

if TYPE_CHECKING:
    import pandas as pd

MOST_CONCEPTS = 12
"""Rows of a set's table."""

MOST_UNITS = 5
"""Units of largest effect on each concept."""


class SetSection(NamedTuple):
    """One set: its record, rows of interventions.csv, and a sheet of images as a URI."""

    record: SetRecord
    units: str
    rows: list[dict[str, Any]]
    others: int
    sheet: str | None


class SweepSection(NamedTuple):
    """A sweep: its record, and for each concept its units of largest effect."""

    record: CausalRecord
    concepts: list[tuple[str, list[dict[str, Any]]]]


class MapSection(NamedTuple):
    """Units inserted at every place: the record, rows of insertions.csv, and the figure as a URI."""

    record: MapRecord
    rows: list[dict[str, Any]]
    figure: str


class InterventionsView(NamedTuple):
    """All that is shown."""

    record: InterventionsRecord
    sets: list[SetSection]
    sweeps: list[SweepSection]
    maps: list[MapSection]


def interventions_view(saved: SavedInterventions) -> InterventionsView:
    """Gather what the page shows."""
    return InterventionsView(
        record=saved.record,
        sets=[_set(one, saved) for one in saved.record.sets],
        sweeps=[_sweep(one, saved.tables[CAUSAL]) for one in saved.record.sweeps],
        maps=[_map(one, saved) for one in saved.record.maps],
    )


def render_interventions(view: InterventionsView) -> str:
    """The page of interventions without a dissection, as text."""
    return document(
        "interventions_page.html",
        version=view.record.unitlens,
        styles=("report.css", "effects.css", "interventions.css"),
        interventions=view,
    )


def _set(one: SetRecord, saved: SavedInterventions) -> SetSection:
    table, units = saved.tables[SETS], ";".join(map(str, one.units))
    rows = table[(table["layer"] == one.layer) & (table["units"] == units) & (table["change"] == one.change)]
    sheet = None if one.sheet is None else image_uri(saved.images[one.sheet])
    shown = rows.head(MOST_CONCEPTS).to_dict("records")
    return SetSection(one, _named(one.units), _by_name(shown), len(rows) - len(shown), sheet)


def _sweep(one: CausalRecord, table: "pd.DataFrame") -> SweepSection:
    of_layer = table[table["layer"] == one.layer]
    largest = of_layer.groupby("concept", sort=False)["average_causal_effect"].max().sort_values(ascending=False)
    concepts = []
    for concept in largest.index[: 2 * MOST_CONCEPTS]:
        above = (of_layer["concept"] == concept) & (of_layer["low"] > 0)
        rows = of_layer[above].sort_values("average_causal_effect", ascending=False, kind="stable")
        concepts.append((str(concept), _by_name(rows.head(MOST_UNITS).to_dict("records"))))
    return SweepSection(one, concepts)


def _map(one: MapRecord, saved: SavedInterventions) -> MapSection:
    table, units = saved.tables[INSERTIONS], ";".join(map(str, one.units))
    rows = table[(table["layer"] == one.layer) & (table["units"] == units) & (table["concept"] == one.concept)]
    shown = _by_name(rows.head(MOST_CONCEPTS).to_dict("records"))
    return MapSection(one, shown, image_uri(saved.images[one.figure]))


def _by_name(records: list[Any]) -> list[dict[str, Any]]:
    return [{str(name): value for name, value in record.items()} for record in records]


def _named(units: tuple[int, ...], most: int = 24) -> str:
    more = f" and {len(units) - most} more" if len(units) > most else ""
    return ", ".join(map(str, units[:most])) + more
