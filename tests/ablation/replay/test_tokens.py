"""Units of tokens lie last: they are swept as the full network computes, and only tokens that are read are computed."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from tests.ablation.replay.replaying import Untraced, close, made, shown
from unitlens.ablation.interventions import Replacement
from unitlens.ablation.replay.cutting import cut_network
from unitlens.ablation.replay.sweeps import sweep
from unitlens.models.hooks import edit
from unitlens.models.units.space import UnitSpace


class Transformer(nn.Module):
    """Blocks of attention and a perceptron over 10 tokens of 8 units; what is read of the last one is given."""

    def __init__(self, read, blocks: int = 2) -> None:
        super().__init__()
        self.patches, self.token = nn.Conv2d(3, 8, 4, stride=4), nn.Parameter(torch.randn(1, 1, 8))
        self.blocks = nn.Sequential(*(Block() for _ in range(blocks)))
        self.norm, self.over_all = nn.LayerNorm(8), nn.LayerNorm((10, 8))
        self.head, self.pool = nn.Linear(8, 5), nn.AdaptiveAvgPool1d(1)
        self.read = read

    def forward(self, images):
        patches = self.patches(images).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.token.expand(images.shape[0], -1, -1), patches], 1)
        return self.read(self, self.blocks(tokens))


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(8), nn.LayerNorm(8)
        self.attention, self.scale = nn.MultiheadAttention(8, 2, batch_first=True), nn.Parameter(torch.rand(8))
        self.mlp = nn.Sequential(nn.Linear(8, 16), nn.GELU(), nn.Dropout(), nn.Linear(16, 8))

    def forward(self, x):
        y = self.norm1(x)
        x = x + self.attention(y, y, y, need_weights=False)[0]
        return x + self.scale * self.mlp(self.norm2(x))


READ = {
    "first token": lambda self, x: self.head(self.norm(x)[:, 0]),
    "first token, its units too": lambda self, x: self.head(self.norm(x)[:, 0, :]),
    "two tokens": lambda self, x: self.head(self.norm(x)[:, 0]) + self.head(self.norm(x)[:, -1]),
    "two tokens of one norm": lambda self, x: (lambda y: self.head(y[:, 0]) + self.head(y[:, 1]))(self.norm(x)),
    "mean": lambda self, x: self.head(self.norm(x).mean(1)),
    "mean before the norm": lambda self, x: self.head(self.norm(F.relu(x).mean(dim=1))),
    "maximum of positions": lambda self, x: self.head(x.transpose(1, 2).amax(2)),
    "pooled": lambda self, x: self.head(self.pool(torch.transpose(x, -1, 1)).flatten(1)),
    "first and mean": lambda self, x: self.head(x[:, 0] * 2 + x[:, 1:].mean(1)),
    "norm over all tokens": lambda self, x: self.head(self.over_all(x)[:, 0]),
    "joined with others": lambda self, x: self.head(torch.cat([x * 2, x[:, 3:5]], 1).sum(1)),
    "one position added to all": lambda self, x: self.head((self.norm(x) + x[:, :1])[:, 2]),
    "a row of weights": lambda self, x: self.head((x * self.token[0])[:, 1]),
    "the first unit only": lambda self, x: self.head(x[:, :, 0:1] * torch.ones(8))[:, 0] + x.sum((1, 2))[:, None],
}


def naive(model, layer, images, value):
    outputs = []
    for unit in range(8):

        def ablate(activation, unit=unit):
            activation[..., unit] = value
            return activation

        with torch.inference_mode(), edit(model, {layer: ablate}):
            outputs.append(model(images))
    return torch.stack(outputs)


def check_sweep(model, layer, **settings):
    images = shown()
    cut = cut_network(model, layer, images)
    assert cut.replays, cut.reason
    state = cut.front(images)
    values = Replacement(0.5).values(state.activation.movedim(2, 1))
    swept = torch.cat([block.outputs for block in sweep(cut, state, values, space=UnitSpace(2), **settings)])
    close(swept, naive(model, layer, images, 0.5))


@pytest.mark.parametrize("read", list(READ)[::2])
def test_every_unit_of_tokens_is_swept_as_the_full_network_computes(read):
    check_sweep(made(lambda: Transformer(READ[read], blocks=1)), "blocks")


@pytest.mark.parametrize("read", ["first token", "joined with others"])
def test_units_of_a_recorded_network_too(read):
    check_sweep(Untraced(made(lambda: Transformer(READ[read], blocks=1))), "network.blocks.0.attention:0")


@pytest.mark.slow
@pytest.mark.parametrize("read", READ)
@pytest.mark.parametrize("wrap", [lambda model: model, Untraced], ids=["traced", "recorded"])
def test_units_are_swept_in_every_layer_with_much_memory_and_little(read, wrap):
    model = wrap(made(lambda: Transformer(READ[read])))
    prefix = "" if isinstance(model, Transformer) else "network."
    for layer in ("blocks", "blocks.1.attention:0", "blocks.1.norm2", "blocks.0"):
        check_sweep(model, prefix + layer, alone=False)
        check_sweep(model, prefix + layer, memory=2**14)


def rows_of(cut, kind):
    """In how many tokens of each image the modules of a kind work in a replay of the tail."""
    seen = []
    hooks = [
        module.register_forward_hook(lambda module, args, output: seen.append(output.shape[1:-1].numel()))
        for module in cut.model.modules()
        if isinstance(module, kind)
    ]
    state = cut.front(shown(2))
    seen.clear()
    cut.back(state, state.activation)
    for hook in hooks:
        hook.remove()
    return seen


@pytest.mark.parametrize("read", ["first token", "first token, its units too"])
def test_of_what_treats_tokens_alone_only_the_token_is_computed_that_is_read(read):
    model = made(lambda: Transformer(READ[read]))
    assert rows_of(cut_network(model, "blocks", shown()), nn.LayerNorm) == [1]
    cut = cut_network(model, "blocks.1.norm1", shown())
    assert rows_of(cut, nn.LayerNorm) == [1, 1]
    assert rows_of(cut, nn.Linear) == [1, 1, 1]


@pytest.mark.parametrize("read", ["two tokens of one norm", "mean", "norm over all tokens"])
def test_where_more_tokens_are_read_all_are_computed(read):
    assert rows_of(cut_network(made(lambda: Transformer(READ[read])), "blocks", shown()), nn.LayerNorm) in ([10], [])


def test_attention_needs_all_tokens():
    cut = cut_network(made(lambda: Transformer(READ["first token"])), "blocks.0", shown())
    assert rows_of(cut, nn.LayerNorm) == [10, 1, 1]
