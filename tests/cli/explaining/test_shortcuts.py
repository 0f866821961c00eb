"""`unitlens shortcuts`."""

import csv

import pytest

import unitlens as ul
from tests.worlds import shortcut_world
from unitlens.explaining.subgroups.result import COLUMNS


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of the network that is misled, and what names the network."""
    root = tmp_path_factory.mktemp("misled")
    net_file = root / "net.py"
    net_file.write_text(shortcut_world.NET)
    net = ul.load(f"{net_file}:build", image_size=8, mean=(0,) * 3, std=(1,) * 3)
    ul.report(root / "run", shortcut_world.dissected(net, shortcut_world.write(root / "world")))
    return root / "run", ("--network", f"{net_file}:build")


@pytest.mark.slow
def test_a_file_or_a_column_names_subgroups_and_a_page_is_written(shell, run, tmp_path):
    folder, named = run
    said = shell("shortcuts", folder, "--groups", "marked", *named, "--most", 1, "--draws", 3, "--out", "out")
    assert said.code == 0, said.err
    assert "Without units 1 (mark) of 1:" in said.out
    assert "b marked (worst)" in said.out
    assert "wrote out/: shortcuts.html to look at, shortcuts.csv to compute with" in said.out
    with (tmp_path / "out" / "shortcuts.csv").open(newline="") as file:
        assert next(csv.reader(file)) == list(COLUMNS)
    rows = [f"{number:02}.png,{'marked' if number % 4 >= 2 else 'plain'}" for number in range(96)]
    (tmp_path / "groups.csv").write_text("\n".join(["image,group", *rows]))
    again = (
        "shortcuts",
        folder,
        "--groups",
        "groups.csv",
        *named,
        "--most",
        1,
        "--draws",
        0,
        "--out",
        "out",
        "--quiet",
    )
    refused = shell(*again)
    assert refused.code == 2
    assert "--overwrite" in refused.err
    assert shell(*again, "--overwrite", "--quiet").out == ""
    assert "plain" in (tmp_path / "out" / "shortcuts.html").read_text()


@pytest.mark.parametrize(
    ("arguments", "facts"),
    [
        ((), ["--groups", "classes.csv"]),
        (("--groups", "nothing"), ["nothing", "marked"]),
        (("--groups", "marked", "--value", "median"), ["--value", "median"]),
        (("--groups", "marked", "--layer", "9"), ["9"]),
    ],
)
def test_errors_name_the_options(shell, run, arguments, facts):
    folder, named = run
    said = shell("shortcuts", folder, *named, *arguments, "--out", "out")
    assert said.code == 2
    for fact in facts:
        assert fact in said.err


def test_what_is_no_run_is_refused(shell, tmp_path):
    said = shell("shortcuts", tmp_path)
    assert said.code == 2
    assert "unitlens dissect" in said.err
