"""Units inserted at every place, beside loops that draw each image in full; and units as detectors of what is drawn."""

import numpy as np
import pytest
import torch

import unitlens as ul
from tests.generators import CELLS, Squares, concept_of, painted, painter
from unitlens.editing.detector_result import best_level

IMAGES = 48


@pytest.fixture(scope="module")
def net():
    return painter(8)


@pytest.fixture(scope="module")
def latents():
    return painted(IMAGES)


@pytest.fixture(scope="module")
def door(net, latents):
    return ul.insertion_map(net, "layer", [2], "blue", latents, value=1.0, size=4, batch_size=20)


def test_a_planted_unit_appears_wherever_it_is_inserted_but_where_it_was(net, latents, door):
    table = door.table().set_index("before")
    assert table["places"].sum() == IMAGES * 16
    assert (table.drop(index=["blue", "nothing"])["appeared"] < 1).all()  # colours mix
    assert table.loc["blue", "appeared"] == 0
    assert table.loc["nothing", "appeared"] == 1
    assert table.loc["nothing", "area"] == pytest.approx(1 / 16)
    assert door.appeared().shape == (4, 4)


def test_the_map_is_what_loops_over_full_passes_give(net, latents, door):
    appeared, area = np.zeros((4, 4)), np.zeros((4, 4))
    for index in range(IMAGES):
        latent = latents[index].image
        for y in range(4):
            for x in range(4):
                where = torch.zeros(CELLS, CELLS, dtype=torch.bool)
                where[4 * y : 4 * y + 4, 4 * x : 4 * x + 4] = True
                edited = ul.edit_image(net, latent, layer="layer", insert=2, level=1.0, where=where)
                before, after = (Squares().planes(i[0], "")["color"][0] == 3 for i in (edited.before, edited.after))
                there = slice(8 * y, 8 * y + 8), slice(8 * x, 8 * x + 8)
                appeared[y, x] += after[there].mean() >= 0.5 > before[there].mean()
                area[y, x] += after.mean() - before.mean()
    assert door.appeared() == pytest.approx(appeared / IMAGES)
    assert door.area() == pytest.approx(area / IMAGES)


def test_the_figure_is_a_png(door):
    assert door.figure(fewest=1)._repr_png_().startswith(b"\x89PNG")


def test_places_have_to_fit_the_grid(net, latents):
    with pytest.raises(ul.UnitlensError, match="size is 17; a place is a square of 1 to 16"):
        ul.insertion_map(net, "layer", [2], "blue", latents, size=17)
    with pytest.raises(ul.UnitlensError, match="squares does not know the concept 'door'"):
        ul.insertion_map(net, "layer", [2], "door", latents)


def test_planted_units_are_perfect_detectors_of_their_squares():
    net, latents = painter(4, extra=2), painted(200, units=4, extra=2)
    found = ul.drawn_detectors(net, "layer", "green", latents, least_area=0.01)
    table = found.table()
    best = table.iloc[0]
    assert best["unit"] == 1
    assert concept_of(1) == "green"
    assert best["balanced_accuracy"] > 0.97
    assert best["low"] < best["balanced_accuracy"] <= best["high"] <= 1.1
    assert (table["balanced_accuracy"].iloc[1:] < 0.75).all()
    assert best["with_concept"] + best["without"] == found.odd.sum()
    few = ul.drawn_detectors(net, "layer", "green", latents, units=[1, 3]).table()
    assert set(few["unit"]) == {1, 3}
    with pytest.raises(ul.UnitlensError, match=r"green takes 90\.0% of the image in 0 of"):
        ul.drawn_detectors(net, "layer", "green", latents, least_area=0.9)


def test_the_best_level_is_that_of_a_search_over_all():
    rng = np.random.default_rng(0)
    for _ in range(50):
        peaks, present = rng.integers(0, 6, 30).astype(float), rng.random(30) < 0.4
        present[:2] = True, False
        levels = np.arange(-1, 6.5, 0.5)
        accuracy = [((peaks > t)[present].mean() + (peaks <= t)[~present].mean()) / 2 for t in levels]
        level, value = best_level(peaks, present)
        assert value == pytest.approx(max(accuracy))
        assert ((peaks > level)[present].mean() + (peaks <= level)[~present].mean()) / 2 == pytest.approx(value)
