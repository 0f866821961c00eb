"""The average causal effect of every unit of a layer on the area of every concept in drawn images."""

from pathlib import Path
from typing import Any

from torch import nn

from unitlens.ablation.interventions import Value
from unitlens.ablation.work.checkpoints import Checkpoint, checkpointed
from unitlens.data.concepts import Data
from unitlens.data.groups import Groups
from unitlens.data.reading import Reading
from unitlens.editing.causal_result import CausalEffects
from unitlens.editing.experiment import THRESHOLD, AreaExperiment, Concepts, unit_positions
from unitlens.models.bases import BasisLike
from unitlens.models.fast.precision import Fast
from unitlens.models.network import Network


def causal_effects(
    net: Network | nn.Module,
    layer: str,
    latents: Data | str | Path,
    concepts: Concepts = None,
    *,
    insert: Value = THRESHOLD,
    where: Any = None,
    groups: Groups | None = None,
    limit: int | None = None,
    batch_size: int = 32,
    workers: int = 0,
    seed: int = 0,
    fast: bool | Fast = False,
    basis: BasisLike | None = None,
    checkpoint: Checkpoint | None = None,
    progress: bool = False,
) -> CausalEffects:
    """Measure what removing and inserting each unit of a layer does to the area of every concept in drawn images.

    Each image is drawn once; what lies behind the layer is replayed for each unit, and what a unit changes is marked
    anew. The average causal effect is that of Bau et al., "GAN Dissection", ICLR 2019: the area of a concept with the
    unit inserted less its area with the unit removed.

    Parameters
    ----------
    net, layer, latents, concepts, where, groups, limit, batch_size, workers, seed, fast, basis, checkpoint, progress
        As for `unitlens.intervene`.
    insert : float, Tensor or a quantile
        What units are set to that are inserted: "q0.99", the level that 1 % of each unit's activations exceed; one
        number; or one for each unit, such as a dissection's thresholds.

    Returns
    -------
    CausalEffects

    Raises
    ------
    UnitlensError
        As for `unitlens.intervene`.

    Examples
    --------
    >>> import torch, unitlens as ul
    >>> model = torch.nn.Sequential(torch.nn.Linear(4, 48), torch.nn.Unflatten(1, (3, 4, 4)), torch.nn.Tanh())
    >>> net = ul.generator(model, latents=4, rescale=(-1, 1))
    >>> effects = ul.causal_effects(net, "1", ul.latents(4, 64), ul.Colors())
    >>> effects.effect().shape  # units x concepts
    (3, 11)
    """
    reading = Reading(batch_size=batch_size, workers=workers, limit=limit, seed=seed, progress=progress)
    with checkpointed(checkpoint) as kept:
        experiment = AreaExperiment.of(
            net, layer, latents, concepts, reading=reading, groups=groups, fast=fast, basis=basis, kept=kept
        )
        return sweep_units(experiment, insert=insert, where=where)


def sweep_units(
    experiment: AreaExperiment, *, insert: Value = THRESHOLD, where: Any = None, inserted_at: str | None = None
) -> CausalEffects:
    """The same for an experiment; ``inserted_at`` says what units are set to that are inserted, in words."""
    positions = unit_positions(where, experiment.grid(), experiment.layer)
    removed, inserted = experiment.values(0.0, positions), experiment.values(insert, positions)
    removal = experiment.measure(removed)
    insertion = experiment.measure(inserted)
    return CausalEffects(
        settings=experiment.settings(removed, str(removed.replacement)),
        inserted_at=inserted_at or str(inserted.replacement),
        info=experiment.describe(removal),
        concepts=experiment.drawn.concepts,
        segmenter_iou=experiment.drawn.ious(),
        removal=removal.counts.tally,
        insertion=insertion.counts.tally,
        handed=experiment.contributions(),
    )
