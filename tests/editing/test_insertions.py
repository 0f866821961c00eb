"""Units inserted at every place, beside loops that draw each image in full; and units as detectors of what is drawn."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import unitlens as ul
from tests.worlds.generators import CELLS, Squares, concept_of, dots, painted, painter
from unitlens.ablation.random_sets import draw_sets
from unitlens.editing.detector_result import best_level

IMAGES = 24


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


def drawn_blue(net, latent, unit, y, x):
    """Where blue is drawn before and after a unit is inserted at one of the 4 x 4 places."""
    where = torch.zeros(CELLS, CELLS, dtype=torch.bool)
    where[4 * y : 4 * y + 4, 4 * x : 4 * x + 4] = True
    edited = ul.edit_image(net, latent, layer="layer", insert=unit, level=1.0, where=where)
    return [Squares().planes(image[0], "")["color"][0] == 3 for image in (edited.before, edited.after)]


def test_the_map_is_what_loops_over_full_passes_give(net, latents, door):
    others = [unit for ((unit,),) in draw_sets(((2,),), [np.zeros(8)], 16, seed=0)["random"]]
    appeared, area, by_random = np.zeros((4, 4)), np.zeros((4, 4)), 0
    untouched = [drawn_blue(net, latents[index].image, 0, 0, 0)[0].sum() for index in range(IMAGES)]
    usual = sorted(area for area in untouched if area >= 10.24)  # 1 % of 32 x 32
    usual = usual[(len(usual) - 1) // 2]
    least = min(usual, 64) / 2
    for index in range(IMAGES):
        for y in range(4):
            for x in range(4):
                there = slice(8 * y, 8 * y + 8), slice(8 * x, 8 * x + 8)
                before, after = drawn_blue(net, latents[index].image, 2, y, x)
                appeared[y, x] += after[there].sum() - before[there].sum() >= least
                area[y, x] += after.mean() - before.mean()
                _, after = drawn_blue(net, latents[index].image, others[4 * y + x], y, x)
                by_random += after[there].sum() - before[there].sum() >= least
    assert door.appeared() == pytest.approx(appeared / IMAGES)
    assert door.area() == pytest.approx(area / IMAGES)
    assert door.tally.by_random.sum() == by_random > 0
    assert door.usual_area == usual / 1024
    assert np.array_equal(door.areas, untouched)


def test_what_is_much_smaller_than_a_place_appears_there():
    net, latents = dots(), ul.with_concepts(ul.latents(16, 64), Squares())
    small = ul.insertion_map(net, "layer", [1], "green", latents, value=1.0, draws=4)
    assert small.usual_area == 16 / 1024  # a place has 256 of the 1024 positions
    (row,) = small.table().to_dict("records")
    had = (small.areas // 16).sum()
    assert row["before"] == "nothing"
    assert row["appeared"] == 1 - had / row["places"]
    assert row["random_appeared"] < row["low"]  # of the sets that were drawn, a few are the unit itself
    alone = ul.insertion_map(net, "layer", [1], "green", latents, value=1.0, draws=0, limit=20).table()
    assert alone["random_appeared"].isna().all()


def test_of_what_is_drawn_in_no_image_half_of_the_place_has_to_come():
    nothing = np.random.default_rng(0).uniform(0, 1, (40, 16)).astype(np.float32)
    with pytest.warns(ul.UnitlensWarning, match="green is drawn in none of the 40"):
        nowhere = ul.insertion_map(dots(), "layer", [1], "green", ul.latents(nothing), Squares(), value=1.0)
    assert np.isnan(nowhere.usual_area)
    assert nowhere.table().loc[0, ["appeared", "random_appeared"]].tolist() == [0, 0]
    assert nowhere.table().loc[0, "area"] == 16 / 1024


def test_the_figure_is_a_png(door):
    assert door.figure(fewest=1)._repr_png_().startswith(b"\x89PNG")


def test_places_have_to_fit_the_grid(net, latents):
    with pytest.raises(ul.UnitlensError, match="size=17: a place is a square of 1 to 16"):
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
    assert best["with_concept"] + best["without"] == (found.folds % 2).sum()
    few = ul.drawn_detectors(net, "layer", "green", latents, units=[1, 3]).table()
    assert set(few["unit"]) == {1, 3}
    with pytest.raises(ul.UnitlensError, match=r"green takes 90\.0% of the image or more in 0 of"):
        ul.drawn_detectors(net, "layer", "green", latents, least_area=0.9)


def test_images_of_a_group_are_one_draw_of_a_detector():
    latents, rng = painted(320, units=4), np.random.default_rng(0)
    alone, grouped = (
        ul.drawn_detectors(painter(4), "layer", "green", latents, units=[0], groups=groups)
        for groups in (None, [f"group {index // 4}" for index in range(320)])
    )
    assert all(len(set(grouped.folds[4 * group : 4 * group + 4])) == 1 for group in range(80))
    green = rng.random(80) < 0.5
    alike = {"peaks": np.repeat(green + rng.normal(size=80), 4)[:, None], "area": np.repeat(green, 4).astype(float)}
    widths = [
        (table["high"] - table["low"])[0]
        for table in (replace(alone, **alike).table(), replace(grouped, **alike).table())
    ]
    assert widths[1] > 1.4 * widths[0]  # of 4 images a group, twice as wide
    with pytest.warns(ul.UnitlensWarning, match="of 32 folds, fewer than 8"):
        few = ul.drawn_detectors(
            painter(4), "layer", "green", latents, groups=[str(index % 10) for index in range(320)]
        )
    assert few.table()["low"].isna().all()


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
