"""Encoders through to classes: CLIP's texts, centroids of images, and what units do to the predictions."""

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

import unitlens as ul
from tests.ablation.replay.replaying import close
from unitlens.models.hooks import edit
from unitlens.models.hubs import hub_network

TINY = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
NAMES = ("beach", "harbour", "ski_slope")


def pixels(count=3, size=32):
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(5))


@pytest.fixture(scope="module")
def clip():
    """A CLIP of random weights, with its texts."""
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    torch.manual_seed(0)
    text = {**TINY, "vocab_size": 40, "max_position_embeddings": 8, "eos_token_id": 39}
    vision = {**TINY, "image_size": 32, "patch_size": 8}
    config = transformers.CLIPConfig(text_config=text, vision_config=vision, projection_dim=12)
    return transformers.CLIPModel(config).eval()


def texts(clip):
    tokens = torch.tensor([[1, 5 + index, 9, 39] for index in range(len(NAMES))])
    with torch.inference_mode():
        return tokens, clip.get_text_features(input_ids=tokens).pooler_output


def of_clip(clip):
    return ul.classifier(clip, image_size=32, mean=(0, 0, 0), std=(1, 1, 1))


def test_logits_of_clip_are_its_own(clip):
    tokens, vectors = texts(clip)
    net, images = ul.zero_shot(of_clip(clip), vectors, NAMES), pixels()
    with ul.evaluating(clip), ul.evaluating(net.model):
        own = clip(input_ids=tokens, pixel_values=images).logits_per_image / clip.logit_scale.exp()
        close(net.model(images), 100 * own)
    assert (net.classes, net.output_count()) == (NAMES, 3)


def test_units_and_heads_of_clip_are_ablated_through_to_zero_shot_classes(clip):
    _, vectors = texts(clip)
    net = ul.zero_shot(of_clip(clip), vectors, NAMES)
    layer = next(info.name for info in net.layers() if info.kind == "CLIPEncoderLayer")
    data = ul.Scenes(24)
    of_units = ul.outcome_effects(net, layer, data, ["output:beach", "output:ski_slope"])
    assert of_units.info["replay"]["replays"], of_units.info["replay"]["reason"]
    images = pixels(4)
    with ul.evaluating(net.model):
        before = net.model(images)

        def ablate(tokens):
            tokens[..., 3] = 0
            return tokens

        with edit(net.model, {layer: ablate}):
            expected = net.model(images)
    with ul.evaluating(net.model), ul.intervening(net, ul.Intervention(layer, [3])):
        close(net.model(images), expected)
    assert not torch.equal(before, expected)
    heads = next(info.name for info in net.layers() if info.kind == "heads")
    effects = ul.outcome_effects(net, heads, data, "output:beach", value="mean")
    assert effects.effect().shape == (2,)
    assert (effects.effect() != 0).all()


def test_the_image_part_of_a_saved_clip_ends_in_the_space_of_its_texts(clip, tmp_path):
    clip.save_pretrained(tmp_path / "clip")
    opened = hub_network("hf", str(tmp_path / "clip"), None)
    images = pixels(2)
    with torch.inference_mode():
        close(opened.model(images), clip.get_image_features(pixel_values=images).pooler_output)


@pytest.mark.parametrize("family", ["hf", "timm"])
def test_centroids_make_a_classifier_of_an_encoder_without_texts(family):
    torch.manual_seed(0)
    if family == "hf":
        transformers = pytest.importorskip("transformers", reason="transformers is not installed")
        config = transformers.Dinov2Config(**TINY, image_size=28, patch_size=14)
        net = ul.classifier(transformers.Dinov2Model(config).eval(), image_size=28, mean=(0, 0, 0), std=(1, 1, 1))
    else:
        timm = pytest.importorskip("timm", reason="timm is not installed")
        how = {"img_size": 32, "patch_size": 8, "embed_dim": 16, "depth": 1, "num_heads": 2, "num_classes": 0}
        model = timm.models.vision_transformer.VisionTransformer(**how).eval()
        net = ul.classifier(model, image_size=32, mean=(0, 0, 0), std=(1, 1, 1))
    data = ul.Scenes(24)
    centroids = ul.class_centroids(net, data, batch_size=5)
    classes = {}
    for index in range(24):
        classes.setdefault(data[index].class_, []).append(index)
    assert list(centroids) == sorted(classes)
    zero = ul.zero_shot(net, centroids)
    layer = [info.name for info in zero.layers() if info.kind in ("Dinov2Layer", "Block")][-1]
    effects = ul.ablate(zero, layer, range(16), data, where="class", draws=0)
    assert effects.measured.info["replay"]["replays"], effects.measured.info["replay"]["reason"]
    assert set(effects.table()["class"]) >= set(classes)


