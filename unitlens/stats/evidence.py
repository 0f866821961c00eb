"""How sure a label is: intervals, stability and a held-out check, all from counts by fold."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from unitlens.stats.scores import Floats, Ints, Overlap, Score, choose, score_function, share

FEWEST_FOLDS = 8
"""With fewer filled folds there is no interval."""

RESAMPLES = 200

AT_ONCE = 1 << 22
"""Numbers of one intermediate array."""


class FoldTable(NamedTuple):
    """Counts of some units by filled fold.

    Attributes
    ----------
    intersection, activated : int64 arrays, (U, F, C)
    concept, judged : int64 arrays, (F, C)
    folds : int64 array, (F,)
        The numbers of the folds, of which some may be empty and absent.
    """

    intersection: Ints
    activated: Ints
    concept: Ints
    judged: Ints
    folds: Ints

    def over(self, weights: npt.NDArray[np.floating]) -> Overlap:
        """The 2 x 2 tables over folds that count ``weights`` times, (..., F) -> (..., U, C)."""
        units, folds, concepts = self.intersection.shape

        def summed(counts: Ints) -> Floats:
            flat = counts.transpose(1, 0, 2).reshape(folds, -1).astype(np.float64)
            return np.asarray(weights @ flat).reshape(*weights.shape[:-1], units, concepts)

        concept, judged = ((weights @ counts)[..., None, :] for counts in (self.concept, self.judged))
        return Overlap(summed(self.intersection), summed(self.activated), concept, judged)

    def units(self, some: slice) -> "FoldTable":
        """The table of some of the units."""
        return self._replace(intersection=self.intersection[some], activated=self.activated[some])


class LabelEvidence(NamedTuple):
    """Evidence for the label of each unit.

    Attributes
    ----------
    low, high : float64 arrays, (U,)
        95 % interval of its IoU; NaN with fewer than 8 folds in which its category is judged.
    stability : float64 array, (U,)
        Share of 200 resamples of folds in which it comes first; NaN where counts at one level cannot say.
    rivals : bool array, (U, C)
        Concepts that the mask meets and whose difference in IoU to it has an interval that contains 0, itself
        included; none where there is no interval.
    heldout : float64 array, (U,)
        IoU on one half of the folds of the label chosen on the other, both ways, averaged; NaN without two halves.
    """

    low: Floats
    high: Floats
    stability: Floats
    rivals: npt.NDArray[np.bool_]
    heldout: Floats


class Labels(NamedTuple):
    """Labels that something else than the counts at the threshold has chosen.

    Attributes
    ----------
    whole : int64 array, (U,)
        On all folds.
    halves : int64 array, (2, U)
        On the even and on the odd folds.
    """

    whole: Ints
    halves: Ints


def label_evidence(
    table: FoldTable, score: str = "iou", *, seed: int = 0, labels: Labels | None = None
) -> LabelEvidence:
    """Evidence for the labels of some units.

    Parameters
    ----------
    table : FoldTable
    score : str
        What chooses the label; a key of `unitlens.stats.scores.SCORES`.
    seed : int
        Of the resamples of folds.
    labels : Labels, optional
        In place of what the score chooses; there is no stability then.

    Returns
    -------
    LabelEvidence
    """
    units, folds, concepts = table.intersection.shape
    step = max(1, AT_ONCE // (max(folds, RESAMPLES // 4) * max(concepts, 1)))
    parts = []
    for first in range(0, units, step):
        some = slice(first, first + step)
        own = None if labels is None else Labels(labels.whole[some], labels.halves[:, some])
        chooser = None if labels is not None else score_function(score)
        parts.append(_label_evidence(table.units(some), chooser, own, seed))
    return LabelEvidence(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def _label_evidence(table: FoldTable, score: Score | None, labels: Labels | None, seed: int) -> LabelEvidence:
    folds, filled = len(table.folds), table.judged > 0
    whole = table.over(np.ones(folds))
    label = choose(whole, score) if labels is None else labels.whole
    estimate, left_out = whole.iou(), table.over(1.0 - np.eye(folds)).iou()
    own = np.take_along_axis(estimate, label[:, None], 1)[:, 0]
    own_left_out = np.take_along_axis(left_out, label[None, :, None], 2)
    half = interval_half_width(own_left_out[..., 0], filled[:, label])
    either = filled[:, label][:, :, None] | filled[:, None, :]
    rivals = own[:, None] - estimate <= interval_half_width(own_left_out - left_out, either)
    rivals &= (estimate > 0) & np.isfinite(half)[:, None]
    np.put_along_axis(rivals, label[:, None], np.isfinite(half)[:, None], 1)
    stability = np.full(len(label), np.nan) if labels is not None else _stability(table, label, score, seed)
    low, high = iou_interval(own, own_left_out[..., 0], filled[:, label])
    heldout = heldout_iou(table, score, chosen=None if labels is None else labels.halves)
    return LabelEvidence(low, high, stability, rivals, heldout)


def interval_half_width(left_out: Floats, filled: npt.NDArray[np.bool_] | None = None) -> Floats:
    """Half of the 95 % interval of a statistic, by the jackknife that leaves out one fold at a time.

    Parameters
    ----------
    left_out : float64 array, (F, ...)
        The statistic without each fold.
    filled : bool array, (F, ...), optional
        Whether the fold says anything of it; all do.

    Returns
    -------
    float64 array, (...)
        Student's t with F - 1 degrees of freedom times the jackknife's standard error, F the number of filled folds;
        NaN with fewer than 8.
    """
    from scipy.special import stdtrit

    filled = np.ones(left_out.shape, bool) if filled is None else filled
    folds = filled.sum(0)
    mean = np.where(filled, left_out, 0.0).sum(0) / np.maximum(folds, 1)
    deviation = np.where(filled, left_out - mean, 0.0)
    error = np.sqrt((folds - 1) / np.maximum(folds, 1) * (deviation**2).sum(0))
    student = stdtrit(np.arange(1, len(left_out) + 1), 0.975)[np.maximum(folds, 2) - 2]  # slow: once for each number
    return np.where(folds >= FEWEST_FOLDS, student * error, np.nan)


def iou_interval(value: Floats, left_out: Floats, filled: npt.NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """95 % interval of IoUs, by the jackknife that leaves out one fold at a time.

    Two things make it hold more often than the IoU plus and minus `interval_half_width`, most of all where few images
    hold the concept: it is taken on the scale of log(IoU / (1 - IoU)), as small IoUs scatter further upwards than
    downwards; and where few folds say nearly all, Student's t has fewer degrees of freedom, by the kurtosis of what the
    folds say (that of a normal distribution, 3, leaves all of them).

    Parameters
    ----------
    value : float64 array, (U,)
    left_out : float64 array, (F, U)
        The IoU without each fold.
    filled : bool array, (F, U)
        Whether the fold is judged for the concept.

    Returns
    -------
    low, high : float64 arrays, (U,)
        NaN with fewer than 8 filled folds.
    """
    from scipy.special import expit, logit, stdtrit

    folds = filled.sum(0)
    mean = np.where(filled, left_out, 0.0).sum(0) / np.maximum(folds, 1)
    square = np.where(filled, left_out - mean, 0.0) ** 2
    total = square.sum(0)
    say = np.minimum(3 * share(total**2, (square**2).sum(0)), folds)
    error = np.sqrt((folds - 1) / np.maximum(folds, 1) * total)
    half = stdtrit(np.maximum(say, 2) - 1, 0.975) * error
    inside = (value > 0) & (value < 1)
    slope = np.where(inside, value * (1 - value), 1.0)
    low, high = (np.where(inside, expit(logit(value) + side * half / slope), value) for side in (-1, 1))
    known = folds >= FEWEST_FOLDS
    return np.where(known, low, np.nan), np.where(known, high, np.nan)


def _stability(table: FoldTable, label: Ints, score: Score | None, seed: int) -> Floats:
    """Share of resamples of folds in which the label comes first."""
    folds = len(table.folds)
    rng = np.random.default_rng(seed)
    weights = rng.multinomial(folds, np.full(folds, 1 / folds), size=RESAMPLES).astype(np.float64)
    wins = np.zeros(len(label))
    for some in np.array_split(weights, 4):
        wins += (choose(table.over(some), score) == label).sum(0)
    return wins / RESAMPLES


def heldout_iou(table: FoldTable, score: Score | None = None, *, chosen: Ints | None = None) -> Floats:
    """IoU, on one half of the folds, of the concept that comes first on the other half; both ways, averaged, (U,)."""
    halves = _halves(table)
    if halves is None:
        return np.full(len(table.intersection), np.nan)
    chosen = choose(halves, score) if chosen is None else chosen
    return np.asarray(np.take_along_axis(halves.iou()[::-1], chosen[:, :, None], 2)[:, :, 0].mean(0))


def halves_iou(table: FoldTable) -> Floats:
    """IoU with each concept on each half of the folds, averaged, (U, C): the held-out IoU of labels that are given."""
    halves = _halves(table)
    if halves is None:
        units, _, concepts = table.intersection.shape
        return np.full((units, concepts), np.nan)
    return np.asarray(halves.iou().mean(0))


def _halves(table: FoldTable) -> Overlap | None:
    """The 2 x 2 tables over the even and over the odd folds, (2, U, C), unless one of them is empty."""
    even = table.folds % 2 == 0
    return None if even.all() or not even.any() else table.over(np.stack([even, ~even]).astype(np.float64))


def presence_accuracy(peaks: Floats, present: npt.NDArray[np.bool_], even: npt.NDArray[np.bool_]) -> float:
    """Balanced accuracy of "the peak lies above a level" as a test of whether a concept is in an image.

    The level is the best one on the even folds, the accuracy that on the odd.

    Parameters
    ----------
    peaks : float array, (N,)
        Largest activation of the unit in each judged image.
    present : bool array, (N,)
        Whether the image holds the concept.
    even : bool array, (N,)
        Whether it is of an even fold.

    Returns
    -------
    float
        In [0, 1], chance 0.5; NaN where a half lacks images with or without the concept.
    """
    learn, test = present[even], present[~even]
    if learn.all() or not learn.any() or test.all() or not test.any():
        return float("nan")
    order = np.argsort(peaks[even], kind="stable")
    values, learn = peaks[even][order], learn[order]
    below = np.arange(1, len(learn) + 1)
    present_below = np.cumsum(learn)
    # The balanced accuracy as a whole number, up to scale and shift: of levels that do equally well, always the first.
    accuracy = (below - present_below) * int(learn.sum()) - present_below * int((~learn).sum())
    accuracy[:-1][values[:-1] == values[1:]] = accuracy.min() - 1  # a level lies behind all images of its value
    level = values[int(accuracy.argmax())]
    called = peaks[~even] > level
    return float((called[test].mean() + (~called[~test]).mean()) / 2)
