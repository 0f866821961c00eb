"""Add one concept to images, and nothing else, and see whether units answer to what they are labelled as."""

import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from torch import nn

from unitlens.data.columns import Columns
from unitlens.data.concepts import Concept, Data, described
from unitlens.data.reading import Reading
from unitlens.data.scenes.pairs import ScenePairs
from unitlens.dissection.provenance import describe_read
from unitlens.dissection.reopening import as_network
from unitlens.dissection.result import Dissection
from unitlens.errors import UnitlensError, UnitlensWarning
from unitlens.explaining.asked import AskedLayer, describe
from unitlens.explaining.pairs.causal_labels_result import CausalLabels, LayerAnswers, causal_rows
from unitlens.explaining.readings import UnitReadings, read_units
from unitlens.models.bases import BasisLike
from unitlens.models.network import Network
from unitlens.stats.folds import FEWEST_FOLDS, FOLDS
from unitlens.stats.paired import PairedMeans, means_of_sums, paired_means
from unitlens.stats.scores import Floats, Ints

_OF_UNITS = ["layer", "unit", "concept", "category", "verdict", "iou", "heldout_iou"]


class ConceptPair(Protocol):
    """Two images of a data set that differ in one concept."""

    @property
    def concept(self) -> Concept:
        """What one of them lacks."""
        ...

    @property
    def without(self) -> int:
        """The index of that one."""
        ...

    @property
    def with_it(self) -> int:
        """The index of the other."""
        ...


@runtime_checkable
class PairedConcepts(Data, Protocol):
    """Images of which some differ in one concept alone, as `unitlens.ScenePairs` draws them."""

    @property
    def pairs(self) -> Sequence[ConceptPair]:
        """Which they are."""
        ...


def causal_labels(
    net: Network | nn.Module,
    dissection: Dissection,
    pairs: PairedConcepts | None = None,
    *,
    interval: float = 0.95,
    basis: BasisLike | None = None,
    batch_size: int = 64,
    workers: int = 0,
    strict: bool = False,
    progress: bool = False,
) -> CausalLabels:
    """Find out whether units answer to adding what they are labelled as, and to nothing else.

    Of each unit that has a concept: how its peak, and the share of the label grid above its threshold, change when the
    concept is added to an image and all else stays; and how the latter changes when any other concept is added that
    brings none of its own. A label passes if the unit grows active with its concept, and with nothing else as much.

    Parameters
    ----------
    net : Network or torch.nn.Module
        The one that was dissected, or its module: images are prepared as they were then.
    dissection : Dissection
        Of its units: their concepts, verdicts and thresholds.
    pairs : PairedConcepts, optional
        Images with and without each concept; those of the drawn world, 24 pairs of each concept, unless given. Pairs of
        one group are one draw.
    interval : {0.95, 0.99}
        How sure the intervals are.
    basis : matrix, file of one, or Dictionary, optional
        As for `unitlens.explain`.
    batch_size, workers, strict, progress
        As for `unitlens.dissect`.

    Returns
    -------
    CausalLabels

    Raises
    ------
    UnitlensError
        If the dissection is of another network, the data have no pairs, or mark none of its concepts.

    Warns
    -----
    UnitlensWarning
        If images are left out, or there are too few for intervals.

    Examples
    --------
    >>> import unitlens as ul
    >>> net = ul.load("bundled:scenes")
    >>> d = ul.dissect(net, "relu6", ul.Scenes(60), exemplars=0)
    >>> labels = ul.causal_labels(net, d, ul.ScenePairs(12, concepts=["tent", "sink"]))
    >>> labels.table().query("concept == 'tent'")["causal_verdict"].unique().tolist()
    ['passes']
    """
    net = as_network(net, dissection.info)
    data = _paired(ScenePairs(24) if pairs is None else pairs)
    layers = [AskedLayer.of(net, dissection, layer, basis) for layer in dissection.layers]
    concepts = Columns.of(data.concepts)
    tables = {layer: dissection[layer].table()[_OF_UNITS] for layer in dissection.layers}
    own = {layer: _own_columns(table, concepts) for layer, table in tables.items()}
    if all((columns < 0).all() for columns in own.values()):
        raise UnitlensError(
            f"None of the concepts of these units is marked in {described(data).source}: give pairs of images in which "
            "they are."
        )
    reading = Reading(batch_size=batch_size, workers=workers, strict=strict, progress=progress)
    readings = read_units(net, data, layers, dissection.settings, reading)
    changes = _Changes.of(readings, data, concepts)
    rows, added = [], {}
    for layer, table in tables.items():
        answers = _answers(changes, table, own[layer], layer, interval=interval)
        rows.append(causal_rows(answers, concepts.concepts))
        added[layer] = answers.added
    notes = [*readings.record.notes, *changes.notes()]
    for note in notes:
        warnings.warn(note, UnitlensWarning, stacklevel=2)
    info = describe(
        net,
        data,
        describe_read(readings.record, concepts.concepts, measured=len(readings.indices)),
        settings={"interval": interval, "pairs": len(changes.concept)},
        seconds=readings.record.seconds,
        notes=notes,
    )
    return CausalLabels(info, concepts.concepts, _joined(rows), added)


