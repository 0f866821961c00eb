"""Effects of layers whose units do not lie along dimension 1."""

import numpy as np
import pytest
import torch
from torch import nn

import unitlens as ul
from tests.worlds.small import Noise, outputs_of
from unitlens.ablation.effects import ablate, importance
from unitlens.ablation.outcomes.measures import OUTCOMES


class Tokens(nn.Module):
    """Patches become tokens of 5 units; `last` gives them as a grid with the units last."""

    def __init__(self):
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.patches = nn.Conv2d(3, 5, 2, stride=2)
            self.mixed = nn.Sequential(nn.Linear(5, 5), nn.GELU())
            self.last = nn.LayerNorm(5)
            self.head = nn.Linear(5, 3)
        self.heads = Heads()

    def forward(self, images):
        tokens = self.mixed(self.patches(images).flatten(2).transpose(1, 2))
        return self.head(self.last(tokens.reshape(-1, 4, 4, 5)).mean((1, 2))) + 0 * self.heads(tokens).sum()


class Heads(nn.Module):
    def forward(self, tokens):
        return tokens[:, :, None, None, :]


@pytest.fixture(scope="module")
def net():
    return ul.classifier(Tokens().eval(), image_size=8, mean=(0.5,) * 3, std=(0.2,) * 3, classes=["a", "b", "c"])


def after(net, data, layer, units, value):
    """Mean logit of each class, full passes with units along the last dimension ablated."""

    def ablate(activation):
        activation[..., units] = value
        return activation

    with ul.edit(net.model, {layer: ablate}):
        outputs, truth = outputs_of(net, data)
    logits = OUTCOMES["logit"](outputs, truth)
    return [float(logits[truth == k].double().mean()) for k in range(3)]


@pytest.mark.parametrize("layer", ["mixed", "last"])
def test_units_are_ablated_along_the_last_dimension(net, layer):
    data = Noise(20)
    effects = importance(net, layer, data, value=0.5, measures=["logit"], batch_size=8)
    assert effects.units == 5
    assert effects.info["replay"]["replays"]
    for unit in range(5):
        found = effects.estimate("logit").after[unit]
        assert found == pytest.approx(after(net, data, layer, [unit], 0.5), abs=1e-6)
    found = ablate(net, layer, [0, 3], data, value=0.5, measures=["logit"], draws=2)
    assert found.estimate("logit").after == pytest.approx(after(net, data, layer, [0, 3], 0.5), abs=1e-6)
    assert found.measured.peaks == pytest.approx(effects.peaks)


def test_means_are_of_units_wherever_they_lie(net):
    data, means = Noise(20), []
    with torch.no_grad(), ul.record(net.model, "mixed") as recording:
        for index in range(20):
            net.model(net.prepare(torch.from_numpy(data[index].image.transpose(2, 0, 1)[None].copy())))
            means.append(recording["mixed"].double().mean((0, 1)))
    mean = torch.stack(means).mean(0)
    found = ablate(net, "mixed", [1, 2], data, value="mean", measures=["logit"], draws=0)
    expected = after(net, data, "mixed", [1, 2], mean[[1, 2]].float())
    assert found.estimate("logit").after == pytest.approx(expected, abs=1e-6)
    resampled = importance(net, "mixed", data, value="resample", measures=["logit"]).effect("logit")
    assert np.isfinite(resampled).all()
    assert (resampled != 0).any()


def test_what_has_no_units_is_refused(net):
    with pytest.raises(
        ul.UnitlensError, match=r"heads returns .* which has no units that could be ablated: choose a layer"
    ):
        ablate(net, "heads", [0], Noise(6))
