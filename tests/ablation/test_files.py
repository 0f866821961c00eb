"""Files of effects: read back as they were, and refused where they cannot have been written."""

import json

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import unitlens as ul
from tests.effecting import curve_of, sweep_of
from unitlens.ablation.files import SavedEffects, read_effects, write_effects

NAMES = ["a", "b", "c"]


@pytest.fixture
def folder(tmp_path):
    sweep = sweep_of(8, NAMES)
    curve = curve_of(sweep, "b")
    write_effects(tmp_path, SavedEffects((curve.chosen("most", 4), sweep, curve), "unitlens ablate run"))
    return tmp_path


def described(folder):
    return json.loads((folder / "effects.json").read_text())


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


def test_effects_of_another_version_are_refused_with_what_to_do(folder):
    for schema in (None, 0, 99, "1"):
        content = described(folder) | {"schema": schema}
        (folder / "effects.json").write_text(json.dumps(content))
        with pytest.raises(ul.UnitlensError, match=r"of schema .*this version of unitlens reads 2: measure them"):
            read_effects(folder)


@pytest.mark.parametrize(
    "change",
    [
        lambda content: content.pop("results"),
        lambda content: content.update(command=3),
        lambda content: content["results"][0].update(kind="Effects"),
        lambda content: content["results"][0].update(measured=99),
        lambda content: content["results"][0].update(measured=content["results"][1]["measured"]),
        lambda content: content["results"][2]["members"].pop(),
        lambda content: content["results"][2].update({"class": "d"}),
        lambda content: content["measurements"][0]["settings"].pop("seed"),
        lambda content: content["measurements"][0]["settings"].update(more=1),
        lambda content: content["measurements"][0]["outputs"]["names"].pop(),
        lambda content: content["measurements"][1]["sets"].pop(),
        lambda content: content.update(measurements={}),
    ],
)
def test_a_description_that_does_not_fit_is_one_sentence(folder, change):
    content = described(folder)
    change(content)
    (folder / "effects.json").write_text(json.dumps(content))
    with pytest.raises(ul.UnitlensError, match=r"are incomplete or damaged \(.*\): measure them again"):
        read_effects(folder)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("lost", lambda array: array + 1000),
        ("gained", lambda array: array - 1),
        ("right", lambda array: array + 1000),
        ("images", lambda array: array * 0),
        ("predicted", lambda array: array * 0),
        ("false_lost", lambda array: array[:, :0]),
        ("images", lambda array: array.astype(float)),
        ("logit/squares", lambda array: array * np.nan),
        ("logit/squares", lambda array: -1 - array),
    ],
)
def test_counts_that_contradict_each_other_are_refused(folder, name, change):
    arrays = load_file(folder / "effects.safetensors")
    arrays[f"0/{name}"] = np.ascontiguousarray(change(arrays[f"0/{name}"]))
    save_file(arrays, folder / "effects.safetensors")
    with pytest.raises(ul.UnitlensError, match=r"are incomplete or damaged \(.*\): measure them again"):
        read_effects(folder)
