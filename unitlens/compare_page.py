"""The page and the files of a comparison."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from unitlens.compare_columns import ALL
from unitlens.document import document
from unitlens.emergence import HEIGHT, WIDTH, panels
from unitlens.errors import UnitlensError
from unitlens.runs import write_text

if TYPE_CHECKING:
    import pandas as pd

    from unitlens.comparison import Comparison

TABLE, CONCEPTS, UNITS, PAGE = "compare.csv", "compare_concepts.csv", "compare_units.csv", "compare.html"

PAIRS_SHOWN = 30
"""Matched units on the page; the file has all."""


class Change(NamedTuple):
    """What one entry has, or has not, of what the other has."""

    entry: str
    gained: list[dict[str, Any]]
    lost: list[dict[str, Any]]
    both: int


def write_comparison(comparison: "Comparison", folder: Path, *, overwrite: bool) -> Path:
    """Write the tables and the page of a comparison; the page's path.

    Raises
    ------
    UnitlensError
        If a comparison is there already and may not be replaced, or nothing can be written there.
    """
    there = [name for name in (TABLE, CONCEPTS, UNITS, PAGE) if (folder / name).exists()]
    if there and not overwrite:
        raise UnitlensError(
            f"{folder} holds a comparison already ({there[0]}): choose another --out, or replace it with --overwrite."
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UnitlensError(f"{folder} cannot be made: {error.strerror}; choose another --out.") from None
    table, concepts, units = comparison.table(), comparison.concepts(), all_matched(comparison)
    for name, one in ((TABLE, table), (CONCEPTS, concepts), (UNITS, units)):
        write_text(folder / name, one.to_csv(index=False))
    write_text(folder / PAGE, render_comparison(comparison, table, concepts, units))
    return folder / PAGE


def all_matched(comparison: "Comparison") -> "pd.DataFrame":
    """Units of every entry matched with those of the one that all are compared with."""
    import pandas as pd

    others = [name for name in comparison.names if name != comparison.against]
    return pd.concat([comparison.matched(comparison.against, name) for name in others], ignore_index=True)


def render_comparison(
    comparison: "Comparison", table: "pd.DataFrame", concepts: "pd.DataFrame", units: "pd.DataFrame"
) -> str:
    """The page as text: one self-contained HTML file without scripts.

    Parameters
    ----------
    comparison : Comparison
    table, concepts, units : DataFrame
        What its files hold.
    """
    whole = table[table["category"] == ALL]
    others = [name for name in comparison.names if name != comparison.against]
    info = comparison.entries[0].run.info
    return document(
        "compare.html",
        version=info["unitlens"],
        categories=comparison.categories,
        styles=("report.css", "emergence.css", "compare.css"),
        comparison=comparison,
        info=info,
        panels=panels(table),
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
