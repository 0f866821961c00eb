"""From the counts of a layer to the labels of its units, with what speaks for them and against them."""

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from unitlens.dissection.counting import BlockCounts, Scanner, block_size, count_block, count_levels
from unitlens.dissection.settings import Settings
from unitlens.dissection.store.layers import LayerMaps
from unitlens.dissection.store.passes import StoredPass
from unitlens.dissection.table import unit_table
from unitlens.progress import progress
from unitlens.stats.blocks import in_blocks
from unitlens.stats.chance import association, partners
from unitlens.stats.counts import Counts, narrow
from unitlens.stats.evidence import GivenLabels, LabelEvidence, join_evidence, label_evidence, presence_accuracy
from unitlens.stats.folds import FOLDS, FoldTable
from unitlens.stats.scores import LEVEL_SCORES, QUANTILES, SCORES, Floats, Ints, Overlap, best_met, choose
from unitlens.stats.thresholds import threshold_rank

if TYPE_CHECKING:
    import pandas as pd


class LabelledLayer(NamedTuple):
    """One layer, done.

    Attributes
    ----------
    name : str
    table : DataFrame
        The rows of units.csv.
    counts : Counts
    threshold : float32 array, (U,)
    score : float64 array, (U, C)
        What chose the label.
    at_levels : dict of str to float64 array, (U, C)
        Scores that need counts at several levels, where they were asked for.
    shifted_iou : float64 array, (U, draws)
    shifted_concept : int64 array, (U, draws)
        IoU with the label that would be chosen among the labels of other images, and that label.
    """

    name: str
    table: "pd.DataFrame"
    counts: Counts
    threshold: npt.NDArray[np.float32]
    score: Floats
    at_levels: dict[str, Floats]
    shifted_iou: Floats
    shifted_concept: Ints


class _Block(NamedTuple):
    """A block of units, weighed; its counts by fold, which are never all there at once, are kept as `_Sparse`."""

    activated: Ints
    active: Ints
    threshold: npt.NDArray[np.float32]
    labels: LabelEvidence | None
    shifted_iou: Floats
    shifted_concept: Ints
    at_levels: dict[str, Floats]


def label_units(stored: StoredPass, layer: LayerMaps, settings: Settings, *, show: bool = False) -> LabelledLayer:
    """Count a layer block by block, then choose labels and weigh them."""
    positions = stored.images * _cells(stored, layer)
    raw = settings.threshold_on == "raw"
    rank = threshold_rank(settings.quantile, stored.images * int(np.prod(layer.maps.shape[1:])) if raw else positions)
    others = partners(stored.hashes, stored.annotated, draws=settings.draws, seed=settings.seed)
    step = block_size(layer, positions, settings.quantile)
    blocks, sparse = [], _Sparse(layer.units * FOLDS * len(stored.labels.columns.concepts))
    with progress(layer.units, f"counting {layer.name}", unit="units", show=show) as bar:
        for units in in_blocks(layer.units, step):
            block = count_block(layer, units, stored.labels, stored.folds, settings, rank=rank, partners=others)
            sparse.add(block.by_fold[:, :, 1 : 1 + len(stored.labels.columns.concepts)])
            blocks.append(_weigh(block, layer, units, stored, settings))
            bar.update(units.stop - units.start)
    counts = _joined(blocks, sparse, layer, stored, positions)
    return _judged(stored, layer, counts, blocks, settings)


class _Sparse:
    """Where counts by fold are not 0, and what they are: of one block of units after another, as one at the end.

    Parameters
    ----------
    size : int
        How many counts there are in all, zeros among them.
    """

    def __init__(self, size: int) -> None:
        self._size, self._first = size, 0
        self._index: list[Ints] = []
        self._value: list[Ints] = []

    def add(self, counts: Ints) -> None:
        """Append counts."""
        index = np.flatnonzero(counts)
        self._value.append(narrow(counts.ravel()[index]))
        self._index.append(narrow(index + self._first, most=self._size))
        self._first += counts.size

    def joined(self) -> tuple[Ints, Ints]:
        """Places, rising, and counts; what the blocks gave is let go, so that not both are there twice."""
        index = np.concatenate(self._index)
        self._index.clear()
        value = np.concatenate(self._value)
        self._value.clear()
        return index, value


def _cells(stored: StoredPass, layer: LayerMaps) -> int:
    return stored.labels.grid[0] * stored.labels.grid[1] if layer.layer_grid else 1


def _weigh(block: BlockCounts, layer: LayerMaps, units: slice, stored: StoredPass, settings: Settings) -> _Block:
    concepts = len(stored.labels.columns.concepts)
    intersection = block.by_fold[:, :, 1 : 1 + concepts]
    activated = block.active[:, :, None] - block.by_fold[:, :, 1 + concepts :]
    at_levels, halves = _level_scores(layer, units, stored, settings)
    labels = None
    if settings.evidence:
        table = _fold_table(intersection, activated, layer, stored)
        chosen = None
        if settings.score in at_levels:
            whole = best_met(intersection.sum(1), at_levels[settings.score])
            chosen = GivenLabels(whole, halves[settings.score])
        labels = label_evidence(table, settings.score, seed=settings.seed, labels=chosen)
    return _Block(
        *(activated, block.active.sum(1), block.threshold, labels),
        *(*_shifted(block, layer, stored, settings.score), at_levels),
    )


