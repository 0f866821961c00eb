"""Several layers, networks or checkpoints side by side: what their units detect, and whether a difference is one."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from unitlens.comparison.columns import ALL, COLUMNS, CONCEPT_COLUMNS, UNIT_COLUMNS
from unitlens.comparison.entries import Entry, entries_of, what_differs
from unitlens.comparison.matching import Matches, match_units
from unitlens.dissection.result import Dissection
from unitlens.drawing.figures import category_colours
from unitlens.errors import UnitlensError, UnitlensWarning, did_you_mean
from unitlens.files import another_or_overwrite, make_folder, write_whole
from unitlens.stats.recounts import Interval, LabelCounts, Recount, difference

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


class _ByCategory(NamedTuple):
    """What an entry has of one category, on all folds and on halves of them."""

    detectors: Recount
    unique: Recount
    above: Recount
    concepts: int


TABLE, CONCEPTS, UNITS = "compare.csv", "compare_concepts.csv", "compare_units.csv"


@dataclass(frozen=True, eq=False, repr=False)
class Comparison:
    """What `compare` returns.

    Attributes
    ----------
    entries : tuple of Entry
        Layers of runs, in the order in which they were given.
    against : str
        The name of the entry that the others are compared with.
    differs : str
        In what the runs differ beside network and layer, as a sentence; empty where in nothing.
    """

    entries: tuple[Entry, ...]
    against: str
    differs: str

    @property
    def names(self) -> list[str]:
        """Names of the entries."""
        return [entry.name for entry in self.entries]

    @cached_property
    def categories(self) -> list[str]:
        """Categories of all entries, in the order of charts."""
        return list(category_colours(category for entry in self.entries for category, _ in entry.keys))

    def __getitem__(self, name: str) -> Entry:
        """The entry of a name."""
        if name not in self.names:
            raise UnitlensError(
                f"There is no entry {name!r} in this comparison{did_you_mean(name, self.names)}; "
                f"there are {', '.join(self.names)}."
            )
        return self.entries[self.names.index(name)]

    def paired(self, one: str, other: str) -> bool:
        """Whether two entries saw the same images."""
        return self[one].same_images(self[other])

    def table(self) -> "pd.DataFrame":
        """One row an entry and category, with the columns `COLUMNS`."""
        import pandas as pd

        rows = [self._row(entry, category) for entry in self.entries for category in [ALL, *self.categories]]
        return pd.DataFrame(rows, columns=list(COLUMNS))

    def concepts(self) -> "pd.DataFrame":
        """One row an entry and concept, with the columns `CONCEPT_COLUMNS`; only concepts that both entries know."""
        import pandas as pd

        rows = [row for entry in self.entries for row in self._concept_rows(entry)]
        return pd.DataFrame(rows, columns=list(CONCEPT_COLUMNS))

    def matched(self, one: str | None = None, other: str | None = None) -> "pd.DataFrame":
        """Units of two entries matched one to one by what they detect, most alike first.

        What a unit detects is its IoU with every common concept, less the mean over the units of its layer; units are
        paired such that the sum of the cosines of all pairs is as large as it can be. Silent and nonfinite units take
        no part.

        Parameters
        ----------
        one, other : str, optional
            Names of entries; the one that all are compared with, and the last of the others.

        Returns
        -------
        pandas.DataFrame
            With the columns `UNIT_COLUMNS`.
        """
        one = self.against if one is None else one
        other = [name for name in self.names if name != one][-1] if other is None else other
        a, b = self[one], self[other]
        common = [key for key in a.keys if key in set(b.keys)]
        found = match_units(a.side(common), b.side(common), paired=a.same_images(b))
        return _matched_table(a, b, found)

    def all_matched(self) -> "pd.DataFrame":
        """Units of every entry matched with those of the one that all are compared with, as `matched` gives them."""
        import pandas as pd

        others = [name for name in self.names if name != self.against]
        return pd.concat([self.matched(self.against, name) for name in others], ignore_index=True)

    def show(self) -> "Figure":
        """A figure of unique concepts and detectors by category, from entry to entry."""
        from unitlens.drawing.emergence import emergence_figure

        table = self.table()
        return emergence_figure(table[table["category"] != ALL])

    def save(self, folder: str | Path, *, overwrite: bool = False) -> Path:
        """Write compare.csv, compare_concepts.csv and compare_units.csv; `unitlens.report` adds the page.

        Returns
        -------
        Path
            The folder.

        Raises
        ------
        UnitlensError
            If a comparison is there already and ``overwrite`` is not set, or nothing can be written there.
        """
        folder = Path(folder)
        there = [name for name in (TABLE, CONCEPTS, UNITS) if (folder / name).exists()]
        if there and not overwrite:
            raise UnitlensError(f"{folder} holds a comparison already ({there[0]}): {another_or_overwrite()}.")
        make_folder(folder)
        for name, table in ((TABLE, self.table()), (CONCEPTS, self.concepts()), (UNITS, self.all_matched())):
            write_whole(folder / name, table.to_csv(index=False))
        return folder

    @cached_property
    def _detectors(self) -> dict[str, LabelCounts]:
        """Detectors of each entry by label."""
        return {entry.name: entry.recount(detectors=True) for entry in self.entries}

    @cached_property
    def _above_min_iou(self) -> dict[str, LabelCounts]:
        """Units of each entry above the least IoU by label."""
        return {entry.name: entry.recount(detectors=False) for entry in self.entries}

    def _row(self, entry: Entry, category: str) -> dict[str, Any]:
        paired, found = self.paired(self.against, entry.name), self._by_category(entry, category)
        row: dict[str, Any] = {
            "entry": entry.name,
            "network": entry.network,
            "weights": entry.weights,
            "layer": entry.layer,
            "category": category,
            "units": entry.units,
            "against": self.against,
            "paired": paired,
        }
        row |= _columns("detectors", "detectors", found.detectors.interval(most=entry.units))
        row |= _columns("unique_concepts", "unique", found.unique.interval(most=found.concepts))
        row |= _columns("above_min_iou", "above", found.above.interval(most=entry.units))
        if entry.name != self.against:
            reference = self._by_category(self[self.against], category)
            more = difference(reference.detectors, found.detectors, paired=paired)
            row |= _columns("detectors_difference", "detectors_difference", more)
            more = difference(reference.unique, found.unique, paired=paired)
            row |= _columns("unique_difference", "unique_difference", more)
        return row

    def _by_category(self, entry: Entry, category: str) -> _ByCategory:
        concepts = np.array([category in (ALL, own) for own, _ in entry.keys])
        detectors = self._detectors[entry.name]
        return _ByCategory(
            detectors=detectors.units(concepts),
            unique=detectors.unique_concepts(concepts),
            above=self._above_min_iou[entry.name].units(concepts),
            concepts=int(concepts.sum()),
        )

    def _concept_rows(self, entry: Entry) -> list[dict[str, Any]]:
        other, paired = self[self.against], self.paired(self.against, entry.name)
        here, there = (dict(zip(one.keys, self._detectors[one.name].whole, strict=True)) for one in (entry, other))
        columns = {key: c for c, key in enumerate(other.keys)}
        rows = []
        for c, key in enumerate(entry.keys):
            if key not in columns:
                continue
            row = {"entry": entry.name, "category": key[0], "concept": key[1], "detectors": int(here[key])}
            row |= {"change": _change(here[key] > 0, there[key] > 0), "best_unit": int(entry.best.unit[c])}
            row |= _columns("iou", "iou", entry.best.interval(c))
            if entry is not other:
                less = entry.best.less(c, other.best, columns[key], paired=paired)
                row |= _columns("difference", "difference", less)
            rows.append(row)
        return rows

    def summary(self) -> str:
        """A line an entry: detectors and unique concepts with their intervals, and what differs from the first."""
        table = self.table()
        return "\n".join(_line(row) for row in table[table["category"] == ALL].to_dict("records"))

    def __repr__(self) -> str:
        totals = [f"{name} {self._detectors[name].whole.sum()}" for name in self.names]
        return f"<Comparison of {len(self.entries)} layers against {self.against}; detectors: {', '.join(totals)}>"

    def _repr_html_(self) -> str:
        from html import escape

        table = self.table()
        whole = table[table["category"] == ALL].drop(columns=["category", "network", "weights", "layer"])
        note = f"<p>{escape(self.differs)}</p>" if self.differs else ""
        return note + str(whole.to_html(index=False, float_format="{:.1f}".format, na_rep=""))


def _columns(column: str, ends: str, interval: Interval) -> dict[str, float]:
    """A number and the ends of its interval as three columns."""
    return {column: interval.value, f"{ends}_low": interval.low, f"{ends}_high": interval.high}


def _change(here: bool, there: bool) -> str:
    return {(True, True): "both", (True, False): "gained", (False, True): "lost"}.get((here, there), "neither")


def _line(row: dict[Any, Any]) -> str:
    """A row of the table as a sentence."""

    def between(name: str) -> str:
        low, high = row[f"{name}_low"], row[f"{name}_high"]
        return "" if np.isnan(low) else f" ({low:.3g} to {high:.3g})"

    said = f"{row['entry']}: {row['detectors']:g} of {row['units']} units are detectors{between('detectors')}"
    said += f", of {row['unique_concepts']:g} concepts{between('unique')}"
    if row["entry"] == row["against"]:
        return said
    more = row["detectors_difference"]
    return f"{said}; {more:+g}{between('detectors_difference')} against {row['against']}"


def _matched_table(a: Entry, b: Entry, found: Matches) -> "pd.DataFrame":
    import pandas as pd

    columns: dict[str, Any] = {}
    for prefix, entry, units in (("", a, found.unit), ("other_", b, found.other)):
        rows = entry.run.table().set_index("unit", drop=False).loc[units].reset_index(drop=True)
        columns[f"{prefix}entry"] = [entry.name] * len(units)
        columns |= {f"{prefix}{name}": rows[name] for name in ("unit", "concept", "category", "iou", "detector")}
    columns["same_label"] = [
        a.keys[a.label[u]] == b.keys[b.label[v]] for u, v in zip(found.unit, found.other, strict=True)
    ]
    columns |= {
        "similarity": found.similarity,
        "similarity_low": np.maximum(found.similarity - found.similarity_half, -1.0),
        "similarity_high": np.minimum(found.similarity + found.similarity_half, 1.0),
        "difference": found.difference,
        "difference_low": found.difference - found.difference_half,
        "difference_high": found.difference + found.difference_half,
    }
    return pd.DataFrame(columns, columns=list(UNIT_COLUMNS))


def compare(
    *runs: Dissection | str | Path, names: Sequence[str] | None = None, against: str | None = None
) -> Comparison:
    """Put layers of one or several runs side by side.

    Parameters
    ----------
    *runs : Dissection, str or Path
        Dissections or folders of saved ones: layers of one network, several networks, checkpoints of one training.
        Every layer of every run becomes an entry.
    names : sequence of str, optional
        One a run; else the folder's or the network's name, and the layer's where runs have several.
    against : str, optional
        The entry that the others are compared with; the first.

    Returns
    -------
    Comparison

    Raises
    ------
    UnitlensError
        If there are fewer than two layers, or two of them have no concept in common.

    Warns
    -----
    UnitlensWarning
        If the runs are of other images, concepts or settings; the text says which.
    """
    entries = entries_of(runs, names)
    if len(entries) < 2:
        raise UnitlensError(
            f"A comparison takes two layers or more, and there {'is' if entries else 'are'} {len(entries) or 'none'}: "
            "name several runs, or a run of several layers."
        )
    first = entries[0]
    for entry in entries[1:]:
        if not set(first.keys) & set(entry.keys):
            raise UnitlensError(
                f"{first.name} and {entry.name} have no concept in common ({first.some_concepts()}; "
                f"{entry.some_concepts()}): compare runs on the same annotations."
            )
    differs = what_differs(entries)
    if differs:
        warnings.warn(differs, UnitlensWarning, stacklevel=2)
    comparison = Comparison(entries, against or first.name, differs)
    comparison[comparison.against]
    return comparison
