import json

import pytest
import torch
from torch import nn

import unitlens as ul
from tests.worlds.planted import ColourNet, ColourWorld
from unitlens.models.hubs import declared_by_processor
from unitlens.models.preprocessing import Declared


@pytest.fixture(scope="module")
def vit_folder(tmp_path_factory):
    transformers = pytest.importorskip("transformers")
    folder = tmp_path_factory.mktemp("hub") / "tiny"
    config = transformers.ViTConfig(
        **{"hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16},
        **{"image_size": 32, "patch_size": 8, "id2label": {0: "cat", 1: "dog", 2: "tree"}},
        attn_implementation="eager",
    )
    torch.manual_seed(3)
    transformers.ViTForImageClassification(config).save_pretrained(folder)
    said = {"size": {"height": 32, "width": 32}, "image_mean": [0.5] * 3, "image_std": [0.25] * 3, "resample": 3}
    (folder / "preprocessor_config.json").write_text(json.dumps(said))
    return folder


def test_a_folder_of_hugging_face(vit_folder):
    net = ul.load(f"hf:{vit_folder}")
    assert net.classes == ("cat", "dog", "tree")
    assert net.preprocessing == ul.Preprocessing((32, 32), None, (0.5,) * 3, (0.25,) * 3, "bicubic")
    infos = {info.name: info for info in net.layers()}
    assert (infos["vit"].units, infos["vit"].grid, infos["vit"].layout) == (8, (4, 4), "tokens")
    assert net.output_count() == 3
    assert not net.model.training


def test_weights_of_hugging_face_are_its_own_none_or_a_files(vit_folder, tmp_path):
    own = ul.load(f"hf:{vit_folder}")
    drawn, same = (ul.load(f"hf:{vit_folder}", weights="none", seed=1) for _ in range(2))
    torch.save(own.model.state_dict(), tmp_path / "w.pt")
    file = ul.load(f"hf:{vit_folder}", weights=tmp_path / "w.pt", seed=1)
    assert own.fingerprint() == file.fingerprint() != drawn.fingerprint() == same.fingerprint()
    assert drawn.classes is None


def test_without_a_preprocessor_the_configuration_says_the_size(vit_folder, tmp_path):
    for name in ("config.json", "model.safetensors"):
        (tmp_path / name).write_bytes((vit_folder / name).read_bytes())
    with pytest.warns(ul.UnitlensWarning, match="assumed: ImageNet's mean, ImageNet's std"):
        net = ul.load(f"hf:{tmp_path}")
    assert net.preprocessing.image_size == (32, 32)


def test_heads_are_units_where_the_module_gives_their_maps(vit_folder):
    model = pytest.importorskip("transformers").AutoModel.from_pretrained(vit_folder, attn_implementation="eager")
    net = ul.classifier(model, image_size=32, mean=(0, 0, 0), std=(1, 1, 1))
    info = next(info for info in net.layers() if info.layout == "attention")
    assert (info.shape, info.units, info.grid) == ((2, 17, 17), 2, (4, 4))
    with pytest.warns(ul.UnitlensWarning, match="1 of 17 tokens, in front, is no patch"):
        d = ul.dissect(net, info.name, ColourWorld(16), evidence=False, exemplars=0)
    assert len(d.table()) == 2


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        (
            "nobody/of-this-name",
            r"hf:nobody/of-this-name is neither a folder nor in the cache \(.*\); ",
        ),
        ("EMPTY", r"is no folder that save_pretrained wrote \(.*\); nothing is downloaded unless weights='DEFAULT'"),
    ],
)
def test_sentences_of_hugging_face(name, sentence, tmp_path):
    pytest.importorskip("transformers")
    with pytest.raises(ul.UnitlensError, match=sentence):
        ul.load(f"hf:{tmp_path if name == 'EMPTY' else name}")


def test_pickled_weights_of_hugging_face_stay_closed(vit_folder, tmp_path):
    (tmp_path / "config.json").write_bytes((vit_folder / "config.json").read_bytes())
    torch.save({"a": torch.zeros(1)}, tmp_path / "pytorch_model.bin")
    with pytest.raises(ul.UnitlensError, match="weights are read from safetensors only"):
        ul.load(f"hf:{tmp_path}")


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (
            {"size": {"shortest_edge": 256}, "crop_size": {"height": 224, "width": 224}, "image_mean": [0, 0, 1]},
            Declared((224, 224), 256, (0.0, 0.0, 1.0), None),
        ),
        ({"size": 224, "resample": 3}, Declared((224, 224), None, None, None, "bicubic")),
        ({"size": {"shortest_edge": 224}, "crop_pct": 0.875}, Declared((224, 224), 256)),
        ({"size": {"shortest_edge": 384}, "crop_pct": 0.875}, Declared((384, 384), 384)),
        ({"size": [240, 320], "do_normalize": False}, Declared((240, 320), None, (0.0,) * 3, (1.0,) * 3)),
        ({"size": {"height": 256, "width": 256}, "crop_size": 224, "do_center_crop": True}, Declared((224, 224), 256)),
        ({"size": {"height": 96, "width": 96}, "crop_size": 224, "do_center_crop": False}, Declared((96, 96))),
        ({}, Declared((64, 64))),
    ],
)
def test_what_a_preprocessor_says(found, said):
    assert declared_by_processor(found, (64, 64)) == said


# ---- timm


