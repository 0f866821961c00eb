"""What a dictionary holds of a layer: against loops, and into a run and its comparison."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

import unitlens as ul
from tests.worlds.planted import ColourWorld
from unitlens.dissection.dictionaries.result import COLUMNS


@pytest.fixture(scope="module")
def scenes():
    return ul.load("bundled:scenes"), ul.Scenes(48)


def drawn(*shape, seed=1):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def poor():
    """A dictionary that loses most of the layer."""
    rows = drawn(12, 128)
    rows = rows / rows.norm(dim=1, keepdim=True)
    return ul.features({"encoder": rows, "decoder": rows}, kind="topk:3")


def test_variance_and_accuracy_are_those_of_loops(scenes):
    net, data = scenes
    found = ul.reconstruction(net, "relu6", data, basis=poor(), batch_size=7)
    names = [data[i].class_ for i in range(48)]
    outputs, seen, made = [], [], []
    with ul.evaluating(net.model):
        for i in range(48):
            image = net.prepare(torch.from_numpy(data[i].image).permute(2, 0, 1)[None])
            with ul.record(net.model, "relu6") as recording:
                before = net.model(image).argmax(1)
            x = recording["relu6"]
            replaced = poor().reconstruct(poor().apply(x, "relu6"))
            with ul.edit(net.model, {"relu6": lambda _, replaced=replaced: replaced}):
                outputs.append((before.item(), net.model(image).argmax(1).item()))
            seen.append(x.movedim(1, -1).flatten(0, 2))
            made.append(replaced.movedim(1, -1).flatten(0, 2))
    x, made = torch.cat(seen).double(), torch.cat(made).double()
    expected = 1 - float((x - made).square().sum() / (x - x.mean(0)).square().sum())
    assert found.explained == pytest.approx(expected, abs=1e-6)
    truth = [net.classes.index(name) for name in names]
    right = np.mean([before == true for (before, _), true in zip(outputs, truth, strict=True)])
    assert found.accuracy == pytest.approx(right)
    kept = np.mean([after == true for (_, after), true in zip(outputs, truth, strict=True)])
    assert found.accuracy_kept == pytest.approx(kept)
    assert found.accuracy_kept < found.accuracy
    assert found.accuracy_effect_low <= found.accuracy_effect <= found.accuracy_effect_high
    assert found.explained_low < found.explained < found.explained_high
    assert found.active <= 3
    assert list(found.table()) == list(COLUMNS)


def test_a_rotation_holds_everything(scenes):
    net, data = scenes
    turn = torch.linalg.qr(drawn(128, 128))[0]
    found = ul.reconstruction(net, "relu6", data, basis=turn, limit=16)
    assert found.explained == pytest.approx(1, abs=1e-6)
    assert found.accuracy_kept == pytest.approx(found.accuracy)
    assert found.basis.kind is None


def test_a_layer_of_vectors_has_one_position():
    model = nn.Sequential(nn.Conv2d(3, 2, 8, stride=8), nn.ReLU(), nn.Flatten(), nn.Linear(32, 4))
    net = ul.classifier(model, image_size=32, mean=(0, 0, 0), std=(1, 1, 1))
    found = ul.reconstruction(net, "2", ColourWorld(8), basis=torch.eye(32))
    assert found.explained == pytest.approx(1, abs=1e-6)
    images = torch.stack([torch.from_numpy(ColourWorld(8)[i].image).permute(2, 0, 1) / 255 for i in range(8)])
    with torch.no_grad():
        seen = model[:3](images).double()
    half = ul.reconstruction(net, "2", ColourWorld(8), basis=torch.eye(32)[:16])
    left = float(seen[:, 16:].square().sum() / (seen - seen.mean(0)).square().sum())
    assert half.explained == pytest.approx(1 - left, abs=1e-5)


def test_of_a_run_in_the_shell_and_in_its_comparison(shell, tmp_path):
    poor().save(tmp_path / "sae.safetensors")
    how = ("dissect", "bundled:scenes", "--limit", 32, "--layer", "relu6", "--no-evidence", "--exemplars", 0, "--quiet")
    assert shell(*how, "--features", "sae.safetensors", "--out", "sae").code == 0
    assert shell(*how, "--out", "units").code == 0
    said = shell("reconstruct", "sae", "--workers", 0)
    assert said.code == 0, said.err
    assert "of 12 features active at a position; accuracy" in said.out
    assert "other images" not in said.err
    with pytest.warns(ul.UnitlensWarning, match=r"units \(the layer's own and 12 features, [0-9a-f]{8}\)"):
        rows = ul.compare("units", "sae").table().query("category == 'all'").set_index("entry")
    (record,) = json.loads((tmp_path / "sae" / "reconstruction.json").read_text())
    assert rows.loc["sae", "explained"] == record["explained"]
    assert rows.loc["sae", "accuracy_effect_low"] == record["accuracy_effect_low"]
    assert np.isnan(rows.loc["units", "explained"])
    refused = shell("reconstruct", "units")
    assert "are the layer's own, which hold all of it" in refused.err
    other = ul.reconstruction(ul.load("bundled:scenes"), "relu6", ul.Scenes(8), basis=torch.eye(128)[:2])
    with pytest.raises(ul.UnitlensError, match="is of other units of relu6 than those that the reconstruction was me"):
        other.save("sae")
    elsewhere = ul.reconstruction(ul.load("bundled:scenes"), "relu6", ul.Scenes(8), basis=poor())
    with pytest.raises(
        ul.UnitlensError, match=r"is of a network whose SHA-256 begins with [0-9a-f]{8}, and .* 00000000"
    ):
        replace(elsewhere, network_sha256="0" * 64).save("sae")
    with pytest.warns(ul.UnitlensWarning, match="measured on other images, or other marks, than the run in sae"):
        elsewhere.save("sae")
    with pytest.warns(ul.UnitlensWarning, match=r"images of the reconstruction \(sae: of other images or marks"):
        ul.compare("units", "sae")
    (tmp_path / "sae" / "reconstruction.json").write_text("{}")
    damaged = r"reconstruction.json is damaged \(it is not a list\)"
    with pytest.raises(ul.UnitlensError, match=damaged):
        ul.compare("units", "sae")
    with pytest.raises(ul.UnitlensError, match=rf"{damaged}: save it again with overwrite=True, or remove the file"):
        elsewhere.save("sae")
    refused = shell("reconstruct", "sae", "--workers", 0)
    assert (refused.code, "reconstructing" in refused.err) == (2, False)
    assert "is damaged (it is not a list): `unitlens reconstruct RUN --overwrite`, or remove the file" in refused.err
    assert shell("reconstruct", "sae", "--workers", 0, "--overwrite").code == 0
    (again,) = json.loads((tmp_path / "sae" / "reconstruction.json").read_text())
    assert again == record
