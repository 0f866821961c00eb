"""What units do to predictions: every unit alone, or a set of them, on every image."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from torch import Tensor, nn

from unitlens.ablation.activity import unit_count
from unitlens.ablation.experiment import Experiment
from unitlens.ablation.interventions import Replacement, Value, whole_numbers
from unitlens.ablation.outcomes import DEFAULT_MEASURES, Measure
from unitlens.ablation.result import Ranking, SetEffects, UnitEffects
from unitlens.ablation.table import Units
from unitlens.ablation.tallies import Folds
from unitlens.data.concepts import Data
from unitlens.data.reading import Reading
from unitlens.errors import UnitlensError
from unitlens.models.layers import display_name
from unitlens.models.network import Network

Chosen = int | Sequence[int] | Tensor
"""Units, as they are given."""


def importance(
    net: Network | nn.Module,
    layer: str,
    data: Data | str | Path,
    *,
    value: Value = 0.0,
    scale: float | None = None,
    where: Tensor | None = None,
    measures: Iterable[Measure] = DEFAULT_MEASURES,
    limit: int | None = None,
    batch_size: int = 32,
    workers: int = 0,
    seed: int = 0,
    strict: bool = False,
    progress: bool = False,
) -> UnitEffects:
    """Measure what every unit of a layer does to every class: each is ablated alone, on all images.

    Every image goes through the network once; what lies behind the layer is replayed for each unit, and memory does
    not grow with the number of images.

    Parameters
    ----------
    net : Network or torch.nn.Module
        See `unitlens.load` and `unitlens.classifier`. It returns scores of classes.
    layer : str
        Its name.
    data : Data, str or Path
        Images with classes; a string is what ``--data`` takes.
    value : float, Tensor, "mean" or "resample"
        What units are set to: one number, ``(U,)`` numbers or ``(U, h, w)`` maps, each unit's mean over the images
        (which takes a further pass over them), or its activations in another image.
    scale : float, optional
        In place of a value: what units are multiplied by.
    where : Tensor of bool, (h, w) or (N, h, w), optional
        The positions of the layer's grid that are changed: the same ones in all images, or those of each of the N
        images of ``data``, in their order (of all that ``len(data)`` counts, also where ``limit`` takes fewer); all by
        default.
    measures : iterable of str or callable
        Of each class: names of `unitlens.ablation.outcomes.MEASURES`, and functions of outputs (N, K) and the images'
        classes (N,) that return one number for each image. For all classes together there are the accuracy, and those
        that are not counts.
    limit : int, optional
        Only so many images, spread evenly over the data set (by ``seed``).
    batch_size, workers : int
        Images at a time; processes that decode them.
    seed : int
        Of what is drawn: the images to resample from.
    strict : bool
        Whether an image that cannot be read is an error; else it is left out.
    progress : bool
        Whether progress is shown.

    Returns
    -------
    UnitEffects

    Raises
    ------
    UnitlensError
        If there is no such layer, the output does not depend on it or is not finite, ``where`` does not have the shape
        of the layer's grid, or no image has a class.

    Warns
    -----
    UnitlensWarning
        If the network is in training mode, images are left out, or every unit takes a full pass of the network.

    Examples
    --------
    >>> import unitlens as ul
    >>> effects = ul.importance(ul.load("bundled:scenes"), "relu6", ul.Scenes(24))
    >>> effects.effect("recall").shape  # units x classes
    (128, 12)
    >>> effects.most_important("ski_slope", 3, folds="all")
    (108, 37, 22)
    """
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
    )
    return experiment.unit_effects()


def ablate(
    net: Network | nn.Module,
    layer: str | Mapping[str, Chosen],
    units: Chosen | None = None,
    data: Data | str | Path | None = None,
    *,
    keep: bool = False,
    draws: int = 20,
    value: Value = 0.0,
    scale: float | None = None,
    where: Tensor | None = None,
    measures: Iterable[Measure] = DEFAULT_MEASURES,
    limit: int | None = None,
    batch_size: int = 32,
    workers: int = 0,
    seed: int = 0,
    strict: bool = False,
    progress: bool = False,
) -> SetEffects:
    """Measure what a set of units, ablated together, does to every class, beside sets that are drawn.

    Parameters
    ----------
    net, data
        As for `importance`.
    layer : str or mapping of str to units
        Its name; or the units of several layers, ``{"layer3": [1, 2], "layer4": [5]}``, and then ``data=``.
    units : int, sequence or Tensor of int
        Which. What `UnitEffects.most_important` ranked on the even folds is measured on the odd ones, and the other way
        around; what it ranked on all images is marked.
    keep : bool
        Ablate all the others of the layer instead.
    draws : int
        Sets to compare with that are drawn at random, and as many matched in activation, each of as many units of each
        layer (`SetEffects.random_sets`). Units are matched by their mean peak in up to 256 images, drawn at random.
    value, scale, where, measures, limit, batch_size, workers, seed, strict, progress
        As for `importance`.

    Returns
    -------
    SetEffects

    Raises
    ------
    UnitlensError
        As for `importance`; if no unit is given, or one is out of range or given twice.

    Examples
    --------
    >>> import unitlens as ul
    >>> effects = ul.ablate(ul.load("bundled:scenes"), "relu6", [108, 37, 22], ul.Scenes(24), draws=5)
    >>> effects.effect("recall").shape  # classes
    (12,)
    >>> effects.random_sets()["kind"].unique().tolist()
    ['random', 'matched']
    """
    chosen = _by_layer(layer, units)
    if data is None:
        raise UnitlensError("No images were given: name them with data=, such as ul.ablate(net, {...}, data=data).")
    experiment = Experiment.of(
        net,
        tuple(chosen),
        data,
        replacement=Replacement(value, scale, where),
        measures=measures,
        reading=Reading(
            batch_size=batch_size, workers=workers, limit=limit, seed=seed, strict=strict, progress=progress
        ),
        seed=seed,
    )
    counts = {name: unit_count(experiment.net, name) for name in chosen}
    ablated = tuple(chosen_units(own, name, counts[name], keep=keep) for name, own in chosen.items())
    folds, ranked = measured_on(chosen.values())
    return experiment.set_effects(ablated, draws, folds=folds, ranked=ranked)


def _by_layer(layer: str | Mapping[str, Chosen], units: Chosen | None) -> Mapping[str, Chosen]:
    if isinstance(layer, Mapping):
        if units is not None:
            raise UnitlensError("The units of several layers are given with them: give the images as data=.")
        if not layer:
            raise UnitlensError("No layer is given: name at least one, such as {'layer4': [3, 17]}.")
        return layer
    if units is None:
        raise UnitlensError(f"No units of {display_name(layer)} are given, such as [3, 17].")
    return {layer: units}


def measured_on(chosen: Iterable[Chosen]) -> tuple[Folds, Folds | None]:
    """Return the folds that units are measured on, and those that they were ranked on, if they were.

    Units that were ranked on even or odd folds are measured on the others; where that leaves none, on all.
    """
    ranked_on = {units.folds for units in chosen if isinstance(units, Ranking)}
    if not ranked_on:
        return "all", None
    ranked = ranked_on.pop() if len(ranked_on) == 1 else "all"
    others: dict[Folds, Folds] = {"even": "odd", "odd": "even", "all": "all"}
    return others[ranked], ranked


def chosen_units(units: Chosen, layer: str, count: int, *, keep: bool = False) -> Units:
    """Check which units are meant, and with ``keep`` return all the others.

    Raises
    ------
    UnitlensError
        If none is given, one is no whole number, out of range or twice there, or nothing is left to keep or to ablate.
    """
    given = whole_numbers(units)
    outside = [unit for unit in given if not 0 <= unit < count]
    if outside:
        raise UnitlensError(
            f"{display_name(layer)} has {count} units, 0 to {count - 1}; unit {outside[0]} is not among them."
        )
    if len(set(given)) < len(given):
        twice = next(unit for unit in given if given.count(unit) > 1)
        raise UnitlensError(f"Unit {twice} of {display_name(layer)} is given twice; give each once.")
    if not given:
        left = "nothing of the layer would be left" if keep else "nothing would change"
        raise UnitlensError(f"No unit of {display_name(layer)} is given, so that {left}; give at least one.")
    if keep and len(given) == count:
        raise UnitlensError(f"All {count} units of {display_name(layer)} would be kept, so that nothing would change.")
    return tuple(unit for unit in range(count) if unit not in set(given)) if keep else tuple(given)