def test_classes_that_the_data_number_are_in_that_order():
    encoder = ul.classifier(
        nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()), image_size=8, mean=(0, 0, 0), std=(1, 1, 1)
    )
    noise = np.random.default_rng(0).integers(0, 60, (8, 8, 8, 3), dtype=np.uint8)
    images = [image + np.eye(3, dtype=np.uint8)[index % 2] * 190 for index, image in enumerate(noise)]
    data = ul.dataset([(image, index % 2) for index, image in enumerate(images)], classes=["zebra", "ant"])
    net = ul.zero_shot(encoder, ul.class_centroids(encoder, data))
    assert net.classes == ("zebra", "ant")
    effects = ul.importance(net, "encoder.0", data, measures=["recall"])
    assert effects.estimate("recall").before[0].tolist() == [1, 1]


@pytest.mark.parametrize(
    ("vectors", "options", "facts"),
    [
        ({"a": "x", "b": "y"}, {}, "a class without numbers"),
        (np.eye(12), {"scale": "much"}, "scale is much"),
        (np.eye(12) * np.nan, {}, "NaN or infinite"),
        (np.eye(3, 12), {"classes": "abc"}, "a name for each vector"),
    ],
)
def test_what_is_wrong_with_vectors_is_said(vectors, options, facts):
    with pytest.raises(ul.UnitlensError, match=facts):
        ul.zero_shot(ul.load("bundled:scenes"), vectors, **options)


def test_centroids_are_mean_directions():
    net, data = ul.load("bundled:scenes"), ul.Scenes(24)
    centroids = ul.class_centroids(net, data, batch_size=7)
    own = [index for index in range(24) if data[index].class_ == "forest"]
    images = torch.stack([torch.from_numpy(data[index].image).permute(2, 0, 1) for index in own])
    with ul.evaluating(net.model):
        vectors = nn.functional.normalize(net.model(net.prepare(images)).double(), dim=1)
    np.testing.assert_allclose(centroids["forest"], vectors.mean(0), atol=1e-6)


def test_zero_shot_classes_in_the_shell(shell, tmp_path):
    vectors = {name: torch.eye(12)[index] for index, name in enumerate(ul.load("bundled:scenes").classes)}
    save_file(vectors, tmp_path / "classes.safetensors")
    how = ("--limit", 24, "--layer", "relu6", "--units", "3,17", "--draws", 0, "--zero-shot", "classes.safetensors")
    said = shell("ablate", "bundled:scenes", *how)
    assert said.code == 0, said.err
    assert "encoder.relu6" in said.out
    said = shell("ablate", "bundled:scenes", *how[:-1], "gone.safetensors", "--out", "other")
    assert said.code == 2
    assert "The vectors in gone.safetensors cannot be read (there is no file gone.safetensors)" in said.err


@pytest.mark.parametrize(
    ("vectors", "names", "sentence"),
    [
        (torch.ones(2, 5), None, "have 5 numbers, and bundled:scenes returns 12"),
        (torch.ones(2, 12), ["a", "a"], "2 vectors and 1 different names"),
        (torch.tensor([[0.0] * 12, [1.0] * 12]), None, "vector of class 0 is 0"),
        (torch.ones(1, 12), None, "of two classes or more"),
        (torch.full((2, 12), torch.nan), None, "finite numbers"),
        ("vectors.csv", None, r"\.npy and \.safetensors files, and vectors\.csv is none"),
        ({"a": torch.ones(3), "b": torch.ones(4)}, None, "different lengths"),
        ("words", None, r"Vectors of classes are read from"),
        (object(), None, "vectors is a object"),
    ],
)
def test_vectors_that_are_no_classes_are_clear_errors(vectors, names, sentence):
    with pytest.raises(ul.UnitlensError, match=sentence):
        ul.zero_shot(ul.load("bundled:scenes"), vectors, names)


def test_what_returns_no_vector_of_each_image_is_a_clear_error():
    net = ul.classifier(nn.Conv2d(3, 4, 3), image_size=16, mean=(0, 0, 0), std=(1, 1, 1))
    with pytest.raises(ul.UnitlensError, match=r"returns 1 x 4 x 14 x 14, not a vector of each image"):
        ul.zero_shot(net, torch.ones(2, 4))
    with pytest.raises(ul.UnitlensError, match="scale is -1"):
        ul.zero_shot(ul.load("bundled:scenes"), torch.eye(12), scale=-1)
