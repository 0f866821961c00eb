import numpy as np
import pytest
import torch

import unitlens as ul
from benchmarks.training import segmenter as training
from unitlens.data.concepts import ConceptSource
from unitlens.data.opening import open_data
from unitlens.data.scenes.words import CATEGORIES
from unitlens.data.segmentation.accuracy import segmenter_iou
from unitlens.data.segmentation.scenes import SceneLabels
from unitlens.errors import UnitlensError
from unitlens.models.bundled.scenes_segmenter import LABELLED, WEIGHTS, ScenesSegmenter


@pytest.fixture(scope="module")
def source():
    return SceneLabels.bundled()


@pytest.fixture(scope="module")
def images():
    data = ul.Scenes(24, size=64)
    return np.stack([data[i].image for i in range(len(data))])


def test_its_concepts_are_the_objects_parts_and_materials_of_the_scenes(source):
    assert isinstance(source, ConceptSource)
    assert set(source.concepts) == {c for c in ul.Scenes(1).concepts if c.category != "color"}
    assert {category: len(CATEGORIES[category]) for category in LABELLED} == dict(LABELLED)
    assert WEIGHTS.stat().st_size < 4e6


def test_many_images_are_marked_as_one_by_one(source, images):
    together = source.planes_of(images)
    for i in (0, 7):
        for category, (maps,) in source.planes(images[i], "").items():
            assert maps.dtype == np.uint8
            assert maps.shape == (64, 64)
            assert (maps != together[category][0][i]).mean() < 1e-3


def test_probabilities_agree_with_labels_and_pass_gradients(source, images):
    pixels = torch.from_numpy(images[:4]).permute(0, 3, 1, 2).float().div(255).requires_grad_()
    likely = source.probabilities(pixels)
    assert likely.shape == (4, len(source.concepts), 64, 64)
    assert float(likely.detach().min()) >= 0
    objects = [i for i, concept in enumerate(source.concepts) if concept.category == "object"]
    certain = likely.detach()[:, objects].max(1)
    labels = torch.from_numpy(source.planes_of(images[:4])["object"][0])
    sure = certain.values > 0.5
    assert torch.equal(labels[sure].long() - 1, certain.indices[sure])
    likely[:, source.concepts.index(next(c for c in source.concepts if c.name == "sea"))].sum().backward()
    assert pixels.grad.abs().sum() > 0


@pytest.mark.parametrize(
    ("height", "width", "rows", "columns"), [(60, 77, 60, 77), (224, 336, 112, 168), (16, 16, 16, 16)]
)
def test_images_of_any_size_are_marked_whole(source, height, width, rows, columns):
    image = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    assert {maps[0].shape for maps in source.planes(image, "").values()} == {(rows, columns)}


@pytest.mark.slow
def test_it_finds_what_is_drawn_about_as_well_as_its_table_says(source):
    rows = {
        (row.concept.category, row.concept.name): row for row in segmenter_iou(source, ul.Scenes(120, size=64), grid=64)
    }
    for key in (("object", "sea"), ("object", "sky"), ("object", "wall"), ("material", "snow"), ("object", "tree")):
        assert source.ious[key] > 0.5
        assert abs(rows[key].iou - source.ious[key]) < 0.15


def test_it_is_a_concept_source_by_name(images):
    for name in ("bundled:scenes-segmenter", "segmenter:bundled:scenes-segmenter"):
        data = open_data("bundled:scenes", images=2, concepts=[name])
        assert set(data[0].planes) == set(LABELLED)
    assert isinstance(ul.segmenter("bundled:scenes-segmenter"), SceneLabels)


def test_settings_of_other_segmenters_are_refused():
    with pytest.raises(UnitlensError, match="confidence"):
        ul.segmenter("bundled:scenes-segmenter", confidence=0.5)
    with pytest.raises(UnitlensError, match="category"):
        ul.segmenter("bundled:scenes-segmenter", category="thing")


def test_batch_norms_are_folded_into_the_same_function():
    torch.manual_seed(0)
    net = training.with_norms(ScenesSegmenter())
    pixels = torch.rand(4, 3, 64, 64)
    with torch.no_grad():
        net(pixels)
        net.eval()
        for one, other in zip(net(pixels), training.folded(net)(pixels), strict=True):
            torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-3)


def test_overlaps_are_those_of_all_pixels():
    net = ScenesSegmenter()
    images, planes = training.drawn(6, "test")
    ious = training.overlaps(net, images, planes, 64)
    labels = training.sampled(planes, 64)
    with torch.no_grad():
        said = net(training.reduced(images, 64))[0].argmax(1)
    label = int(said.flatten().bincount()[1:].argmax()) + 1
    expected = ((said == label) & (labels[:, 0] == label)).sum() / ((said == label) | (labels[:, 0] == label)).sum()
    assert ious["object"][label - 1] == pytest.approx(float(expected))
