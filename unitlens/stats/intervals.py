"""95 % intervals of small counts and skewed means, as distances below and above an estimate. Arithmetic.

What was seen a few times, or never, has an interval that is not symmetric and not of width 0. Distances of differences
come from those of their parts.

References
----------
Zou and Donner, "Construction of confidence limits about effect measures", Stat. Med. 27 (2008): intervals of sums and
differences. Brown, Cai and DasGupta, "Interval estimation for a binomial proportion", Stat. Sci. 16 (2001): Jeffreys'
interval. Fay and Feuer, "Confidence intervals for directly standardized rates", Stat. Med. 16 (1997): sums of weighted
counts have gamma distributions, about.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from unitlens.stats.scores import Floats, share

TAIL = 0.025
"""Beyond either end of a 95 % interval."""

Z = 1.959963984540054  # 97.5 % of the standard normal distribution


class Distances(NamedTuple):
    """How far below and above an estimate its 95 % interval ends; both at least 0."""

    below: Floats
    above: Floats

    def times(self, factor: Floats | float) -> "Distances":
        """Those of the estimate times a number, at least 0."""
        return Distances(np.asarray(self.below * factor), np.asarray(self.above * factor))


def sum_distances(one: Distances, other: Distances, correlation: npt.ArrayLike = 0.0) -> Distances:
    """Those of the sum of two estimates."""
    below = _root(one.below, other.below, correlation)
    return Distances(below, _root(one.above, other.above, correlation))


def difference_distances(one: Distances, other: Distances, correlation: npt.ArrayLike = 0.0) -> Distances:
    """Those of one estimate less another, with the correlation of the two."""
    turned = Distances(other.above, other.below)
    return sum_distances(one, turned, -np.asarray(correlation))


def share_distances(count: npt.ArrayLike, images: npt.ArrayLike) -> Distances:
    """Those of a share, by Jeffreys' interval; numbers need not be whole.

    Examples
    --------
    >>> below, above = share_distances([0, 5], [10, 10])
    >>> below.round(3).tolist(), above.round(3).tolist()
    ([0.0, 0.276], [0.217, 0.276])
    """
    from scipy.special import betaincinv

    counts, n = np.broadcast_arrays(np.asarray(count, np.float64), np.asarray(images, np.float64))
    # The function is slow, and most counts occur often.
    pairs, places = np.unique(counts.ravel() + 1j * n.ravel(), return_inverse=True)
    seen, of = pairs.real, pairs.imag
    own, others = seen + 0.5, np.maximum(of - seen, 0) + 0.5
    value = share(seen, of)
    below = np.where(seen > 0, value - betaincinv(own, others, TAIL), 0.0)
    above = np.where(seen < of, betaincinv(own, others, 1 - TAIL) - value, 0.0)
    below, above = (np.maximum(ends, 0.0)[places].reshape(counts.shape) for ends in (below, above))
    return Distances(below, above)


def wilson(count: float, total: int) -> tuple[float, float]:
    """Ends of Wilson's 95 % interval of a share, whose count need not be whole; of nothing 0 and 1.

    References
    ----------
    Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22 (1927).

    Examples
    --------
    >>> tuple(round(end, 3) for end in wilson(2.5, 5))
    (0.17, 0.83)
    """
    if not total:
        return 0.0, 1.0
    seen = count / total
    centre, wide = seen + Z**2 / (2 * total), Z * (seen * (1 - seen) / total + (Z / (2 * total)) ** 2) ** 0.5
    low, high = ((centre + side) / (1 + Z**2 / total) for side in (-wide, wide))
    return (low if count > 0 else 0.0), (high if count < total else 1.0)  # exactly, whatever was rounded


def change_distances(gained: npt.ArrayLike, lost: npt.ArrayLike, images: npt.ArrayLike) -> Distances:
    """Those of (gained - lost) / images, where each image is gained, lost or neither."""
    gain, loss = share(gained, images), share(lost, images)
    odds = share(gain * loss, (1 - gain) * (1 - loss))
    correlation = -np.sqrt(np.clip(odds, 0, 1))  # of two counts of one multinomial distribution
    return difference_distances(share_distances(gained, images), share_distances(lost, images), correlation)


class Part(NamedTuple):
    """Sum and sum of squares of numbers of at least 0, over images."""

    total: Floats
    squares: Floats

    def variance(self, images: Floats) -> Floats:
        """Sum of squared deviations from the mean."""
        return np.asarray(np.maximum(self.squares - share(self.total**2, images), 0.0))


def mean_change_distances(rise: Part, fall: Part, images: Floats, size: Floats) -> Distances:
    """Those of the mean of numbers, from what is above 0 and what is below, each as if drawn from a gamma distribution.

    Parameters
    ----------
    rise, fall : Part
    images : float64 array
        How many, which need not be whole numbers; NaN where there are none.
    size : float64 array
        The size of a number that might be seen next.

    Returns
    -------
    Distances
        NaN where there are no images.
    """
    variances = [part.variance(images) for part in (rise, fall)]
    correlation = -np.clip(share(share(rise.total * fall.total, images), np.sqrt(variances[0] * variances[1])), 0, 1)
    one, other = (_part_distances(part, images, size) for part in (rise, fall))
    return difference_distances(one, other, correlation)


def _part_distances(part: Part, images: Floats, size: Floats) -> Distances:
    """Those of the mean of numbers of at least 0, to which half a number of the given size is added.

    Where all numbers are alike, less is added: nothing suggests that another kind would come.
    """
    from scipy.special import stdtrit

    freedom = np.maximum(images - 1, 1)
    alike = share(part.total**2, images * part.squares)  # 1 where all numbers are the same
    added = np.clip(2 * (1 - alike), 0, 1) * size
    total = part.total + added / 2
    variance = part.variance(images) * share(images, freedom) + added * size / 2
    low, high = (total * factor for factor in _gamma_factors(share(total**2, variance)))
    student = stdtrit(freedom, 1 - TAIL) / Z
    below = np.where(part.total > 0, np.maximum(part.total - low, 0), 0.0)
    return Distances(below, np.maximum(high - part.total, 0)).times(share(student, images))


def _gamma_factors(shape: Floats) -> tuple[Floats, Floats]:
    """Quantiles of a gamma distribution of mean 1 (Wilson and Hilferty 1931); 1 where the shape is 0."""
    ninth = share(1.0, 9 * shape)
    low, high = (np.maximum(1 - ninth + sign * Z * np.sqrt(ninth), 0.0) ** 3 for sign in (-1, 1))
    return low, high


def _root(one: Floats, other: Floats, correlation: npt.ArrayLike) -> Floats:
    return np.asarray(np.sqrt(np.maximum(one**2 + other**2 + 2 * np.asarray(correlation) * one * other, 0.0)))
