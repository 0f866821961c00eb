"""Are units that follow a thing told from units that follow the kind of image, and from those that follow nothing.

Each image is of a kind, which has a few concepts of its own; concepts stand at random places. Three sorts of units are
rough maps: some are raised where their concept is; some everywhere in images of a kind; the others nowhere. So the
second sort meets the concepts of its kind far more than by chance, and none of them more than other images of that
kind would show.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd
import torch

from benchmarks.evidence.planted import smooth
from benchmarks.evidence.tables import folds_of, means
from unitlens.dissection.sentences.headline import undecided_units
from unitlens.stats.chance import association, draws_for
from unitlens.stats.draws.partners import choose_partners
from unitlens.stats.draws.strata import alike
from unitlens.stats.scores import iou

CONCEPTS, QUANTILE, AREA = 24, 0.01, 0.8


class World(NamedTuple):
    """Some images: labels (N, P), 0 for none, the kind of each, (N,), and masks (N, U, P)."""

    labels: np.ndarray
    kinds: np.ndarray
    masks: np.ndarray


def world(images: int, *, kinds: int, things: int, scenes: int, nulls: int, by: float, seed: int) -> World:
    """Draw images; units that follow things come first, then those that follow kinds, then the others."""
    generator = torch.Generator().manual_seed(seed)
    kind = torch.randint(kinds, (images,), generator=generator)
    fields = smooth((images, CONCEPTS), generator)
    of_kind = torch.arange(CONCEPTS)[None] % kinds == kind[:, None]
    there = of_kind & (torch.rand(images, CONCEPTS, generator=generator) < 0.7)
    fields[~there] = -10
    top, label = fields.flatten(2).max(1)
    labels = torch.where(top > AREA, label + 1, 0)
    maps = smooth((images, things + scenes + nulls), generator).flatten(2)
    concept = torch.arange(things) % CONCEPTS + 1
    maps[:, :things] += by * (labels[:, None] == concept[:, None])
    knows = torch.arange(scenes) % kinds
    maps[:, things : things + scenes] += 2.0 * (kind[:, None] == knows)[:, :, None]
    values = maps.transpose(0, 1).flatten(1)
    level = values.topk(int(QUANTILE * values.shape[1]) + 1, dim=1).values[:, -1]
    return World(labels.numpy(), kind.numpy(), (maps > level[:, None]).numpy())


class Verdicts(NamedTuple):
    """Units whose association, concept and thing (not only its kind of image) are significant, (U,) each.

    Beside them the p-values of the last.
    """

    associated: np.ndarray
    concept: np.ndarray
    thing: np.ndarray
    context_p: np.ndarray


def judge(drawn: World, *, strata: str = "kinds", seed: int = 0, fdr: float = 0.05) -> Verdicts:
    """Test all units as a dissection does, the kinds of images being known or found by their concepts."""
    images = len(drawn.labels)
    odd = folds_of(images, seed) % 2
    hashes = np.random.default_rng(seed).permutation(images).tolist()
    present = np.stack([(drawn.labels == concept).any(1) for concept in range(1, CONCEPTS + 1)], 1)
    of_image = drawn.kinds if strata == "kinds" else alike(lambda some: present[some], images)
    draws = draws_for(fdr)
    plain = choose_partners(hashes, [0] * images, draws=draws, seed=seed)
    within = choose_partners(hashes, [0] * images, draws=draws, seed=seed, strata=of_image)
    active = np.nonzero(drawn.masks.transpose(1, 0, 2))
    units, none = drawn.masks.shape[1], np.zeros(drawn.masks.shape[1], bool)
    heldout, best = heldout_iou(active, units, drawn.labels, odd), whole(active, units, drawn.labels)
    heldout_drawn = np.stack([heldout_iou(active, units, drawn.labels[draw], odd) for draw in plain], 1)
    best_drawn = np.stack([whole(active, units, drawn.labels[draw]) for draw in [*plain, *within]], 1)
    tests = (
        association(best, best_drawn[:, : len(plain)], none),
        association(heldout, heldout_drawn, none),
        association(best, best_drawn[:, len(plain) :], none),
    )
    return Verdicts(*(test.q_value <= fdr for test in tests), tests[2].p_value)


def halves(active: tuple[np.ndarray, ...], units: int, labels: np.ndarray, odd: np.ndarray) -> np.ndarray:
    """IoU of every unit with every concept on the even and on the odd images, (2, U, C)."""
    unit, image, position = active
    met = (odd[image] * units + unit) * (CONCEPTS + 1) + labels[image, position]
    intersection = np.bincount(met, minlength=2 * units * (CONCEPTS + 1)).reshape(2, units, -1)
    concept = [np.bincount(labels[odd == half].ravel(), minlength=CONCEPTS + 1) for half in (0, 1)]
    return iou(intersection, intersection.sum(2, keepdims=True), np.stack(concept)[:, None])[:, :, 1:]


def whole(active: tuple[np.ndarray, ...], units: int, labels: np.ndarray) -> np.ndarray:
    """Best IoU of every unit, (U,)."""
    return halves(active, units, labels, np.zeros(len(labels), np.int64))[0].max(1)


def heldout_iou(active: tuple[np.ndarray, ...], units: int, labels: np.ndarray, odd: np.ndarray) -> np.ndarray:
    """IoU on each half with the concept that the other half chooses from these labels, the mean of both, (U,)."""
    of_halves = halves(active, units, labels, odd)
    return np.take_along_axis(of_halves, of_halves.argmax(2)[::-1, :, None], 2)[:, :, 0].mean(0)


def sorted_right(
    replicates: int, *, kinds: int = 4, strata: str = "kinds", images: int = 400, by: float = 1.0
) -> dict[str, float]:
    """Of 40 units that follow things, 20 that follow a kind and 20 null ones: what is called, and what is undecided.

    Units ``context`` that follow things are so for want of images: how many there are, and how many are estimated.
    """
    found: dict[str, list[float]] = {}
    sorts = {"things": slice(0, 40), "kinds": slice(40, 60), "null": slice(60, 80)}
    for seed in range(replicates):
        drawn = world(images, kinds=kinds, things=40, scenes=20, nulls=20, by=by, seed=seed)
        verdicts = judge(drawn, strata=strata, seed=seed)
        called, context = verdicts.associated & verdicts.thing, verdicts.associated & ~verdicts.thing
        for sort, units in sorts.items():
            found.setdefault(f"{sort}: associated", []).append(verdicts.associated[units].mean())
            found.setdefault(f"{sort}: called a thing", []).append(called[units].mean())
        found.setdefault("false discovery rate", []).append(called[40:].sum() / max(called.sum(), 1))
        found.setdefault("units context", []).append(context.sum())
        found.setdefault("of these follow things", []).append(context[:40].sum())
        found.setdefault("of these estimated to", []).append(undecided(verdicts.context_p[context]))
    return means(found)


def undecided(context_p: np.ndarray) -> int:
    """How many units `context` are so for want of images, as `unitlens.dissection.sentences.headline` estimates it."""
    return undecided_units(pd.DataFrame({"verdict": "context", "context_p": context_p}))


def null_rates(replicates: int, *, kinds: int, images: int = 100, units: int = 60) -> dict[str, float]:
    """All units follow only a kind: the shares of samples that call any, and of units that are called, by each test."""
    found: dict[str, list[float]] = {}
    for seed in range(replicates):
        verdicts = judge(world(images, kinds=kinds, things=0, scenes=units, nulls=0, by=0.0, seed=seed), seed=seed)
        for name, which in (("any image", verdicts.associated), ("the same kind", verdicts.thing)):
            found.setdefault(f"labels of {name}: samples that call a unit", []).append(which.any())
            found.setdefault(f"labels of {name}: units called", []).append(which.mean())
    return means(found)


def small_pools(replicates: int, *, images: int = 100, units: int = 60) -> dict[str, float]:
    """All units null, and images annotated for sets of categories some of which few images have: what is called."""
    found: dict[str, list[float]] = {}
    for seed in range(replicates):
        drawn = world(images, kinds=2, things=0, scenes=0, nulls=units, by=0.0, seed=seed)
        rng = np.random.default_rng(seed)
        annotated = rng.choice([1, 2, 3, 4, 5, 6, 7], images, p=[0.58, 0.3, 0.02, 0.02, 0.03, 0.02, 0.03])
        hashes = rng.permutation(images).tolist()
        category = np.concatenate([[-1], np.arange(CONCEPTS) % 3])
        # Masks and areas of concepts go with what an image is annotated for, as they do in merged data sets.
        gain = 1 + annotated[:, None, None] / 2
        maps = smooth((images, units), torch.Generator().manual_seed(seed)).flatten(2).numpy() * gain
        level = np.quantile(maps, 1 - QUANTILE, axis=(0, 2))
        active = np.nonzero((maps > level[:, None]).transpose(1, 0, 2))
        draws = choose_partners(hashes, annotated.tolist(), draws=20, seed=seed)
        values = [
            annotated_iou(active, units, drawn.labels, annotated, category, who) for who in [np.arange(images), *draws]
        ]
        called = association(values[0], np.stack(values[1:], 1), np.zeros(units, bool)).q_value <= 0.05
        found.setdefault("samples that call a unit", []).append(called.any())
        found.setdefault("units called", []).append(called.mean())
    return means(found)


def annotated_iou(
    active: tuple[np.ndarray, ...],
    units: int,
    labels: np.ndarray,
    annotated: np.ndarray,
    category: np.ndarray,
    partner: np.ndarray,
) -> np.ndarray:
    """Best IoU of every unit where images are given the labels of others, each judged for some categories, (U,)."""
    unit, image, position = active
    given, judged = labels[partner], annotated[partner]
    best = np.zeros(units)
    for kind in range(3):
        there = (judged >> kind & 1) > 0
        of_kind = np.where(there[:, None] & (category[given] == kind), given, 0)
        met = np.bincount(unit * (CONCEPTS + 1) + of_kind[image, position], minlength=units * (CONCEPTS + 1))
        activated = np.bincount(unit[there[image]], minlength=units)
        concept = np.bincount(of_kind.ravel(), minlength=CONCEPTS + 1)[1:]
        best = np.maximum(best, iou(met.reshape(units, -1)[:, 1:], activated[:, None], concept).max(1))
    return best
