"""Whether units go with their labels more than with the labels of other images: shifted labels, p- and q-values."""

import math
from typing import NamedTuple

import numpy as np

from unitlens.stats.scores import Bools, Floats, Ints, share

FEWEST_DRAWS, MOST_DRAWS = 8, 100

_FEWEST_OF_SIZE = 4
"""So many groups of one size exchange their labels among themselves."""

_TRIES = 20
"""Orders that are drawn for each draw, until one differs from all before."""


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


def partners(
    hashes: list[int],
    annotated: list[int],
    *,
    draws: int,
    seed: int = 0,
    groups: Ints | None = None,
    strata: Ints | None = None,
    order: Ints | None = None,
) -> Ints:
    """Choose, for each draw and image, the other image whose labels it is given.

    Labels are exchanged within pools: images of one stratum that are annotated for the same categories. Pools that are
    too small merge with the most similar one of the stratum: the one with which they have most categories in common.
    Within a pool no image gets labels of its own group, no draw is made twice, and in every draw the labels of each
    image are used once. Where no two images belong together, none gets the same labels twice.

    Parameters
    ----------
    hashes : list of int
        Of the images' own names, (N,): they decide the order, whatever the order of the images in the data set.
    annotated : list of int
        The categories for which each image is annotated, as bits.
    draws : int
    seed : int
    groups : int array, (N,), optional
        A number for each group of images that belong together; their labels move together, as far as groups are of one
        size. By default every image is a group of its own.
    strata : int array, (N,), optional
        A number for each kind of image; by default all are of one kind.
    order : int array, (N,), optional
        The place of each image in time, for sequences: labels move on in that order, by at least as many images as the
        largest group has.

    Returns
    -------
    int64 array, (draws, N)
        Fewer draws where no pool allows as many. A pool that allows fewer than others, as one of two images or one of
        which a group holds more than half, takes no part: the partner of its images is -1 in every draw.

    Examples
    --------
    >>> partners([5, 1, 3, 2], [1, 1, 1, 1], draws=1, groups=np.array([0, 0, 1, 1])).tolist()
    [[2, 3, 0, 1]]
    """
    images = len(hashes)
    groups = np.arange(images) if groups is None else np.asarray(groups)
    strata = np.zeros(images, np.int64) if strata is None else np.asarray(strata)
    rng = np.random.default_rng(seed)
    drawn = []
    for stratum in np.unique(strata):
        among = np.flatnonzero(strata == stratum)
        pools = _pools([annotated[image] for image in among], groups[among], least=draws + 1)
        for members in (among[pool] for pool in pools):
            drawn.append((members, _exchanges(members, hashes, groups, order, draws=draws, rng=rng)))
    most = max((len(exchanged) for _, exchanged in drawn), default=0)
    out = np.full((most, images), -1, np.int64)
    for members, exchanged in drawn:
        if len(exchanged) == most:
            out[:, members] = exchanged
    return out


def _exchanges(
    members: Ints, hashes: list[int], groups: Ints, order: Ints | None, *, draws: int, rng: np.random.Generator
) -> Ints:
    """Partners of the members of a pool, (draws, members), or as many draws as differ."""
    circle = np.array(sorted(members.tolist(), key=lambda image: (hashes[image], image)), np.int64)
    if order is not None:
        in_time = circle[np.argsort(np.asarray(order)[circle], kind="stable")]
        apart = max(_widest(groups[in_time]), int(np.unique(groups, return_counts=True)[1].max()))
        return _turned(in_time, members, apart, draws=draws, rng=rng)
    if len(np.unique(groups[members])) == len(members):
        return _turned(circle, members, 1, draws=draws, rng=rng)
    return _moved_groups(circle, members, groups, draws=draws, rng=rng)


def _widest(groups: Ints) -> int:
    """From the first to the last image of a group are at most so many in this order."""
    reversed_last = np.unique(groups[::-1], return_index=True)[1]
    return int((len(groups) - 1 - reversed_last - np.unique(groups, return_index=True)[1]).max()) + 1


