"""Frames and data sets of units and concepts have the numbers of the arrays, under their names."""

import sys

import numpy as np
import pytest

import unitlens as ul
from tests.worlds.compared import random_counts
from unitlens.stats.scores import LEVEL_SCORES, SCORES, iou
from unitlens.tables.labelled import counts_dataset


@pytest.mark.parametrize("name", SCORES)
def test_scores_are_labelled(dissection, name):
    part = dissection["0"]
    frame = part.scores(name)
    assert frame.columns.tolist() == part.concepts == ["red", "green", "blue"]
    assert (frame.columns.name, frame.index.name) == ("concept", "unit")
    assert frame.index.tolist() == [0, 1, 2, 3]
    np.testing.assert_array_equal(frame.to_numpy(), SCORES[name](part.counts.overlap))
    assert frame.loc[1, "green"] == frame.to_numpy()[1, 1]


def test_scores_at_levels_are_labelled(net, world):
    run = ul.dissect(net, "0", world, quantile=0.15, levels=True, evidence=False, exemplars=0)
    for name in LEVEL_SCORES:
        assert run.scores(name).columns.tolist() == run.concepts


def test_the_best_score_is_that_of_the_table(dissection):
    part = dissection["0"]
    rows = part.detectors().set_index("unit")
    assert len(rows)
    best = part.scores("iou").idxmax(axis="columns")
    assert best[rows.index].tolist() == rows["concept"].tolist()


def test_a_name_in_two_categories_has_its_category(dissection):
    info = {**dissection["0"].info, "data": dict(dissection.info["data"])}
    concepts = [{**concept} for concept in info["data"]["concepts"]]
    concepts[1] |= {"category": "object", "name": "red"}
    info["data"] |= {"concepts": concepts}
    part = ul.Dissection.of(dissection["0"].files())
    object.__setattr__(part, "info", info)
    assert part.scores().columns.tolist() == ["color/red", "object/red", "blue"]


def test_the_data_set_holds_the_counts():
    pytest.importorskip("xarray")
    counts = random_counts(np.random.default_rng(0))
    names = [f"concept {c}" for c in range(5)]
    data = counts_dataset(counts, names, ["a", "b", "a", "b", "a"], attributes={"layer": "x"})
    assert data["intersection"].dims == ("unit", "concept", "fold")
    assert data.sizes == {"unit": 6, "concept": 5, "fold": 32}
    np.testing.assert_array_equal(data["intersection"].sum("fold"), counts.intersection)
    np.testing.assert_array_equal(data["activated"].sum("fold"), counts.activated)
    np.testing.assert_array_equal(data["concept_positions"].sum("fold"), counts.concept)
    union = data["activated"] + data["concept_positions"] - data["intersection"]
    again = data["intersection"].sum("fold") / union.sum("fold")
    np.testing.assert_allclose(again, data["iou"])
    np.testing.assert_array_equal(data["iou"], counts.iou)
    fold = counts.intersection_by_fold(slice(2, 3))[0, 7, 3]
    assert int(data["intersection"].sel(unit=2, concept="concept 3", fold=7)) == fold
    assert data["intersection"].dtype == np.int64
    assert data.where(data["category"] == "b", drop=True).sizes["concept"] == 2


def test_a_dissection_becomes_a_data_set(dissection):
    pytest.importorskip("xarray")
    data = dissection["0"].to_xarray()
    assert data.attrs["layer"] == "0"
    assert data["category"].values.tolist() == ["color"] * 3
    assert float(data["iou"].sel(unit=0, concept="red")) == dissection["0"].scores().loc[0, "red"]
    with pytest.raises(ul.UnitlensError, match="Several layers were dissected"):
        dissection.to_xarray()


def test_without_xarray_it_says_what_to_install(dissection, monkeypatch):
    monkeypatch.setitem(sys.modules, "xarray", None)
    with pytest.raises(ul.UnitlensError, match=r"pip install 'unitlens\[xarray\]'"):
        dissection["0"].to_xarray()


def test_effects_are_labelled():
    effects = ul.importance(ul.load("bundled:scenes"), "relu6", ul.Scenes(24))
    frame = effects.frame("recall")
    assert frame.columns.tolist() == list(effects.classes)
    assert (frame.columns.name, frame.index.name) == ("class", "unit")
    np.testing.assert_array_equal(frame.to_numpy(), effects.effect("recall"))


def test_iou_is_that_of_the_definition():
    assert iou(np.array(3), np.array(4), np.array(5)) == 0.5
