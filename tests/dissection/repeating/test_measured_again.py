"""Effects, outcomes and interventions that are there are kept where they are what was asked for, and not else."""

from dataclasses import replace

import click
import numpy as np
import pytest
import torch

import unitlens as ul
from tests.cli.test_ablate import name_classes
from tests.worlds.coloured import write_world
from unitlens.cli.repeating import Asked, begin
from unitlens.cli.targets import Source
from unitlens.models.bases import Basis

KEPT = "and keeps them; --overwrite makes them anew"


def told(said):
    """What a command prints, without where it was written."""
    return "".join(line for line in said.out.splitlines(keepends=True) if not line.startswith("wrote "))


def warnings_in(said):
    return [line for line in said.err.splitlines() if KEPT not in line and "by the same command" not in line]


@pytest.fixture
def run(shell, tmp_path, old_files):
    world = name_classes(write_world(tmp_path / "world", images=12), images=12)
    how = ("--no-evidence", "--exemplars", 0, "--workers", 0, "--quantile", 0.1, "--pairs", 0)
    assert shell("dissect", "bundled:scenes", "--layer", "relu6", "--data", world, "--out", "run", *how).code == 0
    return tmp_path / "run"


@pytest.mark.parametrize(
    ("asked", "file"),
    [
        (("--units", "1,2", "--outcome", "output:1"), "outcomes.csv"),
        pytest.param(("--sweep", "--attributions"), "effects.attributions.csv", marks=pytest.mark.slow),
        pytest.param(("--sweep", "--outcome", "output:1"), "outcomes.csv", marks=pytest.mark.slow),
    ],
)
def test_what_is_there_already_is_kept_and_said(shell, run, tmp_path, monkeypatch, asked, file):
    ask = ("ablate", "run", *asked, "--draws", 1, "--workers", 0)
    first = shell(*ask)
    assert first.code == 0
    written = (run / file).stat().st_mtime_ns
    again = shell(*ask, "--threads", 1)
    assert (again.code, again.out, KEPT in again.err) == (0, told(first), True), again
    assert warnings_in(again) == warnings_in(first)
    assert shell(*ask, "--quiet").out == ""
    assert (run / file).stat().st_mtime_ns == written
    for other in (("--batch-size", 5), ("--value", "mean")):
        refused = shell(*ask, *other)
        assert (refused.code, "holds" in refused.err) == (2, True), refused
    assert KEPT not in shell(*ask, "--overwrite").err
    assert KEPT in shell(*ask).err
    monkeypatch.setenv("UNITLENS_ANSWERS", "none")
    assert shell(*ask).code == 2


@pytest.mark.slow
def test_what_follows_from_anything_else_is_no_answer(shell, run, tmp_path):
    ask = ("ablate", "run", "--units", 1, "--outcome", "similarity:aim.npy", "--draws", 1, "--workers", 0)
    classes = len(ul.Scenes(1).classes)
    np.save(tmp_path / "aim.npy", np.ones((1, classes), np.float32))
    first = shell(*ask)
    assert first.code == 0, first.err
    assert KEPT in shell(*ask).err
    np.save(tmp_path / "aim.npy", np.arange(classes, dtype=np.float32)[None])
    assert shell(*ask).code == 2  # another vector
    assert shell(*ask, "--overwrite").code == 0
    assert KEPT in shell(*ask).err
    table = run / "outcomes.csv"
    table.write_text(table.read_text() + "\n")
    assert shell(*ask).code == 2  # the answer was changed


@pytest.mark.slow
def test_effects_are_kept_in_each_folder_that_has_them(shell, old_files):
    how = ("--no-evidence", "--exemplars", 0, "--limit", 24, "--quantile", 0.1, "--pairs", 0)
    assert shell("dissect", "bundled:scenes", "--out", "run", *how).code == 0
    ask = ("ablate", "run", "--units", "1,2", "--draws", 1)
    first = [shell(*ask, "--out", out) for out in ("run", "other")]
    for out, before in zip(("run", "other"), first, strict=True):
        again = shell(*ask, "--out", out)
        assert (again.code, again.out) == (before.code, told(before)) == (0, told(first[0])), again
        assert f"{out} has these effects already, {KEPT}" in again.err


@pytest.mark.slow
def test_interventions_are_kept(shell, tmp_path, old_files):
    how = ("--no-evidence", "--exemplars", 0, "--latents", 16, "--quantile", 0.1)
    assert shell("dissect", "bundled:scenes-generator", "--out", "run", *how).code == 0
    ask = ("intervene", "run", "--concept", "tree", "--remove", 2, "--draws", 1)
    first = shell(*ask)
    again = shell(*ask)
    assert (first.code, again.code, again.out, KEPT in again.err) == (0, 0, told(first), True), again
    assert shell(*ask[:-3], 3, "--draws", 1).code == 2
    assert (tmp_path / "run" / "interventions.csv").exists()


def test_files_that_options_name_decide_though_options_are_taken_apart(shell, tmp_path, old_files):
    name_classes(write_world(tmp_path / "world", images=6), images=6)
    for sign in (1.0, -1.0):
        np.save(tmp_path / "basis.npy", sign * np.eye(128, dtype=np.float32))
        ask = ("ablate", "bundled:scenes", "--layer", "relu6", "--data", "world", "--basis", "basis.npy")
        said = shell(*ask, "--units", 1, "--outcome", "output:1", "--draws", 1, "--workers", 0, "--out", "out")
        assert (said.code, KEPT in said.err) == ((0, False) if sign > 0 else (2, False)), said


def test_what_the_network_takes_and_its_directions_decide(old_files, tmp_path):
    net = ul.load("bundled:scenes")
    source = Source(net, ("relu6",), ul.Scenes(6), net.fingerprint(), None, 0, {})

    def key(**changed):
        with click.Context(click.Command("ablate"), info_name="ablate"):
            named = {"target": "bundled:scenes", "source": source._replace(**changed), "out": tmp_path, "files": ("a",)}
            return Asked(beginning=begin("bundled:scenes"), what="effects", **named).question().key

    darker = replace(net.preprocessing, mean=(0.1, 0.1, 0.1))
    bases = [Basis(torch.eye(128) * sign, "in memory") for sign in (1, -1)]
    keys = [
        key(),
        key(net=replace(net, preprocessing=darker)),
        key(net=replace(net, classes=net.classes[::-1])),
        *(key(basis=basis) for basis in bases),
    ]
    assert key() == keys[0]
    assert len(set(keys)) == 5
