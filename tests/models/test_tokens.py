import pytest
import torch
from torch import nn

from unitlens.models.layouts import Layout
from unitlens.models.tokens import layout_note, left_out


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
def test_kinds_are_told_by_the_names_of_parameters(shapes, special, expected):
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
            "that is no grid, say what it is with --layout (layout=), or choose another layer.",
        ),
    ],
)
def test_what_is_said_of_a_layout(layout, kinds, said):
    assert layout_note("norm", layout, kinds, (224, 224)) == said
