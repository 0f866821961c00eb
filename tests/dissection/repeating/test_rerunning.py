"""Runs that are repeated: the same bit for bit, or what differs first and why."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file, save_file

import unitlens as ul
from tests.worlds.coloured import everything_below
from tests.worlds.planted import ColourWorld, colour_net
from unitlens.dissection.repeating.differences import compare_files, likely_reasons


@pytest.fixture
def copy_of(run_folder, tmp_path):
    """A copy of the run, to be changed."""
    return shutil.copytree(run_folder, tmp_path / "copy")


def edit(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def test_a_run_repeats_to_the_same_bits_and_leaves_nothing_behind(run_folder, tmp_path, shell, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    before = {path.name: path.read_bytes() for path in run_folder.iterdir()}
    said = shell("rerun", run_folder, "--trust", "--workers", 0, "--quiet")
    assert said.code == 0, said
    assert "the same bit for bit" in said.out
    assert {path.name: path.read_bytes() for path in run_folder.iterdir()} == before
    assert everything_below(tmp_path) == set()


KINDS = {f"square {image}": "odd" if image % 2 else "even" for image in range(12)}


def test_directions_and_groups_are_those_of_the_run(tmp_path):
    net, data, basis = colour_net(), ColourWorld(12), np.eye(3, 8, dtype=np.float32)
    pairs = {name: f"pair {number // 2}" for number, name in enumerate(KINDS)}
    asked = {"basis": basis, "groups": pairs, "within": KINDS, "quantile": 0.05, "exemplars": 2, "limit": 10}
    run = ul.dissect(net, "pool", data, evidence=False, **asked).save(tmp_path / "run")
    again = ul.rerun(run, net, data, basis=basis, within=KINDS, out=tmp_path / "again")
    assert again.same, again.table()
    assert again.table()["file"].tolist() == [
        *("run.json", "units.csv", "counts.safetensors", "exemplars.csv", "strips.safetensors", "groups.csv")
    ]
    assert ul.open_run(tmp_path / "again").groups == ul.open_run(run).groups
    with pytest.raises(ul.UnitlensError, match=r"directions.*basis="):
        ul.rerun(run, net, data, within=KINDS)
    with pytest.raises(ul.UnitlensError, match=r"not those of the run.*basis="):
        ul.rerun(run, net, data, basis=2 * basis, within=KINDS)
    with pytest.raises(ul.UnitlensError, match=r"in memory.*within="):
        ul.rerun(run, net, data, basis=basis)
    with pytest.raises(ul.UnitlensError, match="within= are not those of the run"):
        ul.rerun(run, net, data, basis=basis, within={**KINDS, "square 0": "odd"})
    with pytest.raises(ul.UnitlensError, match="holds a run already"):
        ul.rerun(run, net, data, basis=basis, within=KINDS, out=tmp_path / "again")


@pytest.mark.slow
def test_controls_and_evidence_repeat_to_the_same_bits(tmp_path):
    net, data = colour_net(), ColourWorld(24)
    controls = ["untrained:2", "rotated"]
    d = ul.dissect(net, ["pool", "head"], data, quantile=0.05, control=controls, levels=True, groups="sequence:2")
    again = ul.rerun(d.save(tmp_path / "run"), net, data)
    assert again.same, again.table()


def test_other_images_are_the_reason_for_other_numbers(dissection, net, tmp_path, shell):
    world = shutil.copytree(dissection.info["data"]["source"], tmp_path / "moved")
    run = dissection.save(tmp_path / "run")
    network = dissection.info["network"]["name"]
    here = ("rerun", run, "--network", network, "--data", world, "--workers", 0)
    assert shell(*here, "--quiet").code == 0  # in another place, and the same
    image = np.asarray(Image.open(world / "images" / "03.png"))
    Image.fromarray(255 - image).save(world / "images" / "03.png")
    said = shell(*here, "--out", tmp_path / "again")
    assert said.code == 1
    assert "a likely reason: the images, or what is marked in them, are others" in said.out
    assert (tmp_path / "again" / "units.csv").exists()
    lines = dict(line.split(maxsplit=1) for line in said.out.splitlines())
    assert "data.sha256 is " in lines["run.json"]
    assert " of layer 0, unit 0 is " in lines["units.csv"]
    assert "rows differ" in lines["units.csv"]


def test_what_would_run_code_is_refused_and_another_network_is_an_error(run_folder, tmp_path, shell, net):
    said = shell("rerun", run_folder)
    assert (said.code, said.out) == (2, "")
    assert "import and call" in said.err
    assert "--trust" in said.err
    with pytest.raises(ul.UnitlensError, match="trust=True"):
        ul.rerun(run_folder)
    other = colour_net()
    with pytest.raises(ul.UnitlensError, match="weights of ColourNet are not those of the run"):
        ul.rerun(run_folder, other, trust=True)
    assert shell("rerun", tmp_path).code == 2


def test_each_file_says_what_differs_first(run_folder, copy_of):
    info = json.loads((copy_of / "run.json").read_text())
    info |= {"created": "1999", "command": "x", "timings": {}, "versions": {}, "machine": {}}
    (copy_of / "run.json").write_text(json.dumps(info))
    assert all(file.same for file in compare_files(run_folder, copy_of))
    info["layers"]["0"]["mean"][2] += 1
    (copy_of / "run.json").write_text(json.dumps(info))
    edit(copy_of / "units.csv", "red", "crimson")
    counts = load_file(copy_of / "counts.safetensors")
    counts["0/concept_by_fold"][0, 1] += 1
    save_file(counts, copy_of / "counts.safetensors")
    strips = load_file(copy_of / "strips.safetensors")
    strips["0/2"] = strips["0/2"][:-1].copy()
    save_file(strips, copy_of / "strips.safetensors")
    (copy_of / "exemplars.csv").write_text((run_folder / "exemplars.csv").read_text().rstrip().rpartition("\n")[0])
    (copy_of / "groups.csv").write_text("image,group\n")
    found = {file.name: file.difference for file in compare_files(run_folder, copy_of)}
    assert found["run.json"].startswith("layers.0.mean.2 is ")
    assert found["units.csv"] == "concept of layer 0, unit 0 is crimson, was red (1 of 7 rows differ)"
    assert found["counts.safetensors"].startswith("0/concept_by_fold at (0, 1) is ")
    assert "(1 of " in found["counts.safetensors"]
    assert found["strips.safetensors"].startswith("the strip of layer 0, unit 2 is another")
    assert found["exemplars.csv"].startswith("has ")
    assert found["groups.csv"] == "is in one of the two runs only"


def test_versions_and_processors_are_likely_reasons(dissection):
    info = dissection.info
    (reason,) = likely_reasons(info, info)
    assert "another device" in reason
    other = {**info, "versions": {**info["versions"], "torch": "1.0"}, "machine": {"processor": "abacus"}}
    assert [reason.split(" is ")[0] for reason in likely_reasons(other, info)] == ["torch", "processor"]
