"""Removing more and more units of a layer: the most important of a class, the least, random ones, or all but a few."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from torch import nn

from unitlens.ablation.experiment import Experiment
from unitlens.ablation.interventions import Replacement, Value, Where
from unitlens.ablation.outcomes.measures import DEFAULT_MEASURES, Measure
from unitlens.ablation.random_sets import FEW_DRAWS, at_random, describe_matching, matched
from unitlens.ablation.result import Curve, Member, UnitEffects
from unitlens.ablation.table import Units
from unitlens.ablation.work.checkpoints import Checkpoint, checkpointed
from unitlens.data.concepts import Data
from unitlens.data.groups import Groups
from unitlens.data.reading import Reading
from unitlens.errors import UnitlensError, argument
from unitlens.models.bases import BasisLike
from unitlens.models.fast.precision import Fast
from unitlens.models.network import Network
from unitlens.stats.scores import Floats


def ablation_curve(
    net: Network | nn.Module,
    layer: str,
    class_: str | int,
    data: Data | str | Path,
    *,
    top: int = 20,
    sizes: Sequence[int] | None = None,
    draws: int = FEW_DRAWS,
    measure: str = "balanced_accuracy",
    ranking: UnitEffects | None = None,
    value: Value = 0.0,
    scale: float | None = None,
    where: Where = None,
    basis: BasisLike | None = None,
    measures: Iterable[Measure] = DEFAULT_MEASURES,
    groups: Groups | None = None,
    limit: int | None = None,
    batch_size: int = 32,
    workers: int = 0,
    seed: int = 0,
    strict: bool = False,
    fast: bool | Fast = False,
    checkpoint: Checkpoint | None = None,
    progress: bool = False,
) -> Curve:
    """Remove the 1, 2, 4, ... most important units of a class, the least important, random ones; keep only those.

    Units are ranked on the images of even folds, one by one, and sets measured on those of odd folds.

    Parameters
    ----------
    net, layer, data
        As for `unitlens.importance`.
    class_ : str or int
        The class.
    top : int
        The most units that are ablated.
    sizes : sequence of int, optional
        How many; 1, 2, 4, ... below ``top``, and ``top``.
    draws : int
        Sets at random, and as many matched ones (as for `unitlens.ablate`), of each size.
    measure : str
        By what units are ranked.
    ranking : UnitEffects, optional
        What `unitlens.importance` gave for the same network, layer, data and intervention; else it is measured first.
    value, scale, where, basis, measures, groups, limit, batch_size, workers, seed, strict, fast, checkpoint, progress
        As for `unitlens.importance`.

    Returns
    -------
    Curve

    Raises
    ------
    UnitlensError
        As for `unitlens.importance`; if there is no such class, or it has no images.

    Examples
    --------
    >>> import unitlens as ul
    >>> curve = ul.ablation_curve(ul.load("bundled:scenes"), "relu6", "forest", ul.Scenes(24), top=4, draws=2)
    >>> curve.sizes
    (1, 2, 4)
    """
    with checkpointed(checkpoint) as kept:
        experiment = Experiment.of(
            net,
            layer,
            data,
            replacement=Replacement(value, scale, where),
            measures=measures,
            reading=Reading(
                batch_size=batch_size, workers=workers, limit=limit, seed=seed, strict=strict, progress=progress
            ),
            seed=seed,
            groups=groups,
            fast=fast,
            kept=kept,
            basis=basis,
        )
        plan = Draws(tuple(sizes) if sizes is not None else doubling(top), draws, measure)
        return curves_of(experiment, [class_], plan, ranking=ranking)[0]


class Draws(NamedTuple):
    """How the sets of a curve are chosen: sizes, random sets of each, and the measure that ranks."""

    sizes: tuple[int, ...]
    draws: int
    measure: str = "balanced_accuracy"

    def check(self, count: int, layer: str) -> None:
        """Make sure that such sets can be chosen from so many units.

        Raises
        ------
        UnitlensError
            If there are no sizes, one leaves nothing or takes nothing, or the draws are fewer than 0.
        """
        if count < 2:
            raise UnitlensError(
                f"{layer} has one unit, so that there is no curve: measure the effect of that unit alone."
            )
        if not self.sizes:
            raise UnitlensError("A curve needs numbers of units to remove, such as sizes=[1, 2, 4].")
        if self.draws < 0:
            raise UnitlensError(f"{self.draws} sets cannot be drawn: give the number of draws, or 0 for none.")
        wrong = [k for k in self.sizes if not 1 <= k < count]
        if wrong:
            raise UnitlensError(
                f"{wrong[0]} units cannot be chosen from the {count} of {layer} so "
                f"that some are ablated and some are left; choose 1 to {count - 1}."
            )


def doubling(top: int) -> tuple[int, ...]:
    """1, 2, 4, ... below ``top``, and ``top``.

    Examples
    --------
    >>> doubling(20)
    (1, 2, 4, 8, 16, 20)
    """
    return tuple(sorted({2**i for i in range(max(top, 1).bit_length()) if 2**i < top} | {top}))


def curves_of(
    experiment: Experiment, classes: Sequence[str | int], draws: Draws, *, ranking: UnitEffects | None = None
) -> list[Curve]:
    """Curves of several classes, in one pass for the ranking and one for the sets."""
    layer = experiment.layers[0]
    draws.check(experiment.unit_count(layer) if ranking is None else ranking.units, layer)
    if ranking is None:
        experiment.check_classes(classes)
        ranking = experiment.unit_effects()
    else:
        _check_ranking(ranking, experiment)
    rng = np.random.default_rng(experiment.seed)
    common = [
        (Member("random", k, draw), at_random(tuple(range(k)), ranking.peaks, rng))
        for k in draws.sizes
        for draw in range(draws.draws)
    ]
    handed = experiment.contributions(layer) if draws.draws else None
    activity = ranking.peaks if handed is None else handed.values
    of_classes = [_sets_of(ranking, class_, draws, activity, rng) for class_ in classes]
    sets = [(units,) for part in (common, *of_classes) for _, units in part]
    largest = max((k for k in draws.sizes if 2 * k <= ranking.units), default=1)
    chosen = [unit for class_ in classes for unit in ranking.most_important(class_, largest, measure=draws.measure)]
    most = tuple(dict.fromkeys(chosen))
    matching = None if handed is None else describe_matching(experiment.layers, (most,), [handed])
    measured = experiment.measure(sets, folds="odd", ranked="even", matched_in=matching)
    curves, first = [], len(common)
    for class_, part in zip(classes, of_classes, strict=True):
        places = [*range(len(common)), *range(first, first + len(part))]
        first += len(part)
        name = measured.outputs.names[measured.outputs.output(class_)]
        if name not in measured.classes:
            raise UnitlensError(f"The class {name} has no images of the odd folds to measure on: use more images.")
        members = tuple(member for member, _ in (*common, *part))
        curves.append(Curve(name, members, measured.only(places), ranking))
    return curves


def _check_ranking(ranking: UnitEffects, experiment: Experiment) -> None:
    """Make sure that a ranking is of the units that are ablated.

    Raises
    ------
    UnitlensError
        If it is of other directions, or of units where directions are ablated.
    """
    ranked, ablated = ranking.measured.settings.basis, experiment.basis
    if (ranked and ranked.sha256) != (ablated and ablated.sha256):
        raise UnitlensError(
            f"The ranking is of {'units' if ranked is None else 'directions'}, and others are ablated: give the same "
            f"{argument('basis')} to both, or to neither."
        )


def _sets_of(
    ranking: UnitEffects, class_: str | int, draws: Draws, activity: Floats, rng: np.random.Generator
) -> list[tuple[Member, Units]]:
    """The sets of one class."""
    ranked = ranking.most_important(class_, measure=draws.measure)
    sets: list[tuple[Member, Units]] = []
    for k in draws.sizes:
        chosen = tuple(ranked[:k])
        sets.append((Member("most", k, 0), chosen))
        sets.append((Member("least", k, 0), tuple(ranked[::-1][:k])))
        sets.append((Member("kept", k, 0), tuple(sorted(set(ranked) - set(chosen)))))
        for draw in range(draws.draws if 2 * k <= len(ranked) else 0):
            sets.append((Member("matched", k, draw), matched(chosen, activity, rng)))
    return sets
