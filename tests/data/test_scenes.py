import hashlib

import numpy as np
import pytest
import torch

from benchmarks.training import scenes as training
from unitlens.data.concepts import Data
from unitlens.data.scenes import staging
from unitlens.data.scenes.canvas import Canvas
from unitlens.data.scenes.textures import textures
from unitlens.data.scenes.words import CATEGORIES, COLORS, MATERIALS, PALETTE
from unitlens.data.scenes.world import Scenes
from unitlens.errors import UnitlensError
from unitlens.models.bundled import scenes as bundled


def digest(example):
    parts = [example.image, *(plane for planes in example.planes.values() for plane in planes)]
    return hashlib.sha256(b"".join(part.tobytes() for part in parts)).hexdigest()


@pytest.fixture(scope="module")
def some():
    data = Scenes(360)
    return [data[i] for i in range(len(data))]


def test_it_is_a_data_set():
    data = Scenes(30, seed=3, split="train")
    assert isinstance(data, Data)
    assert len(data) == 30
    assert repr(data) == "Scenes(30 images of 112 x 112, 12 classes, seed 3, split 'train')"
    assert data.classes == bundled.CLASSES


def test_an_index_beyond_the_end_stops_iteration():
    assert len(list(Scenes(3))) == 3
    with pytest.raises(IndexError):
        Scenes(3)[3]


def test_images_depend_on_seed_split_and_index_alone():
    forwards = [digest(Scenes(8)[i]) for i in range(8)]
    longer = Scenes(5000)
    assert [digest(longer[i]) for i in reversed(range(8))] == forwards[::-1]
    assert digest(Scenes(8)[-1]) == forwards[-1]
    assert len({digest(Scenes(24, seed=seed, split=split)[0]) for seed in (0, 1) for split in ("test", "train")}) == 4


def test_the_world_does_not_drift():
    # the bundled weights and every committed figure rest on these very images
    assert textures().shape == (1 + len(MATERIALS), 256, 256)
    assert Scenes(1)[0].name == "test-0/000000-beach.png"


def test_splits_are_disjoint():
    seen, held_out = ({digest(data[i]) for i in range(36)} for data in (Scenes(36, split="train"), Scenes(36)))
    assert len(seen) == len(held_out) == 36
    assert not seen & held_out


def test_names_are_unique_and_classes_balanced(some):
    assert len({example.name for example in some}) == len(some)
    counts = {name: sum(example.class_ == name for example in some) for name in Scenes().classes}
    assert set(counts.values()) == {30}


def test_planes_have_the_shape_of_the_image_and_known_labels(some):
    data = Scenes(1)
    known = {(concept.category, concept.label) for concept in data.concepts}
    assert len(known) == len(data.concepts) == len({(c.category, c.name) for c in data.concepts})
    for example in some[:60]:
        assert example.image.shape == (112, 112, 3)
        assert example.image.dtype == np.uint8
        assert list(example.planes) == list(CATEGORIES)
        for category, (plane,) in example.planes.items():
            assert plane.shape == (112, 112)
            assert {(category, label) for label in np.unique(plane).tolist()} - {(category, 0)} <= known


def test_every_concept_is_somewhere(some):
    seen = {(c, label) for e in some for c, (plane,) in e.planes.items() for label in np.unique(plane).tolist()}
    assert [c for c in Scenes().concepts if (c.category, c.label) not in seen] == []


def test_there_is_as_much_as_was_asked_for():
    assert len(CATEGORIES["object"]) >= 25
    assert len(CATEGORIES["part"]) >= 10
    assert len(MATERIALS) >= 6
    assert len(set(COLORS)) == 11


def test_objects_and_colours_are_shared_between_scenes(some):
    for category, least in (("object", 0.5), ("color", 1.0), ("material", 0.9)):
        scenes = {name: set() for name in CATEGORIES[category]}
        for example in some:
            for label in np.unique(example.planes[category][0]).tolist():
                if label:
                    scenes[CATEGORIES[category][label - 1]].add(example.class_)
        assert np.mean([len(places) > 1 for places in scenes.values()]) >= least


