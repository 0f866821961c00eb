"""Explanations, audits and the like that are there are kept where they are what was asked for, and not else."""

import shutil

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

import unitlens as ul
from tests.dissection.repeating.test_measured_again import KEPT, told
from unitlens.data.batches import Batches

pytestmark = pytest.mark.usefixtures("scenes_drawn_once")

ANEW = "--overwrite measures them anew"

# of each command: its words, the start of the names of what it writes, what is kept, and other words
EXPLAIN = (("explain", "RUN", "photo.png", "--most", 2), "explanation.", "explanations", ("--top", 3))
ERRORS = (("explain", "RUN", "--errors", "--pairs", 1), "confusions.", "explained errors", ("--pairs", 2))
ATTACK = (
    ("attack", "RUN", "--from", "beach", "--images", 2, "--steps", 1),
    "attack.",
    "attacked images",
    ("--steps", 2),
)
SHORTCUTS = (
    ("shortcuts", "RUN", "--groups", "kinds.csv", "--most", 1, "--draws", 0),
    "shortcuts.",
    "shortcuts",
    ("--draws", 1),
)
PAIRS = (("compare-images", "RUN", "before", "after"), "pairs.", "changes", ("--interval", "0.99"))


@pytest.fixture(scope="session")
def scenes_run(tmp_path_factory):
    """A run of the bundled network; to be copied."""
    folder = tmp_path_factory.mktemp("asked") / "run"
    found = ul.dissect(ul.load("bundled:scenes"), "relu6", ul.Scenes(36), evidence=False, exemplars=0, quantile=0.1)
    ul.report(folder, found)
    return folder


@pytest.fixture
def ask(shell, scenes_run, tmp_path, old_files):
    """Ask a command about a copy of the run, with images beside it."""
    shutil.copytree(scenes_run, tmp_path / "run")
    scenes = ul.Scenes(4, seed=1)
    for side, first in (("before", 0), ("after", 2)):
        (tmp_path / side).mkdir()
        for number in range(2):
            Image.fromarray(scenes[first + number].image).save(tmp_path / side / f"{number}.png")
    shutil.copy(tmp_path / "before" / "0.png", tmp_path / "photo.png")
    (tmp_path / "kinds.csv").write_text(kinds(6))

    def asked(words, *more):
        return shell(*("run" if word == "RUN" else word for word in words), "--workers", 0, *more)

    return asked


def kinds(each):
    """A subgroup for every image of the run: of so many images one is of the smaller one."""
    classes = ul.Scenes(36).classes
    names = [f"test-0/{place:06d}-{classes[place % len(classes)]}.png" for place in range(36)]
    return "image,group\n" + "".join(f"{name},{'a' if place % each else 'b'}\n" for place, name in enumerate(names))


def written(folder, start):
    return {path: path.stat().st_mtime_ns for path in sorted(folder.rglob("*")) if path.name.startswith(start)}


def slow(*given):
    return pytest.param(*given, marks=pytest.mark.slow)


@pytest.mark.parametrize(
    "command",
    [slow(EXPLAIN), ERRORS, slow(ATTACK), slow(SHORTCUTS), slow(PAIRS)],
    ids=lambda command: command[2].split()[-1],
)
def test_the_same_is_answered_at_once_and_anything_else_is_not(ask, tmp_path, monkeypatch, command):
    words, start, what, other = command
    kept = f"run has these {what} already, and keeps them; {ANEW}."
    first = ask(words)
    assert (first.code, kept in first.err) == (0, False), first.err
    there = written(tmp_path / "run", start)
    assert len(there) >= 2
    with monkeypatch.context() as patch:
        patch.setattr(Batches, "__iter__", None)  # no pass over images
        again = ask(words, "--threads", 1)
        assert (again.code, again.out, kept in again.err) == (0, told(first), True), again.err
        assert [line for line in again.err.splitlines() if kept not in line] == first.err.splitlines()
        assert ask(words, "--quiet").out == ""
    assert written(tmp_path / "run", start) == there
    refused = ask(words, *other)
    assert (refused.code, "is there already" in refused.err, kept in refused.err) == (2, True, False), refused.err
    (tmp_path / "run" / f"{start}csv").write_text("changed")
    assert kept not in ask(words).err  # what was answered is not there any more
    record = tmp_path / "run" / "run.json"
    assert ask(words, "--overwrite").code == 0
    assert kept in ask(words).err
    record.write_text(record.read_text() + " ")
    assert kept not in ask(words).err  # another run


