"""What counts of predictions say: measures before and after an intervention, with intervals. Arithmetic."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from unitlens.ablation.tallies import Counted, CountedSums
from unitlens.errors import UnitlensError, did_you_mean
from unitlens.stats.intervals import (
    Distances,
    Part,
    Z,
    change_distances,
    difference_distances,
    mean_change_distances,
    share_distances,
    sum_distances,
)
from unitlens.stats.scores import Floats, Ints, share

OVERALL = "*"
"""What stands for all classes together."""


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
    return _of_sums(counted.images, sums, sums.design)


def estimate_overall(counted: Counted, measure: str) -> Estimate:
    """Estimate the effect over all classes together: the accuracy, or the mean of an outcome; each (S,)."""
    images = counted.images.sum()
    if measure == "accuracy":
        gained, lost = counted.gained.sum(1), counted.lost.sum(1)
        before = np.broadcast_to(share(counted.right.sum(), images), gained.shape)
        estimated = _changed(before, _Change.of(gained, lost, images, counted.design.overall))
        return estimated._replace(images=np.broadcast_to(images, gained.shape))
    sums = _summed(counted, measure)
    together = sums._replace(
        before=sums.before.sum(keepdims=True),
        rise=sums.rise.sum(1, keepdims=True),
        fall=sums.fall.sum(1, keepdims=True),
        rise_squares=sums.rise_squares.sum(1, keepdims=True),
        fall_squares=sums.fall_squares.sum(1, keepdims=True),
    )
    found = _of_sums(images[None], together, np.reshape(sums.overall_design, (-1, 1)))
    return Estimate._make(values[:, 0] for values in found)


def paired_change(gained: npt.ArrayLike, lost: npt.ArrayLike, images: npt.ArrayLike) -> tuple[Floats, Floats]:
    """Centre and variance of a paired difference of two proportions, for its p-value.

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


class _Change(NamedTuple):
    """The change of a share: its estimate, its interval, and centre and variance for the p-value."""

    value: Floats
    distances: Distances
    centre: Floats
    variance: Floats

    @classmethod
    def of(cls, gained: npt.ArrayLike, lost: npt.ArrayLike, images: npt.ArrayLike, design: Floats) -> "_Change":
        """From images gained and lost, each counted as one of so many alike; of an unknown number without interval."""
        value = share(np.asarray(gained) - np.asarray(lost), images)
        g, l_, n = (np.asarray(count) / design for count in (gained, lost, images))
        n = np.broadcast_to(n, g.shape)
        return cls(value, change_distances(g, l_, n), *paired_change(g, l_, n))

    def half_less(self, other: "_Change") -> "_Change":
        """Half the difference to a change over other images."""
        return _Change(
            (self.value - other.value) / 2,
            difference_distances(self.distances, other.distances).times(0.5),
            (self.centre - other.centre) / 2,
            (self.variance + other.variance) / 4,
        )


def _recall(c: Counted) -> Estimate:
    before = np.broadcast_to(share(c.right, c.images), c.gained.shape)
    return _changed(before, _Change.of(c.gained, c.lost, c.images, c.design.own), empty=c.images == 0)


def _accuracy(c: Counted) -> Estimate:
    """Of one class against the rest."""
    total = c.images.sum()
    right = c.right + (total - c.images) - (c.predicted - c.right)
    change = _Change.of(c.gained + c.false_lost, c.lost + c.false_gained, total, c.design.all_images)
    return _changed(np.broadcast_to(share(right, total), c.gained.shape), change, empty=c.images == 0)


def _balanced_accuracy(c: Counted) -> Estimate:
    """(recall + share of the other images with another prediction) / 2; these are other images."""
    others = c.images.sum() - c.images
    before = (share(c.right, c.images) + 1 - share(c.predicted - c.right, others)) / 2
    recall = _Change.of(c.gained, c.lost, c.images, c.design.own)
    false = _Change.of(c.false_gained, c.false_lost, others, c.design.others)
    empty = (c.images == 0) | (others == 0)
    return _changed(np.broadcast_to(before, c.gained.shape), recall.half_less(false), empty=empty)


