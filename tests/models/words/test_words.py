"""Encoders of images and words: opened by name, from code, and as they are; their vectors, and their sentences."""

import json

import pytest
import torch
from torch import nn

import unitlens as ul
from unitlens.models.words.encoder import Encoder, TextImageEncoder

TINY = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
WORDS = ("sea", "red car", "cat")


def pixels(count=3, size=40):
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(5))


class Colours(nn.Module):
    """The mean colour of an image, and the colour that a word names."""

    def __init__(self):
        super().__init__()
        self.register_buffer("table", torch.eye(3))

    def encode_images(self, images):
        return images.mean((2, 3))

    def encode_words(self, words):
        return torch.stack([self.table[["red", "green", "blue"].index(word)] for word in words])


def tokenizer(folder):
    """A tokenizer of a few words, saved."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    known = {word: index for index, word in enumerate(["<pad>", "<unk>", "sea", "red", "car", "cat", "</s>"])}
    inner = Tokenizer(models.WordLevel(known, unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    inner.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", known["</s>"])])
    fast = PreTrainedTokenizerFast(tokenizer_object=inner, pad_token="<pad>", unk_token="<unk>", eos_token="</s>")
    fast.save_pretrained(folder)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """CLIP and SigLIP of random weights, as ``save_pretrained`` writes them."""
    transformers = pytest.importorskip("transformers")
    root = tmp_path_factory.mktemp("hub")
    text = {**TINY, "vocab_size": 7, "max_position_embeddings": 6, "eos_token_id": 6}
    vision = {**TINY, "image_size": 32, "patch_size": 8}
    torch.manual_seed(0)
    clip = transformers.CLIPModel(transformers.CLIPConfig(text_config=text, vision_config=vision, projection_dim=12))
    siglip = transformers.SiglipModel(transformers.SiglipConfig(text_config=text, vision_config=vision))
    said = {"size": {"height": 32, "width": 32}, "image_mean": [0.5] * 3, "image_std": [0.25] * 3, "resample": 3}
    for name, model in (("clip", clip), ("siglip", siglip)):
        model.save_pretrained(root / name)
        tokenizer(root / name)
        (root / name / "preprocessor_config.json").write_text(json.dumps(said))
    return root


@pytest.mark.parametrize("kind", ["clip", "siglip"])
def test_hugging_faces_networks_give_the_vectors_that_they_give_themselves(folders, kind):
    import transformers

    encoder = ul.encoder(f"hf:{folders / kind}")
    assert isinstance(encoder, Encoder)
    assert isinstance(encoder, TextImageEncoder)
    model = transformers.AutoModel.from_pretrained(folders / kind).eval()
    fast = transformers.AutoTokenizer.from_pretrained(folders / kind)
    images = pixels(size=32)
    filled = fast(list(WORDS), padding="max_length", max_length=6, truncation=True, return_tensors="pt")
    with torch.inference_mode():
        seen = model.get_image_features(pixel_values=(images - 0.5) / 0.25).pooler_output
        mask = {"attention_mask": filled["attention_mask"]} if kind == "clip" else {}
        said = model.get_text_features(input_ids=filled["input_ids"], **mask).pooler_output
    torch.testing.assert_close(encoder.encode_images(images), nn.functional.normalize(seen, dim=1))
    torch.testing.assert_close(encoder.encode_words(WORDS), nn.functional.normalize(said, dim=1))


def test_a_word_has_its_vector_whatever_stands_beside_it(folders):
    encoder = ul.encoder(f"hf:{folders / 'clip'}")
    alone = torch.cat([encoder.encode_words([word]) for word in WORDS])
    torch.testing.assert_close(encoder.encode_words(WORDS), alone)


def test_weights_of_an_encoder_are_its_own_a_files_or_none(folders):
    own = ul.encoder(f"hf:{folders / 'clip'}")
    drawn = ul.encoder(f"hf:{folders / 'clip'}", weights="none")
    assert own.weights == ul.encoder(f"hf:{folders / 'clip'}").weights != drawn.weights


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """A network of open_clip's that its list has not."""
    open_clip = pytest.importorskip("open_clip")
    path = tmp_path_factory.mktemp("open_clip") / "unitlens-tiny.json"
    vision = {"image_size": 32, "layers": 1, "width": 64, "patch_size": 8}
    text = {"context_length": 12, "vocab_size": 49408, "width": 64, "heads": 2, "layers": 1}
    path.write_text(json.dumps({"embed_dim": 10, "vision_cfg": vision, "text_cfg": text}))
    open_clip.add_model_config(path)
    return "open_clip:unitlens-tiny"


