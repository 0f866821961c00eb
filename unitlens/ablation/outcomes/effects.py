"""What ablating units does to any outcome: every unit alone, or a set beside others that are drawn."""

import warnings
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from pathlib import Path

from torch import nn

from unitlens.ablation.experiment import Experiment
from unitlens.ablation.interventions import Replacement, Value, Where
from unitlens.ablation.measuring import Design, Measured, few_folds, measure
from unitlens.ablation.outcomes.maps import Iou, map_size
from unitlens.ablation.outcomes.named import AnyOutcome, image_outcomes
from unitlens.ablation.outcomes.reading import ImageOutcome
from unitlens.ablation.outcomes.result import OutcomeEffects, sets_of
from unitlens.ablation.outcomes.tally import OutcomeTally
from unitlens.ablation.random_sets import describe_matching, draw_sets
from unitlens.ablation.responses.outcomes import Outcomes
from unitlens.ablation.table import LayerUnits, named_units
from unitlens.ablation.units import Chosen, chosen_units, measured_on, units_by_layer
from unitlens.ablation.work.checkpoints import Checkpoint, checkpointed
from unitlens.data.concepts import Data
from unitlens.data.groups import Groups
from unitlens.data.reading import Reading
from unitlens.errors import UnitlensError, UnitlensWarning
from unitlens.models.bases import BasisLike
from unitlens.models.fast.precision import Fast
from unitlens.models.network import Network
from unitlens.stats.folds import FEWEST_FOLDS, Folds


def outcome_effects(
    net: Network | nn.Module,
    layer: str | Mapping[str, Chosen],
    data: Data | str | Path,
    outcome: AnyOutcome | Iterable[AnyOutcome],
    *,
    units: Chosen | None = None,
    keep: bool = False,
    draws: int | None = None,
    value: Value = 0.0,
    scale: float | None = None,
    where: Where = None,
    basis: BasisLike | None = None,
    groups: Groups | None = None,
    limit: int | None = None,
    batch_size: int = 32,
    workers: int = 0,
    seed: int = 0,
    strict: bool = False,
    fast: bool | Fast = False,
    checkpoint: Checkpoint | None = None,
    progress: bool = False,
) -> OutcomeEffects:
    """Measure what ablating units does to any outcome of a network; images need no class.

    Parameters
    ----------
    net : Network or torch.nn.Module
        It returns a tensor with a row for each image, a tuple, list or dictionary of such tensors, or a list with an
        item for each image, as detectors do.
    layer : str or mapping of str to units
        Its name; or the units of several layers, ``{"layer3": [1, 2], "layer4": [5]}``.
    data : Data, str or Path
        Images; a string is what ``--data`` takes.
    outcome : str, callable, or several of these
        A name of `unitlens.ablation.outcomes.named.NAMES`, such as "area:person"; `unitlens.Similarity`; or a function
        of what the network returns, which returns a number for each image, (N,), several, (N, M), or a mapping of names
        to these.
    units : int, sequence or Tensor of int, optional
        Which, together, beside random and matched sets; None: every unit of the layer alone, beside all others.
    keep : bool
        Ablate all the others of the layer instead.
    draws : int, optional
        Sets to compare with, as for `unitlens.ablate`.
    value, scale, where, basis, groups, limit, batch_size, workers, seed, strict, fast, checkpoint, progress
        As for `unitlens.importance`.

    Returns
    -------
    OutcomeEffects

    Raises
    ------
    UnitlensError
        If there is no such layer, unit, outcome or class, the network returns something else than the outcome is of, or
        an outcome is not finite or not a number for each image.

    Warns
    -----
    UnitlensWarning
        If images are left out or fill fewer than 8 folds, or every intervention takes a full pass of the network.

    Examples
    --------
    >>> import unitlens as ul
    >>> net, data = ul.load("bundled:scenes"), ul.Scenes(24)
    >>> effects = ul.outcome_effects(net, "relu6", data, ["output:beach", "distance"])
    >>> effects.effect("output:beach").shape  # units
    (128,)
    >>> def surest(outputs):
    ...     return outputs.softmax(1).amax(1)
    >>> ul.outcome_effects(net, "relu6", data, surest, units=[3, 17], draws=9).table()["outcome"].tolist()
    ['surest']
    """
    with checkpointed(checkpoint) as kept:
        experiment = Experiment.of(
            net,
            tuple(layer) if isinstance(layer, Mapping) else layer,
            data,
            replacement=Replacement(value, scale, where),
            measures=(),
            reading=Reading(
                batch_size=batch_size, workers=workers, limit=limit, seed=seed, strict=strict, progress=progress
            ),
            seed=seed,
            groups=groups,
            fast=fast,
            kept=kept,
            basis=basis,
        )
        outcomes = image_outcomes(outcome)
        if units is None and not isinstance(layer, Mapping):
            if keep:
                raise UnitlensError("keep=True ablates all but some units: give these as units=.")
            return unit_outcomes(experiment, outcomes)
        chosen = units_by_layer(layer, units)
        counts = {name: experiment.unit_count(name) for name in chosen}
        ablated = tuple(chosen_units(given, name, counts[name], keep=keep) for name, given in chosen.items())
        folds, ranked = measured_on(chosen.values())
        return set_outcomes(experiment, outcomes, ablated, draws=draws, folds=folds, ranked=ranked)