def _precision(c: Counted) -> Estimate:
    """Share of the images predicted as the class that are of it; empty where none is.

    Each image adds (own - p2) / n2, where it is among the n2 predicted after, less (own - p1) / n1, where among the n1
    before. So the effect moves with the four counts of changes, whose intervals count at these weights; and images that
    are predicted both times add the squares of what they weigh.
    """
    predicted, right = (np.broadcast_to(count, c.gained.shape) for count in (c.predicted, c.right))
    predicted_after = predicted + c.gained - c.lost + c.false_gained - c.false_lost
    right_after = right + c.gained - c.lost
    with np.errstate(divide="ignore", invalid="ignore"):
        before, after = right / predicted, right_after / predicted_after
    first, last = _Weights.of(right, predicted), _Weights.of(right_after, predicted_after)
    others, own_design, other_design = c.images.sum() - c.images, c.design.own, c.design.others
    own = _weighted((last.own, c.gained), (first.own, c.lost), c.images, own_design)
    false = _weighted((first.other, c.false_lost), (last.other, c.false_gained), others, other_design)
    both = (right - c.lost) * (last.own - first.own) ** 2 * own_design
    both = both + (predicted - right - c.false_lost) * (last.other - first.other) ** 2 * other_design
    same = Distances(Z * np.sqrt(both), Z * np.sqrt(both))
    distances = sum_distances(sum_distances(own.distances, false.distances), same)
    change = _Change(after - before, distances, own.centre + false.centre, own.variance + false.variance + both)
    estimated = _changed(before, change, empty=c.images == 0)
    return estimated._replace(after=np.where(c.images == 0, np.nan, after))  # also where none was predicted before


class _Weights(NamedTuple):
    """How much one more image moves a precision: upwards one of the class, downwards another."""

    own: Floats
    other: Floats

    @classmethod
    def of(cls, right: Ints, predicted: Ints) -> "_Weights":
        """From the images predicted, with one of the class and another added, as none seen is not none possible."""
        precision = (right + 1) / (predicted + 2)
        return cls(share(1 - precision, predicted), share(precision, predicted))


def _weighted(more: tuple[Floats, Ints], less: tuple[Floats, Ints], images: Ints, design: Floats) -> _Change:
    """How images that count more, each at a weight, and others that count less, move a sum."""
    (up, gained), (down, lost) = more, less
    g, l_, n = (np.broadcast_to(count / design, up.shape) for count in (gained, lost, images))
    one, other = (share_distances(count, n).times(weight * n * design) for weight, count in ((up, g), (down, l_)))
    centre = up * gained - down * lost
    variance = (up**2 * (g + 1) + down**2 * (l_ + 1)) * design**2
    return _Change(centre, difference_distances(one, other), centre, variance)


OF_COUNTS: Mapping[str, Callable[[Counted], Estimate]] = {
    "recall": _recall,
    "precision": _precision,
    "accuracy": _accuracy,
    "balanced_accuracy": _balanced_accuracy,
}


def _changed(before: Floats, change: _Change, *, empty: npt.ArrayLike = False) -> Estimate:
    """An estimate from a change, whose interval is cut to [-1, 1]."""
    from scipy.special import ndtr

    unknown = np.isnan(change.value) | empty
    before, effect = np.where(empty, np.nan, before), np.where(unknown, np.nan, change.value)
    low = np.maximum(effect - change.distances.below, -1)
    high = np.minimum(effect + change.distances.above, 1)
    statistic = share(np.abs(change.centre), np.sqrt(change.variance))
    p_value = np.where(unknown, np.nan, 2 * ndtr(-statistic))
    return Estimate(before, before + effect, effect, low, high, p_value, np.zeros(effect.shape, np.int64))


def _of_sums(images: Ints, sums: CountedSums, design: Floats) -> Estimate:
    """Means of paired differences: intervals by the parts above and below 0, p-values by Student's t."""
    from scipy.special import stdtr

    count = np.broadcast_to(images, sums.rise.shape)
    n = np.where(count > 0, count, np.nan)
    effect = (sums.rise - sums.fall) / n
    rise, fall = (
        Part(sums.rise / design, sums.rise_squares / design),
        Part(sums.fall / design, sums.fall_squares / design),
    )
    # One change more, of a typical size, joins the class's own: what a class does shows with its images.
    size = sums.size()
    size = share(sums.rise_squares + sums.fall_squares + size**2, sums.rise + sums.fall + size)
    below, above = mean_change_distances(rise, fall, np.where(count > 1, n / design, np.nan), size)
    freedom = np.where(count > 1, n - 1, np.nan)
    squares = (sums.rise_squares + sums.fall_squares) / n
    error = np.sqrt(np.maximum(squares - effect**2, 0) * design / freedom)
    with np.errstate(divide="ignore", invalid="ignore"):
        statistic = np.where(error > 0, np.abs(effect) / error, np.where(effect == 0, 0.0, np.inf))
    before = sums.before / np.where(images > 0, images, np.nan)
    p_value = np.where(np.isnan(freedom * design), np.nan, 2 * stdtr(freedom, -statistic))
    return Estimate(before + 0 * effect, before + effect, effect, effect - below, effect + above, p_value, count)


def _summed(counted: Counted, measure: str) -> CountedSums:
    if measure not in counted.sums:
        known = [*OF_COUNTS, *counted.sums]
        raise UnitlensError(
            f"{measure} was not measured{did_you_mean(measure, known)}, but {', '.join(known)}: name it among measures."
        )
    return counted.sums[measure]
