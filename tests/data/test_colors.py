import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.color import rgb2lab

import unitlens as ul
from tests.worlds.coloured import blocks
from unitlens.data import colors
from unitlens.data.colors import NAMES, Colors, achromatic, color_labels, named
from unitlens.data.concepts import ConceptSource
from unitlens.data.sources import with_concepts


def name_of(red, green, blue):
    return NAMES[int(color_labels(np.array([[[red, green, blue]]], np.uint8))[0, 0]) - 1]


@pytest.mark.parametrize(
    ("rgb", "name"),
    [  # a screen's own colors, and CSS's colors of these names
        *[((255, 0, 0), "red"), ((0, 255, 0), "green"), ((0, 128, 0), "green"), ((0, 0, 255), "blue")],
        *[((255, 255, 0), "yellow"), ((255, 165, 0), "orange"), ((255, 192, 203), "pink"), ((128, 0, 128), "purple")],
        *[((0, 0, 0), "black"), ((128, 128, 128), "gray"), ((255, 255, 255), "white"), ((255, 105, 180), "pink")],
        # what things look like in photographs
        *[((139, 69, 19), "brown"), ((135, 206, 235), "blue"), ((34, 139, 34), "green"), ((86, 125, 70), "green")],
        *[((90, 88, 95), "gray"), ((235, 240, 245), "white"), ((0, 0, 128), "blue"), ((92, 51, 23), "brown")],
        *[((255, 215, 0), "yellow"), ((220, 20, 60), "red"), ((148, 0, 211), "purple"), ((255, 140, 0), "orange")],
    ],
)
def test_focal_colors_have_their_names(rgb, name):
    assert name_of(*rgb) == name


@pytest.mark.parametrize(("lightness", "name"), [(28.2, "black"), (28.4, "gray"), (79.6, "gray"), (79.7, "white")])
def test_without_hue_lightness_decides(lightness, name):
    assert NAMES[named(np.array([[lightness, 0.0, 0.0]]))[0] - 1] == name


def test_the_ellipses_are_rotated_as_the_paper_says():
    center, (long, short), tilt = np.array([-0.44, 1.08]), (6.06, 7.50), np.radians(24.55)  # at L* 51 to 66
    for axis, angle in ((long, tilt), (short, tilt + np.pi / 2)):
        point = center + axis * np.array([np.cos(angle), np.sin(angle)])
        for share, inside in ((0.99, True), (1.01, False)):
            assert achromatic(np.array([[60, *(center + share * (point - center))]]))[0] == inside


def test_the_levels_of_lightness_end_where_the_paper_says():
    point = [0.23 - 6.4 * np.cos(np.radians(17.59)), 0.66 - 6.4 * np.sin(np.radians(17.59))]  # inside at 31 to 41 only
    assert achromatic(np.array([[40.9, *point], [31.1, *point]])).tolist() == [True, True]
    assert achromatic(np.array([[41.1, *point], [30.9, *point]])).tolist() == [False, False]


@settings(max_examples=40)
@given(st.tuples(*[st.integers(0, 31)] * 3))
def test_the_table_is_the_definition_at_the_middle_of_its_cells(cell):
    middle = (np.array(cell) * 8 + 3.5) / 255
    assert NAMES[named(rgb2lab(middle)[None])[0] - 1] == name_of(*(8 * part for part in cell))


def test_nearest_of_the_survey_by_hand():
    rng = np.random.default_rng(0)
    lab = rgb2lab(rng.random((50, 3)))
    survey = colors._survey()
    assert len(survey) > 500
    for color, label in zip(lab, named(lab), strict=True):
        if not achromatic(color[None])[0]:
            distances = [np.linalg.norm(color - other) for _, other in survey]
            assert survey[int(np.argmin(distances))][0] == NAMES[label - 1]


def test_every_term_has_some_colors():
    assert set(np.unique(colors._table())) == set(range(1, 12))


def test_a_network_of_colors_is_dissected_by_computed_colors(world, net):
    data = with_concepts(ul.open_data(world, format="folder"), Colors(), masks=False)
    assert isinstance(Colors(), ConceptSource)
    assert [concept.name for concept in data.concepts] == list(NAMES)
    table = ul.dissect(net, "0", data, quantile=0.15, evidence=False, exemplars=0).table()
    assert table["concept"][:3].tolist() == ["red", "green", "blue"]
    assert table["iou"][:3].min() > 0.25


def test_the_map_has_the_size_of_the_image():
    image, _ = blocks(0)
    planes = Colors().planes(image[:20], "name")
    assert [plane.shape for plane in planes["color"]] == [(20, 32)]
