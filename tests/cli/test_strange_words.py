"""Any word in any place of a command: it is done, or refused in a sentence, and nothing is written elsewhere."""

import os
import shutil
import tempfile

import numpy as np
import pytest

import unitlens as ul
from tests.cli.strange_words import Writing, places, strange, wrong_with
from tests.cli.test_ablate import name_classes
from tests.worlds.coloured import NET, write_world

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]


@pytest.fixture(scope="module")
def there(tmp_path_factory):
    """A folder with a network, images, a run, parts of one, and files that nobody should open."""
    root = tmp_path_factory.mktemp("strange")
    folder = root / "in"
    (root / "outside").mkdir()
    (root / "outside" / "secret.csv").write_text("image,group\n")
    (root / "temporary").mkdir()
    world = name_classes(write_world(folder / "world", images=24))
    (folder / "net.py").write_text(NET)
    rows = [f"{number:02}.png,{'ab'[number % 2]}\n" for number in range(24)]
    (folder / "kinds.csv").write_text("".join(["image,group\n", *rows]))
    (folder / "labels.csv").write_text("unit,label\n0,red\n1,blue\n")
    net = ul.load(f"{folder}/net.py:build", image_size=32, mean=(0, 0, 0), std=(1, 1, 1))
    dissection = ul.dissect(net, "0", world, quantile=0.15, exemplars=1)
    dissection.info["data"]["source"] = "world"
    for name in ("run", "again"):
        ul.report(folder / name, dissection)
    np.save(folder / "turn.npy", np.eye(4)[::-1])
    turned = ul.dissect(net, "0", world, quantile=0.15, exemplars=0, basis=folder / "turn.npy")
    turned.info["data"]["source"] = "world"
    ul.report(folder / "turned", turned)
    for part in range(2):
        few = {"quantile": 0.15, "evidence": False, "exemplars": 0}
        ul.dissect_part(net, "0", world, shard=(part + 1, 2), checkpoint=folder / f"part{part + 1}", **few)
    (folder / "loop").symlink_to("loop")
    os.mkfifo(folder / "pipe.csv")
    for name in ("vast.npy", "vast.csv"):
        with (folder / name).open("wb") as file:
            file.truncate(1 << 43)
    return folder


@pytest.fixture
def used(there, shell, monkeypatch):
    """Run the command of a number in that folder, which is then as it was; what is wrong with how it ended."""
    monkeypatch.chdir(there)
    monkeypatch.setattr(tempfile, "tempdir", str(there.parent / "temporary"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(there.parent / "cache"))
    monkeypatch.setenv("MPLCONFIGDIR", str(there.parent / "cache"))
    before = set(os.listdir(there))

    def run(number, verbs=None):
        words = strange(number, "world", "run", f"{there}/net.py:build", verbs=verbs)
        Writing.noted.clear()
        Writing.allowed = (str(there.parent),)
        try:
            wrong = wrong_with(shell(*words))
        finally:
            Writing.allowed = None
        for name in set(os.listdir(there)) - before:
            path = there / name
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
        return wrong or Writing.noted, words

    return run


def test_there_are_places_of_every_kind():
    assert len(places()) > 300


@pytest.mark.parametrize("first", range(0, 150, 30))
def test_any_word_in_any_place_is_used_or_refused(first, used):
    for number in range(first, first + 30):
        wrong, words = used(number)
        assert not wrong, (number, wrong, words)


def test_any_word_in_any_place_of_what_serves_a_page_is_used_or_refused(used, monkeypatch):
    serving = pytest.importorskip("unitlens.app.serving", reason="starlette and uvicorn are not installed (extra app)")
    monkeypatch.setattr(serving._Server, "run", lambda *_, **__: None)  # it would wait for requests
    for number in range(150):
        wrong, words = used(number, verbs=("open",))
        assert not wrong, (number, wrong, words)
