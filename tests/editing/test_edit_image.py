"""Images drawn with units removed and inserted."""

import numpy as np
import pytest
import torch

import unitlens as ul
from tests.worlds.generators import CELLS, SIZE, Squares, concept_of, painted, painter
from unitlens.data.drawn import DrawnConcepts
from unitlens.drawing.sheets import differences, sheet
from unitlens.editing.experiment import unit_positions

UNITS = 8


@pytest.fixture(scope="module")
def net():
    return painter(UNITS, extra=2)


@pytest.fixture(scope="module")
def latent():
    """One for which units 1 and 6 draw their squares and no other does."""
    z = np.zeros(UNITS + 2 + 12, np.float32)
    z[[1, 6]] = 2
    return z


def areas(images):
    """Pixels of each colour in the first image, by its name."""
    drawn = DrawnConcepts.of([Squares()])
    counted = drawn.areas(drawn.maps(images[:1].transpose(0, 3, 1, 2)))[0]
    return {name: int(area) for name, area in zip(drawn.names(), counted, strict=True) if area}


def test_removing_a_planted_unit_removes_its_square_and_nothing_else(net, latent):
    for unit, stays in ((1, 6), (6, 1)):
        edited = ul.edit_image(net, latent, layer="layer", remove=unit)
        assert areas(edited.before) == {concept_of(1): 64, concept_of(6): 64}
        assert areas(edited.after) == {concept_of(stays): 64}
        changed = (edited.before != edited.after).any(-1)[0]
        top, left = 8 * (unit // 4), 8 * (unit % 4)
        assert changed[top : top + 8, left : left + 8].all()
        assert changed.sum() == 64


def test_inserting_a_unit_at_a_place_draws_its_colour_there(net, latent):
    edited = ul.edit_image(net, latent, layer="layer", insert=3, level=1.0, where=(12, 5))
    changed = (edited.before != edited.after).any(-1)[0]
    scale = SIZE // CELLS
    assert areas(edited.after) == {**areas(edited.before), concept_of(3): scale**2}
    assert changed.sum() == changed[12 * scale : 13 * scale, 5 * scale : 6 * scale].sum() == scale**2


def test_a_removed_unit_that_is_put_back_gives_the_same_image(net, latent):
    with torch.no_grad(), ul.record(net.model, "layer") as recording:
        net.model(net.prepare(torch.from_numpy(latent[None])))
    restored = ul.Intervention("layer", [1], recording["layer"][:, 1:2])
    removed = ul.Intervention("layer", [1])
    inputs = net.prepare(torch.from_numpy(latent[None]))
    with ul.evaluating(net.model):
        before = net.model(inputs)
        with ul.intervening(net, removed, restored):
            after = net.model(inputs)
    assert torch.equal(before, after)
    like = ul.edit_image(net, latent, layer="layer", insert=[1, 6], like=latent)
    assert np.array_equal(like.before, like.after)


def test_inserting_nothing_changes_nothing(net, latent):
    for nothing in ({}, {"insert": []}, {"remove": []}, {"insert": {}, "remove": {}}):
        edited = ul.edit_image(net, latent, layer="layer", **nothing)
        assert np.array_equal(edited.before, edited.after)
        assert (edited.distance == 0).all()
    nowhere = ul.edit_image(net, latent, layer="layer", remove=[1, 6], where=torch.zeros(CELLS, CELLS))
    assert np.array_equal(nowhere.before, nowhere.after)


def test_soft_masks_of_each_image_and_several_latents(net, latent):
    latents = np.stack([latent, latent * 0])
    where = torch.zeros(2, CELLS, CELLS)
    where[0] = 1
    edited = ul.edit_image(net, latents, layer="layer", remove=[1], insert=[2], level=0.5, where=where)
    assert areas(edited.after) != areas(edited.before)
    assert np.array_equal(edited.after[1], edited.before[1])
    faint = ul.edit_image(net, latent, layer="layer", insert=2, level=0.1, where=0.5 * torch.ones(CELLS, CELLS))
    full = ul.edit_image(net, latent, layer="layer", insert=2, level=0.05)
    assert np.array_equal(faint.after, full.after)


def test_a_level_for_each_unit_is_that_of_the_units_inserted(net, latent):
    levels = np.linspace(0, 1, UNITS + 2)
    one = ul.edit_image(net, latent, layer="layer", insert=[2, 7], level=levels)
    by_layer = ul.edit_image(net, latent, insert={"layer": [7, 2]}, level=levels.tolist())
    assert np.array_equal(one.after, by_layer.after)
    assert by_layer.inserted == {"layer": (7, 2)}
    data = painted(3, extra=2)
    several = ul.edit_image(net, data, layer="layer", remove=0)
    assert several.before.shape == (3, SIZE, SIZE, 3)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"remove": 99, "layer": "layer"}, "layer has 10 units, 0 to 9; unit 99"),
        ({"remove": 1, "layer": "nowhere"}, "nowhere"),
        ({"insert": 1, "layer": "layer"}, "give level="),
        ({"insert": 1, "layer": "layer", "level": [1.0, 2.0]}, "2,.* 10 units"),
        ({"remove": 1, "layer": "layer", "where": (16, 0)}, r"\(16, 0\) lies outside .* 16 rows and 16 columns"),
        ({"remove": 1, "layer": "layer", "where": [(0, 0), (2, -1)]}, r"\(2, -1\) lies outside"),
        ({"remove": 1, "layer": "layer", "where": torch.ones(4, 4)}, "where is 4 x 4, but layer has a grid of 16 x 16"),
    ],
)
def test_what_cannot_be_edited_is_a_clear_error(net, latent, options, sentence):
    with pytest.raises(ul.UnitlensError, match=sentence):
        ul.edit_image(net, latent, **options)


def test_a_classifier_draws_nothing_to_edit():
    with pytest.raises(ul.UnitlensError, match=r"bundled:scenes is not known to draw images.*ul\.generator"):
        ul.edit_image(ul.load("bundled:scenes"), np.zeros(3), remove=1)


def test_positions_of_a_layer_without_a_grid_are_refused():
    with pytest.raises(ul.UnitlensError, match="fc has no grid"):
        unit_positions((0, 0), (), "fc")


def test_sheets_hold_each_image_beside_what_it_became(net, latent, tmp_path):
    from PIL import Image

    edited = ul.edit_image(net, np.stack([latent, latent]), layer="layer", remove=1)
    edited.sheet(tmp_path / "sheet.png", size=SIZE)
    drawn = np.asarray(Image.open(tmp_path / "sheet.png"))
    assert drawn.shape == (2 * SIZE + 2, 3 * (SIZE + 2) - 2, 3)
    assert np.array_equal(drawn[:SIZE, :SIZE], edited.before[0])
    assert np.array_equal(drawn[SIZE + 2 :, SIZE + 2 : 2 * SIZE + 2], edited.after[1])
    assert np.array_equal(drawn[:SIZE, 2 * (SIZE + 2) :], differences(edited.before, edited.after)[0])
    assert len(sheet([edited.before], across=2)) > 0
