"""What ablating units does to predictions: every unit alone, or sets of them, on every image."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from torch import nn

from unitlens.ablation.experiment import Experiment
from unitlens.ablation.interventions import Replacement, Value, Where
from unitlens.ablation.outcomes.measures import DEFAULT_MEASURES, Measure
from unitlens.ablation.result import SetEffects, UnitEffects
from unitlens.ablation.units import Chosen, chosen_units, measured_on, units_by_layer
from unitlens.ablation.work.checkpoints import Checkpoint, checkpointed
from unitlens.data.concepts import Data
from unitlens.data.groups import Groups
from unitlens.data.reading import Reading
from unitlens.errors import UnitlensError
from unitlens.models.bases import BasisLike
from unitlens.models.fast.precision import Fast
from unitlens.models.network import Network


def importance(
    net: Network | nn.Module,
    layer: str,
    data: Data | str | Path,
    *,
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
    where : Tensor of bool, (h, w) or (N, h, w), or {"class", "patches"}, optional
        The positions of the layer's grid that are changed: the same ones in all images, or those of each of the N
        images of ``data``, in their order (of all that ``len(data)`` counts, also where ``limit`` takes fewer); of
        tokens also the class token alone, or the patches alone; all by default.
    basis : matrix, (D, U), file of one, or Dictionary, optional
        Its rows are directions, which take the place of the layer's units as in `unitlens.dissect`. The output is
        changed along the pseudo-inverse: where rows are independent, what one reads is set to the value and the others
        stay as they are; else the change is the least-squares one, and a reading moves a part of the way. See
        docs/ablation.md.
    measures : iterable of str or callable
        Of each class: names of `unitlens.ablation.outcomes.measures.MEASURES`, and functions of outputs (N, K) and the
        images' classes (N,) that return one number for each image. For all classes together there are the accuracy, and
        those that are not counts.
    groups : optional
        Images that belong together, as for `unitlens.dissect`: they fall into the same fold.
    limit : int, optional
        Only so many images, spread evenly over the data set (by ``seed``).
    batch_size, workers : int
        Images at a time; processes that decode them.
    seed : int
        Of what is drawn: the images to resample from.
    strict : bool
        Whether an image that cannot be read is an error; else it is left out.
    fast : bool or {"float32", "bfloat16"}
        Whether what lies in front of the layer is computed faster, with other rounding, by a copy of the network with
        folded batch norms and channels last; see docs/speed.md. What lies behind it is the network's own.
    checkpoint : str, Path or Kept, optional
        A folder in which what is measured is kept: the same call goes on there after it was stopped, by whatever. It is
        removed by whoever needs it no more. Or what `unitlens.keeping` gives, for several calls, or several processes.
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
        return experiment.unit_effects()


def ablate(
    net: Network | nn.Module,
    layer: str | Mapping[str, Chosen],
    units: Chosen | None = None,
    data: Data | str | Path | None = None,
    *,
    keep: bool = False,
    draws: int | None = None,
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
    draws : int, optional
        Sets to compare with that are drawn at random, and as many matched ones, each of as many units of each layer
        (`SetEffects.random_sets`); 199, or 39 where to replay as many would take more than 10 passes of the network
        an image. Units are matched in their mean activation in up to 256 images, drawn at random, times the weights
        of the next layer, where these can be read.
    value, scale, where, basis, measures, groups, limit, batch_size, workers, seed, strict, fast, checkpoint, progress
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
    chosen = units_by_layer(layer, units)
    if data is None:
        raise UnitlensError("No images were given: name them with data=, such as ul.ablate(net, {...}, data=data).")
    with checkpointed(checkpoint) as kept:
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
            groups=groups,
            fast=fast,
            kept=kept,
            basis=basis,
        )
        counts = {name: experiment.unit_count(name) for name in chosen}
        ablated = tuple(chosen_units(given, name, counts[name], keep=keep) for name, given in chosen.items())
        folds, ranked = measured_on(chosen.values())
        return experiment.set_effects(ablated, draws, folds=folds, ranked=ranked)
