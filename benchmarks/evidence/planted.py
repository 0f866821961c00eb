"""Worlds whose truth is known: smooth regions of 20 concepts, and units that are raised where one of them is, or not.

Each concept is in only some images, and more likely in some part of them; activations are smooth random maps. The true
IoU is that of a population of images; samples of it are evaluated with `unitlens.stats.evidence` and
`unitlens.stats.chance`.
"""

from typing import NamedTuple

import numpy as np
import torch
from torch.nn.functional import interpolate

from benchmarks.evidence.tables import (
    Counts,
    concept_bias,
    covered,
    discoveries,
    fold_table,
    folds_of,
    mean_bias,
    means,
    means_of,
    whole_iou,
)
from unitlens.stats.chance import association, draws_for
from unitlens.stats.draws.partners import choose_partners
from unitlens.stats.scores import iou

CONCEPTS, SIDE, COARSE, QUANTILE = 20, 28, 7, 0.01


class World(NamedTuple):
    """Some images: labels (N, P), 0 for none, and maps (N, U, P)."""

    labels: torch.Tensor
    maps: torch.Tensor


def smooth(shape: tuple[int, ...], generator: torch.Generator) -> torch.Tensor:
    """Smooth random fields of unit variance, (*shape, SIDE, SIDE)."""
    coarse = torch.randn(*shape, COARSE, COARSE, generator=generator).view(-1, 1, COARSE, COARSE)
    fine = interpolate(coarse, (SIDE, SIDE), mode="bicubic").view(*shape, SIDE, SIDE)
    return fine / fine.std()


class Alike(NamedTuple):
    """Images that belong together: the group of each, (N,), and the correlation of the fields of images of a group."""

    groups: torch.Tensor
    correlation: float = 0.81

    def fields(self, count: int, generator: torch.Generator) -> torch.Tensor:
        """Smooth random fields of all images, (N, count, SIDE, SIDE)."""
        common = smooth((int(self.groups.max()) + 1, count), generator)[self.groups]
        if self.correlation == 1:
            return common
        each = smooth((len(self.groups), count), generator)
        return self.correlation**0.5 * common + (1 - self.correlation) ** 0.5 * each


