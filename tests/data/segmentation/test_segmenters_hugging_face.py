import sys

import numpy as np
import pytest
import torch
from torch.nn import functional

import unitlens as ul
from tests.data.segmentation.test_segmenters import photos
from tests.worlds.coloured import blocks
from unitlens.data.segmentation.segmenters import segmenter


@pytest.fixture(scope="module")
def segformer(tmp_path_factory):
    transformers = pytest.importorskip("transformers")
    folder = tmp_path_factory.mktemp("hf") / "segformer"
    torch.manual_seed(0)
    config = transformers.SegformerConfig(
        num_encoder_blocks=2,
        depths=[1, 1],
        sr_ratios=[2, 1],
        hidden_sizes=[8, 16],
        patch_sizes=[3, 3],
        strides=[4, 2],
        num_attention_heads=[1, 2],
        mlp_ratios=[1, 1],
        decoder_hidden_size=8,
        id2label={0: "wall", 1: "sky", 2: "tree"},
        label2id={"wall": 0, "sky": 1, "tree": 2},
    )
    transformers.SegformerForSemanticSegmentation(config).save_pretrained(folder)
    transformers.SegformerImageProcessor(size={"height": 32, "width": 32}).save_pretrained(folder)
    return folder


def test_hugging_face_semantic(segformer, tmp_path):
    source = segmenter(f"hf:{segformer}", cache=tmp_path)
    assert [c.name for c in source.concepts] == ["wall", "sky", "tree"]
    image = blocks(0)[0]
    plane = source.planes(image, "")["object"][0]
    assert set(np.unique(plane)) <= {1, 2, 3}
    transformers = pytest.importorskip("transformers")
    model = transformers.SegformerForSemanticSegmentation.from_pretrained(segformer).eval()
    processor = transformers.AutoImageProcessor.from_pretrained(segformer)
    with torch.no_grad():
        logits = model(**processor(images=image, return_tensors="pt")).logits
    assert np.array_equal(plane, logits[0].argmax(0).numpy() + 1)
    assert np.array_equal(segmenter(f"hf:{segformer}", cache=tmp_path).planes(image, "")["object"][0], plane)
    assert len(list(tmp_path.rglob("*.png"))) == 1


def test_an_image_that_hugging_face_squashes_is_marked_in_its_own_proportions(segformer):
    source = segmenter(f"hf:{segformer}", cache=None)
    square = blocks(0)[0]
    wide = np.repeat(square, 3, axis=1)
    height, width = wide.shape[:2]
    processor = source.predictor.predict.keywords["processor"]
    inputs = processor(images=wide, return_tensors="pt")
    with torch.inference_mode():
        squashed = source.predictor.predict.keywords["model"].eval()(**inputs).logits[0].argmax(0)
    expected = functional.interpolate(squashed[None, None].float(), (height, width), mode="nearest-exact")[0, 0]
    found = source.predictor.predict(wide)
    assert np.array_equal(found.classes, expected.numpy())
    assert found.confidence.shape == (height, width)
    processor.do_center_crop, processor.crop_size = True, {"height": 32, "width": 32}  # then nothing is stretched
    assert source.predictor.predict(wide).classes.shape != (height, width)


def test_hugging_face_from_the_shell_at_another_size(segformer, shell, sees, tmp_path, monkeypatch):
    photos(tmp_path / "photos")
    how = ("--data", "photos", "--concepts", f"segmenter:hf:{segformer}", "--segmenter-cache", "kept", "--no-evidence")
    monkeypatch.chdir(tmp_path)
    assert shell("dissect", *sees, *how, "--out", "a").code == 0
    assert {c["name"] for c in ul.open_run("a").info["data"]["concepts"]} == {"wall", "sky", "tree"}
    assert shell("dissect", *sees, *how, "--out", "b", "--segmenter-size", 64).code == 0
    assert len(list((tmp_path / "kept").rglob("*.png"))) == 6
    image = blocks(0)[0]
    sides = {
        size: segmenter(f"hf:{segformer}", size=size, cache=None).planes(image, "")["object"][0].shape
        for size in (None, 64)
    }
    assert sides == {None: (8, 8), 64: (16, 16)}


def test_hugging_face_masks_are_summed_as_its_own_processor_does(tmp_path):
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    swin = transformers.SwinConfig(
        embed_dim=8,
        depths=[1, 1, 1, 1],
        num_heads=[1, 1, 2, 2],
        window_size=2,
        out_features=[f"stage{k}" for k in (1, 2, 3, 4)],
    )
    config = transformers.MaskFormerConfig(
        backbone_config=swin,
        decoder_config=transformers.DetrConfig(
            d_model=32,
            encoder_layers=1,
            decoder_layers=1,
            encoder_attention_heads=2,
            decoder_attention_heads=2,
            encoder_ffn_dim=16,
            decoder_ffn_dim=16,
            num_queries=5,
        ),
        fpn_feature_size=32,
        mask_feature_size=32,
        num_labels=3,
    )
    transformers.MaskFormerForInstanceSegmentation(config).save_pretrained(tmp_path / "net")
    transformers.MaskFormerImageProcessor(size={"height": 64, "width": 64}).save_pretrained(tmp_path / "net")
    source = segmenter(f"hf:{tmp_path / 'net'}", cache=None, labels=["wall", "sky", "tree"])
    plane = source.planes(blocks(0)[0], "")["object"][0]
    model = transformers.MaskFormerForInstanceSegmentation.from_pretrained(tmp_path / "net").eval()
    processor = transformers.AutoImageProcessor.from_pretrained(tmp_path / "net")
    with torch.no_grad():
        output = model(**processor(images=blocks(0)[0], return_tensors="pt"))
    expected = processor.post_process_semantic_segmentation(output, target_sizes=[plane.shape])[0].numpy()
    assert (plane == expected + 1).mean() > 0.99  # theirs resizes masks to another size and back


def test_hugging_face_downloads_nothing_unasked(tmp_path, monkeypatch):
    pytest.importorskip("transformers")
    with pytest.raises(ul.UnitlensError, match=r"hf:.* nor in the cache \(.*\); nothing is down.* weights='DEFAULT\'"):
        segmenter("hf:nobody-at-all/nothing-there", cache=None)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ul.UnitlensError, match=r"hf:.*empty is no folder that save_pretrained wrote"):
        segmenter(f"hf:{tmp_path / 'empty'}", cache=None)
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ul.UnitlensError, match=r"needs the package transformers .*: pip install 'unitlens\[hf\]'"):
        segmenter("hf:nobody/nothing", cache=None)


def test_a_processor_keeps_the_ratio_of_its_sides():
    from unitlens.data.segmentation.transformers import _sides

    assert _sides({"height": 512, "width": 512, "longest_edge": None}, 64) == {"height": 64, "width": 64}
    assert _sides({"shortest_edge": 800, "longest_edge": 1333}, 400) == {"shortest_edge": 400, "longest_edge": 666}
    assert _sides({"shortest_edge": 800}, 400) == {"shortest_edge": 400}


def test_hugging_face_networks_of_other_kinds(tmp_path):
    transformers = pytest.importorskip("transformers")
    transformers.ViTConfig(hidden_size=8).save_pretrained(tmp_path)
    with pytest.raises(ul.UnitlensError, match="is a ViT, which does not label pixels"):
        segmenter(f"hf:{tmp_path}", cache=None)
