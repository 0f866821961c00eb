"""Heads of attention that computes its projection too: the network stays what it is, and so does what is ablated."""

import copy

import pytest
import torch
from torch import nn

import unitlens as ul
from tests.ablation.replay.replaying import close
from tests.worlds.planted import ColourWorld
from unitlens.ablation.interventions import Replacement
from unitlens.ablation.replay.cutting import cut_network
from unitlens.ablation.replay.replayed import unit_space
from unitlens.ablation.replay.sweeps import sweep

pytest.importorskip("torchvision")


def vit():
    from torchvision.models import VisionTransformer

    sizes = {"num_layers": 2, "num_heads": 4, "hidden_dim": 16, "mlp_dim": 32}
    return VisionTransformer(image_size=32, patch_size=8, num_classes=5, **sizes)


def swin(**how):
    from torchvision.models.swin_transformer import SwinTransformer

    sizes = {"patch_size": [2, 2], "embed_dim": 8, "depths": [2, 2], "num_heads": [2, 4], "num_classes": 5}
    return SwinTransformer(**sizes, **{"window_size": [3, 3], **how})  # 16 x 16 tokens: windows at the edge are padded


def swin_v2():
    from torchvision.models.swin_transformer import PatchMergingV2, SwinTransformerBlockV2

    return swin(window_size=[4, 4], block=SwinTransformerBlockV2, downsample_layer=PatchMergingV2)


def timm_swin(version=""):
    timm = pytest.importorskip("timm", reason="timm is not installed")
    kind = getattr(getattr(timm.models, f"swin_transformer{version.lower()}"), f"SwinTransformer{version[1:]}")
    sizes = {"embed_dim": 8, "depths": (2, 2), "num_heads": (2, 4), "num_classes": 5}
    return kind(img_size=32, patch_size=2, window_size=3, **sizes)


class Sequence(nn.Module):
    """torch's own layers, which take tokens with the images second."""

    def __init__(self):
        super().__init__()
        self.patches = nn.Conv2d(3, 16, 8, stride=8)
        layer = nn.TransformerEncoderLayer(16, 4, dim_feedforward=32)
        self.encoder, self.head = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False), nn.Linear(16, 5)

    def forward(self, images):
        return self.head(self.encoder(self.patches(images).flatten(2).permute(2, 0, 1)).mean(0))


MADE = {
    "vit": (vit, "encoder.layers.encoder_layer_1.self_attention"),
    "swin": (swin, "features.1.1.attn"),
    "swin_v2": (swin_v2, "features.1.1.attn"),
    "timm_swin": (timm_swin, "layers.0.blocks.1.attn"),
    "timm_swin_v2": (lambda: timm_swin("_V2"), "layers.0.blocks.1.attn"),
    "sequence": (Sequence, "encoder.layers.0.self_attn"),
}


@pytest.fixture(scope="module", params=MADE)
def case(request):
    """A network in which heads matter, and one of its modules of attention."""
    make, name = MADE[request.param]
    torch.manual_seed(3)
    model = make().eval()
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.3)
    return ul.classifier(model, image_size=32, mean=(0, 0, 0), std=(1, 1, 1)), name


def pixels():
    return torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(5))


def without(net, name, head):
    """The network with the numbers of a head cut off where its projection reads them."""
    model = copy.deepcopy(net.model)
    attention = model.get_submodule(name)
    projection = getattr(attention, "proj", None) or attention.out_proj
    each = projection.in_features // attention.num_heads
    with torch.no_grad():
        projection.weight[:, head * each : (head + 1) * each] = 0
    return model


def test_recording_heads_changes_nothing(case):
    net, name = case
    before = {path: dict(vars(module)) for path, module in net.model.named_modules()}
    with ul.evaluating(net.model):
        plain = net.model(pixels())
        with ul.record(net.model, [name, f"{name}:heads"]) as recorded:
            seen = net.model(pixels())
        assert torch.equal(net.model(pixels()), plain)
    close(seen, plain)
    assert recorded[f"{name}:heads"].shape[0] == 3
    for path, module in net.model.named_modules():
        assert vars(module).keys() == before[path].keys()