def test_every_pixel_has_a_colour_and_looks_like_it(some):
    names = [name for name, shades in PALETTE.items() for _ in shades]
    shades = np.array([shade for shades in PALETTE.values() for shade in shades], float)
    looks = np.array([COLORS.index(name) + 1 for name in names])
    right, total = np.zeros(len(COLORS) + 1), np.zeros(len(COLORS) + 1)
    for example in some[::5]:
        (plane,) = example.planes["color"]
        assert plane.min() >= 1
        distance = np.linalg.norm(example.image[::3, ::3, None, :].astype(float) - shades, axis=-1)
        agrees = looks[distance.argmin(-1)] == plane[::3, ::3]
        right += np.bincount(plane[::3, ::3].ravel(), weights=agrees.ravel(), minlength=len(right))
        total += np.bincount(plane[::3, ::3].ravel(), minlength=len(right))
    shares = dict(zip(COLORS, (right / np.maximum(total, 1))[1:], strict=True))
    assert min(shares.values()) > 0.5, shares
    assert right.sum() / total.sum() > 0.8


def test_one_stroke_paints_the_image_and_every_plane():
    canvas = Canvas(np.random.default_rng(0), size=56)
    canvas.box(canvas.mark("wall", "white"), 0, 0, 112, 112)
    canvas.box(canvas.mark("car", "red", part="wheel", material="metal"), 28, 56, 84, 112)
    image, planes = canvas.finish()
    inside = np.zeros((56, 56), bool)
    inside[28:, 14:42] = True
    for category, word in (("object", "car"), ("part", "wheel"), ("material", "metal"), ("color", "red")):
        assert np.array_equal(planes[category] == CATEGORIES[category].index(word) + 1, inside)
    reddish = image[..., 0].astype(int) - image[..., 1]
    assert (reddish[inside] > 60).all()
    assert (reddish[~inside] < 60).all()


def test_enough_of_the_things_that_make_a_scene_are_drawn():
    canvas = Canvas(np.random.default_rng(0))
    draws = [staging.draw_things(canvas, 2, a=0.3, b=0.3, c=0.3) for _ in range(200)]
    assert min(map(len, draws)) == 2
    assert set().union(*draws) == {"a", "b", "c"}
    assert all(any(name not in drawn for drawn in draws) for name in "abc")


def test_another_size_shows_the_same_place():
    small, large = Scenes(12)[7], Scenes(12, size=224)[7]
    same = large.planes["object"][0][1::2, 1::2] == small.planes["object"][0]
    assert large.image.shape == (224, 224, 3)
    assert same.mean() > 0.95


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"split": "tset"}, r"There is no split 'tset' \(did you mean test\?\); use 'test' or 'train'."),
        ({"images": 0}, "images is 0; the drawn scenes need images of 1 or more."),
        ({"seed": -1}, "seed is -1; the drawn scenes need seed of 0 or more."),
        ({"size": 8}, "size is 8; the drawn scenes need size of 16 or more."),
    ],
)
def test_settings_out_of_range(settings, sentence):
    with pytest.raises(UnitlensError, match=sentence):
        Scenes(**settings)


def inputs(examples):
    images = torch.from_numpy(np.stack([example.image for example in examples])).permute(0, 3, 1, 2).float() / 255
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (bundled.MEAN, bundled.STD))
    return (images - mean) / std


def test_the_bundled_network_knows_held_out_scenes(some):
    assert bundled.WEIGHTS.stat().st_size < 3_000_000
    net = bundled.scene_net()
    assert not net.training
    with torch.inference_mode():
        called = net(inputs(some[:204])).argmax(1)
    right = [bundled.CLASSES[c] == example.class_ for c, example in zip(called.tolist(), some, strict=False)]
    assert np.mean(right) >= 0.9


def test_the_default_layer_has_units_on_a_grid():
    net = bundled.scene_net(weights="none")
    maps = []
    handle = net.get_submodule(bundled.DEFAULT_LAYER).register_forward_hook(lambda m, i, o: maps.append(o))
    net(torch.zeros(1, 3, bundled.IMAGE_SIZE, bundled.IMAGE_SIZE))
    handle.remove()
    _, units, height, width = maps[0].shape
    assert units >= 96
    assert min(height, width) >= 7
    assert maps[0].min() >= 0
    torch.fx.symbolic_trace(net)


