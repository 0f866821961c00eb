"""Networks by name, their preprocessing, layers and fingerprint."""

import sys
import types
import urllib.error
import warnings
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import nn

import unitlens
from unitlens.errors import UnitlensError, UnitlensWarning
from unitlens.network import Network, Preprocessing, classifier, evaluating, load
from unitlens.preprocessing import IMAGENET_MEAN, IMAGENET_STD, Said, decide
from unitlens.zoo import zoo_names

SAID = {"image_size": 8, "mean": (0.5, 0.5, 0.5), "std": (0.25, 0.25, 0.25)}


class Net(nn.Module):
    """Layers in another order than their names, one called twice under two names, one never, one with two outputs."""

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(4, 5)
        self.unused = nn.Conv2d(1, 1, 1)
        self.conv = nn.Conv2d(3, 4, 3, stride=2)
        self.same = self.relu = nn.ReLU()
        self.pool = nn.AdaptiveMaxPool2d(1, return_indices=True)
        self.lists = nn.ModuleList([nn.Dropout(), nn.BatchNorm2d(4)])
        self.register_buffer("hidden", torch.ones(()), persistent=False)

    def forward(self, x):
        x = self.relu(self.lists[1](self.conv(x)))
        x, _ = self.pool(x)
        return self.head(self.same(x).flatten(1))


@pytest.fixture
def net():
    torch.manual_seed(0)
    return Net()


def write(folder, name, text):
    (folder / name).write_text(text)
    return str(folder / name)


NETWORKS = """
import dataclasses
import torch
from torch import nn

import neighbour

class Tiny(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(2, neighbour.OUTPUTS)

@dataclasses.dataclass
class Settings:
    width: "int" = 3

def factory():
    import late_neighbour
    return nn.Linear(2, late_neighbour.OUTPUTS)

made = Tiny()
compiled = torch.compile(made)
number = 3
class Holder:
    inner = Tiny

def needs(argument): ...
def gives_tuple(): return Tiny(), None
def breaks(): raise ValueError("out of order.\\nsecond line")
def leaves(): raise SystemExit(3)
def own_error():
    from unitlens.errors import UnitlensError
    raise UnitlensError("a sentence of its own")
"""


@pytest.fixture
def networks(tmp_path):
    write(tmp_path, "neighbour.py", "OUTPUTS = 7")
    write(tmp_path, "late_neighbour.py", "OUTPUTS = 9")
    return write(tmp_path, "networks.py", NETWORKS)


# ---- by name: files and modules


@pytest.mark.parametrize(("attribute", "outputs"), [("Tiny", 7), ("made", 7), ("compiled", 7), ("Holder.inner", 7)])
def test_a_class_an_instance_and_an_attribute_of_a_file(attribute, outputs, networks):
    net = load(f"{networks}:{attribute}", **SAID)
    assert type(net.model).__name__ == "Tiny"
    assert net.model.linear.out_features == outputs
    assert (net.name, net.weights, net.classes, net.default_layer) == (f"{networks}:{attribute}", None, None, None)


def test_a_function_of_a_file_finds_its_neighbours_when_it_is_called(networks):
    assert load(f"{networks}:factory", **SAID).model.out_features == 9


def test_loading_leaves_the_import_path_as_it_was(networks):
    path, modules = list(sys.path), set(sys.modules)
    load(f"{networks}:factory", **SAID)
    with pytest.raises(UnitlensError):
        load(f"{networks}:breaks", **SAID)
    assert sys.path == path
    assert not {"neighbour", "late_neighbour", "networks"} & (set(sys.modules) - modules)


def test_two_files_of_one_name_have_their_own_neighbours(networks, tmp_path):
    (tmp_path / "other").mkdir()
    write(tmp_path / "other", "neighbour.py", "OUTPUTS = 2")
    other = write(tmp_path / "other", "networks.py", NETWORKS)
    assert load(f"{networks}:Tiny", **SAID).model.linear.out_features == 7
    assert load(f"{other}:Tiny", **SAID).model.linear.out_features == 2


