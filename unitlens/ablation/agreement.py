"""How well attributions, cheap guesses at what units are used for, agree with the effects of removing units."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from unitlens.ablation.result import UnitEffects
from unitlens.errors import UnitlensError
from unitlens.stats.scores import Floats

if TYPE_CHECKING:
    import pandas as pd

AGREEMENT_COLUMNS = {
    "layer": "the layer's name",
    "method": "activation_x_gradient, conductance or internal_influence",
    "class": "the class whose output is attributed",
    "images": "how many images of the class",
    "spearman": "rank correlation, over units, of the method's attributions and what removing the units costs",
    "overlap": "share of the most important units by the one that are among the most important by the other",
    "top": "how many units those are",
    "chance": "the overlap of units drawn at random",
}
"""Name and meaning of every column of ``effects.attributions.csv``, in its order."""


class Attributions(NamedTuple):
    """Attributions to units by captum, summed over positions, as a mean over each class's own images.

    Attributes
    ----------
    classes : tuple of str
        Classes with images, in the order of the outputs.
    by_method : mapping of str to float64 array, (U, classes)
        Of the class's own output. Large: important.
    """

    classes: tuple[str, ...]
    by_method: Mapping[str, Floats]


def agreement(
    attributed: Attributions, effects: UnitEffects, *, measure: str = "logit", top: int = 20
) -> "pd.DataFrame":
    """Compare each attribution with the exact effect of removing each unit.

    Parameters
    ----------
    attributed : Attributions
    effects : UnitEffects
        From `unitlens.importance`, on the same images.
    measure : str
        Of the effects; the logit is summed always.
    top : int
        The overlap is that of so many most important units.

    Returns
    -------
    pandas.DataFrame
        A row a method: ``method``, ``spearman`` (mean over classes of the rank correlation of attribution and loss),
        ``spearman_low`` and ``spearman_high`` (the smallest and largest over classes), ``overlap`` (mean share of the
        top units in common), ``top``, ``chance`` (the overlap of units drawn at random), ``images``, ``classes``.

    Raises
    ------
    UnitlensError
        If the classes are not those of the effects.
    """
    return over_classes(agreement_by_class(attributed, effects, measure=measure, top=top))


def agreement_by_class(
    attributed: Attributions, effects: UnitEffects, *, measure: str = "logit", top: int = 20
) -> "pd.DataFrame":
    """Compare them for each class: a row a method and class, with the columns of `AGREEMENT_COLUMNS`.

    Parameters
    ----------
    attributed, effects, measure, top
        As for `agreement`.

    Raises
    ------
    UnitlensError
        If the classes, or the units, are not those of the effects.
    """
    import pandas as pd

    if attributed.classes != effects.classes:
        raise UnitlensError("The attributions and the effects are of different classes: use the same images.")
    exact = effects.estimate(measure)
    few, rows = min(top, len(exact.effect)), []
    for method, credit in attributed.by_method.items():
        if credit.shape != exact.effect.shape:
            raise UnitlensError(
                f"captum attributes to {len(credit)} units of {effects.layer}, which has {len(exact.effect)}: its "
                "output is not laid out as units first, and attributions cannot be compared."
            )
        for column, name in enumerate(attributed.classes):
            ranks = compare_ranks(credit[:, column], -exact.effect[:, column], top=few)
            of_class = {"class": name, "images": int(exact.images[0, column])}
            rows.append({"layer": effects.layer, "method": method} | of_class | ranks._asdict())
    return pd.DataFrame(rows, columns=list(AGREEMENT_COLUMNS))


class RankAgreement(NamedTuple):
    """How well two rankings of units agree: the columns of the same names of `AGREEMENT_COLUMNS`."""

    spearman: float
    overlap: float
    top: int
    chance: float


def compare_ranks(attributed: Floats, loss: Floats, *, top: int) -> RankAgreement:
    """Compare what is attributed to units with what removing them costs, both (U,), as rankings.

    Examples
    --------
    >>> compare_ranks(np.array([3.0, 2, 1, 0]), np.array([2.0, 0.5, 1, 0]), top=2).overlap
    0.5
    """
    attributed, loss = _without_rounding(attributed), _without_rounding(loss)
    return RankAgreement(spearman(attributed, loss), _overlap(attributed, loss, top), top, top / len(loss))


def over_classes(by_class: "pd.DataFrame") -> "pd.DataFrame":
    """Take the mean over classes of the table of `agreement_by_class`: the table of `agreement`."""
    methods = by_class.groupby("method", sort=False)
    means = methods["spearman"].agg(spearman="mean", spearman_low="min", spearman_high="max")
    means = means.join(methods[["overlap", "top", "chance"]].mean())
    means = means.join(methods.agg(images=("images", "sum"), classes=("class", "size")))
    table: pd.DataFrame = means.astype({"top": int}).reset_index()
    return table


def spearman(one: Floats, other: Floats) -> float:
    """Rank correlation, ties at their mean rank; 0 where one of the two is constant.

    Examples
    --------
    >>> round(spearman(np.array([1.0, 2, 3, 4]), np.array([1.0, 3, 2, 9])), 3)
    0.8
    """
    from scipy.stats import spearmanr

    if np.ptp(one) == 0 or np.ptp(other) == 0:
        return 0.0
    return float(spearmanr(one, other).statistic)


def _without_rounding(values: Floats) -> Floats:
    """Values with 0 for what float32 cannot tell from it beside the largest: else rounding ranks what is tied."""
    return np.where(np.abs(values) > 1e-5 * np.abs(values).max(initial=0), values, 0.0)


def _overlap(credit: Floats, loss: Floats, few: int) -> float:
    first, second = (set(np.argsort(-values, kind="stable")[:few].tolist()) for values in (credit, loss))
    return len(first & second) / few
