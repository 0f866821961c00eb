"""Ablation with a fast front: what it computes, what it says of itself, and where it does without."""

import json

import numpy as np
import pytest
import torch
from torch import nn

import unitlens as ul
from tests.models.fast.test_folding import settle
from tests.worlds.small import Noise
from unitlens.ablation.replay.cutting import cut_network
from unitlens.ablation.replay.hastening import hasten


class Normed(nn.Module):
    """Batch norms in front of the layer and behind it, and a way around it."""

    def __init__(self):
        super().__init__()
        self.first, self.norm = nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6)
        self.layer = nn.Conv2d(6, 6, 3, padding=1)
        self.behind, self.head = nn.BatchNorm2d(6), nn.Linear(6, 3)

    def forward(self, x):
        x = torch.relu_(self.norm(self.first(x)))
        return self.head((x + self.behind(self.layer(x))).mean((2, 3)))


def normed_net():
    torch.manual_seed(0)
    return ul.classifier(settle(Normed()), image_size=8, mean=(0.5,) * 3, std=(0.2,) * 3, classes=["a", "b", "c"])


@pytest.mark.parametrize("layer", ["norm", "layer", "behind"])
@pytest.mark.parametrize(("precision", "allowed"), [("float32", 1e-5), ("bfloat16", 0.05)])
def test_what_crosses_the_cut_is_what_it_was_but_for_rounding(layer, precision, allowed):
    net = normed_net()
    images = net.example_inputs(4)
    cut = cut_network(net.model, layer, images)
    hastened = hasten(cut, net, precision, images)
    assert hastened.notes == ()
    assert hastened.described["folded"] == (1 if layer == "layer" else 2)  # what a layer returns stays
    exact, fast = cut.front(images), hastened.cut.front(images)
    assert exact.rest.keys() == fast.rest.keys()
    assert fast.activation.dtype == exact.activation.dtype
    for name in ("activation", "output"):
        one, other = getattr(exact, name), getattr(fast, name)
        off = float((one - other).abs().max() / one.abs().max())
        assert off == pytest.approx(hastened.described[name], abs=1e-9)
        assert 0 < off < allowed
    assert 0 <= hastened.described["predictions"] <= hastened.described["images"] == 4
    # the tail is the network's own: with the same activations it gives the same bits
    assert torch.equal(cut.back(exact, exact.activation), hastened.cut.back(exact, exact.activation))


@pytest.mark.parametrize("fast", [True, "bfloat16"])
def test_effects_are_those_of_the_network_but_for_rounding(fast):
    data, net = Noise(24), normed_net()
    exact, faster = (ul.importance(net, "layer", data, fast=how) for how in (False, fast))
    assert exact.info["replay"]["fast"] is None
    assert exact.measured.settings.fast is None
    precision = "float32" if fast is True else fast
    assert faster.measured.settings.fast == precision
    assert faster.info["replay"]["fast"]["precision"] == precision
    allowed = 1e-4 if fast is True else 0.3
    np.testing.assert_allclose(faster.effect("logit"), exact.effect("logit"), atol=allowed)
    assert ul.ablate(net, "layer", [1, 2], data, draws=2, fast=fast).info["replay"]["fast"]["images"] == 16


def test_outcomes_and_curves_are_those_of_the_network_but_for_rounding():
    data, net = Noise(24), normed_net()
    exact, faster = (ul.outcome_effects(net, "layer", data, "output:a", fast=how) for how in (False, True))
    assert faster.info["replay"]["fast"]["precision"] == "float32"
    np.testing.assert_allclose(faster.effect(), exact.effect(), atol=1e-4)
    curve = ul.ablation_curve(net, "layer", "a", data, top=1, draws=1, fast=True)
    assert all(part.info["replay"]["fast"]["folded"] == 1 for part in (curve.ranking, curve.measured))


def test_effects_are_saved_with_what_the_fast_front_changed(tmp_path):
    effects = ul.importance(normed_net(), "layer", Noise(24), fast=True)
    ul.report(tmp_path / "run", effects)
    saved = json.loads((tmp_path / "run" / "effects.json").read_text())["measurements"][0]
    assert saved["settings"]["fast"] == "float32"
    assert saved["info"]["replay"]["fast"] == effects.info["replay"]["fast"]


class OneByOne(Normed):
    """Returns a list with an item for each image, so that nothing is replayed."""

    def forward(self, x):
        return [{"scores": row} for row in super().forward(x)]


def test_where_nothing_is_replayed_the_network_runs_as_it_is():
    net = ul.classifier(settle(OneByOne()), image_size=8, mean=(0,) * 3, std=(1,) * 3)
    images = net.example_inputs(3)
    cut = cut_network(net.model, "layer", images)
    hastened = hasten(cut, net, "float32", images)
    assert hastened.cut is cut
    assert hastened.described is None
    assert "The network runs as it is" in hastened.notes[0]


@pytest.mark.parametrize("fast", [True, pytest.param("bfloat16", marks=pytest.mark.slow)])
def test_attributions_of_a_fast_copy_are_those_of_the_network(fast):
    pytest.importorskip("captum")
    from unitlens.ablation.attribution import attributions

    net, data = normed_net(), Noise(12)
    exact, faster = (attributions(net, "layer", data, batch_size=4, fast=how) for how in (False, fast))
    assert all(parameter.requires_grad for parameter in net.model.parameters())
    for method, values in exact.by_method.items():
        np.testing.assert_allclose(faster.by_method[method], values, rtol=1e-3, atol=1e-4)
