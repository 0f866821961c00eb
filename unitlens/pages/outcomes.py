"""What the page shows of outcomes: sets of units beside those that were drawn, and the units that move each most."""

from typing import TYPE_CHECKING, Any, NamedTuple

from unitlens.ablation.table import joined
from unitlens.pages.document import document
from unitlens.pages.formats import rows_of

if TYPE_CHECKING:
    from unitlens.ablation.outcomes.files import SavedOutcomes
    from unitlens.ablation.outcomes.result import OutcomeEffects

Rows = list[dict[str, Any]]

MOST_UNITS = 6
"""Units of largest effect on each outcome."""

MOST_OUTCOMES = 20
"""Outcomes of a result that are shown."""


class OutcomeSection(NamedTuple):
    """One result.

    Attributes
    ----------
    result : OutcomeEffects
    units : str
        Those of a set; of every unit alone, empty.
    rows : list of dict
        Rows of outcomes.csv: those of a set; of every unit alone, the units of largest effect on each outcome.
    others : int
        How many outcomes there are more.
    """

    result: "OutcomeEffects"
    units: str
    rows: Rows
    others: int


class OutcomesView(NamedTuple):
    """All that is shown.

    Attributes
    ----------
    info : mapping
        Where the results come from.
    warnings : list of str
    sections : list of OutcomeSection
    """

    info: Any
    warnings: list[str]
    sections: list[OutcomeSection]


def outcomes_view(saved: "SavedOutcomes") -> OutcomesView:
    """Gather what the page shows."""
    warnings = [text for result in saved.results for text in result.info["warnings"]]
    return OutcomesView(saved.info, list(dict.fromkeys(warnings)), [_section(one) for one in saved.results])


def _section(result: "OutcomeEffects") -> OutcomeSection:
    table, shown = result.table(), result.outcomes[:MOST_OUTCOMES]
    others = len(result.outcomes) - len(shown)
    if result.handed is None:
        return OutcomeSection(result, joined(result.sets[0]), rows_of(table[table["outcome"].isin(shown)]), others)
    table["size"] = table["effect"].abs()
    rows: Rows = []
    for outcome in shown:
        largest = table[table["outcome"] == outcome].sort_values("size", ascending=False, kind="stable")
        rows += rows_of(largest[largest["size"] > 0].head(MOST_UNITS))
    return OutcomeSection(result, "", rows, others)


def render_outcomes(view: OutcomesView) -> str:
    """The page of outcomes without a dissection, as text."""
    return document(
        "outcomes_page.html",
        version=view.info["unitlens"],
        styles=("report.css", "effects.css", "interventions.css"),
        outcomes=view,
    )