def _fold_table(intersection: Ints, activated: Ints, layer: LayerMaps, stored: StoredPass) -> FoldTable:
    """Counts of a block of units, by every fold that has images."""
    columns, on_grid = stored.labels.columns, layer.layer_grid is not None
    return FoldTable.of(
        intersection,
        activated,
        stored.labels.by_fold(grid=on_grid)[:, 1 : 1 + len(columns.concepts)],
        stored.judged(grid=on_grid),
        category_of=columns.category_of,
        folds=np.unique(stored.folds),
    )


def _shifted(block: BlockCounts, layer: LayerMaps, stored: StoredPass, score: str) -> tuple[Floats, Ints]:
    """The labels that the score chooses among those of other images, and the IoU with them; (U, draws) each.

    Counts at levels are not kept for draws: for scores that need them it is the largest IoU, which asks for more.
    """
    columns, on_grid = stored.labels.columns, layer.layer_grid is not None
    concepts, category_of = len(columns.concepts), columns.category_of
    concept = stored.labels.by_fold(grid=on_grid)[:, 1 : 1 + concepts].sum(0)
    active = block.active.sum(1)[:, None, None] - block.shifted[:, :, 1 + concepts :]
    judged = stored.judged(grid=on_grid).sum(0)[category_of]
    overlap = Overlap(block.shifted[:, :, 1 : 1 + concepts], active[:, :, category_of], concept, judged)
    chosen = choose(overlap, SCORES.get(score))
    return np.take_along_axis(overlap.iou(), chosen[:, :, None], 2)[:, :, 0], chosen


def _level_scores(
    layer: LayerMaps, units: slice, stored: StoredPass, settings: Settings
) -> tuple[dict[str, Floats], dict[str, Ints]]:
    """Scores that need several levels, (U, C) each, and the concept of highest score on each half, (2, U)."""
    if not settings.needs_levels:
        return {}, {}
    positions = stored.images * _cells(stored, layer)
    quantiles = [quantile for quantile in QUANTILES if quantile * positions >= 1]
    scan = Scanner(layer, units, stored.labels.grid, settings.upsampling, stored.images)
    halves = count_levels(scan, quantiles, stored.labels, stored.folds)
    whole = halves[0] + halves[1]
    return (
        {name: score(whole) for name, score in LEVEL_SCORES.items()},
        {name: np.stack([score(half).argmax(1) for half in halves]) for name, score in LEVEL_SCORES.items()},
    )


def _joined(blocks: list[_Block], sparse: _Sparse, layer: LayerMaps, stored: StoredPass, positions: int) -> Counts:
    """The counts of all blocks as one."""
    columns, on_grid = stored.labels.columns, layer.layer_grid is not None
    index, value = sparse.joined()
    return Counts(
        category_of=columns.category_of,
        index=index,
        value=value,
        activated_by_fold=np.concatenate([block.activated for block in blocks]),
        active=np.concatenate([block.active for block in blocks]),
        concept_by_fold=stored.labels.by_fold(grid=on_grid)[:, 1 : 1 + len(columns.concepts)],
        judged_by_fold=stored.judged(grid=on_grid),
        positions=positions,
    )


def _judged(
    stored: StoredPass, layer: LayerMaps, counts: Counts, blocks: list[_Block], settings: Settings
) -> LabelledLayer:
    columns = stored.labels.columns
    threshold = np.concatenate([block.threshold for block in blocks])
    at_levels = {name: np.concatenate([block.at_levels[name] for block in blocks]) for name in blocks[0].at_levels}
    shifted_iou = np.concatenate([block.shifted_iou for block in blocks])
    score = at_levels[settings.score] if settings.score in at_levels else SCORES[settings.score](counts.overlap)
    mute = (counts.active == 0) | (layer.nonfinite > 0)
    labels = chance = presence = None
    if settings.evidence:
        labels = join_evidence(block.labels for block in blocks if block.labels is not None)
        label = best_met(counts.intersection, score)
        chance = association(np.take_along_axis(counts.iou, label[:, None], 1)[:, 0], shifted_iou, mute)
        presence = _presence(stored, layer, label)
    table = unit_table(
        layer.name,
        counts,
        columns.concepts,
        columns.names(),
        score=score,
        threshold=threshold,
        nonfinite=layer.nonfinite,
        min_iou=settings.min_iou,
        fdr=settings.fdr,
        evaluated_on="grid" if layer.layer_grid else "image",
        labels=labels,
        chance=chance,
        presence=presence,
    )
    concept = np.concatenate([block.shifted_concept for block in blocks])
    return LabelledLayer(layer.name, table, counts, threshold, score, at_levels, shifted_iou, concept)


def _presence(stored: StoredPass, layer: LayerMaps, label: Ints) -> Floats:
    """Balanced accuracy of each unit's peak as a test of whether its label is in an image, (U,)."""
    columns, contains = stored.labels.columns, stored.labels.presence
    images, even = range(stored.images), stored.folds % 2 == 0
    out = np.full(layer.units, np.nan)
    for units, peaks in layer.peaks_by_unit():
        for concept in np.unique(label[units]):
            left_out = 1 + len(columns.concepts) + int(columns.category_of[concept])
            judged = contains.read(images, slice(left_out, left_out + 1))[:, 0] == 0
            present = contains.read(images, slice(1 + concept, 2 + concept))[judged, 0] > 0
            for unit in np.flatnonzero(label[units] == concept):
                out[units.start + unit] = presence_accuracy(peaks[unit, judged], present, even[judged])
    return out
