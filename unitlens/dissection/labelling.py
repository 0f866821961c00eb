"""From the counts of a layer to the concepts of its units, and the evidence for them."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from unitlens.dissection.counting import BlockCounts, count_dealt, count_levels
from unitlens.dissection.draws import Draws, Exchange
from unitlens.dissection.scanning import Scanner
from unitlens.dissection.sentences.headline import undecided_units
from unitlens.dissection.settings import Settings
from unitlens.dissection.store.layers import LayerMaps
from unitlens.dissection.store.passes import StoredPass
from unitlens.dissection.table import unit_table
from unitlens.processes import ALONE, Processes
from unitlens.progress import progress
from unitlens.stats.chance import Association, association
from unitlens.stats.counts import Counts, narrow
from unitlens.stats.evidence import (
    ConceptEvidence,
    GivenConcepts,
    concept_evidence,
    join_evidence,
    presence_accuracy,
)
from unitlens.stats.families import over_layers, q_over_layers
from unitlens.stats.folds import FoldTable
from unitlens.stats.scores import (
    LEVEL_SCORES,
    QUANTILES,
    SCORES,
    Bools,
    Floats,
    Ints,
    Overlap,
    best_met,
    choose,
    share,
)

if TYPE_CHECKING:
    import pandas as pd

_SAME = 1e-12  # of means that are the same but for rounding


class LabelledLayer(NamedTuple):
    """The units of one layer with their concepts.

    Attributes
    ----------
    name : str
    table : DataFrame
        The rows of units.csv.
    counts : Counts
    threshold : float32 array, (U,)
    score : float64 array, (U, C)
        What chose the concept.
    at_levels : dict of str to float64 array, (U, C)
        Scores that need counts at several levels, where they were asked for.
    shifted_iou : float64 array, (U, draws)
    shifted_concept : int64 array, (U, draws)
        The concept that would be chosen with the label maps of other images, and the IoU with it.
    notes : list of str
        What the user should know.
    """

    name: str
    table: "pd.DataFrame"
    counts: Counts
    threshold: npt.NDArray[np.float32]
    score: Floats
    at_levels: dict[str, Floats]
    shifted_iou: Floats
    shifted_concept: Ints
    notes: list[str]


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


def label_units(
    stored: StoredPass, layer: LayerMaps, settings: Settings, draws: Draws, *, show: bool = False
) -> LabelledLayer:
    """Count a layer block by block, choose a concept for each unit and compute the evidence for it.

    Parameters
    ----------
    stored : StoredPass
    layer : LayerMaps
        One of its layers.
    settings : Settings
    draws : Draws
        Whose labels images are given.
    show : bool
        Whether progress is shown.

    Raises
    ------
    UnitlensError
        If there are too few positions for the quantile.
    """
    labelled = label_together(stored, layer, settings, draws, ALONE, show=show)
    assert labelled is not None
    return labelled


def label_together(
    stored: StoredPass, layer: LayerMaps, settings: Settings, draws: Draws, processes: Processes, *, show: bool = False
) -> LabelledLayer | None:
    """Do the same with several processes, to which the blocks of units are dealt.

    Parameters
    ----------
    stored, layer, settings, draws
        As for `label_units`, the same in every process.
    processes : Processes
    show : bool
        Whether progress is shown.

    Returns
    -------
    LabelledLayer or None
        At the first process; None at the others.

    Raises
    ------
    UnitlensError
        If there are too few positions for the quantile, or a process ended.
    """
    labels, concepts = stored.labels, len(stored.labels.columns.concepts)
    own: dict[int, _DealtBlock] = {}
    with progress(layer.units, f"counting {layer.name}", unit="units", show=show) as bar:
        for number, units, counted in count_dealt(
            layer,
            labels,
            stored.folds,
            settings,
            partners=draws.partners,
            processes=processes,
            advance=bar.update,
        ):
            sparse = _sparse(counted.by_fold[:, :, 1 : 1 + concepts], units.start, layer.units)
            own[number] = _DealtBlock(*sparse, label_block(counted, layer, units, stored, settings, draws))
    gathered = processes.gather(own)
    if gathered is None:
        return None
    blocks = [gathered[number % processes.count].pop(number) for number in range(sum(map(len, gathered)))]
    labelled = [block.labelled for block in blocks]
    positions = stored.images * layer.positions(labels.grid)
    counts = _joined_counts(labelled, blocks, layer, stored, positions)
    return _joined_layer(stored, layer, counts, labelled, settings, draws)


class _DealtBlock(NamedTuple):
    """A block of units as one process labelled it: its counts by fold where they are not 0, and all else.

    Attributes
    ----------
    places, values : integer arrays
        Places among the counts of all units, rising, and the counts.
    labelled : LabelledBlock
    """

    places: Ints
    values: Ints
    labelled: LabelledBlock


def _sparse(counts: Ints, first_unit: int, units: int) -> tuple[Ints, Ints]:
    """Where the counts of a block are not 0, among those of so many units, and what they are."""
    index = np.flatnonzero(counts)
    of_unit = counts[0].size
    places = narrow(index + first_unit * of_unit, most=units * of_unit)
    return places, narrow(counts.ravel()[index])


def label_block(
    counted: BlockCounts, layer: LayerMaps, units: slice, stored: StoredPass, settings: Settings, draws: Draws
) -> LabelledBlock:
    """Compute what counts by fold are needed for, so that they need not be kept."""
    concepts = len(stored.labels.columns.concepts)
    intersection = counted.by_fold[:, :, 1 : 1 + concepts]
    activated = counted.active[:, :, None] - counted.by_fold[:, :, 1 + concepts :]
    at_levels, halves = _level_scores(layer, units, stored, settings)
    evidence = None
    heldout_drawn = context_drawn = np.zeros((len(counted.active), 0))
    plain, within = slice(0, len(draws.plain.partners)), slice(len(draws.plain.partners), None)
    if settings.evidence:
        given = None
        if settings.score in at_levels:
            on_all = best_met(intersection.sum(1), at_levels[settings.score])
            given = GivenConcepts(on_all, halves[settings.score])
        table = _fold_table(intersection, activated, layer, stored)
        category_of = stored.labels.columns.category_of
        evidence = concept_evidence(table, settings.score, category_of=category_of, seed=settings.seed, given=given)
        heldout_drawn = _heldout_drawn(counted, plain, draws.plain, layer, settings.score)
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


def _joined_counts(
    blocks: list[LabelledBlock], dealt: list[_DealtBlock], layer: LayerMaps, stored: StoredPass, positions: int
) -> Counts:
    """The counts of all blocks as one; those of the blocks are freed."""
    columns, on_grid = stored.labels.columns, layer.layer_grid is not None
    index = np.concatenate([block.places for block in dealt])
    value = np.concatenate([block.values for block in dealt])
    dealt.clear()
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


def _joined_layer(
    stored: StoredPass,
    layer: LayerMaps,
    counts: Counts,
    blocks: list[LabelledBlock],
    settings: Settings,
    draws: Draws,
) -> LabelledLayer:
    """What needs all units at a time: corrected q-values, presence in images, and the table."""
    columns = stored.labels.columns
    threshold = np.concatenate([block.threshold for block in blocks])
    at_levels = {name: np.concatenate([block.at_levels[name] for block in blocks]) for name in blocks[0].at_levels}
    shifted_iou = np.concatenate([block.shifted_iou for block in blocks])
    score = at_levels[settings.score] if settings.score in at_levels else SCORES[settings.score](counts.overlap)
    mute = (counts.active == 0) | (layer.nonfinite > 0)
    evidence = chance = concept = context = presence = None
    if settings.evidence:
        evidence = join_evidence(block.evidence for block in blocks if block.evidence is not None)
        chosen = best_met(counts.intersection, score)
        best = np.take_along_axis(counts.iou, chosen[:, None], 1)[:, 0]
        chance = association(best, shifted_iou, mute, fdr=settings.fdr)
        determined = draws.determined(grid=layer.layer_grid is not None)[chosen]
        concept = _concept_test(evidence.heldout, blocks, mute, settings)
        context = _context_test(best, blocks, mute | determined, settings)
        presence = _presence_accuracy(stored, layer, chosen)
    table = unit_table(
        layer.name,
        counts,
        columns.concepts,
        columns.names(),
        score=score,
        threshold=threshold,
        nonfinite=layer.nonfinite,
        active_images=np.concatenate([block.active_images for block in blocks]),
        min_iou=settings.min_iou,
        rule=settings.rule,
        fdr=settings.fdr,
        evaluated_on="grid" if layer.layer_grid else "image",
        segmenter_iou=np.array([stored.ious.get((one.category, one.name), np.nan) for one in columns.concepts]),
        evidence=evidence,
        chance=chance,
        concept_test=concept,
        context=context,
        presence=presence,
    )
    return LabelledLayer(
        name=layer.name,
        table=table,
        counts=counts,
        threshold=threshold,
        score=score,
        at_levels=at_levels,
        shifted_iou=shifted_iou,
        shifted_concept=np.concatenate([block.shifted_concept for block in blocks]),
        notes=[] if context is None else _power_note(layer.name, table, context),
    )


def _concept_test(heldout: Floats, blocks: list[LabelledBlock], mute: Bools, settings: Settings) -> Association:
    """Test the held-out IoU against labels of any image; not without two halves of images."""
    drawn = np.concatenate([block.heldout_drawn for block in blocks])
    return association(heldout, drawn, mute | ~np.isfinite(heldout), fdr=settings.fdr)


def _context_test(best: Floats, blocks: list[LabelledBlock], left_out: Bools, settings: Settings) -> Association:
    """Test the best IoU against labels of images of the same stratum.

    A unit for which exchanging labels within strata changes nothing is not tested.
    """
    drawn = np.concatenate([block.context_drawn for block in blocks])
    constant = (best > 0) & (np.abs(drawn - best[:, None]) < _SAME).all(1)
    return association(best, drawn, left_out | constant | (drawn.shape[1] == 0), fdr=settings.fdr)


def _power_note(layer: str, table: "pd.DataFrame", context: Association) -> list[str]:
    """Say how much a unit had to exceed its kind of image, and how many units ``context`` are so for want of images."""
    of_context = int((table["verdict"] == "context").sum())
    known = np.isfinite(context.least) & (context.chance > 0)
    if not of_context or not known.any():
        return []
    undecided, needed = undecided_units(table), np.median(share(context.least, context.chance)[known])
    note = (
        f"{layer}: on these images a unit is significant within its kind of image from {needed:.2g} times its "
        f"context_iou on (median). By their p-values, up to about {undecided} of the {of_context} units with the "
        "verdict context know more than their kind of image, most likely those of small context_p"
    )
    if 2 * undecided > of_context:
        return [f"{note}: the images are too few to tell context from detector, and more of them would."]
    return [f"{note}."]


def add_q_over_layers(labelled: Sequence[LabelledLayer]) -> list[LabelledLayer]:
    """Add to the tables of all layers of a run the q-values of a rate that holds over them."""
    q_values = q_over_layers(_q_values(labelled))
    return [
        layer._replace(table=layer.table.assign(q_over_layers=q_value))
        for layer, q_value in zip(labelled, q_values, strict=True)
    ]


def _q_values(labelled: Sequence[LabelledLayer]) -> list[Floats]:
    return [layer.table["q_value"].to_numpy(np.float64) for layer in labelled]


def layers_note(labelled: Sequence[LabelledLayer], settings: Settings) -> list[str]:
    """Say how many detectors are left where the false discovery rate is to hold over the layers of one table."""
    if len(labelled) < 2:
        return []
    families = over_layers(_q_values(labelled), fdr=settings.fdr)
    left = total = 0
    for layer, selected in zip(labelled, families.selected, strict=True):
        tested = layer.table.loc[layer.table["detector"], ["q_value", "context_q"]]
        total += len(tested)
        left += int((~(tested > families.level)).all(axis=1).sum()) if selected else 0
    return [
        f"q_value is of each layer by itself, q_over_layers of all of them. Of the {len(labelled)} layers together "
        f"{int(families.selected.sum())} hold significant units, which are then tested at {families.level:.3g} "
        f"(Benjamini and Bogomolov 2014): {left} of {total} detectors remain, before any comparison with controls."
    ]


def _presence_accuracy(stored: StoredPass, layer: LayerMaps, chosen: Ints) -> Floats:
    """Balanced accuracy of each unit's peak as a test of whether an image contains its concept, (U,)."""
    columns, presence = stored.labels.columns, stored.labels.presence
    images, even = range(stored.images), stored.folds % 2 == 0
    accuracy = np.full(layer.units, np.nan)
    for units, peaks in layer.peaks_by_unit():
        for concept in np.unique(chosen[units]):
            left_out = 1 + len(columns.concepts) + int(columns.category_of[concept])
            judged = presence.read(images, slice(left_out, left_out + 1))[:, 0] == 0
            present = presence.read(images, slice(1 + concept, 2 + concept))[judged, 0] > 0
            for unit in np.flatnonzero(chosen[units] == concept):
                accuracy[units.start + unit] = presence_accuracy(peaks[unit, judged], present, even[judged])
    return accuracy
