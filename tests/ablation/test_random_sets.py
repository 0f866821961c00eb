from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from torch import nn

import unitlens as ul
from tests.worlds.small import Net, Noise, classifier
from unitlens.ablation.activity import Contributions, unit_contributions
from unitlens.ablation.effects import ablate
from unitlens.ablation.estimates import estimate
from unitlens.ablation.files import SavedEffects, read_effects, write_effects
from unitlens.ablation.random_sets import COLUMNS, Band, describe_matching, draw_sets, matched, unmatched
from unitlens.ablation.table import COLUMNS as EFFECT_COLUMNS
from unitlens.data.reading import Reading


@pytest.fixture(scope="module")
def net():
    return classifier()


@given(st.integers(2, 30), st.data(), st.integers(0, 99))
@settings(max_examples=40)
def test_sets_are_drawn_of_the_same_size_and_matched_ones_share_no_unit_where_that_can_be(count, data, seed):
    ablated = tuple(data.draw(st.sets(st.integers(0, count - 1), min_size=1, max_size=count - 1)))
    activity = np.random.default_rng(seed).random(count)
    drawn = draw_sets((ablated,), [activity], 5, seed=seed)
    assert {kind: len(sets) for kind, sets in drawn.items()} == {"random": 5, "matched": 5}
    for kind, sets in drawn.items():
        for (units,) in sets:
            assert len(set(units)) == len(ablated)
            assert set(units) <= set(range(count))
            left = set(range(count)) - set(units)
            if kind == "matched":
                apart = (
                    not set(units) & set(ablated)
                    if 2 * len(ablated) <= count
                    else not left & (set(range(count)) - set(ablated))
                )
                assert apart
    assert drawn == draw_sets((ablated,), [activity], 5, seed=seed)


def test_holding_and_keeping_are_set_beside_the_same_draws():
    activity, every = np.random.default_rng(0).random(12), set(range(12))
    ablated, kept = (draw_sets((units,), [activity], 4, seed=3) for units in ((1, 5, 7), tuple(every - {1, 5, 7})))
    for kind in ("random", "matched"):
        assert [set(units) for (units,) in ablated[kind]] == [every - set(units) for (units,) in kept[kind]]


def test_matched_units_are_others_of_like_activity():
    activity = np.concatenate([np.arange(20.0), 1000 + np.arange(20.0)])
    found = matched((0, 1, 25), activity, np.random.default_rng(0))
    assert len(set(found)) == 3
    assert not {0, 1, 25} & set(found)
    assert activity[list(found[:2])].max() < 20
    assert activity[found[2]] >= 1000


def test_nothing_is_drawn_where_every_unit_is_ablated_or_nothing_is_asked_for(net):
    assert draw_sets(((0, 1, 2),), [np.zeros(3)], 5, seed=0) == {}
    assert draw_sets(((0, 1),), [np.zeros(3)], 0, seed=0) == {}
    assert ablate(net, "second", [1], Noise(12), draws=0).random_sets().empty
    assert not ablate(net, "second", range(6), Noise(12)).drawn
    with pytest.raises(ul.UnitlensError, match="-1 sets cannot be drawn"):
        ablate(net, "second", [1], Noise(12), draws=-1)


def test_a_set_is_measured_beside_others_in_the_same_pass(net):
    data = Noise(40)
    found = ablate(net, "second", [0, 2], data, draws=7, measures=["recall", "precision", "logit"])
    assert found.units == (0, 2)
    assert {kind: len(drawn.sets) for kind, drawn in found.drawn.items()} == {"random": 7, "matched": 7}
    alone = ablate(net, "second", [0, 2], data, draws=0, measures=["recall", "precision", "logit"])
    pd.testing.assert_frame_equal(found.table(), alone.table())
    for drawn in found.drawn.values():
        for place, units in enumerate(drawn.sets[:3]):
            same = ablate(net, "second", units, data, draws=0, measures=["logit"])
            assert drawn.estimate("logit").effect[place] == pytest.approx(same.effect("logit"), abs=1e-6)
    assert "beside sets of the same size: 7 drawn at random and 7 matched in mean activation" in repr(found)