def test_neighbours_in_an_import_path_stay_imported(networks, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in ("neighbour", "late_neighbour"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    load(f"{networks}:Tiny", **SAID)
    assert sys.modules.pop("neighbour").OUTPUTS == 7


def test_a_callable_of_a_module():
    net = load("torch.nn:Sequential", **SAID)
    assert type(net.model) is nn.Sequential


@pytest.mark.parametrize(
    ("attribute", "sentence"),
    [
        ("factry", r"There is no 'factry' in .*networks\.py \(did you mean factory\?\)\.$"),
        (
            "number",
            r"networks\.py:number is a int; it must be a torch\.nn\.Module, or a function without arguments that ret",
        ),
        ("gives_tuple", r"networks\.py:gives_tuple returned a tuple; it must be a torch\.nn\.Module"),
        ("Settings", r"networks\.py:Settings returned a Settings; it must be"),
        (
            "needs",
            r"networks\.py:needs\(\) failed: TypeError: needs\(\) missing 1 required positional argument: 'argument'\.",
        ),
        ("breaks", r"networks\.py:breaks\(\) failed: ValueError: out of order\.$"),
        ("leaves", r"networks\.py:leaves\(\) failed: SystemExit: 3\.$"),
        ("own_error", r"^a sentence of its own$"),
    ],
)
def test_sentences_for_what_is_in_a_file(attribute, sentence, networks):
    with pytest.raises(UnitlensError, match=sentence):
        load(f"{networks}:{attribute}")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            "import nowhere_at_all",
            r"Importing .*bad\.py failed: ModuleNotFoundError: No module named 'nowhere_at_all'\.$",
        ),
        ("def f(:", r"Importing .*bad\.py failed: SyntaxError: invalid syntax"),
        ("raise SystemExit", r"Importing .*bad\.py failed: SystemExit\.$"),
        ("1 / 0", r"Importing .*bad\.py failed: ZeroDivisionError: division by zero\.$"),
    ],
)
def test_sentences_for_files_that_cannot_be_imported(text, sentence, tmp_path):
    modules = set(sys.modules)
    with pytest.raises(UnitlensError, match=sentence):
        load(f"{write(tmp_path, 'bad.py', text)}:f")
    assert not {name for name in set(sys.modules) - modules if "bad" in name}


def test_sentences_for_modules(tmp_path, monkeypatch):
    write(tmp_path, "module_that_breaks.py", "1 / 0")
    write(tmp_path, "module_that_needs.py", "import nowhere_at_all")
    monkeypatch.syspath_prepend(str(tmp_path))
    for spec, sentence in {
        "nowhere.at.all:net": r"There is no module 'nowhere' to import 'nowhere\.at\.all' from; is it installed",
        "torch.nowhere:net": r"There is no module 'torch\.nowhere' to import 'torch\.nowhere' from",
        "torch:nn": r"torch:nn is a module; it must be a torch\.nn\.Module",
        "module_that_breaks:net": r"Importing module_that_breaks failed: ZeroDivisionError: division by zero\.",
        "module_that_needs:net": r"Importing module_that_needs failed: ModuleNotFoundError: No module named 'nowhere",
        "torchvision.models:resnt18": r"There is no 'resnt18' in torchvision\.models \(did you mean resnet18\?\)\.",
        "resnt18": r"There is no network 'resnt18' in torchvision \(did you mean resnet18\?\); a network of another",
        "my/models.py": r"my/models\.py is a file; say which function of it returns the network: my/models\.py:NAME\.",
        f"{tmp_path}/module_that_breks.py:net": r"There is no file '.*' \(did you mean module_that_breaks\.py\?\)\.",
        "bundled:scene": r"There is no network 'bundled:scene'; the one that comes along is bundled:scenes\.",
    }.items():
        with pytest.raises(UnitlensError, match=sentence):
            load(spec, weights="none")


def test_a_module_is_no_name(net):
    with pytest.raises(
        UnitlensError, match=r"loaded by its name, such as 'resnet18', not by a Net; ul\.classifier\(model\)"
    ):
        load(net)


# ---- weights and seeds


def test_a_callables_network_is_as_it_returns_or_gets_the_weights_of_a_file(networks, tmp_path):
    state = {"weight": torch.full((9, 2), 2.0), "bias": torch.zeros(9)}
    save_file(state, tmp_path / "w.safetensors")
    net = load(f"{networks}:factory", weights=tmp_path / "w.safetensors", **SAID)
    assert net.weights == str(tmp_path / "w.safetensors")
    assert torch.equal(net.model.weight, state["weight"])
    taken, untouched = (load(f"{networks}:factory", weights=weights, **SAID) for weights in (None, "none"))
    assert taken.fingerprint() == untouched.fingerprint() != net.fingerprint()
    assert untouched.model.training


