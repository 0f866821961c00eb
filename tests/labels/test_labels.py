"""Labels of several methods in one table, saved in a run and shown on its page."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import unitlens as ul
from unitlens.exports.catalogue import TABLES
from unitlens.labels.columns import COLUMNS, TEXT, VERDICTS
from unitlens.labels.files import write_labels


@pytest.fixture
def run(run_folder, tmp_path):
    return shutil.copytree(run_folder, tmp_path / "run")


def labels(dissection, method="mine", **values):
    row = {"layer": "0", "unit": 1, "label": "green AND NOT <b>", "verdict": "supported", "score": 0.5, **values}
    return ul.Labels.of(dissection, method, [row], settings={"length": 3}, seconds=1.23456, notes=["a note"])


def test_a_summary_without_labels_of_masks_has_its_columns(dissection):
    columns = list(labels(dissection).summary())
    of_ranges = labels(dissection, range_low=1.0, range_high=2.0, share=0.5)
    for none in (of_ranges.summary(), ul.Labels(of_ranges.rows[:0]).summary()):
        assert len(none) == 0
        assert list(none) == columns


def test_a_table_has_every_column_and_its_type(dissection):
    table = labels(dissection).table()
    assert list(table) == list(COLUMNS) == list(TABLES["labels.csv"].columns)
    assert table.loc[0, ["unit", "rank", "also"]].tolist() == [1, 1, ""]
    assert np.isnan(table.loc[0, "q_value"])
    assert all(isinstance(table.loc[0, name], str) for name in TEXT)


def test_what_is_saved_is_read_back(dissection, run):
    saved = labels(dissection, also=json.dumps(["red"]), range_low=1e-17, heldout_score=0.25)
    ul.report(run, saved)
    read = ul.open_labels(run)
    assert read.rows.equals(saved.rows)
    assert read.methods == saved.methods
    assert read.methods["mine"].settings == {"length": 3}
    assert read.methods["mine"].notes == ("a note",)


def test_methods_stand_side_by_side_and_one_that_runs_again_replaces_its_own(dissection, run):
    ul.report(run, labels(dissection))
    ul.report(run, labels(dissection, "theirs", label="red"))
    with pytest.raises(ul.UnitlensError, match=r"labels by mine already.*overwrite"):
        ul.report(run, labels(dissection, label="blue"))
    ul.report(run, labels(dissection, label="blue"), overwrite=True)
    read = ul.open_labels(run)
    assert read.of_unit(1)[["method", "label"]].to_numpy().tolist() == [["theirs", "red"], ["mine", "blue"]]
    assert read["theirs"].rows["label"].tolist() == ["red"]
    assert list(read["theirs"].methods) == ["theirs"]
    assert repr(read) == "<Labels by mine, theirs: 2 labels of 1 unit, 2 supported>"


def test_the_page_shows_them_as_text(dissection, run):
    page = ul.report(run, labels(dissection, chance_score=0.125, also='["red"]', range_low=2.0, share=0.5)).read_text()
    assert "green AND NOT &lt;b&gt;" in page
    assert "<td>0.125</td>" in page
    assert "above 2, 50\N{NO-BREAK SPACE}% of it" in page
    assert VERDICTS["supported"] in page
    assert (run / "labels.csv").exists()
    assert "green AND NOT &lt;b&gt;" in ul.report(run).read_text()


def test_a_formula_of_which_a_part_says_as_much_is_shown_among_all_numbers_alone(dissection, run):
    shown = ul.report(run, labels(dissection)).read_text().count("green AND NOT")
    page = ul.report(run, labels(dissection, verdict="no gain"), overwrite=True).read_text()
    assert page.count("green AND NOT") == shown - 1
    assert '<dl class="labels"></dl>' not in page


def test_a_dissection_and_its_labels_are_saved_together(dissection, tmp_path):
    ul.report(tmp_path / "new", dissection, labels(dissection), labels(dissection, "theirs"))
    assert list(ul.open_labels(tmp_path / "new").methods) == ["mine", "theirs"]


def test_a_new_run_in_the_same_folder_has_no_labels_of_the_old_one(dissection, run):
    ul.report(run, labels(dissection))
    dissection.save(run, overwrite=True)
    with pytest.raises(ul.UnitlensError, match="has no labels"):
        ul.open_labels(run)


def test_labels_of_another_network_are_refused(dissection, run):
    other = ul.Labels.of(dissection, "mine", labels(dissection).rows, settings={})
    other = other.__class__(other.rows, other.methods, "0" * 64, other.data)
    with pytest.raises(ul.UnitlensError, match="another network"):
        ul.report(run, other)
    with pytest.raises(ul.UnitlensError, match="another network"):
        labels(dissection, "theirs").joined(other)


@given(st.lists(st.text(), min_size=1, max_size=5))
def test_any_text_is_read_back_as_one_line(tmp_path_factory, dissection, texts):
    folder = tmp_path_factory.mktemp("texts")
    table = [{"layer": "0", "unit": 1, "label": text, "rank": 1, "verdict": "supported"} for text in texts]
    written = ul.Labels.of(dissection, "mine", table, settings={})
    write_labels(folder, written, dissection.info, dissection.table())
    read = ul.open_labels(folder)
    assert read.rows.equals(written.rows)
    assert [len(label) for label in read.rows["label"]] == list(map(len, texts))
    assert all(label.splitlines() in ([], [label]) for label in read.rows["label"])


def test_half_a_character_is_refused(dissection):
    with pytest.raises(ul.UnitlensError, match="surrogate"):
        labels(dissection, label="gr\ud800n")


def test_rows_of_a_table_that_was_filtered_stay_together(dissection):
    table = [{"layer": "0", "unit": unit, "label": f"label {unit}"} for unit in range(4)]
    made = ul.Labels.of(dissection, "mine", table, settings={}).rows
    for some in (made[made["unit"] > 1], made[::-1], pd.concat([made[2:], made[2:]])):
        again = ul.Labels.of(dissection, "mine", some, settings={}).rows
        assert again["method"].tolist() == ["mine"] * len(some)
        assert again["unit"].tolist() == some["unit"].tolist()
        assert again["label"].tolist() == some["label"].tolist()


def test_labels_without_a_run_are_refused(dissection, tmp_path):
    with pytest.raises(ul.UnitlensError, match=r"no run"):
        ul.report(tmp_path / "empty", labels(dissection))


@pytest.mark.parametrize(
    ("column", "value", "fact"),
    [
        ("unit", "77", "no unit 77 of 0"),
        ("unit", "0.5", "no number of its kind"),
        ("layer", "9", "no unit 1 of 9"),
        ("verdict", "sure", "no verdict 'sure'"),
        ("method", "theirs", "nothing of the method 'theirs'"),
        ("also", "[1]", "JSON list"),
        ("also", "{", "JSON list"),
        ("score", "high", "score has a value"),
    ],
)
def test_a_table_that_was_changed_is_refused(dissection, run, column, value, fact):
    ul.report(run, labels(dissection))
    rows = ul.open_labels(run).rows.astype(object)
    rows.loc[0, column] = value
    rows.to_csv(run / "labels.csv", index=False)
    with pytest.raises(ul.UnitlensError, match=fact):
        ul.open_labels(run)


@pytest.mark.parametrize("content", ["{}", "[]", '{"schema": 99}', '{"schema": 1, "methods": {"mine": 3}}'])
def test_a_record_that_was_changed_is_refused(dissection, run, content):
    ul.report(run, labels(dissection))
    (run / "labels.json").write_text(content)
    with pytest.raises(ul.UnitlensError, match=r"labels\.csv"):
        ul.open_labels(run)


def test_an_unknown_method_is_answered_with_the_nearest(dissection):
    with pytest.raises(ul.UnitlensError, match="did you mean mine"):
        labels(dissection)["mime"]


def test_units_of_several_layers_need_its_name(dissection):
    both = labels(dissection).joined(labels(dissection, "theirs", layer="4"))
    with pytest.raises(ul.UnitlensError, match="one of 0, 4"):
        both.of_unit(1)
    assert both.of_unit(1, layer="4")["method"].tolist() == ["theirs"]


def test_columns_that_an_older_version_did_not_have_are_empty(dissection, run):
    ul.report(run, labels(dissection, auprc=0.5))
    rows = ul.open_labels(run).rows
    rows.drop(columns=["auprc", "bound", "also"]).to_csv(run / "labels.csv", index=False)
    read = ul.open_labels(run).rows
    assert list(read) == list(COLUMNS)
    assert read.loc[0, "also"] == ""
    assert np.isnan(read.loc[0, "auprc"])
    rows.drop(columns=["unit"]).to_csv(run / "labels.csv", index=False)
    with pytest.raises(ul.UnitlensError, match="other columns"):
        ul.open_labels(run)


def test_damaged_labels_can_be_replaced_and_not_lost_unasked(dissection, run):
    ul.report(run, labels(dissection))
    (run / "labels.csv").write_text("layer,unit\n")
    with pytest.raises(ul.UnitlensError, match=r"overwrite"):
        ul.report(run, labels(dissection, "theirs"))
    ul.report(run, labels(dissection, "theirs"), overwrite=True)
    assert list(ul.open_labels(run).methods) == ["theirs"]
