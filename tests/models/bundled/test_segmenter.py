"""The bundled segmenter as a network: objects of drawn scenes, as torchvision's segmenters return them."""

import pytest
import torch

import unitlens as ul
from unitlens.models.bundled.scenes_segmenter import scenes_segmenter


def test_it_returns_the_scores_of_objects_by_their_names():
    net = ul.load("bundled:scenes-segmenter", image_size=64)
    images = net.example_inputs(2)
    with ul.evaluating(net.model), torch.inference_mode():
        outputs, every = net.model(images), scenes_segmenter()(images)
    assert net.default_layer == "down8"
    assert list(outputs) == ["out"]
    assert torch.equal(outputs["out"], every[0])
    objects = [concept.name for concept in ul.Scenes(1).concepts if concept.category == "object"]
    assert net.classes == ("nothing", *objects)


def test_it_is_trained_or_freshly_drawn():
    trained, fresh = (ul.load("bundled:scenes-segmenter", weights=weights) for weights in (None, "none"))
    assert trained.fingerprint() != fresh.fingerprint()


@pytest.mark.slow
def test_its_iou_with_the_scenes_own_masks_is_about_as_recorded():
    net = ul.load("bundled:scenes-segmenter", image_size=64)
    effects = ul.outcome_effects(net, "down8", ul.Scenes(48), ["iou:tree", "iou:sky"], units=list(range(160)), draws=0)
    assert effects.info["replay"]["replays"]
    assert (effects.tally.change().before > 0.6).all()
    assert (effects.effect("iou:tree") < -0.1).all()
