"""Features of a dictionary as units: they are found where units are not, and removed through the decoder alone."""

import json

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import unitlens as ul
from tests.ablation.replay.replaying import close, made, residual, shown
from tests.worlds.planted import COLOURS, ColourWorld, colour_net
from unitlens.ablation.interventions import Intervention, Replacement, replace_units
from unitlens.ablation.replay.cutting import cut_network
from unitlens.ablation.replay.sweeps import sweep
from unitlens.models.hooks import edit
from unitlens.models.units.space import UnitSpace

HOW = {"quantile": 0.05, "exemplars": 0}


def drawn(*shape, seed=1):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def dictionary(features, width, kind="relu", seed=1):
    return ul.features(
        {
            "encoder": drawn(features, width, seed=seed),
            "decoder": drawn(features, width, seed=seed + 1),
            "bias": drawn(features, seed=seed + 2) / 4,
            "offset": drawn(width, seed=seed + 3),
        },
        kind=kind,
    )


def naive(activation, features, units, value):
    """Position by position: a = act(E x + b), and x + D (a' - a)."""
    changed, k = activation.double().clone(), features.activation.k
    encoder, decoder, bias = (part.double() for part in (features.encoder, features.decoder, features.bias))
    for image in range(len(activation)):
        for place in np.ndindex(*activation.shape[2:]):
            x = activation[(image, slice(None), *place)].double()
            a = [max(0.0, float(row @ x + b)) for row, b in zip(encoder, bias, strict=True)]
            kept = sorted(a, reverse=True)[: k or len(a)]
            for unit in units:
                now = a[unit] if a[unit] >= kept[-1] else 0.0
                changed[(image, slice(None), *place)] += decoder[:, unit] * (value - now)
    return changed.float()


@pytest.mark.parametrize("kind", ["relu", "topk:3"])
@pytest.mark.parametrize("value", [0.0, 1.5])
def test_a_feature_is_set_as_position_by_position(kind, value):
    activation, features = drawn(2, 4, 3, 2, seed=9), dictionary(10, 4, kind)
    changed = replace_units(activation, [7, 2], Replacement(value), space=UnitSpace(basis=features))
    torch.testing.assert_close(changed, naive(activation, features, [7, 2], value), rtol=1e-4, atol=1e-5)
    tokens = replace_units(
        activation.flatten(2).mT, [7, 2], Replacement(value), space=UnitSpace(axis=2, basis=features)
    )
    torch.testing.assert_close(tokens.mT.reshape(changed.shape), changed, rtol=1e-4, atol=1e-5)


@given(st.permutations(range(6)))
def test_permuting_features_permutes_what_is_read(order):
    features = dictionary(6, 4, "topk:2")
    parts = {name: part[order] if len(part) == 6 else part for name, part in features.tensors.items()}
    permuted = ul.features(parts, kind="topk:2")
    maps = drawn(2, 4, 3, 3)
    torch.testing.assert_close(permuted.apply(maps, "layer"), features.apply(maps, "layer")[:, order])


@pytest.mark.parametrize("kind", ["relu", "topk:3", "jumprelu:0.4", "linear"])
@pytest.mark.parametrize(("layer", "width"), [("2", None), ("1.conv1", None), ("5", None)])
def test_a_sweep_of_features_gives_what_the_full_network_gives(kind, layer, width):
    model, images = made(residual), shown(size=12)
    cut = cut_network(model, layer, images)
    state = cut.front(images)
    space = UnitSpace(basis=dictionary(2 * state.activation.shape[1], state.activation.shape[1], kind))
    values = Replacement(0.0).values(space.read(state.activation))
    swept = torch.cat([block.outputs for block in sweep(cut, state, values, space=space, memory=2**14)])
    expected = []
    for unit in range(space.basis.count):

        def ablate(activation, unit=unit):
            return replace_units(activation, [unit], Replacement(0.0), space=space)

        with torch.inference_mode(), edit(model, {layer: ablate}):
            expected.append(model(images))
    close(swept, torch.stack(expected))


class Mixed(nn.Module):
    """The maps of four colours, each in two of three units: no unit is of one colour, four features are."""

    def __init__(self):
        super().__init__()
        self.colours = colour_net(extra=0).model
        self.layer = nn.Conv2d(4, 3, 1, bias=False)
        self.head = nn.Conv2d(3, 4, 1)
        with torch.no_grad():
            directions = torch.tensor([[1.0, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]])
            self.layer.weight.copy_(directions.T[:, :, None, None])

    def forward(self, images):
        found = self.colours.pool(self.colours.relu(self.colours.conv(images)))
        return self.head(self.layer(found)).amax((2, 3))


def mixed():
    torch.manual_seed(0)
    return ul.classifier(Mixed(), image_size=32, mean=(0, 0, 0), std=(1, 1, 1), classes=list(COLOURS))


def true_dictionary(net):
    rows = net.model.layer.weight.detach()[:, :, 0, 0].T
    return ul.features({"encoder": rows / 3, "decoder": rows, "bias": torch.full((4,), -0.02)}, kind="relu")


