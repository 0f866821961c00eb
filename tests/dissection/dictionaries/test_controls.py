"""Dictionaries in which nothing was learnt: as often active as the one that they replace, where that is matched."""

import numpy as np
import pytest
import torch

import unitlens as ul
from tests.worlds.planted import ColourWorld, colour_net
from unitlens.models.dictionaries.controls import random_dictionary, shuffled_dictionary


def drawn(*shape, seed=1):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


POSITIONS = drawn(400, 6, seed=7).abs() + torch.arange(6.0)


def dictionary(kind, features=20, width=6):
    rows = drawn(features, width)
    bias = drawn(features, seed=3) - rows @ torch.arange(float(width)) if width == 6 else drawn(features, seed=3)
    decoder = drawn(features, width, seed=2)
    return ul.features({"encoder": rows, "decoder": decoder, "bias": bias}, kind=kind)


@pytest.mark.parametrize("make", [random_dictionary, shuffled_dictionary])
@pytest.mark.parametrize("kind", ["relu", "jumprelu:0.6", "batchtopk:0.3"])
def test_each_feature_is_active_at_as_many_positions(make, kind):
    given = dictionary(kind)
    control = make(given, POSITIONS, seed=0)
    active = [(one.apply(POSITIONS, "layer") > 0).sum(0) for one in (given, control)]
    assert torch.equal(*(count.clamp(max=len(POSITIONS) - 1) for count in active))
    assert active[0].float().std() > 10
    torch.testing.assert_close(control.encoder.norm(dim=1), given.encoder.norm(dim=1))
    torch.testing.assert_close(control.decoder.norm(dim=0), given.decoder.norm(dim=0))


@pytest.mark.parametrize("make", [random_dictionary, shuffled_dictionary])
def test_as_many_features_are_active_at_a_position(make):
    given = dictionary("topk:4")
    control = make(given, POSITIONS, seed=0)
    assert ((control.apply(POSITIONS, "layer") > 0).sum(1) <= 4).all()
    means = [(POSITIONS @ one.encoder.T + one.bias).mean(0) for one in (given, control)]
    torch.testing.assert_close(*means, rtol=1e-4, atol=1e-3)
    assert torch.equal(make(given, POSITIONS, seed=0).encoder, control.encoder)
    assert not torch.equal(make(given, POSITIONS, seed=1).encoder, control.encoder)


def test_shuffled_rows_have_the_same_numbers_in_encoder_and_decoder_alike():
    given = dictionary("relu")
    control = shuffled_dictionary(given, POSITIONS, seed=0)
    assert torch.equal(control.encoder.sort(1).values, given.encoder.sort(1).values)
    pairs, before = (torch.stack([one.encoder, one.decoder.T], 2)[0].tolist() for one in (control, given))
    assert sorted(pairs) == sorted(before)
    assert pairs != before


def test_a_planted_dictionary_beats_its_controls():
    net, data = colour_net(), ColourWorld(64)
    rows = torch.eye(8)[:4]
    features = ul.features({"encoder": rows, "decoder": rows, "bias": torch.full((4,), -0.01)}, kind="relu")
    d = ul.dissect(
        net, "pool", data, basis=features, quantile=0.05, exemplars=0,
        control=("random-dictionary", "shuffled-dictionary", "untrained"),
    )  # fmt: skip
    reached = d.controls().groupby("control")["iou"].min()
    assert set(reached.index) == {"none", "random-dictionary", "shuffled-dictionary", "untrained"}
    assert reached["none"] > 1.2 * max(reached["random-dictionary"], reached["untrained"])
    assert "a dictionary of random rows, each of whose features is active as often as the one" in str(d.methods())
    assert np.isin(["random-dictionary", "shuffled-dictionary"], [row["network"] for row in d.info["comparison"]]).all()


@pytest.mark.parametrize(("kind", "sentence"), [("topk:2", "how often each of them is, was not"), ("nmf", "least sq")])
def test_methods_say_what_was_not_matched(kind, sentence):
    rows = torch.eye(8)[:4]
    features = ul.features({"encoder": rows, "decoder": rows}, kind=kind)
    how = {"quantile": 0.05, "exemplars": 0, "control": "random-dictionary"}
    d = ul.dissect(colour_net(), "pool", ColourWorld(8), basis=features, **how)
    text = str(d.methods())
    assert sentence in text
    assert "Dissected in the same way, for comparison, was a dictionary of random rows, " in text
    assert "No untrained copy of the network was dissected." in text
    assert "as often as" not in text.partition("a dictionary of random rows")[2][:60]


def test_of_very_many_positions_some_are_drawn(monkeypatch):
    given = dictionary("relu")
    monkeypatch.setattr("unitlens.models.dictionaries.controls.MATCHED_POSITIONS", 200)
    control = random_dictionary(given, POSITIONS, seed=0)
    shares = [(one.apply(POSITIONS, "layer") > 0).float().mean(0) for one in (given, control)]
    torch.testing.assert_close(*shares, rtol=0, atol=0.12)
    assert torch.equal(control.bias, random_dictionary(given, POSITIONS, seed=0).bias)
    assert not torch.equal(*shares)


def test_controls_of_what_is_not_there_are_errors():
    net, data = colour_net(), ColourWorld(24)
    with pytest.raises(ul.UnitlensError, match=r"control='random-dictionary' is of the features .* control='rotated'"):
        ul.dissect(net, "pool", data, control="random-dictionary", quantile=0.05)
    features = dictionary("relu", 5, 8)
    with pytest.raises(ul.UnitlensError, match=r"control='rotated' turns units or directions.*'random-dictionary'"):
        ul.dissect(net, "pool", data, control="rotated", basis=features, quantile=0.05)
    with pytest.raises(ul.UnitlensError, match="other controls have none"):
        ul.dissect(net, "pool", data, control="shuffled-dictionary:2", basis=features, quantile=0.05)
