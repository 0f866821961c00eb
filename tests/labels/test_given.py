"""Labels from elsewhere."""

import numpy as np
import pandas as pd
import pytest

import unitlens as ul
from tests.cli.test_ablate import name_classes
from tests.worlds.coloured import write_world
from unitlens.labels.people.key import read_key


def rows(labels):
    return labels.rows[["layer", "unit", "rank", "label"]].to_numpy().tolist()


def test_labels_are_taken_from_a_file_a_table_a_mapping_or_a_list(dissection, tmp_path):
    one = dissection["0"]
    (tmp_path / "milan.csv").write_text("\ufeffunit,label,score\r\n1,green,0.5\r\n2,,\r\n0,red\r\n0,warm,-1e3\r\n")
    of_file = ul.given_labels(one, tmp_path / "milan.csv")
    assert rows(of_file) == [["0", 1, 1, "green"], ["0", 0, 1, "red"], ["0", 0, 2, "warm"]]
    assert list(of_file.methods) == ["milan"]
    assert of_file.rows["score"].tolist()[0] == 0.5
    table = pd.read_csv(tmp_path / "milan.csv")
    assert rows(ul.given_labels(one, table)) == rows(of_file)
    assert rows(ul.given_labels(one, {1: "green", 3: ""})) == rows(ul.given_labels(one, ["", "green"]))


def test_a_label_that_is_a_concept_of_the_run_has_its_iou(dissection):
    one = dissection["0"]
    measured = ul.given_labels(one, {0: "red", 1: "not a concept"}).rows["iou"]
    assert measured[0] == one.scores("iou").loc[0, "red"]
    assert measured.isna()[1]