def test_networks_of_open_clip_untrained_and_from_a_file(tiny, tmp_path):
    from safetensors.torch import save_file

    torch.manual_seed(1)
    drawn = ul.encoder(tiny, weights="none")
    assert drawn.encode_images(pixels()).shape == (3, 10)
    assert drawn.encode_words(WORDS).shape == (3, 10)
    save_file(drawn.given.model.state_dict(), tmp_path / "w.safetensors")
    torch.manual_seed(2)
    assert ul.encoder(tiny, weights=tmp_path / "w.safetensors").weights == drawn.weights


def test_an_encoder_from_code_as_it_is_and_as_two_functions(tmp_path):
    (tmp_path / "mine.py").write_text(
        "from tests.models.words.test_words import Colours\n\n\ndef make():\n    return Colours()\n"
    )
    given = Colours()
    images = torch.zeros(2, 3, 4, 4, dtype=torch.uint8)
    images[0, 0] = images[1, 2] = 255
    ways = (given, (given.encode_images, given.encode_words), f"{tmp_path / 'mine.py'}:make")
    for way in ways:
        encoder = ul.encoder(way)
        assert (encoder.encode_images(images) @ encoder.encode_words(["red", "blue"]).T).tolist() == [[1, 0], [0, 1]]
    assert ul.encoder(given).weights == ul.encoder(Colours()).weights is not None
    assert ul.encoder((given.encode_images, given.encode_words)).weights is None


def test_the_bundled_encoder_knows_what_is_in_a_drawn_scene():
    encoder, scenes = ul.encoder("bundled:scenes-words"), ul.Scenes(12)
    images = torch.stack([torch.from_numpy(scenes[k].image).permute(2, 0, 1) for k in range(12)])
    close = encoder.encode_images(images) @ encoder.encode_words(["a beach", "trees in a forest", "beds", "toilet"]).T
    assert close.argmax(0).tolist() == [0, 3, 10, 11]
    torch.testing.assert_close(encoder.encode_images(images).norm(dim=1), torch.ones(12))


def test_the_weights_that_come_along_are_small():
    from unitlens.models.bundled.scenes_words import WEIGHTS

    assert WEIGHTS.stat().st_size <= 3e6


def fails(facts, *args, **settings):
    with pytest.raises(ul.UnitlensError) as caught:
        ul.encoder(*args, **settings)
    for fact in facts:
        assert fact in str(caught.value)


def test_sentences_of_encoders_that_cannot_be_opened(folders, tmp_path):
    fails(["'bundled:scene-words'", "did you mean bundled:scenes-words"], "bundled:scene-words")
    fails(["'clip'", "open_clip:ViT-B-32"], "clip")
    fails(["nobody/of-this-name", "nothing is downloaded", "DEFAULT"], "hf:nobody/of-this-name")
    fails(["encode_images", "encode_words", "a int"], 5)
    fails(["leave weights='none' out"], Colours(), weights="none")
    fails(["There is no file"], f"{tmp_path}/none.py:make")
    fails(["cuda:77"], "bundled:scenes-words", device="cuda:77")


def test_sentences_of_open_clip(tiny):
    fails(["'ViT-B-31'", "did you mean ViT-B-"], "open_clip:ViT-B-31")
    fails(["laion2b", "there are"], "open_clip:ViT-B-32:laion2b")
    fails(["nothing is downloaded", "DEFAULT"], "open_clip:ViT-B-32:laion2b_s34b_b79k")
    fails(["DEFAULT", "roberta-ViT-B-32"], "open_clip:roberta-ViT-B-32")
    fails(["as safetensors"], tiny)


def test_a_network_without_texts_is_no_encoder(tmp_path):
    transformers = pytest.importorskip("transformers")
    config = transformers.ViTConfig(**TINY, image_size=32, patch_size=8)
    transformers.ViTModel(config).save_pretrained(tmp_path)
    fails(["ViTModel", "no vectors of texts"], f"hf:{tmp_path}")


def test_sentences_of_vectors_that_are_none():
    wrong = ul.encoder((lambda images: images, lambda words: torch.zeros(len(words), 3)))
    with pytest.raises(ul.UnitlensError, match="encode_images of tuple gives 3 x 3 x 40 x 40 for 3"):
        wrong.encode_images(pixels())
    with pytest.raises(ul.UnitlensError, match="a vector that is 0"):
        wrong.encode_words(["red"])
    with pytest.raises(ul.UnitlensError, match="images x 3 x height x width"):
        wrong.encode_images(torch.zeros(2, 4, 8, 8))
    with pytest.raises(ul.UnitlensError, match="words is 'red'; it is a list"):
        wrong.encode_words("red")
    with pytest.raises(ul.UnitlensError, match=r"encode_words of Colours failed: .*purple"):
        ul.encoder(Colours()).encode_words(["purple"])
    with pytest.raises(ul.UnitlensError, match=r"does not know the word 'zebro'.*140 words"):
        ul.encoder("bundled:scenes-words").encode_words(["a red zebro"])
