"""Whether units go with their labels more than with the labels of other images: shifted labels, p- and q-values."""

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from unitlens.stats.scores import Floats, Ints, share

FEWEST_DRAWS, MOST_DRAWS = 8, 100


def draws_for(fdr: float) -> int:
    """How often every image is given another one's labels, so that a lone unit can be called.

    Of U units and D draws the smallest p-value is 1 / (1 + D U). A unit that reaches it alone has the q-value
    U / (1 + D U), which lies below the false discovery rate if D is at least its inverse.

    Parameters
    ----------
    fdr : float
        In (0, 1).

    Returns
    -------
    int
        8 to 100.

    Examples
    --------
    >>> draws_for(0.05)
    20
    """
    return min(MOST_DRAWS, max(FEWEST_DRAWS, math.ceil(1 / fdr)))


def partners(hashes: list[int], annotated: list[int], *, draws: int, seed: int = 0) -> Ints:
    """For each draw and image, the other image whose labels it is given.

    Images annotated for the same categories are put in the order of their hashes, and each draw goes the same number
    of images on, in a circle; the numbers differ between draws and none is 0. So no image meets its own labels,
    none meets the same ones twice, and in every draw the labels of each image serve once. Where too few are annotated
    for the same categories for that, they join those with which they have most categories in common.

    Parameters
    ----------
    hashes : list of int
        Of the images.
    annotated : list of int
        For which categories, as bits.
    draws : int
    seed : int

    Returns
    -------
    int64 array, (draws, N)
        Fewer draws where there are fewer other images.
    """
    draws = max(0, min(draws, len(hashes) - 1))
    out = np.zeros((draws, len(hashes)), np.int64)
    rng = np.random.default_rng(seed)
    for members in _alike(annotated, least=draws + 1):
        order = np.array(sorted(members.tolist(), key=lambda image: (hashes[image], image)))
        steps = 1 + rng.permutation(max(len(order) - 1, 1))
        for draw in range(draws):
            out[draw, order] = np.roll(order, -int(steps[draw]))
    return out


def _alike(annotated: list[int], *, least: int) -> list[Ints]:
    """Images by what they are annotated for; of groups smaller than ``least``, the smallest joins another first."""
    kinds = sorted(set(annotated))
    bits = range(max(kinds, default=0).bit_length())
    has = np.array([[kind >> bit & 1 for bit in bits] for kind in kinds], np.int64)
    number = {kind: group for group, kind in enumerate(kinds)}
    group_of = np.array([number[kind] for kind in annotated], np.int64)
    size, joins = np.bincount(group_of, minlength=len(kinds)), np.arange(len(kinds))
    for _ in kinds[1:]:
        small = int(np.where(size > 0, size, len(annotated) + 1).argmin())
        if size[small] >= least:
            break
        common, besides = has @ has[small], (has != has[small]).sum(1)
        common[(size == 0) | (joins == joins[small])] = -1
        other = int((common * (len(bits) + 1) - besides).argmax())  # most in common first, then least besides
        size[other] += size[small]
        size[small] = 0
        joins[joins == small] = other
    return [np.flatnonzero(joins[group_of] == group) for group in np.flatnonzero(size)]


class Association(NamedTuple):
    """Whether units go with their labels more than with the labels of other images.

    Attributes
    ----------
    chance : float64 array, (U,)
        Mean over draws of the best IoU with the labels of other images; NaN where there is no draw.
    p_value, q_value : float64 arrays, (U,)
        NaN for silent units.
    """

    chance: Floats
    p_value: Floats
    q_value: Floats


def association(best: Floats, shifted: Floats, silent: npt.NDArray[np.bool_]) -> Association:
    """Rank each unit's IoU among what masks like these reach by chance.

    Parameters
    ----------
    best : float64 array, (U,)
        Best IoU of each unit.
    shifted : float64 array, (U, draws)
        Best IoU with the labels of other images.
    silent : bool array, (U,)
        Units that take no part.

    Returns
    -------
    Association
        The p-value is the rank of IoU / chance among the same ratio of all units and draws of the layer, each draw
        divided by the mean of the unit's other draws; the q-value is Benjamini and Hochberg's. Without a draw every
        p-value is 1.
    """
    chance = shifted.mean(1) if shifted.shape[1] else np.full(len(best), np.nan)
    others = (shifted.sum(1, keepdims=True) - shifted) / max(shifted.shape[1] - 1, 1)
    null = np.sort(_ratio(shifted, others)[~silent].ravel())
    larger = len(null) - np.searchsorted(null, _ratio(best, chance)[~silent], side="left")
    p_value, q_value = np.full(len(best), np.nan), np.full(len(best), np.nan)
    p_value[~silent] = (1 + larger) / (1 + len(null))
    q_value[~silent] = benjamini_hochberg(p_value[~silent])
    return Association(chance, p_value, q_value)


def _ratio(value: Floats, reference: Floats) -> Floats:
    return np.where(reference > 0, share(value, reference), np.where(value > 0, np.inf, 0.0))


def benjamini_hochberg(p_values: Floats) -> Floats:
    """Smallest false discovery rate at which each would be called, (n,).

    Source: Benjamini and Hochberg, "Controlling the false discovery rate", J. R. Statist. Soc. B 57 (1995).

    Examples
    --------
    >>> benjamini_hochberg(np.array([0.01, 0.02, 0.5]))
    array([0.03, 0.03, 0.5 ])
    """
    order = np.argsort(p_values)
    scaled = p_values[order] * len(p_values) / np.arange(1, len(p_values) + 1)
    out = np.empty_like(p_values)
    out[order] = np.minimum(np.minimum.accumulate(scaled[::-1])[::-1], 1.0)
    return out
