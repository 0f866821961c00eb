"""Means of changes between images that come in pairs, with intervals and p-values. Arithmetic."""

from typing import NamedTuple

import numpy as np

from unitlens.errors import UnitlensError
from unitlens.stats.changes import mean_change
from unitlens.stats.families import false_discovery
from unitlens.stats.folds import FOLDS
from unitlens.stats.scores import Bools, Floats, Ints

INTERVALS = (0.95, 0.99)
"""How sure intervals may be."""


class PairedMeans(NamedTuple):
    """Mean changes over pairs.

    Attributes
    ----------
    mean : float64 array, (...)
        NaN without pairs.
    low, high : float64 arrays, (...)
        Ends of the interval, by the jackknife over folds; NaN with fewer than 8 filled ones. Where a few folds carry
        the variance, Student's t has fewer degrees of freedom, as for IoUs.
    p_value : float64 array, (...)
        Of no change, of either sign; 1 where no pair changes, NaN where there is no interval.
    """

    mean: Floats
    low: Floats
    high: Floats
    p_value: Floats


def paired_means(changes: Floats, folds: Ints, *, interval: float = 0.95) -> PairedMeans:
    """Mean changes over pairs, each of which lies in one fold.

    Parameters
    ----------
    changes : float64 array, (P, ...)
        After - before, of each pair.
    folds : int64 array, (P,)
        0 to 31.
    interval : {0.95, 0.99}

    Raises
    ------
    UnitlensError
        If the interval is another.

    Examples
    --------
    >>> means = paired_means(np.array([1.0, 2.0] * 8), np.arange(16))
    >>> float(means.mean), float(means.low.round(3)), float(means.high.round(3))
    (1.5, 1.225, 1.775)
    """
    sums = np.zeros((FOLDS, *changes.shape[1:]))
    np.add.at(sums, folds, changes)
    pairs = np.bincount(folds, minlength=FOLDS).reshape(FOLDS, *[1] * (changes.ndim - 1))
    return means_of_sums(sums, pairs, interval=interval)


def means_of_sums(sums: Floats, pairs: Ints, *, interval: float = 0.95) -> PairedMeans:
    """The same from sums of changes by fold, (F, ...), and how many pairs each has, an array that broadcasts to them.

    Raises
    ------
    UnitlensError
        If the interval is another.
    """
    if interval not in INTERVALS:
        raise UnitlensError(f"interval is {interval!r}; it is one of {' and '.join(map(str, INTERVALS))}.")
    mean, half, p_value = mean_change(sums, pairs, interval=interval)
    return PairedMeans(mean, mean - half, mean + half, p_value)


def q_values(p_value: Floats, there: Bools | bool = True) -> Floats:
    """Benjamini and Hochberg's, over what is there and has a p-value; NaN elsewhere."""
    known, q_value = ~np.isnan(p_value) & there, np.full(np.shape(p_value), np.nan)
    q_value[known] = false_discovery(p_value[known])
    return q_value
