"""Edits by hand: done one after the other they are interventions, replayed; they go through JSON as they are."""

import json

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

import unitlens as ul
from unitlens.ablation.replay.cutting import cut_network
from unitlens.ablation.replay.edits import UnitEdit, output_with
from unitlens.models.units.space import CHANNELS
from unitlens.records import read_record, write_record


@pytest.fixture(scope="module")
def generator():
    torch.manual_seed(0)
    model = torch.nn.Sequential(
        torch.nn.Linear(6, 5 * 4 * 3),
        torch.nn.Unflatten(1, (5, 4, 3)),
        torch.nn.ReLU(),
        torch.nn.Conv2d(5, 7, 3, padding=1),
        torch.nn.ReLU(),
        torch.nn.Conv2d(7, 3, 1),
    )
    return ul.generator(model, latents=6, rescale=(-1, 1))


def edits_of(draw):
    grid = st.booleans().flatmap(lambda some: arrays.arrays(bool, (4, 3)) if some else st.none())
    layer, count = draw(st.sampled_from([("2", 5), ("4", 7)]))
    units = draw(st.lists(st.integers(0, count - 1), min_size=1, max_size=count, unique=True))
    values = [draw(st.floats(-2, 2, width=32)) for _ in units]
    return UnitEdit.at(layer, units, values, draw(grid), strength=draw(st.sampled_from([0.0, 0.25, 1.0])))


some_edits = st.lists(st.composite(edits_of)(), max_size=5)


@given(edits=some_edits)
def test_replayed_edits_are_interventions_one_after_the_other(generator, edits):
    latents = generator.example_inputs(1)
    cut = cut_network(generator.model, ["2", "4"], latents)
    assert cut.replays
    replayed = output_with(cut, cut.front(latents), edits, {"2": CHANNELS, "4": CHANNELS})
    with ul.evaluating(generator.model), ul.intervening(generator, *[edit.intervention() for edit in edits]):
        expected = generator.model(latents)
    torch.testing.assert_close(replayed, expected, rtol=0, atol=1e-6)


@given(edits=some_edits)
def test_an_edit_comes_back_from_json_as_it_was(edits):
    for edit in edits:
        again = read_record(UnitEdit, json.loads(json.dumps(write_record(edit))), what="an edit")
        assert again == edit
        if edit.grid is not None:
            assert again.positions.shape == (4, 3)


def test_strength_without_a_grid_is_how_far_units_go():
    edit = UnitEdit.at("1", [0], [2.0], strength=0.25)
    assert edit.intervention().on(torch.tensor([[4.0, 4.0]])).tolist() == [[3.5, 4.0]]


@pytest.mark.parametrize(
    ("changed", "facts"),
    [
        ({"units": []}, ["each once"]),
        ({"units": [3, 3], "values": [0, 0]}, ["each once"]),
        ({"units": [-1]}, ["from 0"]),
        ({"values": [0.0, 1.0]}, ["1 units", "2 values"]),
        ({"strength": 1.5}, ["strength", "1.5"]),
        ({"grid": [0, 4], "mask": ""}, ["grid", "(0, 4)"]),
        ({"grid": [1 << 9, 1 << 9]}, ["grid"]),
        ({"mask": "!"}, ["base64"]),
        ({"mask": "AAAA"}, ["3 bytes", "1"]),
        ({"values": [float("nan")]}, ["finite"]),
    ],
)
def test_an_impossible_edit_is_a_sentence(changed, facts):
    content = write_record(UnitEdit.at("1", [0], [0.0], np.ones((2, 2), bool))) | changed
    with pytest.raises(ul.UnitlensError) as error:
        read_record(UnitEdit, content, what="an edit")
    assert all(fact in str(error.value) for fact in facts)


def test_an_edit_of_units_that_are_not_there_is_a_sentence():
    edit = UnitEdit.at("4", [9], [0.0], np.ones((2, 2), bool))
    with pytest.raises(ul.UnitlensError, match=r"4 has 7 units.*9"):
        edit.check("4", 7, (2, 2))
    with pytest.raises(ul.UnitlensError, match=r"2 x 2.*4 x 3"):
        edit.check("4", 10, (4, 3))
