"""How much images of one group are alike in their changes, from counts by fold: design effects. Arithmetic.

A design effect is the factor by which a variance exceeds that of independent images: as many images tell as much as
that many fewer. Groups lie in one fold each, so that folds are independent where images are not.
"""

from typing import NamedTuple

import numpy as np

from unitlens.stats.scores import Floats, Ints, share

INDEPENDENT = np.ones(())
"""The design effect of images that are all their own group."""

UNKNOWN = np.full((), np.nan)
"""That of images in too few groups to tell: nothing has an interval."""


class DesignEffects(NamedTuple):
    """Design effects of changes of predictions; each broadcasts to (S, K), the last to (S,).

    Attributes
    ----------
    own : float64 array
        Of images of the class.
    others : float64 array
        Of images of other classes.
    all_images : float64 array
        Of the class against the rest, over all images.
    overall : float64 array
        Of right predictions, over all classes.
    """

    own: Floats = INDEPENDENT
    others: Floats = INDEPENDENT
    all_images: Floats = INDEPENDENT
    overall: Floats = INDEPENDENT


def design_effects(change: Floats | Ints, squares: Floats | Ints, images: Ints, size: Floats) -> Floats:
    """Estimate how much more the change of a mean varies between folds than independent images would let it.

    To what was seen, two changes of whole groups are added: where little was seen, the design effect is that of groups
    whose images all change alike, which is their size.

    Parameters
    ----------
    change : array, (F, S, K)
        Summed changes of images, by fold.
    squares : array, (S, K)
        Summed squares of the changes.
    images : int64 array, (F, K)
        By fold.
    size : float64 array, broadcasting to (S, K)
        Of a typical change.

    Returns
    -------
    float64 array, (S, K)
        At least 1; it makes up for few folds, too.
    """
    from scipy.special import stdtrit

    folds, n = len(images), images.sum(0)
    mean = share(change.sum(0), n)
    between = np.zeros(mean.shape)
    for of_fold, images_of_fold in zip(change, images, strict=True):
        between += (of_fold - mean * images_of_fold) ** 2
    between *= folds / (folds - 1)
    within = np.maximum(squares - mean**2 * n, 0)
    grouped, added = group_size(images), 2 * size**2
    ratio = share(between + added * grouped**2, within + added * grouped)
    few = stdtrit(folds - 1, 0.975) / stdtrit(np.inf, 0.975)
    return np.asarray(np.maximum(ratio, 1) * few**2)


def group_size(images: Ints) -> float:
    """Mean size of the groups, each as often as it has images, from how unevenly classes fill the folds, (F, K)."""
    folds, n = len(images), images.sum(0)
    squares = ((images - n / folds) ** 2).sum() / (1 - 1 / folds)
    return max(float(share(squares, n.sum())), 1.0)
