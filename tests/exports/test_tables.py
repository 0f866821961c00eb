"""Tables of a run come back in their types, are documented, and are written for other programs."""

import builtins
import json
import re
import shutil
from pathlib import Path

import pandas as pd
import pytest

import unitlens as ul
from tests.exports.documented import PAGE, section
from unitlens.dissection.run_record import SCHEMA
from unitlens.exports.catalogue import TABLES, TEXT
from unitlens.exports.reading import FORMATS

OLD = Path(__file__).parents[1] / "old_runs" / f"schema_{SCHEMA}"


def test_every_column_is_documented_as_in_the_code():
    assert PAGE.read_text(encoding="utf-8").endswith(section()), "run `python -m tests.exports.documented`"


def test_the_page_names_the_schema():
    assert f"**The schema** of `run.json` is {SCHEMA}." in PAGE.read_text(encoding="utf-8")


def test_the_columns_are_those_of_the_files():
    for path in sorted(OLD.glob("*.csv")):
        assert list(pd.read_csv(path).columns) == list(TABLES[path.name].columns), path.name


@pytest.mark.parametrize("name", TABLES)
def test_what_a_paper_shows_is_there(name):
    assert set(TABLES[name].in_paper) <= set(TABLES[name].columns)


def test_text_is_a_column_of_some_table():
    named = {column for described in TABLES.values() for column in described.columns}
    assert named >= TEXT


def test_tables_of_a_run_have_their_types():
    tables = ul.open_tables(OLD)
    assert list(tables) == ["units", "exemplars", "controls", "groups", "effects", "effects.random_sets"]
    units, run = tables["units"], ul.open_run(OLD).table()
    assert list(units.columns) == list(run.columns)
    assert units["layer"].tolist() == run["layer"].tolist() == ["0"] * 4 + ["4"] * 3
    assert units["unit"].dtype == "int64"
    assert units["detector"].dtype == bool
    assert units["concepts_needed"].dtype == run["concepts_needed"].dtype == "Int64"
    assert units["iou"].dtype == "float64"
    assert units["iou"].dropna().tolist() == run["iou"].dropna().tolist()
    assert tables["effects"]["units"].tolist()[0] == "0;1"


def test_effects_of_one_unit_are_named_by_text(tmp_path):
    folder = shutil.copytree(OLD, tmp_path / "run")
    (folder / "effects.csv").write_text((OLD / "effects.csv").read_text().replace("0;1", "7"))
    assert set(ul.open_tables(folder)["effects"]["units"]) == {"7"}


@pytest.mark.parametrize("format", ["csv", "json", "latex"])
def test_tables_are_written(shell, tmp_path, format):
    said = shell("tables", OLD, "--format", format, "--out", "out")
    assert (said.code, said.err) == (0, "")
    tables = ul.open_tables(OLD)
    names = {f"{name}{FORMATS[format]}" for name in tables}
    assert {path.name for path in (tmp_path / "out").iterdir()} == names
    assert said.out.startswith("wrote 6 tables into out/: ")
    for name, table in tables.items():
        path = tmp_path / "out" / f"{name}{FORMATS[format]}"
        if format == "csv":
            pd.testing.assert_frame_equal(pd.read_csv(path), pd.read_csv(OLD / f"{name}.csv"))
        elif format == "json":
            rows = json.loads(path.read_text())
            assert len(rows) == len(table)
            assert list(rows[0]) == list(table.columns)
        else:
            text = path.read_text()
            assert text.count(r"\\") == 1 + (0 if name == "units" else min(len(table), 20))
    assert shell("tables", OLD, "--format", format, "--out", "out").code == 2
    assert shell("tables", OLD, "--format", format, "--out", "out", "--overwrite").code == 0


def test_parquet_comes_back_as_it_was(shell, tmp_path):
    pytest.importorskip("pyarrow")
    said = shell("tables", OLD, "--format", "parquet", "--out", "out", "--table", "units")
    assert (said.code, said.err) == (0, "")
    again = pd.read_parquet(tmp_path / "out" / "units.parquet")
    table = ul.open_tables(OLD)["units"]
    assert list(again.columns) == list(table.columns)
    for name in table.columns:
        assert again[name].isna().tolist() == table[name].isna().tolist()
        assert again[name].dropna().tolist() == table[name].dropna().tolist()


def test_without_pyarrow_it_says_what_to_install(shell, monkeypatch, tmp_path):
    imported = builtins.__import__

    def no_pyarrow(name, *more, **keywords):
        if name.startswith("pyarrow"):
            raise ImportError(name)
        return imported(name, *more, **keywords)

    monkeypatch.setattr(builtins, "__import__", no_pyarrow)
    said = shell("tables", OLD, "--format", "parquet")
    assert said.code == 2
    assert "pip install 'unitlens[parquet]'" in said.err
    assert not (tmp_path / "tables").exists()


def test_tables_are_listed(shell):
    said = shell("tables", OLD)
    assert (said.code, said.err) == (0, "")
    assert re.match(r"table +rows +columns +a row is +made by\nunits +7 +47 +a unit +dissect\n", said.out)


@pytest.mark.parametrize(
    ("arguments", "facts"),
    [
        (["nowhere"], ["nowhere holds no tables", "nowhere/units.csv"]),
        ([OLD, "--table", "unit"], ["no table 'unit'", "did you mean units?", "effects"]),
        ([OLD, "--format", "excel"], ["'excel'", "csv", "parquet"]),
    ],
)
def test_what_cannot_be_given(shell, arguments, facts):
    said = shell("tables", *arguments)
    assert said.code == 2
    assert len(said.err.splitlines()) == 1
    assert all(fact in said.err for fact in facts), said.err


def test_formats_in_python(tmp_path):
    with pytest.raises(ul.UnitlensError, match=r"no format 'parket' \(did you mean parquet\?\)"):
        ul.write_tables(tmp_path, ul.open_tables(OLD), format="parket")
    assert ul.write_tables(tmp_path / "out", {"units": ul.open_tables(OLD)["units"]}, format="csv") == ["units.csv"]


@pytest.mark.parametrize("content", ['a,b\n"', "", "a,b\n1,2,3\n"])
def test_a_damaged_table(tmp_path, content):
    (tmp_path / "units.csv").write_text(content)
    with pytest.raises(ul.UnitlensError, match=r"units\.csv cannot be read"):
        ul.open_tables(tmp_path)
