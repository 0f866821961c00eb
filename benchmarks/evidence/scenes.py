"""The bundled network on drawn scenes: it is run once on a population of them, of which samples are evaluated.

Thresholds are the population's. The counts of a sample are computed from the active positions of each unit in each
image and the labels there, so that a unit can also be given the maps of other images: a null unit, whose maps keep
their shapes, sizes and positions.
"""

from dataclasses import dataclass

import numpy as np
import torch

from benchmarks.evidence.tables import (
    FOLDS,
    Counts,
    concept_bias,
    covered,
    discoveries,
    folds_of,
    mean_bias,
    means,
    means_of,
    table_of,
    whole_iou,
)
from unitlens.data.scenes.world import Scenes
from unitlens.dissection.counting import count_block
from unitlens.dissection.forward import Resources, observe
from unitlens.dissection.memory import BLOCK_UNITS
from unitlens.dissection.scanning import Scanner
from unitlens.dissection.settings import Settings
from unitlens.dissection.store.passes import StoredPass
from unitlens.dissection.store.temporary import temporary_store
from unitlens.models.bundled.scenes import DEFAULT_LAYER
from unitlens.models.loading import load
from unitlens.stats.chance import association, draws_for
from unitlens.stats.draws.partners import Partners, choose_partners
from unitlens.stats.thresholds import threshold_rank

LEAST_IOU = 0.001
"""Below this IoU in the population, unit and concept hardly ever meet in a sample."""


