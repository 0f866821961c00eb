"""How well each word fits each unit: three scores of images' and words' vectors, arrays in and arrays out.

S is images x words: the cosine of each image's vector with each word's.
"""

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating]
Ints = npt.NDArray[np.integer]

STEEPNESS = 10.0
"""What cosines are multiplied by, before the softmax over words."""
FIRST, LAST = 0.998, 0.97
"""How likely the image that drives a unit most shows what the unit looks for, and towards what that falls."""
LEAST = 1e-7
"""Is added to a probability before its logarithm."""
_AT_ONCE = 1 << 24


def word_probabilities(similarity: Floats) -> Floats:
    """How likely each word is of each image, among the words: the softmax of 10 S over words, (N, W)."""
    steep = STEEPNESS * similarity.astype(np.float64)
    raised = np.exp(steep - steep.max(1, keepdims=True))
    return np.asarray(raised / raised.sum(1, keepdims=True))


def soft_wpmi(probabilities: Floats, exemplars: Ints) -> Floats:
    """Soft pointwise mutual information of each unit with each word, (U, W).

    ``log p(word | unit) - log p(word)``, where a word's probability given a unit is the product over the unit's
    exemplars of ``1 + s (p - 1)``: s falls from 0.998 at the first towards 0.97 behind the last, p is the word's
    probability of the image. That of a word alone is the mean over units.

    Parameters
    ----------
    probabilities : float array, (N, W)
        From `word_probabilities`.
    exemplars : int array, (U, K)
        The images of highest activation of each unit, the highest first; without any, all scores are NaN.

    References
    ----------
    Oikarinen and Weng, "CLIP-Dissect: Automatic description of neuron representations in deep vision networks", ICLR
    2023, section 3.3; constants as in the authors' code.
    """
    units, count = exemplars.shape
    if not count:
        return np.full((units, probabilities.shape[1]), np.nan)
    sure = FIRST - np.arange(count)[:, None] / count * (FIRST - LAST)
    given = np.empty((units, probabilities.shape[1]))
    step = max(1, _AT_ONCE // (count * probabilities.shape[1]))
    for start in range(0, units, step):
        some = probabilities[exemplars[start : start + step]]  # (some, K, W)
        given[start : start + step] = np.log(1 + sure * (some - 1) + LEAST).sum(1)
    return given - _log_mean(given)


def _log_mean(given: Floats) -> Floats:
    """The logarithm of the mean of exponentials over units, (1, W)."""
    highest = given.max(0, keepdims=True)
    return np.asarray(highest + np.log(np.exp(given - highest).mean(0, keepdims=True)))


def correlations(similarity: Floats, peaks: Floats) -> Floats:
    """Pearson's correlation over images of each unit's peak with each word's cosine, (U, W).

    It is 0 where one is constant, and NaN without images.

    Parameters
    ----------
    similarity : float array, (N, W)
    peaks : float array, (N, U)
        Largest activation of each image.
    """
    if not len(peaks):
        return np.full((peaks.shape[1], similarity.shape[1]), np.nan)
    return np.asarray(_standardised(peaks).T @ _standardised(similarity))


def _standardised(values: Floats) -> Floats:
    """Columns of mean 0 and length 1; a constant one is 0."""
    centred = values.astype(np.float64) - values.mean(0, dtype=np.float64)
    length = np.sqrt((centred**2).sum(0))
    spread = length > 1e-6 * np.sqrt(len(values)) * np.abs(values).max(0, initial=0)
    return np.where(spread, centred / np.where(length > 0, length, 1), 0.0)


def mean_crops(crops: Floats) -> Floats:
    """Mean of (U, K, D) vectors of each unit's crops, (U, D); NaN without crops."""
    units, count, size = crops.shape
    return np.asarray(crops.mean(1)) if count else np.full((units, size), np.nan)


def above_others(crops: Floats, words: Floats) -> Floats:
    """Mean cosine of each unit's crops with each word, less the mean of the other units', (U, W).

    Parameters
    ----------
    crops : float array, (U, D)
        The mean vector of each unit's crops; their vectors have length 1.
    words : float array, (W, D)
        Of length 1.
    """
    cosines, units = crops.astype(np.float64) @ words.T.astype(np.float64), len(crops)
    others = (cosines.sum(0, keepdims=True) - cosines) / max(units - 1, 1)
    return np.asarray(cosines - others)
