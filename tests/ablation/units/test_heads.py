"""Heads of attention as units: what each gives to the projection is set, in the network as in a replay."""

import numpy as np
import pytest
import torch
from torch import nn

import unitlens as ul
from tests.ablation.replay.replaying import Untraced, close
from tests.worlds.planted import ColourWorld
from unitlens.ablation.activity import unit_means
from unitlens.ablation.interventions import Replacement
from unitlens.ablation.replay.cutting import cut_network
from unitlens.ablation.replay.sweeps import sweep
from unitlens.app.explored import described_layer
from unitlens.data.reading import Reading
from unitlens.explaining.exploring.explorer import Explorer
from unitlens.models.units.space import UnitSpace

WIDTH, HEADS = 16, 4
EACH = WIDTH // HEADS


class Attention(nn.Module):
    """As in timm: heads side by side in front of a projection."""

    def __init__(self) -> None:
        super().__init__()
        self.num_heads = HEADS
        self.qkv, self.proj = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)

    def forward(self, x):
        n, t, _ = x.shape
        q, k, v = self.qkv(x).reshape(n, t, 3, HEADS, EACH).permute(2, 0, 3, 1, 4).unbind(0)
        heads = nn.functional.scaled_dot_product_attention(q, k, v)
        return self.proj(heads.transpose(1, 2).reshape(n, t, WIDTH))


class Encoder(nn.Module):
    """Two layers of attention over a class token and 4 x 4 patches."""

    def __init__(self) -> None:
        super().__init__()
        self.patches, self.cls_token = nn.Conv2d(3, WIDTH, 8, stride=8), nn.Parameter(torch.randn(1, 1, WIDTH))
        self.attn, self.attn2, self.norm = Attention(), Attention(), nn.LayerNorm(WIDTH)
        self.head = nn.Linear(WIDTH, 5)

    def forward(self, images):
        x = self.patches(images).flatten(2).transpose(1, 2)
        x = torch.cat([self.cls_token.expand(x.shape[0], -1, -1), x], 1)
        x = x + self.attn(x)
        return self.head(self.norm(x + self.attn2(x))[:, 0])


def made():
    torch.manual_seed(0)
    return Encoder().eval()


def pixels(count=3):
    return torch.rand(count, 3, 32, 32, generator=torch.Generator().manual_seed(5))


@torch.inference_mode()
def naive(model, projection, images, head, value, each=EACH, tokens=slice(None)):
    """What the model returns where the numbers of a head are overwritten in front of the projection."""

    def overwrite(module, args):
        heads = args[0].clone()
        heads[:, tokens, head * each : (head + 1) * each] = value
        return (heads,)

    handle = model.get_submodule(projection).register_forward_pre_hook(overwrite)
    try:
        return model(images)
    finally:
        handle.remove()


@pytest.mark.parametrize("wrap", [lambda model: model, Untraced], ids=["traced", "recorded"])
def test_a_sweep_of_heads_gives_what_the_full_network_gives(wrap):
    model, images = wrap(made()), pixels()
    name = "network.attn" if isinstance(model, Untraced) else "attn"
    cut = cut_network(model, f"{name}:heads", images)
    assert cut.replays, cut.reason
    state, space = cut.front(images), UnitSpace(2, EACH)
    values = Replacement(0.5).values(space.read(state.activation))
    swept = torch.cat([block.outputs for block in sweep(cut, state, values, space=space)])
    close(swept, torch.stack([naive(model, f"{name}.proj", images, head, 0.5) for head in range(HEADS)]))


def network(model=None):
    return ul.classifier(model or made(), image_size=32, mean=(0, 0, 0), std=(1, 1, 1))


def test_intervening_sets_heads_and_at_the_class_token_alone():
    net, images = network(), pixels()
    for where, tokens in ((None, slice(None)), ("class", slice(0, 1))):
        off = ul.Intervention("attn:heads", [2], where=where)
        with ul.evaluating(net.model), ul.intervening(net, off):
            close(net.model(images), naive(net.model, "attn.proj", images, 2, 0.0, tokens=tokens))


