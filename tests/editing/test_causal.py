"""Average causal effects of every unit, beside full passes."""

import numpy as np
import pytest
import torch

import unitlens as ul
from tests.worlds.generators import Measured, Painter, Squares, concept_of, painted, painter
from unitlens.ablation.random_sets import Band, alike_units
from unitlens.editing.tables import CAUSAL_COLUMNS

BACKDROP = 12


@pytest.fixture(scope="module")
def net():
    return painter(8, extra=2)


@pytest.fixture(scope="module")
def latents():
    return painted(64, extra=2)


@pytest.fixture(scope="module")
def effects(net, latents):
    return ul.causal_effects(net, "layer", latents, insert=0.1)


def test_a_figure_shows_the_units_of_largest_effect_first(effects):
    name = f"{effects.concepts[1].category}/{effects.concepts[1].name}"
    (axes,) = effects.show(name, n=3).axes
    units = effects.most_causal(name, 3)
    assert [tick.get_text() for tick in axes.get_yticklabels()] == [f"unit {unit}" for unit in units]
    widths = [bar.get_width() for bar in axes.patches]
    assert widths == pytest.approx((100 * effects.effect()[units, 1]).tolist())


def test_every_planted_unit_causes_its_colour(effects):
    assert effects.effect().shape == (10, 4)
    names = [concept.name for concept in effects.concepts]
    for unit in range(8):
        assert names[int(effects.effect()[unit].argmax())] == concept_of(unit)
        assert unit in effects.most_causal(concept_of(unit), 2)
    assert (effects.effect()[8:] == 0).all()  # further units draw nothing
    table = effects.table()
    assert list(table.columns) == list(CAUSAL_COLUMNS)
    assert (table["average_causal_effect"] - (table["inserted"] - table["removed"])).abs().max() < 1e-12
    assert (table.query("unit < 8 and average_causal_effect > 0.1")["q_value"] < 0.01).all()


def test_a_sweep_is_what_sets_of_one_unit_give(net, latents, effects):
    for unit in (0, 7, 9):
        removed = ul.intervene(net, "layer", [unit], latents, draws=0)
        inserted = ul.intervene(net, "layer", [unit], latents, draws=0, value=0.1)
        assert np.array_equal(effects.removal.change[:, unit], removed.tally.change[:, 0])
        assert np.array_equal(effects.insertion.change[:, unit], inserted.tally.change[:, 0])
        assert np.array_equal(effects.removal.moved[:, unit], removed.tally.moved[:, 0])


def test_permuting_units_permutes_rows(latents, effects):
    order = np.random.default_rng(0).permutation(10)
    model = Painter(8, extra=2)
    with torch.no_grad():
        for parameter in (model.shapes.weight, model.paint.weight):
            axis = 0 if parameter is model.shapes.weight else 1
            parameter.copy_(parameter.index_select(axis, torch.from_numpy(order)))
    model.forward = _permuted(model, order)
    net = ul.generator(model.eval(), latents=10 + BACKDROP, rescale=(-1, 1))
    permuted = ul.causal_effects(net, "layer", latents, insert=0.1)
    assert np.array_equal(permuted.removal.change, effects.removal.change[:, order])
    assert np.array_equal(permuted.effect(), effects.effect()[order])


def _permuted(model, order):
    """The forward pass with the latents' own numbers in the units' new order."""
    forward = type(model).forward

    def permuted(latents):
        return forward(model, torch.cat([latents[:, :10][:, order], latents[:, 10:]], 1))

    return permuted


def test_halves_choose_and_measure_apart(effects):
    even, odd = (effects.effect(folds=folds) for folds in ("even", "odd"))
    share = effects.removal.half("even").images.sum() / effects.images
    assert effects.effect() == pytest.approx(share * even + (1 - share) * odd)
    assert not np.array_equal(even, odd)


def test_effects_stand_beside_other_units_and_beside_iou(net, latents, effects):
    beside = effects.beside_others("red")
    assert beside.loc[[0, 4], "effect"].min() > beside.loc[[0, 4], "random_high"].max() / 2
    assert beside.loc[0, "p_value"] <= 0.2
    dissection = ul.dissect(net, "layer", latents, quantile=0.01, evidence=False, exemplars=0)
    compared = effects.beside_iou(dissection).set_index("concept")
    assert set(compared.index) == {concept.name for concept in Squares.concepts}
    assert (compared["rank_correlation"] > 0.3).all()


def test_each_unit_stands_beside_all_others_and_those_that_hand_on_about_as_much(effects):
    effect = effects.effect()
    rows = effects.table().set_index(["concept", "unit"])
    for c, concept in enumerate(effects.concepts):
        for unit in range(10):
            others = np.delete(effect[:, c], unit)
            alike = [other for other in alike_units(unit, effects.handed.values) if other != unit]
            row = rows.loc[concept.name, unit]
            band = Band.of(others)
            assert row["random_mean"] == pytest.approx(band.mean)
            assert (row["random_low"], row["random_high"]) == pytest.approx((band.low, band.high))
            assert (row["matched_mean"], row["matched"]) == pytest.approx((effect[alike, c].mean(), len(alike)))
            beside = effects.beside_others(concept.name).loc[unit]
            assert beside["random_low"] == pytest.approx(band.low)
            assert beside["p_value"] == pytest.approx((1 + (abs(others) >= abs(effect[unit, c])).sum()) / 10)


def test_how_good_the_source_is_stands_beside_what_rests_on_it(net):
    latents = painted(40, extra=2, source=Measured())
    known = {name: Measured.ious.get(("color", name)) for name in ("red", "green", "blue", "yellow")}
    effects = ul.causal_effects(net, "layer", latents, insert=0.1)
    found = ul.concept_set(net, "layer", "green", latents, most=2)
    for table in (
        effects.table(),
        ul.intervene(net, "layer", [0, 1, 2, 3], latents, draws=0).table(),
        effects.beside_iou(ul.dissect(net, "layer", latents, evidence=False, exemplars=0)),
        ul.insertion_map(net, "layer", [0], "green", latents, size=8).table().assign(concept="green"),
        ul.drawn_detectors(net, "layer", "blue", latents).table().assign(concept="blue"),
        found.table().assign(concept="green"),
    ):
        assert len(table)
        for concept, iou in zip(table["concept"], table["segmenter_iou"], strict=True):
            assert np.isnan(iou) if known[concept] is None else iou == known[concept]


def test_a_concept_that_is_not_known_names_those_that_are(effects):
    with pytest.raises(ul.UnitlensError, match=r"does not know the concept 'tree'.* it knows red, green, blue, yellow"):
        effects.most_causal("tree")
