"""Does the evidence tell the truth? Simulations in worlds whose truth is known.

    python benchmarks/evidence.py --replicates 200

Pictures hold regions of 20 concepts: smooth random shapes, each concept in only some pictures and with a place of its
own where it is more likely. Units say smooth random maps, some of them raised where a concept is. A population of
pictures tells the true IoU; samples of it are dissected with `unitlens.evidence` and `unitlens.chance`.
"""

import argparse
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.nn.functional import interpolate

from unitlens.chance import association, draws_for, partners
from unitlens.evidence import FoldTable, label_evidence
from unitlens.scores import choose, iou

CONCEPTS, SIDE, COARSE, QUANTILE, FOLDS = 20, 28, 7, 0.01, 32


class World(NamedTuple):
    """Some pictures: labels (N, P), 0 for none, and maps (N, U, P)."""

    labels: torch.Tensor
    maps: torch.Tensor


def smooth(shape: tuple[int, ...], generator: torch.Generator) -> torch.Tensor:
    """Smooth random fields of unit variance, (*shape, SIDE, SIDE)."""
    coarse = torch.randn(*shape, COARSE, COARSE, generator=generator).view(-1, 1, COARSE, COARSE)
    fine = interpolate(coarse, (SIDE, SIDE), mode="bicubic").view(*shape, SIDE, SIDE)
    return fine / fine.std()


def world(pictures: int, strength: torch.Tensor, *, seed: int) -> World:
    """Draw pictures.

    Parameters
    ----------
    pictures : int
    strength : tensor, (U,)
        How much unit u is raised where concept u mod 20 is, in standard deviations of its noise; 0: not at all.
    seed : int
        Of the pictures; concepts and units keep their places whatever it is.
    """
    fixed, drawn = torch.Generator().manual_seed(12345), torch.Generator().manual_seed(seed)
    place = 0.8 * smooth((CONCEPTS,), fixed)
    common = torch.linspace(0.1, 0.6, CONCEPTS)
    liking = 0.8 * smooth((len(strength),), fixed)
    fields = smooth((pictures, CONCEPTS), drawn) + place
    fields[torch.rand(pictures, CONCEPTS, generator=drawn) > common] = -10
    top, label = fields.flatten(2).max(1)
    labels = torch.where(top > 1.0, label + 1, 0)
    maps = (smooth((pictures, len(strength)), drawn) + liking).flatten(2)
    maps *= 0.5 + torch.rand(pictures, len(strength), 1, generator=drawn)  # some pictures excite more than others
    target = torch.arange(len(strength)) % CONCEPTS + 1
    return World(labels, maps + strength[:, None] * (labels[:, None, :] == target[:, None]))


def tables(masks: torch.Tensor, labels: torch.Tensor) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Counts by picture: I (N, U, C), A (N, U), G (N, C)."""
    hot = torch.nn.functional.one_hot(labels, CONCEPTS + 1)[..., 1:].float()
    together = torch.bmm(masks.float(), hot)
    return tuple(part.long().numpy() for part in (together, masks.sum(2), hot.sum(1)))


def thresholds(maps: torch.Tensor) -> torch.Tensor:
    """Each unit's, (U,)."""
    values = maps.transpose(0, 1).flatten(1)
    return values.topk(int(QUANTILE * values.shape[1]) + 1, dim=1).values[:, -1]


def fold_table(counts: tuple[np.ndarray, np.ndarray, np.ndarray], folds: np.ndarray) -> FoldTable:
    together, active, concept = counts
    number = np.unique(folds)
    chosen = (folds[None] == number[:, None]).astype(np.int64)
    a = np.einsum("fn,nu->uf", chosen, active)
    judged = np.repeat((chosen.sum(1) * SIDE * SIDE)[:, None], CONCEPTS, 1)
    return FoldTable(
        np.einsum("fn,nuc->ufc", chosen, together),
        np.repeat(a[:, :, None], CONCEPTS, 2),
        chosen @ concept,
        judged,
        number,
    )


def whole_iou(counts: tuple[np.ndarray, np.ndarray, np.ndarray]) -> np.ndarray:
    """IoU over all pictures, (U, C)."""
    return iou(counts[0].sum(0), counts[1].sum(0)[:, None], counts[2].sum(0)[None])


def coverage(replicates: int, *, pictures: int = 400, population: int = 8000) -> dict[str, float]:
    """How often the intervals hold the IoU of the population, for pairs of unit and concept that were fixed."""
    strength = torch.linspace(0.5, 4.0, CONCEPTS)
    everyone = world(population, strength, seed=10**6)
    hits: dict[str, list[np.ndarray]] = {"all pairs": [], "rare": [], "common": []}
    for seed in range(replicates):
        sample = world(pictures, strength, seed=seed)
        level = thresholds(sample.maps)
        table = fold_table(tables(sample.maps > level[:, None], sample.labels), folds_of(pictures, seed))
        truth = own_iou(everyone, level)
        inside = np.array([held(table, unit, truth[unit]) for unit in range(CONCEPTS)])
        hits["all pairs"].append(inside)
        hits["rare"].append(inside[:5])
        hits["common"].append(inside[-5:])
    return {name: float(np.mean(values)) for name, values in hits.items()}


