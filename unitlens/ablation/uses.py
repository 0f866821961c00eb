"""Concepts and uses of units side by side: figure 2e of Bau et al., and the concepts that each class depends on."""

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from unitlens.ablation.agreement import spearman
from unitlens.ablation.result import UnitEffects
from unitlens.dissection.result import Dissection
from unitlens.errors import UnitlensError
from unitlens.stats.folds import Folds
from unitlens.stats.scores import Floats, Ints

if TYPE_CHECKING:
    import pandas as pd


class Served(NamedTuple):
    """Whether units that match a concept better are important for more classes.

    Attributes
    ----------
    iou : float64 array, (U,)
        Of each unit with its concept, or its held-out IoU; 0 for silent ones.
    classes : int64 array, (U,)
        For how many classes the unit is among the most important.
    correlation : float
        Spearman's, over units.
    low, high : float
        Its 95 % interval, by Fisher's z with the variance 1.06 / (n - 3).

    References
    ----------
    Fieller, Hartley and Pearson, "Tests for rank correlation coefficients", Biometrika 44 (1957).
    """

    iou: Floats
    classes: Ints
    correlation: float
    low: float
    high: float


def classes_served(
    dissection: Dissection, effects: UnitEffects, *, score: str = "iou", top: int = 4, folds: Folds = "all"
) -> Served:
    """Count for how many classes each unit is among the most important, beside its IoU (figure 2e of the paper).

    Parameters
    ----------
    dissection : Dissection
        Of the layer.
    effects : UnitEffects
        Of the same layer, from `unitlens.importance`.
    score : {"iou", "heldout_iou"}
        Held out: the concept chosen on one half of the images, and measured on the other.
    top : int
        How many units of a class count as its most important: by balanced accuracy, then by logit.
    folds : {"all", "even", "odd"}
        The images that rank them; a class without any of them counts for nothing.

    Raises
    ------
    UnitlensError
        If the two are of different layers or networks, or the effects are not those of every unit alone.
    """
    _check(dissection, effects)
    iou = dissection[effects.layer].table()[score].fillna(0).to_numpy(dtype=np.float64)
    changes = [effects.effect(measure, folds=folds) for measure in ("logit", "balanced_accuracy")]
    known = ~np.isnan(changes[1]).any(0)
    first = np.lexsort([change[:, known] for change in changes], axis=0)[:top]
    served = np.bincount(first.ravel(), minlength=len(iou))
    correlation = spearman(iou, served.astype(np.float64))
    if len(iou) < 4:
        return Served(iou, served, correlation, float("nan"), float("nan"))
    half = 1.959963984540054 * np.sqrt(1.06 / (len(iou) - 3))
    z = np.arctanh(np.clip(correlation, -1 + 1e-12, 1 - 1e-12))
    return Served(iou, served, correlation, float(np.tanh(z - half)), float(np.tanh(z + half)))


def class_concepts(dissection: Dissection, effects: UnitEffects, *, measure: str = "logit") -> "pd.DataFrame":
    """Say which concepts each class depends on: classes x concepts, the summed effects of the detectors of each.

    Parameters
    ----------
    dissection, effects
        As for `classes_served`.
    measure : str
        Of the effects.

    Returns
    -------
    pandas.DataFrame
        A row a class and a column a concept that has detectors, those that matter most first. Each number is the sum,
        over the detectors of the concept, of the effect of ablating that unit alone; below 0 the class depends on it.
    """
    import pandas as pd

    _check(dissection, effects)
    units = dissection[effects.layer].detectors()
    effect = pd.DataFrame(effects.effect(measure)[units["unit"].to_numpy()], columns=list(effects.classes))
    summed = effect.groupby(units["concept"].to_numpy()).sum().T
    return summed[summed.min().sort_values(kind="stable").index]


def _check(dissection: Dissection, effects: UnitEffects) -> None:
    if effects.layer not in dissection.layers:
        raise UnitlensError(
            f"The effects are of {effects.layer}, and the dissection of {', '.join(dissection.layers)}: take one layer."
        )
    if not isinstance(effects, UnitEffects):
        raise UnitlensError("The effect of each unit alone is needed: ul.importance measures that.")
    if effects.info["network"]["sha256"] != dissection.info["network"]["sha256"]:
        raise UnitlensError("The effects and the dissection are of different networks, or of different weights.")
