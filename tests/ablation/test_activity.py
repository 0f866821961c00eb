"""What is found in the data to set units to."""

from math import floor

import numpy as np
import pytest
import torch

import unitlens as ul
from tests.worlds.small import Noise, classifier
from unitlens.ablation.activity import find_values, layer_activations, unit_quantiles
from unitlens.ablation.effects import importance
from unitlens.ablation.interventions import Replacement, quantile_of
from unitlens.data.reading import Reading


@pytest.fixture(scope="module")
def net():
    return classifier()


@pytest.mark.parametrize("quantile", ["0.99", ".5", "0.999999"])
@pytest.mark.parametrize("batch_size", [7, 40])
def test_quantiles_are_what_sorting_all_positions_gives(net, quantile, batch_size):
    reading = Reading(batch_size=batch_size)
    values = torch.cat([a.movedim(1, 0).flatten(1) for _, a in layer_activations(net, "first", Noise(30), reading)], 1)
    rank = floor(round((1 - float(quantile)) * values.shape[1], 6))
    expected = np.sort(values.numpy(), 1)[:, ::-1][:, rank]
    assert np.array_equal(unit_quantiles(net, "first", Noise(30), reading, quantile).numpy(), expected)


def test_units_are_set_to_their_quantiles(net):
    found = find_values(Replacement("q0.9"), net, "second", Noise(30), Reading(), seed=0, means={})
    assert found.replacement.value.shape == (6,)
    effects = importance(net, "second", Noise(30), value="q0.9", measures=["logit"])
    levels = importance(net, "second", Noise(30), value=found.replacement.value, measures=["logit"])
    assert np.array_equal(effects.effect("logit"), levels.effect("logit"))
    assert effects.settings.ablation == "set to their 0.9 quantiles"


@pytest.mark.parametrize("word", ["q", "q1", "q1.5", "q0", "q0.0", "0.99", "q-0.5", "q0.9x"])
def test_what_is_not_a_quantile(word):
    assert quantile_of(word) is None
    with pytest.raises(ul.UnitlensError, match=r"such as 'q0\.99'"):
        Replacement(word)
