from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import unitlens as ul
from tests.models import zoo
from tests.worlds.planted import ColourWorld
from unitlens.models.layers import LayerRef
from unitlens.models.layouts import MOST_SPECIAL, ORDERS, Layout, find_layout, layout_note, left_out, need_layout

SQUARE, WIDE = (224, 224), (192, 256)


def found(shape, module=None, image=SQUARE, **how):
    layout = find_layout((1, *shape), module or nn.Identity(), image, **how)
    return layout and (layout.order, layout.units, layout.grid, layout.special)


@pytest.mark.parametrize(
    ("shape", "module", "image", "expected"),
    [
        ((10,), None, SQUARE, ("units", 10, None, 0)),
        # the module knows
        ((7, 7, 9), nn.Conv2d(1, 7, 1), SQUARE, ("channels_first", 7, (7, 9), 0)),
        ((49, 3, 5), nn.BatchNorm2d(49), SQUARE, ("channels_first", 49, (3, 5), 0)),
        ((8, 1, 1), nn.AdaptiveAvgPool2d(1), SQUARE, ("channels_first", 8, None, 0)),
        ((7, 7, 512), nn.Linear(3, 512), SQUARE, ("channels_last", 512, (7, 7), 0)),
        ((7, 7, 7), nn.LayerNorm(7), SQUARE, ("channels_last", 7, (7, 7), 0)),
        # the image's proportions
        ((7, 7, 512), None, SQUARE, ("channels_last", 512, (7, 7), 0)),
        ((512, 7, 7), None, SQUARE, ("channels_first", 512, (7, 7), 0)),
        ((6, 8, 512), None, WIDE, ("channels_last", 512, (6, 8), 0)),
        ((512, 6, 8), None, WIDE, ("channels_first", 512, (6, 8), 0)),
        ((8, 6, 8), None, WIDE, ("channels_first", 8, (6, 8), 0)),
        ((1, 1, 512), None, SQUARE, ("channels_last", 512, None, 0)),
        # nothing says: units come first
        ((7, 7, 7), None, SQUARE, ("channels_first", 7, (7, 7), 0)),
        ((16, 5, 9), None, WIDE, ("channels_first", 16, (5, 9), 0)),
        ((6, 5, 7), None, SQUARE, None),
        # nothing says, and it would be an odd grid
        ((16, 196, 96), None, SQUARE, None),
        ((4, 196, 192), None, SQUARE, None),
        ((16, 4, 16), None, WIDE, None),
        ((16, 196, 96), nn.LayerNorm(96), SQUARE, None),
        ((64, 4, 256), None, SQUARE, None),
        # a layer norm knows by its own size, whatever class of layer norm it is
        ((96, 56, 56), type("LayerNorm2d", (nn.LayerNorm,), {})(96), SQUARE, ("channels_first", 96, (56, 56), 0)),
        ((56, 56, 96), type("LayerNorm", (nn.LayerNorm,), {})(96), SQUARE, ("channels_last", 96, (56, 56), 0)),
        # a pool along one axis
        ((512, 1), nn.AdaptiveAvgPool1d(1), SQUARE, ("units", 512, None, 0)),
        ((512, 49), nn.AdaptiveAvgPool1d(49), SQUARE, None),
        # windows of MaxViT, and what is put together from them
        ((64, 49, 64), nn.LayerNorm(64), SQUARE, None),
        ((64, 49, 192), nn.Linear(64, 192), SQUARE, None),
        # tokens
        ((196, 768), None, SQUARE, ("tokens", 768, (14, 14), 0)),
        ((197, 768), None, SQUARE, ("tokens", 768, (14, 14), 1)),
        ((198, 768), nn.LayerNorm(768), SQUARE, ("tokens", 768, (14, 14), 2)),  # DeiT, distilled
        ((261, 768), None, SQUARE, ("tokens", 768, (16, 16), 5)),  # DINOv2 with 4 registers
        ((49, 768), None, SQUARE, ("tokens", 768, (7, 7), 0)),
        ((193, 768), None, WIDE, ("tokens", 768, (12, 16), 1)),
        ((1370, 64), None, (518, 518), ("tokens", 64, (37, 37), 1)),
        ((2, 8), None, (32, 32), ("tokens", 8, None, 1)),
        ((768, 384), None, SQUARE, None),  # inside a mixer, tokens and units have changed places
        ((196 + MOST_SPECIAL + 1, 8), None, SQUARE, None),
        ((2, 3, 4, 5), None, SQUARE, None),
        ((0, 7, 7), None, SQUARE, None),
        ((), None, SQUARE, None),
    ],
)
def test_the_rule(shape, module, image, expected):
    assert found(shape, module, image) == expected


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((12, 197, 197), ("attention", 12, (14, 14), 1)),
        ((96, 56, 56), ("channels_first", 96, (56, 56), 0)),
        ((56, 56, 96), ("channels_last", 96, (56, 56), 0)),
        ((64, 49, 64), None),
        ((49, 64, 64), None),
        ((3, 197, 64), None),
        ((196, 196, 4), None),  # what CaiT's layers between the heads return
    ],
)
def test_inside_attention_only_a_grid_of_patches_is_one(shape, expected):
    assert found(shape, name="blocks.0.attn.drop") == expected
    assert found(shape, type("WindowAttention", (nn.Identity,), {})()) == expected
    assert found(shape, nn.Linear(1, shape[-1]), name="blocks.0.attn.proj") == expected


