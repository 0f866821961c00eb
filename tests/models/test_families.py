"""Families of timm and of Hugging Face with random weights: each is dissected at its last layer with a grid."""

import warnings

import pytest

import unitlens as ul
from tests.models.test_zoo import Few

LAST = {
    "test_resnet": ("channels_first", 0),
    "test_efficientnet": ("channels_first", 0),
    "test_convnext": ("channels_first", 0),
    "test_vit": ("tokens", 1),
    "test_vit2": ("tokens", 1),
}
"""timm's networks for tests: the layout of the last layer with a grid, and how many of its tokens are no patches."""

FAMILIES = {
    "resnet18": ("channels_first", 0),
    "regnetx_002": ("channels_first", 0),
    "densenet121": ("channels_first", 0),
    "tf_efficientnet_lite0": ("channels_first", 0),
    "mobilenetv4_conv_small": ("channels_first", 0),
    "ghostnet_100": ("channels_first", 0),
    "repvit_m1": ("channels_first", 0),
    "convnext_atto": ("channels_first", 0),
    "convnextv2_atto": ("channels_first", 0),
    "coatnet_nano_rw_224": ("channels_first", 0),
    "maxvit_nano_rw_256": ("channels_first", 0),
    "edgenext_xx_small": ("channels_first", 0),
    "mobilevit_xxs": ("channels_first", 0),
    "mobilevitv2_050": ("channels_first", 0),
    "poolformer_s12": ("channels_first", 0),
    "davit_tiny": ("channels_first", 0),
    "pvt_v2_b0": ("channels_first", 0),
    "swin_tiny_patch4_window7_224": ("channels_last", 0),
    "nest_tiny": ("channels_last", 0),
    "mambaout_femto": ("channels_last", 0),
    "mixer_s32_224": ("tokens", 0),
    "gmlp_ti16_224": ("tokens", 0),
    "hiera_tiny_224": ("tokens", 0),
    "mvitv2_tiny": ("tokens", 0),
    "efficientformer_l1": ("tokens", 0),
    "vit_tiny_patch16_224": ("tokens", 1),
    "deit_tiny_distilled_patch16_224": ("tokens", 2),
    "vit_small_patch16_dinov3": ("tokens", 5),
    "eva02_tiny_patch14_224": ("tokens", 1),
    "xcit_nano_12_p16_224": ("tokens", 1),
    "cait_xxs24_224": ("tokens", 1),
    "crossvit_tiny_240": ("tokens", 1),
}


def last_layer(net):
    """Of those that have a grid; one that is called several times, by its first call."""
    info = [info for info in net.layers() if info.grid is not None][-1]
    return info, info.name if info.calls == 1 else f"{info.name}[0]"


def looked_at(net):
    """Dissect the last layer with a grid; its layout, and how many of its tokens were left out."""
    info, layer = last_layer(net)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*tokens, in front")
        d = ul.dissect(net, layer, Few(64, 4), quantile=0.25, batch_size=2, exemplars=0, evidence=False)
    own = d.info["layers"][layer]
    assert (own["units"], own["grid"], own["layout"]) == (info.units, list(info.grid), info.layout)
    assert "unknown" not in own["left_out"]
    assert d.table()["silent"].mean() < 0.7
    return own["layout"], sum(own["left_out"].values())


@pytest.mark.parametrize("name", LAST)
def test_small_networks_of_timm(name):
    pytest.importorskip("timm", reason="timm is not installed (pip install 'unitlens[timm]')")
    assert looked_at(ul.load(f"timm:{name}", weights="none")) == LAST[name]


@pytest.mark.slow
@pytest.mark.parametrize("name", FAMILIES)
def test_families_of_timm(name):
    pytest.importorskip("timm", reason="timm is not installed (pip install 'unitlens[timm]')")
    assert looked_at(ul.load(f"timm:{name}", weights="none")) == FAMILIES[name]


def test_no_units_are_claimed_inside_windows_and_blocks():
    pytest.importorskip("timm", reason="timm is not installed (pip install 'unitlens[timm]')")
    infos = {info.name: info for info in ul.load("timm:nest_tiny", weights="none").layers()}
    inside = [info for name, info in infos.items() if "transformer_encoder." in name and info.shape]
    assert inside
    assert [info.name for info in inside if info.units is not None] == []


# ---- Hugging Face

TRANSFORMER = {
    **{"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32},
    "image_size": 64,
}
STAGES = {"hidden_sizes": [8, 8, 16, 16], "depths": [1, 1, 1, 1]}
WINDOWS = {"image_size": 64, "embed_dim": 8, "depths": [1, 1], "num_heads": [1, 2], "window_size": 4}

MODELS = {
    "ViTModel": ("ViTConfig", {**TRANSFORMER, "patch_size": 16}, ("tokens", 1)),
    "DeiTModel": ("DeiTConfig", {**TRANSFORMER, "patch_size": 16}, ("tokens", 2)),
    "Dinov2Model": ("Dinov2Config", {**TRANSFORMER, "patch_size": 14}, ("tokens", 1)),
    "Dinov2WithRegistersModel": (
        "Dinov2WithRegistersConfig",
        {**TRANSFORMER, "patch_size": 14, "num_register_tokens": 4},
        ("tokens", 5),
    ),
    "CLIPVisionModel": ("CLIPVisionConfig", {**TRANSFORMER, "patch_size": 16}, ("tokens", 1)),
    "SiglipVisionModel": ("SiglipVisionConfig", {**TRANSFORMER, "patch_size": 16}, ("tokens", 0)),
    "SwinModel": ("SwinConfig", WINDOWS, ("tokens", 0)),
    "ConvNextModel": ("ConvNextConfig", {**STAGES, "image_size": 64}, ("channels_first", 0)),
    "ResNetForImageClassification": (
        "ResNetConfig",
        {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1], "layer_type": "basic"},
        ("channels_first", 0),
    ),
    "SegformerForSemanticSegmentation": (
        "SegformerConfig",
        {**STAGES, "decoder_hidden_size": 8},
        ("channels_first", 0),
    ),
}


@pytest.mark.filterwarnings("ignore:.*too coarse")
@pytest.mark.parametrize("name", MODELS)
def test_families_of_hugging_face(name, tmp_path):
    transformers = pytest.importorskip(
        "transformers", reason="transformers is not installed (pip install 'unitlens[hf]')"
    )
    config, options, expected = MODELS[name]
    getattr(transformers, name)(getattr(transformers, config)(**options)).save_pretrained(tmp_path)
    assert looked_at(ul.load(f"hf:{tmp_path}", image_size=64, mean=[0.5] * 3, std=[0.5] * 3)) == expected
