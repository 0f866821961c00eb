"""Segmenters that take words: CLIPSeg, a detector with SAM, and functions; networks are tiny and of random weights."""

import json

import numpy as np
import pytest
import torch

import unitlens as ul

TINY = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
WORDS = ["sea", "red car", "cat"]


def image(size=48):
    return np.random.default_rng(0).integers(0, 255, (size, size, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def fast():
    """A tokenizer of a few words."""
    pytest.importorskip("transformers")
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    known = {word: index for index, word in enumerate(["<pad>", "<unk>", "sea", "red", "car", "cat", "</s>"])}
    inner = Tokenizer(models.WordLevel(known, unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    inner.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", known["</s>"])])
    return PreTrainedTokenizerFast(tokenizer_object=inner, pad_token="<pad>", unk_token="<unk>", eos_token="</s>")


@pytest.fixture(scope="module")
def clipseg(tmp_path_factory, fast):
    import transformers

    torch.manual_seed(0)
    text = {**TINY, "vocab_size": 7, "max_position_embeddings": 6, "eos_token_id": 6}
    vision = {**TINY, "image_size": 32, "patch_size": 8}
    config = transformers.CLIPSegConfig(
        text_config=text,
        vision_config=vision,
        projection_dim=16,
        reduce_dim=8,
        extract_layers=[0, 1],
        decoder_num_attention_heads=2,
        decoder_intermediate_size=16,
    )
    folder = tmp_path_factory.mktemp("hub") / "clipseg"
    transformers.CLIPSegForImageSegmentation(config).save_pretrained(folder)
    fast.save_pretrained(folder)
    said = {"image_processor_type": "ViTImageProcessor", "size": {"height": 32, "width": 32}, "do_resize": True}
    (folder / "preprocessor_config.json").write_text(
        json.dumps({**said, "image_mean": [0.5] * 3, "image_std": [0.5] * 3})
    )
    return folder


def test_clipseg_marks_the_word_of_the_highest_score_above_0(clipseg, fast):
    import transformers

    segmenter = ul.segmenter(f"hf:{clipseg}", labels=WORDS, cache=None)
    assert [concept.name for concept in segmenter.concepts] == WORDS
    (labels,) = segmenter.planes(image(), "x")["object"]
    model = transformers.CLIPSegForImageSegmentation.from_pretrained(clipseg).eval()
    processor = transformers.AutoImageProcessor.from_pretrained(clipseg)
    pixels = processor(images=[image()] * 3, return_tensors="pt")["pixel_values"]
    with torch.inference_mode():
        scores = model(**fast(WORDS, padding=True, return_tensors="pt"), pixel_values=pixels).logits
    highest, best = scores.max(0)
    names = {concept.label: concept.name for concept in segmenter.concepts}
    expected = np.where(highest > 0, np.array(WORDS)[best], "")
    assert np.array_equal(np.vectorize(lambda label: names.get(label, ""))(labels), expected)


def test_other_words_are_other_marks(clipseg, tmp_path):
    one, other = (ul.segmenter(f"hf:{clipseg}", labels=words, cache=tmp_path) for words in (WORDS, WORDS[:2]))
    assert one.fingerprint != other.fingerprint
    assert one.predictor.fingerprint != other.predictor.fingerprint


def test_clipseg_is_a_source_of_concepts_in_the_shell(clipseg, shell, sees, world, tmp_path):
    (tmp_path / "words.txt").write_text("sea\ncat\n")
    asked = ("--concepts", f"segmenter:hf:{clipseg}", "--segmenter-labels", "words.txt", "--segmenter-cache", "none")
    said = shell("dissect", *sees, "--data", world, *asked, "--limit", "12", "--out", "run", "--no-evidence")
    assert said.code == 0, said.err
    assert ul.open_run(tmp_path / "run").concepts == ["sea", "cat"]


@pytest.fixture(scope="module")
def finder_and_sam(tmp_path_factory, fast):
    import transformers

    torch.manual_seed(0)
    root = tmp_path_factory.mktemp("hub2")
    text = {**TINY, "vocab_size": 7, "max_position_embeddings": 6, "eos_token_id": 6, "pad_token_id": 0}
    vision = {**TINY, "image_size": 32, "patch_size": 8}
    owl = transformers.OwlViTConfig(text_config=text, vision_config=vision, projection_dim=16)
    transformers.OwlViTForObjectDetection(owl).save_pretrained(root / "owl")
    fast.model_max_length = 6
    images = transformers.OwlViTImageProcessor(size={"height": 32, "width": 32}, do_center_crop=False)
    transformers.OwlViTProcessor(images, fast).save_pretrained(root / "owl")
    sam = transformers.SamConfig(
        vision_config={
            **{"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "image_size": 64, "patch_size": 16},
            **{"output_channels": 16, "global_attn_indexes": [0], "mlp_dim": 16, "num_pos_feats": 8},
        },
        prompt_encoder_config={"hidden_size": 16, "image_size": 64, "patch_size": 16, "mask_input_channels": 4},
        mask_decoder_config={"hidden_size": 16, "mlp_dim": 16, "num_attention_heads": 2, "iou_head_hidden_dim": 16},
    )
    transformers.SamModel(sam).save_pretrained(root / "sam")
    sizes = {"size": {"longest_edge": 64}, "pad_size": {"height": 64, "width": 64}}
    transformers.SamProcessor(transformers.SamImageProcessor(**sizes)).save_pretrained(root / "sam")
    return f"hf:{root / 'owl'}+{root / 'sam'}"


def test_a_detector_of_words_and_sam_mark_words_where_masks_of_their_boxes_are(finder_and_sam):
    segmenter = ul.segmenter(finder_and_sam, labels=WORDS, cache=None)
    (labels,) = segmenter.planes(image(), "x")["object"]
    assert labels.shape == (48, 48)
    assert set(np.unique(labels)) <= {0, *(concept.label for concept in segmenter.concepts)}
    assert (labels > 0).any()


def bright_or_dark(image, words):
    """The words "bright" and "dark", and nothing of others."""
    brightness = image.mean(1)
    said = {"bright": brightness - 0.6, "dark": 0.4 - brightness}
    return torch.stack([said.get(word, torch.full_like(brightness, -1)) for word in words], dim=1)


def test_a_function_gets_the_words_and_gives_scores_of_them():
    shades = np.repeat(np.array([[20, 120, 230]], np.uint8)[..., None], 3, 2)
    segmenter = ul.segmenter(bright_or_dark, labels=["dark", "zebra", "bright"], cache=None)
    (labels,) = segmenter.planes(shades, "x")["object"]
    names = {concept.label: concept.name for concept in segmenter.concepts}
    assert [names.get(label) for label in labels[0].tolist()] == ["dark", None, "bright"]


def test_sentences(clipseg, finder_and_sam):
    for model in (f"hf:{clipseg}", finder_and_sam, bright_or_dark):
        with pytest.raises(ul.UnitlensError, match=r"finds what it is asked for.*labels="):
            ul.segmenter(model)
    with pytest.raises(ul.UnitlensError, match=r"leave size= out"):
        ul.segmenter(finder_and_sam, labels=WORDS, size=32)
    with pytest.raises(ul.UnitlensError, match=r"nobody/owl.*nothing is downloaded"):
        ul.segmenter("hf:nobody/owl+nobody/sam", labels=WORDS)
    wrong = ul.segmenter(lambda image, words: image, labels=["a", "b"], cache=None)
    with pytest.raises(ul.UnitlensError, match=r"\(1, 3, 48, 48\) for an image and 2 words.*\(1, 2, rows"):
        wrong.planes(image(), "x")