def in_clusters(images: int, size: int, *, correlation: float = 0.81) -> Alike:
    """Images in groups of one size, the last of which may be smaller."""
    return Alike(torch.arange(images) // size, correlation if size > 1 else 1.0)


def with_copies(images: int, share: float) -> Alike:
    """Images of which a share are copies, each of another image."""
    groups = torch.arange(images)
    copies = round(share * images)
    groups[:copies] = groups[copies : 2 * copies]
    return Alike(torch.unique(groups, return_inverse=True)[1], 1.0)


def world(images: int, strength: torch.Tensor, *, seed: int, alike: Alike | None = None) -> World:
    """Draw images.

    Parameters
    ----------
    images : int
    strength : tensor, (U,)
        How much unit u is raised where concept u mod 20 is, in standard deviations of its noise; 0: not at all.
    seed : int
        Of the images; where concepts and units are likely does not depend on it.
    alike : Alike, optional
        Which images belong together; by default none do. Images of a group have the same concepts in about the same
        places, about the same maps, and excite units as much.
    """
    fixed, drawn = torch.Generator().manual_seed(12345), torch.Generator().manual_seed(seed)
    alike = Alike(torch.arange(images), 1.0) if alike is None else alike
    groups, number = alike.groups, int(alike.groups.max()) + 1
    place = 0.8 * smooth((CONCEPTS,), fixed)
    common = torch.linspace(0.1, 0.6, CONCEPTS)
    liking = 0.8 * smooth((len(strength),), fixed)
    fields = alike.fields(CONCEPTS, drawn) + place
    fields[(torch.rand(number, CONCEPTS, generator=drawn) > common)[groups]] = -10
    top, label = fields.flatten(2).max(1)
    labels = torch.where(top > 1.0, label + 1, 0)
    maps = (alike.fields(len(strength), drawn) + liking).flatten(2)
    maps *= 0.5 + torch.rand(number, len(strength), 1, generator=drawn)[groups]  # some images excite more than others
    target = torch.arange(len(strength)) % CONCEPTS + 1
    return World(labels, maps + strength[:, None] * (labels[:, None, :] == target[:, None]))


def tables(masks: torch.Tensor, labels: torch.Tensor) -> Counts:
    """Counts by image."""
    hot = torch.nn.functional.one_hot(labels, CONCEPTS + 1)[..., 1:].float()
    intersection = torch.bmm(masks.float(), hot)
    return Counts(*(part.long().numpy() for part in (intersection, masks.sum(2), hot.sum(1))))


def thresholds(maps: torch.Tensor) -> torch.Tensor:
    """Each unit's, (U,)."""
    values = maps.transpose(0, 1).flatten(1)
    return values.topk(int(QUANTILE * values.shape[1]) + 1, dim=1).values[:, -1]


def coverage(
    replicates: int,
    *,
    images: int = 400,
    population: int = 8000,
    clusters_of: int = 1,
    by_cluster: bool = True,
) -> dict[str, float]:
    """How often the intervals contain the IoU of the population, for fixed pairs of unit and concept.

    Where images come in clusters, folds are drawn for each cluster or, for comparison, for each image.
    """
    strength = torch.linspace(0.5, 4.0, CONCEPTS)
    everyone = world(population, strength, seed=10**6)
    hits: dict[str, list[float]] = {"all pairs": [], "rare": [], "common": []}
    for seed in range(replicates):
        alike = in_clusters(images, clusters_of)
        sample = world(images, strength, seed=seed, alike=alike)
        level = thresholds(sample.maps)
        folds = folds_of(images, seed)[alike.groups] if by_cluster else folds_of(images, seed)
        table = fold_table(tables(sample.maps > level[:, None], sample.labels), folds)
        truth = own_iou(everyone, level)
        inside = covered(table, np.stack([np.arange(CONCEPTS)] * 2, 1), truth)
        hits["all pairs"].append(inside.mean())
        hits["rare"].append(inside[:5].mean())
        hits["common"].append(inside[-5:].mean())
    return means(hits)


def own_iou(everyone: World, level: torch.Tensor) -> np.ndarray:
    """IoU of each unit with the concept of its own number, (U,)."""
    out = []
    for unit, threshold in enumerate(level):
        mask, there = everyone.maps[:, unit] > threshold, everyone.labels == unit + 1
        out.append(float((mask & there).sum() / (mask | there).sum()))
    return np.array(out)


def false_discoveries(
    replicates: int,
    *,
    planted: float,
    by: float = 0.7,
    images: int = 400,
    units: int = 100,
    alike: Alike | None = None,
    grouped: bool = True,
) -> dict[str, float]:
    """Among units of which a share is planted: how many significant ones are null, and how many planted are found.

    Where images belong together, labels move by groups or, for comparison, by images.
    """
    strength = torch.zeros(units)
    strength[: round(planted * units)] = by
    found = []
    for seed in range(replicates):
        sample = world(images, strength, seed=seed, alike=alike)
        masks = sample.maps > thresholds(sample.maps)[:, None]
        active, labels = np.nonzero(masks.transpose(0, 1).numpy()), sample.labels.numpy()
        hashes = np.random.default_rng(seed).permutation(images).tolist()
        groups = alike.groups.numpy() if alike is not None and grouped else None
        draws = choose_partners(hashes, [0] * images, draws=draws_for(0.05), seed=seed, groups=groups)
        best, *shifted = (best_iou(active, units, labels[draw]) for draw in [np.arange(images), *draws])
        q_value = association(best, np.stack(shifted, 1), np.zeros(units, bool)).q_value
        found.append(discoveries(q_value, strength.numpy() == 0))
    return means_of(found)


def best_iou(active: tuple[np.ndarray, ...], units: int, labels: np.ndarray) -> np.ndarray:
    """Best IoU of each unit with any concept, (U,), from the unit, image and position of what is active."""
    unit, image, position = active
    met = unit * (CONCEPTS + 1) + labels[image, position]
    intersection = np.bincount(met, minlength=units * (CONCEPTS + 1)).reshape(units, -1)[:, 1:]
    concept = np.bincount(labels.ravel(), minlength=CONCEPTS + 1)[1:]
    return iou(intersection, np.bincount(unit, minlength=units)[:, None], concept).max(1)


def heldout(replicates: int, *, images: int = 400, fresh: int = 3000) -> dict[str, float]:
    """Held-out IoU less the IoU of the same concepts on fresh images, and the same for the plain IoU of the concept."""
    strength = torch.cat([torch.zeros(20), torch.linspace(0.5, 3.0, 20)])
    others = world(fresh, strength, seed=10**6)
    found = []
    for seed in range(replicates):
        sample = world(images, strength, seed=seed)
        level = thresholds(sample.maps)
        table = fold_table(tables(sample.maps > level[:, None], sample.labels), folds_of(images, seed))
        found.append(concept_bias(table, whole_iou(tables(others.maps > level[:, None], others.labels))))
    return mean_bias(found, {"null units": slice(0, 20), "planted units": slice(20, 40)})
