"""Accuracy of kinds of images, before and after something is changed, with intervals. Arithmetic."""

from typing import NamedTuple

import numpy as np

from unitlens.stats.folds import FOLDS, jackknife_half_width
from unitlens.stats.intervals import change_distances, share_distances
from unitlens.stats.scores import Bools, Floats, Ints, share


class Accuracy(NamedTuple):
    """Share of images that are classified rightly, each (S,), with its 95 % interval."""

    images: Ints
    share: Floats
    low: Floats
    high: Floats


class PairedAccuracy(NamedTuple):
    """Accuracy of S kinds of images under V changes, each (V, S); ``images`` and ``before`` are (S,).

    ``low`` and ``high`` are the 95 % interval of ``effect`` = ``after`` - ``before``, on the same images.
    """

    images: Ints
    before: Floats
    after: Floats
    effect: Floats
    low: Floats
    high: Floats


def accuracy(right: Bools, kind: Ints, kinds: int, folds: Ints, *, grouped: bool) -> Accuracy:
    """Accuracy of each kind of images: Jeffreys' interval; of images that have groups, the jackknife over folds.

    Parameters
    ----------
    right : bool array, (N,)
    kind : int64 array, (N,)
        Of each image, from 0.
    kinds : int
        How many there are, S.
    folds : int64 array, (N,)
    grouped : bool
        Whether images belong together.

    Examples
    --------
    >>> found = accuracy(np.array([True, False]), np.array([0, 0]), 2, np.array([0, 1]), grouped=False)
    >>> found.images.tolist(), found.share.tolist()
    ([2, 0], [0.5, nan])
    """
    images, hits = (np.bincount(kind, weights=each, minlength=kinds).astype(np.int64) for each in (None, right))
    value = _ratio(hits, images)
    if grouped:
        low, high = (value + sign * _by_folds(right[:, None], kind, kinds, folds)[0] for sign in (-1, 1))
        return Accuracy(images, value, np.maximum(low, 0), np.minimum(high, 1))
    below, above = share_distances(hits, np.maximum(images, 1))
    return Accuracy(images, value, value - below, value + above)


def paired_accuracy(
    before: Bools, after: Bools, kind: Ints, kinds: int, folds: Ints, *, grouped: bool
) -> PairedAccuracy:
    """Accuracy of each kind of images before and after changes, with intervals of the difference.

    Parameters
    ----------
    before : bool array, (N,)
        Whether each image is classified rightly.
    after : bool array, (N, V)
        The same under each change.
    kind, kinds, folds, grouped
        As for `accuracy`. Intervals are those of `unitlens.stats.intervals.change_distances`, or of the jackknife.
    """
    one_of = np.zeros((kinds, len(kind)))
    one_of[kind, np.arange(len(kind))] = 1
    images = one_of.sum(1).astype(np.int64)
    gained = (one_of @ (after & ~before[:, None])).T
    lost = (one_of @ (~after & before[:, None])).T
    value, effect = _ratio(one_of @ before, images), _ratio(gained - lost, images)
    if grouped:
        change = after.astype(float) - before[:, None]
        half_width = _by_folds(change, kind, kinds, folds)
        return PairedAccuracy(images, value, value + effect, effect, effect - half_width, effect + half_width)
    below, above = change_distances(gained, lost, np.maximum(images, 1))
    return PairedAccuracy(images, value, value + effect, effect, effect - below, effect + above)


def _ratio(sums: Floats | Ints, images: Ints) -> Floats:
    return np.where(images > 0, share(sums, np.maximum(images, 1)), np.nan)


def _by_folds(numbers: Floats | Bools, kind: Ints, kinds: int, folds: Ints) -> Floats:
    """Half of the 95 % interval of the mean of numbers (N, V) of each kind, by the jackknife over folds, (V, S)."""
    sums, images = np.zeros((FOLDS, kinds, numbers.shape[1])), np.zeros((FOLDS, kinds), np.int64)
    np.add.at(sums, (folds, kind), numbers)
    np.add.at(images, (folds, kind), 1)
    left = images.sum(0) - images
    without_fold = share(sums.sum(0) - sums, np.maximum(left, 1)[..., None])
    filled = np.broadcast_to((images > 0)[..., None], sums.shape)
    return jackknife_half_width(without_fold, filled).T
