"""Files of effects: read back as they were, and refused where they cannot have been written."""

import json

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import load_file, save_file

import unitlens as ul
from tests.faults.changed_runs import mutated
from tests.made_up.effects import agreement_of, curve_of, sweep_of
from unitlens.ablation.estimates import OF_COUNTS
from unitlens.ablation.files import SavedEffects, read_agreement, read_effects, write_agreement, write_effects

NAMES = ["a", "b", "c"]


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder, sweep = tmp_path_factory.mktemp("effects"), sweep_of(8, NAMES)
    curve = curve_of(sweep, "b")
    write_effects(folder, SavedEffects((curve.chosen("most", 4), sweep, curve), "unitlens ablate run"))
    write_agreement(folder, agreement_of(NAMES, units=8))
    return folder


@pytest.fixture
def folder(written, tmp_path):
    for path in written.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    return tmp_path


def refused(folder, *facts):
    with pytest.raises(ul.UnitlensError, match=r"are incomplete or damaged \(.*\): measure them again") as error:
        read_effects(folder)
    for fact in facts:
        assert fact in str(error.value)


def test_the_three_kinds_of_results_are_read_back_with_their_settings(folder):
    saved = read_effects(folder)
    assert [type(result) for result in saved.results] == [ul.SetEffects, ul.UnitEffects, ul.Curve]
    chosen, sweep, curve = saved.results
    assert saved.command == "unitlens ablate run"
    assert sweep.settings == sweep_of(8, NAMES).settings
    assert sweep.effect("logit") == pytest.approx(sweep_of(8, NAMES).effect("logit"))
    assert {kind: len(drawn.sets) for kind, drawn in chosen.drawn.items()} == {"random": 3, "matched": 3}
    assert curve.chosen("most", 4).units == chosen.units
    assert curve.ranking.measured is sweep.measured
    assert saved.units is sweep
    pd.testing.assert_frame_equal(read_agreement(folder, saved), agreement_of(NAMES, units=8), check_dtype=False)


def test_effects_of_another_version_are_refused_with_what_to_do(folder):
    for schema in (None, 4, 99, "5", True):
        content = json.loads((folder / "effects.json").read_text()) | {"schema": schema}
        (folder / "effects.json").write_text(json.dumps(content))
        refused(folder, "of schema", "this version of unitlens reads 6 to 7")


def test_effects_of_two_networks_are_not_saved_together(tmp_path):
    one, other = sweep_of(8, NAMES), sweep_of(8, NAMES)
    other.measured.info["network"]["sha256"] = "07e4" * 16
    with pytest.raises(ul.UnitlensError, match="different networks"):
        ul.report(tmp_path / "run", one, other)
    assert not (tmp_path / "run").exists()


# ---- what was changed


def swap(values, one=0, other=1):
    values[one], values[other] = values[other], values[one]


def swap_classes(content):
    for measurement in content["measurements"]:
        swap(measurement["outputs"]["names"])
        measurement["outputs"]["output_of"] = {"b": 0, "a": 1, "c": 2}


def of(content, number=0):
    return content["measurements"][number]


