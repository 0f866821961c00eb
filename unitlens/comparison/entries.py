"""Layers of runs by name, as a comparison takes them, and in what the runs differ beside network and layer."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from unitlens.comparison.matching import Side, left_out_best
from unitlens.dissection.result import Dissection, open_run
from unitlens.errors import UnitlensError
from unitlens.stats.counts import Counts
from unitlens.stats.folds import filled_folds, iou_interval, jackknife_half_width
from unitlens.stats.recounts import Interval, LabelCounts, recount_labels
from unitlens.stats.scores import SCORES, Bools, Floats, Ints

Key = tuple[str, str]
"""Identity of a concept: category and name."""

_SETTINGS = (
    "quantile",
    "min_iou",
    "grid",
    "threshold_on",
    "upsampling",
    "union",
    "not_judged",
    "tap",
    "score",
    "unique",
    "evidence",
    "fdr",
    "basis",
)
"""Those whose difference makes numbers of two runs hard to compare."""


class Best(NamedTuple):
    """The unit of highest IoU with each concept.

    Attributes
    ----------
    unit : int64 array, (C,)
    iou : float64 array, (C,)
        On all folds.
    left_out : float64 array, (F, C)
        The same unit's IoU without each fold.
    """

    unit: Ints
    iou: Floats
    left_out: Floats

    def interval(self, concept: int) -> Interval:
        """The IoU with a concept, with its interval."""
        left_out = self.left_out[:, [concept]]
        low, high = iou_interval(self.iou[[concept]], left_out, np.ones(left_out.shape, bool))
        return Interval(float(self.iou[concept]), float(low[0]), float(high[0]))

    def less(self, concept: int, other: "Best", column: int, *, paired: bool) -> Interval:
        """How much larger it is than that of another layer, whose column of the concept is given."""
        value = float(self.iou[concept] - other.iou[column])
        here, there = self.left_out[:, concept], other.left_out[:, column]
        if paired:
            half = float(jackknife_half_width(here - there))
        else:
            half = float(np.hypot(jackknife_half_width(here), jackknife_half_width(there)))
        return Interval(value, value - half, value + half)


@dataclass(frozen=True, eq=False)
class Entry:
    """One layer of one run.

    Attributes
    ----------
    name : str
        What it is called in the comparison.
    run : Dissection
        Of this layer alone.
    """

    name: str
    run: Dissection

    @property
    def layer(self) -> str:
        """The layer's name."""
        return self.run.layers[0]

    @property
    def network(self) -> str:
        """The network's name."""
        return str(self.run.info["network"]["name"])

    @property
    def weights(self) -> str:
        """Its weights as they were given, or nothing."""
        return str(self.run.info["network"]["weights"] or "")

    @property
    def counts(self) -> Counts:
        """The layer's counts."""
        return self.run.counts

    @property
    def units(self) -> int:
        """Units of the layer."""
        return self.counts.shape[0]

    @cached_property
    def keys(self) -> tuple[Key, ...]:
        """The run's concepts, in the order of the columns of its counts."""
        return tuple((concept["category"], concept["name"]) for concept in self.run.info["data"]["concepts"])

    @cached_property
    def label(self) -> Ints:
        """Column of each unit's label, 0 where it has none, (U,)."""
        written = {(key[0], name): c for c, (key, name) in enumerate(zip(self.keys, self.run.concepts, strict=True))}
        table = self.run.table()
        pairs = zip(table["category"], table["concept"], strict=True)
        return np.array([written.get(pair, 0) for pair in pairs], np.int64)

    @cached_property
    def best(self) -> Best:
        """The best unit of each concept."""
        return Best(*left_out_best(self.side(self.keys)))

    @cached_property
    def labelled(self) -> Bools:
        """Units that have a label: neither silent nor nonfinite, (U,)."""
        return self.run.table()["concept"].notna().to_numpy(bool)

    def recount(self, *, detectors: bool) -> LabelCounts:
        """Units above the least IoU by label, on halves of the folds.

        Parameters
        ----------
        detectors : bool
            Whether only units count that passed the run's other tests, whatever their IoU is. Those tests are not
            repeated: they stay as they are on all folds.
        """
        eligible = self.labelled
        if detectors:
            eligible = eligible & self.run.table()["verdict"].isin(["detector", "weak"]).to_numpy(bool)
        settings = self.run.settings
        return recount_labels(
            self.counts,
            eligible,
            score=SCORES.get(settings.score),
            min_iou=settings.min_iou,
            label=self.label,
            unique=settings.unique,
        )

    def side(self, common: Sequence[Key]) -> Side:
        """What matching takes."""
        place = {key: c for c, key in enumerate(self.keys)}
        columns = np.array([place[key] for key in common], np.int64)
        return Side(self.counts, np.flatnonzero(self.labelled), self.label, columns)

    def same_images(self, other: "Entry") -> bool:
        """Whether both runs saw the same images with the same marks."""
        same = self.run.info["data"]["sha256"] == other.run.info["data"]["sha256"]
        return bool(same and np.array_equal(filled_folds(self.counts), filled_folds(other.counts)))

    def some_concepts(self) -> str:
        """A few of its concepts, to be named in a sentence."""
        return ", ".join("/".join(key) for key in self.keys[:3]) + (", ..." if len(self.keys) > 3 else "")


