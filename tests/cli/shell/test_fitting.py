"""Tables fit the terminal: no line is wider, numbers are whole, and what is left out is named."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unitlens.cli import text
from unitlens.cli.shell import fitting
from unitlens.cli.shell.fitting import NARROWEST, fit, is_quantity, width_of

CELLS = st.one_of(
    st.text(st.characters(categories=("L", "N", "Zs"), max_codepoint=0xFFFF), max_size=30),
    st.just("0.123 (0.1 to 0.2)"),
)
TABLES = st.integers(1, 6).flatmap(lambda n: st.lists(st.tuples(*[CELLS] * n), min_size=1, max_size=5))
WIDTHS = st.integers(1, 120)


@given(TABLES, WIDTHS)
def test_no_line_is_wider_than_the_terminal(rows, width):
    narrowest = max(NARROWEST, width_of(rows[0][0]), *(width_of(row[0]) for row in rows if is_quantity(row[0])), 0)
    for line in fit(rows, max(width, narrowest)).splitlines():
        words = line.split()
        assert width_of(line) <= max(width, narrowest, *map(width_of, words), 0)


@given(TABLES)
def test_without_a_terminal_nothing_is_cut(rows):
    lines = fit(rows, None).split("\n")
    assert len(lines) == len(rows)
    for line, row in zip(lines, rows, strict=True):
        assert line == line.rstrip()
        assert all(cell.strip() in line for cell in row)


@given(TABLES)
def test_a_terminal_that_is_wide_enough_changes_nothing(rows):
    whole = fit(rows, None)
    assert fit(rows, max(map(width_of, whole.split("\n"))) + 40) == whole


TABLE = [
    ("layer", "unit", "concept", "category", "iou", "verdict"),
    ("layer4.1.conv2", "7", "an indoor swimming pool", "scene", "0.2134", "detector"),
    ("layer4.1.conv2", "108", "sky", "object", "0.0417", "chance"),
]


def test_words_are_cut_and_numbers_are_not():
    lines = fit(TABLE, 60).splitlines()
    assert max(map(len, lines)) <= 60
    assert "an indoor" in lines[1]
    assert "pool" not in lines[1]
    assert "0.2134" in lines[1]
    assert "108" in lines[2]


def test_columns_that_do_not_fit_are_named():
    lines = fit(TABLE, 40).splitlines()
    assert max(map(len, lines)) <= 40
    assert "iou" not in lines[0]
    assert " ".join(lines[3:]) == "not shown for want of width (a pipe takes all): iou, verdict"


def test_wide_characters_take_two_columns():
    rows = [("concept", "iou"), ("空" * 20, "0.5")]
    cut = fit(rows, 20).splitlines()
    assert width_of(cut[1]) <= 20
    assert cut[1].endswith("0.5")


def test_where_the_terminal_has_no_ellipsis(monkeypatch, capsys):
    class Ascii:
        encoding = "ascii"

    monkeypatch.setattr(fitting.sys, "stdout", Ascii())
    assert fit([("concept",), ("swimming pool",)], 9).splitlines()[1] == "swimming~"


@pytest.mark.parametrize(("columns", "pool"), [(60, False), (200, True)])
def test_commands_fit_the_terminal(monkeypatch, columns, pool):
    monkeypatch.setattr(text, "terminal_width", lambda: columns)
    said = text.align_columns(TABLE)
    assert max(map(len, said.splitlines())) <= columns
    assert ("swimming pool" in said) == pool


def test_a_pipe_has_no_width(shell, run_folder, monkeypatch):
    monkeypatch.setenv("COLUMNS", "20")
    assert "verdict" in shell("units", run_folder).out.splitlines()[0]