@dataclass(frozen=True)
class Population:
    """Active positions of U units in N images, and what is marked there.

    Attributes
    ----------
    position : int array
        Active positions, by unit and image.
    first : int array, (U, N + 1)
        Where those of each unit and image begin.
    planes : int16 array, (N, L, P)
        Label of every position: 0 for none, else the concept's number from 1.
    concept : int array, (N, C)
        Positions of each concept.
    """

    position: np.ndarray
    first: np.ndarray
    planes: np.ndarray
    concept: np.ndarray

    @classmethod
    def of(cls, active: tuple[np.ndarray, ...], planes: np.ndarray, concepts: int) -> "Population":
        """Take the unit, image and position of everything that is active; units that never are take no part."""
        alive, unit = np.unique(active[0], return_inverse=True)
        image, position = active[1:]
        ends = np.cumsum(np.bincount(unit * len(planes) + image, minlength=len(alive) * len(planes)))
        first = np.concatenate([[0], ends])
        rows = np.arange(len(alive))[:, None] * len(planes) + np.arange(len(planes) + 1)
        concept = [np.bincount(labels.ravel(), minlength=concepts + 1)[1 : 1 + concepts] for labels in planes]
        return cls(position[np.lexsort((position, image, unit))], first[rows], planes, np.stack(concept))

    @property
    def units(self) -> int:
        """Number of units that are not silent."""
        return len(self.first)

    @property
    def images(self) -> int:
        """Number of images."""
        return len(self.planes)

    def counts(self, maps: np.ndarray, labels: np.ndarray, part: np.ndarray | None = None) -> Counts:
        """Counts of a sample by part (fold), or in total.

        Parameters
        ----------
        maps : int array, (U, n)
            For each unit and image of the sample, the image whose map it has.
        labels : int array, (n,)
            The image whose labels it has.
        part : int array, (n,), optional
        """
        parts, part = (1, np.zeros(len(labels), np.int64)) if part is None else (FOLDS, part)
        columns = self.concept.shape[1] + 1
        start = np.take_along_axis(self.first, maps, 1)
        size = np.take_along_axis(self.first, maps + 1, 1) - start
        number = np.repeat(np.arange(size.size), size.ravel())
        offset = np.arange(len(number)) - np.repeat(np.cumsum(size.ravel()) - size.ravel(), size.ravel())
        position = self.position[start.ravel()[number] + offset]
        unit, image = np.divmod(number, len(labels))
        row = part[image] * self.units + unit
        intersection = np.zeros(parts * self.units * columns, np.int64)
        for plane in range(self.planes.shape[1]):
            intersection += np.bincount(
                row * columns + self.planes[labels[image], plane, position], minlength=len(intersection)
            )
        active = np.bincount(row, minlength=parts * self.units).reshape(parts, self.units)
        concept = np.stack([self.concept[labels[part == which]].sum(0) for which in range(parts)])
        return Counts(intersection.reshape(parts, self.units, columns)[:, :, 1:], active, concept)

    def own_maps(self, labels: np.ndarray) -> np.ndarray:
        """The maps of the images themselves, (U, n)."""
        return np.broadcast_to(labels, (self.units, len(labels)))

    def maps_of_others(self, rng: np.random.Generator, labels: np.ndarray) -> np.ndarray:
        """Maps of other images, drawn anew for each unit, (U, n)."""
        others = np.setdiff1d(np.arange(self.images), labels)
        return np.stack([rng.choice(others, len(labels), replace=len(labels) > len(others)) for _ in range(self.units)])

    def coverage(self, replicates: int, *, images: int = 400) -> dict[str, float]:
        """How often intervals contain the IoU of the population, from which images are drawn with replacement.

        Pairs of unit and concept are fixed: each unit with the concept that is best in the population, by how many
        images of a sample are expected to contain it, and each with another concept that it meets.
        """
        everyone = np.arange(self.images)
        truth = whole_iou(self.counts(self.own_maps(everyone), everyone))
        rng, best = np.random.default_rng(12345), truth.argmax(1)
        others = (truth > LEAST_IOU) & (np.arange(truth.shape[1]) != best[:, None])
        other = [(unit, rng.choice(np.flatnonzero(met))) for unit, met in enumerate(others) if met.any()]
        pairs = np.concatenate([np.stack([np.arange(self.units), best], 1), np.array(other)])
        hits = []
        for seed in range(replicates):
            drawn = np.random.default_rng(seed).integers(0, self.images, images)
            folds = folds_of(images, seed)
            table = table_of(self.counts(self.own_maps(drawn), drawn, folds), np.unique(folds))
            hits.append(covered(table, pairs, truth[pairs[:, 0], pairs[:, 1]]))
        expected = images * (self.concept > 0).mean(0)[pairs[:, 1]]
        first = np.arange(len(pairs)) < self.units
        kinds = {f"best concept, {self.units} pairs": first}
        kinds |= {
            f"of these held by {low} to {high} images": first & (expected >= low) & (expected < high)
            for low, high in ((0, 10), (10, 20), (20, 50), (50, 401))
        }
        kinds |= {f"another concept of IoU above {LEAST_IOU}": ~first}
        return means(
            {f"{name} ({kind.sum()})": [h[kind].mean() for h in hits] for name, kind in kinds.items() if kind.any()}
        )

    def false_discoveries(self, replicates: int, *, real: float, images: int = 400) -> dict[str, float]:
        """Among units most of which have maps of other images: the share of those among the significant ones."""
        found = []
        for seed in range(replicates):
            rng = np.random.default_rng(seed)
            sample = rng.choice(self.images, images, replace=False)
            null = np.ones(self.units, bool)
            null[rng.choice(self.units, round(real * self.units), replace=False)] = False
            maps = np.where(null[:, None], self.maps_of_others(rng, sample), self.own_maps(sample))
            hashes = rng.permutation(images).tolist()
            draws = choose_partners(hashes, [0] * images, draws=draws_for(0.05), seed=seed)
            best = whole_iou(self.counts(maps, sample)).max(1)
            shifted = [whole_iou(self.counts(maps, sample[draw])).max(1) for draw in draws]
            q_value = association(best, np.stack(shifted, 1), np.zeros(self.units, bool)).q_value
            found.append(discoveries(q_value, null))
        return means_of(found)

    def heldout(self, replicates: int, *, images: int = 400) -> dict[str, float]:
        """Held-out and plain IoU of a sample less the IoU of the same concepts on the rest of the population."""
        found = []
        for seed in range(replicates):
            rng = np.random.default_rng(seed)
            sample = rng.choice(self.images, images, replace=False)
            fresh = np.setdiff1d(np.arange(self.images), sample)
            folds = folds_of(images, seed)
            gaps = []
            maps = [(self.maps_of_others(rng, labels), self.own_maps(labels)) for labels in (sample, fresh)]
            for of_sample, of_fresh in zip(*maps, strict=True):
                table = table_of(self.counts(of_sample, sample, folds), np.unique(folds))
                gaps.append(concept_bias(table, whole_iou(self.counts(of_fresh, fresh))))
            found.append(np.concatenate(gaps, 1))
        return mean_bias(
            found,
            {"maps of other images": slice(0, self.units), "the network's units": slice(self.units, None)},
        )


def record_population(images: int, *, seed: int = 0) -> Population:
    """Run the bundled network once on drawn scenes."""
    net, data = load("bundled:scenes"), Scenes(images, seed=seed)
    settings = Settings(layers=(DEFAULT_LAYER,), grid=(28, 28))
    with temporary_store() as store:
        stored = observe(net, data, settings, store, resources=Resources(show=True))
        active = _active(stored, settings)
        planes = stored.labels.read(range(images))
    return Population.of(active, planes, len(data.concepts))


def _active(stored: StoredPass, settings: Settings) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Unit, image and position of everything above the thresholds."""
    (layer,) = stored.layers.values()
    quantile, grid = settings.quantile, settings.grid
    positions = stored.images * grid[0] * grid[1]
    no_partners = Partners(stored.images)
    parts = []
    for start in range(0, layer.units, BLOCK_UNITS):
        units = slice(start, min(start + BLOCK_UNITS, layer.units))
        rank = threshold_rank(quantile, positions)
        block = count_block(layer, units, stored.labels, stored.folds, settings, rank=rank, partners=no_partners)
        scan = Scanner(layer, units, grid, settings.upsampling)
        for active in scan(torch.from_numpy(block.threshold)):
            parts.append((active.unit.numpy() + start, active.image.numpy(), active.position.numpy()))
    return tuple(np.concatenate(part) for part in zip(*parts, strict=True))
