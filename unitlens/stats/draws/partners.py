"""Whose labels images are given in the draws: chosen once, and computed of the images for which it is asked."""

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from unitlens.nameless import WaitingRows
from unitlens.stats.blocks import in_blocks
from unitlens.stats.draws.circles import circles_of
from unitlens.stats.scores import AnyInts, Ints, ShortInts

_FEWEST_OF_SIZE = 4
"""So many groups of one size exchange their labels among themselves."""

_TRIES = 20
"""Orders that are drawn for each draw, until one differs from all before."""

_AT_ONCE = 1 << 13
"""Images whose partners are computed together where those of all are asked for."""


@dataclass(frozen=True, eq=False)
class Partners:
    """For each draw and image, the image whose labels it is given: its own, where it takes no part.

    Computed where it is asked for: an array of all would have draws x N numbers.

    Attributes
    ----------
    images : int
        N.
    parts : tuple of Moves
        Draws of one kind, then those of the next.
    """

    images: int
    parts: "tuple[Moves, ...]" = ()

    @classmethod
    def joined(cls, one: "Partners", other: "Partners") -> "Partners":
        """The draws of one kind, then those of another, of the same images."""
        return cls(one.images, one.parts + other.parts)

    def __len__(self) -> int:
        """Number of draws."""
        return sum(len(part.moves) for part in self.parts)

    def of(self, images: range | AnyInts) -> ShortInts:
        """The partners of some images in each draw, (draws, images)."""
        return np.concatenate([np.zeros((0, len(images)), np.int32), *(part.of(images) for part in self.parts)])

    def __iter__(self) -> Iterator[ShortInts]:
        """The partners of all images, (N,), draw by draw."""
        for draw in self.in_blocks():
            yield np.concatenate([np.zeros(0, np.int32), *(partners for _, partners in draw)])

    def in_blocks(self) -> "Iterator[Iterator[tuple[slice, ShortInts]]]":
        """The same, of some images after others."""
        for part in self.parts:
            for draw in range(len(part.moves)):
                yield self._of_images(part.only(draw))

    def _of_images(self, draw: "Moves") -> Iterator[tuple[slice, ShortInts]]:
        for block in in_blocks(self.images, _AT_ONCE):
            yield block, draw.of(range(block.start, block.stop))[0]


@dataclass(frozen=True, eq=False)
class Moves:
    """Draws in which the labels of images move on within circles.

    Attributes
    ----------
    circle : WaitingRows
        Images, circle by circle, N numbers of 32 bits.
    place : WaitingRows
        Where each image stands there.
    start : int64 array, (circles + 1,)
        Where each circle starts, and the last one ends.
    moves : integer array, (draws, circles)
        In a circle that turns, how many places the labels move on; in one that has tables, which of them is taken.
    table_of : int64 array, (circles,)
        Where the tables of a circle start; -1 where it turns.
    tables : integer array
        The first table of a circle says of each of its places that labels stay; every further one from which place they
        come.
    """

    circle: WaitingRows
    place: WaitingRows
    start: Ints
    moves: AnyInts
    table_of: Ints
    tables: AnyInts

    def only(self, draw: int) -> "Moves":
        """One draw alone."""
        moves = self.moves[draw : draw + 1]
        return Moves(self.circle, self.place, self.start, moves, self.table_of, self.tables)

    def of(self, images: range | AnyInts) -> ShortInts:
        """The partners of some images in each draw, (draws, images)."""
        place = self.place.read(images, np.int64)
        circle = np.searchsorted(self.start, place, side="right") - 1
        start = self.start[circle]
        offset, size = place - start, self.start[circle + 1] - start
        moved = self.moves[:, circle].astype(np.int64)
        in_table = np.flatnonzero(self.table_of[circle] >= 0)
        from_tables = moved[:, in_table] * size[in_table] + offset[in_table] + self.table_of[circle[in_table]]
        moved += offset
        moved -= np.where(moved >= size, size, 0)
        moved[:, in_table] = self.tables[from_tables]
        return self.circle.read((start + moved).ravel(), np.int32).reshape(moved.shape)


