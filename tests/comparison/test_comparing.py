import dataclasses
import re

import numpy as np
import pytest

import unitlens as ul
from tests.worlds.compared import CONCEPTS, PLANES, dissected, three_runs
from tests.worlds.planted import ColourWorld, InMemory, colour_net
from unitlens.comparison import columns as compare_columns
from unitlens.comparison.comparing import compare
from unitlens.pages.comparison import render_comparison


@pytest.fixture(scope="module")
def three():
    return three_runs()


@pytest.fixture(scope="module")
def comparison(three):
    return compare(*three, names=["a", "b", "noise"])


def test_numbers_are_those_of_the_runs_tables(three, comparison):
    table = comparison.table()
    assert list(table["category"].unique()) == ["all", "object", "color"]
    for name, run in zip("ab", three, strict=False):
        own = table[table["entry"] == name].set_index("category")
        detectors = run.detectors()
        assert own.loc["all", "detectors"] == len(detectors)
        assert own.loc["all", "unique_concepts"] == detectors["concept"].nunique()
        assert own.loc["object", "detectors"] == (detectors["category"] == "object").sum()
        assert own.loc["all", "above_min_iou"] == run.table()["above_min_iou"].sum()
        assert (own["detectors_low"] <= own["detectors"]).all()
        assert (own["detectors"] <= own["detectors_high"]).all()
    other = table[(table["entry"] == "b") & (table["category"] == "all")].iloc[0]
    assert other["paired"]
    assert other["detectors_difference"] == len(three[1].detectors()) - len(three[0].detectors())


def test_layers_of_different_width_are_compared_by_shares_too(dissection):
    comparison = compare(dissection)
    assert comparison.differ_in_width
    wide, narrow = comparison.table().query("category == 'all'").to_dict("records")
    assert (wide["units"], narrow["units"]) == (4, 3)
    for row in (wide, narrow):
        for column in ("detectors", "detectors_low", "detectors_high"):
            share = row[column.replace("detectors", "detectors_share")]
            assert share == pytest.approx(row[column] / row["units"])
    assert narrow["share_difference"] == narrow["detectors_share"] - wide["detectors_share"]
    assert narrow["share_difference_low"] <= narrow["share_difference"] <= narrow["share_difference_high"]
    first, second = comparison.summary().splitlines()[:2]
    assert re.search(r"3 of 4 units are detectors \(.*\), 75 % \(.*\), of 3 concepts", first)
    assert "percentage points, compared with " in second
    page = render_comparison(comparison)
    assert "of the units, %" in page
    assert ">75.0 " in page or ">75 " in page


def test_layers_of_one_width_are_compared_by_numbers(comparison):
    assert not comparison.differ_in_width
    assert "%" not in comparison.summary()
    assert "of the units, %" not in render_comparison(comparison)


def test_units_no_better_than_chance_are_not_detectors(comparison):
    """Units that do not differ from chance are above the least IoU and no detectors."""
    row = comparison.table().query("entry == 'noise' and category == 'all'").iloc[0]
    assert row["detectors"] < row["above_min_iou"]


def test_columns_are_the_documented_ones(comparison):
    assert list(comparison.table().columns) == list(compare_columns.COLUMNS)
    assert list(comparison.concepts().columns) == list(compare_columns.CONCEPT_COLUMNS)
    assert list(comparison.matched().columns) == list(compare_columns.UNIT_COLUMNS)


def test_gained_and_lost_concepts(comparison):
    concepts = comparison.concepts().set_index(["entry", "concept"])
    assert concepts.loc[("b", "top"), "change"] == "gained"
    assert concepts.loc[("b", "left"), "change"] == "lost"
    assert concepts.loc[("b", "right"), "change"] == "both"
    gained, lost = concepts.loc[("b", "top")], concepts.loc[("b", "left")]
    assert gained["difference_low"] > 0
    assert lost["difference_high"] < 0
    assert gained["best_unit"] in (1, 2)
    assert np.isnan(concepts.loc[("a", "left"), "difference"])


def test_units_are_matched_by_what_they_detect(three):
    turned = dissected(3, 1, 0, 0, net_seed=4)
    found = compare(three[0], turned, names=["one", "two"]).matched()
    pairs = dict(zip(found["unit"], found["other_unit"], strict=True))
    assert pairs[2] == 1
    assert {pairs[0], pairs[1]} == {2, 3}
    labelled = found[found["detector"] & found["other_detector"]]
    assert labelled["same_concept"].all()
    assert (labelled["similarity_low"] > 0.5).all()
    assert not found.loc[found["unit"] == 3, "detector"].any()


def test_layers_of_one_run_are_named_by_layer():
    run = ul.dissect(colour_net(), ["conv", "pool"], ColourWorld(48), exemplars=0, quantile=0.1)
    comparison = compare(run)
    assert comparison.names == ["conv", "pool"]
    assert comparison.against == "conv"
    assert "<Comparison of 2 layers with conv; detectors: conv " in repr(comparison)
    assert "detectors" in comparison._repr_html_()


def test_names_of_entries(three, tmp_path):
    folder = three[0].save(tmp_path / "trained")
    assert compare(folder, three[1]).names == ["trained", "Lookup"]
    assert compare(three[0], three[1]).names == ["Lookup", "Lookup (2)"]


def test_a_run_does_not_differ_from_itself(three):
    row = compare(three[0], three[0]).table().query("category == 'all'").iloc[1]
    assert row["detectors_difference"] == row["detectors_difference_low"] == row["detectors_difference_high"] == 0


