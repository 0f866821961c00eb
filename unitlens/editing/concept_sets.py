"""The smallest set of units that removes most of a concept: by IoU, greedily, or by gradient."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from torch import nn

from unitlens.ablation.interventions import Value
from unitlens.ablation.table import Units
from unitlens.ablation.units import chosen_units
from unitlens.ablation.work.checkpoints import Checkpoint, checkpointed
from unitlens.data.concepts import Data
from unitlens.data.groups import Groups
from unitlens.data.reading import Reading
from unitlens.editing.concept_set_result import METHODS, ConceptSet, Method
from unitlens.editing.experiment import THRESHOLD, AreaExperiment, Concepts
from unitlens.editing.sparse import PENALTY, STEPS, sparse_weights
from unitlens.errors import UnitlensError, argument, did_you_mean
from unitlens.models.bases import BasisLike
from unitlens.models.fast.precision import Fast
from unitlens.models.network import Network
from unitlens.stats.scores import Floats

if TYPE_CHECKING:
    from unitlens.dissection.result import Dissection

CANDIDATES = 32
"""The greedy search takes units from so many, those that remove most of the concept alone."""

GREEDY_IMAGES = 128
"""It looks at as many latents at most, of which those of even folds choose."""

MOST, TARGET = 20, 0.5
"""Units that are removed at most, and the share of the concept that a set has to remove, where nothing else is said."""


def concept_set(
    net: Network | nn.Module,
    layer: str,
    concept: str,
    latents: Data | str | Path,
    concepts: Concepts = None,
    *,
    method: Method = "greedy",
    dissection: "Dissection | None" = None,
    most: int = MOST,
    target: float = TARGET,
    insert: Value = THRESHOLD,
    steps: int = STEPS,
    penalty: float = PENALTY,
    groups: Groups | None = None,
    limit: int | None = None,
    batch_size: int = 32,
    workers: int = 0,
    seed: int = 0,
    fast: bool | Fast = False,
    basis: BasisLike | None = None,
    checkpoint: Checkpoint | None = None,
    progress: bool = False,
) -> ConceptSet:
    """Find the smallest set of units whose removal takes away most of a concept.

    Parameters
    ----------
    net, layer, latents, concepts, groups, limit, batch_size, workers, seed, fast, basis, checkpoint, progress
        As for `unitlens.intervene`.
    concept : str
        Its name, or category/name.
    method : {"iou", "greedy", "optimise"}
        Units in the order of their IoU in a dissection, on its images of even folds (Bau et al., PNAS 2020); the unit
        that removes most beside those that are chosen, again and again; or the sparse optimisation of GAN dissection
        (Bau et al., ICLR 2019), which needs a concept source that says how likely a concept is, such as a segmentation
        network.
    dissection : Dissection, optional
        Of the layer, for "iou".
    most : int
        Units that are removed at most.
    target : float
        The set is the smallest that removes this share of the concept's area.
    insert : float, Tensor or a quantile
        For "optimise": what inserted units are set to, as for `unitlens.causal_effects`.
    steps : int
        For "optimise": steps of the optimisation.
    penalty : float
        For "optimise": what the norm of the units' weights costs.

    Returns
    -------
    ConceptSet

    Raises
    ------
    UnitlensError
        As for `unitlens.intervene`; if there is no such concept or method, or nothing of the concept is drawn.

    Examples
    --------
    Three units that draw red, green and blue:

    >>> import unitlens as ul
    >>> model = nn.Sequential(nn.Unflatten(1, (3, 1, 1)), nn.ReLU(), nn.Upsample(scale_factor=4))
    >>> net = ul.generator(model, latents=3, rescale=(0, 1))
    >>> found = ul.concept_set(net, "1", "red", ul.latents(3, 200), ul.Colors(), target=0.9)
    >>> found.units, found.reached
    ((0,), True)
    """
    reading = Reading(batch_size=batch_size, workers=workers, limit=limit, seed=seed, progress=progress)
    with checkpointed(checkpoint) as kept:
        experiment = AreaExperiment.of(
            net, layer, latents, concepts, reading=reading, groups=groups, fast=fast, basis=basis, kept=kept
        )
        return find_set(
            experiment,
            concept,
            method=method,
            dissection=dissection,
            most=most,
            target=target,
            insert=insert,
            steps=steps,
            penalty=penalty,
        )


def find_set(
    experiment: AreaExperiment,
    concept: str,
    *,
    method: Method,
    dissection: "Dissection | None" = None,
    most: int = MOST,
    target: float = TARGET,
    insert: Value = THRESHOLD,
    steps: int = STEPS,
    penalty: float = PENALTY,
) -> ConceptSet:
    """The same for an experiment."""
    _check(method, dissection, most, target)
    layer = experiment.layer
    column, count = experiment.drawn.index_of(concept), experiment.unit_count()
    most, weights = min(most, count), None
    if method == "iou":
        assert dissection is not None
        ranking = chosen_units(dissection[layer].units_for(concept, most, folds="even"), layer, count)
    elif method == "greedy":
        ranking = _greedy(experiment, column, most)
    else:
        values = experiment.values(insert)
        weights = experiment.found(
            lambda: {"weights": sparse_weights(experiment, column, values, steps=steps, penalty=penalty)},
            *("sparse weights", experiment.drawn, column, values, steps, penalty),
        )["weights"]
        ranking = tuple(int(unit) for unit in np.argsort(-weights, kind="stable")[:most])
    sizes = tuple(range(1, len(ranking) + 1))
    values = experiment.values(0.0)
    measured = experiment.measure(values, sets=[(ranking[:size],) for size in sizes])
    tally = measured.counts.tally
    if not tally.before[:, column].any():
        raise UnitlensError(
            f"Nothing of {concept} is drawn in {int(tally.images.sum())} images, so that no unit can remove it: choose "
            "another concept, or draw more images."
        )
    return ConceptSet(
        settings=experiment.settings(values, str(values.replacement)),
        info=experiment.describe(measured),
        concepts=experiment.drawn.concepts,
        segmenter_iou=experiment.drawn.ious(),
        column=column,
        method=method,
        target=target,
        ranking=ranking,
        sizes=sizes,
        tally=tally,
        weights=weights,
    )


def _check(method: str, dissection: "Dissection | None", most: int, target: float) -> None:
    """Make sure that a set can be looked for."""
    if method not in METHODS:
        raise UnitlensError(f"There is no method {method!r}{did_you_mean(method, METHODS)}; there are {METHODS}.")
    if not 0 < target <= 1:
        raise UnitlensError(
            f"{argument('target', target)}: it is the share of the concept that the set removes, such as 0.5."
        )
    if most < 1:
        raise UnitlensError(f"{argument('most', most)}: a set has 1 unit or more.")
    if method == "iou" and dissection is None:
        raise UnitlensError("The method 'iou' takes units in the order of a dissection: give dissection=d.")


def _greedy(experiment: AreaExperiment, column: int, most: int) -> Units:
    """Choose units one by one, each the one that removes most of a concept beside the others; on even folds."""
    limit = min(GREEDY_IMAGES, experiment.reading.limit or GREEDY_IMAGES)
    few = replace(experiment, reading=replace(experiment.reading, limit=limit, progress=False))
    values = few.values(0.0)

    def left(sets: Sequence[Units] | None) -> Floats:
        """What is left of the concept with each set removed, or every unit alone."""
        measured = few.measure(values, sets=None if sets is None else [(units,) for units in sets], folds="even")
        return np.asarray(measured.counts.tally.change[:, :, column].sum(0), np.float64)

    alone = left(None)
    candidates = [int(unit) for unit in np.argsort(alone, kind="stable")[:CANDIDATES]]
    chosen: Units = (candidates[0],)
    while len(chosen) < min(most, len(candidates)):
        further = [unit for unit in candidates if unit not in chosen]
        chosen = (*chosen, further[int(left([(*chosen, unit) for unit in further]).argmin())])
    return chosen
