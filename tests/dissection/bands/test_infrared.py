"""The bundled example of four bands, end to end: drawn scenes with near infrared, and a network that takes it."""

import numpy as np
import pytest
import torch

import unitlens as ul
from unitlens.data.scenes.words import CATEGORIES


@pytest.fixture(scope="module")
def scenes():
    return ul.Scenes(72, infrared=True)


@pytest.fixture(scope="module")
def found(scenes):
    net = ul.load("bundled:scenes-infrared")
    return net, ul.dissect(net, "relu6", scenes, exemplars=1, evidence=False)


def pixels_of(scenes, category, word, count=36):
    """All pixels of a concept in the first images, (pixels, bands)."""
    label = CATEGORIES[category].index(word) + 1
    examples = [scenes[index] for index in range(count)]
    return np.concatenate([one.image[one.planes[category][0] == label] for one in examples])


def test_leaves_are_bright_and_water_is_dark_in_infrared_whatever_their_colour(scenes):
    leaves, water = (pixels_of(scenes, "material", word) for word in ("foliage", "water"))
    assert leaves[:, 3].mean() > 190
    assert water[:, 3].mean() < 20
    green = leaves[:, 1] > leaves[:, 0]
    assert 0.1 < green.mean() < 0.95  # leaves of many colours
    assert abs(leaves[green, 3].mean() - leaves[~green, 3].mean()) < 15


def test_the_colours_are_those_of_the_scenes_without_infrared(scenes):
    with_it, without = scenes[3], ul.Scenes(72)[3]
    np.testing.assert_array_equal(with_it.image[:, :, :3], without.image)
    assert with_it.image.shape == (112, 112, 4)
    assert all(np.array_equal(with_it.planes[name][0], without.planes[name][0]) for name in CATEGORIES)
    assert repr(scenes).endswith("with infrared)")


def test_the_network_tells_the_scenes_in_grey_with_their_infrared_too(found, scenes):
    net = found[0]
    images = torch.from_numpy(np.stack([scenes[index].image for index in range(72)])).permute(0, 3, 1, 2)
    grey = images.clone()
    grey[:, :3] = (images[:, :3].float().mean(1, keepdim=True)).byte()
    own = torch.arange(72) % 12
    with ul.evaluating(net.model):
        right, right_in_grey = ((net.model(net.prepare(one)).argmax(1) == own).float().mean() for one in (images, grey))
    assert right > 0.85
    assert right_in_grey > 0.6


def test_four_bands_are_dissected_explained_and_shown(found, scenes, tmp_path):
    net, d = found
    assert net.preprocessing.count == 4
    assert d.table()["concept"].notna().sum() > 30
    unit = d.units_for("foliage", n=1)
    effects = ul.ablate(net, "relu6", unit, scenes, limit=24)
    explained = ul.explain(net, d, scenes, names=[scenes[3].name], layer="relu6", top=2, most=0)
    np.testing.assert_array_equal(explained[0].pixels, scenes[3].image[:, :, :3])
    ul.report(tmp_path / "run", d, effects)
    assert ul.open_run(tmp_path / "run").info["network"]["preprocessing"]["mean"][3] == 0.41
    assert ul.open_data("bundled:scenes-infrared", images=3)[0].image.shape == (112, 112, 4)
