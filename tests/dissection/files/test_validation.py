"""Saved runs from elsewhere: nothing is believed that a dissection could not have written, and nothing ends badly."""

import json
import os
import shutil
import warnings
from contextlib import suppress

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import load_file, save_file

import unitlens as ul
from tests.faults.changed_runs import mutated
from unitlens.dissection.run_record import SCHEMA, RunRecord
from unitlens.dissection.settings import PRESETS, Settings


@pytest.fixture(scope="module")
def full(net_file, tmp_path_factory):
    """A run with everything that a run may have."""
    from tests.worlds.coloured import write_world

    folder = tmp_path_factory.mktemp("full")
    net = ul.load(f"{net_file}:build", image_size=32, mean=(0, 0, 0), std=(1, 1, 1))
    control = ("untrained", "rotated")
    result = ul.dissect(net, ["0", "4"], write_world(folder / "world"), quantile=0.15, levels=True, control=control)
    return result.save(folder / "run")


@pytest.fixture
def copy(full, tmp_path):
    return shutil.copytree(full, tmp_path / "copy")


def refused(folder, *facts):
    with pytest.raises(ul.UnitlensError) as error:
        ul.open_run(folder)
    for fact in (str(folder), *facts):
        assert fact in str(error.value)


def change_json(folder, change):
    info = json.loads((folder / "run.json").read_text())
    change(info)
    (folder / "run.json").write_text(json.dumps(info))


def change_table(folder, change, name="units.csv"):
    table = pd.read_csv(folder / name, dtype=object, keep_default_na=False)
    change(table)
    table.to_csv(folder / name, index=False)


def change_arrays(folder, change, name="counts.safetensors"):
    arrays = {key: array.copy() for key, array in load_file(folder / name).items()}
    change(arrays)
    save_file(arrays, folder / name)


# ---- what a dissection writes is believed


OPTIONS = [{}, {"evidence": False}, {"score": "f1"}, {"score": "auprc"}, {"exemplars": 2}]


@pytest.mark.parametrize(
    ("preset", "more"),
    [
        pytest.param(preset, more, marks=[pytest.mark.slow] if more and preset != "unitlens" else [])
        for preset in PRESETS
        for more in OPTIONS
    ],
)
def test_a_run_of_any_settings_is_believed(net_file, tmp_path, world, preset, more):
    for path in sorted((world / "labels" / "color").iterdir())[:3]:
        path.unlink()  # images without annotations
    for build in ("build", "broken"):
        net = ul.load(f"{net_file}:{build}", image_size=32, mean=(0, 0, 0), std=(1, 1, 1))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            result = ul.dissect(net, ["0", "4"], world, preset=preset, quantile=0.15, **more)
        opened = ul.open_run(result.save(tmp_path / build))
        assert opened.info == result.info
        assert RunRecord.from_json(opened.info).settings == result.settings
        ul.open_run(opened["4"].save(tmp_path / f"{build} 4"))


def test_a_run_with_everything_is_believed(full):
    assert ul.open_run(full).info["schema"] == SCHEMA


def test_the_settings_of_a_run_are_read_once(full, monkeypatch):
    read = []
    right = Settings.__post_init__
    monkeypatch.setattr(Settings, "__post_init__", lambda self: read.append(right(self)))
    assert ul.open_run(full).settings.quantile == 0.15
    assert len(read) == 1


# ---- other versions


@pytest.mark.parametrize("schema", [None, 1, SCHEMA - 1, SCHEMA + 1])
def test_a_run_of_another_schema_is_refused_with_what_to_do(copy, schema):
    change_json(copy, lambda info: info.pop("schema") if schema is None else info.update(schema=schema))
    newer = schema is not None and schema > SCHEMA
    what_to_do = "update unitlens" if newer else "dissect again"
    with pytest.raises(ul.UnitlensError) as error:
        ul.open_run(copy)
    assert str(error.value) == (
        f"The run in {copy} is of schema {schema or 1} (unitlens 0.1.0 wrote it), and this version of unitlens reads "
        f"schema {SCHEMA}: {what_to_do}, or open it with the version that wrote it."
    )


# ---- what was changed


