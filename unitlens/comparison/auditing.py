"""How stable the labels of a run are, and how far they are from labels that anyone could give."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from unitlens.comparison.audit_checks import baselines, collisions, halves_agree, label_on_halves, summarise, unit_rows
from unitlens.comparison.audit_passes import NOISE, Checks, Passes
from unitlens.comparison.entries import Entry, entries_of
from unitlens.data.concepts import Data
from unitlens.dissection.forward import Resources
from unitlens.dissection.reopening import Recipe, check_network
from unitlens.dissection.result import Dissection, open_run
from unitlens.errors import UnitlensError
from unitlens.files import make_folder, write_whole
from unitlens.models.network import Network

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False, repr=False)
class Audit:
    """What `audit` returns.

    Attributes
    ----------
    run : Dissection
        What was audited.
    units : DataFrame
        One row a unit that has a label, and check, with the columns of `unitlens.comparison.audit_columns.COLUMNS`.
    overlaps : list of dict or None
        Concepts whose regions overlap most; None without the images.
    notes : tuple of str
        What could not be checked, and why, a sentence each.
    """

    run: Dissection
    units: "pd.DataFrame"
    overlaps: list[dict[str, Any]] | None
    notes: tuple[str, ...]

    def table(self) -> "pd.DataFrame":
        """How many labels stayed: a row a layer and check; `unitlens.comparison.audit_columns.SUMMARY_COLUMNS`."""
        return summarise(self.units, min_iou=self.run.settings.min_iou)

    def baselines(self) -> "pd.DataFrame":
        """Mean IoU with the labels of the run, and with trivial ones."""
        import pandas as pd

        return pd.DataFrame([row for entry in self._entries() for row in baselines(entry)])

    def collisions(self) -> "pd.DataFrame":
        """Labels that several units share."""
        import pandas as pd

        rows = [row for entry in self._entries() for row in collisions(entry)]
        return pd.DataFrame(rows, columns=["layer", "category", "concept", "units"])

    def summary(self) -> dict[str, Any]:
        """All that is not said unit by unit, as in audit.json."""
        info = self.run.info
        return {
            "run": {"created": info["created"], **{f"{what}_sha256": info[what]["sha256"] for what in _HASHED}},
            "notes": list(self.notes),
            "checks": _plain(self.table()),
            "halves_agree": {layer: _number(halves_agree(self.units, layer)) for layer in self.run.layers},
            "baselines": _plain(self.baselines()),
            "collisions": _plain(self.collisions()),
            "overlapping_concepts": self.overlaps,
        }

    def save(self, folder: str | Path) -> Path:
        """Write audit.csv and audit.json into a folder, most often that of the run; `unitlens.report` adds the page.

        Returns
        -------
        Path
            The folder.

        Raises
        ------
        UnitlensError
            If nothing can be written there.
        """
        folder = make_folder(folder)
        write_whole(folder / TABLE, self.units.to_csv(index=False))
        write_whole(folder / SUMMARY, json.dumps(self.summary(), indent=1, ensure_ascii=False) + "\n")
        return folder

    def _entries(self) -> tuple[Entry, ...]:
        return entries_of([self.run], None)

    def __repr__(self) -> str:
        said = ", ".join(f"{row['check']} {row['same_label']:.0%}" for row in _plain(self.table()))
        return f"<Audit of {', '.join(self.run.layers)}; labels that stay: {said}>"

    def _repr_html_(self) -> str:
        from html import escape

        notes = "".join(f"<p>{escape(note)}</p>" for note in self.notes)
        return notes + str(self.table().to_html(index=False, float_format="{:.3f}".format))


TABLE, SUMMARY = "audit.csv", "audit.json"

_HASHED = ("network", "data")


def _number(value: float) -> float | None:
    return None if np.isnan(value) else value


def _plain(table: "pd.DataFrame") -> list[dict[str, Any]]:
    """Rows as JSON takes them."""
    rows: list[dict[str, Any]] = json.loads(table.to_json(orient="records", double_precision=15))
    return rows


def audit(
    run: Dissection | str | Path,
    net: Network | None = None,
    data: Data | str | Path | None = None,
    *,
    trust: bool = False,
    noise: float = NOISE,
    batch_size: int = 32,
    workers: int = 0,
    seed: int = 0,
    store_limit: int | None = None,
    progress: bool = False,
) -> Audit:
    """Check how stable the labels of a run are, and hold them against trivial ones.

    Halves of the data, baselines and collisions come from the counts of the run. Other quantiles and the other
    upsampling take one pass over its images, noise another; they are left out, and the audit says so, where network
    or images are gone or are others.

    Parameters
    ----------
    run : Dissection, str or Path
        A dissection, or the folder of a saved one.
    net : Network, optional
        The network that was dissected; loaded again as the run says.
    data : Data, str or Path, optional
        The images that were shown; opened again as the run says.
    trust : bool
        Whether network and images may be opened again where that runs code that the run names, or downloads.
    noise : float
        Standard deviation of the noise, images being in [0, 1]; 0 leaves that pass out.
    batch_size, workers, store_limit, progress
        As for `unitlens.dissect`.
    seed : int
        Of the noise.

    Returns
    -------
    Audit

    Raises
    ------
    UnitlensError
        If there is no run, the network or data that were given are not those of the run, or opening them again would
        run code that the run names, or download, and ``trust`` is not set.
    """
    if noise < 0:
        raise UnitlensError(f"The noise is {noise}; it is a standard deviation, such as {NOISE}, or 0 for none.")
    run = run if isinstance(run, Dissection) else open_run(run)
    entries = {entry.layer: entry for entry in entries_of([run], None)}
    resources = Resources(workers, store_limit, progress)
    checks = [(layer, *check) for layer, entry in entries.items() for check in label_on_halves(entry).items()]
    notes, overlaps = [], None
    if not checks:
        notes.append("Halves of the data were not compared: one of them is empty, or the score needs several levels.")
    source = data if isinstance(data, str | Path) else None
    recipe = Recipe.of(run.info, source=source)
    if net is not None:
        check_network(net, run.info)
    if run.settings.basis is not None:
        notes.append(f"{_COUNTS_ALONE}: the run looked at directions, and run.json does not hold them.")
        return Audit(run, _unit_table(entries, checks), None, tuple(notes))
    recipe.check(trust=trust, network=net is None, data=data is source)
    try:
        net = recipe.open_network(trust=trust) if net is None else net
    except UnitlensError as error:
        return Audit(run, _unit_table(entries, checks), None, (*notes, f"{_COUNTS_ALONE}: {error}"))
    try:
        images = recipe.open_data(trust=trust) if data is None or isinstance(data, str | Path) else data
        passes = Passes.of(run, net, images, resources, batch_size=batch_size, noise=noise, seed=seed)
        overlaps = passes.look(checks)
        notes += passes.notes
    except UnitlensError as error:
        if data is not None:
            raise
        notes.append(f"{_COUNTS_ALONE}: {error}")
    return Audit(run, _unit_table(entries, checks), overlaps, tuple(notes))


_COUNTS_ALONE = "Only what the counts of the run tell was checked, by no further pass over images"


def _unit_table(entries: dict[str, Entry], checks: Checks) -> "pd.DataFrame":
    import pandas as pd

    from unitlens.comparison.audit_columns import COLUMNS

    parts = [unit_rows(entries[layer], check, found) for layer, check, found in checks]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=list(COLUMNS))
