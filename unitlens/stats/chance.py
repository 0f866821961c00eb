"""Whether units go with their labels more than with the labels of other images: shifted labels, p- and q-values."""

import math
from typing import NamedTuple

import numpy as np

from unitlens.stats.scores import Bools, Floats, Ints, share

FEWEST_DRAWS, MOST_DRAWS = 8, 100


def draws_for(fdr: float) -> int:
    """Choose how often every image is given another image's labels, so that a single unit can be significant.

    With U units and D draws the smallest p-value is 1 / (1 + D U). A unit that reaches it alone has the q-value
    U / (1 + D U), which lies below the false discovery rate if D is at least its inverse.

    Parameters
    ----------
    fdr : float
        The false discovery rate, in (0, 1).

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
    """Choose, for each draw and image, the other image whose labels it is given.

    Images annotated for the same categories form a group. Groups that are too small merge with the most similar one:
    the one with which they have most categories in common. Within a group no image gets its own labels, none gets the
    same ones twice, and in every draw the labels of each image are used once.

    Parameters
    ----------
    hashes : list of int
        Of the images, (N,): they decide the order, whatever the order of the images in the data set.
    annotated : list of int
        The categories for which each image is annotated, as bits.
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
    for members in _groups(annotated, least=draws + 1):
        # The group stands in a circle; each draw moves the labels a different number of places on, never 0.
        circle = np.array(sorted(members.tolist(), key=lambda image: (hashes[image], image)))
        steps = 1 + rng.permutation(max(len(circle) - 1, 1))
        for draw in range(draws):
            out[draw, circle] = np.roll(circle, -int(steps[draw]))
    return out


def _groups(annotated: list[int], *, least: int) -> list[Ints]:
    """Images by the categories for which they are annotated; groups of fewer than ``least`` images are merged."""
    kinds = sorted(set(annotated))  # one group for each set of categories
    bits = range(max(kinds, default=0).bit_length())
    categories = np.array([[kind >> bit & 1 for bit in bits] for kind in kinds], np.int64)  # (groups, categories)
    number = {kind: group for group, kind in enumerate(kinds)}
    group_of = np.array([number[kind] for kind in annotated], np.int64)
    size, merged_into = np.bincount(group_of, minlength=len(kinds)), np.arange(len(kinds))
    for _ in kinds[1:]:
        # The smallest group is the next to merge; those of size 0 have already merged with another.
        smallest = int(np.where(size > 0, size, len(annotated) + 1).argmin())
        if size[smallest] >= least:
            break
        common = categories @ categories[smallest]
        different = (categories != categories[smallest]).sum(1)
        common[(size == 0) | (merged_into == merged_into[smallest])] = -1
        # Most categories in common decide, then fewest that only one of the two has.
        target = int((common * (len(bits) + 1) - different).argmax())
        size[target] += size[smallest]
        size[smallest] = 0
        merged_into[merged_into == smallest] = target
    return [np.flatnonzero(merged_into[group_of] == group) for group in np.flatnonzero(size)]


class Association(NamedTuple):
    """How units go with their labels, compared with the labels of other images.

    Attributes
    ----------
    chance : float64 array, (U,)
        Mean over draws of the best IoU with the labels of other images; NaN without a draw.
    chance_sd : float64 array, (U,)
        Standard deviation of these IoUs; NaN with fewer than two draws.
    p_value, q_value : float64 arrays, (U,)
        NaN for silent units.
    """

    chance: Floats
    chance_sd: Floats
    p_value: Floats
    q_value: Floats


def association(best: Floats, shifted: Floats, silent: Bools) -> Association:
    """Rank each unit's IoU among those that masks like these reach by chance.

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

    References
    ----------
    Benjamini and Hochberg, "Controlling the false discovery rate", J. R. Statist. Soc. B 57 (1995).
    """
    from scipy.stats import false_discovery_control

    draws = shifted.shape[1]
    unknown = np.full(len(best), np.nan)
    chance = shifted.mean(1) if draws else unknown
    chance_sd = shifted.std(1, ddof=1) if draws > 1 else unknown
    # Units differ in what they reach by chance, so that each is divided by its own; ratios of all units are then alike
    # and form one null distribution. A draw is divided by the other draws, as the unit's IoU is not part of its chance.
    mean_of_others = (shifted.sum(1, keepdims=True) - shifted) / max(draws - 1, 1)
    null = np.sort(_ratio(shifted, mean_of_others)[~silent].ravel())
    at_least = len(null) - np.searchsorted(null, _ratio(best, chance)[~silent], side="left")
    p_value, q_value = np.full(len(best), np.nan), np.full(len(best), np.nan)
    p_value[~silent] = (1 + at_least) / (1 + len(null))  # the unit itself counts as one of the draws
    q_value[~silent] = false_discovery_control(p_value[~silent])
    return Association(chance, chance_sd, p_value, q_value)


def _ratio(value: Floats, reference: Floats) -> Floats:
    """Value / reference; beside a reference of 0, infinite or 0 as the value is positive or 0."""
    return np.where(reference > 0, share(value, reference), np.where(value > 0, np.inf, 0.0))