def _turned(circle: Ints, members: Ints, apart: int, *, draws: int, rng: np.random.Generator) -> Ints:
    """The images stand in a circle; each draw moves the labels a different number of places on, at least ``apart``."""
    steps = apart + rng.permutation(max(len(circle) - 2 * apart + 1, 0))[:draws]
    partner = np.full((len(steps), int(members.max()) + 1), -1, np.int64)
    for draw, step in enumerate(steps.tolist()):
        partner[draw, circle] = np.roll(circle, -step)
    return partner[:, members]


def _moved_groups(circle: Ints, members: Ints, groups: Ints, *, draws: int, rng: np.random.Generator) -> Ints:
    """Each draw puts the groups into another order, and moves the labels on within groups of about one size.

    Groups of one size exchange their labels as wholes, so that the labels of a group stay as alike as they are. Where
    sizes differ, a group's labels may go to the end of one group and the beginning of the next.
    """
    numbers = groups[circle]
    first = np.unique(numbers, return_index=True)[1]
    together = [circle[numbers == numbers[start]] for start in np.sort(first)]
    classes, exchanged = _classes_of_size(together), dict[bytes, Ints]()
    partner = np.full(int(members.max()) + 1, -1, np.int64)
    for _ in range(_TRIES * draws if classes else 0):
        for of_size in classes:
            around = np.concatenate([of_size[place] for place in rng.permutation(len(of_size))])
            starts = np.flatnonzero(np.diff(groups[around])) + 1
            largest = max(map(len, of_size))
            allowed = starts[(starts >= largest) & (starts <= len(around) - largest)]
            if not len(allowed):
                allowed = np.arange(largest, len(around) - largest + 1)
            partner[around] = np.roll(around, -int(rng.choice(allowed)))
        exchanged.setdefault(partner[members].tobytes(), partner[members])
        if len(exchanged) == draws:
            break
    return np.array(list(exchanged.values()), np.int64).reshape(-1, len(members))


def _classes_of_size(together: list[Ints]) -> list[list[Ints]]:
    """Groups of images by size; a class has 4 groups or more, none with more than half of the images.

    A class that has fewer takes in the next smaller ones, and the smallest joins the one before. No class where one
    group holds more than half of all images.
    """
    classes: list[list[Ints]] = []
    current: list[Ints] = []
    by_size: dict[int, list[Ints]] = {}
    for images in together:
        by_size.setdefault(len(images), []).append(images)
    for size in sorted(by_size, reverse=True):
        current += by_size[size]
        if len(current) >= _FEWEST_OF_SIZE and _none_holds_most(current):
            classes.append(current)
            current = []
    if current and classes:
        classes[-1] = classes[-1] + current
    elif current and _none_holds_most(current):
        classes.append(current)
    return classes


def _none_holds_most(together: list[Ints]) -> bool:
    sizes = [len(images) for images in together]
    return 2 * max(sizes) <= sum(sizes)


def _pools(annotated: list[int], groups: Ints, *, least: int) -> list[Ints]:
    """Images by the categories for which they are annotated; pools of fewer than ``least`` groups are merged."""
    kinds = sorted(set(annotated))  # one pool for each set of categories
    bits = range(max(kinds, default=0).bit_length())
    categories = np.array([[kind >> bit & 1 for bit in bits] for kind in kinds], np.int64)  # (pools, categories)
    number = {kind: pool for pool, kind in enumerate(kinds)}
    pool_of = np.array([number[kind] for kind in annotated], np.int64)
    size = np.array([len(np.unique(groups[pool_of == pool])) for pool in range(len(kinds))], np.int64)
    merged_into = np.arange(len(kinds))
    for _ in kinds[1:]:
        # The smallest pool is the next to merge; those of size 0 have already merged with another.
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
    return [np.flatnonzero(merged_into[pool_of] == pool) for pool in np.flatnonzero(size)]


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
