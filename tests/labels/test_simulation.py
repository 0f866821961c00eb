"""How well predictions go with peaks."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from unitlens.labels.footing.simulation import simulation


@given(st.integers(0, 10**6), st.integers(3, 60))
def test_it_is_the_correlation_over_the_images_that_are_held_out_and_judged(seed, images):
    rng = np.random.default_rng(seed)
    predicted, peaks, folds = rng.random(images), rng.normal(3, 2, images), rng.integers(0, 32, images)
    held_out, judged = rng.random(images) < 0.8, rng.random(images) < 0.8
    found = simulation(np.where(judged, predicted, np.nan), peaks, folds, held_out)
    counted = held_out & judged
    if counted.sum() < 3:
        assert np.isnan(found.value)
        return
    assert np.isclose(found.value, np.corrcoef(predicted[counted], peaks[counted])[0, 1])
    assert np.isnan(found.low) == (len(np.unique(folds[counted])) < 8)
    assert np.isnan(found.low) or -1 <= found.low <= found.value <= found.high <= 1


def test_its_interval_holds_the_correlation_of_the_population_about_as_often_as_it_says():
    rng, covered = np.random.default_rng(0), 0
    for _ in range(200):
        x = rng.normal(size=160)
        y = 0.6 * x + 0.8 * rng.normal(size=160)
        found = simulation(x, y, rng.integers(0, 32, 160), np.ones(160, bool))
        covered += found.low <= 0.6 <= found.high
    assert 180 <= covered <= 199


def test_a_label_that_predicts_the_same_everywhere_predicts_nothing_and_a_constant_unit_cannot_be_predicted():
    values, same, folds, all_of_them = np.arange(20.0), np.full(20, 1e8), np.arange(20), np.ones(20, bool)
    assert simulation(same, values, folds, all_of_them) == (0, 0, 0)
    assert np.isnan(simulation(values, same, folds, all_of_them).value)
    perfect = simulation(values, 2 * values + 1e6, folds, all_of_them)
    assert np.allclose(perfect, 1)
