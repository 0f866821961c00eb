"""Formulas and ranges as labels: the counts of the engine, planted units, errors, and the command."""

import json

import numpy as np
import pandas as pd
import pytest

import unitlens as ul
from tests.worlds.planted import InMemory, lookup
from unitlens.data.preparing import name_hash
from unitlens.data.reading import Subset
from unitlens.labels.footing.references import dissection_labels

IMAGES, CELLS = 64, 8
NAMES = {"object": ["apple", "pear", "basket"], "material": ["wood", "glass"]}
CONCEPTS = tuple(ul.Concept(category, k, name) for category, names in NAMES.items() for k, name in enumerate(names, 1))


def planted_masks(there):
    """Where the planted units are active, by their formulas."""
    return {
        "apple AND NOT wood": there["apple"] & ~there["wood"],
        "apple OR basket": there["apple"] | there["basket"],
        "(apple OR pear) AND glass": (there["apple"] | there["pear"]) & there["glass"],
        "pear": there["pear"],
    }


@pytest.fixture(scope="module")
def planted():
    """A network of planted units and one of noise, its images, and a dissection that keeps its activations."""
    rng = np.random.default_rng(0)
    labels = {c: rng.choice(1 + len(n), (IMAGES, CELLS, CELLS), p=_shares(len(n))) for c, n in NAMES.items()}
    there = {name: labels[category] == k for category, k, name in CONCEPTS}
    maps = [np.where(mask, 2.0, rng.random(mask.shape) < 0.02) for mask in planted_masks(there).values()]
    maps = np.stack([*maps, np.full((IMAGES, CELLS, CELLS), 0.0)], 1) + rng.random(
        (IMAGES, len(maps) + 1, CELLS, CELLS)
    )
    planes = [{category: [labels[category][image]] for category in NAMES} for image in range(IMAGES)]
    return lookup(maps, image_size=32), InMemory(planes, CONCEPTS, size=32)


def _shares(concepts):
    return [1 - 0.2 * concepts, *[0.2] * concepts]


@pytest.fixture(scope="module")
def run(planted, tmp_path_factory):
    return ul.dissect(
        *planted[:1], "layer", planted[1], quantile=0.12, exemplars=0, checkpoint=tmp_path_factory.mktemp("kept")
    )


def test_planted_formulas_are_named_and_noise_is_not(run, planted):
    table = ul.formulas(run).table()
    for unit, text in enumerate(planted_masks({name: np.zeros(1, bool) for *_, name in CONCEPTS})):
        row = table[table["unit"] == unit].iloc[0]
        if " " in text:
            assert (row["label"], row["verdict"]) == (text, "supported")
        else:
            assert text in row["label"]
            assert row["verdict"] == "no gain"
    noise = table[table["unit"] == 4].iloc[0]
    assert noise["verdict"] == "chance"
    assert (table["bound"] >= table["score"]).all()
    assert np.allclose(table["bound"], table["score"])


def test_units_that_are_planted_in_the_bundled_world_are_named():
    """Three formulas over what the drawn scenes mark, in noise."""
    scenes, rng = ul.Scenes(64), np.random.default_rng(0)
    number = {concept.name: (concept.category, concept.label) for concept in scenes.concepts}
    planes = [scenes[image].planes for image in range(64)]

    def there(name):
        category, label = number[name]
        marked = [np.any([plane == label for plane in of_image.get(category, [])], axis=0) for of_image in planes]
        return np.stack([mask[2::4, 2::4] if mask.ndim else np.zeros((28, 28), bool) for mask in marked])

    meant = {
        "sky AND NOT blue": there("sky") & ~there("blue"),
        "road OR tree": there("tree") | there("road"),
        "sea AND blue": there("sea") & there("blue"),
    }
    maps = np.stack([np.where(mask, 2.0, 0.0) for mask in meant.values()], 1) + rng.random((64, 3, 28, 28))
    data = InMemory(planes, scenes.concepts, size=112)
    net = lookup(maps, image_size=112)
    run = ul.dissect(net, "layer", data, quantile=0.05, exemplars=0)
    table = ul.formulas(run, net, data, length=2).table()
    assert table["label"].tolist() == list(meant)


