"""What a set of units does to what is drawn: what vanishes, what takes its place, and how far the image moves."""

from itertools import chain
from pathlib import Path
from typing import Any

from torch import nn

from unitlens.ablation.interventions import Value
from unitlens.ablation.random_sets import FEW_DRAWS, draw_sets
from unitlens.ablation.table import Units
from unitlens.ablation.units import Chosen
from unitlens.ablation.work.checkpoints import Checkpoint, checkpointed
from unitlens.data.concepts import Data
from unitlens.data.groups import Groups
from unitlens.data.reading import Reading
from unitlens.editing.distance import layer_distance
from unitlens.editing.examples import example_images
from unitlens.editing.experiment import AreaExperiment, Concepts, note_not_drawn, unit_positions
from unitlens.editing.set_result import SetAreas
from unitlens.models.bases import BasisLike
from unitlens.models.fast.precision import Fast
from unitlens.models.network import Network
from unitlens.stats.folds import Folds

DRAWS = FEW_DRAWS
"""Sets that are drawn of each kind: every one is drawn and marked anew in each image, which is dear."""


def intervene(
    net: Network | nn.Module,
    layer: str,
    units: Chosen,
    latents: Data | str | Path,
    concepts: Concepts = None,
    *,
    value: Value = 0.0,
    where: Any = None,
    draws: int = DRAWS,
    folds: Folds = "all",
    concept: str | None = None,
    examples: int = 8,
    groups: Groups | None = None,
    limit: int | None = None,
    batch_size: int = 32,
    workers: int = 0,
    seed: int = 0,
    fast: bool | Fast = False,
    basis: BasisLike | None = None,
    checkpoint: Checkpoint | None = None,
    progress: bool = False,
) -> SetAreas:
    """Measure what removing or inserting a set of units does to the area of every concept in drawn images.

    Parameters
    ----------
    net : Network
        One that draws images, see `unitlens.generator`.
    layer : str
        Its name.
    units : int, sequence or Tensor of int
        Which, together.
    latents : Data
        What to draw, see `unitlens.latents`.
    concepts : concept source, or several, optional
        What says what is drawn: `unitlens.Colors`, `unitlens.segmenter`, or what else has concepts and planes; those
        that are stacked on the latents (`unitlens.with_concepts`), unless given.
    value : float, Tensor, "mean", "resample" or a quantile
        What units are set to: 0 removes them; "q0.99", the level that 1 % of their activations exceed, or the
        thresholds of a dissection, inserts them; "resample", their activations in another image, is the least out of
        distribution.
    where : mask or positions, optional
        Where in the layer's grid, as for `unitlens.edit_image`.
    draws : int
        Sets to compare with that are drawn at random, and as many matched ones.
    folds : {"all", "even", "odd"}
        Which images are measured: those that did not choose the units.
    concept : str, optional
        What the units were chosen for: tables and pages say how much of it is gone.
    examples : int
        Images to look at, before and after: the first ones; where units are removed, of those that show the concept or,
        without one, what loses most.
    groups : optional
        Images that belong together, as for `unitlens.dissect`: intervals and halves go by group.
    limit, batch_size, workers, seed, fast, basis, checkpoint, progress
        As for `unitlens.importance`.

    Returns
    -------
    SetAreas

    Raises
    ------
    UnitlensError
        If the network draws no images, nothing says what is drawn, or there is no such layer, unit or position.

    Examples
    --------
    >>> import torch, unitlens as ul
    >>> model = torch.nn.Sequential(torch.nn.Linear(4, 48), torch.nn.Unflatten(1, (3, 4, 4)), torch.nn.Tanh())
    >>> net = ul.generator(model, latents=4, rescale=(-1, 1))
    >>> ul.intervene(net, "1", [0], ul.latents(4, 64), ul.Colors(), draws=2)
    <SetAreas: 1 unit of 1 set to 0; 64 images, 11 concepts>
    """
    reading = Reading(batch_size=batch_size, workers=workers, limit=limit, seed=seed, progress=progress)
    with checkpointed(checkpoint) as kept:
        experiment = AreaExperiment.of(
            net, layer, latents, concepts, reading=reading, groups=groups, fast=fast, basis=basis, kept=kept
        )
        return measure_set(
            experiment,
            experiment.units(units),
            value=value,
            where=where,
            draws=draws,
            folds=folds,
            chosen_for=concept,
            examples=examples,
        )


def measure_set(
    experiment: AreaExperiment,
    units: Units,
    *,
    value: Value,
    where: Any = None,
    draws: int = DRAWS,
    folds: Folds = "all",
    chosen_for: str | None = None,
    examples: int = 0,
    change: str | None = None,
) -> SetAreas:
    """The same for an experiment; ``change`` says what happens to the units, in words."""
    named = None if chosen_for is None else experiment.drawn.index_of(chosen_for)
    positions = unit_positions(where, experiment.grid(), experiment.layer)
    values = experiment.values(value, positions)
    handed = [experiment.contributions().values] if draws else []
    drawn = draw_sets((units,), handed, draws, seed=experiment.seed) if draws else {}
    sets = [(units,), *chain.from_iterable(drawn.values())]
    measured = experiment.measure(values, sets=sets, folds=folds, follow=True)
    tally, transitions = measured.counts
    assert transitions is not None
    if named is not None and not tally.before[:, named].any():
        note_not_drawn(measured.notes, experiment.drawn.names()[named], int(tally.images.sum()))
    effect = tally.only([0]).estimate().effect[0]
    removing = isinstance(value, int | float) and value == 0
    lost = int(effect.argmin()) if removing and bool((effect < 0).any()) else None
    shown = named if removing and named is not None else lost
    first = {kind: 1 + number * draws for number, kind in enumerate(drawn)}
    return SetAreas(
        settings=experiment.settings(values, change or str(values.replacement), folds),
        info=experiment.describe(measured),
        units=units,
        concepts=experiment.drawn.concepts,
        segmenter_iou=experiment.drawn.ious(),
        tally=tally.only([0]),
        drawn={kind: tally.only(slice(start, start + draws)) for kind, start in first.items()},
        transitions=transitions,
        distance=layer_distance(experiment, units, values),
        chosen_for=None if named is None else experiment.drawn.names()[named],
        examples=example_images(experiment, units, values, concept=shown, most=examples),
        examples_of=None if shown is None else experiment.drawn.names()[shown],
    )
