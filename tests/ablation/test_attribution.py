from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

import unitlens as ul
from tests.ablation.test_effects import Noise
from tests.made_up.effects import OWN, measurement_of
from unitlens.ablation.agreement import Attributions, agreement, spearman
from unitlens.ablation.attribution import METHODS, attributions
from unitlens.ablation.effects import importance

pytest.importorskip("captum")
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:captum")


@pytest.fixture(scope="module")
def linear():
    """Behind the layer all is linear, so that activation x gradient is the effect itself."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = nn.Sequential(
            nn.Conv2d(3, 6, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 3, bias=False)
        )
    return ul.classifier(model.eval(), image_size=8, mean=(0.5,) * 3, std=(0.2,) * 3, classes=["a", "b", "c"])


def test_activation_times_gradient_is_the_exact_effect_where_all_behind_is_linear(linear):
    effects = importance(linear, "1", Noise(30))
    found = attributions(linear, "1", Noise(30), batch_size=7)
    assert set(found.by_method) == set(METHODS)
    assert found.by_method["activation_x_gradient"] == pytest.approx(-effects.effect("logit"), abs=1e-5)
    table = agreement(found, effects, top=2).set_index("method")
    assert table.loc["activation_x_gradient", "spearman"] == pytest.approx(1)
    assert table.loc["activation_x_gradient", "overlap"] == 1
    assert (table["chance"] == 2 / 6).all()
    assert ((table["spearman_low"] <= table["spearman"]) & (table["spearman"] <= table["spearman_high"])).all()


def test_rounding_does_not_rank_units_that_do_nothing():
    measured = measurement_of([(unit,) for unit in range(60)], ["a"], np.zeros((60, 1)))
    exact = np.r_[np.linspace(-2, -1, 10), np.random.default_rng(0).normal(0, 1e-8, 50)][:, None]
    rise, fall = (np.tile(np.maximum(sign * exact * OWN, 0), (2, 1, 1)) for sign in (1, -1))
    rounded = {"logit": measured.tally.sums["logit"]._replace(rise=rise, fall=fall)}
    effects = ul.UnitEffects(replace(measured, tally=replace(measured.tally, sums=rounded)))
    found = Attributions(("a",), {"activation_x_gradient": np.where(np.abs(exact) > 0.5, -exact, 0)})
    assert agreement(found, effects)["spearman"].item() == pytest.approx(1)


def test_the_network_is_as_before(linear):
    model = linear.model.train()
    try:
        model[0].weight.requires_grad_(True)
        attributions(linear, "1", Noise(6), methods=["conductance"])
        assert all(module.training for module in model.modules())
        assert all(parameter.requires_grad and parameter.grad is None for parameter in model.parameters())
        assert not any(module._forward_hooks or module._backward_hooks for module in model.modules())
    finally:
        model.eval()


def test_spearman_is_0_for_what_is_constant():
    from scipy.stats import spearmanr

    one, other = np.random.default_rng(0).integers(0, 5, (2, 30)).astype(float)
    assert spearman(one, other) == pytest.approx(spearmanr(one, other).statistic)
    assert spearman(np.ones(5), np.arange(5.0)) == 0


def test_bad_input_is_a_sentence(linear):
    with pytest.raises(ul.UnitlensError, match=r"no attribution 'conductanse' \(did you mean conductance\?\)"):
        attributions(linear, "1", Noise(3), methods=["conductanse"])
    with pytest.raises(ul.UnitlensError, match="captum attributes to whole layers"):
        attributions(linear, "1[0]", Noise(3))
    with pytest.raises(ul.UnitlensError, match="are of different classes"):
        agreement(attributions(linear, "1", Noise(2)), importance(linear, "1", Noise(6)))
