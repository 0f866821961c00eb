"""Runs to compare: units that say where left, right and top are, or nothing; and counts drawn at random."""

from functools import cache

import numpy as np

import unitlens as ul
from tests.worlds.planted import InMemory, lookup
from unitlens.stats.counts import Counts

CONCEPTS = (ul.Concept("object", 1, "left"), ul.Concept("object", 2, "right"), ul.Concept("color", 1, "top"))


def sides(images=40, size=16):
    """Left and right halves of some width, and rows at the top."""
    rng, planes = np.random.default_rng(0), []
    for _ in range(images):
        across = np.zeros((size, size), np.int64)
        across[:, : rng.integers(3, 8)], across[:, -rng.integers(3, 8) :] = 1, 2
        down = np.zeros((size, size), np.int64)
        down[: rng.integers(3, 8)] = 1
        planes.append({"object": [across], "color": [down]})
    return planes


PLANES = sides()
DATA = InMemory(PLANES, CONCEPTS)


def says(*what, seed=0, noise=0.3):
    """A network whose units say where left (0), right (1), top (2) and nothing (3) are."""
    rng = np.random.default_rng(seed)
    maps = []
    for planes in PLANES:
        across, down = planes["object"][0], planes["color"][0]
        known = [across == 1, across == 2, down == 1, np.zeros_like(down, bool)]
        maps.append([known[i] + noise * rng.random(down.shape) for i in what])
    return lookup(np.array(maps))


def dissected(*what, data=DATA, **options):
    chosen = {"quantile": 0.2, "grid": 16, "exemplars": 0} | options
    seed = chosen.pop("net_seed", 0)
    return ul.dissect(says(*what, seed=seed), "layer", data, **chosen)


def random_counts(rng, units=6, concepts=5, folds=32, categories=2, chance=None):
    concept = rng.integers(5, 60, (folds, concepts))
    chance = rng.beta(0.6, 2, (units, 1, concepts)) if chance is None else chance
    meet = rng.binomial(concept[None], chance)
    activated = meet.max(2, keepdims=True) + rng.integers(0, 40, (units, folds, categories))
    index = np.flatnonzero(meet)
    category_of = np.arange(concepts) % categories
    judged = np.full((folds, categories), 500)
    return Counts(
        category_of, index, meet.ravel()[index], activated, activated[:, :, 0].sum(1), concept, judged, 500 * folds
    )


@cache
def three_runs():
    """Left and right; right and top; nothing. Not to be changed."""
    return dissected(0, 0, 1, 3), dissected(1, 2, 2, 3, net_seed=1), dissected(3, 3, 3, 3, net_seed=2)
