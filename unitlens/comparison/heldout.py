"""The mean held-out IoU of the detectors of an entry, and how much it depends on the images."""

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from unitlens.stats.blocks import in_blocks
from unitlens.stats.counts import Counts
from unitlens.stats.folds import FEWEST_FOLDS, FOLDS, FoldTable, even_and_odd, fold_table
from unitlens.stats.recounts import Interval
from unitlens.stats.scores import SCORES, Bools, Floats, Ints, Score, choose, iou

if TYPE_CHECKING:
    from unitlens.comparison.entries import Entry

_AT_ONCE = 64  # units of which counts by fold are dense together


class MeanHeldout(NamedTuple):
    """A mean of held-out IoUs, and what it is without each of the 32 folds; NaN where a fold has no images."""

    value: float
    left_out: Floats

    def interval(self) -> Interval:
        """The mean with its 95 % interval, which stays between 0 and 1."""
        half = _half_width(self.left_out)
        if np.isnan(half):
            return Interval(self.value, half, half)
        return Interval(self.value, max(self.value - half, 0.0), min(self.value + half, 1.0))

    def minus(self, other: "MeanHeldout", *, paired: bool) -> Interval:
        """How much larger it is than that of another entry."""
        value = self.value - other.value
        if paired:
            half = _half_width(self.left_out - other.left_out)
        else:
            half = float(np.hypot(_half_width(self.left_out), _half_width(other.left_out)))
        return Interval(value, value - half, value + half)


def mean_heldout(entry: "Entry") -> MeanHeldout:
    """The mean over the detectors of an entry, of the first training; NaN without detectors or evidence."""
    unknown, score = np.full(FOLDS, np.nan), SCORES.get(entry.run.settings.score)
    detector = entry.run.table()["detector"].to_numpy(bool)
    if np.isnan(entry.heldout_iou) or score is None:
        return MeanHeldout(entry.heldout_iou, unknown)
    return MeanHeldout(entry.heldout_iou, _left_out(entry.counts, detector, score))


def _left_out(counts: Counts, chosen: Bools, score: Score) -> Floats:
    """The mean over some units without each fold, (32,); concepts stay those that all images of a half choose."""
    sums, folds = np.zeros(FOLDS), np.zeros(0, np.int64)
    for block in in_blocks(len(chosen), _AT_ONCE):
        here = np.flatnonzero(chosen[block])
        if len(here):
            table = fold_table(counts, block)
            table = table._replace(intersection=table.intersection[here], activated=table.activated[here])
            concepts = choose(table.overlap(even_and_odd(table.folds)), score)
            sums[table.folds] += _without_each(table, concepts).sum(1)
            folds = table.folds
    found = np.full(FOLDS, np.nan)
    found[folds] = sums[folds] / chosen.sum()
    return found


def _without_each(table: FoldTable, concepts: Ints) -> Floats:
    """Held-out IoU of each unit without each fold, (F, U), with the concepts that the even and the odd folds choose."""
    odd, found = table.folds % 2 == 1, np.zeros((len(table.folds), len(table.intersection)))
    whole: list[Floats] = []
    for half, chosen in ((odd, concepts[0]), (~odd, concepts[1])):
        unit = np.arange(len(chosen))
        counts = (
            table.intersection[unit, :, chosen].T * half[:, None],
            table.activated[unit, :, chosen].T * half[:, None],
            table.concept[:, chosen] * half[:, None],
        )
        found[half] = iou(*(part.sum(0) - part[half] for part in counts))
        whole.append(iou(*(part.sum(0) for part in counts)))
    found[odd] += whole[1]
    found[~odd] += whole[0]
    return found / 2


def _half_width(left_out: Floats) -> float:
    """Half of the 95 % interval: the two halves of the folds are independent, and their jackknife variances add."""
    from scipy.special import stdtrit

    halves = [half[np.isfinite(half)] for half in (left_out[::2], left_out[1::2])]
    if sum(map(len, halves)) < FEWEST_FOLDS or min(map(len, halves)) < FEWEST_FOLDS // 2:
        return float("nan")
    variance = sum((len(half) - 1) ** 2 / len(half) * np.var(half, ddof=1) for half in halves)
    return float(stdtrit(sum(map(len, halves)) - 2, 0.975) * np.sqrt(variance))
