"""Dictionaries that are fitted to a layer find what it is a mixture of."""

import warnings

import numpy as np
import pytest
import torch
from torch import nn

import unitlens as ul
from tests.worlds.planted import ColourWorld, InMemory, colour_net, lookup
from unitlens.data.inmemory.dataset import as_data
from unitlens.data.reading import Reading
from unitlens.dissection.dictionaries.autoencoder import train_autoencoder
from unitlens.dissection.dictionaries.fitting import _positions
from unitlens.models.dictionaries.dictionary import FittedTo


def explained(dictionary, seen):
    rest = seen - dictionary.reconstruct(dictionary.apply(seen, "layer"))
    return 1 - float(rest.square().sum() / (seen - seen.mean(0)).square().sum())


def mixture(positions=4000, features=12, width=8, k=2, seed=0):
    """Positions at which two of twelve directions of eight are active."""
    draw = torch.Generator().manual_seed(seed)
    rows = torch.randn(features, width, generator=draw)
    rows = rows / rows.norm(dim=1, keepdim=True)
    active = torch.zeros(positions, features)
    chosen = torch.rand(positions, features, generator=draw).topk(k, dim=1).indices
    active.scatter_(1, chosen, 0.5 + torch.rand(positions, k, generator=draw))
    return rows, active @ rows + 3.0


def test_an_autoencoder_finds_directions_of_which_few_are_active():
    rows, seen = mixture()
    found = train_autoencoder(seen, 12, 2, steps=600, seed=0)
    cosine = (rows @ (found.decoder / found.decoder.norm(dim=0))).max(1).values
    assert float(cosine.median()) > 0.95
    assert explained(found, seen) > 0.85
    assert ((found.apply(seen, "layer") > 0).sum(1) <= 2).all()
    again = train_autoencoder(seen, 12, 2, steps=600, seed=0)
    assert again.sha256 == found.sha256


def test_pca_is_that_of_numpy():
    pytest.importorskip("sklearn", reason="scikit-learn is not installed (extra features)")
    net, data = colour_net(), ColourWorld(24)
    found = ul.fit_features(net, "pool", data, method="pca", count=3)
    with ul.evaluating(net.model), ul.record(net.model, "pool") as recording:
        net.model(torch.stack([torch.from_numpy(data[i].image).permute(2, 0, 1) / 255 for i in range(24)]))
    seen = recording["pool"].movedim(1, -1).flatten(0, 2)
    values = np.linalg.svd((seen - seen.mean(0)).double().numpy(), compute_uv=False) ** 2
    assert explained(found, seen) == pytest.approx(values[:3].sum() / values.sum(), abs=1e-4)
    torch.testing.assert_close(found.encoder @ found.encoder.T, torch.eye(3), rtol=1e-4, atol=1e-4)
    assert found.kind == "pca"


def test_nmf_is_not_negative_and_explains_what_the_layer_is_made_of():
    pytest.importorskip("sklearn", reason="scikit-learn is not installed (extra features)")
    net, data = colour_net(), ColourWorld(24)
    found = ul.fit_features(net, "pool", data, method="nmf", count=6)
    assert bool((found.decoder >= 0).all())
    with ul.evaluating(net.model), ul.record(net.model, "pool") as recording:
        net.model(torch.stack([torch.from_numpy(data[i].image).permute(2, 0, 1) / 255 for i in range(24)]))
    seen = recording["pool"].movedim(1, -1).flatten(0, 2)
    assert explained(found, seen) > 0.95
    fewer = ul.fit_features(net, "pool", data, method="nmf", count=6, positions=300, limit=12)
    assert fewer.sha256 != found.sha256


def test_nmf_may_have_more_features_than_the_layer_has_units():
    pytest.importorskip("sklearn", reason="scikit-learn is not installed (extra features)")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ul.UnitlensWarning)  # of 400 iterations, which may not be enough
        found = ul.fit_features(colour_net(), "pool", ColourWorld(8), method="nmf", count=11, positions=200)
    assert found.count == 11
    assert bool(torch.isfinite(found.decoder).all())
    assert bool((found.decoder >= 0).all())


def test_of_more_images_than_positions_some_of_all_are_drawn():
    net = lookup(np.arange(64.0).reshape(64, 1, 1, 1) * np.ones((1, 2, 4, 4)))
    data = InMemory([{}] * 64, (ul.Concept("object", 1, "thing"),))
    reading = Reading(batch_size=8)
    seen = _positions(net, "layer", as_data(data), reading, most=8)[:, 0]
    assert len(seen) == len(seen.unique()) == 8
    assert seen.max() >= 56
    assert len(_positions(net, "layer", as_data(data), reading, most=130)) == 128


