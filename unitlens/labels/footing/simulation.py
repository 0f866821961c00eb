"""How well something predicts a unit's peaks in images: their correlation, and how much that depends on the images."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from unitlens.stats.folds import FEWEST_FOLDS, effective_half_width
from unitlens.stats.scores import AnyInts, Bools, Floats

FEWEST_IMAGES = 3
"""With fewer images there is no correlation."""


class Simulation(NamedTuple):
    """Pearson's correlation of predictions with what a unit did, and the ends of its 95 % interval; NaN if unknown."""

    value: float
    low: float
    high: float


UNKNOWN = Simulation(np.nan, np.nan, np.nan)


def simulation(predicted: Floats, peaks: npt.NDArray[np.floating], folds: AnyInts, held_out: Bools) -> Simulation:
    """Correlate what a label predicts with a unit's peaks, over images that did not choose the label.

    Parameters
    ----------
    predicted, peaks : float arrays, (N,)
        Of each image; NaN where nothing is predicted, as the image is not judged.
    folds : integer array, (N,)
    held_out : bool array, (N,)
        The images that count.

    Returns
    -------
    Simulation
        The interval is that of the jackknife over folds, symmetric on Fisher's scale, artanh(r); there is none with
        fewer than 8 folds. A label that predicts the same for all images has the correlation 0; of a unit that is the
        same on all there is none.

    Examples
    --------
    >>> one = simulation(np.array([0.0, 1, 0, 1]), np.array([0.0, 2, 1, 3]), np.arange(4), np.ones(4, bool))
    >>> round(one.value, 3), one.low
    (0.894, nan)

    References
    ----------
    Bills et al., "Language models can explain neurons in language models" (2023); Oikarinen and Weng, ICML 2024: labels
    of vision networks, simulated.
    """
    counted = held_out & np.isfinite(predicted) & np.isfinite(peaks)
    images, numbers = np.unique(folds[counted], return_inverse=True)
    if counted.sum() < FEWEST_IMAGES:
        return UNKNOWN
    terms = _terms(predicted[counted], peaks[counted])
    sums = np.zeros((len(images), len(terms)))
    np.add.at(sums, numbers, terms.T)
    total = sums.sum(0)
    value = float(_correlation(total))
    if np.isnan(value) or len(images) < FEWEST_FOLDS:
        return Simulation(value, np.nan, np.nan)
    left_out = np.nan_to_num(_fisher(_correlation(total - sums)))
    half_width = float(effective_half_width(left_out, np.ones(len(images), bool)))
    middle = float(_fisher(np.asarray(value)))
    return Simulation(value, float(np.tanh(middle - half_width)), float(np.tanh(middle + half_width)))


def correlation(predicted: Floats, peaks: Floats, images: Bools) -> float:
    """Correlate what is predicted with a unit's peaks over some images, without an interval; see `simulation`."""
    counted = images & np.isfinite(predicted) & np.isfinite(peaks)
    if counted.sum() < FEWEST_IMAGES:
        return np.nan
    return float(_correlation(_terms(predicted[counted], peaks[counted]).sum(1)))


def _terms(predicted: Floats, peaks: Floats) -> Floats:
    """What each image adds to the sums of 1, x, y, x², y² and xy, (6, N), around their means."""
    # Around their means, so that the sums of squares do not cancel.
    x, y = (values.astype(np.float64) for values in (predicted, peaks))
    x, y = x - x.mean(), y - y.mean()
    return np.stack([np.ones_like(x), x, y, x * x, y * y, x * y])


_SMALL = 1e-12  # of what a variance is before its mean is taken away: rounding

_LARGEST = 1 - 1e-12  # of correlations whose artanh is finite


def _correlation(sums: Floats) -> Floats:
    """Correlation from (..., 6) sums of 1, x, y, x², y² and xy: 0 where x is constant, NaN where y is."""
    count, x, y, xx, yy, xy = np.moveaxis(sums, -1, 0)
    count = np.maximum(count, 1)
    of_x, of_y = xx - x * x / count, yy - y * y / count
    product = np.where((of_x > _SMALL * xx) & (of_y > _SMALL * yy), of_x * of_y, np.inf)
    value = np.clip((xy - x * y / count) / np.sqrt(product), -1, 1)
    return np.asarray(np.where(of_y > _SMALL * yy, value, np.nan))


def _fisher(value: Floats) -> Floats:
    return np.asarray(np.arctanh(np.clip(value, -_LARGEST, _LARGEST)))
