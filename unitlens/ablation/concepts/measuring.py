"""Ablate, for each concept, the units that fit it best, and as many random ones, in images that contain it."""

import hashlib
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from torch import nn

from unitlens.ablation.concepts.estimates import (
    concept_half_widths,
    draws_half_width,
    enough_images,
    mean_change,
)
from unitlens.ablation.concepts.result import ConceptEffects, EffectsOfConcept, MeanEffect, OneEffect
from unitlens.ablation.experiment import Experiment
from unitlens.ablation.interventions import Replacement, Value
from unitlens.ablation.measuring import Design, Measured, measure
from unitlens.ablation.responses.concept_changes import MEASURES, ConceptChanges, ConceptSums
from unitlens.ablation.work.checkpoints import Checkpoint, checkpointed
from unitlens.data.concepts import Data
from unitlens.data.reading import Reading
from unitlens.dissection.beside.belonging import choice_sha256
from unitlens.dissection.reopening import check_network, regrouped, run_basis
from unitlens.dissection.result import Dissection
from unitlens.dissection.settings import BasisRecord
from unitlens.errors import UnitlensError, UnitlensWarning, argument
from unitlens.models.bases import BasisLike
from unitlens.models.fast.precision import Fast
from unitlens.models.network import Network
from unitlens.stats.folds import FEWEST_FOLDS, Folds, iou_in
from unitlens.stats.scores import Floats, Ints


def concept_effects(
    run: Dissection,
    net: Network | nn.Module,
    data: Data | str | Path,
    *,
    top: int = 1,
    draws: int | None = None,
    value: Value = 0.0,
    scale: float | None = None,
    basis: BasisLike | None = None,
    batch_size: int = 32,
    workers: int = 0,
    strict: bool = False,
    fast: bool | Fast = False,
    checkpoint: Checkpoint | None = None,
    progress: bool = False,
) -> ConceptEffects:
    """Measure what the network uses the units for that fit concepts best: one number for the units of a layer.

    For each concept, the ``top`` units of the highest IoU with it are ablated together, and the images that contain
    the concept (and have a class) say what that changes: the logit of an image's own class, and whether that class is
    predicted. Units are chosen on the images of the even folds and ablated in those of the odd ones, and the other way
    around. From the mean change, what as many random units do in the same images is taken away: removing anything
    changes outputs. The effect of a layer's units is the mean over all concepts that are in images of 8 folds or more,
    whether or not a unit detects them, and each counts as much as any other. So it compares units, rotated units,
    components and features of the same layer: on the same images these are the same concepts.

    Parameters
    ----------
    run : Dissection
        Of one layer; of several, ``run["layer4"]`` is the part of one.
    net : Network or torch.nn.Module
        The run's, or its module: images are prepared as they were then. It returns scores of classes.
    data : Data, str or Path
        The run's images, with classes. If they are others, units are still chosen by the run.
    top : int
        How many units are ablated together.
    draws : int, optional
        Sets of as many units to compare with, drawn at random among those that are not silent: 199, or 39 where to
        replay as many would take more than 10 passes of the network an image. Where ``top`` is 1 and there are fewer
        units, each of them once.
    value, scale
        What units are set to, or multiplied by; as for `unitlens.importance`.
    basis : optional
        The directions or features of the run, where it was given them in memory.
    batch_size, workers, strict, fast, checkpoint, progress
        As for `unitlens.importance`.

    Returns
    -------
    ConceptEffects
        Its ``save`` adds it to a run, from which `unitlens.compare` takes it.

    Raises
    ------
    UnitlensError
        As for `unitlens.importance`; if the images are marked with other concepts than the run's, or have groups where
        the run has none, no concept is in images of enough folds, or there are too few units.

    Examples
    --------
    >>> import unitlens as ul
    >>> net, data = ul.load("bundled:scenes"), ul.Scenes(96)
    >>> run = ul.dissect(net, "relu6", data, evidence=False, exemplars=0)
    >>> found = ul.concept_effects(run, net, data, draws=20)
    >>> found.table()["measure"].tolist()
    ['logit', 'accuracy']
    >>> found.logit.effect < found.logit.random_effect  # it lowers the logit of the image's class further
    True
    """
    run.counts  # noqa: B018 - raises where there are several layers
    settings = run.settings
    reading = Reading(
        batch_size=batch_size,
        workers=workers,
        limit=settings.limit,
        seed=settings.seed,
        strict=strict,
        progress=progress,
    )
    with checkpointed(checkpoint) as kept:
        experiment = Experiment.of(
            check_network(net, run.info),
            run.layers,
            data,
            replacement=Replacement(value, scale, None),
            measures=(),
            reading=reading,
            seed=settings.seed,
            fast=fast,
            kept=kept,
            basis=run_basis(settings, basis),
        )
        return effects_on_concepts(experiment, run, top=top, draws=draws)


