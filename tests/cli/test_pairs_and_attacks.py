import numpy as np
import pandas as pd
import pytest
from PIL import Image

import unitlens as ul
from tests.coloured import blocks
from unitlens.explaining.pairs import attack_result, image_changes


@pytest.fixture(scope="module")
def bundled(tmp_path_factory):
    """A run of a few drawn scenes."""
    folder = tmp_path_factory.mktemp("bundled") / "run"
    net = ul.load("bundled:scenes")
    dissection = ul.dissect(net, "relu6", "bundled:scenes", limit=60, exemplars=0, evidence=False)
    ul.report(folder, dissection)
    return folder


@pytest.fixture
def folders(tmp_path):
    for side, first in (("before", 100), ("after", 200)):
        (tmp_path / side).mkdir()
        for k in range(12):
            Image.fromarray(np.asarray(blocks(first + k)[0])).resize((112, 112)).save(tmp_path / side / f"{k}.png")
    return tmp_path / "before", tmp_path / "after"


def test_two_folders_are_compared(shell, bundled, folders, tmp_path):
    said = shell("compare-images", bundled, *folders, "--out", "out", "--interval", "0.99", "--workers", 0)
    assert said.code == 0, said.err
    assert "12 pairs" in (tmp_path / "out" / "pairs.html").read_text()
    table = pd.read_csv(tmp_path / "out" / "pairs.csv")
    assert list(table.columns) == list(image_changes.COLUMNS)
    assert "99 %" in (tmp_path / "out" / "pairs.html").read_text()
    assert "added:" in said.out
    again = shell("compare-images", bundled, *folders, "--out", "out")
    assert again.code == 2
    assert "--overwrite" in again.err


def test_two_images_are_compared(shell, bundled, folders, tmp_path):
    before, after = folders
    said = shell("compare-images", bundled, before / "0.png", after / "0.png", "--out", "out", "--workers", 0)
    assert said.code == 0, said.err
    assert "two images" in (tmp_path / "out" / "pairs.html").read_text()


def test_an_attack_is_saved_with_its_images(shell, bundled, tmp_path):
    options = ("--from", "ski_slope", "--to", "beach", "--steps", 3, "--images", 4, "--workers", 0)
    said = shell("attack", bundled, *options, "--out", "out")
    assert said.code == 0, said.err
    assert "ski_slope to beach" in said.out
    table = pd.read_csv(tmp_path / "out" / "attack.csv")
    assert list(table.columns) == list(attack_result.COLUMNS)
    saved = sorted((tmp_path / "out" / "attack.images").iterdir())
    assert len(saved) == len(table) == 4
    assert "what an attack changes" in (tmp_path / "out" / "attack.html").read_text()
    assert shell("attack", bundled, *options, "--out", "out", "--overwrite").code == 0
    assert (tmp_path / "out" / "attack.concepts.csv").exists()


@pytest.mark.parametrize(
    ("words", "facts"),
    [
        (["attack", "RUN", "--from", "ski_slop"], ["'ski_slop'", "ski_slope"]),
        (["attack", "RUN", "--from", "beach", "--method", "pdg"], ["'pdg'", "pgd"]),
        (["attack", "RUN", "--from", "beach", "--epsilon", "eight"], ["--epsilon", "'eight'"]),
        (["attack", "nowhere", "--from", "beach"], ["nowhere is no run"]),
        (["compare-images", "RUN", "missing.png", "missing.png"], ["missing.png"]),
        (["compare-images", "RUN", ".", ".", "--data", "x"], ["--data", "BEFORE"]),
        (["compare-image", "RUN"], ["compare-images"]),
    ],
    ids=["class", "method", "epsilon", "run", "file", "data", "verb"],
)
def test_bad_words(shell, bundled, words, facts):
    said = shell(*(bundled if word == "RUN" else word for word in words))
    assert said.code == 2
    assert said.err.count("\n") == 1
    assert all(fact in said.err for fact in facts), said.err
