"""Torchvision's networks by name, and the one that comes along."""

import sys
import types
import urllib.error

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

import unitlens.models.bundled
from unitlens.errors import UnitlensError
from unitlens.models.loading import classifier, load
from unitlens.models.preprocessing import IMAGENET_MEAN, IMAGENET_STD, Preprocessing, decide
from unitlens.models.torchvision import zoo_names

SAID = {"image_size": 8, "mean": (0.5, 0.5, 0.5), "std": (0.25, 0.25, 0.25)}


# ---- torchvision


@pytest.mark.parametrize(
    "spec", ["squeezenet1_1", "torchvision.models:squeezenet1_1", "torchvision.models.squeezenet:squeezenet1_1"]
)
def test_torchvision_networks_by_all_their_names(spec):
    net = load(spec, weights="none")
    assert (net.name, net.weights, net.classes) == ("torchvision.models:squeezenet1_1", "none", None)
    assert net.preprocessing == Preprocessing((224, 224), 256, IMAGENET_MEAN, IMAGENET_STD)
    assert not net.model.training
    assert repr(net) == (
        "<Network torchvision.models:squeezenet1_1, weights none; images 224 x 224, shorter side 256, centre cropped>"
    )


def test_untrained_has_to_be_asked_for():
    sentence = (
        r"^resnet18 without weights would be untrained: ask for the published ones "
        r"with weights='DEFAULT' \(downloaded\), "
        r"give a file of weights, or say weights='none' if untrained is what you want\.$"
    )
    with pytest.raises(UnitlensError, match=sentence):
        load("resnet18")


@pytest.fixture
def downloads(monkeypatch):
    """Let torchvision's downloads answer from a list: states to return or errors to raise; and note what was asked."""
    from torchvision.models import _api

    answers, asked = [], []

    def answer(url, *args, **kwargs):
        asked.append(url)
        found = answers.pop(0)
        if isinstance(found, Exception):
            raise found
        return found

    monkeypatch.setattr(_api, "load_state_dict_from_url", answer)
    return answers, asked


@pytest.mark.parametrize("weights", ["DEFAULT", "IMAGENET1K_V1"])
def test_default_weights_are_downloaded_when_asked_for(weights, downloads):
    answers, asked = downloads
    wanted = load("squeezenet1_1", weights="none", seed=5)
    answers.append(wanted.model.state_dict())
    net = load("squeezenet1_1", weights=weights)
    assert len(asked) == 1
    assert net.fingerprint() == wanted.fingerprint()
    assert len(net.classes) == 1000
    assert net.classes[0] == "tench"
    assert repr(net).endswith("1,000 classes>")


def test_a_failed_download_is_one_sentence(downloads):
    answers, _ = downloads
    answers.append(urllib.error.URLError("no route"))
    sentence = r"^The weights IMAGENET1K_V1 of squeezenet1_1 could not be had from https://\S+ \(URLError: .*no route"
    with pytest.raises(UnitlensError, match=sentence):
        load("squeezenet1_1", weights="DEFAULT")


@pytest.mark.parametrize(
    ("name", "module"), [("lraspp_mobilenet_v3_large", "segmentation"), ("ssdlite320_mobilenet_v3_large", "detection")]
)
def test_segmentation_and_detection_networks_download_nothing_unasked(name, module, downloads):
    net = load(name, weights="none")
    assert downloads[1] == []
    assert net.name == f"torchvision.models.{module}:{name}"


def test_detection_networks_prepare_images_themselves():
    preprocessing = load("ssdlite320_mobilenet_v3_large", weights="none").preprocessing
    assert preprocessing == Preprocessing((320, 320), None, (0, 0, 0), (1, 1, 1))


def test_a_file_of_weights_has_imagenets_classes(tmp_path):
    trained = load("squeezenet1_1", weights="none", seed=3)
    torch.save({"state_dict": trained.model.state_dict()}, tmp_path / "w.pth")
    net = load("squeezenet1_1", weights=tmp_path / "w.pth")
    assert net.fingerprint() == trained.fingerprint()
    assert len(net.classes) == 1000
    assert net.preprocessing.resize == 256


def test_weights_of_another_network(tmp_path):
    torch.save(nn.Linear(2, 2).state_dict(), tmp_path / "w.pth")
    with pytest.raises(
        UnitlensError, match=r"w\.pth does not fit this SqueezeNet: 52 keys are missing .* unexpected \(weight"
    ):
        load("squeezenet1_1", weights=tmp_path / "w.pth")


@pytest.mark.parametrize("auxiliary", [False, True])
def test_googlenets_own_weights_get_the_input_they_were_trained_with(auxiliary, tmp_path):
    from torchvision.models import googlenet

    original = googlenet(weights=None, aux_logits=auxiliary, init_weights=False)
    save_file(original.state_dict(), tmp_path / "w.safetensors")
    net = load("googlenet", weights=tmp_path / "w.safetensors")
    assert net.model.transform_input
    assert net.fingerprint() == classifier(original, **SAID).fingerprint()


def test_what_every_torchvision_network_says_is_a_preprocessing():
    from torchvision import models

    from unitlens.models.torchvision import _declared

    assert len(zoo_names()) >= 98
    for name in zoo_names():
        transforms = models.get_model_weights(name).DEFAULT.transforms()
        preprocessing = decide(_declared(nn.Identity(), transforms))
        if name.startswith("efficientnet_b0"):
            assert preprocessing.interpolation == "bicubic"
        if name == "inception_v3":
            assert (preprocessing.image_size, preprocessing.resize) == ((299, 299), 342)


# ---- the network that comes along


@pytest.fixture
def scenes(monkeypatch):
    stand_in = types.ModuleType("unitlens.models.bundled.scenes")
    calls = []

    def scene_net(*, weights=None, seed=0):
        calls.append((weights, seed))
        return nn.Linear(2, 2)

    vars(stand_in).update(
        scene_net=scene_net,
        CLASSES=("beach", "farm"),
        IMAGE_SIZE=112,
        MEAN=(0.4,) * 3,
        STD=(0.2,) * 3,
        DEFAULT_LAYER="r",
    )
    monkeypatch.setitem(sys.modules, "unitlens.models.bundled.scenes", stand_in)
    monkeypatch.setattr(unitlens.models.bundled, "scenes", stand_in, raising=False)
    return calls


def test_the_bundled_network_is_trained_or_freshly_drawn(scenes, tmp_path):
    save_file({"weight": torch.ones(2, 2), "bias": torch.ones(2)}, tmp_path / "w.safetensors")
    for weights in (None, "DEFAULT", "none", tmp_path / "w.safetensors"):
        net = load("bundled:scenes", weights=weights, seed=4)
        assert (net.name, net.default_layer, net.classes) == ("bundled:scenes", "r", ("beach", "farm"))
        assert net.preprocessing == Preprocessing((112, 112), None, (0.4,) * 3, (0.2,) * 3)
    assert scenes == [(None, 4), (None, 4), ("none", 4), ("none", 4)]
    assert net.model.weight.sum() == 4


def test_the_bundled_network_itself():
    net = load("bundled:scenes", weights="none")
    infos = {info.name: info for info in net.layers()}
    assert infos[net.default_layer].units >= 96
    assert min(infos[net.default_layer].grid) >= 7
    assert net.output_count() == len(net.classes)
