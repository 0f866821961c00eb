"""From the counts of layers to the concepts of their units, and the evidence for them."""

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from unitlens.dissection.counting import UnitBlock, block_units, blocks_of, count_dealt
from unitlens.dissection.draws import Draws
from unitlens.dissection.labelled_blocks import LabelledBlock, label_block
from unitlens.dissection.sentences.headline import undecided_units
from unitlens.dissection.settings import Settings
from unitlens.dissection.store.layers import LayerMaps
from unitlens.dissection.store.passes import StoredPass
from unitlens.dissection.table import unit_table
from unitlens.processes import ALONE, Processes
from unitlens.progress import progress
from unitlens.stats.chance import Association, association
from unitlens.stats.counts import Counts, narrow
from unitlens.stats.evidence import join_evidence
from unitlens.stats.families import over_layers, q_over_layers
from unitlens.stats.scores import SCORES, Bools, Floats, Ints, share

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
    labelled = label_layers(stored, [layer], settings, draws, ALONE, show=show)
    assert labelled is not None
    return labelled[0]


def label_layers(
    stored: StoredPass,
    layers: Sequence[LayerMaps],
    settings: Settings,
    draws: Draws,
    processes: Processes,
    *,
    show: bool = False,
) -> list[LabelledLayer] | None:
    """Do the same for several layers and with several processes, to which the blocks of all layers are dealt.

    Parameters
    ----------
    stored, settings, draws
        As for `label_units`, the same in every process.
    layers : sequence of LayerMaps
        Some of its layers.
    processes : Processes
    show : bool
        Whether progress is shown.

    Returns
    -------
    list of LabelledLayer or None
        At the first process; None at the others.

    Raises
    ------
    UnitlensError
        If there are too few positions for the quantile, or a process ended.
    """
    of_layers = [blocks_of(layer, stored.labels.grid, settings) for layer in layers]
    own = _label_dealt(stored, list(itertools.chain(*of_layers)), settings, draws, processes, show=show)
    labelled, number = list[LabelledLayer](), 0
    for layer, blocks in zip(layers, of_layers, strict=True):
        numbers = range(number, number := number + len(blocks))
        gathered = processes.gather([own.pop(one) for one in numbers if one in own])
        if gathered is not None:
            dealt = [gathered[one % processes.count].pop(0) for one in numbers]
            labelled.append(_joined_layer(stored, layer, dealt, settings, draws))
    return labelled if processes.first else None


def _label_dealt(
    stored: StoredPass,
    blocks: Sequence[UnitBlock],
    settings: Settings,
    draws: Draws,
    processes: Processes,
    *,
    show: bool,
) -> "dict[int, _DealtBlock]":
    """Label the blocks of units that are dealt to this process, by their numbers."""
    concepts, own = len(stored.labels.columns.concepts), dict[int, _DealtBlock]()
    names = list(dict.fromkeys(block.layer.name for block in blocks))
    what, units = names[0] if len(names) == 1 else f"{len(names)} layers", sum(map(block_units, blocks))
    with progress(units, f"counting {what}", unit="units", show=show) as bar:
        for number, counted in count_dealt(
            blocks,
            stored.labels,
            stored.folds,
            settings,
            partners=draws.partners,
            processes=processes,
            advance=bar.update,
        ):
            layer, some, _ = blocks[number]
            sparse = _sparse(counted.by_fold[:, :, 1 : 1 + concepts], some.start, layer.units)
            own[number] = _DealtBlock(*sparse, label_block(counted, layer, some, stored, settings, draws))
    return own


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


def _joined_counts(
    blocks: list[LabelledBlock], dealt: list[_DealtBlock], layer: LayerMaps, stored: StoredPass
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
        positions=stored.images * layer.positions(stored.labels.grid),
    )


def _joined_layer(
    stored: StoredPass, layer: LayerMaps, dealt: list[_DealtBlock], settings: Settings, draws: Draws
) -> LabelledLayer:
    """What needs all units at a time: corrected q-values, and the table; the counts of the blocks are freed."""
    columns, blocks = stored.labels.columns, [block.labelled for block in dealt]
    counts = _joined_counts(blocks, dealt, layer, stored)
    threshold = np.concatenate([block.threshold for block in blocks])
    at_levels = {name: np.concatenate([block.at_levels[name] for block in blocks]) for name in blocks[0].at_levels}
    shifted_iou = np.concatenate([block.shifted_iou for block in blocks])
    score = at_levels[settings.score] if settings.score in at_levels else SCORES[settings.score](counts.overlap)
    mute = (counts.active == 0) | (layer.nonfinite > 0)
    evidence = chance = concept = context = presence = None
    if settings.evidence:
        evidence = join_evidence(block.evidence for block in blocks if block.evidence is not None)
        best = np.take_along_axis(counts.iou, evidence.concept[:, None], 1)[:, 0]
        chance = association(best, shifted_iou, mute, fdr=settings.fdr)
        determined = draws.determined(grid=layer.layer_grid is not None)[evidence.concept]
        concept = _concept_test(evidence.heldout, blocks, mute, settings)
        context = _context_test(best, blocks, mute | determined, settings)
        presence = np.concatenate([block.presence for block in blocks if block.presence is not None])
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
