import numpy as np
import pandas as pd
import pytest
from PIL import Image

from tests.worlds.coloured import blocks
from unitlens.explaining.pairs import attack_result, image_changes


@pytest.fixture
def named(net_file):
    return ("--layer", "0", "--network", f"{net_file}:build", "--workers", 0)


@pytest.fixture
def folders(tmp_path):
    for side, first in (("before", 100), ("after", 200)):
        (tmp_path / side).mkdir()
        for k in range(12):
            Image.fromarray(np.asarray(blocks(first + k)[0])).save(tmp_path / side / f"{k}.png")
    return tmp_path / "before", tmp_path / "after"


def test_two_folders_are_compared(shell, run_folder, named, folders, tmp_path):
    said = shell("compare-images", run_folder, *folders, *named, "--out", "out", "--interval", "0.99")
    assert said.code == 0, said.err
    page = (tmp_path / "out" / "pairs.html").read_text()
    assert "12 pairs" in page
    assert "99 %" in page
    table = pd.read_csv(tmp_path / "out" / "pairs.csv")
    assert list(table.columns) == list(image_changes.COLUMNS)
    assert "added:" in said.out
    again = shell("compare-images", run_folder, *folders, *named, "--out", "out")
    assert again.code == 2
    assert "--overwrite" in again.err


def test_two_images_are_compared(shell, run_folder, named, folders, tmp_path):
    before, after = folders
    said = shell("compare-images", run_folder, before / "0.png", after / "0.png", *named, "--out", "out")
    assert said.code == 0, said.err
    assert "two images" in (tmp_path / "out" / "pairs.html").read_text()


def test_an_attack_is_saved_with_its_images(shell, run_folder, named, classed, tmp_path):
    words = ("--data", classed, "--from", "0", "--to", "1", "--epsilon", "60/255", "--steps", 3, "--images", 4)
    said = shell("attack", run_folder, *named, *words, "--out", "out")
    assert said.code == 0, said.err
    assert "images of 0 to 1" in said.out
    table = pd.read_csv(tmp_path / "out" / "attack.csv")
    assert list(table.columns) == list(attack_result.COLUMNS)
    saved = sorted((tmp_path / "out" / "attack.images").iterdir())
    assert len(saved) == len(table) > 0
    assert "what an attack changes" in (tmp_path / "out" / "attack.html").read_text()
    assert (tmp_path / "out" / "attack.concepts.csv").exists()


@pytest.fixture
def classed(tmp_path):
    """Images of mostly red, green or blue blocks, each in the folder of its class."""
    for seed in range(30):
        image, labels = blocks(seed)
        counts = np.bincount(labels.ravel(), minlength=4)[1:]
        folder = tmp_path / "classed" / str(counts.argmax())
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(folder / f"{seed}.png")
    return tmp_path / "classed"


@pytest.mark.parametrize(
    ("words", "facts"),
    [
        (["attack", "RUN", "--from", "red"], ["'red'", "0, 1, 2"]),
        (["attack", "RUN", "--from", "0", "--method", "pdg"], ["'pdg'", "pgd"]),
        (["attack", "RUN", "--from", "0", "--epsilon", "eight"], ["--epsilon", "'eight'"]),
        (["attack", "nowhere", "--from", "0"], ["nowhere is no run"]),
        (["compare-images", "RUN", "missing.png", "missing.png"], ["missing.png"]),
        (["compare-images", "RUN", ".", ".", "--data", "x"], ["--data", "BEFORE"]),
        (["compare-image", "RUN"], ["compare-images"]),
    ],
    ids=["class", "method", "epsilon", "run", "file", "data", "verb"],
)
def test_bad_words(shell, run_folder, named, words, facts):
    more = named if "RUN" in words else ()
    said = shell(*(run_folder if word == "RUN" else word for word in words), *more)
    assert said.code == 2
    assert said.err.count("\n") == 1
    assert all(fact in said.err for fact in facts), said.err


@pytest.mark.slow
def test_labels_are_tested_on_pairs(shell, tmp_path):
    said = shell(
        "dissect", "bundled:scenes", "--limit", 24, "--exemplars", 0, "--pairs", 1, "--out", "run", "--workers", 0
    )
    assert said.code == 0, said.err
    assert "minimal pairs: " in said.out
    assert "no intervals" in said.err
    assert (tmp_path / "run" / "causal_labels.csv").exists()
    assert "cannot be tested" in (tmp_path / "run" / "report.html").read_text()