def test_default_weights_are_for_networks_by_name(networks):
    with pytest.raises(
        UnitlensError,
        match=r"DEFAULT weights are there for networks of torchvision, timm and Hugging Face, not for .*:factory",
    ):
        load(f"{networks}:factory", weights="DEFAULT")


@pytest.mark.parametrize("spec", ["FILE:factory", "squeezenet1_1"])
def test_random_weights_come_from_the_seed_and_leave_the_generator_alone(spec, networks):
    spec = spec.replace("FILE", networks)
    before = torch.get_rng_state()
    one, same, other = (load(spec, weights="none", seed=seed, **SAID).fingerprint() for seed in (1, 1, 2))
    assert one == same != other
    assert torch.equal(torch.get_rng_state(), before)


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
        "<Network torchvision.models:squeezenet1_1, weights none; pictures 224 x 224, shorter side 256, centre cropped>"
    )


def test_untrained_has_to_be_asked_for():
    sentence = (
        r"^resnet18 without weights would be untrained: ask for torchvision's with --weights DEFAULT \(downloaded\), "
        r"give a file of weights, or say --weights none if untrained is what you want \(weights= in Python\)\.$"
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
    assert repr(net).endswith("1000 classes>")


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


def test_detection_networks_prepare_pictures_themselves():
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

    from unitlens.zoo import _said

    assert len(zoo_names()) >= 98
    for name in zoo_names():
        transforms = models.get_model_weights(name).DEFAULT.transforms()
        preprocessing = decide(_said(nn.Identity(), transforms))
        if name.startswith("efficientnet_b0"):
            assert preprocessing.interpolation == "bicubic"
        if name == "inception_v3":
            assert (preprocessing.image_size, preprocessing.resize) == ((299, 299), 342)


# ---- the network that comes along


@pytest.fixture
def scenes(monkeypatch):
    stand_in = types.ModuleType("unitlens.bundled")
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
    monkeypatch.setitem(sys.modules, "unitlens.bundled", stand_in)
    monkeypatch.setattr(unitlens, "bundled", stand_in, raising=False)
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


# ---- preprocessing


TORCHVISION = Said((224, 224), 256, IMAGENET_MEAN, IMAGENET_STD, "bicubic")
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
def test_what_nobody_says_is_assumed_with_a_warning_at_the_callers_line(given, assumed, net):
    with pytest.warns(
        UnitlensWarning, match=f"so it is assumed: {assumed}; say what is right with --image-size, "
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
            r"shorter side is resized to 100 is too small for a crop of 224 x 224; give a larger --resize",
        ),
        ({"resize": 2.5}, r"resize is 2\.5; it is a whole number of pixels, the shorter side before the crop\."),
        ({"mean": 0.5}, r"mean is 0\.5; it is three numbers, for red, green and blue\."),
        ({"std": "abc"}, r"std is 'abc'; it is three numbers"),
        ({"mean": [1, 2]}, r"mean is \[1, 2\]; it is three numbers"),
        (
            {"std": [1, 0, 1]},
            r"mean \(0\.485, 0\.456, 0\.406\) and std \(1\.0, 0\.0, 1\.0\) must be finite, and std above 0",
        ),
        ({"mean": [1, float("nan"), 1]}, r"must be finite"),
    ],
)
def test_sentences_for_settings(given, sentence):
    with pytest.raises(UnitlensError, match=sentence):
        decide(TORCHVISION, **given)


@given(
    st.tuples(*[st.floats(-1, 1)] * 3),
    st.tuples(*[st.floats(0.1, 2)] * 3),
    st.sampled_from([torch.float32, torch.float64]),
)
def test_normalising_is_its_definition(mean, std, dtype):
    pictures = torch.rand(2, 3, 2, 4, dtype=dtype)
    got = Preprocessing((2, 4), None, mean, std).normalise(pictures)
    assert got.dtype == dtype
    for color in range(3):
        assert torch.allclose(got[:, color], (pictures[:, color] - mean[color]) / std[color], rtol=1e-5, atol=1e-6)


# ---- classifier


def test_a_module_is_wrapped_and_left_alone(net):
    before = {key: value.clone() for key, value in net.state_dict().items()}
    wrapped = classifier(net, classes=["a", "b"], **SAID)
    assert isinstance(wrapped, Network)
    assert wrapped.model is net
    assert net.training
    assert (wrapped.name, wrapped.classes, wrapped.weights) == ("Net", ("a", "b"), None)
    assert classifier(net, name="mine", **SAID).name == "mine"
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())