def effects_on_concepts(experiment: Experiment, run: Dissection, *, top: int, draws: int | None) -> ConceptEffects:
    """The same for an experiment of one layer, which the run is of; its images are in the run's groups."""
    experiment = replace(experiment, data=regrouped(experiment.data, run.groups))
    _check_concepts(experiment.data, run)
    sets = _choose(run, top, experiment.draw_count(draws), seed=experiment.seed)
    (layer,) = experiment.layers
    design = Design(
        layers=experiment.layers,
        values=(experiment.values(layer),),
        response=ConceptChanges(len(run.concepts), sets.number, len(sets.drawn)),
        sets=tuple((units,) for units in (*sets.chosen, *sets.drawn)),
        grid=run.settings.grid,
        fast=experiment.fast,
        basis=experiment.basis,
    )
    measured = measure(experiment.net, experiment.data, design, experiment.reading, experiment.kept)
    if run.groups is None and measured.data["groups"] is not None:
        raise UnitlensError(
            "The images have groups, and the run has none, so that images of one group would choose units and measure "
            "them: dissect the images with these groups."
        )
    for note in measured.notes:
        warnings.warn(note, UnitlensWarning, stacklevel=3)
    return _result(experiment, run, sets, measured)


class _Sets(NamedTuple):
    """The sets of units that are ablated.

    Attributes
    ----------
    chosen : list of tuple of int
        For some concept and half of the folds, each once.
    number : int64 array, (2, C)
        Which of them is for each concept, in images of the even and of the odd folds.
    drawn : list of tuple of int
    every : bool
        Whether these are all that there are.
    """

    chosen: list[tuple[int, ...]]
    number: Ints
    drawn: list[tuple[int, ...]]
    every: bool

    def of(self, concept: int, folds: Folds) -> tuple[int, ...]:
        """The units for a concept, in images of some folds."""
        return self.chosen[int(self.number[int(folds == "odd"), concept])]


def _choose(run: Dissection, top: int, draws: int, *, seed: int) -> _Sets:
    """The best units of each concept on either half of the folds, and random sets of as many."""
    able = np.flatnonzero(run.table()["concept"].notna().to_numpy(bool))
    if not 1 <= top < len(able):
        raise UnitlensError(
            f"{argument('top', top)} units are to be ablated together, and the layer has {len(able)} that are not "
            f"silent: give a number from 1 to {max(len(able) - 1, 1)}."
        )
    if draws < 2:
        raise UnitlensError(
            f"{argument('draws', draws)} gives nothing to compare with: give 2 or more, or leave it out for 199."
        )
    chosen: list[tuple[int, ...]] = []
    number = np.zeros((2, len(run.concepts)), np.int64)
    halves: tuple[tuple[int, Folds], ...] = ((0, "odd"), (1, "even"))  # images of one half, chosen on the other
    for row, chosen_on in halves:
        best = _best(iou_in(run.counts, chosen_on)[able], able, top)
        for concept, units in enumerate(best):
            if units not in chosen:
                chosen.append(units)
            number[row, concept] = chosen.index(units)
    every = top == 1 and len(able) <= draws
    rng = np.random.default_rng(seed)
    return _Sets(chosen, number, _draw(able, top, draws, rng) if not every else [(int(u),) for u in able], every)


def _best(iou: Floats, units: Ints, top: int) -> list[tuple[int, ...]]:
    """The units of the highest IoU with each concept, of a table (U, C); of equal ones the first."""
    order = np.argsort(-iou, axis=0, kind="stable")[:top]
    return [tuple(int(unit) for unit in units[column]) for column in order.T]


def _draw(units: Ints, top: int, draws: int, rng: np.random.Generator) -> list[tuple[int, ...]]:
    """Sets at random; of single units, no unit twice."""
    if top == 1:
        return [(int(unit),) for unit in rng.choice(units, draws, replace=False)]
    return [tuple(int(unit) for unit in rng.choice(units, top, replace=False)) for _ in range(draws)]


