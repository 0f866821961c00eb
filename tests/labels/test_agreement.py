"""Methods side by side: a summary of each, and how far they agree."""

import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

import unitlens as ul
from unitlens.labels.columns import REFERENCES
from unitlens.labels.footing.meanings import OneConcept
from unitlens.labels.footing.planes import overlaps
from unitlens.labels.result import Labels, MethodRecord, wilson, with_all_columns


@pytest.fixture(scope="module")
def measured(net_file, tmp_path_factory):
    """A run of the coloured world with activations, and labels of two methods; not to be changed."""
    from tests.worlds.coloured import write_world

    folder = tmp_path_factory.mktemp("agreement")
    net = ul.load(f"{net_file}:build", image_size=32, mean=(0, 0, 0), std=(1, 1, 1))
    world = write_world(folder / "world")
    run = ul.dissect(net, ["0", "4"], world, quantile=0.15, exemplars=0, checkpoint=folder / "kept")
    one = ul.given_labels(run["0"], {0: "red", 1: "Greens", 2: "joy", 3: "red"}, method="one")
    other = ul.given_labels(run["0"], {0: "red", 1: "green", 2: "Joy"}, method="other")
    return run, ul.measure_labels(run, one.joined(other))


def test_jaccard_of_two_labels_is_what_loops_count_where_both_are_judged():
    from tests.worlds.planted import InMemory, lookup

    rng = np.random.default_rng(1)
    color, thing = (rng.choice([0, 1, 255], (70, 4, 4), p=[0.5, 0.3, 0.2]) for _ in range(2))
    planes = [{"color": [one], "object": [other]} for one, other in zip(color, thing, strict=True)]
    concepts = (ul.Concept("color", 1, "red"), ul.Concept("object", 1, "tree"))
    data = InMemory(planes, concepts, size=4)
    net = lookup(rng.normal(size=(70, 2, 4, 4)), image_size=4)
    run = ul.dissect(net, "layer", data, quantile=0.2, grid=(4, 4), evidence=False, exemplars=0)
    meanings = [OneConcept(0), OneConcept(1)]
    with ul.activations(run, net, data) as stored:
        found = overlaps(stored, meanings, [(0, 1), (0, 0)], grid=True)
        in_images = overlaps(stored, meanings, [(0, 1)], grid=False)
    counted = (color < 255) & (thing < 255)
    red, tree = (color == 1) & counted, (thing == 1) & counted
    assert np.isclose(found[0], (red & tree).sum() / (red | tree).sum())
    assert found[1] == 1
    red, tree = (color == 1).any((1, 2)), (thing == 1).any((1, 2))
    assert np.isclose(in_images[0], (red & tree).sum() / (red | tree).sum())


def test_agreement_is_in_words_and_in_what_they_mean(measured):
    table = measured[1].agreement_table().set_index(["first", "second"])
    row = table.loc[("one", "other")]
    assert row["units"] == 3
    assert row["equal"] == 1  # Greens and green are one concept, joy and Joy one text
    assert (row["compared"], row["overlap"]) == (2, 1)
    assert (row["equal_low"], row["equal_high"]) == wilson(3, 3)
    assert table["units"].le(4).all()
    assert len(table) == 15  # of six methods, every two


def test_methods_stand_side_by_side(measured):
    run, labels = measured
    wide = labels.side_by_side()
    assert list(wide) == ["layer", "unit", *labels.methods]
    assert wide.loc[wide["unit"] == 3, ["one", "other", "dissection"]].to_numpy().tolist() == [["red", "", ""]]
    summary = labels.summary().set_index("method")
    assert summary.loc["one", ["units", "different", "measured"]].tolist() == [4, 3, 2]
    assert summary.loc["dissection", "iou"] == pytest.approx(run["0"].table()["iou"][:3].mean())
    rows = labels["one"].rows
    assert summary.loc["one", "tested"] == (rows["verdict"] != "untested").sum()
    assert 0 <= summary.loc["one", "supported_low"] <= summary.loc["one", "supported_high"] <= 1


