"""The same question is answered from the run that has the answer; any other one is computed."""

import copy
import json
import os
import shutil
import signal
import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

import unitlens as ul
from tests.worlds.coloured import write_world
from tests.worlds.planted import ColourWorld, colour_net
from unitlens.data.tags import Tags
from unitlens.dissection.repeating.answers import Question
from unitlens.dissection.repeating.content import content_of
from unitlens.dissection.run import task_of
from unitlens.files import StoppedAfterWriting

TAKEN = "the same was computed already"
QUICK = ("--no-evidence", "--exemplars", 0, "--workers", 0, "--quantile", 0.1, "--pairs", 0)


@pytest.fixture
def asks(shell, tmp_path, monkeypatch):
    """Dissect the bundled network on the coloured world, as if every file were old."""
    monkeypatch.setenv("UNITLENS_ANSWERS", "")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("unitlens.dissection.repeating.beginning._SETTLED", -1000.0)
    world = write_world(tmp_path / "world", images=6)

    def ask(out, *more, net="bundled:scenes"):
        return shell("dissect", net, "--data", world, "--out", out, *QUICK, *more)

    return ask


def test_the_same_question_is_answered_at_once_and_says_so(asks, tmp_path):
    coarse = ("--layer", "relu6", "--image-size", 16, "--grid", 16)  # of which there is a warning
    first = asks("a", *coarse)
    assert (first.code, TAKEN in first.err) == (0, False)
    second = asks("b", "--threads", 1, *coarse)
    assert second.code == 0
    assert [line for line in second.err.splitlines() if "too coarse" in line] == first.err.splitlines()[-1:]
    created = json.loads((tmp_path / "a" / "run.json").read_text())["created"]
    assert TAKEN in second.err
    assert created in second.err
    for name in ("units.csv", "counts.safetensors"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    assert (tmp_path / "b" / "report.html").exists()
    assert not (tmp_path / "b" / ".unitlens-work").exists()


@pytest.mark.slow
def test_an_answer_that_is_gone_or_changed_is_computed_again(asks, tmp_path):
    asks("c")
    assert TAKEN not in asks("c", "--again", "--overwrite").err
    shutil.rmtree(tmp_path / "c")
    assert TAKEN not in asks("d").err  # the run is gone
    (tmp_path / "d" / "units.csv").write_text((tmp_path / "d" / "units.csv").read_text() + "\n")
    assert TAKEN not in asks("e").err  # the run was changed
    assert TAKEN in asks("e", "--overwrite").err


def test_whatever_decides_a_result_makes_another_question(tmp_path, monkeypatch):
    monkeypatch.setenv("UNITLENS_ANSWERS", "")
    world = write_world(tmp_path / "world", images=6)
    (tmp_path / "groups.csv").write_text("image,group\n" + "".join(f"{n:02}.png,{n // 2}\n" for n in range(6)))
    later = time.time() + 100
    net, seen = ul.load("bundled:scenes"), set()

    def key(data=None, *, net=net, layers=None, recorded=(), **options):
        data = ul.open_data(world) if data is None else data
        return Question.of(task_of(net, layers, data, options), recorded=dict(recorded), began=later).key

    def is_new(value):
        seen.add(value)
        return len(seen)

    assert is_new(key()) == is_new(key()) == is_new(key(workers=2, store_limit=10**9)) == 1
    assert is_new(key(quantile=0.02)) == 2
    assert is_new(key(layers="relu5")) == 3
    other = ul.load("bundled:scenes", weights="none", seed=3)
    assert is_new(key(net=other)) == 4
    assert is_new(key(ul.open_data(world, concepts=["colors"]))) == 5
    assert is_new(key(ul.Scenes(6))) == 6
    assert is_new(key(ul.Scenes(6, seed=1))) == 7
    assert is_new(key(groups=str(tmp_path / "groups.csv"))) == 8
    (tmp_path / "groups.csv").write_text("image,group\n" + "".join(f"{n:02}.png,{n // 3}\n" for n in range(6)))
    assert is_new(key(groups=str(tmp_path / "groups.csv"))) == 9
    monkeypatch.setattr("unitlens.dissection.repeating.answers.code_sha256", lambda: "other")
    assert is_new(key()) == 10
    monkeypatch.undo()
    monkeypatch.setenv("UNITLENS_ANSWERS", "")
    image = world / "images" / "03.png"
    before = image.stat()
    image.write_bytes(image.read_bytes())
    os.utime(image, ns=(before.st_atime_ns, before.st_mtime_ns))  # as old as before, to whoever looks at that alone
    assert is_new(key()) == 11
    (world / "classes.csv").write_text("image,class\n" + "".join(f"{n:02}.png,a\n" for n in range(6)))
    assert is_new(key()) == 12


def test_a_generator_whose_images_are_marked_by_a_segmenter_is_answered_and_repeated(asks, shell, tmp_path):
    def draw(out, latents):
        how = (*QUICK, "--layer", "block8", "--seed", 3)
        return shell("dissect", "bundled:scenes-generator", "--latents", latents, "--out", out, *how)

    first = draw("a", 12)
    assert (first.code, TAKEN in first.err) == (0, False), first.err
    assert TAKEN in draw("b", 12).err
    assert (tmp_path / "a" / "counts.safetensors").read_bytes() == (tmp_path / "b" / "counts.safetensors").read_bytes()
    assert TAKEN not in draw("c", 13).err
    said = shell("rerun", "b", "--workers", 0)
    assert (said.code, "the same bit for bit" in said.out) == (0, True), said


class Brightness(torch.nn.Module):
    """A segmenter of two classes, dark and bright."""

    def __init__(self, middle):
        super().__init__()
        self.register_buffer("middle", torch.tensor(middle))

    def forward(self, images):
        bright = images.mean(1, keepdim=True) - self.middle
        return torch.cat([-bright, bright], 1)


def test_latents_segmenters_and_tags_are_known_by_what_they_say(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    array, scenes = np.arange(24.0, dtype=np.float32).reshape(6, 4), ul.Scenes(6)
    names, labels = [scenes[n].name for n in range(6)], ["dark", "bright"]

    def marked(model, **settings):
        return ul.with_concepts(scenes, ul.segmenter(model, labels=labels, **settings), masks=False)

    def tagged(word):
        return ul.with_concepts(scenes, Tags({name: [("place", word)] for name in names}, "tags"), masks=False)

    known = [
        ul.latents(4, 6),
        ul.latents(4, 7),
        ul.latents(5, 6),
        ul.latents(4, 6, seed=1),
        ul.latents(4, 6, classes=2),
        ul.latents(array),
        ul.latents(array + 1),
        ul.latents(array.reshape(6, 2, 2)),
        ul.latents(array, classes=[0, 1, 0, 1, 0, 1]),
        ul.latents(array, masks=scenes),
        ul.with_concepts(ul.latents(4, 6), ul.segmenter("bundled:scenes-segmenter")),
        ul.with_concepts(scenes, ul.segmenter("bundled:scenes-segmenter"), masks=False),
        marked(Brightness(0.5)),
        marked(Brightness(0.4)),
        marked(Brightness(0.5), confidence=0.6),
        marked(Brightness(0.5), size=32),
        marked(Brightness(0.5), category="light"),
        marked(Brightness(0.5), ious={"dark": 0.5}),
        marked(two_colours, fingerprint="1"),
        marked(two_colours, fingerprint="2"),
        tagged("here"),
        tagged("there"),
        ul.ShortcutScenes(6),
        ul.ScenePairs(1, concepts=["umbrella"]),
        ul.ScenePairs(1, concepts=["object/cloud"]),
        ul.ScenePairs(1, concepts=["object/sun"]),
    ]
    described = [json.dumps(content_of(data).described) for data in known]
    assert len(set(described)) == len(known)
    again = ul.latents(array.copy()), marked(Brightness(0.5)), tagged("here")
    assert [json.dumps(content_of(data).described) for data in again] == [described[n] for n in (5, 12, 20)]
    unknown = [
        marked(two_colours),
        marked(Brightness(0.5), cache=None),
        ul.latents(array, masks=ColourWorld(6)),
        ul.with_concepts(ColourWorld(6), ul.segmenter("bundled:scenes-segmenter"), masks=False),
    ]
    assert [content_of(data) for data in unknown] == [None] * 4


def two_colours(images):
    """A segmenter that is a function: it has no weights to be known by."""
    return torch.cat([images[:, :1], images[:, 1:2]], 1)


def test_a_folder_in_another_format_is_known_by_its_files(tmp_path):
    for name in ("JPEGImages", "SegmentationClass"):
        (tmp_path / "voc" / name).mkdir(parents=True)
    for number in range(2):
        Image.new("RGB", (8, 8), "red").save(tmp_path / "voc" / "JPEGImages" / f"{number}.jpg")
        Image.new("L", (8, 8), number).save(tmp_path / "voc" / "SegmentationClass" / f"{number}.png")

    def described():
        return content_of(ul.open_data(tmp_path / "voc")).described

    before = described()
    assert described() == before
    Image.new("L", (8, 8), 5).save(tmp_path / "voc" / "SegmentationClass" / "1.png")
    assert described() != before


def test_a_network_of_a_hub_is_known_by_its_structure_and_configuration(monkeypatch):
    monkeypatch.setenv("UNITLENS_ANSWERS", "")
    net = ul.load("bundled:scenes")

    def key(name, config):
        model = copy.deepcopy(net.model)
        model.config = config
        task = task_of(replace(net, model=model, name=name), None, ul.Scenes(6), {})
        return Question.of(task, recorded={}, began=time.time()).key

    assert key("hf:there", {"heads": 2}) == key("hf:there", {"heads": 2})
    assert len({key("hf:there", {"heads": 2}), key("hf:there", {"heads": 3}), key("hf:here", {"heads": 2})}) == 3


def test_what_cannot_be_known_cheaply_is_no_question(tmp_path, monkeypatch):
    world, later = write_world(tmp_path / "world", images=6), time.time() + 100
    scenes, bundled = ul.Scenes(6), ul.load("bundled:scenes")

    def question(net, layers, data, *, began=later):
        return Question.of(task_of(net, layers, data, {}), recorded={}, began=began)

    assert question(bundled, None, scenes) is None  # none of the tests' own, see tests/conftest.py
    monkeypatch.setenv("UNITLENS_ANSWERS", "")
    assert question(bundled, None, scenes) is not None
    assert question(bundled, None, ColourWorld(6)) is None  # in memory
    assert question(colour_net(), "pool", scenes) is None  # code of somebody else
    assert question(bundled, None, ul.open_data(world), began=time.time()) is None  # files that changed just now

    class Other(ul.Scenes):
        pass

    assert content_of(Other(6)) is None
    data = ul.open_data(world)
    shutil.rmtree(world)
    assert content_of(data).described[-1] != content_of(ul.open_data(write_world(world, images=6))).described[-1]


def test_what_changes_while_it_is_computed_is_not_remembered_and_packages_decide(tmp_path, monkeypatch, old_files):
    net, scenes, words = ul.load("bundled:scenes"), ul.Scenes(6), ["a"]
    (tmp_path / "effects.csv").write_text("1")

    def question(files=("effects.*",), **how):
        return Question.about(net, lambda: content_of(scenes), lambda: {"words": words}, files=files, began=0, **how)

    first = question()
    words.append("b")
    first.remember(tmp_path, skipped=())
    assert (first.answer(), question().answer()) == (None, None)
    words.pop()
    first.remember(tmp_path, skipped=["00.png"])
    assert first.answer() is None
    first.remember(tmp_path, skipped=(), said="much", warnings=["little"])
    known = question().answer()
    assert (known.folder, known.said, known.warnings) == (tmp_path, "much", ("little",))
    assert question(packages=["captum"]).key != first.key
    (tmp_path / "effects.images").mkdir()
    (tmp_path / "effects.images" / "0.png").write_text("2")
    assert question().answer() is None
    monkeypatch.setattr("unitlens.dissection.repeating.answers.versions", lambda: {"numpy": "0"})
    assert question().key != first.key


def test_what_another_process_writes_after_an_answer_is_not_it(tmp_path, old_files):
    net, table, looks = ul.load("bundled:scenes"), tmp_path / "effects.csv", []
    table.write_text("1")

    def content():
        looks.append(table.write_text("2") if len(looks) == 1 else None)  # while it is looked whether anything changed
        return content_of(ul.Scenes(6))

    question = Question.about(net, content, dict, files=("effects.csv",), began=0)
    question.remember(tmp_path, skipped=())
    assert len(looks) == 2
    assert question.answer() is None
    table.write_text("1")
    assert question.answer() is not None


def test_an_interrupt_waits_until_an_answer_is_remembered(tmp_path, old_files):
    looks = []
    (tmp_path / "effects.csv").write_text("1")

    def content():
        looks.append(signal.raise_signal(signal.SIGINT) if len(looks) == 1 else None)
        return content_of(ul.Scenes(6))

    question = Question.about(ul.load("bundled:scenes"), content, dict, files=("effects.csv",), began=0)
    # where the tests run in the background the shell had them ignore SIGINT
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(StoppedAfterWriting):
            question.remember(tmp_path, skipped=())
    finally:
        signal.signal(signal.SIGINT, before)
    assert question.answer() is not None


def test_a_file_that_cannot_be_read_makes_no_question(old_files):
    def asked():
        raise PermissionError("it is locked")

    net = ul.load("bundled:scenes")
    assert Question.about(net, lambda: content_of(ul.Scenes(6)), asked, files=("a",), began=0) is None
