"""The result of a comparison: its tables, its figure and its files."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from unitlens.comparison.beside import Beside, columns_beside, differences_beside, notes_beside, summary_beside
from unitlens.comparison.columns import ALL, COLUMNS, CONCEPT_COLUMNS, UNIT_COLUMNS, interval_columns
from unitlens.comparison.heldout import mean_heldout
from unitlens.comparison.matching import Matches, match_units
from unitlens.comparison.measured import Measured
from unitlens.comparison.numbers import (
    CategoryNumbers,
    LayerNumbers,
    best_iou,
    best_iou_difference,
    count_units,
    count_units_on,
)
from unitlens.dissection.sentences.headline import describe_comparison, has_random_weights
from unitlens.drawing.figures import category_colours
from unitlens.errors import UnitlensError, argument, did_you_mean
from unitlens.files import another_or_overwrite
from unitlens.journal import changing, settle
from unitlens.plurals import agreeing, counted

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure, SubFigure

    from unitlens.comparison.entries import Entry

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
    differences : str
        In what the runs differ beside network and layer, as a sentence; empty where in nothing.
    measured : mapping of str to Measured
        By the name of an entry, what was measured of its units beside the dissection.
    """

    entries: "tuple[Entry, ...]"
    against: str
    differences: str
    measured: Mapping[str, Measured]

    @property
    def names(self) -> list[str]:
        """Names of the entries."""
        return [entry.name for entry in self.entries]

    @cached_property
    def categories(self) -> list[str]:
        """Categories of all entries, in the order of charts."""
        return list(category_colours(category for entry in self.entries for category, _ in entry.concepts))

    def __getitem__(self, name: str) -> "Entry":
        """The entry of a name."""
        if name not in self.names:
            raise UnitlensError(
                f"There is no entry {name!r} in this comparison{did_you_mean(name, self.names)}; "
                f"there are {', '.join(self.names)}."
            )
        return self.entries[self.names.index(name)]

    @property
    def differ_in_width(self) -> bool:
        """Whether the layers have different numbers of units, so that shares say more than numbers."""
        return len({entry.units for entry in self.entries}) > 1

    def paired(self, entry: str, other: str) -> bool:
        """Whether two entries saw the same images, so that they are compared on the same halves of them."""
        return self[entry].same_images(self[other])

    def table(self) -> "pd.DataFrame":
        """One row for each entry and category, with the columns `COLUMNS`."""
        import pandas as pd

        rows = [self._row(entry, category) for entry in self.entries for category in [ALL, *self.categories]]
        return pd.DataFrame(rows, columns=list(COLUMNS))

    def concepts(self) -> "pd.DataFrame":
        """One row for each entry and concept, with the columns `CONCEPT_COLUMNS`; only concepts that both have."""
        import pandas as pd

        rows = [row for entry in self.entries for row in self._concept_rows(entry)]
        return pd.DataFrame(rows, columns=list(CONCEPT_COLUMNS))

    def matched(self, entry: str | None = None, other: str | None = None) -> "pd.DataFrame":
        """Units of two entries matched one to one by what they detect, most similar first.

        What a unit detects is its IoU with every common concept, less the mean over the units of its layer; units are
        paired such that the sum of the cosines of all pairs is as large as it can be. Silent and nonfinite units take
        no part.

        Parameters
        ----------
        entry, other : str, optional
            Names of entries; by default the one that all are compared with, and the last of the others.

        Returns
        -------
        pandas.DataFrame
            With the columns `UNIT_COLUMNS`.
        """
        entry = self.against if entry is None else entry
        other = [name for name in self.names if name != entry][-1] if other is None else other
        first, second = self[entry], self[other]
        common = [concept for concept in first.concepts if concept in set(second.concepts)]
        matches = match_units(first.to_match(common), second.to_match(common), paired=first.same_images(second))
        return _matched_table(first, second, matches)

    def all_matched(self) -> "pd.DataFrame":
        """Units of the entry that all are compared with matched with those of every other one; see `matched`."""
        import pandas as pd

        others = [name for name in self.names if name != self.against]
        return pd.concat([self.matched(self.against, name) for name in others], ignore_index=True)

    def show(self, *, figure: "Figure | SubFigure | None" = None) -> "Figure":
        """Draw unique concepts and detectors by category, by entry, in a figure that is given or a new one."""
        from unitlens.drawing.emergence import emergence_figure

        table = self.table()
        return emergence_figure(table[table["category"] != ALL], figure=figure)

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
        settle(folder)
        existing = [name for name in (TABLE, CONCEPTS, UNITS) if (folder / name).exists()]
        if existing and not overwrite:
            raise UnitlensError(f"{folder} contains a comparison already ({existing[0]}): {another_or_overwrite()}.")
        with changing(folder) as change:
            for name, table in ((TABLE, self.table()), (CONCEPTS, self.concepts()), (UNITS, self.all_matched())):
                change.write(name, table.to_csv(index=False))
        return folder

    def _row(self, entry: "Entry", category: str) -> dict[str, Any]:
        """A row of `table`."""
        paired, numbers = self.paired(self.against, entry.name), self._numbers(entry, category)
        row: dict[str, Any] = {
            "entry": entry.name,
            "network": entry.network,
            "weights": entry.weights,
            "layer": entry.layer,
            "category": category,
            "units": entry.units,
            "runs": len(entry.trainings),
            "images": entry.images,
            "against": self.against,
            "paired": paired,
        }
        row |= interval_columns("detectors", "detectors", numbers.detectors.interval(most=entry.units))
        share = numbers.detectors.over(entry.units)
        row |= interval_columns("detectors_share", "detectors_share", share.interval(most=1.0))
        row |= interval_columns("unique_concepts", "unique", numbers.unique.interval(most=numbers.concepts))
        row |= interval_columns("above_min_iou", "above", numbers.above.interval(most=entry.units))
        if category == ALL:
            row |= columns_beside(self._beside(entry))
        if entry.name != self.against:
            reference = self[self.against]
            if entry.images != reference.images:
                row["compared_images"] = min(entry.images, reference.images)
            here = self._numbers(entry, category, beside=reference)
            there = self._numbers(reference, category, beside=entry)
            more = here.detectors.minus(there.detectors, paired=paired)
            row |= interval_columns("detectors_difference", "detectors_difference", more)
            of_reference = there.detectors.over(reference.units)
            more = here.detectors.over(entry.units).minus(of_reference, paired=paired)
            row |= interval_columns("share_difference", "share_difference", more)
            more = here.unique.minus(there.unique, paired=paired)
            row |= interval_columns("unique_difference", "unique_difference", more)
            if category == ALL:
                row |= differences_beside(self._beside(entry), self._beside(reference), paired=paired)
        return row

    def _beside(self, entry: "Entry") -> Beside:
        """What stands in the table beside the counts of an entry, computed once."""
        if entry.name not in self._known_beside:
            self._known_beside[entry.name] = Beside(mean_heldout(entry), self.measured[entry.name])
        return self._known_beside[entry.name]

    @cached_property
    def _known_beside(self) -> dict[str, Beside]:
        return {}

    def _numbers(self, entry: "Entry", category: str, *, beside: "Entry | None" = None) -> CategoryNumbers:
        """Numbers of an entry in one category; beside an entry of another number of images, at equal power."""
        concepts = np.array([category in (ALL, known) for known, _ in entry.concepts])
        images = None if beside is None or beside.images == entry.images else min(entry.images, beside.images)
        return self._count(entry, images).category(concepts)

    def _count(self, entry: "Entry", images: int | None = None) -> LayerNumbers:
        """Count units once for each entry and number of images."""
        key = (entry.name, images)
        if key not in self._counted:
            self._counted[key] = count_units(entry) if images is None else count_units_on(entry, images)
        return self._counted[key]

    @cached_property
    def _counted(self) -> dict[tuple[str, int | None], LayerNumbers]:
        return {}

    def _concept_rows(self, entry: "Entry") -> list[dict[str, Any]]:
        """Rows of `concepts` for one entry."""
        reference, paired = self[self.against], self.paired(self.against, entry.name)
        detectors, of_reference = (self._count(counted).by_concept() for counted in (entry, reference))
        columns = {concept: column for column, concept in enumerate(reference.concepts)}
        rows = []
        for here, (category, name) in enumerate(entry.concepts):
            there = columns.get((category, name))
            if there is None:
                continue
            row = {
                "entry": entry.name,
                "category": category,
                "concept": name,
                "detectors": float(detectors[here]),
                "change": _change(here=detectors[here] >= 0.5, there=of_reference[there] >= 0.5),
                "best_unit": int(entry.best.unit[here]),
            }
            row |= interval_columns("iou", "iou", best_iou(entry, here))
            if entry is not reference:
                more = best_iou_difference(entry, here, reference, there, paired=paired)
                row |= interval_columns("difference", "difference", more)
            rows.append(row)
        return rows

    def summary(self) -> str:
        """A line for each entry: detectors and unique concepts with their intervals, and the difference; `remarks`."""
        table = self.table()
        rows = table[table["category"] == ALL].to_dict("records")
        lines = [_summary_line(row, shares=self.differ_in_width) for row in rows]
        lines += filter(None, [summary_beside(entry.name, self._beside(entry)) for entry in self.entries])
        return "\n".join([*lines, *self.remarks()])

    def remarks(self) -> list[str]:
        """Which weights are random, what detectors were compared with, and what can be measured still; sentences."""
        random = [entry.name for entry in self.entries if has_random_weights(entry.run.info)]
        hint = argument("control", "untrained")
        compared = {
            entry.name: describe_comparison(entry.run.info, evidence=entry.run.settings.evidence, hint=hint)
            for entry in self.entries
        }
        out = [f"The weights of {' and '.join(random)} are random, so that nothing there was learnt."] if random else []
        if len(set(compared.values())) == 1:
            compared_with = [f"Detectors were {compared[self.against]}."]
        else:
            compared_with = [f"Detectors of {name} were {with_what}." for name, with_what in compared.items()]
        return [*out, *compared_with, *notes_beside(self.entries, self.measured)]

    def __repr__(self) -> str:
        totals = ", ".join(
            f"{entry.name} {self._count(entry).by_concept().sum():.3g}"
            + (" (random weights)" if has_random_weights(entry.run.info) else "")
            for entry in self.entries
        )
        return f"<Comparison of {counted(len(self.entries), 'layer')} with {self.against}; detectors: {totals}>"

    def _repr_html_(self) -> str:
        from html import escape

        table = self.table()
        totals = table[table["category"] == ALL].drop(columns=["category", "network", "weights", "layer"])
        notes = "".join(f"<p>{escape(note)}</p>" for note in (self.differences, *self.remarks()) if note)
        return notes + str(totals.to_html(index=False, float_format="{:.1f}".format, na_rep=""))


