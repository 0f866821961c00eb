"""Tokens at which units are set: the class token alone, or the patches alone."""

import numpy as np
import pytest
import torch
from torch import nn

import unitlens as ul
from tests.ablation.replay.replaying import close
from tests.worlds.planted import ColourWorld
from unitlens.models.hooks import edit


class ViT(nn.Module):
    """Patches behind tokens of other kinds, which are named as in timm; the first token is read, and the mean."""

    def __init__(self, **tokens):
        super().__init__()
        self.patches = nn.Conv2d(3, 8, 8, stride=8)
        for name, count in tokens.items():
            setattr(self, name, nn.Parameter(torch.randn(1, count, 8)))
        self.names = tuple(tokens)
        layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        self.blocks = nn.TransformerEncoder(layer, 1, enable_nested_tensor=False)
        self.head = nn.Linear(8, 4)

    def forward(self, images):
        tokens = [getattr(self, name).expand(len(images), -1, -1) for name in self.names]
        tokens = self.blocks(torch.cat([*tokens, self.patches(images).flatten(2).transpose(1, 2)], 1))
        return self.head(tokens[:, 0] + tokens.mean(1))


def vit(**tokens):
    torch.manual_seed(0)
    return ul.classifier(ViT(**tokens).eval(), image_size=32, mean=(0, 0, 0), std=(1, 1, 1))


@pytest.mark.parametrize(("where", "places"), [("class", slice(0, 1)), ("patches", slice(3, None))])
def test_units_are_set_at_the_tokens_of_a_word(where, places):
    net = vit(cls_token=1, reg_token=2)
    images = net.example_inputs(2)

    def ablate(tokens):
        tokens[:, places, [1, 5]] = 0.5
        return tokens

    with ul.evaluating(net.model), edit(net.model, {"blocks": ablate}):
        expected = net.model(images)
    off = ul.Intervention("blocks", [1, 5], 0.5, where=where)
    with ul.evaluating(net.model), ul.intervening(net, off):
        close(net.model(images), expected)


def test_effects_at_the_tokens_of_a_word_are_those_at_their_positions():
    net, data = vit(cls_token=1), ColourWorld(24)
    at_class = torch.zeros(17, dtype=torch.bool)
    at_class[0] = True
    for word, where in (("class", at_class), ("patches", ~at_class)):
        effects = ul.outcome_effects(net, "blocks", data, "output:0", where=word)
        expected = ul.outcome_effects(net, "blocks", data, "output:0", where=where)
        np.testing.assert_array_equal(effects.effect(), expected.effect())
        assert np.abs(effects.effect()).max() > 0
        together = ul.outcome_effects(net, "blocks", data, "distance", units=range(8), where=word, draws=0)
        assert together.settings.ablation == f"set to 0 at the {'class token' if word == 'class' else 'patches'}"


@pytest.mark.parametrize(
    ("tokens", "where", "sentence"),
    [
        ({"cls_token": 1}, "clas", r"where is 'clas' \(did you mean class\?\).* class or patches"),
        ({}, "class", "blocks has no class token beside its patches"),
        ({"reg_token": 2}, "class", "Which of the 2 tokens in front of the patches of blocks is the class token"),
    ],
)
def test_words_that_name_no_tokens_are_clear_errors(tokens, where, sentence):
    with pytest.raises(ul.UnitlensError, match=sentence):
        ul.outcome_effects(vit(**tokens), "blocks", ColourWorld(8), "distance", where=where)


def test_all_units_at_the_class_token_in_the_shell(shell, tmp_path):
    (tmp_path / "net.py").write_text(
        "import tests.ablation.units.test_tokens as t\n\ndef build():\n    return t.vit(cls_token=1).model\n"
    )
    said = shell(
        *("ablate", "net.py:build", "--image-size", 32, "--data", "bundled:scenes", "--limit", 12, "--layer", "blocks"),
        *("--units", "all", "--where", "class", "--outcome", "distance", "--draws", 0),
    )
    assert said.code == 0, said.err
    assert "at the class token" in said.out