def unit_outcomes(experiment: Experiment, outcomes: Sequence[ImageOutcome]) -> OutcomeEffects:
    """Measure every unit of the one layer alone."""
    measured = _measure(experiment, outcomes, None, folds="all")
    handed = experiment.contributions(experiment.layers[0])
    settings = experiment.settings(
        measured.counts.names,
        folds="all",
        ranked=None,
        matched_in=describe_matching(experiment.layers, ((),), [handed]),
    )
    sets = tuple((unit,) for unit in range(measured.units[0]))
    return OutcomeEffects(settings, experiment.describe(measured), sets, measured.counts, handed=handed.values)


def set_outcomes(
    experiment: Experiment,
    outcomes: Sequence[ImageOutcome],
    units: LayerUnits,
    *,
    draws: int | None = None,
    folds: Folds = "all",
    ranked: Folds | None = None,
) -> OutcomeEffects:
    """Measure one set of units, and in the same pass sets that are drawn to compare it with."""
    draws = experiment.draw_count(draws)
    handed = [experiment.contributions(layer) for layer in experiment.layers] if draws else []
    drawn = draw_sets(units, [each.values for each in handed], draws, seed=experiment.seed)
    measured = _measure(experiment, outcomes, (units, *chain.from_iterable(drawn.values())), folds=folds)
    matched_in = describe_matching(experiment.layers, units, handed) if drawn else None
    settings = experiment.settings(measured.counts.names, folds=folds, ranked=ranked, matched_in=matched_in)
    return OutcomeEffects(
        settings,
        experiment.describe(measured),
        (named_units(experiment.layers, units),),
        measured.counts.only([0]),
        sets_of(measured.counts, list(drawn), draws),
    )


def _measure(
    experiment: Experiment, outcomes: Sequence[ImageOutcome], sets: Sequence[LayerUnits] | None, *, folds: Folds
) -> Measured[OutcomeTally]:
    marked = next((outcome for outcome in outcomes if isinstance(outcome, Iou)), None)
    grid = (1, 1) if marked is None else map_size(experiment.net, marked.name)
    design = Design(
        layers=experiment.layers,
        values=tuple(experiment.values(layer) for layer in experiment.layers),
        response=Outcomes(outcomes, grid),
        sets=None if sets is None else tuple(sets),
        folds=folds,
        grid=grid,
        fast=experiment.fast,
        basis=experiment.basis,
    )
    measured = measure(experiment.net, experiment.data, design, experiment.reading, experiment.kept)
    if int((measured.counts.images > 0).sum()) < FEWEST_FOLDS:
        measured.notes.append(few_folds(measured.data, measured.counts.images))
    for note in measured.notes:
        warnings.warn(note, UnitlensWarning, stacklevel=5)
    return measured
