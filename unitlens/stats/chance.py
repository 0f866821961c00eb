"""Whether units go with their labels more than with the labels of other images: shifted labels, p- and q-values."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from unitlens.stats.families import false_discovery
from unitlens.stats.scores import Bools, Floats, Ints, ShortInts

FEWEST_DRAWS, MOST_DRAWS = 8, 100

_FEWEST_OF_SIZE = 4
"""So many groups of one size exchange their labels among themselves."""

_ROUNDING = 1e-12
"""Differences of IoUs that are smaller come from rounding."""

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
    hashes: Sequence[int],
    annotated: Sequence[int],
    *,
    draws: int,
    seed: int = 0,
    groups: Ints | None = None,
    strata: Ints | None = None,
    order: Ints | None = None,
) -> ShortInts:
    """Choose, for each draw and image, the other image whose labels it is given.

    Labels are exchanged within pools: images of one stratum that are annotated for the same categories. In every draw
    the labels of each image are used once, and no draw is made twice. In a pool that is large enough for all draws no
    image gets labels of its own group, and where no two images belong together, none gets the same labels twice. In a
    pool that has no more images than there are draws, labels are put into any order, so that an image may keep its own;
    where its groups allow fewer exchanges than there are draws, all of its labels may stay where they are. A pool of
    one image, or one of which a group holds more than half, takes no part and keeps its labels.

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
    int32 array, (draws, N)
        Fewer draws where no more differ from each other. The partner of an image that takes no part is itself.

    Examples
    --------
    >>> partners([5, 1, 3, 2], [1, 1, 1, 1], draws=1, groups=np.array([0, 0, 1, 1])).tolist()
    [[2, 3, 0, 1]]
    """
    images = len(hashes)
    groups = np.arange(images) if groups is None else np.asarray(groups)
    strata = np.zeros(images, np.int64) if strata is None else np.asarray(strata)
    rng = np.random.default_rng(seed)
    pools = _pools(annotated, strata)
    exchanges = [_exchanges(pool, hashes, groups, order, draws=draws, rng=rng) for pool in pools]
    chosen = _choose_moves([1 + len(of_pool) for of_pool in exchanges], draws, rng)  # a pool may also do nothing
    out = np.empty((len(chosen), images), np.int32)
    for column, (pool, of_pool) in enumerate(zip(pools, exchanges, strict=True)):
        for draw, move in enumerate(chosen[:, column].tolist()):
            out[draw, pool] = of_pool[move - 1] if move else pool
    return out


def _choose_moves(moves: list[int], draws: int, rng: np.random.Generator) -> Ints:
    """Choose what each pool does in each draw, (draws, pools), 0 being nothing; fewer draws where no more differ.

    A pool that has as many moves as there are draws makes another one in each. One that has fewer makes any of them,
    or none, by lot: so every draw is as likely as the labels that are there, whatever the sizes of pools.
    """
    draws = int(min(draws, math.prod(moves) - 1))
    chosen = rng.integers(0, np.array(moves, np.int64), (draws, len(moves)))
    for pool, count in enumerate(moves):
        if count > draws:
            chosen[:, pool] = 1 + np.arange(draws)
    if all(count <= draws for count in moves):
        different = {tuple(0 for _ in moves): None}
        while len(different) <= draws:
            different[tuple(rng.integers(0, moves).tolist())] = None
        chosen = np.array(list(different)[1:], np.int64).reshape(draws, len(moves))
    return chosen


def _exchanges(
    members: Ints, hashes: Sequence[int], groups: Ints, order: Ints | None, *, draws: int, rng: np.random.Generator
) -> ShortInts:
    """Partners of the members of a pool, (draws, members), or as many draws as differ."""
    circle = members[np.lexsort((members, np.fromiter(hashes, np.uint64, len(hashes))[members]))]
    if order is not None:
        in_time = circle[np.argsort(np.asarray(order)[circle], kind="stable")]
        apart = max(_widest(groups[in_time]), int(np.unique(groups, return_counts=True)[1].max()))
        return _turned(in_time, members, apart, draws=draws, rng=rng)
    if len(np.unique(groups[members])) == len(members):
        if len(members) <= draws:
            return _reordered(circle, members, draws=draws, rng=rng)
        return _turned(circle, members, 1, draws=draws, rng=rng)
    return _moved_groups(circle, members, groups, draws=draws, rng=rng)


def _widest(groups: Ints) -> int:
    """From the first to the last image of a group are at most so many in this order."""
    reversed_last = np.unique(groups[::-1], return_index=True)[1]
    return int((len(groups) - 1 - reversed_last - np.unique(groups, return_index=True)[1]).max()) + 1


def _turned(circle: Ints, members: Ints, apart: int, *, draws: int, rng: np.random.Generator) -> ShortInts:
    """The images stand in a circle; each draw moves the labels a different number of places on, at least ``apart``."""
    steps = apart + rng.permutation(max(len(circle) - 2 * apart + 1, 0))[:draws]
    partner = np.full((len(steps), int(members.max()) + 1), -1, np.int32)
    for draw, step in enumerate(steps.tolist()):
        partner[draw, circle] = np.roll(circle, -step)
    return partner if len(members) == partner.shape[1] else partner[:, members]  # all images: no copy


def _reordered(circle: Ints, members: Ints, *, draws: int, rng: np.random.Generator) -> ShortInts:
    """Each draw puts the labels into another order, all of which are equally likely but the one that there is.

    A circle of few images has fewer moves than there are draws. They would have to be made more than once, and making
    none as well: then all of a pool's labels are where they were, and its units as far above chance as they are.
    """
    count, partner = len(circle), np.full(int(members.max()) + 1, -1, np.int64)
    unchanged = tuple(range(count))
    orders = dict.fromkeys([unchanged])
    while len(orders) <= min(draws, math.factorial(count) - 1):
        orders[tuple(rng.permutation(count).tolist())] = None
    partners = np.empty((len(orders) - 1, len(members)), np.int32)
    for draw, order in enumerate(list(orders)[1:]):
        partner[circle] = circle[list(order)]
        partners[draw] = partner[members]
    return partners


def _moved_groups(circle: Ints, members: Ints, groups: Ints, *, draws: int, rng: np.random.Generator) -> ShortInts:
    """Each draw puts the groups into another order, and moves the labels on within groups of about one size.

    Groups of one size exchange their labels as wholes, so that the labels of a group stay as alike as they are. Where
    sizes differ, a group's labels may go to the end of one group and the beginning of the next.
    """
    numbers = groups[circle]
    first = np.unique(numbers, return_index=True)[1]
    together = [circle[numbers == numbers[start]] for start in np.sort(first)]
    classes, exchanged = _classes_of_size(together), dict[bytes, ShortInts]()
    partner = np.full(int(members.max()) + 1, -1, np.int32)
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
    return np.array(list(exchanged.values()), np.int32).reshape(-1, len(members))


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


def _pools(annotated: Sequence[int], strata: Ints) -> list[Ints]:
    """Images of one stratum that are annotated for the same categories."""
    pools: dict[tuple[int, int], list[int]] = {}
    for image, pool in enumerate(zip(strata.tolist(), annotated, strict=True)):
        pools.setdefault(pool, []).append(image)
    return [np.array(pools[pool], np.int64) for pool in sorted(pools)]


class Association(NamedTuple):
    """How units go with their labels, compared with the labels of other images.

    Attributes
    ----------
    chance : float64 array, (U,)
        Mean over draws of the IoU with the labels of other images; NaN without a draw.
    chance_sd : float64 array, (U,)
        Standard deviation of these IoUs; NaN with fewer than two draws.
    p_value, q_value : float64 arrays, (U,)
        NaN for units that take no part.
    least : float64 array, (U,)
        The smallest IoU that would have been significant, the other units being as they are; infinite where none is.
    """

    chance: Floats
    chance_sd: Floats
    p_value: Floats
    q_value: Floats
    least: Floats


def association(value: Floats, drawn: Floats, left_out: Bools, *, fdr: float = 0.05) -> Association:
    """Rank each unit's IoU among those that masks like these reach by chance.

    Parameters
    ----------
    value : float64 array, (U,)
        An IoU of each unit, such as the best one.
    drawn : float64 array, (U, draws)
        The same with the labels of other images.
    left_out : bool array, (U,)
        Units that take no part, as silent ones.
    fdr : float
        False discovery rate, for the least IoU that would have been significant.

    Returns
    -------
    Association
        The p-value is the rank of (IoU - mean of the draws) / their standard deviation among the same number of all
        units and draws of the layer, each draw compared with the unit's other draws; the q-value is Benjamini and
        Hochberg's. With fewer than two draws every p-value is 1.

    References
    ----------
    Benjamini and Hochberg, "Controlling the false discovery rate", J. R. Statist. Soc. B 57 (1995).
    """
    draws, part = drawn.shape[1], ~left_out
    value, drawn = np.asarray(value, np.float64), np.asarray(drawn, np.float64)
    unknown = np.full(len(value), np.nan)
    chance = drawn.mean(1) if draws else unknown
    chance_sd = drawn.std(1, ddof=1) if draws > 1 else unknown
    # Units differ in what they reach by chance and in how much it varies, most of all those that are active in a
    # handful of images: each is compared with its own draws, and what comes of it is alike and one null distribution.
    # A draw is compared with the other draws, as the unit's IoU is not one of its draws. All are taken relative to the
    # first draw, so that draws that are equal differ by exactly 0, and not by how their mean is rounded.
    first = drawn[:, :1] if draws else np.zeros((len(value), 1))
    above_first, drawn_above_first = _without_rounding(value - first[:, 0]), _without_rounding(drawn - first)
    spread, spread_of_others, mean_of_others = _spreads(drawn_above_first, part)
    null = np.sort(((drawn_above_first - mean_of_others) / spread_of_others)[part].ravel())
    z = ((above_first - drawn_above_first.sum(1) / max(draws, 1)) / spread)[part]
    ties = _ROUNDING * (1 + np.abs(z))  # what is equal but for rounding counts as equal
    at_least = len(null) - np.searchsorted(null, z - ties, side="left") if draws > 1 else len(null)
    p_value, q_value, least = unknown.copy(), unknown.copy(), unknown.copy()
    p_value[part] = (1 + at_least) / (1 + len(null))  # the unit itself counts as one of the draws
    q_value[part] = false_discovery(p_value[part])
    significant = max(int((q_value[part] <= fdr).sum()), 1)
    above = int(fdr * significant / max(int(part.sum()), 1) * (1 + len(null)) + 1e-9) - 1  # of the null, at most
    needed = np.inf if above < 0 or not draws else null[-1 - above] if above < len(null) else -np.inf
    least[part] = (chance + needed * spread)[part] if np.isfinite(needed) else needed
    return Association(chance, chance_sd, p_value, q_value, least)


def _without_rounding(difference: Floats) -> Floats:
    """Differences of IoUs, 0 where they come from rounding alone."""
    return np.where(np.abs(difference) < _ROUNDING, 0.0, difference)


def _spreads(drawn: Floats, part: Bools) -> tuple[Floats, Floats, Floats]:
    """How much the draws of each unit vary, (U,), and how much all but one do, with their means, (U, draws) each.

    A few draws may be equal by accident, above all 0. So the variance is that of the unit's draws together with the
    typical one of the layer, the median, which counts as one more draw. With fewer than three draws, differences count
    as they are.
    """
    draws = drawn.shape[1]
    mean_of_others = (drawn.sum(1, keepdims=True) - drawn) / max(draws - 1, 1)
    if draws < 3:
        return np.ones(len(drawn)), np.ones(drawn.shape), mean_of_others
    squares = ((drawn - drawn.mean(1, keepdims=True)) ** 2).sum(1)
    # Leaving out one draw takes its squared distance from all draws' mean away from the sum, D / (D - 1) times.
    of_one = (drawn - drawn.mean(1, keepdims=True)) ** 2 * draws / (draws - 1)
    squares_of_others = np.maximum(squares[:, None] - of_one, 0.0)
    typical = float(np.median(squares[part] / (draws - 1))) if part.any() else 0.0
    typical = typical or float(squares[part].sum() / max(squares[part].size * (draws - 1), 1)) or np.finfo(float).tiny
    spread = np.sqrt((squares + typical) / draws)
    return spread, np.sqrt((squares_of_others + typical) / (draws - 1)), mean_of_others
