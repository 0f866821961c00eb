import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from unitlens.stats.families import false_discovery, over_layers, q_over_layers


@pytest.mark.parametrize("tests", [1, 2, 7, 512])
def test_q_values_are_those_of_scipy_to_the_bit(tests):
    p_value = np.random.default_rng(tests).random(tests) ** 4
    for some in (p_value, p_value.round(1)):
        assert np.array_equal(false_discovery(some), stats.false_discovery_control(some))
    assert not len(false_discovery(p_value[:0]))


@pytest.mark.slow
def test_over_many_layers_of_null_units_few_have_any_that_is_significant():
    """Of 20 layers one has planted units: the share of false ones is held on average over the selected layers."""
    rng = np.random.default_rng(0)
    wrong, alone, found = [], [], []
    for _ in range(200):
        p_values = rng.random((20, 50))
        p_values[0, :10] /= 1e4
        q_values = [stats.false_discovery_control(one) for one in p_values]
        families = over_layers(q_values, fdr=0.05)
        called = [q <= 0.05 for q in q_over_layers(q_values)]
        false = [one.copy() for one in called]
        false[0][:10] = False
        shares = [f.sum() / max(c.sum(), 1) for f, c in zip(false, called, strict=True)]
        wrong.append(sum(shares) / max(families.selected.sum(), 1))
        alone.append(sum((q <= 0.05).any() for q in q_values[1:]))
        found.append(called[0][:10].mean())
    assert np.mean(wrong) <= 0.05 + 3 * np.std(wrong) / np.sqrt(len(wrong))
    assert np.mean(alone) > 0.8  # layers of null units that hold a "significant" one, each layer by itself
    assert np.mean(found) > 0.9


def test_layers_that_all_hold_significant_units_are_tested_as_each_by_itself():
    families = over_layers([np.array([0.001, 0.5]), np.array([0.04, np.nan])], fdr=0.05)
    assert families.selected.all()
    assert families.level == 0.05
    assert not over_layers([np.array([np.nan])], fdr=0.05).selected.any()


@given(layers=st.integers(1, 6), seed=st.integers(0, 999), fdr=st.sampled_from([0.01, 0.05, 0.2, 0.7]))
def test_units_are_significant_over_layers_where_their_layer_is_selected_and_they_are_at_its_level(layers, seed, fdr):
    rng = np.random.default_rng(seed)
    q_values = [rng.random(5) ** rng.integers(1, 6) for _ in range(layers)]
    q_values[0][:4] = np.nan
    families = over_layers(q_values, fdr=fdr)
    for q, selected, over in zip(q_values, families.selected, q_over_layers(q_values), strict=True):
        assert np.array_equal(over <= fdr, selected & (q <= families.level))
        assert np.array_equal(np.isnan(over), np.isnan(q))
        assert (over[np.isfinite(q)] >= q[np.isfinite(q)]).all()
        assert layers > 1 or np.array_equal(over, q, equal_nan=True)


def test_layers_without_units_that_take_part_are_never_selected():
    empty, full = q_over_layers([np.array([np.nan]), np.array([0.01])])
    assert np.isnan(empty).all()
    assert full.tolist() == pytest.approx([0.02])
