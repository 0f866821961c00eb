"""What concept sources mark in drawn images, many at a time."""

from types import MappingProxyType

import numpy as np
import pytest
import torch
from torch import nn

import unitlens as ul
from unitlens.data.concepts import described
from unitlens.data.drawn import DrawnConcepts

IMAGES = np.random.default_rng(0).integers(0, 256, (5, 3, 12, 8)).astype(np.uint8)


class Tables:
    """Marks bright pixels twice over, in planes that share a concept, and the left half; one image at a time."""

    concepts = (ul.Concept("light", 1, "red"), ul.Concept("light", 7, "bright"), ul.Concept("side", 2, "left"))

    def planes(self, image, name):
        red, bright = image[..., 0] > 128, image.sum(-1) > 400
        left = np.arange(8) < 4
        twice = [np.where(red, 1, 0), np.where(bright, 7, np.where(red, 1, 0))]
        return {"light": [plane.astype(np.uint8) for plane in twice], "side": [np.tile(left * 2, (12, 1))]}


def test_areas_are_what_loops_over_pixels_count():
    drawn = DrawnConcepts.of([Tables(), ul.Colors()])
    marked = drawn.maps(IMAGES)
    areas = drawn.areas(marked)
    assert (drawn.positions(marked) == 96).all()
    (of_side,) = drawn.maps(IMAGES, of="side")
    assert of_side.category == "side"
    assert np.array_equal(of_side.maps, marked[1].maps)
    for number, image in enumerate(IMAGES.transpose(0, 2, 3, 1)):
        planes = Tables().planes(image, "") | ul.Colors().planes(image, "")
        for c, concept in enumerate(drawn.concepts):
            area = np.logical_or.reduce([plane == concept.label for plane in planes[concept.category]]).sum()
            assert areas[number, c] == area, concept


def test_a_segmenter_labels_many_images_as_it_labels_each():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.Dropout())
    for options in ({}, {"confidence": 0.4}, {"size": 16}):
        source = ul.segmenter(network, labels=["nothing", "a", "b", None], cache=None, **options)
        pixels = IMAGES.transpose(0, 2, 3, 1)
        each = [source.planes(image, "")["object"][0] for image in pixels]
        assert np.array_equal(source.planes_of(pixels)["object"][0], np.stack(each))
    one_by_one = ul.segmenter(network.eval().forward, labels=["nothing", "a", "b", None], cache=None)
    assert np.array_equal(one_by_one.planes_of(pixels)["object"][0].shape, (5, 12, 8))


def test_a_source_may_say_how_good_its_marks_are():
    class Measured(Tables):
        ious = MappingProxyType({("light", "red"): 0.25, ("side", "left"): 1.0})

    drawn = DrawnConcepts.of([Measured(), ul.Colors()])
    assert drawn.ious()[:3].tolist() == pytest.approx([0.25, np.nan, 1.0], nan_ok=True)
    assert np.isnan(drawn.ious()[3:]).all()
    scenes = ul.with_concepts(ul.Scenes(2), Measured())
    assert described(scenes).ious == Measured.ious
    assert described(ul.latents(np.zeros((2, 3)), masks=scenes)).ious == Measured.ious
    Measured.ious = {("light", "red"): 1.5}
    with pytest.raises(ul.UnitlensError, match=r"an IoU of 1\.5 with light/red"):
        drawn.ious()


def test_a_concept_is_found_by_name_or_refused():
    drawn = DrawnConcepts.of([Tables(), ul.Colors()])
    assert drawn.index_of("bright") == 1
    assert drawn.index_of("color/red") == drawn.index_of(ul.Concept("color", 9, "red"))
    with pytest.raises(ul.UnitlensError, match=r"several categories: say light/red or color/red"):
        drawn.index_of("red")
    with pytest.raises(ul.UnitlensError, match=r"does not know the concept 'brigt'.*bright"):
        drawn.index_of("brigt")
    with pytest.raises(ul.UnitlensError, match=r"ul\.segmenter"):
        DrawnConcepts.of([])
    with pytest.raises(ul.UnitlensError, match="A str is not a concept source"):
        DrawnConcepts.of(["colors"])