def own_iou(everyone: World, level: torch.Tensor) -> np.ndarray:
    """IoU of each unit with the concept of its own number, (U,)."""
    out = []
    for unit, threshold in enumerate(level):
        mask, there = everyone.maps[:, unit] > threshold, everyone.labels == unit + 1
        out.append(float((mask & there).sum() / (mask | there).sum()))
    return np.array(out)


def held(table: FoldTable, unit: int, truth: float) -> bool:
    """Whether the interval of a unit with the concept of its own number holds a value."""
    pair = FoldTable(
        table.intersection[[unit]][:, :, [unit]],
        table.activated[[unit]][:, :, [unit]],
        *(part[:, [unit]] for part in (table.concept, table.judged)),
        table.folds,
    )
    found = label_evidence(pair)
    return bool(found.low[0] <= truth <= found.high[0])


def folds_of(pictures: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, FOLDS, pictures)


def false_discoveries(
    replicates: int, *, planted: float, by: float = 0.7, pictures: int = 400, units: int = 100
) -> dict[str, float]:
    """Among units of which a share is planted: how many of those called are null, and how many planted are found."""
    strength = torch.zeros(units)
    strength[: int(planted * units)] = by
    rates, found, called = [], [], []
    for seed in range(replicates):
        sample = world(pictures, strength, seed=seed)
        masks = sample.maps > thresholds(sample.maps)[:, None]
        best = whole_iou(tables(masks, sample.labels)).max(1)
        hashes = np.random.default_rng(seed).permutation(pictures).tolist()
        shifted = [
            whole_iou(tables(masks, sample.labels[draw])).max(1)
            for draw in partners(hashes, [0] * pictures, draws=draws_for(0.05), seed=seed)
        ]
        q = association(best, np.stack(shifted, 1), np.zeros(units, bool)).q_value <= 0.05
        null = strength.numpy() == 0
        rates.append((q & null).sum() / max(q.sum(), 1))
        called.append((q & null).sum() / null.sum())
        found.append(q[~null].mean() if planted else np.nan)
    return {
        "false discovery rate": float(np.mean(rates)),
        "its simulation error": float(np.std(rates) / np.sqrt(replicates)),
        "share of null units called": float(np.mean(called)),
        "share of planted units found": float(np.mean(found)),
    }


def heldout(replicates: int, *, pictures: int = 400, fresh: int = 3000) -> dict[str, float]:
    """Held-out IoU less the IoU of the same labels on fresh pictures, and the same for the plain IoU of the label."""
    strength = torch.cat([torch.zeros(20), torch.linspace(0.5, 3.0, 20)])
    others = world(fresh, strength, seed=10**6)
    gaps, flattered = [], []
    for seed in range(replicates):
        sample = world(pictures, strength, seed=seed)
        level = thresholds(sample.maps)
        folds = folds_of(pictures, seed)
        table = fold_table(tables(sample.maps > level[:, None], sample.labels), folds)
        truth = whole_iou(tables(others.maps > level[:, None], others.labels))
        unit = np.arange(len(strength))
        even = table.folds % 2 == 0
        labels = choose(table.over(np.stack([even, ~even]).astype(float)))
        gaps.append(label_evidence(table).heldout - truth[unit, labels].mean(0))
        whole = table.over(np.ones(len(table.folds)))
        label = choose(whole)
        flattered.append(whole.iou()[unit, label] - truth[unit, label])
    gap, plain = np.array(gaps), np.array(flattered)
    out = {}
    for name, some in (("null units", slice(0, 20)), ("planted units", slice(20, 40))):
        out[f"{name}: held-out IoU too high by"] = float(gap[:, some].mean())
        out[f"{name}: its simulation error"] = float(gap[:, some].mean(1).std() / np.sqrt(replicates))
        out[f"{name}: plain IoU too high by"] = float(plain[:, some].mean())
    return out


def main() -> None:
    """Run all simulations, and print a line for each figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--replicates", type=int, default=200)
    options = parser.parse_args()
    torch.set_num_threads(1)
    n = options.replicates
    simulations: dict[str, Callable[[], dict[str, Any]]] = {
        "95 % intervals cover, 400 pictures": lambda: coverage(n),
        "95 % intervals cover, 100 pictures": lambda: coverage(n, pictures=100),
        "all units null": lambda: false_discoveries(n, planted=0.0),
        "half of the units planted": lambda: false_discoveries(n, planted=0.5),
        "held-out": lambda: heldout(n),
    }
    for name, simulate in simulations.items():
        for what, value in simulate().items():
            print(f"{name}: {what} {value:.4f}", flush=True)


if __name__ == "__main__":
    main()
