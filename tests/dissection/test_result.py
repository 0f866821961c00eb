import json

import numpy as np
import pandas as pd
import pytest

import unitlens as ul
from unitlens.dissection.table import COLUMNS


def refused(action, sentence):
    with pytest.raises(ul.UnitlensError) as error:
        action()
    assert str(error.value) == sentence


def test_units_csv_has_the_documented_columns_and_types(run_folder):
    lines = (run_folder / "units.csv").read_text().splitlines()
    assert lines[0] == ",".join(COLUMNS)
    rows = pd.read_csv(run_folder / "units.csv", dtype=str, keep_default_na=False).to_dict("records")
    assert len(rows) == 7
    dead = rows[3]
    assert (dead["layer"], dead["unit"], dead["silent"], dead["verdict"]) == ("0", "3", "True", "silent")
    for column in ("concept", "category", "iou", "second_concept", "second_category", "second_iou", "intersection"):
        assert dead[column] == ""
    for row in rows:
        assert {row[name] for name in ("detector", "above_min_iou", "silent")} <= {"True", "False"}
        for name in ("unit", "nonfinite", "activated_pixels", "concept_pixels", "intersection"):
            assert row[name] == "" or str(int(row[name])) == row[name]
        for name in ("iou", "second_iou", "iou_low", "iou_high", "threshold", "active_share", "q_value"):
            assert row[name] == "" or repr(float(row[name])) == row[name]  # nothing is rounded
        assert row["concept_set"] == "" or row["concept"] in json.loads(row["concept_set"])
    assert [row["concept"] for row in rows[:3]] == ["red", "green", "blue"]
    assert {row["evaluated_on"] for row in rows} == {"grid", "image"}


def test_the_iou_of_the_table_is_that_of_its_counts(run_folder):
    table = ul.open_run(run_folder).table().dropna(subset="concept")
    union = table["activated_pixels"] + table["concept_pixels"] - table["intersection"]
    np.testing.assert_array_equal(table["iou"], (table["intersection"] / union).astype(float))


def test_exemplars_csv_tells_where_the_peak_is(run_folder, dissection):
    table = pd.read_csv(run_folder / "exemplars.csv", dtype={"layer": str})
    assert list(table.columns) == ["layer", "unit", "rank", "image", "value", "peak_y", "peak_x"]
    assert len(table) == 7 * 8
    assert table.groupby(["layer", "unit"])["rank"].apply(list).map(lambda ranks: ranks == list(range(1, 9))).all()
    assert ((table["peak_y"] > 0) & (table["peak_y"] < 1)).all()
    assert table.groupby(["layer", "unit"])["value"].apply(lambda values: (values.diff().dropna() <= 0).all()).all()


def test_one_layer_of_a_run(dissection):
    part = dissection["4"]
    assert part.layers == ("4",)
    assert set(part.table()["layer"]) == {"4"}
    refused(lambda: dissection["5"], "The layer 5 was not dissected, but 0, 4.")
    refused(
        lambda: dissection.scores("iou"),
        "Several layers were dissected: choose one of 0, 4, as in d['0'].",
    )


def test_units_for_a_concept(dissection):
    part = dissection["0"]
    assert part.units_for("green", 2)[0] == 1
    assert part.units_for("color/green") == [
        unit for unit in part.units_for("green", 4) if part.scores().to_numpy()[unit, 1] > 0
    ]
    sentence = "There is no concept 'gren' in the data (did you mean green?); there are blue, green, red."
    refused(lambda: part.units_for("gren"), sentence)
    refused(lambda: part.top_images(9), "There is no unit 9; 0 has units 0 to 3.")


def test_reprs(dissection):
    text = repr(dissection)
    assert "<Dissection of 0, 4 of " in text
    assert "of 7 units are detectors" in text
    assert text[1:20] in dissection._repr_html_()
    assert "<table" in dissection._repr_html_()
