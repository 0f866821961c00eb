"""From the counts of a block of units to their concepts, and the evidence for them: all that needs counts by fold."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from unitlens.dissection.counting import BlockCounts, count_levels
from unitlens.dissection.draws import Draws, Exchange
from unitlens.dissection.scanning import Scanner
from unitlens.dissection.settings import Settings
from unitlens.dissection.store.layers import LayerMaps
from unitlens.dissection.store.passes import StoredPass
from unitlens.stats.evidence import ConceptEvidence, GivenConcepts, concept_evidence, presence_accuracy
from unitlens.stats.folds import FoldTable
from unitlens.stats.scores import LEVEL_SCORES, QUANTILES, SCORES, Floats, Ints, Overlap, best_met, choose


class LabelledBlock(NamedTuple):
    """A block of units with its evidence; its counts by fold are not kept."""

    activated: Ints
    active: Ints
    active_images: Ints
    threshold: npt.NDArray[np.float32]
    evidence: ConceptEvidence | None
    shifted_iou: Floats
    shifted_concept: Ints
    at_levels: dict[str, Floats]
    heldout_drawn: Floats
    context_drawn: Floats
    presence: Floats | None


def label_block(
    counted: BlockCounts, layer: LayerMaps, units: slice, stored: StoredPass, settings: Settings, draws: Draws
) -> LabelledBlock:
    """Compute what counts by fold are needed for, so that they need not be kept."""
    concepts = len(stored.labels.columns.concepts)
    intersection = counted.by_fold[:, :, 1 : 1 + concepts]
    activated = counted.active[:, :, None] - counted.by_fold[:, :, 1 + concepts :]
    at_levels, halves = _level_scores(layer, units, stored, settings)
    evidence = presence = None
    heldout_drawn = context_drawn = np.zeros((len(counted.active), 0))
    plain, within = slice(0, len(draws.plain.partners)), slice(len(draws.plain.partners), None)
    if settings.evidence:
        table = _fold_table(intersection, activated, layer, stored)
        given = None
        if settings.score in at_levels:
            on_all = best_met(intersection.sum(1), at_levels[settings.score])
            given = GivenConcepts(on_all, halves[settings.score])
        category_of = stored.labels.columns.category_of
        evidence = concept_evidence(table, settings.score, category_of=category_of, seed=settings.seed, given=given)
        heldout_drawn = _heldout_drawn(counted, plain, draws.plain, layer, settings.score)
        presence = _presence_accuracy(stored, layer, units, evidence.concept)
        context_drawn, _ = _shifted(counted, within, layer, stored, settings.score)
    shifted_iou, shifted_concept = _shifted(counted, plain, layer, stored, settings.score)
    return LabelledBlock(
        activated=activated,
        active=counted.active.sum(1),
        active_images=counted.images,
        threshold=counted.threshold,
        evidence=evidence,
        shifted_iou=shifted_iou,
        shifted_concept=shifted_concept,
        at_levels=at_levels,
        heldout_drawn=heldout_drawn,
        context_drawn=context_drawn,
        presence=presence,
    )


def _heldout_drawn(counted: BlockCounts, draws: slice, exchange: Exchange, layer: LayerMaps, score: str) -> Floats:
    """The held-out IoU with the labels of other images, the concept of each half being chosen anew, (U, draws)."""
    columns, on_grid = exchange.labels.columns, layer.layer_grid is not None
    concepts, active = 1 + len(columns.concepts), counted.active_on_halves[:, :, None]
    positions = layer.positions(exchange.labels.grid)
    out = np.full((len(active), len(exchange.partners)), np.nan)
    for draw, (totals, shifted) in enumerate(
        zip(exchange.totals(grid=on_grid), counted.shifted[:, draws].swapaxes(0, 1), strict=True)
    ):
        shifted = shifted.astype(np.int64)  # of one draw
        overlap = Overlap(
            shifted[:, :, 1:concepts],
            (active - shifted[:, :, concepts:])[:, :, columns.category_of],
            totals[:, 1:concepts],
            (exchange.images_on_halves[:, None] * positions - totals[:, concepts:])[:, columns.category_of],
        )
        chosen = choose(overlap, SCORES.get(score))
        out[:, draw] = np.take_along_axis(overlap.iou(), chosen[:, ::-1, None], 2)[:, :, 0].mean(1)
    return out


def _fold_table(intersection: Ints, activated: Ints, layer: LayerMaps, stored: StoredPass) -> FoldTable:
    """Counts of a block of units, by every fold that has images."""
    columns, on_grid = stored.labels.columns, layer.layer_grid is not None
    return FoldTable.of(
        intersection,
        activated,
        stored.labels.by_fold(grid=on_grid)[:, 1 : 1 + len(columns.concepts)],
        stored.judged(grid=on_grid),
        category_of=columns.category_of,
        folds=np.unique(stored.folds).astype(np.int64),
    )


def _shifted(
    counted: BlockCounts, draws: slice, layer: LayerMaps, stored: StoredPass, score: str
) -> tuple[Floats, Ints]:
    """The concepts that the score chooses with the labels of other images, and the IoU with them; (U, draws) each.

    Counts at levels are not kept for draws: for scores that need them it is the largest IoU, which asks for more.
    """
    columns, on_grid = stored.labels.columns, layer.layer_grid is not None
    concepts, category_of = len(columns.concepts), columns.category_of
    concept = stored.labels.by_fold(grid=on_grid)[:, 1 : 1 + concepts].sum(0)
    shifted = counted.shifted[:, draws].sum(2)
    active = counted.active.sum(1)[:, None, None] - shifted[:, :, 1 + concepts :]
    judged = stored.judged(grid=on_grid).sum(0)[category_of]
    overlap = Overlap(shifted[:, :, 1 : 1 + concepts], active[:, :, category_of], concept, judged)
    chosen = choose(overlap, SCORES.get(score))
    return np.take_along_axis(overlap.iou(), chosen[:, :, None], 2)[:, :, 0], chosen


def _level_scores(
    layer: LayerMaps, units: slice, stored: StoredPass, settings: Settings
) -> tuple[dict[str, Floats], dict[str, Ints]]:
    """Scores that need several levels, (U, C) each, and the concept of highest score on each half, (2, U)."""
    if not settings.needs_levels:
        return {}, {}
    positions = stored.images * layer.positions(stored.labels.grid)
    quantiles = [quantile for quantile in QUANTILES if quantile * positions >= 1]
    scan = Scanner(layer, units, stored.labels.grid, settings.upsampling)
    halves = count_levels(scan, quantiles, stored.labels, stored.folds)
    both = halves[0] + halves[1]
    return (
        {name: score(both) for name, score in LEVEL_SCORES.items()},
        {name: np.stack([score(half).argmax(1) for half in halves]) for name, score in LEVEL_SCORES.items()},
    )


def _presence_accuracy(stored: StoredPass, layer: LayerMaps, units: slice, chosen: Ints) -> Floats:
    """Balanced accuracy of each unit's peak as a test of whether an image contains its concept, (U,)."""
    columns, presence = stored.labels.columns, stored.labels.presence
    images, even = range(stored.images), stored.folds % 2 == 0
    accuracy, peaks = np.full(len(chosen), np.nan), layer.peaks_by_unit(range(units.start, units.stop))
    for concept in np.unique(chosen).tolist():
        left_out = 1 + len(columns.concepts) + int(columns.category_of[concept])
        judged = presence.read(images, slice(left_out, left_out + 1))[:, 0] == 0
        present = presence.read(images, slice(1 + concept, 2 + concept))[:, 0] > 0
        for unit in np.flatnonzero(chosen == concept).tolist():
            of_unit = peaks.read(units.start + unit)
            accuracy[unit] = presence_accuracy(of_unit, present, judged, even=even)
    return accuracy
