"""Questions that were asked before, in a cache of their own."""

import shutil

import pytest
from PIL import Image

import unitlens as ul
from unitlens.cli import repeating
from unitlens.cli.repeating import Asked


@pytest.fixture
def old_files(tmp_path, monkeypatch):
    """As if every file were old."""
    monkeypatch.setenv("UNITLENS_ANSWERS", "")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("unitlens.dissection.repeating.beginning._SETTLED", -1000.0)


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
    scenes = ul.Scenes(36)
    for place, name in enumerate(scenes.classes):
        (tmp_path / "classes" / name).mkdir(parents=True)
        image = scenes[(place + 1) % len(scenes.classes)].image
        Image.fromarray(image).save(tmp_path / "classes" / name / "0.png")

    def asked(words, *more):
        return shell(*("run" if word == "RUN" else word for word in words), "--workers", 0, *more)

    return asked


@pytest.fixture
def key_of(shell, old_files, monkeypatch):
    """The key of what is asked, of which nothing is measured; None where it has none."""

    def key(words, *more):
        keys = []
        with monkeypatch.context() as patch:
            patch.setattr(repeating, "_is_kept", lambda question, *_, **__: True)
            patch.setattr(Asked, "question", lambda asked: keys.append(question(asked)) or keys[-1])
            said = shell(*("run" if word == "RUN" else word for word in words), "--workers", 0, *more)
        assert said.code == 0, said.err
        return None if keys[0] is None else keys[0].key

    question = Asked.question
    return key


def kinds(each):
    """A subgroup for every image of the run: of so many images one is of the smaller one."""
    classes = ul.Scenes(36).classes
    names = [f"test-0/{place:06d}-{classes[place % len(classes)]}.png" for place in range(36)]
    return "image,group\n" + "".join(f"{name},{'a' if place % each else 'b'}\n" for place, name in enumerate(names))