def test_formulas_of_one_concept_are_the_concepts_of_the_run(run):
    """Counts by signature are the engine's counts, in the images, on halves and with the labels of other images."""
    table, units = ul.formulas(run, length=1).table(), run.table()
    assert table["label"].tolist() == units["concept"].tolist()
    for ours, theirs in (
        ("score", "iou"),
        ("heldout_score", "heldout_iou"),
        ("chance_score", "chance_iou"),
        ("chance_sd", "chance_sd"),
        ("p_value", "p_value"),
        ("q_value", "q_value"),
    ):
        np.testing.assert_allclose(table[ours], units[theirs], rtol=1e-12, err_msg=ours)
    assert table["even_label"].tolist() == dissection_labels(run).rows["even_label"].tolist()


def test_formulas_of_images_that_are_all_in_one_half_say_that_they_are_untested(planted):
    net, data = planted
    one_half = [name for name in map("g{}".format, range(20)) if name_hash(name) % 2 == 0]
    run = ul.dissect(net, "layer", data, quantile=0.12, exemplars=0, groups=[one_half[k % 3] for k in range(IMAGES)])
    labels = ul.formulas(run, net, data, length=2)
    assert set(labels.rows["verdict"]) == {"untested"}
    assert f"untested: all {IMAGES} images are in one half of the folds" in labels.methods["formulas"].notes[-1]
    assert ul.measure_labels(run, labels, net, data, references=False).rows["simulation"].isna().all()


def test_layers_without_a_grid_and_images_without_a_category_count_as_in_the_run(net, world):
    run = ul.dissect(net, ["0", "4"], world, quantile=0.15, exemplars=0)
    table = ul.formulas(run, net, world, length=1).table()
    units = run.table().dropna(subset="concept")
    both = table.merge(units, on=["layer", "unit"])
    assert len(both) == len(units) == len(table)
    np.testing.assert_allclose(both["score"], both["iou_y"], rtol=1e-12)
    np.testing.assert_allclose(both["chance_score"], both["chance_iou"], rtol=1e-12)


def test_the_same_labels_come_from_kept_activations_and_from_another_pass(run, planted):
    net, data = planted
    plain = ul.dissect(net, "layer", data, quantile=0.12, exemplars=0)
    pd.testing.assert_frame_equal(ul.formulas(run).table(), ul.formulas(plain, *planted).table())


@pytest.mark.parametrize("method", [ul.formulas, ul.ranges])
def test_labels_go_with_their_units_and_do_not_depend_on_the_order_of_images(method, run, planted):
    """The same units in another order, in the same images in another order: what is counted is the same."""
    net, data = planted
    units, images = np.random.default_rng(1).permutation(5), np.random.default_rng(2).permutation(IMAGES)
    other = lookup(net.model.maps[:, units], image_size=32)
    again = ul.dissect(other, "layer", Subset(data, images.tolist()), quantile=0.12, exemplars=0)
    table, moved = method(run, length=2).table(), method(again, other, Subset(data, images.tolist()), length=2).table()
    moved["unit"] = units[moved["unit"]]
    moved = moved.sort_values(["unit", "range_low"], kind="stable", ignore_index=True)
    counted = ["unit", "rank", "label", "even_label", "score", "heldout_score", "range_low", "range_high", "share"]
    pd.testing.assert_frame_equal(table[counted], moved[counted], rtol=1e-12)


@pytest.mark.parametrize("by", ["quantiles", "clusters"])
def test_ranges_are_named_from_the_weakest_to_the_strongest(run, by):
    table = ul.ranges(run, k=3, by=by, length=2).table()
    first = table[table["unit"] == 0]
    assert first["rank"].tolist() == [1, 1, 1]
    assert (first["range_low"] < first["range_high"]).all()
    assert first["range_low"].tolist()[1:] == first["range_high"].tolist()[:-1]
    strongest = first.iloc[-1]
    assert strongest["label"] == "apple AND NOT wood" if by == "clusters" else "apple" in strongest["label"]
    assert 0.4 < strongest["share"] <= 1
    assert table["iou"].isna().all()


