"""The definitions of a dissection as loops and sets, with no thought for speed: every fast path is compared with it."""

import math
from fractions import Fraction
from functools import cache

import numpy as np


@cache
def sample(size, cells, cell):
    """Neighbours and weight of one cell: half-pixel centres, edges repeated."""
    place = Fraction((2 * cell + 1) * size - cells, 2 * cells)
    place = min(max(place, Fraction(0)), Fraction(size - 1))
    low = math.floor(place)
    return low, min(low + 1, size - 1), float(place - low)


def upsample(map_, grid, zeros=False):
    """One map (h, w) on the label grid, in float64."""
    map_ = np.asarray(map_, np.float64)
    if zeros:
        return upsample_zeros(map_, grid)
    out = np.zeros(grid)
    for y in range(grid[0]):
        top, bottom, down = sample(map_.shape[0], grid[0], y)
        for x in range(grid[1]):
            left, right, across = sample(map_.shape[1], grid[1], x)
            above = map_[top, left] + across * (map_[top, right] - map_[top, left])
            below = map_[bottom, left] + across * (map_[bottom, right] - map_[bottom, left])
            out[y, x] = above + down * (below - above)
    return out


def upsample_zeros(map_, grid):
    """The same with zeros outside of the map."""
    h, w = map_.shape
    out = np.zeros(grid)
    for y in range(grid[0]):
        for x in range(grid[1]):
            for i in range(h):
                for j in range(w):
                    out[y, x] += float(nearness(h, grid[0], y, i) * nearness(w, grid[1], x, j)) * map_[i, j]
    return out


@cache
def nearness(size, cells, cell, place):
    """Weight of a place of a map in a cell, exactly: it falls from 1 to 0 over the distance to the next place."""
    return max(Fraction(0), 1 - abs(Fraction((2 * cell + 1) * size, 2 * cells) - Fraction(1, 2) - place))


def threshold(values, quantile):
    """The k-th largest of all values, counted from 0, k = floor(q n)."""
    values = sorted(values, reverse=True)
    return values[int(Fraction(str(quantile)) * len(values))]


def dissect(maps, labels, categories, quantile, grid, *, zeros=False):
    """Thresholds and counts.

    maps: N images of U maps (h, w). labels: for each image {category: [planes (H, W)]}, -1 not judged.
    categories: {category: [labels]}. Returns thresholds, and {(unit, category, label): (I, A, G)}.
    """
    units = len(maps[0])
    thresholds, counts = [], {}
    for unit in range(units):
        whole = [upsample(image[unit], grid, zeros) for image in maps]
        level = threshold([value for map_ in whole for value in map_.ravel()], quantile)
        thresholds.append(level)
        for category, own in categories.items():
            for label in own:
                i = a = g = 0
                for map_, planes in zip(whole, labels, strict=True):
                    for y in range(grid[0]):
                        for x in range(grid[1]):
                            here = {int(plane[y][x]) for plane in planes.get(category, ())}
                            if not here or -1 in here:
                                continue
                            active = map_[y][x] > level
                            i += active and label in here
                            a += active
                            g += label in here
                counts[unit, category, label] = (i, a, g)
    return thresholds, counts
