"""The mean held-out IoU of detectors: its value without each fold against a new run of it, and its differences."""

import numpy as np
import pytest

from tests.worlds.compared import random_counts, three_runs
from unitlens.comparison.comparing import compare
from unitlens.comparison.heldout import MeanHeldout, _left_out, mean_heldout
from unitlens.stats.folds import even_and_odd, fold_table
from unitlens.stats.scores import SCORES, choose


def test_without_each_fold_it_is_the_mean_over_units_and_halves():
    """Concepts stay; the half that the fold belongs to is counted without it, one unit after the other."""
    counts = random_counts(np.random.default_rng(3), units=70, folds=12)
    counts = type(counts)(**{**vars(counts), **_padded(counts)})
    chosen = np.arange(70) % 3 == 0
    found = _left_out(counts, chosen, SCORES["iou"])
    table = fold_table(counts, slice(0, 70))
    concepts = choose(table.overlap(even_and_odd(table.folds)), SCORES["iou"])
    for fold in range(12):
        values = []
        for unit in np.flatnonzero(chosen):
            halves = []
            for parity, by in ((1, 0), (0, 1)):  # of one half, with what the other one chose
                concept = concepts[by][unit]
                kept = [f for f in range(12) if f % 2 == parity and f != fold]
                meet = sum(table.intersection[unit, f, concept] for f in kept)
                either = sum(table.activated[unit, f, concept] + table.concept[f, concept] for f in kept) - meet
                halves.append(meet / either)
            values.append(np.mean(halves))
        assert found[fold] == pytest.approx(np.mean(values))
    assert np.isnan(found[12:]).all()


def _padded(counts):
    """The same counts in 32 folds, the last of which are empty."""
    units, folds, concepts = counts.shape
    dense = np.zeros((units, 32, concepts), np.int64)
    dense[:, :folds] = counts.intersection_by_fold(slice(0, units))
    index = np.flatnonzero(dense)
    padded = {"index": index, "value": dense.ravel()[index]}
    for name, axis in (("activated_by_fold", 1), ("concept_by_fold", 0), ("judged_by_fold", 0)):
        array = getattr(counts, name)
        more = np.zeros((*array.shape[:axis], 32 - folds, *array.shape[axis + 1 :]), array.dtype)
        padded[name] = np.concatenate([array, more], axis)
    return padded


def test_the_table_has_it_with_its_interval_and_paired_differences():
    first, second, noise = three_runs()
    rows = compare(first, second, noise, names=["a", "b", "noise"]).table().query("category == 'all'")
    rows = rows.set_index("entry")
    for name, run in (("a", first), ("b", second)):
        assert rows.loc[name, "heldout_iou"] == pytest.approx(run.detectors()["heldout_iou"].mean())
        assert rows.loc[name, "heldout_low"] < rows.loc[name, "heldout_iou"] < rows.loc[name, "heldout_high"]
    difference = rows.loc["b", "heldout_iou"] - rows.loc["a", "heldout_iou"]
    assert rows.loc["b", "heldout_difference"] == pytest.approx(difference)
    assert rows.loc["b", "heldout_difference_low"] < difference < rows.loc["b", "heldout_difference_high"]
    assert np.isnan(rows.loc["noise", "heldout_iou"])


def test_what_both_share_cancels():
    left_out = np.random.default_rng(0).uniform(0.1, 0.2, 32)
    one, other = MeanHeldout(0.15, left_out), MeanHeldout(0.25, left_out + 0.1)
    paired, apart = other.minus(one, paired=True), other.minus(one, paired=False)
    assert paired.low == pytest.approx(0.1)
    assert paired.high == pytest.approx(0.1)
    assert apart.low < 0.1 < apart.high
    few = MeanHeldout(0.15, np.where(np.arange(32) < 7, left_out, np.nan))
    assert np.isnan(few.interval().low)


@pytest.mark.slow
def test_intervals_hold_the_mean_of_many_data_sets():
    """In 95 % of random data sets or so, the interval holds the mean over all of them."""
    rng, found = np.random.default_rng(1), []
    chance = rng.beta(0.6, 2, (6, 1, 5))
    for _ in range(200):
        counts = random_counts(rng, chance=chance)
        found.append(MeanHeldout(*_whole_and_left_out(counts)))
    mean = np.mean([one.value for one in found])
    held = [one.interval().low <= mean <= one.interval().high for one in found]
    assert 0.9 <= np.mean(held) <= 1


def _whole_and_left_out(counts):
    table = fold_table(counts, slice(0, 6))
    concepts = choose(table.overlap(even_and_odd(table.folds)), SCORES["iou"])
    halves = table.overlap(even_and_odd(table.folds)).iou()[::-1]
    value = float(np.take_along_axis(halves, concepts[:, :, None], 2).mean())
    return value, _left_out(counts, np.ones(6, bool), SCORES["iou"])


def test_without_evidence_there_is_none(dissection):
    from unitlens.comparison.entries import open_entries

    first, _ = open_entries([dissection])
    found = mean_heldout(first)
    assert np.isnan(found.value) == first.run.detectors()["heldout_iou"].isna().all()