@pytest.mark.parametrize(
    ("content", "facts"),
    [
        ("unit,lable\n1,green\n", ["no column label", "did you mean lable", "unit, lable"]),
        ("unit,label\n", ["has no label"]),
        ("unit,label\n4,green\n", ["row 1", "no unit 4", "0 to 3"]),
        ("unit,label\n-1,green\n", ["no unit -1"]),
        ("unit,label\nnan,green\n", ["row 1", "nan"]),
        ("unit,label\none,green\n", ["unit is 'one'", "a number"]),
        ("unit,label,score\n1,green,good\n", ["score is 'good'"]),
        ("unit,label,rank\n1,green,1e300\n", ["rank is 1e+300"]),
        ("unit,label,rank\n1,green,0\n", ["row 1", "rank is 0"]),
        ("unit,label,layer\n1,green,00\n", ["no layer 00", "0"]),
        ("unit,label\n1," + "x" * 1001 + "\n", ["1001 letters"]),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_with_its_facts(dissection, tmp_path, content, facts):
    (tmp_path / "given.csv").write_text(content)
    with pytest.raises(ul.UnitlensError) as refused:
        ul.given_labels(dissection["0"], tmp_path / "given.csv")
    assert all(fact in str(refused.value) for fact in facts), str(refused.value)


def test_a_file_that_is_not_there_or_not_text_is_refused(dissection, tmp_path):
    with pytest.raises(ul.UnitlensError, match=r"none\.csv"):
        ul.given_labels(dissection, tmp_path / "none.csv")
    (tmp_path / "bytes.csv").write_bytes(b"unit,label\n1,\xff\xfe\n")
    with pytest.raises(ul.UnitlensError, match="cannot be read"):
        ul.given_labels(dissection, tmp_path / "bytes.csv")


def test_of_several_layers_one_must_be_named(dissection):
    with pytest.raises(ul.UnitlensError, match=r"several layers \(0, 4\)"):
        ul.given_labels(dissection, {0: "red"})


def test_the_command_measures_them_from_the_activations_of_the_run(shell, sees, world, tmp_path):
    shell("dissect", *sees, "--data", world, "--out", "run", "--keep-activations")
    (tmp_path / "clip.csv").write_text("layer,unit,description,similarity\n0,1,Greens,0.3\n0,0,warm,0.2\n")
    said = shell("label", "run", "--from", "clip.csv")
    assert said.code == 0
    assert "clip: 2 labels, " in said.out
    assert "description was taken for label, similarity was taken for score" in said.out
    assert "1 of 2 labels by clip are no concept of the run" in said.out
    labels = ul.open_labels(tmp_path / "run")
    assert labels["clip"].rows["score"].tolist() == [0.3, 0.2]
    assert labels["clip"].rows["auprc"].notna().tolist() == [True, False]
    assert labels.methods["clip"].settings["chosen_on"] == "other"
    (tmp_path / "more.csv").write_text("unit,label\n1,green\n")
    assert shell("label", "run", "--from", "more.csv").code == 0  # the references may always be replaced
    assert "clip" in ul.open_labels(tmp_path / "run").methods


def test_the_command_asks_an_encoder_about_labels_that_are_no_concept(shell, sees, world, tmp_path):
    shell("dissect", *sees, "--data", world, "--out", "run", "--keep-activations")
    (tmp_path / "milan.csv").write_text("layer,unit,label\n0,1,red car\n")
    assert "has no labels to measure" in shell("label", "run", "--encoder", "bundled:scenes-words").err
    said = shell("label", "run", "--from", "milan.csv")
    assert "`unitlens label RUN --encoder ENCODER`" in said.out
    unmeasured = ul.open_labels(tmp_path / "run")["milan"].rows
    assert unmeasured["simulation"].isna().all()
    said = shell("label", "run", "--encoder", "bundled:scenes-words")
    assert said.code == 0, said.err
    assert "bundled:scenes-words weighs 1 label by milan" in said.out
    assert ul.open_labels(tmp_path / "run")["milan"].rows["simulation"].notna().all()
    assert "No label in run waits" in shell("label", "run", "--encoder", "bundled:scenes-words").err
    said = shell("label", "run", "--from", "milan.csv", "--encoder", "bundled:scenes-words", "--overwrite")
    assert said.code == 0, said.err
    refused = shell("label", "run", "--encoder", "bundled:scenes-words", "--unmeasured")
    assert "--encoder measures labels, and --unmeasured" in refused.err


@pytest.mark.parametrize(
    ("header", "row"),
    [
        ("layer,unit,description,similarity", "0,1,green,0.25"),
        ("layer,unit,description", "0,1,green"),
        ("neuron,explanation,auc", "1,green,0.25"),
        ("Unit,Formula", "1,green"),
        ("unit,label,concept,score", "1,green,red,0.25"),
    ],
)
def test_columns_may_have_the_names_of_other_programs(dissection, tmp_path, header, row):
    (tmp_path / "theirs.csv").write_text(f"{header}\n{row}\n")
    labels = ul.given_labels(dissection["0"], tmp_path / "theirs.csv")
    assert rows(labels) == [["0", 1, 1, "green"]]
    notes = labels.methods["theirs"].notes
    assert bool(notes) == ("label" not in header)
    assert all("was taken for label" in note for note in notes)


def test_a_column_says_which_images_chose_the_labels(dissection, tmp_path):
    (tmp_path / "clip.csv").write_text("unit,label,chosen_on\n1,green,these\n0,red,these\n")
    assert ul.given_labels(dissection["0"], tmp_path / "clip.csv").methods["clip"].settings["chosen_on"] == "these"
    (tmp_path / "both.csv").write_text("unit,label,chosen_on\n1,green,these\n0,red,even\n")
    with pytest.raises(ul.UnitlensError, match=r"several sets of images.*even, these"):
        ul.given_labels(dissection["0"], tmp_path / "both.csv")
    with pytest.raises(ul.UnitlensError, match=r"'mine'.*other, even, these"):
        ul.given_labels(dissection["0"], {0: "red"}, chosen_on="mine")


def test_labels_cannot_take_the_name_of_what_they_are_compared_with(dissection):
    with pytest.raises(ul.UnitlensError, match="dissection"):
        ul.given_labels(dissection["0"], {0: "red"}, method="dissection")


@pytest.mark.parametrize("method", ["formulas", "ranges", "soft_wpmi", "crops", "correlation"])
def test_labels_cannot_take_the_name_of_a_method_of_unitlens(dissection, tmp_path, method):
    (tmp_path / f"{method}.csv").write_text("unit,label\n1,green\n")
    with pytest.raises(ul.UnitlensError, match=f"'{method}', which unitlens has"):
        ul.given_labels(dissection["0"], tmp_path / f"{method}.csv")


def test_names_of_its_own_methods_are_known():
    from unitlens.labels.by_words.naming import METHODS
    from unitlens.labels.columns import BUILT_IN

    assert set(METHODS) < set(BUILT_IN)


def test_a_run_that_cannot_be_written_is_refused_at_once(run_folder, shell, monkeypatch):
    def refuse(*_, **__):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr("unitlens.files.tempfile.TemporaryFile", refuse)
    for command in (("label", run_folder, "--formulas", 2), ("audit", run_folder)):
        said = shell(*command)
        assert (said.code, said.out) == (2, "")
        assert f"Nothing can be written into {run_folder} (Read-only file system)" in said.err


def test_two_files_of_one_name_are_refused(run_folder, shell, tmp_path):
    for folder, label in (("a", "green"), ("b", "red")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "milan.csv").write_text(f"layer,unit,label\n0,1,{label}\n")
    said = shell("label", run_folder, "--from", "a/milan.csv", "--from", "b/milan.csv", "--unmeasured")
    assert said.code == 2
    assert "Two files have labels by 'milan'" in said.err
    (tmp_path / "formulas.csv").write_text("layer,unit,label\n0,1,green\n")
    said = shell("label", run_folder, "--from", "formulas.csv", "--formulas", 1)
    assert said.code == 2
    assert "rename the file" in said.err
    assert not (run_folder / "labels.csv").exists()


def test_a_label_is_one_line_of_unicode(dissection):
    one = dissection["0"]
    labels = ul.given_labels(one, {1: " a green\rthing\0\n", 2: "\x85"}, method="by\rme")
    assert rows(labels) == [["0", 1, 1, "a green thing"]]
    assert list(labels.methods) == ["by me"]


@pytest.mark.parametrize(
    ("given", "method", "fact"),
    [
        (5, None, "labels are 5; they are a CSV file"),
        ({10**400: "sky"}, None, "row 1: unit is too large"),
        ({3: np.array(["sky", "sea"])}, None, r"row 1: the label is array.*a text"),
        (pd.DataFrame([[1, "a", "b"]], columns=["unit", "label", "label"]), None, "two columns 'label'"),
        ({1: "sky"}, 5, "method= is 5"),
        ({1: "sky"}, " ", "method= is ' '"),
        ({1: "sky\ud800"}, None, "row 1: the label .* surrogate"),
        ({1: "sky"}, "\ud800", "method="),
    ],
)
def test_what_is_no_label_is_refused_with_its_facts(dissection, given, method, fact):
    with pytest.raises(ul.UnitlensError, match=fact):
        ul.given_labels(dissection["0"], given, method=method)


def test_values_that_are_missing_are_left_out(dissection):
    assert rows(ul.given_labels(dissection["0"], {0: pd.NA, 1: "green", 2: None})) == [["0", 1, 1, "green"]]


def test_a_file_is_refused_at_its_first_wrong_row(dissection, tmp_path):
    content = "unit,label\n" + "9,green\n" + "1,green\n" * 10 + '1,"gre"en\n'
    (tmp_path / "given.csv").write_text(content)
    with pytest.raises(ul.UnitlensError, match="row 1: there is no unit 9"):
        ul.given_labels(dissection["0"], tmp_path / "given.csv")


def test_too_many_labels_of_a_unit_are_refused(dissection):
    many = pd.DataFrame({"unit": [1] * 101, "label": ["green"] * 101})
    with pytest.raises(ul.UnitlensError, match=r"row 101: unit 1 has more than 100"):
        ul.given_labels(dissection["0"], many)


def test_the_command_adds_them_to_a_run(run_folder, shell, tmp_path):
    import shutil

    shutil.copytree(run_folder, "run")
    (tmp_path / "milan.csv").write_text("layer,unit,label\n0,1,green\n4,0,warm\n")
    said = shell("label", "run", "--from", "milan.csv", "--unmeasured")
    assert said.code == 0
    assert "milan: 2 labels, 2 untested" in said.out
    assert "warm" in (tmp_path / "run/report.html").read_text()
    assert shell("label", "run", "--from", "milan.csv", "--unmeasured").code == 2
    assert shell("label", "run", "--from", "milan.csv", "--unmeasured", "--overwrite").code == 0
    said = shell("label", "run")
    assert said.code == 2
    assert "--from FILE" in said.err


def test_the_command_measures_effects_of_labels_that_are_there(shell, sees, tmp_path):
    world = name_classes(write_world(tmp_path / "world", images=24))
    shell("dissect", *sees, "--data", world, "--out", "run", "--keep-activations")
    (tmp_path / "mine.csv").write_text("unit,label\n0,red\n1,blue\n")
    assert shell("label", "run", "--from", "mine.csv").code == 0
    without = ul.open_labels(tmp_path / "run")["mine"].rows
    assert without["effect"].isna().all()
    said = shell("label", "run", "--effects", "--trust")
    assert said.code == 0, said.err
    rows = ul.open_labels(tmp_path / "run")["mine"].rows
    assert (rows["effect_low"] <= rows["effect"]).all()
    measured = [name for name in rows if name.startswith("effect") or name == "verdict"]
    assert rows.drop(columns=measured).equals(without.drop(columns=measured))


def test_the_command_asks_people_about_the_methods_that_are_named(shell, sees, world, tmp_path):
    shell("dissect", *sees, "--data", world, "--out", "run", "--keep-activations")
    for name in ("mine", "yours"):
        (tmp_path / f"{name}.csv").write_text("unit,label\n0,red\n1,green\n2,blue\n")
        assert shell("label", "run", "--from", f"{name}.csv", "--unmeasured").code == 0
    sheet = ("label", "run", "--sheet", "sheet.html", "--choices", 2, "--per-unit", 5, "--trust")
    said = shell(*sheet, "--sheet-methods", "yours")
    assert said.code == 0, said.err
    assert {one.method for one in read_key(tmp_path / "run").questions} == {"yours"}
    assert "did you mean yours" in shell(*sheet, "--sheet-methods", "your", "--overwrite").err