def _change(*, here: bool, there: bool) -> str:
    """Whether a concept has detectors here, in the entry that it is compared with, or in both."""
    return {(True, True): "both", (True, False): "gained", (False, True): "lost"}.get((here, there), "neither")


def _summary_line(row: dict[Any, Any], *, shares: bool) -> str:
    """A row of the table as a line of text; shares beside numbers where layers differ in width."""

    def interval(name: str, factor: float = 1) -> str:
        low, high = row[f"{name}_low"], row[f"{name}_high"]
        return "" if np.isnan(low) else f" ({factor * low:.3g} to {factor * high:.3g})"

    detectors, concepts = row["detectors"], row["unique_concepts"]
    line = f"{row['entry']}: {detectors:.3g} of {counted(row['units'], 'unit')} "
    line += f"{agreeing(detectors, 'is a detector', 'are detectors')}{interval('detectors')}"
    if shares:
        line += f", {100 * row['detectors_share']:.3g} %{interval('detectors_share', 100)}"
    line += f", of {concepts:.3g} {agreeing(concepts, 'concept', 'concepts')}{interval('unique')}"
    if row["entry"] == row["against"]:
        return line
    line += f"; {row['detectors_difference']:+.3g}{interval('detectors_difference')}"
    if shares:
        line += f", or {100 * row['share_difference']:+.3g}{interval('share_difference', 100)} percentage points,"
    line += f" compared with {row['against']}"
    if np.isnan(row["compared_images"]):
        return line
    return f"{line} (units above the least IoU on {row['compared_images']:.0f} images each)"


def _matched_table(first: "Entry", second: "Entry", matches: Matches) -> "pd.DataFrame":
    """Pairs of units as a table."""
    import pandas as pd

    columns: dict[str, Any] = {}
    for prefix, entry, units in (("", first, matches.unit), ("other_", second, matches.other)):
        rows = entry.run.table().set_index("unit", drop=False).loc[units].reset_index(drop=True)
        columns[f"{prefix}entry"] = [entry.name] * len(units)
        columns |= {f"{prefix}{name}": rows[name] for name in ("unit", "concept", "category", "iou", "detector")}
    columns["same_concept"] = [
        first.concepts[first.concept[unit]] == second.concepts[second.concept[other]]
        for unit, other in zip(matches.unit, matches.other, strict=True)
    ]
    columns |= {
        "similarity": matches.similarity,
        "similarity_low": np.maximum(matches.similarity - matches.similarity_half_width, -1.0),
        "similarity_high": np.minimum(matches.similarity + matches.similarity_half_width, 1.0),
        "difference": matches.difference,
        "difference_low": matches.difference - matches.difference_half_width,
        "difference_high": matches.difference + matches.difference_half_width,
    }
    return pd.DataFrame(columns, columns=list(UNIT_COLUMNS))
