import numpy as np
import pytest

from unitlens.stats.chance import association, draws_for
from unitlens.stats.draws.partners import choose_partners


def test_a_single_image_has_no_partner_and_a_p_value_of_1():
    assert len(choose_partners([7], [1], draws=20)) == 0
    found = association(np.array([0.9]), np.zeros((1, 0)), np.array([False]))
    assert np.isnan(found.chance[0])
    assert found.p_value[0] == found.q_value[0] == 1


def test_p_values_are_ranks_among_standardised_units_and_draws():
    best = np.array([0.4, 0.1, 0.25, 0.0])
    shifted = np.array([[0.1, 0.1, 0.1, 0.2], [0.1, 0.2, 0.3, 0.3], [0.2, 0.1, 0.2, 0.3], [0.0, 0.9, 0.0, 0.0]])
    found = association(best, shifted, np.array([False, False, False, True]))
    typical = np.median(shifted[:3].var(1, ddof=1))  # of the units that take part

    def standardised(value, draws):
        count = len(draws)
        return (value - draws.mean()) / np.sqrt(((count - 1) * draws.var(ddof=1) + typical) / count)

    null = [standardised(row[draw], np.delete(row, draw)) for row in shifted[:3] for draw in range(4)]
    for unit in range(3):
        rank = 1 + sum(z >= standardised(best[unit], shifted[unit]) for z in null)
        assert found.p_value[unit] == pytest.approx(rank / 13)
    assert found.chance.tolist() == pytest.approx(shifted.mean(1))
    assert np.isnan([found.p_value[3], found.q_value[3], found.least[3]]).all()


def test_the_least_iou_that_would_be_significant():
    rng = np.random.default_rng(0)
    drawn, value = rng.gamma(2.0, 0.01, (40, 20)), rng.gamma(2.0, 0.01, 40)
    value[:10] = 0.3
    found = association(value, drawn, np.zeros(40, bool))
    for unit in range(10):
        for change, significant in ((1e-9, True), (-1e-3, False)):
            changed = np.where(np.arange(40) == unit, found.least + change, value)
            assert (association(changed, drawn, np.zeros(40, bool)).q_value[unit] <= 0.05) == significant


def test_units_that_hardly_vary_and_units_that_vary_wildly_do_not_take_each_others_power():
    rng = np.random.default_rng(1)
    wild, quiet = rng.gamma(1.0, 0.02, (50, 21)), rng.normal(0.02, 0.002, (50, 21))
    values = np.concatenate([wild, quiet])
    value = np.where(np.arange(100) >= 90, values[:, 0] + 0.03, values[:, 0])
    found = association(value, values[:, 1:], np.zeros(100, bool))
    assert (found.q_value[90:] <= 0.05).mean() > 0.8
    ratio = values[:, 1:] / values[:, 1:].mean(1, keepdims=True)
    assert np.sort(ratio.ravel())[-20] > 2.5  # by ratios alone, 0.05 beside 0.02 would be nothing


def test_without_any_variation_the_difference_decides():
    found = association(np.array([0.5, 0.0]), np.zeros((2, 20)), np.zeros(2, bool))
    assert found.p_value.tolist() == [1 / 41, 1.0]


@pytest.mark.parametrize("fdr", [0.01, 0.05, 0.1])
@pytest.mark.parametrize("units", [1, 2, 512])
def test_a_single_outstanding_unit_can_be_significant(fdr, units):
    draws = draws_for(fdr)
    shifted = np.random.default_rng(0).uniform(0.01, 0.03, (units, draws))
    best = np.array([0.9] + [0.02] * (units - 1))
    found = association(best, shifted, np.zeros(units, bool))
    assert found.q_value[0] <= fdr
    assert (found.q_value[1:] > fdr).all()


def test_there_are_8_to_100_draws():
    assert [draws_for(fdr) for fdr in (0.5, 0.05, 0.04, 0.0001)] == [8, 20, 25, 100]
