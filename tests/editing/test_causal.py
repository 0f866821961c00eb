"""Average causal effects of every unit, beside full passes."""

import numpy as np
import pytest
import torch

import unitlens as ul
from tests.generators import Painter, Squares, concept_of, painted, painter
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


def test_a_concept_that_is_not_known_names_those_that_are(effects):
    with pytest.raises(ul.UnitlensError, match=r"does not know the concept 'tree'.* it knows red, green, blue, yellow"):
        effects.most_causal("tree")
