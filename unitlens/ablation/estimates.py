"""What counts of predictions say: measures before and after an intervention, with intervals. Arithmetic."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from unitlens.ablation.tallies import Counted, Sums
from unitlens.errors import UnitlensError, did_you_mean
from unitlens.stats.scores import Floats, Ints, share

OVERALL = "*"
"""What stands for all classes together."""

_Z = 1.959963984540054  # 97.5 % of the standard normal distribution


class Estimate(NamedTuple):
    """A measure before and after, paired per image; all (S, K), or (S,) for all classes together.

    ``low`` and ``high`` are the 95 % interval of ``effect`` = ``after`` - ``before``; ``p_value`` is of the same normal
    (for means: Student's) approximation, two-sided. What has no images is NaN.
    """

    before: Floats
    after: Floats
    effect: Floats
    low: Floats
    high: Floats
    p_value: Floats
    images: Ints

    def columns(self, classes: npt.ArrayLike) -> "Estimate":
        """The estimates of some classes."""
        chosen = np.asarray(classes)
        return Estimate._make(values[:, chosen] for values in self)

    def row(self, index: int) -> "Estimate":
        """The estimates of one of the S sets: each (K,), or a number."""
        return Estimate._make(values[index] for values in self)


def estimate(counted: Counted, measure: str) -> Estimate:
    """Estimate the effect on every class.

    Parameters
    ----------
    counted : Counted
        From `Tally.half`.
    measure : str
        One of `MEASURES`, or an outcome that was summed.

    Returns
    -------
    Estimate
        Each (S, K).

    Raises
    ------
    UnitlensError
        If there is no such measure, or it was not measured.
    """
    if measure in OF_COUNTS:
        estimated = OF_COUNTS[measure](counted)
        return estimated._replace(images=np.broadcast_to(counted.images, estimated.effect.shape))
    sums = _summed(counted, measure)
    return _of_sums(counted.images, sums)


def estimate_overall(counted: Counted, measure: str) -> Estimate:
    """Estimate the effect over all classes together: the accuracy, or the mean of an outcome; each (S,)."""
    images = counted.images.sum()
    if measure == "accuracy":
        gained, lost = counted.gained.sum(1), counted.lost.sum(1)
        before = np.broadcast_to(share(counted.right.sum(), images), gained.shape)
        estimated = _changed(before, *paired_change(gained, lost, images), share(gained - lost, images))
        return estimated._replace(images=np.broadcast_to(images, gained.shape))
    sums = _summed(counted, measure)
    return _of_sums(images, Sums(sums.before.sum(), sums.change.sum(1), sums.squares.sum(1)))


def paired_change(gained: npt.ArrayLike, lost: npt.ArrayLike, images: npt.ArrayLike) -> tuple[Floats, Floats]:
    """Centre and variance of the 95 % interval of a paired difference of two proportions.

    With 1 added to the gained, 1 to the lost and 2 to the images, so that nothing seen does not mean nothing
    possible: g = (gained + 1) / (n + 2) and l alike, centre g - l, variance (g + l - (g - l)^2) / (n + 2).

    Source: Bonett and Price, "Adjusted Wald confidence interval for a difference of binomial proportions based on
    paired data", J. Educ. Behav. Stat. 37 (2012).

    Examples
    --------
    >>> centre, variance = paired_change(0, 98, 98)
    >>> float(centre), round(float(variance), 6)
    (-0.98, 0.000396)
    """
    n = np.asarray(images) + 2.0
    g, l_ = (np.asarray(gained) + 1) / n, (np.asarray(lost) + 1) / n
    return g - l_, (g + l_ - (g - l_) ** 2) / n


def _recall(c: Counted) -> Estimate:
    before = np.broadcast_to(share(c.right, c.images), c.gained.shape)
    change = share(c.gained - c.lost, np.broadcast_to(c.images, c.gained.shape))
    return _changed(before, *paired_change(c.gained, c.lost, c.images), change, empty=c.images == 0)


def _accuracy(c: Counted) -> Estimate:
    """Of one class against the rest."""
    total = c.images.sum()
    right = c.right + (total - c.images) - (c.predicted - c.right)
    gained, lost = c.gained + c.false_lost, c.lost + c.false_gained
    before = np.broadcast_to(share(right, np.broadcast_to(total, right.shape)), gained.shape)
    change = share(gained - lost, np.broadcast_to(total, gained.shape))
    return _changed(before, *paired_change(gained, lost, total), change, empty=c.images == 0)


def _balanced_accuracy(c: Counted) -> Estimate:
    """(recall + share of the other images with another prediction) / 2; these are other images, so variances add."""
    others = np.broadcast_to(c.images.sum() - c.images, c.gained.shape)
    before = (share(c.right, c.images) + 1 - share(c.predicted - c.right, others[0] if len(others) else others)) / 2
    recall_change = share(c.gained - c.lost, np.broadcast_to(c.images, c.gained.shape))
    false = share(c.false_gained - c.false_lost, others)
    centre, variance = paired_change(c.gained, c.lost, c.images)
    false_centre, false_variance = paired_change(c.false_gained, c.false_lost, others)
    return _changed(
        np.broadcast_to(before, recall_change.shape),
        (centre - false_centre) / 2,
        (variance + false_variance) / 4,
        (recall_change - false) / 2,
        empty=(c.images == 0) | (others == 0),
    )


def _precision(c: Counted) -> Estimate:
    """Share of the images predicted as the class that are of it; empty where none is.

    The variance is that of a difference of two ratios over the same images, by the delta method: each image adds
    the square of (own - p2) / n2, where it is among the n2 predicted after, less (own - p1) / n1, where among the n1
    before.
    """
    predicted = np.broadcast_to(c.predicted, c.gained.shape)
    right = np.broadcast_to(c.right, c.gained.shape)
    false = predicted - right
    predicted_after = predicted + c.gained - c.lost + c.false_gained - c.false_lost
    with np.errstate(divide="ignore", invalid="ignore"):
        p1, p2 = right / predicted, (right + c.gained - c.lost) / predicted_after
        own1, own2 = (1 - p1) / predicted, (1 - p2) / predicted_after
        other1, other2 = -p1 / predicted, -p2 / predicted_after
    both, false_both = right - c.lost, false - c.false_lost
    variance = both * (own2 - own1) ** 2 + c.lost * own1**2 + c.gained * own2**2
    variance = variance + false_both * (other2 - other1) ** 2 + c.false_lost * other1**2 + c.false_gained * other2**2
    estimated = _changed(p1, p2 - p1, variance, p2 - p1, empty=c.images == 0)
    return estimated._replace(after=np.where(c.images == 0, np.nan, p2))  # also where none was predicted before


OF_COUNTS: Mapping[str, Callable[[Counted], Estimate]] = {
    "recall": _recall,
    "precision": _precision,
    "accuracy": _accuracy,
    "balanced_accuracy": _balanced_accuracy,
}


def _changed(
    before: Floats, centre: Floats, variance: Floats, change: Floats, *, empty: npt.ArrayLike = False
) -> Estimate:
    """An estimate from the centre and variance of its interval, which is cut to [-1, 1]."""
    from scipy.special import ndtr

    error = np.sqrt(variance)
    before, change = np.where(empty, np.nan, before), np.where(empty, np.nan, change)
    low = np.where(np.isnan(change), np.nan, np.clip(np.minimum(centre - _Z * error, change), -1, 1))
    high = np.where(np.isnan(change), np.nan, np.clip(np.maximum(centre + _Z * error, change), -1, 1))
    p_value = np.where(np.isnan(change), np.nan, 2 * ndtr(-share(np.abs(centre), error)))
    return Estimate(before, before + change, change, low, high, p_value, np.zeros(change.shape, np.int64))


def _of_sums(images: Ints, sums: Sums) -> Estimate:
    """Means and Student's t interval of paired differences."""
    from scipy.special import stdtr, stdtrit

    n = np.broadcast_to(images, sums.change.shape)
    count, freedom = np.where(n > 0, n, np.nan), np.where(n > 1, n - 1, np.nan)
    effect = sums.change / count
    error = np.sqrt(np.maximum(sums.squares / count - effect**2, 0) / freedom)
    half = stdtrit(freedom, 0.975) * error
    with np.errstate(divide="ignore", invalid="ignore"):
        statistic = np.where(error > 0, np.abs(effect) / error, np.where(effect == 0, 0.0, np.inf))
    before = sums.before / np.where(images > 0, images, np.nan)
    p_value = np.where(np.isnan(freedom), np.nan, 2 * stdtr(freedom, -statistic))
    return Estimate(before + 0 * effect, before + effect, effect, effect - half, effect + half, p_value, n)


def _summed(counted: Counted, measure: str) -> Sums:
    if measure not in counted.sums:
        known = [*OF_COUNTS, *counted.sums]
        raise UnitlensError(
            f"{measure} was not measured{did_you_mean(measure, known)}, but {', '.join(known)}: name it among measures."
        )
    return counted.sums[measure]