@pytest.fixture(scope="module")
def planted():
    net, data = mixed(), ColourWorld(96)
    return net, data, true_dictionary(net)


def test_features_are_detectors_where_units_are_not(planted):
    net, data, features = planted
    found = ul.dissect(net, "layer", data, basis=features, **HOW)
    assert list(found.table()["concept"]) == list(COLOURS)
    of_units = ul.dissect(net, "layer", data, **HOW).table()
    assert found.table()["iou"].min() > 2 * of_units["iou"].max()
    assert (found.table()["verdict"] == "detector").all()
    record = found.settings.basis
    assert (record.shape, record.kind, record.sha256) == ((4, 3), "relu", features.sha256)
    assert "4 features of a dictionary (in memory; relu; SHA-256" in str(found.methods())


def test_removing_a_feature_changes_its_own_part_and_nothing_else(planted):
    net, data, features = planted
    images = net.prepare(torch.stack([torch.from_numpy(data[i].image) for i in range(4)]).permute(0, 3, 1, 2) / 255)
    with ul.evaluating(net.model), ul.record(net.model, "layer") as before:
        net.model(images)
    x = before["layer"]
    with (
        ul.evaluating(net.model),
        ul.intervening(net, Intervention("layer", [2]), basis=features),
        ul.record(net.model, "head") as after,
    ):
        net.model(images)
    a = features.apply(x, "layer")
    expected = x - torch.einsum("c,nhw->nchw", features.decoder[:, 2], a[:, 2])
    with ul.evaluating(net.model):
        close(after["head"], net.model.head(expected))
    again = features.apply(expected, "layer")
    active = a[:, 2] > 0
    assert bool(active.any())
    assert float(again[:, 2][active].max()) < 0.1 * float(a[:, 2].max())  # it is gone
    untouched = features.apply(torch.where(active[:, None], 0.0, x), "layer")
    torch.testing.assert_close(torch.where(active[:, None], 0.0, again), torch.where(active[:, None], 0.0, untouched))


def test_effects_of_features_are_those_of_the_edit(planted):
    net, data, features = ul.load("bundled:scenes"), ul.Scenes(24), dictionary(20, 128, "topk:3")
    effects = ul.importance(net, "relu6", data, basis=features)
    assert effects.settings.ablation == "set to 0, features in memory"
    alone = ul.ablate(net, "relu6", [1], data, basis=features, draws=0)
    np.testing.assert_allclose(
        effects.estimate("logit").effect[1], alone.measured.estimate("logit").effect[0], atol=1e-4
    )
    net, data, features = planted
    dissected = ul.dissect(net, "layer", data, basis=features, **HOW)
    table = ul.explain(net, dissected, data, limit=2, most=0, basis=features).table()
    assert set(table["unit"]) <= set(range(4))
    with pytest.raises(ul.UnitlensError, match=r"features, which run\.json does not contain: give them with basis="):
        ul.explain(net, dissected, data)


def test_a_run_of_features_in_the_shell(shell, tmp_path):
    saved = dictionary(40, 128, "topk:4").save(tmp_path / "sae.safetensors")
    made = shell("dissect", "bundled:scenes", "--limit", 24, "--layer", "relu6", "--features", saved.name, "--quiet")
    assert made.code == 0, made.err
    assert "features of sae.safetensors" not in made.err
    record = json.loads((tmp_path / "run" / "run.json").read_text())["settings"]["basis"]
    assert (record["kind"], record["shape"]) == ("topk:4", [40, 128])
    assert shell("ablate", "run", "--sweep", "--quiet").code == 0
    assert len(ul.open_run("run").table()) == 40
    again = shell("rerun", "run")
    assert again.code == 0, again.err
    saved.unlink()
    gone = shell("ablate", "run", "--units", 1, "--overwrite")
    assert "The units of the run are features" in gone.err
    assert "give them with --features" in gone.err
    dictionary(40, 128, "topk:5").save(saved)
    other = shell("ablate", "run", "--units", 1, "--overwrite", "--features", saved.name)
    assert "are not those of the run" in other.err
    for wrong, sentence in [
        (("--features", saved.name, "--basis", "b.npy"), "--basis and --features both say what the units are"),
        (("--features-kind", "relu"), "give its file with --features FILE"),
        (("--features", "sea.safetensors"), "did you mean sae.safetensors?"),
        (("--features", saved.name, "--features-kind", "topk"), "--features-kind topk lacks its number"),
    ]:
        said = shell("dissect", "bundled:scenes", "--limit", 24, "--layer", "relu6", "--out", "o", *wrong)
        assert said.code == 2
        assert sentence in said.err
    wide = shell("dissect", "bundled:scenes", "--limit", 24, "--layer", "conv1", "--features", saved.name, "--out", "o")
    assert "read 128 units, but conv1 has 32: a dictionary belongs to the layer" in wide.err