def test_a_module_is_put_together_again_after_an_error(case):
    net, name = case

    def fail(activation):
        raise RuntimeError("in the edit")

    with pytest.raises(RuntimeError, match="in the edit"), ul.evaluating(net.model):  # noqa: SIM117
        with ul.edit(net.model, {f"{name}:heads": fail}):
            net.model(pixels())
    assert not any({"forward", "_attn"} & vars(module).keys() for module in net.model.modules())


def test_ablating_a_head_is_what_its_projection_does_without_it(case):
    net, name = case
    for where in ({}, {"where": torch.tensor(1.0)}):
        with ul.evaluating(net.model), ul.intervening(net, ul.Intervention(f"{name}:heads", [1], **where)):
            changed = net.model(pixels())
        with ul.evaluating(net.model):
            plain, expected = net.model(pixels()), without(net, name, 1)(pixels())
        close(changed, expected)
        assert (changed - plain).abs().max() > 1e-3 * plain.abs().max()


def test_heads_are_switched_off_for_good(case):
    net, name = case
    layer, count = f"{name}:heads", net.model.get_submodule(name).num_heads
    for value in (0.0, torch.linspace(-1, 1, count)):
        module = ul.without(net, layer, [1], value=value)
        assert module.state_dict().keys() == net.model.state_dict().keys()
        at = value if isinstance(value, float) else float(value[1])
        with ul.evaluating(net.model), ul.intervening(net, ul.Intervention(layer, [1], at)):
            expected = net.model(pixels())
        with ul.evaluating(module):
            close(module(pixels()), expected)


def test_a_sweep_of_heads_is_replayed(case):
    net, name = case
    cut = cut_network(net.model, f"{name}:heads", pixels())
    assert cut.replays, cut.reason
    state = cut.front(pixels())
    space = unit_space(net, f"{name}:heads", state.activation)
    swept = torch.cat(
        [block.outputs for block in sweep(cut, state, Replacement().values(space.read(state.activation)), space=space)]
    )
    heads = net.model.get_submodule(name).num_heads
    with ul.evaluating(net.model):
        close(swept, torch.stack([without(net, name, head)(pixels()) for head in range(heads)]))


@pytest.mark.filterwarnings("ignore:.*in front, is no patch:unitlens.errors.UnitlensWarning")
def test_heads_are_listed_and_dissected(case):
    net, name = case
    listed = {layer.name: layer for layer in net.layers()}
    assert listed[name].calls == 1
    projection = next(info for info in listed.values() if info.name in (f"{name}.proj", f"{name}.out_proj"))
    assert projection.units is None  # nobody calls it, or with windows
    heads = net.model.get_submodule(name).num_heads
    assert (listed[f"{name}:heads"].units, listed[f"{name}:heads"].kind) == (heads, "heads")
    d = ul.dissect(net, f"{name}:heads", ColourWorld(24), quantile=0.1, exemplars=0, evidence=False)
    assert len(d.table()) == heads
    assert d.info["layers"][f"{name}:heads"]["grid"] == list(listed[f"{name}:heads"].grid)


def test_somebody_elses_forward_is_left_alone():
    net = ul.classifier(vit().eval(), image_size=32, mean=(0, 0, 0), std=(1, 1, 1))
    name, theirs = MADE["vit"][1], []
    attention = net.model.get_submodule(name)
    attention.forward = lambda *args, **how: theirs.append(1) or type(attention).forward(attention, *args, **how)
    with ul.evaluating(net.model), ul.record(net.model, [f"{name}:heads"]) as recorded:
        net.model(pixels())
    assert theirs == [1]
    with pytest.raises(ul.UnitlensError, match="was not reached"):
        recorded[f"{name}:heads"]