@pytest.mark.parametrize(
    ("command", "changed"), [slow(EXPLAIN, "photo.png"), (PAIRS, "after/1.png"), slow(SHORTCUTS, "kinds.csv")]
)
def test_images_and_files_that_are_named_decide(ask, tmp_path, command, changed):
    words, _, what, _ = command
    assert ask(words).code == 0
    assert f"has these {what} already" in ask(words).err
    if changed.endswith(".csv"):
        (tmp_path / changed).write_text(kinds(9))
    else:
        shutil.copy(tmp_path / "before" / "1.png", tmp_path / changed)
    other = ask(words)
    assert (other.code, "is there already" in other.err) == (2, True), other.err


@pytest.mark.parametrize(
    ("groups", "note"),
    [((), ""), slow(("--groups", "sequence:2"), "Halves of the data are those of the 18 groups that were given.\n")],
)
def test_an_audit_is_kept_where_it_is_of_the_same_question_and_else_replaced(ask, tmp_path, monkeypatch, groups, note):
    words = ("audit", "RUN", "--noise", 0, *groups)
    kept = "run has these checks already, and keeps them; --again makes them anew."
    first = ask(words)
    assert (first.code, kept in first.err, note in first.err) == (0, False, True), first.err
    there = written(tmp_path / "run", "audit.")
    assert len(there) == 3
    with monkeypatch.context() as patch:
        patch.setattr(Batches, "__iter__", None)
        again = ask(words)
    assert (again.code, again.out, kept in again.err) == (0, told(first), True), again
    said_again = "".join(line for line in again.err.splitlines(keepends=True) if kept not in line)
    assert said_again == (f"unitlens: {note}" if note else "")
    assert written(tmp_path / "run", "audit.") == there
    anew = ask(words, "--again")
    assert (anew.code, told(anew), kept in anew.err) == (0, told(first), False), anew.err
    assert written(tmp_path / "run", "audit.") != there
    assert kept in ask(words).err
    replaced = ask(words, "--batch-size", 7)
    assert (replaced.code, kept in replaced.err) == (0, False), replaced.err
    assert kept not in ask(words).err  # which is not there any more
    record = tmp_path / "run" / "run.json"
    record.write_text(record.read_text() + " ")
    assert kept not in ask(words).err  # another run


@pytest.mark.parametrize("words", [ERRORS[0], slow(("ablate", "RUN", "--units", 1, "--draws", 0, "--out", "effects"))])
def test_classes_of_vectors_are_known_by_these_and_those_of_images_are_not(ask, tmp_path, words):
    names = ul.Scenes(1).classes
    vectors = {name: torch.eye(len(names))[place] for place, name in enumerate(names)}
    save_file(vectors, tmp_path / "classes.safetensors")
    of_vectors = (*words, "--zero-shot", "classes.safetensors")
    first = ask(of_vectors)
    assert first.code == 0, first.err
    again = ask(of_vectors)
    assert (again.code, again.out, KEPT in again.err) == (0, told(first), True), again
    assert KEPT not in ask(words).err  # without them
    save_file(vectors | {names[0]: -vectors[names[0]]}, tmp_path / "classes.safetensors")
    assert KEPT not in ask(of_vectors).err  # with others
    for place, name in enumerate(names):
        (tmp_path / "classes" / name).mkdir(parents=True)
        Image.fromarray(ul.Scenes(36)[(place + 1) % len(names)].image).save(tmp_path / "classes" / name / "0.png")
    said = ask(words, "--centroids", "classes", "--overwrite")
    assert (said.code, KEPT in said.err) == (0, False), said.err
    refused = ask(words, "--centroids", "classes")
    assert (refused.code, KEPT in refused.err) == (2, False), refused.err


@pytest.mark.slow
def test_effects_on_concepts_are_kept(ask, tmp_path, monkeypatch):
    words = ("ablate", "RUN", "--each-concept", "--draws", 3)
    kept = f"run has these effects on concepts already, and keeps them; {ANEW}."
    first = ask(words)
    assert (first.code, kept in first.err) == (0, False), first.err
    file = tmp_path / "run" / "concept_effects.json"
    there = file.stat().st_mtime_ns
    with monkeypatch.context() as patch:
        patch.setattr(Batches, "__iter__", None)
        again = ask(words)
    assert (again.code, again.out, kept in again.err) == (0, told(first), True), again
    assert file.stat().st_mtime_ns == there
    assert kept not in ask(words, "--draws", 4).err  # replaces them
    assert kept not in ask(words).err
    assert kept not in ask(words, "--overwrite").err
    assert kept in ask(words).err
