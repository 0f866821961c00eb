"""What happens to an image, and who says so."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.models.odd_network import Net
from unitlens.errors import UnitlensError, UnitlensWarning
from unitlens.models.loading import classifier, load
from unitlens.models.preprocessing import IMAGENET_MEAN, IMAGENET_STD, Declared, Preprocessing, decide

SAID = {"image_size": 8, "mean": (0.5, 0.5, 0.5), "std": (0.25, 0.25, 0.25)}


@pytest.fixture
def net():
    torch.manual_seed(0)
    return Net()


# ---- preprocessing


TORCHVISION = Declared((224, 224), 256, IMAGENET_MEAN, IMAGENET_STD, "bicubic")
HALF = (0.5, 0.5, 0.5)


@pytest.mark.parametrize(
    ("given", "size", "resize"),
    [
        ({}, (224, 224), 256),
        ({"image_size": 128}, (128, 128), None),
        ({"image_size": (96, 128)}, (96, 128), None),
        ({"image_size": 128, "resize": 140}, (128, 128), 140),
        ({"resize": 300}, (224, 224), 300),
    ],
)
def test_the_size_is_the_users_else_the_networks(given, size, resize):
    got = decide(TORCHVISION, **given)
    assert got == Preprocessing(size, resize, IMAGENET_MEAN, IMAGENET_STD, "bicubic")


def test_mean_and_std_are_the_users_else_the_networks():
    assert decide(TORCHVISION, mean=[0, 0, 0]) == Preprocessing((224, 224), 256, (0, 0, 0), IMAGENET_STD, "bicubic")
    assert decide(TORCHVISION, std=HALF) == Preprocessing((224, 224), 256, IMAGENET_MEAN, HALF, "bicubic")


@pytest.mark.parametrize(
    ("given", "assumed"),
    [
        ({}, "224 x 224 pixels, ImageNet's mean, ImageNet's std"),
        ({"image_size": 32}, "ImageNet's mean, ImageNet's std"),
        ({"mean": HALF, "std": HALF}, "224 x 224 pixels"),
        ({"image_size": 32, "mean": HALF}, "ImageNet's std"),
    ],
)
def test_what_is_not_given_is_assumed_with_a_warning_at_the_callers_line(given, assumed, net):
    with pytest.warns(
        UnitlensWarning, match=f"so it is assumed: {assumed}; say what is right with image_size=, "
    ) as caught:
        preprocessing = classifier(net, **given).preprocessing
    assert caught[0].filename == __file__
    assert preprocessing.image_size == ((32, 32) if "image_size" in given else (224, 224))
    assert preprocessing.resize is None
    assert preprocessing.mean == given.get("mean", IMAGENET_MEAN)
    with pytest.warns(UnitlensWarning) as caught:
        load("torch.nn:Identity", **given)
    assert caught[0].filename == __file__


@pytest.mark.parametrize(
    ("config", "size", "resize", "style"),
    [
        ({"input_size": (3, 224, 224), "crop_pct": 0.875, "interpolation": "bicubic"}, (224, 224), 256, "bicubic"),
        ({"input_size": (3, 240, 240), "crop_pct": 0.9, "interpolation": "bilinear"}, (240, 240), 266, "bilinear"),
        ({"input_size": (3, 224, 224), "crop_pct": 1.0, "interpolation": "lanczos"}, (224, 224), 224, "bilinear"),
        ({"input_size": (3, 96, 64), "crop_pct": 0.9, "crop_mode": "squash"}, (96, 64), None, "bilinear"),
        ({"input_size": (3, 224, 224)}, (224, 224), None, "bilinear"),
    ],
)
@pytest.mark.parametrize("attribute", ["default_cfg", "pretrained_cfg"])
def test_a_network_speaks_for_itself_as_timms_do(attribute, config, size, resize, style, net):
    setattr(net, attribute, {**config, "mean": HALF, "std": (0.1, 0.2, 0.3)})
    assert classifier(net).preprocessing == Preprocessing(size, resize, HALF, (0.1, 0.2, 0.3), style)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"image_size": 0}, r"The image size is 0 x 0; both sides must be at least 1 pixel\."),
        ({"image_size": 2.5}, r"image_size is 2\.5; it is a number of pixels, or \(height, width\)\."),
        ({"image_size": True}, r"image_size is True; it is a number of pixels"),
        ({"image_size": (1, 2, 3)}, r"image_size is \(1, 2, 3\); it is"),
        ({"image_size": "ab"}, r"image_size is 'ab'; it is"),
        (
            {"resize": 100},
            r"shorter side is resized to 100 is too small for a crop of 224 x 224; give a larger resize=",
        ),
        ({"resize": 2.5}, r"resize is 2\.5; it is a whole number of pixels, the shorter side before the crop\."),
        ({"mean": 0.5}, r"mean is 0\.5; it is numbers, one for each band"),
        ({"std": "abc"}, r"std is 'abc'; it is numbers"),
        ({"mean": [1, 2]}, r"mean= has 2 numbers, and the network takes 3 bands"),
        (
            {"std": [1, 0, 1]},
            r"mean \(0\.485, 0\.456, 0\.406\) and std \(1\.0, 0\.0, 1\.0\) must be finite, and std above 0",
        ),
        ({"mean": [1, float("nan"), 1]}, r"it is a finite number"),
    ],
)
def test_sentences_for_settings(given, sentence):
    with pytest.raises(UnitlensError, match=sentence):
        decide(TORCHVISION, takes=3, **given)


@given(
    st.tuples(*[st.floats(-1, 1)] * 3),
    st.tuples(*[st.floats(0.1, 2)] * 3),
    st.sampled_from([torch.float32, torch.float64]),
)
def test_normalising_is_its_definition(mean, std, dtype):
    images = torch.rand(2, 3, 2, 4, dtype=dtype)
    got = Preprocessing((2, 4), None, mean, std).normalise(images)
    assert got.dtype == dtype
    for color in range(3):
        assert torch.allclose(got[:, color], (images[:, color] - mean[color]) / std[color], rtol=1e-5, atol=1e-6)