CHANGED_TABLES = {
    "an IoU of 0.99 everywhere": (lambda t: t.assign(iou="0.99"), "units.csv: 0: iou of unit 0"),
    "an IoU above 1": (lambda t: t.assign(iou="1.5"), "iou lies beyond 0 and 1"),
    "a concept that is not marked": (lambda t: t.replace({"red": "tree"}), "tree is not a concept of the data"),
    "another concept": (lambda t: t.replace({"red": "green"}), "concept of unit 0"),
    "more activated pixels": (lambda t: t.assign(activated_pixels="500"), "activated_pixels of unit 0"),
    "detectors all": (lambda t: t.assign(detector="True"), "detector and verdict contradict"),
    "verdicts all detector": (lambda t: t.assign(verdict="detector", detector="True"), "verdict of unit"),
    "an unknown verdict": (lambda t: t.assign(verdict="certain"), "a verdict is none of"),
    "no silent unit": (lambda t: t.assign(silent="False"), "silent of unit 3"),
    "a threshold without end": (lambda t: t.assign(threshold="inf"), "a threshold is not finite"),
    "another share": (lambda t: t.assign(active_share="0.5"), "active_share of unit 0"),
    "turned intervals": (lambda t: t.assign(iou_low="0.9", iou_high="0.1"), "iou_low and iou_high"),
    "a missing row": (lambda t: t.iloc[1:], "other units than run.json"),
    "a row twice": (lambda t: pd.concat([t, t.iloc[:1]]), "other units than run.json"),
    "rows in another order": (lambda t: t.iloc[::-1], "other units than run.json"),
    "a further column": (lambda t: t.assign(more="1"), "other columns"),
    "text for numbers": (lambda t: t.assign(nonfinite="many"), "nonfinite has a value of another type"),
    "a grid where there is none": (lambda t: t.assign(evaluated_on="grid"), "4: evaluated_on of unit 0"),
    "concepts that fit as well": (lambda t: t.assign(concept_set='["tree"]'), "is not a JSON list of concepts"),
}


@pytest.mark.parametrize(("change", "fact"), CHANGED_TABLES.values(), ids=CHANGED_TABLES)
def test_a_table_that_the_counts_do_not_give_is_refused(copy, change, fact):
    table = pd.read_csv(copy / "units.csv", dtype=object, keep_default_na=False)
    change(table).to_csv(copy / "units.csv", index=False)
    refused(copy, fact)


CHANGED_COUNTS = {
    "negative intersections": (lambda a: a.update({"0/value": -a["0/value"]}), "0/index and value are not counts"),
    "intersections larger than masks": (
        lambda a: a.update({"0/value": a["0/value"] * 50}),
        "an intersection is larger",
    ),
    "fewer intersections": (lambda a: a["0/value"].__imul__(0).__iadd__(1), "units.csv: 0"),
    "falling places": (lambda a: a.update({"0/index": a["0/index"][::-1].copy()}), "0/index and value are not counts"),
    "places outside": (lambda a: a.update({"0/index": a["0/index"] + 10**6}), "0/index and value are not counts"),
    "more active than there are": (lambda a: a["0/active"].fill(10**6), "0/active lies beyond 0 and 896"),
    "less active than judged": (lambda a: a["0/active"].fill(1), "activated positions are more than"),
    "larger concepts": (lambda a: a["0/concept_by_fold"].fill(896), "positions of a concept are more than"),
    "swapped concepts": (lambda a: a.update({"0/index": np.sort(a["0/index"] ^ 1)}), ""),
    "other positions": (lambda a: a["4/positions"].fill(15), "15 positions, run.json 14"),
    "another category": (lambda a: a["0/category_of"].fill(1), "0/category_of has other categories"),
    "halves of counts": (lambda a: a.update({"0/active": a["0/active"] / 2}), "0/active is float64"),
    "a shape": (lambda a: a.update({"0/active": a["0/active"][:2]}), "0/active is int64 (2,), not int64 (4,)"),
    "a missing array": (lambda a: a.pop("0/judged_by_fold"), "0/judged_by_fold is missing"),
    "a further array": (lambda a: a.update({"0/more": a["0/active"]}), "0/more is not one of"),
    "a further layer": (lambda a: a.update({"9/active": a["0/active"]}), "9/active, which is not of a layer"),
    "a score that is none": (lambda a: a["0/auprc"].fill(np.inf), "0/auprc lies beyond"),
}


@pytest.mark.parametrize(("change", "fact"), CHANGED_COUNTS.values(), ids=CHANGED_COUNTS)
def test_counts_that_cannot_be_are_refused(copy, change, fact):
    change_arrays(copy, change)
    refused(copy, fact)


CHANGED_INFO = {
    "a version of later": (lambda i: i.update(schema=99), "schema 99"),
    "a version that is no number": (lambda i: i.update(schema="3"), "schema is '3'"),
    "swapped concepts": (lambda i: swap_names(i["data"]["concepts"]), "units.csv: 0"),
    "a concept twice": (lambda i: i["data"]["concepts"][1].update(name="red"), "one is listed twice"),
    "more images": (lambda i: i["data"].update(images=15), "positions, run.json 960"),
    "no images": (lambda i: i["data"].update(images=0), "data.images is 0"),
    "a hash that is none": (lambda i: i["data"].update(sha256="x"), "not a SHA-256"),
    "another layer": (lambda i: i["layers"].update(more=i["layers"]["0"]), "the layers are 0, 4, more"),
    "another quantile": (lambda i: i["settings"].update(quantile=2.0), "quantile=2.0"),
    "another least IoU": (lambda i: i["settings"].update(min_iou=0.64), "above_min_iou of unit 0"),
    "an unknown setting": (lambda i: i["settings"].update(more=1), "unknown field 'more'"),
    "a setting that is missing": (lambda i: i["settings"].pop("fdr"), "lacks fdr"),
    "an input without end": (lambda i: i["network"]["preprocessing"].update(image_size=[10**9, 9]), "pixels a side"),
    "means of other units": (lambda i: i["layers"]["0"]["mean"].pop(), "has the means of 3"),
    "means that are none": (lambda i: i["layers"]["0"].update(mean=[float("nan")] * 4), "it is a finite number"),
    "a number of 400 digits": (lambda i: i["timings"].update(seconds=10**400), "it is a finite number"),
    "no control": (lambda i: i["settings"].update(control=[]), "controls.csv"),
    "text that is not Unicode": (lambda i: i["network"].update(name="\ud800"), "run.json cannot be read"),
}


