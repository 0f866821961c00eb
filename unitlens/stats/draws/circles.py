"""Pools of images that may exchange their labels, each in the order of the images' hashes."""

from collections.abc import Iterator, Sequence
from functools import reduce

import numpy as np
import numpy.typing as npt

from unitlens.buckets import Buckets
from unitlens.packed import Numbers
from unitlens.stats.blocks import in_blocks
from unitlens.stats.scores import AnyInts, Ints, ShortInts

_AT_ONCE = 1 << 13

_HASHED = np.dtype([("hash", np.uint64), ("image", np.int32)])


def circles_of(
    hashes: Sequence[int], annotated: Sequence[int], strata: AnyInts | None = None
) -> tuple[ShortInts, Ints]:
    """Images that may exchange their labels, pool by pool: those of one stratum, annotated for the same categories.

    Parameters
    ----------
    hashes : sequence of int
        Of the images, (N,): in each pool the images stand in this order, whatever their order in the data set.
    annotated : sequence of int
        The categories for which each image is annotated, as bits.
    strata : int array, (N,), optional
        A number for each kind of image.

    Returns
    -------
    circle : int32 array, (N,)
        Images, pool by pool.
    start : int64 array, (pools + 1,)
        Where each pool starts, and the last one ends.

    Examples
    --------
    >>> circle, start = circles_of([7, 3, 9, 1], [1, 2, 1, 2])
    >>> circle.tolist(), start.tolist()
    ([0, 2, 3, 1], [0, 2, 4])
    """
    by_hash = _by_hash(hashes if isinstance(hashes, Numbers) else Numbers(hashes))
    pool = _pool_of(annotated, strata)
    sizes = np.zeros(int(pool.max(initial=0)) + 1, np.int64)
    for block in in_blocks(len(pool), _AT_ONCE):
        number, count = np.unique(pool[block], return_counts=True)
        sizes[number] += count
    start = np.concatenate([[0], np.cumsum(sizes)])
    circle = by_hash if len(sizes) == 1 else _dealt(by_hash, pool, start)
    return circle, np.concatenate([[0], start[1:][sizes > 0]])


def _by_hash(hashes: Numbers) -> ShortInts:
    """Images in the order of their hashes; those that have one hash, as they are."""

    def pieces() -> Iterator[npt.NDArray[np.void]]:
        for block in in_blocks(len(hashes), _AT_ONCE):
            rows = np.empty(block.stop - block.start, _HASHED)
            rows["hash"] = hashes.as_array(block.start, block.stop)
            rows["image"] = np.arange(block.start, block.stop)
            yield rows

    out, place = np.empty(len(hashes), np.int32), 0
    for rows in Buckets(pieces, lambda rows: (rows["hash"] >> np.uint64(56)).astype(np.int64)):
        out[place : place + len(rows)] = rows["image"][np.argsort(rows["hash"], kind="stable")]
        place += len(rows)
    return out


def _pool_of(annotated: Sequence[int], strata: AnyInts | None) -> AnyInts:
    """The pool of each image, (N,); some numbers may have none."""
    rank = {bits: number for number, bits in enumerate(sorted(set(annotated)))}
    kinds = np.zeros(1, np.int64) if strata is None else _distinct(strata)
    pool = np.empty(len(annotated), np.min_scalar_type(len(rank) * len(kinds)))
    for block in in_blocks(len(pool), _AT_ONCE):
        of_block = np.fromiter((rank[bits] for bits in annotated[block]), np.int64, block.stop - block.start)
        if strata is not None:
            of_block += len(rank) * np.searchsorted(kinds, strata[block])
        pool[block] = of_block
    return pool


def _distinct(numbers: AnyInts) -> AnyInts:
    """The different ones of many numbers, rising."""
    blocks = (np.unique(numbers[block]) for block in in_blocks(len(numbers), _AT_ONCE))
    return reduce(np.union1d, blocks, numbers[:0])


def _dealt(images: ShortInts, pool: AnyInts, start: Ints) -> ShortInts:
    """Images pool by pool, in each as they come."""
    out, place = np.empty_like(images), start[:-1].copy()
    for block in in_blocks(len(images), _AT_ONCE):
        some = images[block]
        of_some = pool[some]
        order = np.argsort(of_some, kind="stable")
        number, first, count = np.unique(of_some[order], return_index=True, return_counts=True)
        out[np.repeat(place[number] - first, count) + np.arange(len(some))] = some[order]
        place[number] += count
    return out
