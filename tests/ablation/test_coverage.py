"""Intervals of small counts and skewed means; a small version of benchmarks/evidence/effects.py."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from benchmarks.evidence import effects as simulated
from unitlens.ablation.estimates import OF_COUNTS, estimate, estimate_overall
from unitlens.ablation.responses.counting import PredictionTally
from unitlens.ablation.tallies import row_count
from unitlens.stats.design_effects import design_effects, group_size
from unitlens.stats.intervals import Part, change_distances, mean_change_distances, share_distances


@pytest.fixture(scope="module")
def truth():
    return simulated.population(5, images=100_000, parts=1)


@pytest.mark.parametrize("images", [100, 400])
def test_intervals_cover_at_least_95_percent_and_never_shrink_to_nothing(truth, images):
    found = simulated.coverage(truth, 40, images=images)
    for (measure, intervention), one in found.items():
        assert one.covered > 0.95 - 3 * max(one.error, 0.01), (measure, intervention, one)
        assert one.width > 0


def test_intervals_cover_about_95_percent_where_predictions_change(truth):
    found = simulated.coverage(truth, 60, images=1000)
    for measure in simulated.MEASURES:
        assert 0.92 <= found[measure, "many"].covered <= 0.98, (measure, found[measure, "many"])


def test_intervals_by_fold_cover_where_images_come_in_groups_and_others_do_not(truth):
    by_fold, alone = (simulated.coverage(truth, 30, images=1000, group=10, rows=rows) for rows in (32, 2))
    for measure in simulated.MEASURES:
        assert by_fold[measure, "many"].covered >= 0.93, measure
        assert alone[measure, "many"].covered <= 0.85, measure


@given(count=st.integers(0, 20), more=st.integers(0, 20))
def test_a_share_has_the_interval_of_jeffreys(count, more):
    images = count + more
    below, above = share_distances(count, images)
    if not images:
        return
    low, high = stats.beta(count + 0.5, more + 0.5).ppf([0.025, 0.975])
    assert count / images - below == pytest.approx(low if count else 0)
    assert count / images + above == pytest.approx(high if more else 1)


@given(gained=st.integers(0, 9), lost=st.integers(0, 9), stay=st.integers(0, 30))
def test_gained_and_lost_change_places(gained, lost, stay):
    images = gained + lost + stay
    one, other = change_distances(gained, lost, images), change_distances(lost, gained, images)
    assert one.below == pytest.approx(other.above)
    assert one.above == pytest.approx(other.below)


def test_a_mean_of_which_nothing_was_seen_may_be_one_like_others():
    zero, size = Part(np.zeros(1), np.zeros(1)), np.full(1, 3.0)
    below, above = mean_change_distances(zero, zero, np.full(1, 50.0), size)
    expected = stats.gamma(0.5).ppf(0.975) * 3 / 50 * stats.t(49).ppf(0.975) / stats.norm.ppf(0.975)
    assert below[0] == above[0] == pytest.approx(expected, rel=0.03)


@given(seed=st.integers(0, 999), rows=st.sampled_from([2, 8, 16, 32]))
@settings(max_examples=20)
def test_counts_by_fold_give_the_same_effects_and_halves(seed, rows):
    drawn = simulated.draw(60, 3, np.random.default_rng(seed))
    one, other = drawn.tally(seed=7), drawn.tally(rows=rows, seed=7)
    for folds in ("all", "even", "odd"):
        for measure in simulated.MEASURES:
            first, second = (estimate(tally.half(folds), measure) for tally in (one, other))
            assert second.effect == pytest.approx(first.effect, nan_ok=True)
            assert second.before == pytest.approx(first.before, nan_ok=True)
        assert estimate_overall(other.half(folds), "logit").effect.shape == (4,)


def test_copies_of_images_make_intervals_as_wide_as_those_of_the_images():
    images, copies = 400, 6
    drawn = simulated.draw(images, 3, np.random.default_rng(0))
    place = np.repeat(np.arange(images), copies)
    copied = simulated.Sample(drawn.truth[place], drawn.before[place], drawn.after[:, place], place)
    for measure in (*OF_COUNTS, "logit"):
        once = estimate(drawn.tally().half("all"), measure)
        grouped = estimate(copied.tally(rows=32, seed=5).half("all"), measure)
        independent = estimate(copied.tally().half("all"), measure)
        width, wide, short = (np.median((one.high - one.low)[2:]) for one in (once, grouped, independent))
        assert 0.8 < wide / width < 1.4, measure
        assert short / width < 0.6, measure


@pytest.mark.parametrize("rows", [8, 32])
def test_images_in_few_groups_have_effects_without_intervals(rows):
    drawn = simulated.draw(90, 3, np.random.default_rng(0), group=30)
    for folds in ("all", "even"):
        counted = drawn.tally(rows=rows, seed=3).half(folds)
        for measure in simulated.MEASURES:
            one = estimate(counted, measure)
            assert np.isnan([one.low, one.high, one.p_value]).all(), measure
            assert one.effect == pytest.approx(estimate(drawn.tally(seed=3).half(folds), measure).effect, nan_ok=True)
        assert np.isnan(estimate_overall(counted, "accuracy").low).all()
        assert np.isnan(estimate_overall(counted, "logit").p_value).all()


def test_design_effects_are_those_of_loops():
    rng = np.random.default_rng(0)
    images = rng.integers(1, 9, (32, 2))
    change = rng.normal(size=(32, 3, 2))
    squares = (change**2).sum(0) + 1
    found = design_effects(change, squares, images, np.ones(()))
    size = group_size(images)
    for s in range(3):
        for k in range(2):
            n = images[:, k].sum()
            mean = change[:, s, k].sum() / n
            between = sum((change[f, s, k] - mean * images[f, k]) ** 2 for f in range(32)) * 32 / 31
            within = squares[s, k] - n * mean**2
            expected = max(1, (between + 2 * size**2) / (within + 2 * size))
            assert found[s, k] == pytest.approx(expected * (stats.t(31).ppf(0.975) / stats.norm.ppf(0.975)) ** 2)


def test_groups_of_a_size_are_seen_in_how_folds_fill():
    rng = np.random.default_rng(1)
    for size in (1, 4, 12):
        images = np.stack([np.bincount(rng.integers(0, 32, 2000), minlength=32) * size for _ in range(9)], 1)
        assert group_size(images) == pytest.approx(size, rel=0.2)


def test_counts_by_fold_stay_within_their_memory():
    for sets, classes in ((10, 10), (512, 365), (2048, 1000)):
        rows = row_count(sets, classes, 1, grouped=True)
        arrays = PredictionTally(1, classes, ["logit"], rows=rows).tally().arrays().values()
        assert sum(array.nbytes for array in arrays if array.ndim == 3) * sets <= 2**30
        assert rows >= 8
    assert row_count(2048, 1000, 1, grouped=False) == 2
