"""How much means and ratios change, with intervals and p-values by the jackknife over folds."""

from typing import NamedTuple

import numpy as np

from unitlens.stats.folds import FEWEST_FOLDS, jackknife_error
from unitlens.stats.scores import Bools, Floats, Ints, share


class Change(NamedTuple):
    """A change of something measured, paired on the same images; all arrays of one shape.

    Attributes
    ----------
    before, after, effect : float64 arrays
        ``effect`` = ``after`` - ``before``.
    low, high : float64 arrays
        The 95 % interval of the effect; NaN with fewer than 8 filled folds.
    p_value : float64 array
        Of no effect, from the same; 1 where nothing changed.
    """

    before: Floats
    after: Floats
    effect: Floats
    low: Floats
    high: Floats
    p_value: Floats


def mean_change(sums: Floats, images: Ints, *, interval: float = 0.95) -> tuple[Floats, Floats, Floats]:
    """The mean of numbers over images, half of its interval, and a p-value of its being 0, from sums by fold.

    Parameters
    ----------
    sums : float64 array, (F, ...)
        Sums over the images of each fold.
    images : int64 array, (F,) or broadcasting to (F, ...)
        How many the sums are over.
    interval : float
        How sure the interval is.

    Returns
    -------
    mean, half_width, p_value : float64 arrays, (...)
        By the jackknife that leaves out one fold at a time, with fewer degrees of freedom where a few folds carry the
        variance (`unitlens.stats.folds.jackknife_error`); the last two are NaN with fewer than 8 filled folds. Where
        nothing changed, the p-value is 1.
    """
    images = np.broadcast_to(images.reshape(images.shape + (1,) * (sums.ndim - images.ndim)), sums.shape)
    filled, n = images > 0, images.sum(0)
    mean = share(sums.sum(0), n)
    left_out = np.where(filled, share(sums.sum(0) - sums, n - images), 0.0)
    return mean, *_jackknifed(mean, left_out, filled, interval=interval)


def ratio_change(before: Floats, before_of: Floats, after: Floats, after_of: Floats, filled: Bools) -> Change:
    """The change of a ratio of sums over images, from sums by fold.

    Parameters
    ----------
    before, before_of, after, after_of : float64 arrays, (F, ...)
        Numerators and denominators of each fold, which broadcast. Of a mean the denominators are numbers of images.
    filled : bool array, (F,)
        Which folds have images.

    Returns
    -------
    Change
        All (...); a ratio to nothing is NaN.
    """
    parts = np.broadcast_arrays(before, before_of, after, after_of)
    there = filled.reshape(-1, *[1] * (parts[0].ndim - 1)) & ((parts[1] != 0) | (parts[3] != 0))
    whole = [part.sum(0) for part in parts]
    rest = [total - part for total, part in zip(whole, parts, strict=True)]
    values = [np.where(whole[k + 1] != 0, share(whole[k], whole[k + 1]), np.nan) for k in (0, 2)]
    # where all of a ratio lies in one fold, nothing is left without it: it stands as if it did not change
    left_out = np.where(there, share(rest[2], rest[3]) - share(rest[0], rest[1]), 0.0)
    effect = values[1] - values[0]
    half_width, p_value = _jackknifed(effect, left_out, there)
    p_value = np.where(np.isnan(effect), np.nan, p_value)
    return Change(values[0], values[1], effect, effect - half_width, effect + half_width, p_value)


def _jackknifed(value: Floats, left_out: Floats, filled: Bools, *, interval: float = 0.95) -> tuple[Floats, Floats]:
    """Half of the interval of a value, and a p-value of its being 0, from the same without each fold."""
    from scipy.special import stdtr, stdtrit

    error, carrying = jackknife_error(left_out, filled)
    freedom = np.maximum(carrying, 2) - 1
    varies = error > 0
    t = np.where(varies, np.abs(value) / np.where(varies, error, 1.0), np.inf)
    p_value = np.where(value == 0, 1.0, 2 * stdtr(freedom, -t))
    enough = filled.sum(0) >= FEWEST_FOLDS
    half_width = stdtrit(freedom, (1 + interval) / 2) * error
    return np.where(enough, half_width, np.nan), np.where(enough, p_value, np.nan)
