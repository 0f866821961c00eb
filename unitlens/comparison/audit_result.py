"""The result of an audit: its tables and its files."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from unitlens.comparison.audit_checks import agreement_of_halves, baselines, collisions, summarise
from unitlens.files import json_text
from unitlens.journal import changing

if TYPE_CHECKING:
    import pandas as pd

    from unitlens.comparison.entries import Entry
    from unitlens.dissection.result import Dissection

TABLE, SUMMARY = "audit.csv", "audit.json"


@dataclass(frozen=True, eq=False, repr=False)
class Audit:
    """What `audit` returns.

    Attributes
    ----------
    run : Dissection
        What was audited.
    entries : tuple of Entry
        Its layers.
    units : DataFrame
        One row for each unit that has a concept, and check, with the columns of
        `unitlens.comparison.columns.AUDIT_COLUMNS`.
    overlaps : list of dict or None
        Concepts whose regions overlap most; None without the images.
    notes : tuple of str
        What could not be checked, and why; a sentence each.
    """

    run: "Dissection"
    entries: "tuple[Entry, ...]"
    units: "pd.DataFrame"
    overlaps: list[dict[str, Any]] | None
    notes: tuple[str, ...]

    def table(self) -> "pd.DataFrame":
        """How many units keep their concept under each check, one row for each layer and check.

        Its columns are `unitlens.comparison.columns.AUDIT_SUMMARY_COLUMNS`.
        """
        return summarise(self.units, min_iou=self.run.settings.min_iou)

    def baselines(self) -> "pd.DataFrame":
        """Mean IoU of the units with the concepts of the run, and with trivial ones."""
        import pandas as pd

        return pd.DataFrame([row for entry in self.entries for row in baselines(entry)])

    def collisions(self) -> "pd.DataFrame":
        """Concepts that several units share."""
        import pandas as pd

        rows = [row for entry in self.entries for row in collisions(entry)]
        return pd.DataFrame(rows, columns=["layer", "category", "concept", "units"])

    def summary(self) -> dict[str, Any]:
        """Everything but the rows of single units, as in audit.json."""
        info = self.run.info
        return {
            "run": {
                "created": info["created"],
                "network_sha256": info["network"]["sha256"],
                "data_sha256": info["data"]["sha256"],
            },
            "notes": list(self.notes),
            "checks": _records(self.table()),
            "halves_agree": {layer: _or_none(agreement_of_halves(self.units, layer)) for layer in self.run.layers},
            "baselines": _records(self.baselines()),
            "collisions": _records(self.collisions()),
            "overlapping_concepts": self.overlaps,
        }

    def save(self, folder: str | Path) -> Path:
        """Write audit.csv and audit.json into a folder, usually that of the run; `unitlens.report` adds the page.

        Returns
        -------
        Path
            The folder.

        Raises
        ------
        UnitlensError
            If nothing can be written there.
        """
        with changing(folder) as change:
            change.write(TABLE, self.units.to_csv(index=False))
            change.write(SUMMARY, json_text(self.summary()))
        return change.folder

    def __repr__(self) -> str:
        shares = ", ".join(f"{row['check']} {row['same_concept']:.0%}" for row in _records(self.table()))
        return f"<Audit of {', '.join(self.run.layers)}; same concepts: {shares}>"

    def _repr_html_(self) -> str:
        from html import escape

        notes = "".join(f"<p>{escape(note)}</p>" for note in self.notes)
        return notes + str(self.table().to_html(index=False, float_format="{:.3f}".format))


def _or_none(value: float) -> float | None:
    """The number, or None for NaN, which JSON does not have."""
    return None if np.isnan(value) else value


def _records(table: "pd.DataFrame") -> list[dict[str, Any]]:
    """Rows of a table as JSON has them."""
    rows: list[dict[str, Any]] = json.loads(table.to_json(orient="records", double_precision=15))
    return rows