@pytest.mark.parametrize("positions", [90, 100_000])
def test_a_run_is_fitted_as_its_images_are_and_shows_none_of_those_that_it_kept(tmp_path, positions):
    net, data, how = colour_net(), ColourWorld(24), {"method": "topk:1", "count": 4, "steps": 3}
    how["positions"] = positions
    run = ul.dissect(net, "pool", data, quantile=0.05, evidence=False, exemplars=0)
    kept = ul.dissect(net, "pool", data, quantile=0.05, evidence=False, exemplars=0, checkpoint=tmp_path / "kept")
    expected = ul.fit_features(net, "pool", data, **how)
    assert ul.fit_features(kept, "pool", **how).sha256 == expected.sha256
    again = ul.fit_features(run, "pool", data, net=net, **how)
    assert again.sha256 == expected.sha256
    assert again.fitted_to == expected.fitted_to == FittedTo("pool", net.fingerprint())


def test_what_a_run_cannot_be_fitted_to():
    net, data = colour_net(), ColourWorld(24)
    run = ul.dissect(net, "pool", data, quantile=0.05, evidence=False, exemplars=0)
    rows = torch.eye(8)[:4]
    features = ul.features({"encoder": rows, "decoder": rows}, kind="relu")
    of_features = ul.dissect(net, "pool", data, quantile=0.05, evidence=False, exemplars=0, basis=features)
    for refused, sentence in (
        (lambda: ul.fit_features(run, "pool"), "the run did not keep its activations: give net= and data="),
        (lambda: ul.fit_features(run, "poll", data, net=net), r"poll was not dissected \(did you mean pool\?\)"),
        (lambda: ul.fit_features(run, "pool", data, net=net, limit=3), "limit=3 is of others: leave it out"),
        (lambda: ul.fit_features(of_features, "pool", data, net=net), "are features of a dictionary, and a dictionary"),
        (lambda: ul.fit_features(net, "pool"), "give data="),
        (lambda: ul.fit_features(net, "pool", data, net=net), "net= is of a run that kept no activations"),
        (lambda: ul.fit_features("runs/a", "pool", data), "and not of str: give what ul.load, ul.dissect or ul.open"),
    ):
        with pytest.raises(ul.UnitlensError, match=sentence):
            refused()


def test_a_dictionary_remembers_its_layer_and_its_network(tmp_path):
    net, data, how = colour_net(), ColourWorld(24), {"quantile": 0.05, "evidence": False, "exemplars": 0}
    file = ul.fit_features(net, "pool", data, method="topk:1", count=4, steps=3).save(tmp_path / "sae.safetensors")
    features = ul.features(file)
    assert features.fitted_to == FittedTo("pool", net.fingerprint())
    assert ul.features({**features.tensors}, kind=features.kind).fitted_to is None
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert ul.dissect(net, "pool", data, basis=features, **how).info["warnings"] == []
    with pytest.warns(ul.UnitlensWarning, match=r"fitted to the layer pool, and are read from conv here"):
        run = ul.dissect(net, "conv", data, basis=features, **how)
    assert any("fitted to the layer pool" in note for note in run.info["warnings"])
    other = colour_net()
    with torch.no_grad():
        next(other.model.parameters()).mul_(2)
    with pytest.warns(ul.UnitlensWarning, match=rf"pool of another network .* begins with {net.fingerprint()[:8]}, th"):
        ul.dissect(other, "pool", data, basis=features, **how)
    with pytest.raises(ul.UnitlensError, match="A dictionary is of one layer, and conv, pool were named"):
        ul.dissect(net, ["conv", "pool"], data, basis=features, **how)


@pytest.mark.parametrize(
    ("how", "sentence"),
    [
        ({"method": "nfm"}, r"method='nfm' is not known \(did you mean nmf\?\); there are pca, nmf and topk:K"),
        ({"method": "topk"}, r"kind='topk' lacks its number"),
        ({"method": "pca", "count": 9}, r"pool has 8 units, and as many principal components at most: lower count=9"),
        ({"method": "nmf", "positions": 0}, r"positions=0 must be 1 or more"),
        ({"method": "nmf", "count": 0}, r"count=0 must be 1 or more"),
        ({"method": "topk:9", "count": 4}, r"Of 4 features 9 are to be active.*raise count= or steps="),
        ({"method": "nmf", "layer": "conv"}, r"conv has activations below 0, which NMF has no place for"),
    ],
)
def test_sentences(how, sentence):
    how = {"layer": "pool", **how}
    with pytest.raises(ul.UnitlensError, match=sentence):
        ul.fit_features(colour_net(), how.pop("layer"), ColourWorld(8), **how)


def test_the_networks_parameters_get_no_gradients():
    net = ul.classifier(nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU()), image_size=32, mean=(0, 0, 0), std=(1, 1, 1))
    ul.fit_features(net, "1", ColourWorld(8), method="topk:1", count=4, steps=5)
    assert all(parameter.grad is None for parameter in net.model.parameters())