def test_a_network_of_timm_with_its_own_preprocessing():
    pytest.importorskip("timm")
    net = ul.load("timm:vit_tiny_patch16_224", weights="none")
    assert net.preprocessing == ul.Preprocessing((224, 224), 248, (0.5,) * 3, (0.5,) * 3, "bicubic")
    infos = {info.name: info for info in net.layers()}
    assert (infos["blocks.11"].units, infos["blocks.11"].grid, infos["blocks.11"].layout) == (192, (14, 14), "tokens")
    assert net.classes is None


def test_a_network_of_timm_with_the_weights_of_a_file_has_imagenets_classes(tmp_path):
    timm = pytest.importorskip("timm")
    torch.manual_seed(1)
    state = timm.create_model("mobilenetv3_small_050", pretrained=False).state_dict()
    torch.save(state, tmp_path / "w.pt")
    net = ul.load("timm:mobilenetv3_small_050", weights=tmp_path / "w.pt")
    assert net.classes[282] == "tiger cat"
    assert torch.equal(net.model.state_dict()["conv_stem.weight"], state["conv_stem.weight"])


@pytest.mark.parametrize(
    ("name", "weights", "sentence"),
    [
        ("resnet18x", "none", r"There is no network 'resnet18x' in timm \(did you mean resnet18\?\)\."),
        ("resnet18", None, "timm:resnet18 without weights would be untrained"),
    ],
)
def test_sentences_of_timm(name, weights, sentence):
    pytest.importorskip("timm")
    with pytest.raises(ul.UnitlensError, match=sentence):
        ul.load(f"timm:{name}", weights=weights)


def test_published_weights_of_timm_that_cannot_be_had(monkeypatch):
    timm = pytest.importorskip("timm")

    def fail(name, pretrained):
        assert pretrained
        raise OSError("no connection")

    monkeypatch.setattr(timm, "create_model", fail)
    with pytest.raises(ul.UnitlensError, match=r"weights of timm:resnet18 could not be had \(OSError: no connection\)"):
        ul.load("timm:resnet18", weights="DEFAULT")


@pytest.mark.parametrize(("hub", "package"), [("timm", "timm"), ("hf", "transformers")])
def test_a_package_that_is_not_installed(hub, package, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, package, None)
    with pytest.raises(ul.UnitlensError, match=rf"needs the package {package} .*pip install 'unitlens\[{hub}\]'"):
        ul.load(f"{hub}:a", weights="none")


# ---- modules from Python, TorchScript and exported programs


@pytest.fixture(scope="module")
def exported():
    model = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()
    images = torch.randn(2, 3, 16, 16)
    batch = torch.export.Dim("batch", min=1, max=64)
    return model, images, torch.export.export(model, (images,), dynamic_shapes=({0: batch},))


def test_an_exported_program_is_taken_apart_into_its_modules(exported):
    model, images, program = exported
    net = ul.classifier(program, image_size=16, mean=(0,) * 3, std=(1,) * 3)
    assert [(info.name, info.units, info.grid) for info in net.layers()][:2] == [("0", 4, (16, 16)), ("1", 4, (16, 16))]
    with ul.record(model, "1") as expected, ul.record(net.model, "1") as found, torch.no_grad():
        model(images), net.model(images)
    assert torch.equal(found["1"], expected["1"])


def test_a_function_that_loads_an_exported_program(exported, tmp_path, monkeypatch):
    torch.export.save(exported[2], tmp_path / "net.pt2")
    (tmp_path / "own.py").write_text("import torch\ndef net():\n    return torch.export.load('net.pt2')\n")
    monkeypatch.chdir(tmp_path)
    net = ul.load("own.py:net", image_size=16, mean=(0, 0, 0), std=(1, 1, 1))
    assert [info.name for info in net.layers()][:2] == ["0", "1"]


def test_an_exported_program_of_a_fixed_batch_is_one_sentence(exported):
    program = torch.export.export(exported[0], (exported[1],))
    net = ul.classifier(program, image_size=16, mean=(0,) * 3, std=(1,) * 3)
    sentence = r"This program was exported for a fixed number of images, 2, and was given {}: export it with .*dynamic"
    with pytest.raises(ul.UnitlensError, match=sentence.format(1)):
        net.layers()
    with pytest.raises(ul.UnitlensError, match=sentence.format(4)):
        ul.dissect(net, "1", ColourWorld(8), batch_size=4)


def test_a_compiled_network_is_dissected():
    net = ul.classifier(torch.compile(ColourNet().eval()), image_size=32, mean=(0, 0, 0), std=(1, 1, 1))
    d = ul.dissect(net, "conv", ColourWorld(32), evidence=False, exemplars=0, quantile=0.1)
    plain = ul.classifier(ColourNet().eval(), image_size=32, mean=(0, 0, 0), std=(1, 1, 1))
    expected = ul.dissect(plain, "conv", ColourWorld(32), evidence=False, exemplars=0, quantile=0.1)
    assert d.table()["concept"].tolist() == expected.table()["concept"].tolist()


@pytest.mark.parametrize("name", ["net.pt2", "net.onnx", "model.safetensors"])
def test_a_file_is_no_network(name):
    with pytest.raises(
        ul.UnitlensError, match=rf"{name} is not the name of a network; give a file of weights as weights="
    ):
        ul.load(name, weights="none")


@pytest.mark.filterwarnings("ignore:.*torch.jit:FutureWarning", "ignore:.*torch.jit:DeprecationWarning")
def test_torchscript_is_one_sentence():
    scripted = torch.jit.trace(ColourNet().eval(), torch.ones(1, 3, 32, 32))
    net = ul.classifier(scripted, image_size=32, mean=(0, 0, 0), std=(1, 1, 1))
    with pytest.raises(ul.UnitlensError, match="conv is TorchScript, where no hook can be attached"):
        ul.dissect(net, "conv", ColourWorld(8))
