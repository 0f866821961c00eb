"""What is said of single units, in planted worlds: held-out intervals, detector rules, and units of several concepts.

python -m benchmarks.evidence.units --replicates 100
"""

import argparse
from collections.abc import Iterator

import numpy as np
import torch

from benchmarks.evidence import planted
from benchmarks.evidence.planted import CONCEPTS, tables, thresholds, world
from benchmarks.evidence.tables import fold_table, folds_of, whole_iou
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


def of_samples(
    replicates: int, *, images: int, min_iou: float = 0.04, fresh: int = 4000
) -> dict[str, tuple[float, float]]:
    """Find how often the interval of the held-out IoU holds the truth, and what each rule for detectors does.

    Returned are means over samples, with their simulation errors. The truth is the IoU of the same concepts on fresh
    images: for the interval of the concepts chosen on both halves, for the rules of the concept chosen on all images.
    A unit is wrongly above the minimum where its value is above and the truth is not.
    """
    found: dict[str, list[np.ndarray]] = {}
    for table, evidence, truth in samples(replicates, images, fresh):
        unit = np.arange(len(truth))
        value = truth[unit, choose(table.overlap(even_and_odd(table.folds)))].mean(0)
        inside = (evidence.heldout_low <= value) & (value <= evidence.heldout_high)
        kinds = {"all units": slice(None), "null units": slice(0, 20), "planted units": slice(20, 40)}
        for kind, units in kinds.items():
            found.setdefault(f"held-out interval covers, {kind}", []).append(inside[units])
        whole = table.overlap(np.ones(len(table.folds)))
        concept = choose(whole)
        above = truth[unit, concept] > min_iou
        reached = {"plain": whole.iou()[unit, concept], "heldout": evidence.heldout, "lower": evidence.low}
        for rule, reach in reached.items():
            passes = (reach > min_iou) & (reached["plain"] > min_iou)
            found.setdefault(f"{rule}: units of 40 wrongly above", []).append((passes & ~above).sum())
            found.setdefault(f"{rule}: share found of those truly above", []).append(passes[above])
    return {what: mean_and_error(values) for what, values in found.items()}


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
    parser.add_argument("--images", type=int, nargs="+", default=[60, 100, 400, 1000])
    parser.add_argument("--fresh", type=int, default=4000, help="Images that the truth is measured on. [4000]")
    parser.add_argument("--side", type=int, default=14, help="Cells of a map's side. [14]")
    options = parser.parse_args()
    torch.set_num_threads(1)
    planted.SIDE, planted.COARSE = options.side, max(options.side // 3, 3)
    for images in options.images:
        for what, (value, error) in of_samples(options.replicates, images=images, fresh=options.fresh).items():
            print(f"{images} images, {what} {value:.3f} (simulation error {error:.3f})", flush=True)
        for by in (2.0, 4.0):
            for what, value in counted_concepts(max(options.replicates // 4, 2), images=images, by=by).items():
                print(f"{images} images, raised by {by:g}: {what} {value:.3f}", flush=True)


if __name__ == "__main__":
    main()