@pytest.mark.parametrize(
    ("order", "shape", "expected"),
    [
        ("channels_first", (7, 7, 512), ("channels_first", 7, (7, 512), 0)),
        ("channels_last", (512, 7, 7), ("channels_last", 7, (512, 7), 0)),
        ("tokens", (197, 768), ("tokens", 768, (14, 14), 1)),
        ("heads", (3, 197, 64), ("heads", 192, (14, 14), 1)),
        ("attention", (3, 197, 197), ("attention", 3, (14, 14), 1)),
        ("attention", (3, 197, 64), None),
        ("tokens", (730, 64), ("tokens", 64, (27, 27), 1)),  # overlapping patches, as in PiT
        ("tokens", (3, 64), ("tokens", 64, None, 2)),
        ("channels_last", (197, 768), None),
        ("tokens", (7, 7, 512), None),
        ("tokens", (10,), ("units", 10, None, 0)),
    ],
)
def test_what_the_user_says_overrules(order, shape, expected):
    assert found(shape, nn.Conv2d(1, 1, 1), order=order) == expected


@given(st.data())
def test_every_layout_gives_the_same_maps_when_its_axes_are_put_back(data):
    """What the units say at a place does not depend on how it is laid out."""
    units, heads, side = data.draw(st.integers(1, 4)), data.draw(st.integers(1, 3)), data.draw(st.integers(2, 5))
    special = data.draw(st.integers(0, 2 * side))
    maps = torch.randn(2, heads * units, side, side, generator=torch.Generator().manual_seed(0))
    tokens = torch.cat([torch.full((2, special, heads * units), 9.0), maps.flatten(2).transpose(1, 2)], 1)
    by_head = tokens.unflatten(2, (heads, units)).transpose(1, 2)
    given = {"channels_first": maps, "channels_last": maps.permute(0, 2, 3, 1), "tokens": tokens, "heads": by_head}
    for order, activation in given.items():
        layout = find_layout(tuple(activation.shape), nn.Identity(), (32 * side, 32 * side), order=order)
        assert (layout.units, layout.grid) == (heads * units, (side, side))
        assert torch.equal(layout.maps(activation), maps)


def test_attention_is_seen_from_the_class_token_or_from_everywhere():
    weights = torch.rand(2, 3, 17, 17)
    layout = find_layout(tuple(weights.shape), nn.Identity(), (64, 64), order="attention")
    assert torch.equal(layout.maps(weights), weights[:, :, 0, 1:].unflatten(2, (4, 4)))
    layout = find_layout((2, 3, 16, 16), nn.Identity(), (64, 64), order="attention")
    assert torch.allclose(layout.maps(weights[:, :, 1:, 1:]).flatten(2), weights[:, :, 1:, 1:].mean(2))


@pytest.mark.parametrize(
    ("shape", "order", "sentence"),
    [
        ((2, 7, 7), None, r"^layer returns 2 x 7 x 7 for 3 images, and not something for each image: choose"),
        ((3,), None, r"^layer returns 3 for 3 images, and not something"),
        (
            (3, 2, 2, 2, 2),
            None,
            r"^layer returns 3 x 2 x 2 x 2 x 2, and it is not clear which of that are units: ",
        ),
        (
            (3, 7, 7, 8),
            "tokens",
            r"^layer returns 3 x 7 x 7 x 8, which cannot be read as \(images, tokens, units\), ",
        ),
        ((3, 7, 7, 8), "token", r"^There is no layout 'token' \(did you mean tokens\?\); there are channels_first, "),
    ],
)
def test_sentences(shape, order, sentence):
    place = LayerRef("layer", "layer", nn.Identity(), None, None)
    with pytest.raises(ul.UnitlensError, match=sentence):
        need_layout(place, torch.zeros(shape), 3, (224, 224), order=order)