def entries_of(runs: Sequence[Dissection | str | Path], names: Sequence[str] | None) -> tuple[Entry, ...]:
    """Every layer of every run, each under a name of its own.

    Raises
    ------
    UnitlensError
        If there are more or fewer names than runs, or a folder holds no run or is given twice.
    """
    if names is not None and len(names) != len(runs):
        raise UnitlensError(f"There are {len(names)} names for {len(runs)} runs: give one a run.")
    folders = [Path(run).resolve() for run in runs if not isinstance(run, Dissection)]
    twice = next((folder for folder in folders if folders.count(folder) > 1), None)
    if twice is not None:
        raise UnitlensError(f"{twice.name} is given twice: a run differs from itself in nothing, so name it once.")
    opened = [run if isinstance(run, Dissection) else open_run(run) for run in runs]
    titles = list(names) if names is not None else [_title(*pair) for pair in zip(runs, opened, strict=True)]
    pairs = [(title, run, layer) for title, run in zip(titles, opened, strict=True) for layer in run.layers]
    name = _naming(len(runs), {layer for _, _, layer in pairs})
    entries: list[Entry] = []
    for title, run, layer in pairs:
        wanted, taken = name(title, layer), {entry.name for entry in entries}
        number = next(n for n in range(1, len(pairs) + 1) if _numbered(wanted, n) not in taken)
        entries.append(Entry(_numbered(wanted, number), run[layer]))
    return tuple(entries)


def _title(given: Dissection | str | Path, run: Dissection) -> str:
    """The folder's name, or what tells a network from others of its kind."""
    if not isinstance(given, Dissection):
        return Path(given).resolve().name
    name, weights = run.info["network"]["name"], run.info["network"]["weights"]
    return f"{name} {Path(weights).stem}" if weights else str(name)


def _naming(runs: int, layers: set[str]) -> Callable[[str, str], str]:
    """Of title and layer, what tells entries apart."""
    if runs == 1:
        return lambda title, layer: layer
    return (lambda title, layer: title) if len(layers) == 1 else (lambda title, layer: f"{title} {layer}")


def _numbered(name: str, number: int) -> str:
    return name if number == 1 else f"{name} ({number})"


def what_differs(entries: Sequence[Entry]) -> str:
    """In what the runs differ beside network and layer, as a sentence; empty where in nothing."""
    infos, all_settings = [entry.run.info for entry in entries], [entry.run.settings for entry in entries]
    parts = []
    if len({info["data"]["sha256"] for info in infos}) > 1:
        sizes = _several(f"{info['data']['images']} of {info['data']['source']}" for info in infos)
        parts.append(f"images ({sizes or 'other ones'})")
    if len({frozenset(entry.keys) for entry in entries}) > 1:
        parts.append(f"concepts ({_several(len(entry.keys) for entry in entries) or 'other ones'})")
    for name in _SETTINGS:
        values = _several(getattr(settings, name) for settings in all_settings)
        if values:
            parts.append(f"{name} ({values})")
    if len({"untrained" in settings.control for settings in all_settings}) > 1:
        parts.append(
            "control (only some were compared with an untrained copy, where what it does as well is no detector)"
        )
    if not parts:
        return ""
    return f"The runs differ in {', '.join(parts)}: not every difference between them is one of their networks."


def _several(values: Any) -> str:
    """Distinct values, to be read; nothing where there is one."""
    distinct = list(dict.fromkeys("x".join(map(str, v)) if isinstance(v, list | tuple) else str(v) for v in values))
    return " and ".join(distinct) if len(distinct) > 1 else ""