def test_the_table_says_where_the_set_lies(net):
    found = ablate(net, "second", [0, 2], Noise(40), draws=9, measures=["recall", "precision", "logit"])
    table = found.random_sets()
    assert list(table.columns) == list(COLUMNS)
    assert len(table) == 2 * (3 * 3 + 2)  # kinds x (measures x classes, and accuracy and logit of all)
    for kind, drawn in found.drawn.items():
        for measure in ("recall", "logit"):
            rows = table.query(f"kind == '{kind}' and measure == '{measure}' and `class` != '*'")
            own, others = found.effect(measure), drawn.estimate(measure).effect
            assert rows["class"].tolist() == list(found.classes)
            assert rows["effect"].to_numpy() == pytest.approx(own)
            assert rows["mean"].to_numpy() == pytest.approx(others.mean(0))
            assert rows["low"].to_numpy() == pytest.approx(np.quantile(others, 0.025, axis=0, method="weibull"))
            assert rows["high"].to_numpy() == pytest.approx(np.quantile(others, 0.975, axis=0, method="weibull"))
            ties = [(np.sum(others[:, c] < e) + 0.5 * np.sum(others[:, c] == e)) / 9 for c, e in enumerate(own)]
            assert rows["below"].to_numpy() == pytest.approx(ties)
            as_large = [(1 + np.sum(np.abs(others[:, c]) >= abs(e))) / 10 for c, e in enumerate(own)]
            assert rows["p_value"].to_numpy() == pytest.approx(as_large)
            assert (rows["holds"] == 0.8).all()
        overall = table.query(f"kind == '{kind}' and measure == 'accuracy'")
        assert overall["mean"].tolist() == pytest.approx([drawn.overall().effect.mean()])


def test_draws_without_a_value_are_left_out(net):
    found = ablate(net, "first", range(5), Noise(40), draws=6, measures=["precision"])
    effects = estimate(found.drawn["random"].tally.half("all"), "precision").effect
    assert np.isnan(effects).any()  # nothing is called some class any more
    rows = found.random_sets().query("kind == 'random' and measure == 'precision'")
    assert rows["draws"].tolist() == (~np.isnan(effects)).sum(0).tolist()
    assert rows["below"].isna().tolist() == np.isnan(found.effect("precision")).tolist()
    assert rows["mean"].isna().tolist() == np.isnan(effects).all(0).tolist()


@pytest.mark.parametrize(("layer", "weighted"), [("1", True), ("0", True), ("3", True), ("4", False)])
def test_units_are_matched_in_activation_times_the_weights_of_the_next_layer(layer, weighted):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(54, 3)).eval()
    made = ul.classifier(model, image_size=8, mean=(0.5,) * 3, std=(0.2,) * 3)
    found = unit_contributions(made, layer, Noise(12), Reading(batch_size=5), seed=0)
    shown = torch.stack([torch.from_numpy(Noise(12)[i].image.transpose(2, 0, 1).copy()) for i in range(12)])
    with torch.no_grad(), ul.record(model, layer) as recording:
        model(made.prepare(shown))
    size = recording[layer].double().abs()
    mean = size.reshape(*size.shape[:2], -1).mean((0, 2))
    read = model[4].weight.detach().double().reshape(3, len(mean) if weighted else 54, -1)
    weight = read.pow(2).sum((0, 2)).sqrt() if weighted else 1
    assert found.weighted == weighted
    assert found.values == pytest.approx((mean * weight).numpy(), rel=1e-5)


def test_where_the_next_layer_cannot_be_read_mean_activation_matches(net):
    assert not unit_contributions(net, "second", Noise(12), Reading(), seed=0).weighted  # a skip connection adds to it
    assert ablate(net, "second", [1], Noise(12), draws=2).settings.matched_in.startswith("mean activation")