# ---- through a dissection


class Seeing(nn.Module):
    """Four units that know a colour each, on a grid of 8 x 8, told as tokens behind two others or channels last."""

    def __init__(self):
        super().__init__()
        self.patches = nn.Conv2d(3, 4, 4, stride=4)
        self.last, self.tokens = nn.Identity(), nn.Identity()
        with torch.no_grad():
            self.patches.weight.copy_(torch.eye(4, 3)[:, :, None, None].expand(4, 3, 4, 4) / 16)

    def forward(self, images):
        maps = self.patches(images)
        self.last(maps.permute(0, 2, 3, 1))
        tokens = maps.flatten(2).transpose(1, 2)
        return self.tokens(torch.cat([torch.full_like(tokens[:, :2], 1e6), tokens], 1))


def test_units_are_the_same_however_they_are_laid_out():
    net = ul.classifier(Seeing(), image_size=32, mean=(0, 0, 0), std=(1, 1, 1))
    how = {"quantile": 0.1, "evidence": False, "exemplars": 0}
    with pytest.warns(ul.UnitlensWarning, match=r"tokens: 2 of 66 tokens, in front, are no patches \(class"):
        d = ul.dissect(net, ["patches", "last", "tokens"], ColourWorld(32), **how)
    for layer in ("last", "tokens"):
        assert d.info["layers"][layer]["grid"] == [8, 8]
        assert np.array_equal(d[layer].counts.intersection, d["patches"].counts.intersection)
    assert any("2 of 66 tokens" in warning for warning in d.info["warnings"])
    told = {layer: (own["layout"], own["left_out"]) for layer, own in d.info["layers"].items()}
    assert told == {
        "patches": ("channels_first", {}),
        "last": ("channels_last", {}),
        "tokens": ("tokens", {"unknown": 2}),
    }
    assert d.info["settings"]["layout"] is None


def test_a_layout_can_be_said_in_the_shell(shell, world, tmp_path):
    (tmp_path / "own.py").write_text(
        "from torch import nn\n\n\ndef build():\n    return nn.Sequential(nn.Conv2d(3, 32, 1), nn.Identity())\n"
    )
    how = ("--image-size", 32, "--mean", 0, "--std", 1, "--workers", 0, "--quantile", 0.1, "--quiet")
    said = shell("dissect", "own.py:build", "--layer", "1", "--data", world, "--layout", "channels_last", *how)
    assert said.code == 0, said.err
    assert ul.open_run("run").info["settings"]["layout"] == "channels_last"
    said = shell("dissect", "own.py:build", "--layer", "1", "--data", world, "--layout", "tokens", "--out", "b", *how)
    assert (said.code, said.err) == (
        2,
        "unitlens: 1 returns 14 x 32 x 32 x 32, which cannot be read as (images, tokens, units), tokens.\n",
    )


# ---- what networks really return


@pytest.mark.parametrize(
    ("name", "layers"),
    [
        (
            "swin_t",
            {
                "features.0.0": ("channels_first", 96, (16, 16)),
                "features.1.0.attn": ("channels_last", 96, (16, 16)),
                "features.7.1.mlp.1": ("channels_last", 3072, (2, 2)),
                "permute": ("channels_first", 768, (2, 2)),
            },
        ),
        (
            "convnext_tiny",
            {
                "features.1.0.block.2": ("channels_last", 96, (16, 16)),
                "features.1.0.block.4": ("channels_last", 384, (16, 16)),
                "features.1.0": ("channels_first", 96, (16, 16)),
                "features.0.1": ("channels_first", 96, (16, 16)),
            },
        ),
    ],
)
def test_networks_with_both_orders(name, layers):
    net = ul.classifier(zoo.build(name).model, image_size=64, mean=(0, 0, 0), std=(1, 1, 1))
    infos = {info.name: (info.layout, info.units, info.grid) for info in net.layers()}
    assert {layer: infos[layer] for layer in layers} == layers
    wrong = [layer for layer, info in infos.items() if info[2] and info[2][0] != info[2][1]]
    assert wrong == []