def test_ranges_hold_every_positive_position_once(run):
    """Each range has a third of the positions, up to the width of a bin of the histogram."""
    from unitlens.dissection.scanning import Scanner
    from unitlens.labels.compositional.activation_ranges import range_masks

    with ul.activations(run) as stored:
        maps = stored.layers["layer"]
        scan = Scanner(maps, slice(0, maps.units), stored.labels.grid, run.settings.upsampling)
        low, high, positions = range_masks(3, "quantiles", maps.largest)(scan, slice(0, maps.units))
        seen = np.zeros((maps.units, 3), np.int64)
        for active in positions:
            unit, number = np.divmod(active.unit.numpy(), 3)
            value = active.value.numpy()
            assert ((value > low[unit, number]) & (value <= high[unit, number])).all()
            np.add.at(seen, (unit, number), 1)
        everything = maps.maps.read(range(stored.images))
    assert (seen.sum(1) == (everything > 0).sum((0, 2, 3))).all()
    assert (abs(seen / seen.sum(1, keepdims=True) - 1 / 3) < 0.05).all()


def test_a_unit_that_is_never_positive_has_no_ranges():
    maps = np.concatenate([np.random.default_rng(0).random((IMAGES, 1, 8, 8)), -np.ones((IMAGES, 1, 8, 8))], 1)
    labels = np.random.default_rng(1).integers(0, 2, (IMAGES, 8, 8))
    data = InMemory([{"object": [one]} for one in labels], CONCEPTS[:1], size=32)
    net = lookup(maps, image_size=32)
    run = ul.dissect(net, "layer", data, exemplars=0)
    assert set(ul.ranges(run, net, data, k=2).table()["unit"]) == {0}


@pytest.mark.parametrize(
    ("method", "settings", "facts"),
    [
        ("formulas", {"length": 0}, ["length=0", "1 to 6"]),
        ("formulas", {"length": 7}, ["length=7", "1 to 6"]),
        ("formulas", {"length": 2.5}, ["length=2.5", "whole"]),
        ("formulas", {"beam": 0}, ["beam=0"]),
        ("formulas", {"budget": -1}, ["budget=-1"]),
        ("ranges", {"k": 0}, ["1 to 100", "not 0"]),
        ("ranges", {"by": "quantile"}, ["by='quantile'", "did you mean quantiles", "clusters"]),
    ],
)
def test_settings_that_are_not_possible_are_refused(dissection, method, settings, facts):
    with pytest.raises(ul.UnitlensError) as refused:
        getattr(ul, method)(dissection, **settings)
    assert all(fact in str(refused.value) for fact in facts), str(refused.value)


def test_the_command_writes_both_beside_each_other_and_replaces_neither_unasked(shell, sees, world, tmp_path):
    assert shell("dissect", *sees, "--data", world, "--out", "run", "--keep-activations").code == 0
    said = shell("label", "run", "--formulas", 2, "--ranges", 3)
    assert said.code == 0, said.err
    assert "formulas: " in said.out
    assert "ranges: " in said.out
    labels = ul.open_labels(tmp_path / "run")
    assert list(labels.methods)[:2] == ["formulas", "ranges"]
    assert labels.methods["ranges"].settings == {"length": 1, "beam": 10, "budget": 1000, "k": 3, "by": "quantiles"}
    assert all(isinstance(json.loads(text), list) for text in labels.rows["also"] if text)
    written = (tmp_path / "run" / "labels.csv").stat().st_mtime_ns
    again = shell("label", "run", "--ranges", 3, "--formulas", 2)
    assert (again.code, again.out) == (0, "")
    assert again.err.strip().startswith("unitlens: run has labels by formulas, ranges with these settings already")
    assert (tmp_path / "run" / "labels.csv").stat().st_mtime_ns == written
    other = shell("label", "run", "--formulas", 3, "--ranges", 3)
    assert (other.code, "labels by formulas already" in other.err, "--overwrite" in other.err) == (2, True, True)
    assert shell("label", "run", "--formulas", 1, "--overwrite").code == 0
    assert ul.open_labels(tmp_path / "run").methods["formulas"].settings["length"] == 1
    assert ul.open_labels(tmp_path / "run")["ranges"].rows.equals(labels["ranges"].rows)


