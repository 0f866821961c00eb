"""From counts by image to fold tables, and what the evidence comes to: shared by the simulations of both worlds."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from unitlens.stats.evidence import concept_evidence
from unitlens.stats.folds import FOLDS, FoldTable, even_and_odd
from unitlens.stats.scores import choose, iou


class Counts(NamedTuple):
    """Counts of N images, or of N folds: I (N, U, C), A (N, U) and G (N, C)."""

    intersection: np.ndarray
    active: np.ndarray
    concept: np.ndarray


def folds_of(images: int, seed: int) -> np.ndarray:
    """A random fold for each image, (N,)."""
    return np.random.default_rng(seed).integers(0, FOLDS, images)


def by_fold(counts: Counts, folds: np.ndarray) -> Counts:
    """Counts of images, added up by fold, (32, ...)."""
    chosen = (folds[None] == np.arange(FOLDS)[:, None]).astype(float)
    return Counts(*(np.rint(np.tensordot(chosen, part, 1)).astype(np.int64) for part in counts))


def fold_table(counts: Counts, folds: np.ndarray) -> FoldTable:
    """Counts of images whose concepts are judged everywhere, by their folds."""
    return table_of(by_fold(counts, folds), np.unique(folds))


def table_of(counts: Counts, filled: np.ndarray) -> FoldTable:
    """Counts by fold, of which only some are filled."""
    intersection, active, concept = (part[filled] for part in counts)
    concepts = intersection.shape[2]
    activated = np.repeat(active.T[:, :, None], concepts, 2)
    judged = np.full((len(filled), concepts), 1 << 40)  # that a fold is judged at all is what counts for an interval
    return FoldTable(intersection.transpose(1, 0, 2), activated, concept, judged, filled)


def whole_iou(counts: Counts) -> np.ndarray:
    """IoU over all images, (U, C)."""
    return iou(counts.intersection.sum(0), counts.active.sum(0)[:, None], counts.concept.sum(0)[None])


def covered(table: FoldTable, pairs: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Whether the intervals of pairs of unit and concept, (P, 2), contain their true IoU, (P,)."""
    out = []
    for (unit, concept), value in zip(pairs, truth, strict=True):
        pair = FoldTable(
            intersection=table.intersection[[unit]][:, :, [concept]],
            activated=table.activated[[unit]][:, :, [concept]],
            concept=table.concept[:, [concept]],
            judged=table.judged[:, [concept]],
            folds=table.folds,
        )
        found = concept_evidence(pair)
        out.append(bool(found.low[0] <= value <= found.high[0]))
    return np.array(out)


def discoveries(q_value: np.ndarray, null: np.ndarray, fdr: float = 0.05) -> dict[str, float]:
    """Of one sample: the share of null units among the significant ones, and the shares of both kinds that are."""
    significant = q_value <= fdr
    return {
        "false discovery rate": (significant & null).sum() / max(significant.sum(), 1),
        "samples that call a null unit": float((significant & null).any()),
        "share of null units significant": significant[null].mean() if null.any() else np.nan,
        "share of the others significant": significant[~null].mean() if not null.all() else np.nan,
    }


def means(found: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """Means over samples, each followed by its simulation error."""
    out = {}
    for name, values in found.items():
        out[name] = float(np.mean(values))
        out[f"{name}, simulation error"] = float(np.std(values) / np.sqrt(len(values)))
    return out


def means_of(samples: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The same of samples that have one number of each name."""
    return means({name: [sample[name] for sample in samples] for name in samples[0]})


def concept_bias(table: FoldTable, truth: np.ndarray) -> np.ndarray:
    """How much larger held-out and plain IoU are than the IoU of the same concepts on fresh images, (2, U).

    Parameters
    ----------
    table : FoldTable
    truth : float array, (U, C)
        IoU on fresh images.
    """
    unit, halves = np.arange(len(truth)), choose(table.overlap(even_and_odd(table.folds)))
    whole = table.overlap(np.ones(len(table.folds)))
    chosen = choose(whole)
    heldout = concept_evidence(table).heldout - truth[unit, halves].mean(0)
    return np.stack([heldout, whole.iou()[unit, chosen] - truth[unit, chosen]])


def mean_bias(samples: list[np.ndarray], kinds: dict[str, slice]) -> dict[str, float]:
    """Means of `concept_bias` over samples for kinds of units."""
    heldout, plain = np.stack(samples, 1)
    out = {}
    for name, kind in kinds.items():
        out[f"{name}: held-out IoU too high by"] = float(heldout[:, kind].mean())
        out[f"{name}: its simulation error"] = float(heldout[:, kind].mean(1).std() / np.sqrt(len(samples)))
        out[f"{name}: plain IoU too high by"] = float(plain[:, kind].mean())
    return out
