"""The table of docs/paper.md: where it stands, and that it can be measured."""

import re
from pathlib import Path

import pytest

from benchmarks import paper

PAGE = Path(__file__).parents[1] / "docs" / "paper.md"


def test_the_page_holds_a_measured_row_of_every_figure():
    text = PAGE.read_text(encoding="utf-8")
    measured = text.partition(paper.BEGIN)[2].partition(paper.END)[0]
    rows = [line.split(" | ") for line in measured.splitlines() if re.match(r"\| \d", line)]
    assert {row[0][2] for row in rows} == {"1", "2", "3", "4", "5"}
    assert all(len(row) == 4 for row in rows)


def test_only_the_table_is_replaced():
    page = f"# Before\n{paper.BEGIN}\nold\n{paper.END}\nafter\n"
    table = paper.as_table([paper.Row("1a", "shows", "ours", "theirs")])
    again = paper.replaced(page, table)
    assert again.startswith("# Before\n")
    assert again.endswith("\nafter\n")
    assert "| 1a | shows | ours | theirs |" in again
    assert "old" not in again
    assert paper.replaced(again, table) == again


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::unitlens.UnitlensWarning")  # so few images draw few of the concepts
def test_every_row_can_be_measured():
    world = paper.make_world(120, 64)
    rows = [row for part in paper.PARTS for row in part(world)]
    assert len({row.figure for row in rows}) == len(rows)
    assert all(row.ours for row in rows)
