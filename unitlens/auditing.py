"""How stable the labels of a run are, and how far they are from labels that anyone could give."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from unitlens.audit_checks import (
    Labelled,
    baselines,
    collisions,
    halves_agree,
    label_on_halves,
    overlapping_concepts,
    summarise,
    unit_rows,
)
from unitlens.columns import Columns
from unitlens.concepts import Data
from unitlens.entries import Entry, entries_of
from unitlens.errors import UnitlensError
from unitlens.judging import Judged, Judging, judge
from unitlens.network import Network
from unitlens.observation import Reading, observe
from unitlens.observed import Observed
from unitlens.presets import Definitions
from unitlens.reopening import check_data, check_network, data_again, network_again
from unitlens.result import Dissection, open_run
from unitlens.spool import spooling

if TYPE_CHECKING:
    import pandas as pd

NOISE = 0.02
"""Standard deviation of the noise, pictures being in [0, 1]: it changes up to 28 % of labels (ICCV 2023)."""


@dataclass(frozen=True, eq=False, repr=False)
class Audit:
    """What `audit` returns.

    Attributes
    ----------
    run : Dissection
        What was audited.
    units : DataFrame
        One row a unit that has a label, and check, with the columns of `unitlens.audit_columns.COLUMNS`.
    overlaps : list of dict or None
        Concepts whose regions overlap most; None without the pictures.
    notes : tuple of str
        What could not be checked, and why, a sentence each.
    """

    run: Dissection
    units: "pd.DataFrame"
    overlaps: list[dict[str, Any]] | None
    notes: tuple[str, ...]

    def table(self) -> "pd.DataFrame":
        """How many labels stayed: one row a layer and check; see `unitlens.audit_columns.SUMMARY_COLUMNS`."""
        return summarise(self.units, min_iou=self.run.info["settings"]["min_iou"])

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
        """Write audit.csv, audit.json and audit.html into a folder, most often that of the run; the page's path.

        Raises
        ------
        UnitlensError
            If nothing can be written there.
        """
        from unitlens.audit_page import write_audit

        return write_audit(self, Path(folder))

    def _entries(self) -> tuple[Entry, ...]:
        return entries_of([self.run], None)

    def __repr__(self) -> str:
        said = ", ".join(f"{row['check']} {row['same_label']:.0%}" for row in _plain(self.table()))
        return f"<Audit of {', '.join(self.run.layers)}; labels that stay: {said}>"

    def _repr_html_(self) -> str:
        from html import escape

        notes = "".join(f"<p>{escape(note)}</p>" for note in self.notes)
        return notes + str(self.table().to_html(index=False, float_format="{:.3f}".format))


_HASHED = ("network", "data")


def _number(value: float) -> float | None:
    return None if np.isnan(value) else value


def _plain(table: "pd.DataFrame") -> list[dict[str, Any]]:
    """Rows as JSON takes them."""
    rows: list[dict[str, Any]] = json.loads(table.to_json(orient="records", double_precision=15))
    return rows


@dataclass(frozen=True, eq=False, repr=False)
class _Noisy(Network):
    """A network that sees its pictures under noise, drawn picture by picture: batches of any size see the same."""

    noise: float = NOISE
    seed: int = 0
    drawn: torch.Generator | None = None

    def prepare(self, pictures: Tensor) -> Tensor:
        shown = pictures.to(self.device).float().div_(255)
        noise = torch.stack([torch.randn(shown.shape[1:], generator=self.drawn) for _ in shown])
        shown = (shown + self.noise * noise.to(self.device)).clamp_(0, 1)
        return self.preprocessing.normalise(shown).to(self.dtype)


def noisy(net: Network, *, noise: float = NOISE, seed: int = 0) -> Network:
    """The same network, shown pictures with Gaussian noise of a standard deviation, kept in [0, 1]."""
    own = {field.name: getattr(net, field.name) for field in fields(Network)}
    return _Noisy(**own, noise=noise, seed=seed, drawn=torch.Generator().manual_seed(seed))


def audit(
    run: Dissection | str | Path,
    net: Network | None = None,
    data: Data | str | Path | None = None,
    *,
    noise: float = NOISE,
    batch_size: int = 32,
    workers: int = 0,
    seed: int = 0,
    spool_limit: int | None = None,
    progress: bool = False,
) -> Audit:
    """Check how stable the labels of a run are, and hold them against trivial ones.

    Halves of the data, baselines and collisions come from the counts of the run. Other quantiles and the other
    upsampling take one pass over its pictures, noise another; they are left out, and the audit says so, where network
    or pictures are gone or are others.

    Parameters
    ----------
    run : Dissection, str or Path
        A dissection, or the folder of a saved one.
    net : Network, optional
        The network that was dissected; loaded again as the run says.
    data : Data, str or Path, optional
        The pictures that were shown; opened again as the run says.
    noise : float
        Standard deviation of the noise, pictures being in [0, 1]; 0 leaves that pass out.
    batch_size, workers, spool_limit, progress
        As for `unitlens.dissect`.
    seed : int
        Of the noise.

    Returns
    -------
    Audit

    Raises
    ------
    UnitlensError
        If there is no run, or the network or data that were given are not those of the run.
    """
    if noise < 0:
        raise UnitlensError(f"The noise is {noise}; it is a standard deviation, such as {NOISE}, or 0 for none.")
    run = run if isinstance(run, Dissection) else open_run(run)
    entries = {entry.layer: entry for entry in entries_of([run], None)}
    reading = Reading(batch_size, workers, run.info["settings"]["limit"], spool_limit=spool_limit, show=progress)
    checks = [(layer, *check) for layer, entry in entries.items() for check in label_on_halves(entry).items()]
    notes, overlaps = [], None
    if not checks:
        notes.append("Halves of the data were not compared: one of them is empty, or the score needs several levels.")
    given = net is not None or data is not None
    try:
        passes = _Passes.of(run, net, data, reading, noise=noise, seed=seed)
        overlaps = passes.look(checks)
        notes += passes.notes
    except UnitlensError as error:
        if given:
            raise
        notes.append(f"Only what the counts of the run tell was checked, by no further pass over pictures: {error}")
    return Audit(run, _unit_table(entries, checks, run.info["settings"]["min_iou"]), overlaps, tuple(notes))


Checks = list[tuple[str, str, Labelled]]


def _unit_table(entries: dict[str, Entry], checks: Checks, min_iou: float) -> "pd.DataFrame":
    import pandas as pd

    from unitlens.audit_columns import COLUMNS

    parts = [unit_rows(entries[layer], check, found, min_iou=min_iou) for layer, check, found in checks]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=list(COLUMNS))


@dataclass(frozen=True)
class _Passes:
    """The two passes over the pictures of a run: as they were, judged in several ways, and under noise."""

    run: Dissection
    net: Network
    data: Data
    reading: Reading
    how: Judging
    noise: float
    seed: int
    notes: list[str]

    @classmethod
    def of(
        cls,
        run: Dissection,
        net: Network | None,
        data: Data | str | Path | None,
        reading: Reading,
        *,
        noise: float,
        seed: int,
    ) -> "_Passes":
        """Open what is needed.

        Raises
        ------
        UnitlensError
            If the network or the pictures are gone, or the network is another.
        """
        info = run.info
        settings = info["settings"]
        if settings.get("basis"):
            raise UnitlensError("The run looked at directions, and run.json does not hold them.")
        net = network_again(info) if net is None else check_network(net, info)
        data = data_again(info, data) if data is None or isinstance(data, str | Path) else data
        own = {field.name: settings[field.name] for field in fields(Definitions)}
        chosen = Definitions(**own | {"grid": tuple(settings["grid"])})
        how = Judging(chosen, settings["score"], False, False, settings["fdr"], settings["seed"], 0, reading.show)
        reading = replace(reading, fast=settings["fast"], layout=settings.get("layout"))
        return cls(run, net, data, reading, how, noise, seed, [])

    def look(self, checks: Checks) -> list[dict[str, Any]]:
        """Add what the passes tell to the checks; the concepts whose regions overlap most."""
        with spooling() as spool:
            observed = self._observe(self.net, spool)
            check_data(observed.sha256, self.run.info, str(getattr(self.data, "source", "the data")))
            for check, definitions in self._variants():
                checks += self._judged(observed, check, definitions)
            overlaps = overlapping_concepts(observed.marked, observed.pictures, self.run.concepts)
        if self.noise:
            with spooling() as spool:
                observed = self._observe(noisy(self.net, noise=self.noise, seed=self.seed), spool)
                checks += self._judged(observed, "noise", self.how.definitions)
        return overlaps

    def _observe(self, net: Network, spool: Any) -> Observed:
        definitions = self.how.definitions
        columns = Columns.of(self.data.concepts, not_judged=definitions.not_judged, union=definitions.union)
        grid = definitions.grid
        assert grid is not None
        layers = self.run.info["settings"]["layers"]
        return observe(net, layers, self.data, columns, spool, grid=grid, tap=definitions.tap, reading=self.reading)

    def _variants(self) -> Iterator[tuple[str, Definitions]]:
        own = self.how.definitions
        yield "half quantile", replace(own, quantile=own.quantile / 2)
        if own.quantile < 0.5:
            yield "double quantile", replace(own, quantile=own.quantile * 2)
        yield "other upsampling", replace(own, upsampling="edges" if own.upsampling == "zeros" else "zeros")

    def _judged(self, observed: Observed, check: str, definitions: Definitions) -> Checks:
        """Labels of all layers under other definitions, or other pictures."""
        found: Checks = []
        for layer in observed.layers.values():
            if layer.layer_grid is None and check == "other upsampling":
                continue
            if layer.name not in self.run.layers:
                continue
            try:
                judged = judge(observed, layer, replace(self.how, definitions=definitions))
            except UnitlensError as error:
                self.notes.append(f"{layer.name} was not checked under {check}: {error}")
                continue
            found.append((layer.name, check, _labels(judged, entries_of([self.run[layer.name]], None)[0])))
        return found


def _labels(judged: Judged, entry: Entry) -> Labelled:
    names = {(category, name): c for c, (category, name) in enumerate(_written(entry))}
    pairs = zip(judged.table["category"], judged.table["concept"], strict=True)
    label = np.array([names.get(pair, -1) for pair in pairs], np.int64)
    units = np.arange(len(label))
    return Labelled(label, judged.counts.iou[units, np.maximum(label, 0)], judged.counts.iou[units, entry.label])


def _written(entry: Entry) -> list[tuple[str, str]]:
    """Category and name of the concepts as tables write them."""
    return [(key[0], name) for key, name in zip(entry.keys, entry.run.concepts, strict=True)]
