"""What is said of single units, in planted worlds: held-out intervals, detector rules, and units of several concepts.

python benchmarks/evidence_units.py --replicates 100
"""

import argparse
from collections.abc import Iterator

import evidence_planted as planted
import numpy as np
import torch
from evidence_planted import CONCEPTS, tables, thresholds, world
from evidence_tables import fold_table, folds_of, whole_iou

from unitlens.stats.evidence import ConceptEvidence, concept_evidence
from unitlens.stats.folds import FoldTable, even_and_odd
from unitlens.stats.scores import choose

STRENGTH = torch.cat([torch.zeros(20), torch.linspace(0.5, 3.0, 20)])
"""Of 40 units, the first half of which are null."""


def mean_and_error(samples: list[np.ndarray]) -> tuple[float, float]:
    """Mean over samples and units, and its simulation error (units of one sample are not independent)."""
    means = np.array([np.mean(sample) for sample in samples])
    return float(means.mean()), float(means.std() / np.sqrt(len(means)))


def with_positions(table: FoldTable, folds: np.ndarray) -> FoldTable:
    """The table with all positions of its images as judged."""
    images = np.bincount(folds, minlength=32)[table.folds]
    return table._replace(judged=np.repeat(images[:, None] * planted.SIDE**2, CONCEPTS, 1))


def samples(replicates: int, images: int, fresh: int) -> Iterator[tuple[FoldTable, ConceptEvidence, np.ndarray]]:
    """The table of each sample, the evidence from it, and the IoU on fresh images at the same thresholds."""
    others = world(fresh, STRENGTH, seed=10**6)
    for seed in range(replicates):
        sample = world(images, STRENGTH, seed=seed)
        level = thresholds(sample.maps)
        table = fold_table(tables(sample.maps > level[:, None], sample.labels), folds_of(images, seed))
        truth = whole_iou(tables(others.maps > level[:, None], others.labels))
        yield table, concept_evidence(table), truth


def heldout_coverage(replicates: int, *, images: int, fresh: int = 4000) -> dict[str, float]:
    """How often the interval of the held-out IoU holds the IoU of the same concepts on fresh images."""
    inside, widths = [], []
    for table, evidence, truth in samples(replicates, images, fresh):
        chosen = choose(table.overlap(even_and_odd(table.folds)))
        value = truth[np.arange(len(truth)), chosen].mean(0)
        inside.append((evidence.heldout_low <= value) & (value <= evidence.heldout_high))
        widths.append(evidence.heldout_high - evidence.heldout_low)
    everything, error = mean_and_error(inside)
    return {
        "all units": everything,
        "simulation error": error,
        "null units": float(np.mean(np.array(inside)[:, :20])),
        "planted units": float(np.mean(np.array(inside)[:, 20:])),
        "median width": float(np.median(widths)),
    }


def detector_rules(
    replicates: int, *, images: int, min_iou: float = 0.04, fresh: int = 4000
) -> dict[str, tuple[float, float]]:
    """For each rule: units above the minimum whose concept's true IoU is not, and the share of the others it finds.

    A unit is truly above where the IoU of its concept (the one chosen on all images) on fresh images is.
    """
    wrong: dict[str, list[np.ndarray]] = {}
    found: dict[str, list[np.ndarray]] = {}
    for table, evidence, truth in samples(replicates, images, fresh):
        whole = table.overlap(np.ones(len(table.folds)))
        concept, unit = choose(whole), np.arange(len(truth))
        above = truth[unit, concept] > min_iou
        reached = {"plain": whole.iou()[unit, concept], "heldout": evidence.heldout, "lower": evidence.low}
        for rule, value in reached.items():
            passed = value > min_iou
            wrong.setdefault(rule, []).append((passed & ~above).sum())
            found.setdefault(rule, []).append(passed[above].mean())
    out = {}
    for rule in wrong:
        out[f"{rule}: units of 40 wrongly above"] = mean_and_error(wrong[rule])
        out[f"{rule}: share found of those truly above"] = mean_and_error(found[rule])
    return out


def counted_concepts(replicates: int, *, images: int, by: float = 4.0, units: int = 20) -> dict[str, float]:
    """Units raised where any of 0 to 3 concepts is: how many concepts their masks are said to need."""
    rng = np.random.default_rng(0)
    number = np.repeat(np.arange(4), units)
    counted = []
    for seed in range(replicates):
        sets = [rng.choice(np.arange(5, CONCEPTS), size, replace=False) for size in number]
        raised = torch.zeros(len(sets), CONCEPTS + 1)
        for unit, concepts in enumerate(sets):
            raised[unit, concepts + 1] = by
        sample = world(images, torch.zeros(len(sets)), seed=seed)
        maps = sample.maps + raised[:, sample.labels].permute(1, 0, 2)
        folds = folds_of(images, seed)
        table = fold_table(tables(maps > thresholds(maps)[:, None], sample.labels), folds)
        counted.append(concept_evidence(with_positions(table, folds)).needed.sum(1))
    all_counted = np.array(counted)
    right = {
        f"units of {k} concepts: counted right": float((all_counted == k)[:, number == k].mean()) for k in range(4)
    }
    return right | {
        "counted too many": float((all_counted > number).mean()),
        "simulation error": float((all_counted == number).mean(1).std() / np.sqrt(replicates)),
    }


def main() -> None:
    """Run all simulations, and print a line for each figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--replicates", type=int, default=100)
    parser.add_argument("--fresh", type=int, default=4000, help="Images that the truth is measured on. [4000]")
    options = parser.parse_args()
    torch.set_num_threads(1)
    n, fresh = options.replicates, options.fresh
    for images in (60, 100, 400, 1000):
        for what, value in heldout_coverage(n, images=images, fresh=fresh).items():
            print(f"held-out interval, {images} images: {what} {value:.4f}", flush=True)
        for what, (value, error) in detector_rules(n, images=images, fresh=fresh).items():
            print(f"{images} images, {what} {value:.3f} (simulation error {error:.3f})", flush=True)
        for by in (2.0, 4.0):
            for what, value in counted_concepts(max(n // 4, 2), images=images, by=by).items():
                print(f"{images} images, raised by {by:g}: {what} {value:.3f}", flush=True)


if __name__ == "__main__":
    main()
