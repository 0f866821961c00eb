"""Layers of runs under the names that they have in a comparison, and in what their runs differ."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from unitlens.comparison.matching import BestUnits, LayerToMatch, best_units
from unitlens.dissection.result import Dissection, open_run
from unitlens.errors import UnitlensError, argument, first_twice
from unitlens.stats.counts import Counts
from unitlens.stats.folds import filled_folds
from unitlens.stats.recounts import ConceptCounts, recount_concepts
from unitlens.stats.scores import SCORES, Bools, Ints

Run = Dissection | str | Path
"""A dissection, or the folder of a saved one."""

ConceptKey = tuple[str, str]
"""What identifies a concept: its category and its name."""

_COMPARABLE = (
    "quantile",
    "min_iou",
    "detector_rule",
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
    "units",
)
"""Settings that have to be equal for the numbers of two runs to be comparable."""

_SIGNIFICANT = ("detector", "weak")
"""Verdicts of units that passed every test but that of their IoU."""


@dataclass(frozen=True, eq=False)
class Entry:
    """One layer of one run, or of several trainings of the network.

    Attributes
    ----------
    name : str
        Its name in the comparison.
    run : Dissection
        Of this layer alone.
    others : tuple of Entry
        The same layer in further trainings: other seeds, or checkpoints.
    folder : Path or None
        Of the run, if it is saved; of several trainings that of the first.
    """

    name: str
    run: Dissection
    others: "tuple[Entry, ...]" = ()
    folder: Path | None = None

    @property
    def trainings(self) -> "tuple[Entry, ...]":
        """All trainings, this one first."""
        return (self, *self.others)

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
        """The network's weights as they were given, or an empty string."""
        return str(self.run.info["network"]["weights"] or "")

    @property
    def counts(self) -> Counts:
        """The layer's counts."""
        return self.run.counts

    @property
    def units(self) -> int:
        """Number of units of the layer."""
        return self.counts.shape[0]

    @cached_property
    def concepts(self) -> tuple[ConceptKey, ...]:
        """The run's concepts, in the order of the columns of its counts."""
        return tuple((concept["category"], concept["name"]) for concept in self.run.info["data"]["concepts"])

    @cached_property
    def column_of(self) -> dict[tuple[str, str], int]:
        """Column of each concept, by its category and its name as tables have it."""
        names = zip(self.concepts, self.run.concepts, strict=True)
        return {(category, name): column for column, ((category, _), name) in enumerate(names)}

    @property
    def heldout_iou(self) -> float:
        """Mean held-out IoU of its detectors, NaN where it has none or no evidence."""
        table = self.run.table()
        return float(table.loc[table["detector"], "heldout_iou"].astype(float).mean())

    @cached_property
    def concept(self) -> Ints:
        """Column of each unit's concept, 0 where it has none, (U,)."""
        table = self.run.table()
        pairs = zip(table["category"], table["concept"], strict=True)
        return np.array([self.column_of.get(pair, 0) for pair in pairs], np.int64)

    @cached_property
    def labelled(self) -> Bools:
        """Whether each unit has a concept: is neither silent nor nonfinite, (U,)."""
        return self.run.table()["concept"].notna().to_numpy(bool)

    @cached_property
    def best(self) -> BestUnits:
        """The best unit of each concept."""
        return best_units(self.counts, np.flatnonzero(self.labelled))

    @property
    def images(self) -> int:
        """How many images the run saw; the fewest of several trainings."""
        return min(int(entry.run.info["data"]["images"]) for entry in self.trainings)

    def recount(self, *, detectors: bool, share: float = 1.0) -> ConceptCounts:
        """Count the units of the first training above the least IoU by concept, on random parts of the folds.

        Parameters
        ----------
        detectors : bool
            Whether only units count that passed the run's other tests, whatever their IoU is. Those tests are not
            repeated: they stay as they are on all folds.
        share : float
            Below 1: count as if there were only this share of the images.
        """
        eligible = self.labelled
        if detectors:
            table = self.run.table()
            eligible = eligible & table["verdict"].isin(_SIGNIFICANT).to_numpy(bool)
            # What is weak by the rule for detectors though its IoU is above the minimum failed another test.
            eligible = eligible & ~(table["above_min_iou"] & (table["verdict"] == "weak")).to_numpy(bool)
        settings = self.run.settings
        return recount_concepts(
            self.counts,
            eligible,
            score=SCORES.get(settings.score),
            min_iou=settings.min_iou,
            given=self.concept,
            unique=settings.unique,
            share=share,
        )

    def to_match(self, common: Sequence[ConceptKey]) -> LayerToMatch:
        """Gather what matching takes, with the concepts that both layers have."""
        columns = np.array([self.concepts.index(concept) for concept in common], np.int64)
        return LayerToMatch(self.counts, np.flatnonzero(self.labelled), self.concept, columns)

    def same_images(self, other: "Entry") -> bool:
        """Whether all runs of both saw the same images with the same label maps, in the same groups."""
        data = self.run.info["data"]
        return all(
            entry.run.info["data"]["sha256"] == data["sha256"]
            and entry.run.info["data"].get("groups") == data.get("groups")
            and np.array_equal(filled_folds(entry.counts), filled_folds(self.counts))
            for entry in (*self.others, *other.trainings)
        )

    def first_concepts(self) -> str:
        """Its first concepts, for a sentence."""
        return ", ".join("/".join(concept) for concept in self.concepts[:3]) + (
            ", ..." if len(self.concepts) > 3 else ""
        )