CHANGED = {
    "no results": (lambda c: c.pop("results"), "lacks results"),
    "results that are empty": (lambda c: c.update(results=[]), "no results"),
    "a command that is a number": (lambda c: c.update(command=3), "command is 3"),
    "a further field": (lambda c: c.update(more=1), "'more'"),
    "an unknown kind": (lambda c: c["results"][0].update(kind="Effects"), "a result is none of UnitEffects"),
    "a measurement that is not there": (lambda c: c["results"][0].update(measured=99), "measurement 99"),
    "a measurement from behind": (lambda c: c["results"][0].update(measured=-1), "measurement -1"),
    "a set of all units": (lambda c: c["results"][0].update(measured=c["results"][1]["measured"]), "counts of 8"),
    "other drawn sets": (lambda c: c["results"][0]["drawn"].update(random=0), ""),
    "an unknown kind of draws": (lambda c: c["results"][0]["drawn"].update(more=1), "drawn sets are none of"),
    "a curve with a set less": (lambda c: c["results"][2]["members"].pop(), "more or fewer sets"),
    "a curve of an unknown class": (lambda c: c["results"][2].update(class_name="d"), "a class that has no images"),
    "a curve with swapped kinds": (lambda c: swap(c["results"][2]["members"]), "units kept are not"),
    "a curve with a negative draw": (lambda c: c["results"][2]["members"][0].__setitem__(2, -1), "a set of a curve"),
    "a setting that is missing": (lambda c: of(c)["settings"].pop("seed"), "lacks seed"),
    "an unknown setting": (lambda c: of(c)["settings"].update(more=1), "'more'"),
    "unknown folds": (lambda c: of(c)["settings"].update(folds="some"), "There is no folds 'some'"),
    "other folds": (lambda c: of(c, 3)["settings"].update(folds="odd"), "not all images are of the odd folds"),
    "another measure": (lambda c: of(c)["settings"].update(measures=["margin"]), "margin/before is missing"),
    "no batch": (lambda c: of(c)["settings"].update(batch_size=0), "batch_size is 0"),
    "two layers": (lambda c: of(c)["settings"].update(layers=["a", "b"]), "named with their layers"),
    "a class less": (lambda c: of(c)["outputs"]["names"].pop(), "the output of c is 2"),
    "a class that is called otherwise": (lambda c: of(c)["outputs"]["names"].__setitem__(0, "x"), "other names"),
    "swapped classes": (swap_classes, "effects.csv: class in row 1"),
    "an output that does not exist": (lambda c: of(c)["outputs"]["output_of"].update(a=7), "the output of a is 7"),
    "a unit less": (lambda c: of(c, 3)["sets"].pop(), "not int64"),
    "swapped units": (lambda c: swap(of(c, 3)["sets"]), "each unit once, in order"),
    "a unit that does not exist": (lambda c: of(c)["sets"][0].__setitem__(0, 8), "unit 8 of 8"),
    "a unit twice": (lambda c: of(c)["sets"][0].__setitem__(0, 1), "a unit twice"),
    "a unit that is a text": (lambda c: of(c)["sets"][0].__setitem__(0, "1"), "a unit is not a whole number"),
    "another network": (lambda c: of(c)["info"]["network"].update(sha256="0" * 64), "different networks"),
    "more images": (lambda c: of(c)["info"]["data"].update(measured=10**6, images=10**6), "not 1000000 in all"),
    "measurements that are none": (lambda c: c.update(measurements={}), "measurements"),
    "fewer measurements": (lambda c: c["measurements"].pop(), "not of a measurement"),
}


@pytest.mark.parametrize(("change", "fact"), CHANGED.values(), ids=CHANGED)
def test_a_description_that_does_not_fit_is_one_sentence(folder, change, fact):
    content = json.loads((folder / "effects.json").read_text())
    change(content)
    (folder / "effects.json").write_text(json.dumps(content))
    refused(folder, fact)


@pytest.mark.parametrize("text", ["[" * 100_000, "nothing", "[]", "7", '{"schema": 7', '{"schema": 7}', '"\\ud800"'])
def test_an_effects_json_that_is_none_is_refused(folder, text):
    (folder / "effects.json").write_text(text)
    refused(folder, "effects.json")


@pytest.mark.parametrize(
    ("name", "change", "fact"),
    [
        ("lost", lambda array: array + 1000, "lost has values that no count"),
        ("lost", lambda array: array * 0, "more or fewer predictions than images"),
        ("gained", lambda array: array - 1, "gained has values that no count"),
        ("gained", lambda array: array + 3, "gained counts more images"),
        ("right", lambda array: array + 3, "right counts more images"),
        ("right", lambda array: array - 1, "a set and those drawn"),
        ("images", lambda array: array * 0, "not 240 in all"),
        ("images", lambda array: array[:, [1, 0, 2]] + [[1, -1, 0]], ""),
        ("images", lambda array: array + 2**62, "images has values that no count"),
        ("predicted", lambda array: array * 0, "counts more images"),
        ("false_lost", lambda array: array[:, :0], "not int64"),
        ("images", lambda array: array.astype(float), "images is float64"),
        ("logit/fall_squares", lambda array: array * np.nan, "logit/fall_squares has values"),
        ("logit/rise_squares", lambda array: -1 - array, "logit/rise_squares has values"),
        ("logit/fall", lambda array: array * 100, "fall_squares are too small"),
        ("logit/rise_squares", lambda array: array + 1, "rise_squares are too large"),
        ("images", lambda array: np.concatenate([array, array]), "images have 4 rows, not 2 or 32, 16, 8"),
        ("peaks", lambda array: array[:-1], "unit"),
        ("peaks", lambda array: array.astype(np.float32), "peaks are not one number a unit"),
    ],
)
def test_counts_that_contradict_each_other_are_refused(folder, name, change, fact):
    arrays = load_file(folder / "effects.safetensors")
    for number in (0, 3):
        arrays[f"{number}/{name}"] = np.ascontiguousarray(change(arrays[f"{number}/{name}"]))
    save_file(arrays, folder / "effects.safetensors")
    refused(folder, fact)


