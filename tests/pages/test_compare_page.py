import re

import pytest

import unitlens as ul
from tests.worlds.compared import three_runs
from unitlens.comparison import columns as compare_columns
from unitlens.comparison.comparing import compare
from unitlens.pages.comparison import render_comparison


@pytest.fixture(scope="module")
def three():
    return three_runs()


@pytest.fixture(scope="module")
def comparison(three):
    return compare(*three, names=["a", "b", "noise"])


def test_page_holds_everything_and_asks_for_nothing(comparison, tmp_path):
    page = ul.report(tmp_path / "out", comparison).read_text()
    assert not re.search(r"https?://|<script src|@import|url\(", page)
    assert "default-src &#39;none&#39;" in page
    for said in ("Emergence", "Gained and lost", "Matched units", "<svg", "top", "noise"):
        assert said in page
    assert "nan" not in re.sub(r"<style>.*?</style>", "", page, flags=re.DOTALL).lower()


def test_names_on_the_page_are_text(three):
    comparison = compare(*three[:2], names=["<b>loud</b>", "a&b"])
    page = render_comparison(comparison)
    assert "<b>loud</b>" not in page
    assert "&lt;b&gt;loud&lt;/b&gt;" in page


def test_files_are_not_replaced_silently(comparison, tmp_path):
    comparison.save(tmp_path)
    with pytest.raises(ul.UnitlensError, match=r"comparison already \(compare\.csv\): choose another folder"):
        comparison.save(tmp_path)
    comparison.save(tmp_path, overwrite=True)
    (tmp_path / "file").write_text("")
    with pytest.raises(ul.UnitlensError, match=r"could not be made: .*; choose another folder\.$"):
        comparison.save(tmp_path / "file" / "out")


def test_command(shell, three, tmp_path):
    import pandas as pd

    for name, run in zip("abc", three, strict=True):
        run.save(tmp_path / name)
    said = shell("compare", "a", "b", "--name", "first", "--name", "second", "--out", "side")
    assert said.code == 0, said.err
    assert said.out.splitlines()[0].startswith("first: 3 of 4 units are detectors (")
    assert "compared with first" in said.out.splitlines()[1]
    assert "no untrained copy (--control untrained dissects one)" in said.out.splitlines()[2]
    assert said.out.splitlines()[3] == "wrote side/: compare.html to look at, compare.csv to compute with"
    table = pd.read_csv(tmp_path / "side" / "compare.csv")
    assert list(table.columns) == list(compare_columns.COLUMNS)
    assert shell("compare", "a", "b", "--out", "side").code == 2
    said = shell("compare", "a", "b,c", "--out", "trainings")
    assert said.out.splitlines()[1].startswith("b (mean of 2): "), said.err
    page = (tmp_path / "trainings" / "compare.html").read_text()
    assert "numbers are means over its trainings" in page
    assert "Every network was trained once" in (tmp_path / "side" / "compare.html").read_text()
    assert shell("compare", "a", "nowhere").err.startswith("unitlens: nowhere holds no run")