def test_masks_judge_labels_that_they_know():
    def row(method, unit, iou, verdict="supported"):
        return {"unit": unit, "method": method, "label": f"{method} {unit}", "iou": iou, "verdict": verdict}

    rows = [row("dissection", unit, 0.2) for unit in range(4)] + [row("dissection", 4, 0.2, "chance")]
    rows += [row("other", 0, 0.1), row("other", 1, 0.09), row("other", 2, None), row("other", 4, 0.2)]
    table = pd.DataFrame(rows).assign(layer="0", rank=1)
    methods = {name: MethodRecord(settings={}, unitlens=ul.__version__) for name in ("dissection", "other")}
    summary = Labels(rows=with_all_columns(table), methods=methods).summary().set_index("method")
    assert summary.loc["other", ["judged", "right"]].tolist() == [2, 0.5]  # of units 0 and 1: .1 is half of .2
    assert (summary.loc["other", "right_low"], summary.loc["other", "right_high"]) == wilson(1, 2)
    assert summary.loc["dissection", "judged"] == 0


def test_layers_that_are_labelled_later_have_the_references_too(measured):
    run, labels = measured
    labels = replace(labels, rows=labels.rows.assign(effect=0.5))
    later = ul.given_labels(run["4"], {0: "warm", 1: "red"}, method="later")
    both = ul.measure_labels(run, labels.joined(later))
    at_once = ul.measure_labels(run, labels["one"].joined(later))
    assert list(both.methods) == [*labels.methods, "later"]
    for method in REFERENCES:
        rows = both[method].rows
        assert set(rows["layer"]) == {"0", "4"}
        assert rows.drop(columns="effect").equals(at_once[method].rows.drop(columns="effect"))
        assert (rows["effect"] == 0.5).equals(rows["layer"] == "0")  # what was measured stays


def test_formulas_without_gain_are_more_than_chance(measured):
    verdicts = ["supported", "no gain", "no gain", "chance"]
    rows = [{"layer": "0", "unit": unit, "label": "red", "verdict": one} for unit, one in enumerate(verdicts)]
    summary = ul.Labels.of(measured[0], "formulas", rows, settings={}).summary()
    assert summary.loc[0, ["tested", "above_chance", "supported"]].tolist() == [4, 0.75, 0.25]


def test_ranges_and_further_labels_are_not_compared(measured):
    run, labels = measured
    more = ul.Labels.of(
        run,
        "ranges",
        [
            {"layer": "0", "unit": 0, "label": "blue", "rank": 1, "range_low": 0.5},
            {"layer": "0", "unit": 0, "label": "green", "rank": 2},
            {"layer": "0", "unit": 0, "label": "red", "rank": 1},
        ],
        settings={},
    )
    wide = labels.joined(more).side_by_side()
    assert wide.loc[wide["unit"] == 0, "ranges"].tolist() == ["red"]


def test_of_a_method_that_changes_the_agreement_is_forgotten(measured):
    run, labels = measured
    again = labels.joined(ul.given_labels(run["0"], {0: "red"}, method="one"))
    assert not any("one" in (pair.first, pair.second) for pair in again.agreement)
    assert any("other" in (pair.first, pair.second) for pair in again.agreement)
    assert labels["one"].agreement == ()


def test_they_are_saved_and_shown_as_text(measured, tmp_path):
    run, labels = measured
    strange = ul.given_labels(run["0"], {0: "<b>red</b>", 1: "=cmd()"}, method="<mark>")
    labels = ul.measure_labels(run, labels.joined(strange))
    page = ul.report(tmp_path / "run", run, labels).read_text()
    assert "Labels by method" in page
    assert "How far they agree" in page
    assert "more than chance</th>" in page
    assert "&lt;mark&gt;" in page
    assert "<mark>" not in page
    read = ul.open_labels(tmp_path / "run")
    assert read.agreement == labels.agreement
    assert read.rows.equals(labels.rows)
    assert "=cmd()" in read.rows["label"].tolist()  # a label is a text, whatever it looks like


def test_cards_do_not_repeat_what_others_are_compared_with(measured, tmp_path):
    run, labels = measured
    page = ul.report(tmp_path / "run", run, labels).read_text()
    cards = page[page.index('id="units"') :]
    assert "baseline" not in cards
    assert "Greens" in cards


def test_a_record_that_compares_methods_that_are_not_there_is_refused(measured, run_folder, tmp_path):
    run, labels = measured
    ul.report(tmp_path / "run", run, labels)
    shutil.copytree(tmp_path / "run", tmp_path / "changed")
    record = tmp_path / "changed/labels.json"
    record.write_text(record.read_text().replace('"second": "other"', '"second": "nobody"'))
    with pytest.raises(ul.UnitlensError, match="compares the method 'nobody'"):
        ul.open_labels(tmp_path / "changed")