def usual_pairs(dissection: Dissection) -> int:
    """How many pairs of each concept go with a dissection: 24 where its images are of the drawn world, else none.

    They take about 3,200 images more, so that there are none beside fewer than 640.
    """
    info = dissection.info
    drawn = info["data"]["source"] == "bundled:scenes" and info["network"]["image"] == "input"
    return 24 if drawn and info["data"]["images"] >= 640 else 0


def _paired(data: Any) -> PairedConcepts:
    if not isinstance(data, PairedConcepts) or not len(data.pairs):
        raise UnitlensError(
            f"{data!r} is no data set of pairs of images with and without a concept: give unitlens.ScenePairs, or data "
            "with a member pairs (concept, without, with_it)."
        )
    return data


def _own_columns(table: Any, columns: Columns) -> Ints:
    """The column of each unit's concept in the pairs, (U,); -1 where it has none there."""
    named = zip(columns.concepts, columns.names(), strict=True)
    place = {(concept.category, name): number for number, (concept, name) in enumerate(named)}
    pairs = zip(table["category"], table["concept"], strict=True)
    return np.array([place.get(pair, -1) for pair in pairs], dtype=np.int64)


class _Changes(NamedTuple):
    """Changes in P pairs, when a concept is added.

    Attributes
    ----------
    concept, folds : int64 arrays, (P,)
    peaks, areas : mapping of str to float64 array, (P, U)
    gained : float64 array, (P, C)
        How much more of each concept the images show.
    """

    concept: Ints
    folds: Ints
    peaks: dict[str, Floats]
    areas: dict[str, Floats]
    gained: Floats

    @classmethod
    def of(cls, readings: UnitReadings, data: PairedConcepts, columns: Columns) -> "_Changes":
        """Those of all pairs of which both images were read.

        Raises
        ------
        UnitlensError
            If there is none.
        """
        row = {index: place for place, index in enumerate(readings.indices.tolist())}
        number = {concept: place for place, concept in enumerate(columns.concepts)}
        read = [pair for pair in data.pairs if pair.without in row and pair.with_it in row]
        if not read:
            raise UnitlensError("Of no pair both images could be read.")
        before = np.array([row[pair.without] for pair in read])
        after = np.array([row[pair.with_it] for pair in read])
        return cls(
            concept=np.array([number[pair.concept] for pair in read], dtype=np.int64),
            folds=readings.folds[after],
            peaks={layer: peaks[after] - peaks[before] for layer, peaks in readings.peaks.items()},
            areas={layer: areas[after] - areas[before] for layer, areas in readings.areas.items()},
            gained=readings.concept_areas[after] - readings.concept_areas[before],
        )

    def notes(self) -> list[str]:
        """Say it where no concept has pairs in enough folds."""
        filled = [len(np.unique(self.folds[self.concept == one])) for one in np.unique(self.concept)]
        if max(filled) >= FEWEST_FOLDS:
            return []
        return [
            f"The pairs of no concept fill {FEWEST_FOLDS} of {FOLDS} folds: there are no intervals, and no label can "
            "pass. Use more pairs, such as 24 of each concept."
        ]


def _answers(changes: _Changes, table: Any, own: Ints, layer: str, *, interval: float) -> LayerAnswers:
    """What adding concepts does to the units of one layer."""
    areas, peaks = changes.areas[layer], changes.peaks[layer]
    concepts, units = changes.gained.shape[1], areas.shape[1]
    pairs = np.bincount(changes.concept, minlength=concepts)
    area, peak = (PairedMeans(*np.full((4, units), np.nan)) for _ in range(2))
    others = PairedMeans(*np.full((4, concepts, units), np.nan))
    for column in np.unique(own[own >= 0]).tolist():
        of_units, added = np.flatnonzero(own == column), changes.concept == column
        if added.any():
            for into, change in ((area, areas), (peak, peaks)):
                _fill(into, of_units, paired_means(change[added][:, of_units], changes.folds[added], interval=interval))
        brings_none = (changes.gained[:, column] <= 0) & ~added
        _fill(others, (slice(None), of_units), _by_concept(changes, areas[:, of_units], brings_none, interval=interval))
    everything = _by_concept(changes, areas, np.ones(len(areas), bool), interval=interval).mean
    return LayerAnswers(table, own, pairs, area, peak, others, everything)


def _by_concept(changes: _Changes, areas: Floats, counted: Any, *, interval: float) -> PairedMeans:
    """Mean changes when each concept is added, each (C, U), over some of the pairs; NaN where it has none of them."""
    concepts = changes.gained.shape[1]
    sums, pairs = np.zeros((FOLDS, concepts, areas.shape[1])), np.zeros((FOLDS, concepts, 1), np.int64)
    at = changes.folds[counted], changes.concept[counted]
    np.add.at(sums, at, areas[counted])
    np.add.at(pairs, at, 1)
    means = means_of_sums(sums, pairs, interval=interval)
    return means._replace(mean=np.where(pairs.sum(0) > 0, means.mean, np.nan))


def _fill(into: PairedMeans, at: Any, means: PairedMeans) -> None:
    for values, found in zip(into, means, strict=True):
        values[at] = found


def _joined(tables: Sequence[Any]) -> Any:
    import pandas as pd

    return pd.concat(tables, ignore_index=True)
