"""Dictionaries and reconstructions that are there are kept where they are what was asked for, and not else."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

import unitlens as ul
from tests.dissection.repeating.test_explained_again import slow
from tests.dissection.repeating.test_measured_again import KEPT, told
from tests.dissection.repeating.test_what_decides import (
    add_byte,
    add_image,
    add_space,
    assert_whatever_decides_makes_another_question,
)
from tests.worlds.coloured import write_world
from unitlens.data.batches import Batches
from unitlens.dissection.dictionaries import fitting

FEW = ("--method", "topk:2", "--count", 6, "--steps", 3, "--positions", 500)
NETWORK = ("fit", "bundled:scenes", "--weights", "weights.safetensors", "--layer", "relu6", "--data", "world", *FEW)
RUN = ("fit", "RUN", *FEW)
RECONSTRUCT = ("reconstruct", "RUN")
OF_NETWORK, PLAIN, ACTIVATIONS, FEATURES = None, (), ("--keep-activations",), ("--features", "dictionary.safetensors")


@pytest.fixture
def ask(shell, tmp_path, old_files):
    """Ask a command of a run of some options, and of the images and weights beside it."""
    write_world(tmp_path / "world", images=12)
    write_world(tmp_path / "elsewhere", images=4)
    save_file(ul.load("bundled:scenes").model.state_dict(), tmp_path / "weights.safetensors")
    rows = torch.eye(128)[:4]
    dictionary = ul.features({"encoder": rows, "decoder": rows}, kind="relu")
    dictionary.save(tmp_path / "dictionary.safetensors")

    def dissect(options):
        how = ("--no-evidence", "--exemplars", 0, "--workers", 0, "--quantile", 0.1, "--pairs", 0, "--quiet")
        said = shell("dissect", "bundled:scenes", "--layer", "relu6", "--data", "world", "--out", "run", *how, *options)
        assert said.code == 0, said.err

    def asked(words, *more, run=OF_NETWORK):
        if run is not OF_NETWORK and not (tmp_path / "run").exists():
            dissect(run)
        return shell(*("run" if word == "RUN" else word for word in words), "--workers", 0, *more)

    return asked


def halve_first(path):
    """The same, which every network can be of."""
    tensors = load_file(path)
    name = next(iter(tensors))
    save_file({**tensors, name: tensors[name] / 2}, path)


IMAGES = {"world/images/03.png": add_byte, "world/images": lambda path: add_image(path, like="03.png")}
QUESTIONS = [
    (NETWORK, OF_NETWORK, ("--seed", 1), {**IMAGES, "weights.safetensors": halve_first}),
    slow(NETWORK, OF_NETWORK, ("--method", "topk:3"), {}),
    slow(NETWORK, OF_NETWORK, ("--limit", 8), {}),
    slow(RUN, PLAIN, ("--count", 7), {**IMAGES, "run/run.json": add_space}),
    slow(RUN, ACTIVATIONS, ("--steps", 4), {"run/activations/1/new": Path.touch, "run/run.json": add_space}),
    (RECONSTRUCT, FEATURES, ("--batch-size", 5), {"world/images/03.png": add_byte, "run/run.json": add_space}),
]


@pytest.mark.parametrize(("words", "run", "other", "files"), QUESTIONS)
def test_whatever_decides_makes_another_question(ask, key_of, tmp_path, monkeypatch, words, run, other, files):
    if run is not OF_NETWORK:
        ask(("units", "RUN"), run=run)
    assert_whatever_decides_makes_another_question(key_of, tmp_path, monkeypatch, words, other, files)


@pytest.mark.parametrize(("words", "run"), [(RUN, ACTIVATIONS), slow(RUN, PLAIN), slow(NETWORK, OF_NETWORK)])
def test_a_dictionary_is_kept_where_it_is_what_was_asked_for(ask, tmp_path, monkeypatch, words, run):
    kept = f"unitlens: features.safetensors has these features already, {KEPT}."
    first = ask(words, run=run)
    assert (first.code, told(first), kept in first.err) == (0, "6 features of relu6, topk:2\n", False), first.err
    file = tmp_path / "features.safetensors"
    there = file.stat()
    with monkeypatch.context() as patch:
        patch.setattr(Batches, "__iter__", None)  # no pass
        patch.setattr(fitting, "_fitted", None)
        again = ask(words, "--threads", 1)
    assert (again.code, again.out, kept in again.err) == (0, told(first), True), again.err
    assert (file.stat().st_mtime_ns, file.stat().st_ino) == (there.st_mtime_ns, there.st_ino)
    refused = ask(words, "--count", 5)
    assert (refused.code, "features.safetensors is there already" in refused.err) == (2, True), refused.err
    anew = ask(words, "--overwrite")
    assert (anew.code, told(anew), kept in anew.err) == (0, told(first), False), anew.err
    assert kept in ask(words).err
    changed = bytearray(file.read_bytes())
    changed[-1] ^= 1
    file.write_bytes(changed)
    with monkeypatch.context() as patch:
        patch.setattr("unitlens.cli.dictionaries.fit.begin", None)  # nothing is opened
        refused = ask(words)
    assert (refused.code, "features.safetensors is there already" in refused.err) == (2, True), refused.err
    assert file.read_bytes() == changed  # which is not what was fitted
    file.unlink()
    assert kept not in ask(words).err
    assert kept in ask(words).err


@pytest.mark.slow
def test_dictionaries_are_kept_in_each_file_whatever_its_name(ask):
    for name in ("[1].safetensors", "a*.safetensors"):
        first, again = (ask(NETWORK, "--out", name) for _ in range(2))
        assert (first.code, KEPT in first.err, KEPT in again.err) == (0, False, True)


def test_a_dictionary_of_images_that_could_not_all_be_read_is_fitted_anew(ask, tmp_path):
    image = tmp_path / "world" / "images" / "03.png"
    readable = image.read_bytes()
    image.write_bytes(b"")
    assert [ask(NETWORK).code for _ in range(2)] == [0, 2]
    image.write_bytes(readable)
    assert [ask(NETWORK, *how).code for how in ((), ("--overwrite",), ())] == [2, 0, 0]


@pytest.mark.parametrize("more", [(), ("--data", "elsewhere")])
def test_a_reconstruction_is_kept_where_it_is_what_was_asked_for(ask, tmp_path, monkeypatch, more):
    kept = f"unitlens: run has these reconstructions already, {KEPT}."
    first = ask(RECONSTRUCT, *more, run=FEATURES)
    assert (first.code, "of the variance" in first.out, kept in first.err) == (0, True, False), first.err
    assert ("measured on other images" in first.err) == bool(more)
    file = tmp_path / "run" / "reconstruction.json"
    there = file.stat()
    with monkeypatch.context() as patch:
        patch.setattr(Batches, "__iter__", None)
        again = ask(RECONSTRUCT, *more)
    assert (again.code, again.out, kept in again.err) == (0, told(first), True), again.err
    assert first.err in again.err
    assert (file.stat().st_mtime_ns, file.stat().st_ino) == (there.st_mtime_ns, there.st_ino)
    anew = ask(RECONSTRUCT, *more, "--overwrite")
    assert (anew.code, told(anew), kept in anew.err) == (0, told(first), False), anew.err
    assert kept in ask(RECONSTRUCT, *more).err
    file.write_text(file.read_text() + " ")
    assert kept not in ask(RECONSTRUCT, *more).err  # it is not what was measured; it is replaced
    assert kept in ask(RECONSTRUCT, *more).err
