"""Kinds of images, where nothing names them: images in which much the same concepts are present."""

import numpy as np

from unitlens.stats.scores import Bools, Ints

FEWEST_ALIKE = 10
"""A stratum that is made here has so many groups of images at least, where there are as many."""


def alike(present: Bools, groups: Ints, *, fewest: int = FEWEST_ALIKE) -> Ints:
    """Sort images into strata by the concepts that are present in them.

    Images are split in two by one concept after another: each time by the one that is present in about half of the
    images, as long as both halves have the fewest groups. What would be a smaller stratum stays with those that are
    most like it.

    Parameters
    ----------
    present : bool array, (N, C)
        Whether each concept is in each image.
    groups : int array, (N,)
        A number for each group of images that belong together.
    fewest : int
        Groups of a stratum.

    Returns
    -------
    int64 array, (N,)
        The stratum of each image, from 0.

    Examples
    --------
    >>> alike(np.array([[1, 0], [1, 1], [0, 0], [0, 1]]) > 0, np.arange(4), fewest=2).tolist()
    [1, 1, 0, 0]
    """
    stratum = np.zeros(len(present), np.int64)
    pending, done = [np.arange(len(present))], 0
    while pending:
        images = pending.pop()
        for concept in _by_evenness(present[images]):
            there = present[images, concept]
            halves = [images[~there], images[there]]
            if min(len(np.unique(groups[half])) for half in halves) >= fewest:
                pending += halves[::-1]
                break
        else:
            stratum[images] = done
            done += 1
    return stratum


def _by_evenness(present: Bools) -> Ints:
    """Concepts that are in some images and not in others, those first that split them most evenly."""
    count = present.sum(0)
    smaller = np.minimum(count, len(present) - count)
    order = np.argsort(-smaller, kind="stable")
    splitting: Ints = order[smaller[order] > 0]
    return splitting