def test_fresh_weights_come_from_the_seed_and_leave_the_global_generator_alone():
    before = torch.random.get_rng_state()
    nets = [bundled.scene_net(weights="none", seed=seed).state_dict() for seed in (1, 1, 2)]
    assert torch.equal(torch.random.get_rng_state(), before)
    assert all(torch.equal(a, b) for a, b in zip(nets[0].values(), nets[1].values(), strict=True))
    assert not torch.equal(nets[0]["conv1.weight"], nets[2]["conv1.weight"])
    assert not torch.equal(nets[0]["conv1.weight"], bundled.scene_net().state_dict()["conv1.weight"])


def test_weights_of_another_network_are_refused(tmp_path):
    from safetensors.torch import save_file

    save_file({"other": torch.zeros(1)}, tmp_path / "other.safetensors")
    (tmp_path / "broken.safetensors").write_bytes(b"not one")
    for name in ("other", "broken", "absent"):
        with pytest.raises(UnitlensError, match=rf"{name}\.safetensors does not hold the weights of a SceneNet"):
            bundled.scene_net(weights=str(tmp_path / f"{name}.safetensors"))


@pytest.mark.slow
def test_training_learns_and_is_repeatable():
    images, classes = training.drawn(Scenes(64, split="train", size=32))
    nets = list(training.trained(images, classes, epochs=16, seed=0))
    again = list(training.trained(images, classes, epochs=2, seed=0))
    assert (len(nets), len(again)) == (17, 3)
    assert all(torch.equal(a, b) for a, b in zip(nets[0].parameters(), again[0].parameters(), strict=True))
    with torch.inference_mode():
        losses = [float(torch.nn.functional.cross_entropy(net(training.prepared(images)), classes)) for net in nets]
    assert losses[-1] < 0.9 * losses[0]


def test_units_that_say_the_same_are_alike_and_evidence_is_weight_times_activation():
    maps = torch.zeros(2, 3, 4, 4)
    maps[0, 0], maps[0, 1], maps[1, 2] = 1, 5, 2
    assert training.likeness(maps).item() == pytest.approx(2 / 3)
    net = bundled.scene_net(weights="none")
    units = torch.rand(5, 128)
    expected = sum((net.classify.weight[c].abs() * unit).sum() for c in range(12) for unit in units) / 5 / 12
    assert training.evidence(net, units).item() == pytest.approx(expected.item(), rel=1e-5)


def test_folding_changes_nothing():
    torch.manual_seed(0)
    net = training.with_norms(bundled.scene_net(weights="none")).eval()
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            for tensor in (module.weight, module.bias, module.running_mean, module.running_var):
                torch.nn.init.uniform_(tensor, 0.5, 2)
    seen = torch.randn(4, 3, 112, 112)
    with torch.inference_mode():
        torch.testing.assert_close(training.folded(net)(seen), net(seen), rtol=1e-4, atol=1e-4)
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in training.folded(net).modules())


@pytest.mark.slow
def test_training_from_the_shell(tmp_path, monkeypatch):
    from click.testing import CliRunner

    monkeypatch.setattr(training, "HELD_OUT", 24)
    out, folder = tmp_path / "net.safetensors", tmp_path / "on_the_way"
    threads = torch.get_num_threads()
    result = CliRunner().invoke(
        training.main,
        [
            "--images",
            "64",
            "--epochs",
            "1",
            "--out",
            str(out),
            "--checkpoints",
            str(folder),
            "--threads",
            str(threads),
        ],
        catch_exceptions=False,
    )
    assert result.exit_code == 0
    assert "of the held-out scenes are right" in result.output
    assert sorted(path.name for path in folder.iterdir()) == ["epoch_00.safetensors", "epoch_01.safetensors"]
    sizes = [path.stat().st_size for path in sorted(folder.iterdir())]
    assert all(below < out.stat().st_size * 0.6 for below in sizes)
    first, last = (bundled.scene_net(weights=str(path)) for path in (folder / "epoch_00.safetensors", out))
    assert any(not torch.equal(a, b) for a, b in zip(first.parameters(), last.parameters(), strict=True))
