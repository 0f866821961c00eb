"""Explanations, audits and the like that are there are kept where they are what was asked for, and not else."""

import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import unitlens as ul
from tests.dissection.repeating.conftest import kinds
from tests.dissection.repeating.test_measured_again import KEPT, told
from tests.worlds.coloured import write_world
from unitlens.comparison import audit_passes
from unitlens.data.batches import Batches
from unitlens.data.readers.annotated import AnnotatedFolder
from unitlens.dissection.labelling import label_units
from unitlens.models import loading

pytestmark = pytest.mark.usefixtures("scenes_drawn_once")

ANEW = "--overwrite makes them anew"

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


OF_CLASSES = [ERRORS[0], slow(("ablate", "RUN", "--units", 1, "--draws", 0, "--out", "effects"))]


@pytest.mark.parametrize("words", OF_CLASSES)
def test_classes_of_vectors_are_known_by_these(ask, tmp_path, words):
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


@pytest.mark.parametrize("words", OF_CLASSES)
def test_classes_of_images_are_known_by_the_images_and_only_where_all_were_read(ask, tmp_path, monkeypatch, words):
    of_images = (*words, "--centroids", "classes")
    first = ask(of_images)
    assert (first.code, KEPT in first.err) == (0, False), first.err
    with monkeypatch.context() as patch:
        patch.setattr(Batches, "__iter__", None)
        again = ask(of_images)
    assert (again.code, again.out, KEPT in again.err) == (0, told(first), True), again
    assert KEPT not in ask(words, "--neighbours", "classes", "--nearest", 1).err
    damaged = tmp_path / "classes" / "beach" / "9.png"
    damaged.write_bytes(b"")
    anew = ask(of_images, "--overwrite")
    assert (anew.code, KEPT in anew.err) == (0, False), anew.err
    assert KEPT not in ask(of_images).err  # as one could not be read
    damaged.unlink()
    assert ask(of_images, "--overwrite").code == 0
    assert KEPT in ask(of_images).err


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


AUDITED = "has these checks already, and keeps them"


@pytest.fixture
def coloured(shell, tmp_path, old_files):
    """Audit a run on a folder of images, which lie beside it."""
    world = write_world(tmp_path / "world", images=12)
    how = ("--no-evidence", "--exemplars", 0, "--workers", 0, "--quantile", 0.1, "--pairs", 0, "--data", world)

    def asked(*more, run=()):
        if not (tmp_path / "run").exists():
            assert shell("dissect", "bundled:scenes", "--layer", "relu6", "--out", "run", *how, *run).code == 0
        said = shell("audit", "run", "--noise", 0, "--workers", 0, *more)
        assert said.code == 0, said.err
        return said

    return asked


def test_an_audit_opens_its_network_and_its_images_once(coloured, monkeypatch):
    opened = []
    load, look = loading.load, AnnotatedFolder.__init__
    with monkeypatch.context() as patch:
        coloured()
        patch.setattr("unitlens.dissection.reopening.load", lambda *a, **k: opened.append("net") or load(*a, **k))
        patch.setattr(AnnotatedFolder, "__init__", lambda *a: opened.append("images") or look(*a))
        coloured("--again")
    assert opened == ["net", "images"]


def test_an_audit_of_directions_is_kept(coloured, tmp_path):
    np.save(tmp_path / "basis.npy", np.eye(4, 128, dtype=np.float32))
    first = coloured(run=("--basis", "basis.npy"))
    assert "its units are directions, which run.json does not contain" in first.err
    again = coloured()
    assert (again.out, AUDITED in again.err) == (told(first), True)
    assert first.err in again.err
    assert AUDITED not in coloured("--seed", 1).err
    assert AUDITED in coloured("--seed", 1).err
    record = tmp_path / "run" / "run.json"
    record.write_text(record.read_text() + " ")
    assert AUDITED not in coloured("--seed", 1).err


def test_an_audit_without_the_images_of_the_run_is_kept_until_they_are_there(coloured, tmp_path, monkeypatch):
    coloured()
    image = tmp_path / "world" / "images" / "03.png"
    other = image.with_name("04.png").read_bytes()
    for change, note in ((image.unlink, "has 11 images"), (lambda: image.write_bytes(other), "are not those of the")):
        change()
        first = coloured()
        assert (AUDITED in first.err, note in first.err) == (False, True), first.err
        with monkeypatch.context() as patch:
            patch.setattr(Batches, "__iter__", None)
            again = coloured()
        assert (again.out, AUDITED in again.err, note in again.err) == (told(first), True, True), again.err
    image.write_bytes(image.with_name("05.png").read_bytes())
    assert AUDITED not in coloured().err  # other ones again


def test_an_audit_that_failed_for_what_may_be_well_next_time_is_made_anew(coloured):
    for _ in range(2):
        said = coloured("--store-limit", 1)
        assert ("Only the counts of the run were checked" in said.err, AUDITED in said.err) == (True, False), said.err
    assert "Only the counts" not in coloured().err
    assert AUDITED in coloured("--store-limit", 1).err


def test_an_audit_of_which_one_check_failed_is_made_anew(coloured, monkeypatch):
    def full(stored, layer, settings, *rest, **how):
        if settings.upsampling == "zeros":
            raise ul.UnitlensError("The disk is full.")
        return label_units(stored, layer, settings, *rest, **how)

    note = "relu6 was not checked under other upsampling: The disk is full."
    with monkeypatch.context() as patch:
        patch.setattr(audit_passes, "label_units", full)
        said = coloured()
    assert (note in said.err, "half quantile" in said.out) == (True, True), said.err
    said = coloured()
    assert (AUDITED in said.err, "other upsampling" in said.out) == (False, True), said.err


def test_an_audit_of_which_the_settings_do_not_allow_a_check_is_kept(coloured):
    note = "relu6 was not checked under half quantile: There are only"
    for kept in (False, True):
        said = coloured(run=("--quantile", 0.00015))
        assert (note in said.err, AUDITED in said.err) == (True, kept), said.err