def test_labels_that_are_kept_are_measured_where_they_were_not(shell, sees, world, tmp_path):
    assert shell("dissect", *sees, "--data", world, "--out", "run", "--keep-activations").code == 0
    assert shell("label", "run", "--formulas", 1, "--unmeasured").code == 0
    unmeasured = ul.open_labels(tmp_path / "run")
    assert not unmeasured.agreement
    said = shell("label", "run", "--formulas", 1)
    assert (said.code, "with these settings already" in said.err) == (0, True), said
    measured = ul.open_labels(tmp_path / "run")
    assert measured["formulas"].rows["auprc"].notna().any()
    assert measured["formulas"].rows["label"].equals(unmeasured["formulas"].rows["label"])
    assert measured.methods["formulas"] == unmeasured.methods["formulas"]


def test_labels_of_some_layers_alone_are_not_taken_for_those_of_all(shell, sees, world, tmp_path):
    assert shell("dissect", *sees, "--layer", "4", "--data", world, "--out", "run", "--keep-activations").code == 0
    run = ul.open_run(tmp_path / "run")
    assert len(run.layers) == 2
    ul.report(tmp_path / "run", ul.formulas(run[run.layers[0]], length=1, budget=0))
    asked = ("label", "run", "--formulas", 1, "--budget", 0, "--unmeasured")
    assert "--overwrite" in shell(*asked).err
    assert shell(*asked, "--overwrite").code == 0
    assert set(ul.open_labels(tmp_path / "run").rows["layer"]) == set(run.layers)


def test_an_encoder_that_is_named_weighs_what_waits_and_nothing_else(shell, sees, world, tmp_path):
    assert shell("dissect", *sees, "--data", world, "--out", "run", "--keep-activations").code == 0
    (tmp_path / "words.txt").write_text("tree\nsea\nsky\n")
    (tmp_path / "mine.csv").write_text("unit,label\n0,a red ball\n")
    by_words = ("label", "run", "--words", "words.txt", "--word-methods", "correlation")
    named = ("--encoder", "bundled:scenes-words")
    assert shell(*by_words, *named).code == 0
    assert shell("label", "run", "--from", "mine.csv").code == 0
    assert ul.open_labels(tmp_path / "run")["mine"].rows["verdict"].tolist() == ["untested"]
    again = shell(*by_words, *named)
    assert (again.code, "keeps them" in again.err) == (0, True), again
    assert ul.open_labels(tmp_path / "run")["mine"].rows["verdict"].tolist() != ["untested"]
    for _ in range(2):  # nothing waits any more: the same command is no error
        again = shell(*by_words, *named)
        assert (again.code, again.out, "keeps them" in again.err) == (0, "", True), again


def test_the_command_shows_the_images_again_where_the_run_did_not_keep_activations(shell, sees, world):
    assert shell("dissect", *sees, "--data", world, "--out", "run").code == 0
    refused = shell("label", "run", "--formulas", 2)
    assert refused.code != 0
    said = shell("label", "run", "--formulas", 2, "--trust")
    assert said.code == 0, said.err


@pytest.mark.parametrize(
    ("options", "facts"),
    [
        (["--ranges-by", "clusters"], ["--ranges-by is for ranges", "--ranges 5"]),
        (["--formulas", 2, "--range-length", 3], ["--range-length is for ranges"]),
        (["--budget", 5], ["--budget is for formulas and ranges", "--formulas 3"]),
    ],
)
def test_options_without_what_they_are_for_are_refused(shell, run_folder, options, facts):
    said = shell("label", run_folder, *options)
    assert said.code != 0
    assert all(fact in said.err for fact in facts), said.err


def test_nothing_asked_for_names_what_can_be(shell, run_folder):
    said = shell("label", run_folder)
    assert said.code != 0
    assert "--formulas" in said.err
    assert "--ranges" in said.err
