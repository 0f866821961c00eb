"""Shortcuts: a network that is misled by a mark, what the search finds, and full passes beside it."""

import numpy as np
import pandas as pd
import pytest
import torch

import unitlens as ul
from tests.worlds import shortcut_world
from tests.worlds.shortcut_world import UNITS
from unitlens.data.readers.annotated import annotated
from unitlens.explaining.subgroups.result import ACCURACY_COLUMNS, COLUMNS, IMAGE_COLUMNS
from unitlens.models.bundled.scenes import SHORTCUT_WEIGHTS

MARK = UNITS["mark"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return shortcut_world.write(tmp_path_factory.mktemp("misled") / "world")


@pytest.fixture(scope="module")
def net():
    return shortcut_world.network()


@pytest.fixture(scope="module")
def dissection(net, folder):
    return shortcut_world.dissected(net, folder)


@pytest.fixture(scope="module")
def found(net, dissection, folder):
    return ul.shortcuts(net, dissection, folder, "marked", most=2, draws=9)


def test_the_planted_unit_is_found_and_named_and_its_removal_helps(found):
    assert found.subgroups == ("a", "a marked", "b", "b marked")
    assert found.subgroups[found.worst] == "b marked"
    assert found.units == (MARK,)  # a second unit adds nothing
    first = {kind: next(r for r in found.removals if r.kind == kind) for kind in ("unit", "concept", "set")}
    assert [removal.units for removal in first.values()] == [(MARK,)] * 3
    assert {removal.concept for removal in first.values()} == {"mark"}
    assert found.effects.before[found.worst] == 0
    assert (found.effects.after[found.chosen] == 1).all()  # nobody pays


def predicted(net, number, units, value=0.0):
    pixels = torch.from_numpy(shortcut_world.image(number)[0]).permute(2, 0, 1)[None]
    with torch.no_grad(), ul.intervening(net, ul.Intervention("1", units, value)):
        return int(net.model(net.prepare(pixels)).argmax())


def test_predictions_are_those_of_full_passes_on_images_that_chose_nothing(net, found):
    choosing, measured = found.choosing, found.measured
    assert set(choosing.folds % 2) == {0}
    assert set(measured.folds % 2) == {1}
    assert sorted(choosing.names + measured.names) == [f"{number:02}.png" for number in range(96)]
    for half in (choosing, measured):
        for name, after in zip(half.names, half.after, strict=True):
            assert [predicted(net, int(name[:2]), removal.units) for removal in found.removals] == after.tolist()


def test_effects_are_those_of_ablating_the_same_images(net, folder, found):
    table = found.table()
    row = table[(table["kind"] == "set") & table["chosen"] & table["worst"]].iloc[0]
    marked = [int(name[:2]) for name in found.measured.names if int(name[:2]) % 4 == 3]
    right = [predicted(net, number, (MARK,)) == 1 for number in marked]
    assert row["images"] == len(marked)
    assert row["after"] == np.mean(right)
    assert row["low"] < row["effect"] == 1
    assert row["random_p"] == pytest.approx((1 + (found.drawn[found.chosen, "random"][:, found.worst] >= 1).sum()) / 10)


def test_tables_have_the_columns_that_are_documented(found):
    table, accuracy, images = found.table(), found.accuracy(), found.images()
    assert list(table) == list(COLUMNS)
    assert list(accuracy) == list(ACCURACY_COLUMNS)
    assert list(images) == list(IMAGE_COLUMNS)
    assert len(table) == len(found.removals) * 4
    beside = table[table["random_mean"].notna()]
    assert set(zip(beside["kind"], beside["rank"], strict=True)) == {("unit", 1), ("concept", 1), ("set", 1)}
    assert accuracy[accuracy["class"] == "*"]["images"].tolist() == [24] * 4
    assert accuracy[accuracy["class"] == "b"]["images"].tolist() == [24] * 2
    assert len(images) == len(found.measured.names)
    right = images["class"] == images["prediction"]
    assert right.sum() == found.measured.right.sum()
    assert "b marked" in repr(found)
    assert "mark" in found._repr_html_()


def test_what_is_shown_is_wrong_before_and_right_after(found):
    shown = found.shown
    assert shown.images.shape[1:] == (8, 8, 3)
    assert set(shown.classes) == set(shown.after) == {"b"}
    assert set(shown.before) == {"a"}


def test_the_chosen_set_is_switched_off_for_good(net, found):
    module = ul.without(net, found.layer, found.units)
    for name in found.measured.names[:5]:
        pixels = torch.from_numpy(shortcut_world.image(int(name[:2]))[0]).permute(2, 0, 1)[None]
        with torch.no_grad():
            assert int(module(net.prepare(pixels)).argmax()) == predicted(net, int(name[:2]), found.units)


def test_images_that_belong_together_fall_into_one_fold_and_widen_intervals(net, dissection, folder):
    places = ul.shortcuts(net, dissection, folder, "marked", most=1, draws=0, groups="sequence:4")
    assert places.grouped
    assert not places.drawn
    folds = {}
    for half in (places.choosing, places.measured):
        for name, fold in zip(half.names, half.folds, strict=True):
            folds.setdefault(int(name[:2]) // 4, set()).add(fold)
    assert {len(each) for each in folds.values()} == {1}
    assert places.table()["random_mean"].isna().all()


def test_subgroups_come_from_a_file_a_column_or_a_mapping(net, dissection, folder, tmp_path):
    of_image = {f"{number:02}.png": "marked" if number % 4 >= 2 else "plain" for number in range(80)}
    file = tmp_path / "groups.csv"
    file.write_text("image,group\n" + "\n".join(f"{image},{name}" for image, name in of_image.items()))
    by_file = ul.shortcuts(net, dissection, folder, file, most=1, draws=0)
    by_name = ul.shortcuts(net, dissection, folder, of_image, most=1, draws=0)
    pd.testing.assert_frame_equal(by_file.table(), by_name.table())
    assert sum(len(half.names) for half in (by_file.choosing, by_file.measured)) == 80  # the others have none


def test_units_are_set_to_their_mean(net, dissection, folder):
    found = ul.shortcuts(net, dissection, folder, "marked", most=1, draws=0, value="mean")
    mean = torch.tensor(dissection.info["layers"]["1"]["mean"])
    for name, after in zip(found.measured.names, found.measured.after, strict=True):
        for removal, prediction in zip(found.removals, after, strict=True):
            assert predicted(net, int(name[:2]), removal.units, mean[list(removal.units)]) == prediction


@pytest.mark.parametrize(
    ("subgroups", "settings", "facts"),
    [
        ("colour", {}, "colour"),
        (None, {}, "classes.csv.*subgroups"),
        ({"00.png": "one"}, {}, "one"),
        ({"0.png": "one", "1.png": "two"}, {}, r"0\.png"),
        ({"00.png": "one", "01.png": "two"}, {}, "even folds"),
        ({f"{number:02}.png": str(number % 3) for number in range(24)}, {}, "10 of"),
        ("marked", {"most": 0}, "most"),
        ("marked", {"draws": -1}, "draws"),
        ("marked", {"layer": "3"}, "3"),
    ],
)
def test_bad_input_is_refused(net, dissection, folder, subgroups, settings, facts):
    with pytest.raises(ul.UnitlensError, match=facts):
        ul.shortcuts(net, dissection, folder, subgroups, **settings)


def test_the_bundled_scenes_name_their_subgroups():
    data = ul.ShortcutScenes(12)
    assert set(data.subgroups) == {data[index].name for index in range(12)}
    ball = next(concept.label for concept in data.concepts if concept.name == "ball")
    for index in (0, 1, 2):
        area = (data[index].planes["object"][0] == ball).mean()
        assert (area > 0.03) == data.subgroups[data[index].name].endswith(" ball")
    with pytest.raises(ul.UnitlensError, match="split"):
        ul.ShortcutScenes(2, split="val")


def test_in_training_the_ball_tells_the_class():
    names = pd.Series(ul.ShortcutScenes(1200, split="train").subgroups).value_counts()
    assert names["elsewhere"] == 600
    for scene, color in (("bedroom", "red"), ("living_room", "blue")):
        assert names[f"{scene}, {color} ball"] / 300 == pytest.approx(0.95, abs=0.04)


def test_a_page_shows_it_and_is_not_overwritten(found, tmp_path, folder):
    page = ul.report(tmp_path / "out", found)
    text = page.read_text()
    assert page.name == "shortcuts.html"
    assert "b marked" in text
    assert "unit 1 of" in text
    written = pd.read_csv(tmp_path / "out" / "shortcuts.csv", dtype={"units": str})
    assert written["units"].tolist() == found.table()["units"].tolist()
    assert annotated(folder).source == found.info["data"]["source"]
    with pytest.raises(ul.UnitlensError, match="overwrite"):
        ul.report(tmp_path / "out", found)


@pytest.mark.slow
def test_the_bundled_shortcut_is_found_by_its_name_and_switching_it_off_helps():
    net, data = ul.load("bundled:scenes-shortcut"), ul.ShortcutScenes(480)
    found = ul.shortcuts(net, ul.dissect(net, "relu6", data, exemplars=0), data, most=1)
    table = found.table()
    row = table[(table["kind"] == "concept") & (table["rank"] == 1) & table["worst"]].iloc[0]
    assert (row["subgroup"], row["concept"]) == ("bedroom, blue ball", "ball")
    assert row["low"] > 0.05
    assert row["effect"] > row["random_high"]
    right = found.accuracy().set_index(["subgroup", "class"])["accuracy"]
    assert right["bedroom, red ball", "*"] > right["bedroom, blue ball", "*"] + 0.2


def test_the_bundled_network_is_small_and_can_be_drawn_anew():
    net = ul.load("bundled:scenes-shortcut")
    assert SHORTCUT_WEIGHTS.stat().st_size < 1_000_000
    assert net.fingerprint() != ul.load("bundled:scenes").fingerprint()
    fresh = (ul.load(name, weights="none") for name in ("bundled:scenes-shortcut", "bundled:scenes"))
    assert len({each.fingerprint() for each in fresh}) == 1
