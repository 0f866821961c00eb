"""The page and the files of a comparison."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from unitlens.comparison.columns import ALL
from unitlens.drawing.emergence import HEIGHT, WIDTH, panels
from unitlens.files import write_whole
from unitlens.pages.document import document

if TYPE_CHECKING:
    import pandas as pd

    from unitlens.comparison.result import Comparison

PAGE = "compare.html"

PAIRS_SHOWN = 30
"""Matched units on the page; the file has all."""


class Change(NamedTuple):
    """What one entry has, or has not, of what the other has."""

    entry: str
    gained: list[dict[str, Any]]
    lost: list[dict[str, Any]]
    both: int


def write_comparison(comparison: "Comparison", folder: Path, *, overwrite: bool) -> Path:
    """Save the tables of a comparison and write its page, whose path is returned; see `Comparison.save`."""
    comparison.save(folder, overwrite=overwrite)
    write_whole(folder / PAGE, render_comparison(comparison, comparison.table(), comparison.concepts()))
    return folder / PAGE


def render_comparison(comparison: "Comparison", table: "pd.DataFrame", concepts: "pd.DataFrame") -> str:
    """The page as text: one self-contained HTML file without scripts.

    Parameters
    ----------
    comparison : Comparison
    table, concepts : DataFrame
        What its files hold.
    """
    whole, units = table[table["category"] == ALL], comparison.all_matched()
    others = [name for name in comparison.names if name != comparison.against]
    info = comparison.entries[0].run.info
    return document(
        "compare.html",
        version=info["unitlens"],
        categories=comparison.categories,
        styles=("report.css", "emergence.css", "compare.css"),
        comparison=comparison,
        info=info,
        panels=panels(table[table["category"] != ALL]),
        width=WIDTH,
        height=HEIGHT,
        rows=_records(whole),
        changes=[_change(concepts, name) for name in others],
        pairs=[(name, *_pairs(units[units["other_entry"] == name])) for name in others],
        pairs_shown=PAIRS_SHOWN,
        paired=all(comparison.paired(comparison.against, name) for name in others),
    )


def _records(table: "pd.DataFrame") -> list[dict[str, Any]]:
    """Rows as mappings; what is missing becomes None."""
    whole = table.astype(object).where(table.notna(), None)
    return [{str(name): value for name, value in row.items()} for row in whole.to_dict("records")]


def _change(concepts: "pd.DataFrame", entry: str) -> Change:
    own = concepts[concepts["entry"] == entry].sort_values("difference", kind="stable")
    gained, lost = own[own["change"] == "gained"][::-1], own[own["change"] == "lost"]
    return Change(entry, _records(gained), _records(lost), int((own["change"] == "both").sum()))


def _pairs(units: "pd.DataFrame") -> tuple[list[dict[str, Any]], int, int, int]:
    """The pairs that are shown; how many there are, how many of two detectors, and of those with one label."""
    both = units[units["detector"].astype(bool) & units["other_detector"].astype(bool)]
    return _records(both.head(PAIRS_SHOWN)), len(units), len(both), int(both["same_label"].sum())
