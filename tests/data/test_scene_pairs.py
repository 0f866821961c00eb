import numpy as np
import pytest

import unitlens as ul
from unitlens.data.concepts import Concept, Data
from unitlens.data.scenes import life
from unitlens.data.scenes import pairs as drawn_pairs
from unitlens.data.scenes.canvas import Canvas
from unitlens.data.scenes.pairs import LEFT_OUT, ScenePairs
from unitlens.data.scenes.words import CATEGORIES, CONCEPTS
from unitlens.data.scenes.world import PLACES
from unitlens.errors import UnitlensError

# objects with a shadow, with a glow, with others on or behind them, and that share strokes with other words
SOME = ("tree", "person", "skis", "sun", "mountain", "sofa", "mirror", "part/wheel", "roof", "snow", "wood", "red")


@pytest.fixture(scope="module")
def data():
    return ScenePairs(3, concepts=SOME)


def drawn(data, pair):
    """Both images of a pair, and in which pixels the planes of the whole scene show the concept."""
    whole, without = data[pair.with_it], data[pair.without]
    shown = whole.planes[pair.concept.category][0] == pair.concept.label
    return whole, without, shown


def test_it_is_a_data_set_of_pairs(data):
    assert isinstance(data, Data)
    assert len(data.pairs) == 3 * len(SOME)
    assert len({data[i].name for i in range(len(data))}) == len(data)
    for pair in data.pairs:
        whole, without = data[pair.with_it], data[pair.without]
        assert whole.group == without.group
        assert whole.class_ == without.class_
        assert whole.name == f"{whole.group}/all.png"
        assert pair.concept.name in without.name


def test_label_maps_differ_exactly_where_the_concept_is_drawn(data):
    for pair in data.pairs:
        whole, without, shown = drawn(data, pair)
        assert shown.mean() > 0.5 / 784
        differs = np.any([whole.planes[name][0] != without.planes[name][0] for name in CATEGORIES], axis=0)
        assert np.array_equal(differs, shown), pair.concept
        assert not (without.planes[pair.concept.category][0] == pair.concept.label).any()


def dots(data, pair):
    """Of both images, the words of the concept's category and the light, at all four dots of each pixel."""
    scene, concept = data._images[pair.without]
    for without in (None, concept):
        canvas = drawn_pairs._draw(scene, data.seed, without=without)
        words = np.array([getattr(mark, concept.category) == concept.name for mark in canvas._marks])
        yield words[np.asarray(canvas._numbers)], np.asarray(canvas._light).astype(int)


def test_pixels_differ_only_where_the_concept_or_its_shadow_is_drawn(data):
    for pair in data.pairs:
        (shown, light), (shown_without, light_without) = dots(data, pair)
        shadow = (light != light_without) & ~shown
        differs = (data[pair.with_it].image != data[pair.without].image).any(2)
        allowed = (shown | shadow).reshape(112, 2, 112, 2).any((1, 3))
        assert differs.any()
        assert not (differs & ~allowed).any(), pair.concept
        assert not shown_without.any()
        assert (light[shadow] != 128).all(), pair.concept
        assert pair.concept.category == "object" or not shadow.any()


def test_of_colours_only_the_hue_goes(data):
    (pair, *_) = [pair for pair in data.pairs if pair.concept.name == "red"]
    whole, without, shown = drawn(data, pair)
    for name in ("object", "part", "material"):
        assert np.array_equal(whole.planes[name][0], without.planes[name][0])
    assert (without.planes["color"][0][shown] == CATEGORIES["color"].index("grey") + 1).all()
    lightness = [image[shown].astype(float) @ (0.299, 0.587, 0.114) for image in (whole.image, without.image)]
    assert np.abs(lightness[0] - lightness[1]).mean() < 3


def test_a_canvas_without_what_it_does_not_show_is_the_same_canvas():
    for scene in range(len(PLACES)):
        place = list(PLACES)[scene]
        both = []
        for without in (None, Concept("object", 99, "unicorn")):
            canvas = Canvas(np.random.default_rng([0, 1, scene]), without=without)
            PLACES[place](canvas)
            both.append(canvas.finish())
        assert np.array_equal(both[0][0], both[1][0])
        assert np.array_equal(both[0][0], ul.Scenes(12)[scene].image)


def test_a_person_on_skis_keeps_its_shadow_without_them():
    dark = {}
    for name in (None, "skis", "person"):
        without = next((concept for concept in CONCEPTS if concept.name == name), None)
        canvas = Canvas(np.random.default_rng(0), without=without)
        canvas.box(canvas.mark("sky", "white"), 0, 0, 112, 112)
        life.person(canvas, 56, 80, 40, skis=True)
        dark[name] = (np.asarray(canvas._light) < 128).sum()
    assert 0 < dark[None] < dark["skis"]  # which lay on it
    assert dark["person"] == 0


def test_areas_are_those_of_the_label_planes():
    canvas = drawn_pairs._draw(5, 0)
    areas = dict(zip(CONCEPTS, canvas.areas(), strict=True))
    _, planes = canvas.finish()
    for concept, area in areas.items():
        sampled = (planes[concept.category] == concept.label).mean()
        assert area == pytest.approx(sampled, abs=0.01)


def test_no_scene_is_bare_and_none_is_of_the_other_data(data):
    for pair in data.pairs:
        assert (data[pair.without].planes["color"][0] > 0).all()
    assert len(LEFT_OUT) == len(CONCEPTS) - 6
    assert not any(name in ("sky", "wall", "floor", "black", "white", "grey") for _, _, name in LEFT_OUT)
    assert not np.array_equal(data[0].image, ul.Scenes(1)[0].image)


def test_it_opens_by_its_name(monkeypatch):
    monkeypatch.setattr(drawn_pairs, "LEFT_OUT", LEFT_OUT[3:5])
    data = ul.open_data("bundled:scenes-pairs", images=300, seed=3)
    assert len(data.pairs) == 4
    assert (data.source, data.seed) == ("bundled:scenes-pairs", 3)


@pytest.mark.parametrize(
    ("settings", "facts"),
    [
        ({"pairs": 0}, ["pairs", "0"]),
        ({"size": 8}, ["size", "8"]),
        ({"concepts": ["treee"]}, ["'treee'", "did you mean tree?"]),
        ({"concepts": ["sky"]}, ["sky", "nothing behind it"]),
        ({"concepts": ["grey"]}, ["grey", "no hue"]),
    ],
)
def test_bad_settings(settings, facts):
    with pytest.raises(UnitlensError) as said:
        ScenePairs(**{"pairs": 1, "concepts": ["tree"], **settings})
    assert all(fact in str(said.value) for fact in facts)