def _check_concepts(data: Data, run: Dissection) -> None:
    """Make sure that images are marked with the run's concepts, in its order."""
    marked = [(concept.category, concept.name) for concept in data.concepts]
    own = [(concept["category"], concept["name"]) for concept in run.info["data"]["concepts"]]
    if marked != own:
        first = next((name for name in own if name not in marked), None)
        lacking = "they come in another order" if first is None else f"{'/'.join(first)} is not among theirs"
        raise UnitlensError(
            f"The images are marked with other concepts than the run's ({lacking}): give the data that the run was "
            "made of, with the same concepts."
        )


def _result(experiment: Experiment, run: Dissection, sets: _Sets, measured: Measured[ConceptSums]) -> ConceptEffects:
    """From sums to effects, of the concepts that are in images of enough folds."""
    enough = enough_images(measured.counts.images)
    if not enough.any():
        raise UnitlensError(
            f"No concept is in images of {FEWEST_FOLDS} folds or more, of the {measured.data['measured']} that have a "
            "class: use more images."
        )
    sums = ConceptSums(
        measured.counts.images[:, enough],
        measured.counts.chosen[..., enough],
        measured.counts.random[..., enough],
        measured.counts.by_draw[:, enough],
    )
    single = [_effects_of_each(sums, measure) for measure in range(len(MEASURES))]
    names = [run.info["data"]["concepts"][column] for column in np.flatnonzero(enough)]
    concepts = tuple(
        EffectsOfConcept(
            category=name["category"],
            name=name["name"],
            images=int(sums.images[:, place].sum()),
            units=sets.of(column, "odd"),
            units_in_even=sets.of(column, "even"),
            logit=single[0][place],
            accuracy=single[1][place],
        )
        for place, (name, column) in enumerate(zip(names, np.flatnonzero(enough).tolist(), strict=True))
    )
    basis = experiment.basis
    return ConceptEffects(
        layer=experiment.layers[0],
        basis=None if basis is None else BasisRecord(**basis.describe()),
        network_sha256=experiment.net.fingerprint(),
        data_sha256=measured.data["sha256"],
        choice_sha256=choice_sha256(run),
        folds_sha256=_folds_sha256(measured),
        units=measured.units[0],
        top=len(sets.chosen[0]),
        ablation=str(experiment.replacement),
        draws=len(sets.drawn),
        images=measured.data["measured"],
        logit=_mean_effect(sums, 0, every=sets.every),
        accuracy=_mean_effect(sums, 1, every=sets.every),
        concepts=concepts,
    )


def _folds_sha256(measured: Measured[ConceptSums]) -> str:
    """Hash of the groups of the images, and of how many images of each fold contain each concept."""
    groups = measured.data["groups"]
    hashed = hashlib.sha256(b"" if groups is None else groups["sha256"].encode())
    hashed.update(measured.counts.images.astype("<i8").tobytes())
    return hashed.hexdigest()


def _mean_effect(sums: ConceptSums, measure: int, *, every: bool) -> MeanEffect:
    """The mean over concepts, of one measure."""
    effect, random = (mean_change(sums.images, part[measure]) for part in (sums.chosen, sums.random))
    low, high = _ends(effect.value, effect.half_width)
    left_out = effect.left_out - random.left_out
    return MeanEffect(
        effect=effect.value,
        low=low,
        high=high,
        random_effect=random.value,
        beyond_random=effect.value - random.value,
        left_out=tuple(None if np.isnan(value) else float(value) for value in left_out),
        draws_half_width=draws_half_width(sums, measure, every=every),
    )


def _effects_of_each(sums: ConceptSums, measure: int) -> Sequence[OneEffect]:
    """The effect on each concept, of one measure."""
    images = sums.images.sum(0)
    value, random = (part[measure].sum(0) / images for part in (sums.chosen, sums.random))
    half = concept_half_widths(sums.images, sums.chosen[measure])
    return [
        OneEffect(effect=here, low=low, high=high, random_effect=drawn)
        for here, drawn, (low, high) in zip(
            value.tolist(), random.tolist(), map(_ends, value.tolist(), half.tolist()), strict=True
        )
    ]


def _ends(value: float, half_width: float) -> tuple[float | None, float | None]:
    return (None, None) if np.isnan(half_width) else (value - half_width, value + half_width)