def test_a_head_is_set_to_the_mean_of_each_of_its_numbers():
    net, data = network(), ColourWorld(24)
    images = torch.stack([torch.from_numpy(data[index].image) for index in range(24)]).permute(0, 3, 1, 2) / 255
    given = []
    handle = net.model.attn.proj.register_forward_pre_hook(lambda module, args: given.append(args[0]))
    with torch.inference_mode():
        before = net.model(images)
    handle.remove()
    mean = given[0].mean((0, 1))
    effects = ul.outcome_effects(net, "attn:heads", data, "output:1", value="mean")
    for head in range(HEADS):
        after = naive(net.model, "attn.proj", images, head, mean[head * EACH : (head + 1) * EACH])
        assert effects.effect()[head] == pytest.approx(float((after - before)[:, 1].mean()), abs=1e-5)
    beside = ul.outcome_effects(net, "attn:heads", data, "output:1", units=[1], draws=5, value="resample")
    assert set(beside.drawn) == {"random", "matched"}


def test_a_map_of_a_head_is_how_much_it_gives_at_each_patch():
    net, data = network(), ColourWorld(48)
    with pytest.warns(ul.UnitlensWarning, match="attn:heads: 1 of 17 tokens, in front, is no patch"):
        d = ul.dissect(net, "attn:heads", data, quantile=0.1, exemplars=0, evidence=False)
    assert len(d.table()) == HEADS
    assert d.info["layers"]["attn:heads"]["grid"] == [4, 4]
    assert d.info["layers"]["attn:heads"]["left_out"] == {"class": 1}
    given = []
    handle = net.model.attn.proj.register_forward_pre_hook(lambda module, args: given.append(args[0]))
    images = torch.stack([torch.from_numpy(data[index].image) for index in range(48)]).permute(0, 3, 1, 2) / 255
    with torch.inference_mode():
        net.model(images)
    handle.remove()
    lengths = given[0][:, 1:].reshape(48, 16, HEADS, EACH).norm(dim=3)
    np.testing.assert_allclose(d.info["layers"]["attn:heads"]["mean"], lengths.mean((0, 1)), rtol=1e-5)


def test_heads_are_listed_before_their_attention():
    names = [layer.name for layer in network().layers()]
    assert names.index("attn:heads") == names.index("attn") - 1
    listed = next(layer for layer in network().layers() if layer.name == "attn:heads")
    assert (listed.kind, listed.units, listed.grid) == ("heads", HEADS, (4, 4))


FAMILIES = [
    ("ViTForImageClassification", "ViTConfig", "o_proj"),
    ("CLIPVisionModelWithProjection", "CLIPVisionConfig", "out_proj"),
]


@pytest.mark.parametrize(("kind", "config", "projection"), FAMILIES)
def test_heads_of_networks_of_hugging_face(kind, config, projection):
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    torch.manual_seed(0)
    options = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 32}
    made = getattr(transformers, config)(image_size=32, patch_size=8, **options)
    model, images = getattr(transformers, kind)(made).eval(), pixels()
    attention = [info.name for info in network(model).layers() if info.kind == "heads"]
    assert len(attention) == 2
    layer = attention[0]
    cut = cut_network(model, layer, images)
    assert cut.replays, cut.reason
    state = cut.front(images)
    zeroed = next(iter(sweep(cut, state, units=range(1, 2), space=UnitSpace(2, EACH)))).outputs
    expected = naive(model, f"{layer.removesuffix(':heads')}.{projection}", images, 1, 0.0)
    close(next(iter(zeroed.values()))[0], next(iter(expected.values())))


