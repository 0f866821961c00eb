"""What removing a unit does to images that hold what its label means: the logit of their own class."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from unitlens.ablation.experiment import Experiment
from unitlens.ablation.interventions import Replacement
from unitlens.ablation.measuring import Design, measure
from unitlens.ablation.replay.replayed import MeasuredImages
from unitlens.ablation.responses.per_image import PerImage
from unitlens.data.classes import Classes, join_classes
from unitlens.data.concepts import Data
from unitlens.data.reading import Reading
from unitlens.errors import UnitlensError
from unitlens.models.bases import Coding
from unitlens.models.network import Network
from unitlens.stats.folds import FEWEST_FOLDS, effective_half_width
from unitlens.stats.scores import Bools, Floats, Ints


@dataclass(frozen=True)
class _OwnLogit:
    """Reads the output of each image's own class."""

    classes: Classes

    def read(self, images: MeasuredImages, outputs: Tensor) -> Tensor:
        """From outputs (V, N, K) to (V, N, 1)."""
        own = torch.from_numpy(images.truth(self.classes)).to(outputs.device)
        return outputs.gather(2, own[None, :, None].expand(len(outputs), -1, 1))


class Removals(NamedTuple):
    """Changes of the logit of each image's own class when units are removed, one at a time.

    Attributes
    ----------
    names : list of str
        Of the images that have a class.
    change : float64 array, (images, units)
    folds : int64 array, (images,)
    """

    names: list[str]
    change: Floats
    folds: Ints


def measure_removals(
    net: Network, layer: str, data: Data, units: Sequence[int], reading: Reading, *, basis: Coding | None = None
) -> Removals:
    """Set units of a layer to 0, one at a time, and read the logit of each image's own class.

    Raises
    ------
    UnitlensError
        If the network predicts no classes, or no image has one.
    """
    experiment, classes = _experiment(net, layer, data, reading, basis)
    design = Design(
        layers=experiment.layers,
        values=(experiment.values(layer),),
        response=PerImage(_OwnLogit(classes).read, with_class=True),
        sets=tuple(((unit,),) for unit in units),
        basis=basis,
    )
    counts = measure(experiment.net, experiment.data, design, reading).counts
    return Removals(counts.names, counts.after[..., 0] - counts.before, counts.folds)


def check_removals(net: Network, layers: Sequence[str], data: Data, reading: Reading) -> None:
    """Make sure before a long pass that effects can be measured.

    Raises
    ------
    UnitlensError
        As for `measure_removals`.
    """
    for layer in layers:
        _experiment(net, layer, data, reading, None)


def _experiment(
    net: Network, layer: str, data: Data, reading: Reading, basis: Coding | None
) -> tuple[Experiment, Classes]:
    """What units are removed in, and the classes of the images."""
    experiment = Experiment.of(
        net, layer, data, replacement=Replacement(0.0, None, None), measures=(), reading=reading, basis=basis
    )
    outputs = net.output_count()
    if outputs is None:
        raise UnitlensError(f"{net.name} does not return a score for each class: there is no effect on these.")
    return experiment, join_classes(data, net.classes, outputs)


class Effect(NamedTuple):
    """A mean change of the logit, and the ends of its 95 % interval; NaN if unknown."""

    value: float
    low: float
    high: float


def mean_effect(change: Floats, folds: Ints, holds: Bools) -> Effect:
    """Mean change over the images that hold a concept, with the interval of the jackknife over folds."""
    if not holds.any():
        return Effect(np.nan, np.nan, np.nan)
    of_fold = np.bincount(folds[holds], minlength=int(folds.max()) + 1)
    sums = np.bincount(folds[holds], change[holds], minlength=len(of_fold))[of_fold > 0]
    counts = of_fold[of_fold > 0]
    value = float(sums.sum() / counts.sum())
    if len(counts) < FEWEST_FOLDS:
        return Effect(value, np.nan, np.nan)
    left_out = (sums.sum() - sums) / (counts.sum() - counts)
    half_width = float(effective_half_width(left_out, np.ones(len(counts), bool)))
    return Effect(value, value - half_width, value + half_width)
