"""The page of a comparison."""

from typing import TYPE_CHECKING, Any, NamedTuple

from unitlens.comparison.columns import ALL
from unitlens.drawing.emergence import HEIGHT, WIDTH, panels
from unitlens.pages.document import document
from unitlens.pages.formats import rows_of

if TYPE_CHECKING:
    import pandas as pd

    from unitlens.comparison.result import Comparison

PAIRS_SHOWN = 30
"""Matched units on the page; the file has all."""


class Change(NamedTuple):
    """Concepts that an entry gains and loses against another, and how many both have."""

    entry: str
    gained: list[dict[str, Any]]
    lost: list[dict[str, Any]]
    both: int


class Pairs(NamedTuple):
    """Matched units of two entries: the most similar pairs; how many pairs, of detectors, and of one concept."""

    entry: str
    rows: list[dict[str, Any]]
    pairs: int
    detectors: int
    same_concept: int


def render_comparison(comparison: "Comparison") -> str:
    """Return the page as text: one self-contained HTML file."""
    table, concepts, units = comparison.table(), comparison.concepts(), comparison.all_matched()
    others = [name for name in comparison.names if name != comparison.against]
    info = comparison.entries[0].run.info
    measured = comparison.measured.values()
    every = table[table["category"] == ALL]
    return document(
        "comparison.html",
        version=info["unitlens"],
        warnings=[comparison.differences] if comparison.differences else [],
        categories=comparison.categories,
        styles=("emergence.css", "comparison.css"),
        comparison=comparison,
        info=info,
        panels=panels(table[table["category"] != ALL]),
        width=WIDTH,
        height=HEIGHT,
        rows=rows_of(_in_percent(every)),
        beside=rows_of(_in_points(every)) if every["heldout_iou"].notna().any() or any(map(any, measured)) else [],
        effects=any(one.effects for one in measured),
        reconstructions=any(one.reconstruction for one in measured),
        changes=[_change(concepts, name) for name in others],
        pairs=[_pairs(units, name) for name in others],
        pairs_shown=PAIRS_SHOWN,
        several=any(entry.others for entry in comparison.entries),
        fewer=bool(table["compared_images"].notna().any()),
        paired=all(comparison.paired(comparison.against, name) for name in others),
    )


def _in_percent(table: "pd.DataFrame") -> "pd.DataFrame":
    """The table with shares of 100."""
    shares = [name for name in table.columns if "share" in name]
    return table.assign(**{name: 100 * table[name] for name in shares})


def _in_points(table: "pd.DataFrame") -> "pd.DataFrame":
    """The table with accuracies and explained variance of 100."""
    shares = [name for name in table.columns if "accuracy" in name or name.startswith("explained")]
    return table.assign(**{name: 100 * table[name].astype(float) for name in shares})


def _change(concepts: "pd.DataFrame", entry: str) -> Change:
    rows = concepts[concepts["entry"] == entry].sort_values("difference", kind="stable")
    gained, lost = rows[rows["change"] == "gained"][::-1], rows[rows["change"] == "lost"]
    return Change(entry, rows_of(gained), rows_of(lost), int((rows["change"] == "both").sum()))


def _pairs(units: "pd.DataFrame", entry: str) -> Pairs:
    units = units[units["other_entry"] == entry]
    both = units[units["detector"].astype(bool) & units["other_detector"].astype(bool)]
    return Pairs(entry, rows_of(both.head(PAIRS_SHOWN)), len(units), len(both), int(both["same_concept"].sum()))