def test_a_compiled_module_is_unwrapped(net):
    wrapped = classifier(torch.compile(net), **SAID)
    assert wrapped.model is net
    assert wrapped.name == "Net"
    assert wrapped.output_count() == 5


def test_sentences_of_classifier(net):
    with pytest.raises(UnitlensError, match=r"A network is a torch\.nn\.Module, not a str; ul\.load takes a name\."):
        classifier("resnet18")
    with pytest.raises(UnitlensError, match=r"classes is 'cat'; it is a sequence of names, one for each output\."):
        classifier(net, classes="cat", **SAID)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_device_and_number_type_are_those_of_the_parameters(dtype, net):
    wrapped = classifier(net.to(dtype), **SAID)
    assert (wrapped.device, wrapped.dtype) == (torch.device("cpu"), dtype)
    assert wrapped.output_count() == 5
    plain = classifier(nn.ReLU(), **SAID)
    assert (plain.device, plain.dtype) == (torch.device("cpu"), torch.float32)


def test_a_device_that_is_not_there():
    with pytest.raises(UnitlensError, match=r"The device 'toaster' cannot be used here; there is cpu"):
        load("torch.nn:Identity", device="toaster", **SAID)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_a_gpu_that_is_not_there(networks):
    with pytest.raises(UnitlensError, match="The device 'cuda' cannot be used here"):
        load(f"{networks}:Tiny", device="cuda", **SAID)
    with pytest.raises(UnitlensError, match="The device 'cuda' cannot be used here"):
        load("squeezenet1_1", weights="none", device="cuda")


# ---- layers


def test_layers_in_forward_order(net):
    rows = [(i.name, i.kind, i.shape, i.units, i.grid, i.calls) for i in classifier(net, **SAID).layers()]
    assert rows == [
        ("conv", "Conv2d", (4, 3, 3), 4, (3, 3), 1),
        ("lists.1", "BatchNorm2d", (4, 3, 3), 4, (3, 3), 1),
        ("same", "ReLU", (4, 3, 3), 4, (3, 3), 2),
        ("relu", "ReLU", (4, 3, 3), 4, (3, 3), 2),
        ("pool:0", "AdaptiveMaxPool2d", (4, 1, 1), 4, None, 1),
        ("pool:1", "AdaptiveMaxPool2d", (4, 1, 1), 4, None, 1),
        ("head", "Linear", (5,), 5, None, 1),
        ("unused", "Conv2d", None, None, None, 0),
        ("lists", "ModuleList", None, None, None, 0),
        ("lists.0", "Dropout", None, None, None, 0),
    ]


def test_every_name_that_layers_gives_can_be_recorded(net):
    from unitlens.hooks import record

    infos = [info for info in classifier(net, **SAID).layers() if info.shape is not None]
    names = [info.name if info.calls == 1 else f"{info.name}[0]" for info in infos]
    with record(net.eval(), names) as recording:
        net(torch.zeros(1, 3, 8, 8))
    assert [tuple(recording[name].shape[1:]) for name in names] == [info.shape for info in infos]


@pytest.mark.parametrize("training", [False, True])
def test_listing_leaves_the_model_as_it_was(training, net):
    net.train(training)
    net.lists[1].train(not training)
    flags = [module.training for module in net.modules()]
    tensors = {key: value.clone() for key, value in net.state_dict().items()}
    generator = torch.get_rng_state()
    classifier(net, **SAID).layers()
    assert [module.training for module in net.modules()] == flags
    assert all(torch.equal(value, tensors[key]) for key, value in net.state_dict().items())
    assert torch.equal(torch.get_rng_state(), generator)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in net.modules())
    assert torch.is_grad_enabled()


def test_tokens_have_units_and_what_does_not_begin_with_the_pictures_has_none():
    class Tokens(nn.Module):
        def __init__(self):
            super().__init__()
            self.tokens, self.first = nn.Flatten(2), nn.Identity()
            self.time_first = nn.Identity()

        def forward(self, x):
            return self.time_first(self.first(self.tokens(x).transpose(1, 2)).transpose(0, 1))

    net = classifier(Tokens(), **SAID)
    first, time_first = net.layers()[1:]
    assert (first.shape, first.units, first.grid, first.layout) == ((64, 3), 3, (8, 8), "tokens")
    assert (time_first.shape, time_first.units, time_first.grid) == ((64, 1, 3), None, None)
    assert net.output_count() is None