def test_arrays_of_nothing_and_missing_ones_are_refused(folder):
    arrays = load_file(folder / "effects.safetensors")
    for changed, fact in (
        (arrays | {"9/lost": arrays["0/lost"]}, "9/lost, which is not of a measurement"),
        (arrays | {"0/more": arrays["0/lost"]}, "more is not one of the counts"),
        ({name: array for name, array in arrays.items() if name != "0/peaks"}, "peaks is missing"),
        ({name: array for name, array in arrays.items() if name != "0/logit/rise"}, "logit/rise is missing"),
    ):
        save_file(changed, folder / "effects.safetensors")
        refused(folder, fact)
    (folder / "effects.safetensors").unlink()
    refused(folder, "there is no file effects.safetensors")


@pytest.mark.parametrize("name", ["effects.csv", "effects.random_sets.csv"])
@pytest.mark.parametrize(
    ("change", "fact"),
    [
        (lambda table: table.assign(effect="-0.5"), "effect in row"),
        (lambda table: table.assign(low=""), "low in row"),
        (lambda table: table.assign(units="7"), "units in row"),
        (lambda table: table.replace({"class": {"a": "b", "b": "a"}}), "class in row"),
        (lambda table: table.iloc[1:], "rows"),
        (lambda table: table.assign(more="1"), "other columns"),
        (lambda table: table.drop(columns="low"), "other columns"),
        (lambda table: table.assign(effect="much"), "cannot be read"),
    ],
)
def test_a_table_that_the_counts_do_not_give_is_refused(folder, name, change, fact):
    change(pd.read_csv(folder / name, dtype=object, keep_default_na=False)).to_csv(folder / name, index=False)
    refused(folder, name, fact)


@pytest.mark.parametrize(
    ("change", "fact"),
    [
        (lambda table: table.assign(overlap=1.5), "beyond its limits"),
        (lambda table: table.assign(spearman=-2), "beyond its limits"),
        (lambda table: table.assign(chance=0.9), "chance does not agree"),
        (lambda table: table.assign(top=9), "top is not"),
        (lambda table: table.assign(images=10**6), "images are more"),
        (lambda table: table.replace({"a": "d"}), "a class without images"),
        (lambda table: table.assign(layer="fc"), "another layer"),
        (lambda table: pd.concat([table, table]), "a class twice"),
    ],
)
def test_an_agreement_with_attributions_that_cannot_be_is_refused(folder, change, fact):
    change(agreement_of(NAMES, units=8)).to_csv(folder / "effects.attributions.csv", index=False)
    with pytest.raises(ul.UnitlensError, match=rf"attributions.csv is damaged \(.*{fact}"):
        read_agreement(folder, read_effects(folder))


# ---- whatever was changed


def look(folder):
    """Open effects, and make the page of them; whether they are believed."""
    try:
        ul.report(folder)
    except ul.UnitlensError:
        return False
    saved = read_effects(folder)
    for measured in saved.listed() if saved else ():
        for measure in OF_COUNTS:
            found = measured.estimate(measure)
            assert np.nanmin([found.before, found.after, np.abs(found.effect)]) >= 0
            assert np.nanmax([found.before, found.after, np.abs(found.effect)]) <= 1
    return saved is not None


def test_any_change_is_refused_or_leaves_effects_that_agree_with_themselves(written, tmp_path):
    believed = [look(mutated(written, tmp_path / "changed", number)) for number in range(30)]
    assert sum(believed) < 10


@pytest.mark.slow
@pytest.mark.parametrize("start", range(1000, 3000, 100))
def test_thousands_of_changes_end_in_no_other_error(written, tmp_path, start):
    believed = [look(mutated(written, tmp_path / "changed", number)) for number in range(start, start + 100)]
    assert 0 < sum(believed) < 50
