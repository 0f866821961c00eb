"""How sure a label is: intervals, stability, a held-out check and the level of chance, all from counts by fold."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from unitlens.scores import Floats, Ints, Overlap, Score, score_function, share

FEWEST_FOLDS = 8
"""With fewer filled folds there is no interval."""

RESAMPLES = 200
DRAWS = 8

_AT_ONCE = 1 << 22  # numbers of one intermediate array


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
        95 % interval of its IoU; NaN with fewer than 8 filled folds.
    stability : float64 array, (U,)
        Share of 200 resamples of folds in which it comes first.
    rivals : bool array, (U, C)
        Concepts whose difference in IoU to it has an interval that contains 0, itself included.
    heldout : float64 array, (U,)
        IoU on one half of the folds of the label chosen on the other, both ways, averaged; NaN without two halves.
    """

    low: Floats
    high: Floats
    stability: Floats
    rivals: npt.NDArray[np.bool_]
    heldout: Floats


def label_evidence(table: FoldTable, score: str = "iou", *, seed: int = 0) -> LabelEvidence:
    """Evidence for the labels of some units.

    Parameters
    ----------
    table : FoldTable
    score : str
        What chooses the label; a key of `unitlens.scores.SCORES`.
    seed : int
        Of the resamples of folds.

    Returns
    -------
    LabelEvidence
    """
    units, folds, concepts = table.intersection.shape
    step = max(1, _AT_ONCE // (max(folds, RESAMPLES // 4) * max(concepts, 1)))
    parts = [
        _label_evidence(table.units(slice(first, first + step)), score_function(score), seed)
        for first in range(0, units, step)
    ]
    return LabelEvidence(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def _label_evidence(table: FoldTable, score: Score, seed: int) -> LabelEvidence:
    folds = len(table.folds)
    whole = table.over(np.ones(folds))
    label = score(whole).argmax(1)
    estimate, left_out = whole.iou(), table.over(1.0 - np.eye(folds)).iou()
    own = np.take_along_axis(estimate, label[:, None], 1)[:, 0]
    own_left_out = np.take_along_axis(left_out, label[None, :, None], 2)
    half = interval_half_width(own_left_out[..., 0])
    rivals = own[:, None] - estimate <= np.nan_to_num(interval_half_width(own_left_out - left_out))
    np.put_along_axis(rivals, label[:, None], True, 1)
    stability = _stability(table, label, score, seed)
    low, high = np.maximum(own - half, 0.0), np.minimum(own + half, 1.0)
    return LabelEvidence(low, high, stability, rivals, heldout_iou(table, score))


def interval_half_width(left_out: Floats) -> Floats:
    """Half of the 95 % interval of a statistic, by the jackknife that leaves out one fold at a time.

    Parameters
    ----------
    left_out : float64 array, (F, ...)
        The statistic without each fold.

    Returns
    -------
    float64 array, (...)
        Student's t with F - 1 degrees of freedom times the jackknife's standard error; NaN with fewer than 8 folds.
    """
    from scipy.special import stdtrit

    folds = len(left_out)
    if folds < FEWEST_FOLDS:
        return np.full(left_out.shape[1:], np.nan)
    error = np.sqrt((folds - 1) * left_out.var(0))
    return np.asarray(stdtrit(folds - 1, 0.975) * error)


def _stability(table: FoldTable, label: Ints, score: Score, seed: int) -> Floats:
    """Share of resamples of folds in which the label comes first."""
    folds = len(table.folds)
    rng = np.random.default_rng(seed)
    weights = rng.multinomial(folds, np.full(folds, 1 / folds), size=RESAMPLES).astype(np.float64)
    wins = np.zeros(len(label))
    for some in np.array_split(weights, 4):
        wins += (score(table.over(some)).argmax(-1) == label).sum(0)
    return wins / RESAMPLES


def heldout_iou(table: FoldTable, score: Score = Overlap.iou) -> Floats:
    """IoU, on one half of the folds, of the concept that comes first on the other half; both ways, averaged, (U,)."""
    even = table.folds % 2 == 0
    if even.all() or not even.any():
        return np.full(len(table.intersection), np.nan)
    halves = table.over(np.stack([even, ~even]).astype(np.float64))
    chosen = score(halves).argmax(2)
    return np.asarray(np.take_along_axis(halves.iou()[::-1], chosen[:, :, None], 2)[:, :, 0].mean(0))


def partners(hashes: list[int], annotated: list[int], *, draws: int = DRAWS, seed: int = 0) -> Ints:
    """For each draw and picture, the other picture whose labels it is given.

    Pictures annotated for the same categories are put in the order of their hashes, and each draw goes the same number
    of pictures on, in a circle; the numbers differ between draws and none is 0. A picture that is alone keeps its own.

    Parameters
    ----------
    hashes : list of int
        Of the pictures.
    annotated : list of int
        For which categories, as bits.
    draws : int
    seed : int

    Returns
    -------
    int64 array, (draws, N)
    """
    groups: dict[int, list[int]] = {}
    for picture in sorted(range(len(hashes)), key=lambda picture: (hashes[picture], picture)):
        groups.setdefault(annotated[picture], []).append(picture)
    out = np.zeros((draws, len(hashes)), np.int64)
    rng = np.random.default_rng(seed)
    for _, members in sorted(groups.items()):
        order = np.array(members)
        steps = 1 + rng.permutation(max(len(order) - 1, 1))
        for draw in range(draws):
            out[draw, order] = np.roll(order, -int(steps[draw % len(steps)]))
    return out


class Association(NamedTuple):
    """Whether units go with their labels more than with the labels of other pictures.

    Attributes
    ----------
    chance : float64 array, (U,)
        Mean over draws of the best IoU with the labels of other pictures.
    p_value, q_value : float64 arrays, (U,)
        NaN for silent units.
    """

    chance: Floats
    p_value: Floats
    q_value: Floats


def association(best: Floats, shifted: Floats, silent: npt.NDArray[np.bool_]) -> Association:
    """Rank each unit's IoU among what masks like these reach by chance.

    Parameters
    ----------
    best : float64 array, (U,)
        Best IoU of each unit.
    shifted : float64 array, (U, draws)
        Best IoU with the labels of other pictures.
    silent : bool array, (U,)
        Units that take no part.

    Returns
    -------
    Association
        The p-value is the rank of IoU / chance among the same ratio of all units and draws of the layer, each draw
        divided by the mean of the unit's other draws; the q-value is Benjamini and Hochberg's.
    """
    chance = shifted.mean(1)
    others = (shifted.sum(1, keepdims=True) - shifted) / max(shifted.shape[1] - 1, 1)
    null = np.sort(_ratio(shifted, others)[~silent].ravel())
    larger = len(null) - np.searchsorted(null, _ratio(best, chance)[~silent], side="left")
    p_value, q_value = np.full(len(best), np.nan), np.full(len(best), np.nan)
    p_value[~silent] = (1 + larger) / (1 + len(null))
    q_value[~silent] = benjamini_hochberg(p_value[~silent])
    return Association(chance, p_value, q_value)


def _ratio(value: Floats, reference: Floats) -> Floats:
    return np.where(reference > 0, share(value, reference), np.where(value > 0, np.inf, 0.0))


def benjamini_hochberg(p_values: Floats) -> Floats:
    """Smallest false discovery rate at which each would be called, (n,).

    Source: Benjamini and Hochberg, "Controlling the false discovery rate", J. R. Statist. Soc. B 57 (1995).

    Examples
    --------
    >>> benjamini_hochberg(np.array([0.01, 0.02, 0.5]))
    array([0.03, 0.03, 0.5 ])
    """
    order = np.argsort(p_values)
    scaled = p_values[order] * len(p_values) / np.arange(1, len(p_values) + 1)
    out = np.empty_like(p_values)
    out[order] = np.minimum(np.minimum.accumulate(scaled[::-1])[::-1], 1.0)
    return out


def presence_accuracy(peaks: Floats, present: npt.NDArray[np.bool_], even: npt.NDArray[np.bool_]) -> float:
    """Balanced accuracy of "the peak lies above a level" as a test of whether a concept is in a picture.

    The level is the best one on the even folds, the accuracy that on the odd.

    Parameters
    ----------
    peaks : float array, (N,)
        Largest activation of the unit in each judged picture.
    present : bool array, (N,)
        Whether the picture holds the concept.
    even : bool array, (N,)
        Whether it is of an even fold.

    Returns
    -------
    float
        In [0, 1], chance 0.5; NaN where a half lacks pictures with or without the concept.
    """
    learn, test = present[even], present[~even]
    if learn.all() or not learn.any() or test.all() or not test.any():
        return float("nan")
    order = np.argsort(peaks[even], kind="stable")
    values, learn = peaks[even][order], learn[order]
    below = np.arange(1, len(learn) + 1)
    present_below = np.cumsum(learn)
    accuracy = (1 - present_below / learn.sum() + (below - present_below) / (~learn).sum()) / 2
    accuracy[:-1][values[:-1] == values[1:]] = -1  # a level lies behind all pictures of its value
    level = values[int(accuracy.argmax())]
    called = peaks[~even] > level
    return float((called[test].mean() + (~called[~test]).mean()) / 2)
