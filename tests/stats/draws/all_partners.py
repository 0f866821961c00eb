"""Partners as one array of all draws and images, which `unitlens.stats.draws.partners` computes where it is asked."""

import math

import numpy as np

from unitlens.stats.draws.partners import _classes_of_size

_TRIES = 20


def all_partners(hashes, annotated, *, draws, seed=0, groups=None, strata=None, order=None):
    """The partner of each image in each draw, (draws, N), from an array for each pool and exchange."""
    images = len(hashes)
    groups = np.arange(images) if groups is None else np.asarray(groups)
    strata = np.zeros(images, np.int64) if strata is None else np.asarray(strata)
    rng = np.random.default_rng(seed)
    pools = {}
    for image, pool in enumerate(zip(strata.tolist(), annotated, strict=True)):
        pools.setdefault(pool, []).append(image)
    pools = [np.array(pools[pool]) for pool in sorted(pools)]
    exchanges = [_exchanges(pool, np.array(hashes, np.uint64), groups, order, draws, rng) for pool in pools]
    chosen = _choose_moves([1 + len(of_pool) for of_pool in exchanges], draws, rng)
    out = np.empty((len(chosen), images), int)
    for column, (pool, of_pool) in enumerate(zip(pools, exchanges, strict=True)):
        for draw, move in enumerate(chosen[:, column].tolist()):
            out[draw, pool] = of_pool[move - 1] if move else pool
    return out


def _choose_moves(moves, draws, rng):
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


def _exchanges(members, hashes, groups, order, draws, rng):
    circle = members[np.lexsort((members, hashes[members]))]
    if order is not None:
        in_time = circle[np.argsort(np.asarray(order)[circle], kind="stable")]
        places = [np.flatnonzero(groups[in_time] == group) for group in np.unique(groups[in_time])]
        apart = max(*(of_group[-1] - of_group[0] + 1 for of_group in places), *np.bincount(groups))
        return _turned(in_time, members, apart, draws, rng)
    if len(np.unique(groups[members])) < len(members):
        return _moved_groups(circle, members, groups, draws, rng)
    if len(members) <= draws:
        return _reordered(circle, members, draws, rng)
    return _turned(circle, members, 1, draws, rng)


def _turned(circle, members, apart, draws, rng):
    steps = apart + rng.permutation(max(len(circle) - 2 * apart + 1, 0))[:draws]
    partner = np.full((len(steps), int(members.max()) + 1), -1)
    for draw, step in enumerate(steps.tolist()):
        partner[draw, circle] = np.roll(circle, -step)
    return partner[:, members]


def _reordered(circle, members, draws, rng):
    count, partner = len(circle), np.full(int(members.max()) + 1, -1)
    orders = dict.fromkeys([tuple(range(count))])
    while len(orders) <= min(draws, math.factorial(count) - 1):
        orders[tuple(rng.permutation(count).tolist())] = None
    partners = np.empty((len(orders) - 1, count), int)
    for draw, order in enumerate(list(orders)[1:]):
        partner[circle] = circle[list(order)]
        partners[draw] = partner[members]
    return partners


def _moved_groups(circle, members, groups, draws, rng):
    numbers = groups[circle]
    together = [circle[numbers == number] for number in dict.fromkeys(numbers.tolist())]
    classes, exchanged = _classes_of_size(together), {}
    partner = np.full(int(members.max()) + 1, -1)
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
    return np.array(list(exchanged.values()), int).reshape(-1, len(members))