def open_entries(runs: Sequence[Run | Sequence[Run]], names: Sequence[str] | None = None) -> tuple[Entry, ...]:
    """Open runs, and give every layer of every run a name of its own.

    Parameters
    ----------
    runs : sequence of Dissection, str, Path or sequences of them
        A sequence of runs is one network that was trained several times: they have the same layers and concepts.
    names : sequence of str, optional
        One for each run; by default the folder's or the network's name. The layer's name is added where runs have
        several, and a number where two names are equal.

    Raises
    ------
    UnitlensError
        If there are more or fewer names than runs, a folder holds no run or is given twice, or trainings of one network
        have other layers or concepts.
    """
    if names is not None and len(names) != len(runs):
        raise UnitlensError(
            f"{argument('names', option='--name')} has {len(names)} for {len(runs)} runs: give one for each run."
        )
    trainings = [_as_trainings(run) for run in runs]
    _check_repeated([run for given in trainings for run in given])
    opened = [[run if isinstance(run, Dissection) else open_run(run) for run in given] for given in trainings]
    titles = [_title(*pair) for pair in zip(trainings, opened, strict=True)] if names is None else list(names)
    layers = [
        (title, given[0], of_run, layer)
        for title, given, of_run in zip(titles, trainings, opened, strict=True)
        for layer in of_run[0].layers
    ]
    entry_name = _naming(len(runs), {layer for *_, layer in layers})
    entries: list[Entry] = []
    for title, first, of_run, layer in layers:
        name = _unused(entry_name(title, layer), {entry.name for entry in entries})
        folder = None if isinstance(first, Dissection) else Path(first)
        entries.append(replace(_entry(name, of_run, layer), folder=folder))
    return tuple(entries)


def _as_trainings(run: Run | Sequence[Run]) -> list[Run]:
    trainings = [run] if isinstance(run, Dissection | str | Path) else list(run)
    if not trainings:
        raise UnitlensError("A list of trainings of a network is empty: give at least one run.")
    return trainings


def _check_repeated(runs: Sequence[Run]) -> None:
    folders = [Path(run).resolve() for run in runs if not isinstance(run, Dissection)]
    repeated = first_twice(folders)
    if repeated is not None:
        raise UnitlensError(f"{repeated.name} is given twice, and a run does not differ from itself: give it once.")


def _entry(name: str, runs: Sequence[Dissection], layer: str) -> Entry:
    """A layer in all trainings of a network, which have to have the same layers and concepts."""
    first, *others = (Entry(name, run[layer]) for run in runs)
    for number, entry in enumerate(others, start=2):
        if entry.concepts != first.concepts:
            raise UnitlensError(
                f"The trainings of {name} were matched with other concepts (the first with {first.first_concepts()}; "
                f"number {number} with {entry.first_concepts()}): dissect them on the same annotations, or compare "
                "them as networks of their own."
            )
    return replace(first, others=tuple(others))


def _title(given: Sequence[Run], runs: Sequence[Dissection]) -> str:
    """The first folder's name, or the network's with its weights, and how many trainings there are."""
    several = f" (mean of {len(runs)})" if len(runs) > 1 else ""
    if not isinstance(given[0], Dissection):
        return Path(given[0]).resolve().name + several
    name, weights = runs[0].info["network"]["name"], runs[0].info["network"]["weights"]
    return (f"{name} {Path(weights).stem}" if weights else str(name)) + several


def _naming(runs: int, layers: set[str]) -> Callable[[str, str], str]:
    """Choose how entries are named from the run's title and the layer: by what differs between them."""
    if runs == 1:
        return lambda title, layer: layer
    return (lambda title, layer: title) if len(layers) == 1 else (lambda title, layer: f"{title} {layer}")


def _unused(name: str, taken: set[str]) -> str:
    """The name, with the first number behind it that makes it a new one."""
    number, candidate = 1, name
    while candidate in taken:
        number += 1
        candidate = f"{name} ({number})"
    return candidate


def describe_differences(entries: Sequence[Entry], elsewhere: Mapping[str, Sequence[str]]) -> str:
    """Say in a sentence in what the runs differ beside network and layer; nothing where they do not.

    Parameters
    ----------
    entries : sequence of Entry
    elsewhere : mapping of str to sequence of str
        What was measured of entries on other images than those of their runs, and of which.
    """
    runs = [training.run for entry in entries for training in entry.trainings]
    data, settings = [run.info["data"] for run in runs], [run.settings for run in runs]
    parts = []
    if len({source["sha256"] for source in data}) > 1:
        sizes = _distinct(f"{source['images']} of {source['source']}" for source in data)
        parts.append(f"images ({sizes or 'different ones'})")
    if len({frozenset(entry.concepts) for entry in entries}) > 1:
        sizes = _distinct(len(entry.concepts) for entry in entries)
        parts.append(f"concepts ({sizes or 'different ones'})")
    for name in _COMPARABLE:
        values = _distinct(getattr(chosen, name) for chosen in settings)
        if values:
            parts.append(f"{name} ({values})")
    if len({tuple(one.seed for one in chosen.control_passes if one.kind == "untrained") for chosen in settings}) > 1:
        parts.append("control (not all have the same untrained copies, beside which fewer units are detectors)")
    for what, names in elsewhere.items():
        parts.append(f"images of the {what} ({', '.join(names)}: of other images or marks than the run)")
    if not parts:
        return ""
    return f"The runs differ in {', '.join(parts)}: differences between them are not only those of their networks."


def _distinct(values: Iterable[object]) -> str:
    """Write distinct values, as "a and b"; nothing where all are equal."""
    texts = ("x".join(map(str, value)) if isinstance(value, list | tuple) else str(value) for value in values)
    distinct = list(dict.fromkeys(texts))
    return " and ".join(distinct) if len(distinct) > 1 else ""