def test_matched_sets_come_from_all_that_are_alike_and_a_unit_without_match_is_named():
    activity = np.concatenate([np.linspace(1, 1.4, 40), [9.0]])
    rng = np.random.default_rng(0)
    seen = {unit for _ in range(200) for unit in matched((0, 1), activity, rng)}
    assert seen == set(range(2, 40))
    assert unmatched((0, 40), activity) == (40,)
    assert unmatched(tuple(range(40)), activity) == (40,)
    said = describe_matching(["conv"], ((0, 40),), [Contributions(activity, weighted=True)])
    assert said == "mean activation x outgoing weight (no unit is like 40: the nearest take their place)"


def test_a_band_holds_what_it_says():
    rng = np.random.default_rng(0)
    for draws in (9, 39, 199):
        bands = [Band.of(rng.normal(size=draws)) for _ in range(400)]
        held = np.mean([stats.norm.cdf(band.high) - stats.norm.cdf(band.low) for band in bands])
        assert held == pytest.approx(bands[0].holds, abs=0.01)


def test_as_many_sets_as_the_replay_makes_cheap_are_drawn(net):
    assert len(ablate(net, "second", [1], Noise(6)).drawn["random"].sets) == 199

    class Untraceable(Net):
        def forward(self, images):
            return super().forward(images) if images.sum() > -1e9 else images

    opaque = ul.classifier(Untraceable().eval(), image_size=8, mean=(0.5,) * 3, std=(0.2,) * 3, classes=["a", "b", "c"])
    with pytest.warns(ul.UnitlensWarning, match="full pass"):
        assert len(ablate(opaque, "second", [1], Noise(6)).drawn["matched"].sets) == 39


def test_the_sets_of_a_curve_are_set_beside_those_of_their_size(net):
    curve = ul.ablation_curve(net, "second", "b", Noise(60), top=3, draws=4)
    for k in (1, 3):
        drawn = curve.chosen("most", k).drawn
        assert {kind: measured.sets for kind, measured in drawn.items()} == {
            kind: curve.sets(kind, k).sets for kind in ("random", "matched")
        }
        band = curve.band().set_index("k").loc[k]
        row = curve.chosen("most", k).random_sets().query("kind == 'random' and measure == 'balanced_accuracy'")
        row = row.set_index("class").loc["b"]
        before = curve.untouched()["balanced_accuracy"]
        assert row[["mean", "low", "high"]].tolist() == pytest.approx((band[["mean", "low", "high"]] - before).tolist())
    assert not curve.chosen("kept", 3).drawn
    assert len(SavedEffects((curve,)).random_sets()["units"].unique()) == 3


def test_what_was_drawn_is_saved_and_read_back(net, tmp_path):
    saved = SavedEffects((ablate(net, "second", [0, 2], Noise(20), draws=3),))
    write_effects(tmp_path / "run", saved)
    table = pd.read_csv(tmp_path / "run" / "effects.random_sets.csv")
    assert list(table.columns) == list(COLUMNS)
    again = read_effects(tmp_path / "run").sets[0]
    pd.testing.assert_frame_equal(again.random_sets(), saved.random_sets())
    pd.testing.assert_frame_equal(again.random_sets(), table)
    write_effects(tmp_path / "again", SavedEffects((again,)))
    assert (tmp_path / "again" / "effects.json").read_text() == (tmp_path / "run" / "effects.json").read_text()
    bare = SavedEffects((ablate(net, "second", [0, 2], Noise(20), draws=0),))
    write_effects(tmp_path / "run", bare, overwrite=True)
    assert not (tmp_path / "run" / "effects.random_sets.csv").exists()


def test_the_documentation_has_the_columns():
    text = (Path(__file__).parents[2] / "docs" / "ablation.md").read_text(encoding="utf-8")
    for columns in (EFFECT_COLUMNS, COLUMNS):
        assert "\n".join(f"| `{name}` | {meaning} |" for name, meaning in columns.items()) in text
    issue = "layer units class measure before after effect low high q_value images"
    assert list(EFFECT_COLUMNS) == issue.split()