def test_a_folder_given_twice_is_an_error(three, tmp_path):
    folder = three[0].save(tmp_path / "trained")
    with pytest.raises(ul.UnitlensError, match=r"^trained is given twice"):
        compare(folder, three[1], tmp_path / "elsewhere" / ".." / "trained")


def test_other_images_are_independent_samples(three):
    half = InMemory(PLANES[:30], CONCEPTS)
    other = dissected(0, 0, 1, 3, data=half)
    with pytest.warns(
        ul.UnitlensWarning,
        match=r"^The runs differ in images \(40 of .* and 30 of .*\): ",
    ):
        comparison = compare(three[0], other, names=["a", "half"])
    row = comparison.table().query("entry == 'half' and category == 'all'").iloc[0]
    assert not row["paired"]
    assert not comparison.matched()["similarity_low"].isna().any()


def test_runs_on_other_numbers_of_images_are_compared_on_as_many(three):
    """Counts of 30 of the 40 images, on parts of the folds; each run's own numbers stay those of all its images."""
    other = dissected(0, 0, 1, 3, data=InMemory(PLANES[:30], CONCEPTS))
    with pytest.warns(ul.UnitlensWarning, match=r"images"):
        comparison = compare(three[0], other, names=["a", "b"])
    row = comparison.table().query("entry == 'b' and category == 'all'").iloc[0]
    assert (row["images"], row["compared_images"]) == (30, 30)
    assert row["detectors"] == len(other.detectors())
    assert row["detectors_difference_low"] <= 0 <= row["detectors_difference_high"]
    assert "(units above the least IoU on 30 images each)" in comparison.summary()


def test_trainings_of_a_network_are_one_entry_of_means(three):
    again = dissected(1, 2, 2, 2, net_seed=5)
    comparison = compare(three[0], [three[1], again], names=["a", "b"])
    counts = [len(run.detectors()) for run in (three[1], again)]
    row = comparison.table().query("entry == 'b' and category == 'all'").iloc[0]
    assert row["runs"] == 2
    assert row["detectors"] == np.mean(counts)
    assert row["detectors_difference"] == np.mean(counts) - len(three[0].detectors())
    single = compare(three[0], three[1], names=["a", "b"]).table().query("entry == 'b' and category == 'all'").iloc[0]
    assert row["detectors_difference_high"] > single["detectors_difference_high"]
    top = comparison.concepts().set_index(["entry", "concept"]).loc[("b", "top")]
    best = [run.scores("iou").to_numpy()[:, run.concepts.index("top")].max() for run in (three[1], again)]
    assert top["detectors"] == np.mean([(run.detectors()["concept"] == "top").sum() for run in (three[1], again)])
    assert np.isclose(top["iou"], np.mean(best))
    assert top["iou_low"] <= top["iou"] <= top["iou_high"]


def test_names_of_trainings_say_how_many_there_are(three, tmp_path):
    first, second = three[0].save(tmp_path / "seed0"), three[1].save(tmp_path / "seed1")
    assert compare([first, second], three[2]).names == ["seed0 (mean of 2)", "Lookup"]


def test_trainings_with_other_concepts_are_an_error(three):
    others = InMemory([{"part": planes["color"]} for planes in PLANES], (ul.Concept("part", 1, "wing"),))
    with pytest.raises(ul.UnitlensError, match=r"trainings of a were matched .* object/left.*number 2 with part/wing"):
        compare([three[0], dissected(0, data=others)], three[1], names=["a", "b"])
    with pytest.raises(ul.UnitlensError, match=r"trainings of a network is empty"):
        compare([], three[1])


def test_settings_that_differ_are_named(three):
    with pytest.warns(ul.UnitlensWarning, match=r"^The runs differ in quantile \(0\.2 and 0\.1\), min_iou \(0\.04 and"):
        compare(three[0], dissected(0, 1, quantile=0.1, min_iou=0.05), names=["a", "b"])


def test_a_control_of_one_run_alone_is_named(three):
    with pytest.warns(ul.UnitlensWarning, match=r"^The runs differ in control \(not all .* untrained copies"):
        compare(dissected(0, 1), _with_control(three[1]), names=["a", "b"])


def _with_control(run):
    info = run.info | {"settings": run.info["settings"] | {"control": ["untrained"]}}
    return dataclasses.replace(run, info=info)


def test_few_folds_have_no_interval():
    few = InMemory(PLANES[:4], CONCEPTS)
    comparison = compare(dissected(0, data=few), dissected(1, data=few))
    row = comparison.table().iloc[0]
    assert np.isnan(row["detectors_low"])
    assert np.isnan(row["unique_high"])
    assert " (" not in comparison.summary().splitlines()[0].split("are detectors")[1]


def test_no_common_concept_is_an_error(three):
    others = InMemory([{"part": planes["color"]} for planes in PLANES], (ul.Concept("part", 1, "wing"),))
    with pytest.raises(
        ul.UnitlensError,
        match=r"^a and b have no concept in common \(object/left, object/right, color/top; part/wing\)",
    ):
        compare(three[0], dissected(0, data=others), names=["a", "b"])


def test_a_single_layer_is_an_error(three):
    with pytest.raises(ul.UnitlensError, match=r"at least two layers, not 1:"):
        compare(three[0])
    with pytest.raises(ul.UnitlensError, match=r"at least two layers, not 0:"):
        compare()


def test_wrong_names_are_errors(three):
    with pytest.raises(ul.UnitlensError, match=r"^names= has 1 for 2 runs: give one for each"):
        compare(*three[:2], names=["a"])
    with pytest.raises(ul.UnitlensError, match=r"^There is no entry 'aa' in this comparison"):
        compare(*three[:2], names=["a", "b"], against="aa")