def test_heads_of_timm():
    timm = pytest.importorskip("timm", reason="timm is not installed")
    torch.manual_seed(0)
    how = {"img_size": 32, "patch_size": 8, "embed_dim": WIDTH, "depth": 1, "num_heads": HEADS, "num_classes": 3}
    net = network(timm.models.vision_transformer.VisionTransformer(**how).eval())
    off, images = ul.Intervention("blocks.0.attn:heads", [0, 3]), pixels()
    with ul.evaluating(net.model), ul.intervening(net, off):
        changed = net.model(images)
    net.model.blocks[0].attn.proj.weight.data[:, [*range(EACH), *range(3 * EACH, WIDTH)]] = 0  # what reads these heads
    with ul.evaluating(net.model):
        close(changed, net.model(images))


def test_what_has_no_heads_is_a_clear_error():
    with pytest.raises(ul.UnitlensError, match=r"norm returned one tensor, so leave out ':heads'"):
        ul.outcome_effects(network(), "norm:heads", ColourWorld(4), "distance")
    with pytest.raises(ul.UnitlensError, match="attn:heads has 4 units, 0 to 3; unit 4 is not"):
        ul.outcome_effects(network(), "attn:heads", ColourWorld(4), "distance", units=[4])


def test_one_number_for_each_head_is_that_of_all_of_its_numbers():
    net, data = network(), ColourWorld(24)
    number, vector = (
        ul.outcome_effects(net, "attn:heads", data, "output:1", value=value)
        for value in (0.25, torch.full((HEADS,), 0.25))
    )
    np.testing.assert_allclose(vector.effect(), number.effect(), rtol=1e-5, atol=1e-7)
    for value in (torch.tensor([0.25]), 0.25):
        with ul.evaluating(net.model), ul.intervening(net, ul.Intervention("attn:heads", [1], value=value)):
            close(net.model(pixels()), naive(net.model, "attn.proj", pixels(), 1, 0.25))


@pytest.fixture(scope="module")
def dissected():
    """Heads of one module of attention, dissected."""
    net, data = network(), ColourWorld(48)
    with pytest.warns(ul.UnitlensWarning, match="is no patch"):
        return net, data, ul.dissect(net, "attn:heads", data, quantile=0.1, exemplars=0, evidence=False)


def test_an_explanation_sets_a_head_to_the_mean_of_each_of_its_numbers(dissected):
    net, data, d = dissected
    with pytest.raises(ul.UnitlensError, match=r"mean length of each head of attn:heads.*over as data=\."):
        ul.explain(net, d, data[0].image, value="mean")
    (one,) = ul.explain(net, d, data[0].image, value="mean", data=data)
    mean, image = unit_means(net, "attn:heads", data, Reading()), torch.from_numpy(data[0].image.copy())
    inputs = net.prepare(image.permute(2, 0, 1)[None])
    for head in range(HEADS):
        numbers = mean[head * EACH : (head + 1) * EACH].float()
        logit = naive(net.model, "attn.proj", inputs, head, numbers)[0, one.explained]
        assert one.units.logit[head] == pytest.approx(float(logit), abs=1e-5)


def test_the_explorer_switches_heads_off(dissected):
    net, data, d = dissected
    explorer = Explorer(net, d, data, "attn:heads")
    said = explorer.view(3).with_edits([explorer.edit([1], "off")])
    inputs = net.prepare(torch.from_numpy(data[3].image.copy()).permute(2, 0, 1)[None])
    np.testing.assert_allclose(said, naive(net.model, "attn.proj", inputs, 1, 0.0)[0], atol=1e-5)
    assert described_layer(explorer)["positions"] == ("off",)
    with pytest.raises(ul.UnitlensError, match=r"heads of attention, of several numbers each.*switch them off"):
        explorer.edit([1], "mean")


def test_heads_of_a_model_that_is_not_given_images():
    torch.manual_seed(0)
    model, tokens, given = nn.Sequential(Attention()).eval(), torch.randn(2, 5, WIDTH), []
    with ul.intervening(model, ul.Intervention("0:heads", [1], value=7.0)):
        handle = model[0].proj.register_forward_pre_hook(lambda module, args: given.append(args[0]))
        model(tokens)
        handle.remove()
    is_changed = (given[0] == 7).all((0, 1))
    assert is_changed.nonzero().ravel().tolist() == list(range(EACH, 2 * EACH))
