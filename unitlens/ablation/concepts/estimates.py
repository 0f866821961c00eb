"""From changes that are summed by concept and fold to their mean over concepts, with its interval. Arithmetic."""

from typing import NamedTuple

import numpy as np

from unitlens.ablation.responses.concept_changes import ConceptSums
from unitlens.stats.folds import FEWEST_FOLDS, jackknife_half_width, left_out_half_width
from unitlens.stats.scores import Bools, Floats, Ints


class MeanChange(NamedTuple):
    """A mean over C concepts of their mean changes.

    Attributes
    ----------
    value : float
    left_out : float64 array, (32,)
        The same without the images of each fold; NaN where a fold has none.
    """

    value: float
    left_out: Floats

    @property
    def half_width(self) -> float:
        """Half of its 95 % interval, by the jackknife over folds; NaN with fewer than 8."""
        return left_out_half_width(self.left_out)


def enough_images(images: Ints) -> Bools:
    """Which concepts are in images of enough folds, (C,), by how many images of each fold contain them, (32, C)."""
    return np.asarray((images > 0).sum(0) >= FEWEST_FOLDS)


def mean_change(images: Ints, sums: Floats) -> MeanChange:
    """Mean over concepts of the mean change in the images that contain each.

    Parameters
    ----------
    images : int64 array, (32, C)
    sums : float64 array, (32, C)

    Returns
    -------
    MeanChange

    Examples
    --------
    Two concepts, each in two images of another fold; the changes are 1 and 3, and 2 and 2:

    >>> images, sums = np.zeros((32, 2), int), np.zeros((32, 2))
    >>> images[:2], sums[:2] = 1, [[1, 2], [3, 2]]
    >>> mean_change(images, sums).value
    2.0
    """
    whole = sums.sum(0) / images.sum(0)
    left_out = ((sums.sum(0) - sums) / np.maximum(images.sum(0) - images, 1)).mean(1)
    return MeanChange(float(whole.mean()), np.where(images.any(1), left_out, np.nan))


def concept_half_widths(images: Ints, sums: Floats) -> Floats:
    """Half of the 95 % interval of the mean change of each concept alone, (C,)."""
    left_out = (sums.sum(0) - sums) / np.maximum(images.sum(0) - images, 1)
    return np.asarray(jackknife_half_width(left_out, images > 0))


def draws_half_width(sums: ConceptSums, measure: int, *, every: bool) -> float:
    """Half of the 95 % interval of a mean over all sets that could be drawn, as only some were.

    Parameters
    ----------
    sums : ConceptSums
    measure : int
    every : bool
        Whether every set there is was drawn, so that nothing is left to chance.
    """
    from scipy.special import stdtrit

    of_draw = (sums.by_draw[measure] / sums.images.sum(0)[:, None]).mean(0)
    if every:
        return 0.0
    return float(stdtrit(len(of_draw) - 1, 0.975) * of_draw.std(ddof=1) / np.sqrt(len(of_draw)))
