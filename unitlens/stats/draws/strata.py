"""Kinds of images, where nothing names them: images in which much the same concepts are present."""

from collections.abc import Callable, Iterator

import numpy as np

from unitlens.stats.blocks import in_blocks
from unitlens.stats.scores import AnyInts, Bools, Ints, ShortInts

FEWEST_ALIKE = 10
"""A stratum that is made here has so many groups of images at least, where there are as many."""

IN_MEMORY = 1 << 20
"""What is present in some images is kept while they are split, where it takes no more bytes."""

_IMAGES_AT_ONCE = 1024

ReadPresent = Callable[[ShortInts], Bools]
"""Reads whether each concept is in some images, (images, C); their numbers rise."""


def alike(read: ReadPresent, images: int, *, groups: AnyInts | None = None, fewest: int = FEWEST_ALIKE) -> ShortInts:
    """Sort images into strata by the concepts that are present in them.

    Images are split in two by one concept after another: each time by the one that is present in about half of the
    images, as long as both halves have the fewest groups. What would be a smaller stratum stays with those that are
    most like it.

    Parameters
    ----------
    read : callable
        Reads whether each concept is in some images, (images, C), where there may be too many to know it of all.
    images : int
        N.
    groups : int array, (N,), optional
        A number for each group of images that belong together; by default every image is a group of its own.
    fewest : int
        Groups of a stratum.

    Returns
    -------
    int32 array, (N,)
        The stratum of each image, from 0.

    Examples
    --------
    >>> present = np.array([[1, 0], [1, 1], [0, 0], [0, 1]]) > 0
    >>> alike(lambda images: present[images], 4, fewest=2).tolist()
    [1, 1, 0, 0]
    """
    stratum = np.zeros(images, np.int32)
    pending, done = [_Images(np.arange(images, dtype=np.int32), read)], 0
    while pending:
        some = pending.pop().in_memory()
        for concept in _by_evenness(some.count(), len(some.numbers), fewest=fewest):
            there = some.having(concept)
            if min(_count_groups(groups, some.numbers, half) for half in (there, ~there)) >= fewest:
                pending += [some.part(there), some.part(~there)]
                break
        else:
            stratum[some.numbers] = done
            done += 1
        del some  # before the next ones are read
    return stratum


def _count_groups(groups: AnyInts | None, images: ShortInts, half: Bools) -> int:
    """How many groups a half of some images has."""
    return int(half.sum()) if groups is None else len(np.unique(groups[images[half]]))


class _Images:
    """Some images, and what is present in them: in memory, or else read where it is asked for."""

    def __init__(self, numbers: ShortInts, read: ReadPresent, present: Bools | None = None) -> None:
        self.numbers, self._read, self._present = numbers, read, present

    def in_memory(self) -> "_Images":
        """The same images, with what is present in them if that is little."""
        if self._present is not None or len(self.numbers) * self._read(self.numbers[:1]).shape[1] > IN_MEMORY:
            return self
        return _Images(self.numbers, self._read, self._read(self.numbers))

    def part(self, there: Bools) -> "_Images":
        """Some of the images."""
        present = None if self._present is None else self._present[there]
        return _Images(self.numbers[there], self._read, present)

    def count(self) -> Ints:
        """In how many images each concept is, (C,)."""
        return np.asarray(sum(present.sum(0) for present in self._in_blocks()), np.int64)

    def having(self, concept: int) -> Bools:
        """Which images have a concept, (images,)."""
        return np.concatenate([present[:, concept] for present in self._in_blocks()])

    def _in_blocks(self) -> Iterator[Bools]:
        if self._present is not None:
            yield self._present
            return
        for block in in_blocks(len(self.numbers), _IMAGES_AT_ONCE):
            yield self._read(self.numbers[block])


def _by_evenness(count: Ints, images: int, *, fewest: int) -> Ints:
    """Concepts that so many images have and as many have not, those first that split them most evenly."""
    smaller = np.minimum(count, images - count)
    order = np.argsort(-smaller, kind="stable")
    splitting: Ints = order[smaller[order] >= fewest]
    return splitting