def swap_names(concepts):
    concepts[0]["name"], concepts[1]["name"] = concepts[1]["name"], concepts[0]["name"]


@pytest.mark.parametrize(("change", "fact"), CHANGED_INFO.values(), ids=CHANGED_INFO)
def test_a_run_json_that_cannot_be_is_refused(copy, change, fact):
    change_json(copy, change)
    refused(copy, fact)


@pytest.mark.parametrize("text", ["[" * 100_000, "nothing", "[]", "7", '{"schema": 3'])
def test_a_run_json_that_is_none_is_refused(copy, text):
    (copy / "run.json").write_text(text)
    refused(copy, "run.json")


def test_exemplars_and_strips_that_cannot_be_are_refused(copy, full):
    for change, fact in (
        (lambda t: t.assign(rank="1"), "other rows than 8 ranks"),
        (lambda t: t.assign(peak_x="2"), "peak_x lies beyond"),
        (lambda t: t.assign(image=""), "an image has no name"),
        (lambda t: t.assign(value="nan"), "a value is not finite"),
    ):
        table = pd.read_csv(full / "exemplars.csv", dtype=object, keep_default_na=False)
        change(table).to_csv(copy / "exemplars.csv", index=False)
        refused(copy, fact)
    shutil.copy(full / "exemplars.csv", copy)
    script = np.frombuffer(b"<svg onload='alert(1)'/>", np.uint8)
    change_arrays(copy, lambda a: a.update({"0/1": script}), "strips.safetensors")
    refused(copy, "a strip is not a JPEG, PNG or WebP file")
    change_arrays(copy, lambda a: a.update({"0/1": a["0/0"], "0/9": a["0/0"]}), "strips.safetensors")
    refused(copy, "a strip is of a unit that the run does not show")


def test_controls_that_cannot_be_are_refused(copy, full):
    for change, fact in (
        (lambda t: t.assign(control="none"), "other rows of the network"),
        (lambda t: t[t["control"] != "rotated"], "other units of the control rotated"),
        (lambda t: t.assign(control=t["control"].replace("rotated", "turned")), "other units of the control rotated"),
        (lambda t: t.assign(iou="7"), "iou lies beyond 0 and 1"),
    ):
        table = pd.read_csv(full / "controls.csv", dtype=object, keep_default_na=False)
        change(table).to_csv(copy / "controls.csv", index=False)
        refused(copy, fact)
    (copy / "controls.csv").unlink()
    refused(copy, "controls.csv is there without a control in run.json, or missing")


@pytest.mark.parametrize("name", ["units.csv", "counts.safetensors", "strips.safetensors", "exemplars.csv"])
def test_a_file_that_would_never_end_is_not_read(copy, name):
    (copy / name).unlink()
    os.mkfifo(copy / name)
    refused(copy, name, " file")  # "there is no file", or it "is not a file"


# ---- whatever was changed


def look(folder, shell, other):
    """Open a folder in every way that needs neither network nor images; whether it is believed."""
    try:
        run = ul.open_run(folder)
    except ul.UnitlensError:
        expected = 2
    else:
        expected = 0
        table = run.table().dropna(subset="concept")
        for row in table.itertuples():
            assert abs(run[row.layer].scores().to_numpy()[row.unit, run.column(row.concept)] - row.iou) < 1e-9
        assert table["iou"].between(0, 1).all()
    for verb in (("units", folder), ("report", folder), ("compare", folder, other, "--overwrite")):
        said = shell(*verb)
        assert said.code == expected, said.err
        assert "Traceback" not in said.err
    return expected == 0


def test_any_change_is_refused_or_leaves_a_run_that_agrees_with_itself(full, tmp_path, shell):
    for number in range(30):
        folder = mutated(full, tmp_path / "changed", number)
        if number % 15 == 0:
            look(folder, shell, full)
            continue
        with suppress(ul.UnitlensError):
            ul.open_run(folder)


@pytest.mark.slow
@pytest.mark.parametrize("start", range(1000, 3000, 100))
def test_thousands_of_changes_end_in_no_other_error(full, tmp_path, shell, start):
    believed = [look(mutated(full, tmp_path / "changed", number), shell, full) for number in range(start, start + 100)]
    assert 0 < sum(believed) < 60