def test_segmentation_and_detection_networks():
    from torchvision.models import detection, segmentation

    image = {"mean": (0, 0, 0), "std": (1, 1, 1)}
    seg = segmentation.lraspp_mobilenet_v3_large(weights=None, weights_backbone=None)
    net = ul.classifier(seg.eval(), image_size=64, **image)
    infos = {info.name: info for info in net.layers()}
    assert (infos["backbone:high"].units, infos["backbone:high"].grid) == (960, (4, 4))
    data = ColourWorld(8)
    d = ul.dissect(net, ["backbone:high", "classifier"], data, evidence=False, exemplars=0)
    assert {name: layer["grid"] for name, layer in d.info["layers"].items()} == {
        "backbone:high": [4, 4],
        "classifier": [8, 8],
    }
    found = detection.ssdlite320_mobilenet_v3_large(weights=None, weights_backbone=None)
    net = ul.classifier(found.eval(), image_size=320, **image)
    assert ul.dissect(net, "backbone:0", data, evidence=False, exemplars=0, limit=2).info["layers"]["backbone:0"][
        "grid"
    ] == [20, 20]


def test_every_layout_is_in_the_document():
    text = (Path(__file__).parents[2] / "docs" / "layouts.md").read_text()
    assert [order for order in ORDERS if f"`{order}`" not in text] == []


def test_layers_in_the_shell_say_an_unusual_layout(shell, tmp_path):
    (tmp_path / "own.py").write_text(
        "from torch import nn\n\n\ndef build():\n"
        "    return nn.Sequential(nn.Conv2d(3, 5, 8, 8), nn.Flatten(2), Swap())\n\n\n"
        "class Swap(nn.Module):\n    def forward(self, x):\n        return x.transpose(1, 2)\n"
    )
    said = shell("layers", "own.py:build", "--image-size", 32, "--mean", 0, "--std", 1)
    rows = {line.split()[0]: line.split()[3:] for line in said.out.splitlines()}
    assert (rows["0"], rows["2"]) == (["5", "4x4"], ["5", "4x4", "tokens"])


def with_parameters(**shapes):
    """A network with parameters of these names, some a level down."""
    inner, model = nn.Module(), nn.Module()
    for name, shape in shapes.items():
        inner.register_parameter(name, nn.Parameter(torch.zeros(shape)))
    model.embeddings = inner
    return model


def tokens(special):
    return Layout("tokens", 8, (16, 16), special)


@pytest.mark.parametrize(
    ("shapes", "special", "expected"),
    [
        ({"cls_token": (1, 1, 8), "reg_token": (1, 4, 8), "pos_embed": (1, 261, 8)}, 5, {"class": 1, "register": 4}),
        ({"class_token": (1, 1, 8)}, 1, {"class": 1}),  # torchvision
        ({"class_embedding": (8,)}, 1, {"class": 1}),  # CLIP of transformers
        ({"cls_token": (1, 1, 8), "distillation_token": (1, 1, 8)}, 2, {"class": 1, "distillation": 1}),
        ({"cls_token": (1, 1, 8), "register_tokens": (1, 4, 8), "mask_token": (1, 8)}, 5, {"class": 1, "register": 4}),
        ({"cls_token_0": (1, 1, 8), "cls_token_1": (1, 1, 9)}, 1, {"class": 1}),  # CrossViT
        ({"cls_token": (1, 1, 8)}, 2, {"unknown": 2}),  # one that nobody accounts for
        ({}, 3, {"unknown": 3}),
        ({"cls_token": (1, 1, 8)}, 0, {}),  # not at this layer
    ],
)
def test_kinds_follow_from_the_names_of_parameters(shapes, special, expected):
    assert left_out(with_parameters(**shapes), tokens(special)) == expected


@pytest.mark.parametrize(
    ("layout", "kinds", "said"),
    [
        (
            tokens(5),
            {"class": 1, "register": 4},
            "norm: 5 of 261 tokens, in front, are no patches (1 class token, 4 register tokens) and left out; the "
            "others are the grid of 16 x 16.",
        ),
        (
            tokens(1),
            {"unknown": 1},
            "norm: 1 of 257 tokens, in front, is no patch (class and register tokens) and left out; the others are the "
            "grid of 16 x 16.",
        ),
        (Layout("channels_first", 8, (7, 9)), {}, None),
        (Layout("units", 8, None), {}, None),
        (
            Layout("channels_first", 8, (4, 256)),
            {},
            "norm is read as 8 units on a grid of 4 x 256, which has not the proportions of the image, 224 x 224: if "
            "that is not a grid, give the layout with layout=, or choose another layer.",
        ),
    ],
)
def test_what_is_said_of_a_layout(layout, kinds, said):
    assert layout_note("norm", layout, kinds, (224, 224)) == said
