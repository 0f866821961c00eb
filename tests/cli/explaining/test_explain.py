"""`unitlens explain`."""

import csv
import re

import pytest
from PIL import Image

from tests.worlds.coloured import blocks
from unitlens.explaining.explanation import COLUMNS

EVIL = "<script>alert(1)</script>.png"


@pytest.fixture
def photo(tmp_path):
    path = tmp_path / "photo.png"
    Image.fromarray(blocks(100)[0]).save(path)
    return path


def test_a_file_from_anywhere_and_images_of_the_run(shell, run_folder, photo, net_file, tmp_path):
    named = ("--layer", "0", "--network", f"{net_file}:build")
    said = shell("explain", run_folder, photo, *named, "--out", "out")
    assert said.code == 0, said.err
    assert "without them: " in said.out
    assert "wrote out/: explanation.html to look at, explanation.csv to compute with" in said.out
    with (tmp_path / "out" / "explanation.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == list(COLUMNS)
    assert {row["image"] for row in rows} == {photo.as_posix()}
    again = shell("explain", run_folder, "03.png", "05.png", *named, "--out", "out")
    assert again.code == 2
    assert "explanation.html is there already" in again.err
    assert "--overwrite" in again.err
    assert shell("explain", run_folder, "03.png", "05.png", *named, "--out", "out", "--overwrite").code == 0
    page = (tmp_path / "out" / "explanation.html").read_text()
    assert "03.png" in page
    assert "05.png" in page


def test_names_are_shown_and_not_run(shell, run_folder, photo, net_file, tmp_path):
    evil = tmp_path / EVIL.replace("/", "_")
    photo.rename(evil)
    named = ("--layer", "0", "--network", f"{net_file}:build")
    assert shell("explain", run_folder, evil.name, *named, "--out", "o").code == 0
    page = (tmp_path / "o" / "explanation.html").read_text()
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert" in page


@pytest.mark.parametrize(
    ("arguments", "facts"),
    [
        (["nowhere"], "nowhere is no run.*`unitlens dissect` makes one"),
        (["RUN", "99.png", "--layer", "0"], "no image 99.png in"),
        (["RUN", "01.png", "--images-of", "red"], "IMAGE and --images-of both choose images"),
        (["RUN", "--images-of", "red", "--layer", "0"], "no image of the class red"),
        (["RUN", "01.png"], "several layers: choose one with --layer 0 or --layer 4"),
        (
            ["RUN", "01.png", "--layer", "0", "--value", "much"],
            "--value is 'much'; units are set to a number",
        ),
        (["RUN", "01.png", "--layer", "0", "--class", "9"], "no class '9'"),
    ],
)
def test_bad_input_is_one_sentence(shell, run_folder, net_file, arguments, facts):
    given = [run_folder if argument == "RUN" else argument for argument in arguments]
    network = ["--network", f"{net_file}:build"] if "RUN" in arguments else []
    said = shell("explain", *given, *network, "--out", "out")
    assert said.code == 2
    assert said.err.count("\n") == 1
    assert re.search(facts, said.err), said.err


def test_errors_by_pairs_of_classes(shell, run_folder, net_file, tmp_path):
    folder = tmp_path / "photos"
    for index in range(12):  # images are in the folder of another class than the one that is seen in every third
        seen = int(blocks_class(index))
        own = folder / str((seen + (index % 3 == 0)) % 3)
        own.mkdir(parents=True, exist_ok=True)
        Image.fromarray(blocks(index)[0]).save(own / f"{index}.png")
    named = ("--layer", "0", "--network", f"{net_file}:build", "--data", folder)
    said = shell("explain", run_folder, "--errors", *named, "--out", "out")
    assert said.code == 0, said.err
    assert "Confusions: 4 of 12 images are classified wrongly" in said.out
    assert "wrote out/: confusions.html to look at, confusions.csv to compute with" in said.out


def blocks_class(seed):
    """The class that the network sees in an image: the colour of which there is most."""
    pixels = blocks(seed)[0].astype(float)
    excess = [pixels[..., k] - pixels.sum(-1) + pixels[..., k] for k in range(3)]
    return max(range(3), key=lambda k: excess[k].clip(0).mean())