def test_a_picture_that_does_not_go_through_is_one_sentence():
    net = classifier(nn.Sequential(nn.Conv2d(3, 4, 9)), **SAID)
    sentence = (
        r"^A picture of 8 x 8 pixels does not go through this network \(RuntimeError: .*\); if it wants pictures of "
        r"another size, give it with --image-size \(image_size=\)\.$"
    )
    for ask in (net.layers, net.output_count):
        with pytest.raises(UnitlensError, match=sentence):
            ask()
    assert net.model.training


@pytest.mark.filterwarnings("ignore:.*torch.jit:FutureWarning", "ignore:.*torch.jit:DeprecationWarning")
def test_layers_of_torchscript():
    traced = torch.jit.trace(nn.Sequential(nn.Conv2d(3, 4, 1)), torch.ones(1, 3, 8, 8))
    with pytest.raises(UnitlensError, match="the model itself is TorchScript, where no hook can be attached"):
        classifier(traced, **SAID).layers()
    rows = {info.name: info.shape for info in classifier(nn.Sequential(traced, nn.ReLU()), **SAID).layers()}
    assert rows == {"1": (4, 8, 8), "0": None, "0.0": None}


# ---- evaluating


def flags(model):
    return [module.training for module in model.modules()]


@pytest.mark.parametrize("error", [None, ValueError, KeyboardInterrupt])
def test_evaluating_puts_every_flag_back(error, net):
    net.lists[1].eval()
    before = flags(net)
    assert True in before
    assert False in before

    def run():
        with evaluating(net):
            assert not any(flags(net))
            assert torch.is_inference_mode_enabled()
            assert not torch.is_grad_enabled()
            if error is not None:
                raise error

    if error is None:
        run()
    else:
        with pytest.raises(error):
            run()
    assert flags(net) == before
    assert torch.is_grad_enabled()
    assert not torch.is_inference_mode_enabled()


def test_evaluating_does_not_run_what_a_network_does_in_eval():
    class Merging(nn.Linear):
        def train(self, mode=True):
            self.weight.data += 1
            return super().train(mode)

    net = Merging(2, 2)
    before = net.weight.clone()
    with evaluating(net):
        assert not net.training
    assert net.training
    assert torch.equal(net.weight, before)


# ---- fingerprint


def fingerprint(model):
    return classifier(model, **SAID).fingerprint()


def test_a_fingerprint_is_of_names_types_shapes_and_values(net):
    first = fingerprint(net)
    assert len(first) == 64
    assert first == fingerprint(net)
    net.train(not net.training)
    net.to(memory_format=torch.channels_last)
    assert fingerprint(net) == first
    seen = {first}
    for change in (
        lambda: net.conv.weight.data[0, 0, 0, :1].mul_(1.001),
        lambda: net.hidden.add_(1),
        lambda: net.lists[1].num_batches_tracked.add_(1),
        lambda: net.head.to(torch.bfloat16),
        lambda: net.head.to(torch.float16),
        lambda: net.register_parameter("empty", nn.Parameter(torch.zeros(0, 2))),
        lambda: net.register_parameter("empty", nn.Parameter(torch.zeros(0, 3))),
        lambda: net.register_module("renamed", net._modules.pop("unused")),
    ):
        change()
        seen.add(fingerprint(net))
    assert len(seen) == 9


def test_a_fingerprint_is_not_of_the_wrapping_or_the_order(net):
    assert fingerprint(torch.compile(net)) == fingerprint(net)
    first = nn.ModuleDict({"a": net.conv, "b": net.head})
    second = nn.ModuleDict({"b": net.head, "a": net.conv})
    assert fingerprint(first) == fingerprint(second)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU here")
def test_a_fingerprint_is_the_same_on_a_gpu(net):
    assert fingerprint(net) == fingerprint(net.cuda())


# ---- real networks, where they are


MODELS = Path(__file__).parents[2] / "shared" / "data" / "models.py"


@pytest.mark.skipif(not MODELS.exists(), reason="the shared networks are not on this machine")
def test_real_networks():
    weights = MODELS.parent / "weights" / "squeezenet1_0_imagenet.safetensors"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UnitlensWarning)
        returned = load(f"{MODELS}:squeezenet")
    named = load("squeezenet1_0", weights=weights)
    assert named.fingerprint() == returned.fingerprint()
    assert named.output_count() == len(named.classes) == 1000
    assert {info.name: info.units for info in named.layers()}["features.12"] == 512