def choose_partners(
    hashes: Sequence[int],
    annotated: Sequence[int],
    *,
    draws: int,
    seed: int = 0,
    groups: AnyInts | None = None,
    strata: AnyInts | None = None,
    order: Ints | None = None,
) -> Partners:
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
    Partners
        Fewer draws where no more differ from each other. The partner of an image that takes no part is itself.

    Examples
    --------
    >>> partners = choose_partners([5, 1, 3, 2], [1, 1, 1, 1], draws=1, groups=np.array([0, 0, 1, 1]))
    >>> partners.of(range(4)).tolist()
    [[2, 3, 0, 1]]
    """
    if not len(hashes):
        return Partners(0)
    rng = np.random.default_rng(seed)
    circle, start = circles_of(hashes, annotated, strata)
    of_images = _Images(
        groups, order, 1 if groups is None else int(np.unique(groups, return_counts=True)[1].max(initial=0))
    )
    largest = int(np.diff(start).max(initial=0))
    steps = np.zeros((len(start) - 1, 1 + draws), np.min_scalar_type(max(largest, draws)))  # a pool may also do nothing
    exchanges, tables = np.zeros(len(steps), np.int64), dict[int, AnyInts]()
    for number, ends in enumerate(itertools.pairwise(start.tolist())):
        pool = _exchanges(circle[slice(*ends)], of_images, draws=draws, rng=rng)
        circle[slice(*ends)], exchanges[number] = pool.circle, pool.exchanges
        moves = 1 + np.arange(pool.exchanges) if pool.steps is None else pool.steps
        steps[number, 1 : 1 + len(moves)] = moves
        if pool.exchanges and pool.steps is None:
            tables[number] = pool.tables
    chosen = _choose_moves((1 + exchanges).tolist(), draws, rng)
    if not len(chosen):
        return Partners(len(hashes))
    return Partners(len(hashes), (_as_moves(_Pools(circle, start, steps, exchanges, tables), chosen),))


class _Images(NamedTuple):
    """Groups and order in time of all images, (N,), and how many the largest group has."""

    groups: AnyInts | None
    order: Ints | None
    largest_group: int


class _Pool(NamedTuple):
    """Images that may exchange labels, in a circle, and the exchanges there are: steps of a turn, or else tables."""

    circle: AnyInts
    steps: AnyInts | None
    tables: AnyInts

    @property
    def exchanges(self) -> int:
        return len(self.tables) if self.steps is None else len(self.steps)


class _Pools(NamedTuple):
    """All pools: their circles, and the exchanges of each, of which number 0 is none."""

    circle: ShortInts
    start: Ints
    steps: AnyInts
    exchanges: Ints
    tables: dict[int, AnyInts]


def _as_moves(pools: _Pools, chosen: AnyInts) -> Moves:
    """What is chosen in each draw, (draws, pools), for all images; pools that make no exchange are one circle."""
    part, still = np.flatnonzero(pools.exchanges), np.flatnonzero(pools.exchanges == 0)
    circle, sizes = pools.circle, np.diff(pools.start)
    if len(still):
        ends = [slice(*pools.start[number : number + 2].tolist()) for number in [*part, *still]]
        circle = np.concatenate([circle[of_pool] for of_pool in ends])
    moves = np.zeros((len(chosen), len(part) + (len(still) > 0)), pools.steps.dtype)
    moves[:, : len(part)] = np.take_along_axis(pools.steps[part], chosen[:, part].T.astype(np.int64), 1).T
    table_of, size = np.full(moves.shape[1], -1, np.int64), 0
    tables: list[AnyInts] = [np.zeros(0, np.uint8)]
    for column, number in enumerate(part.tolist()):
        if number in pools.tables:
            table, table_of[column] = pools.tables[number], size
            tables += [np.arange(table.shape[1], dtype=table.dtype), table.ravel()]
            size += (1 + len(table)) * table.shape[1]
    start = np.concatenate([[0], np.cumsum(sizes[part]), [len(circle)] if len(still) else []]).astype(np.int64)
    return Moves(*_waiting(circle), start, moves, table_of, np.concatenate(tables))


def _waiting(circle: ShortInts) -> tuple[WaitingRows, WaitingRows]:
    """Images in an order, and the place of each there, in files."""
    place = np.empty_like(circle)
    place[circle] = np.arange(len(circle), dtype=np.int32)
    rows = WaitingRows((), np.int32), WaitingRows((), np.int32)
    for waiting, numbers in zip(rows, (circle, place), strict=True):
        waiting.append(numbers)
    return rows


def _choose_moves(moves: list[int], draws: int, rng: np.random.Generator) -> AnyInts:
    """Choose what each pool does in each draw, (draws, pools), 0 being nothing; fewer draws where no more differ.

    A pool that has as many moves as there are draws makes another one in each. One that has fewer makes any of them,
    or none, by lot: so every draw is as likely as the labels that are there, whatever the sizes of pools.
    """
    draws, of_pool = int(min(draws, math.prod(moves) - 1)), np.array(moves, np.int64)
    chosen = np.zeros((draws, len(moves)), np.min_scalar_type(max(moves, default=0)))
    for of_draw in chosen:  # one after another: numbers of 64 bits for all of them would be too much
        of_draw[:] = rng.integers(0, of_pool)
    for pool in np.flatnonzero(of_pool > draws).tolist():
        chosen[:, pool] = 1 + np.arange(draws)
    if (of_pool <= draws).all():
        different = {tuple(0 for _ in moves): None}
        while len(different) <= draws:
            different[tuple(rng.integers(0, moves).tolist())] = None
        chosen = np.array(list(different)[1:], np.int64).reshape(draws, len(moves))
    return chosen


def _exchanges(circle: ShortInts, of_images: _Images, *, draws: int, rng: np.random.Generator) -> _Pool:
    """The exchanges of the images of a pool, as many as there are draws, or as differ."""
    groups, order = of_images.groups, of_images.order
    if order is not None:
        in_time = circle[np.argsort(np.asarray(order)[circle], kind="stable")]
        apart = 1 if groups is None else max(_widest(groups[in_time]), of_images.largest_group)
        return _turned(in_time, apart, draws=draws, rng=rng)
    if groups is not None and len(np.unique(groups[circle])) < len(circle):
        return _moved_groups(circle, groups[circle], draws=draws, rng=rng)
    if len(circle) <= draws:
        return _reordered(circle, draws=draws, rng=rng)
    return _turned(circle, 1, draws=draws, rng=rng)


def _widest(groups: AnyInts) -> int:
    """From the first to the last image of a group are at most so many in this order."""
    reversed_last = np.unique(groups[::-1], return_index=True)[1]
    return int((len(groups) - 1 - reversed_last - np.unique(groups, return_index=True)[1]).max()) + 1


def _turned(circle: AnyInts, apart: int, *, draws: int, rng: np.random.Generator) -> _Pool:
    """The images stand in a circle; each draw moves the labels a different number of places on, at least ``apart``."""
    steps = np.arange(max(len(circle) - 2 * apart + 1, 0), dtype=np.int32)
    rng.shuffle(steps)
    return _Pool(circle, apart + steps[:draws], np.zeros((0, len(circle)), np.uint8))


def _reordered(circle: AnyInts, *, draws: int, rng: np.random.Generator) -> _Pool:
    """Each draw puts the labels into another order, all of which are equally likely but the one that there is.

    A circle of few images has fewer moves than there are draws. They would have to be made more than once, and making
    none as well: then all of a pool's labels are where they were, and its units as far above chance as they are.
    """
    count = len(circle)
    orders = dict.fromkeys([tuple(range(count))])
    while len(orders) <= min(draws, math.factorial(count) - 1):
        orders[tuple(rng.permutation(count).tolist())] = None
    tables = np.array(list(orders)[1:], np.min_scalar_type(count)).reshape(-1, count)
    return _Pool(circle, None, tables)


def _moved_groups(circle: AnyInts, groups: AnyInts, *, draws: int, rng: np.random.Generator) -> _Pool:
    """Each draw puts the groups into another order, and moves the labels on within groups of about one size.

    Groups of one size exchange their labels as wholes, so that the labels of a group stay as alike as they are. Where
    sizes differ, a group's labels may go to the end of one group and the beginning of the next.

    Parameters
    ----------
    circle, groups : int arrays
        The images of the pool in their order, and the group of each.
    """
    by_group = np.split(np.argsort(groups, kind="stable"), np.flatnonzero(np.diff(np.sort(groups))) + 1)
    together = sorted(by_group, key=lambda images: int(images[0]))
    classes, tables = _classes_of_size(together), list[AnyInts]()
    table = np.zeros(len(circle), np.min_scalar_type(len(circle)))
    for _ in range(_TRIES * draws if classes else 0):
        for of_size in classes:
            around = np.concatenate([of_size[place] for place in rng.permutation(len(of_size))])
            starts = np.flatnonzero(np.diff(groups[around])) + 1
            largest = max(map(len, of_size))
            allowed = starts[(starts >= largest) & (starts <= len(around) - largest)]
            if not len(allowed):
                allowed = np.arange(largest, len(around) - largest + 1)
            table[around] = np.roll(around, -int(rng.choice(allowed)))
        if not any(np.array_equal(table, other) for other in tables):
            tables.append(table.copy())
        if len(tables) == draws:
            break
    return _Pool(circle, None, np.array(tables, table.dtype).reshape(-1, len(circle)))


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
