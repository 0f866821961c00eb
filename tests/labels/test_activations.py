"""The activations of a run: those that it kept, or of one more pass, always the same."""

import numpy as np
import pytest

import unitlens as ul


def values(stored):
    maps = {name: layer.maps.read(range(stored.images)) for name, layer in stored.layers.items()}
    return {**maps, "planes": stored.labels.planes.read(range(stored.images))}


def test_a_run_that_keeps_its_activations_needs_neither_network_nor_images(shell, sees, world, tmp_path):
    net = ul.load(sees[0], image_size=32, mean=(0, 0, 0), std=(1, 1, 1))
    said = shell("dissect", *sees, "--data", world, "--out", "run", "--keep-activations")
    assert said.code == 0
    assert "of activations in run/activations/" in said.out
    assert not (tmp_path / "run/.unitlens-work").exists()
    run = ul.open_run(tmp_path / "run")
    with ul.activations(run) as kept:
        here = values(kept)
    plain = ul.dissect(net, "0", world, quantile=0.1)
    with pytest.raises(ul.UnitlensError, match=r"one pass|a pass.*net= and data="), ul.activations(plain):
        pass
    with ul.activations(plain, net, world) as again:
        there = values(again)
    assert here.keys() == there.keys()
    assert all(np.array_equal(here[name], there[name]) for name in here)


def test_a_run_of_parts_keeps_the_activations_of_all(shell, sees, world, tmp_path):
    for part in ("1/2", "2/2"):
        assert shell("dissect", *sees, "--data", world, "--out", part[0], "--shard", part).code == 0
    said = shell("merge", "1", "2", "--out", "run", "--keep-activations")
    assert said.code == 0
    assert "of activations in run/activations/" in said.out
    shell("dissect", *sees, "--data", world, "--out", "whole", "--keep-activations")
    here, there = ul.open_run(tmp_path / "run"), ul.open_run(tmp_path / "whole")
    with ul.activations(here) as of_parts, ul.activations(there) as of_one:
        one, other = values(of_parts), values(of_one)
    assert all(np.array_equal(one[name], other[name]) for name in one)


def test_a_run_that_replaces_it_does_not_keep_the_old_activations(shell, sees, world, tmp_path):
    shell("dissect", *sees, "--data", world, "--out", "run", "--keep-activations")
    assert shell("dissect", *sees, "--data", world, "--out", "run", "--overwrite").code == 0
    assert not (tmp_path / "run/activations").exists()
    assert ul.open_run(tmp_path / "run").activations is None


def test_a_dissection_with_checkpoints_keeps_its_activations(net, world, tmp_path):
    run = ul.dissect(net, "0", world, quantile=0.1, checkpoint=tmp_path / "kept")
    with ul.activations(run) as kept:
        assert list(kept.layers) == ["0"]
        assert kept.images == run.info["data"]["images"]
    with ul.activations(run["0"]) as kept:
        assert kept.layers["0"].units == 4


def test_activations_of_other_images_are_refused(net, world, tmp_path):
    from dataclasses import replace

    run = ul.dissect(net, "0", world, quantile=0.1, checkpoint=tmp_path / "kept")
    other = ul.dissect(net, "0", world, quantile=0.1, limit=8, checkpoint=tmp_path / "other")
    with (
        pytest.raises(ul.UnitlensError, match="are not those of the run"),
        ul.activations(replace(run, activations=other.activations)),
    ):
        pass
    with (
        pytest.raises(ul.UnitlensError, match="weights"),
        ul.activations(replace(run, activations=None), _other(), world),
    ):
        pass


def _other():
    from torch import nn

    return ul.classifier(nn.Sequential(nn.Conv2d(3, 4, 1)), image_size=32, mean=(0, 0, 0), std=(1, 1, 1))


def test_a_store_that_is_damaged_or_not_finished_is_refused(net, world, tmp_path):
    run = ul.dissect(net, "0", world, quantile=0.1, checkpoint=tmp_path / "kept")
    manifest = run.activations / "manifest.json"
    whole = manifest.read_text()
    manifest.write_text(whole.replace('"complete": true', '"complete": false'))
    with pytest.raises(ul.UnitlensError, match="does not hold a finished pass"), ul.activations(run):
        pass
    manifest.write_text("{")
    with pytest.raises(ul.UnitlensError, match="manifest"), ul.activations(run):
        pass
