"""Generators with attention: their heads are edited like any units."""

import numpy as np
import pytest
import torch
from torch import nn

import unitlens as ul
from tests.ablation.units.test_heads import EACH, HEADS, WIDTH, Attention
from unitlens.editing.painting.scenes import Painter


class Drawing(nn.Module):
    """Tokens of 4 x 4 patches from a latent, attention over them, and an RGB colour of each."""

    def __init__(self):
        super().__init__()
        self.tokens, self.attn, self.colour = nn.Linear(6, 16 * WIDTH), Attention(), nn.Linear(WIDTH, 3)

    def forward(self, latents):
        x = self.tokens(latents).reshape(-1, 16, WIDTH)
        x = self.colour(x + self.attn(x)).sigmoid().transpose(1, 2).reshape(-1, 3, 4, 4)
        return nn.functional.interpolate(x, scale_factor=4)


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(1)
    model = Drawing().eval()
    nn.init.normal_(model.colour.weight, std=2)
    return ul.generator(model, latents=6, rescale=(0, 1))


@torch.inference_mode()
def naive(net, latents, head, value, rows=slice(None)):
    """What is drawn where the numbers of a head are overwritten in front of the projection."""

    def overwrite(module, args):
        heads = args[0].clone()
        heads[:, rows, head * EACH : (head + 1) * EACH] = value
        return (heads,)

    handle = net.model.attn.proj.register_forward_pre_hook(overwrite)
    try:
        return (net.model(net.prepare(torch.as_tensor(latents))) * 255).round().permute(0, 2, 3, 1).numpy()
    finally:
        handle.remove()


def test_an_image_is_drawn_without_a_head_or_with_another_images(net):
    latents = torch.randn(2, 6, generator=torch.Generator().manual_seed(2))
    edited = ul.edit_image(net, latents, layer="attn:heads", remove=[1])
    np.testing.assert_allclose(edited.after, naive(net, latents, 1, 0.0), atol=1)
    assert (edited.after != edited.before).any()
    level = torch.arange(HEADS, dtype=torch.float32)
    edited = ul.edit_image(net, latents, layer="attn:heads", insert=[2], level=level)
    np.testing.assert_allclose(edited.after, naive(net, latents, 2, 2.0), atol=1)
    like, given = torch.randn(1, 6, generator=torch.Generator().manual_seed(3)), []
    handle = net.model.attn.proj.register_forward_pre_hook(lambda module, args: given.append(args[0]))
    with torch.inference_mode():
        net.model(like)
    handle.remove()
    edited = ul.edit_image(net, latents, layer="attn:heads", insert=[3], like=like)
    np.testing.assert_allclose(edited.after, naive(net, latents, 3, given[0][:, :, 3 * EACH :]), atol=1)


@pytest.mark.filterwarnings("ignore::unitlens.errors.UnitlensWarning")
def test_heads_are_intervened_on_and_watched(net):
    latents, numbers = ul.latents(6, 48), []
    found = ul.intervene(net, "attn:heads", [1], latents, ul.Colors(), value="mean", draws=2)
    assert set(found.drawn) == {"random", "matched"}
    assert found.distance.after > 0
    given = torch.stack([torch.as_tensor(latents[index].image) for index in range(48)])
    handle = net.model.attn.proj.register_forward_pre_hook(lambda module, args: numbers.append(args[0]))
    with torch.inference_mode():
        net.model(net.prepare(given))
    handle.remove()
    drawn = naive(net, given, 1, numbers[0].mean((0, 1))[EACH : 2 * EACH])
    for image in found.examples.after:
        assert np.abs(drawn - image).max((1, 2, 3)).min() <= 1
    detectors = ul.drawn_detectors(net, "attn:heads", "red", latents, ul.Colors(), least_area=0.05)
    peaks = torch.cat(numbers).reshape(48, 16, HEADS, EACH).norm(dim=3).amax(1)
    np.testing.assert_allclose(detectors.peaks, peaks, rtol=1e-4)


def test_painting_with_heads_is_refused(net):
    with pytest.raises(ul.UnitlensError, match=r"attn:heads are heads of attention.*such as its projection"):
        Painter.of(net, ["attn:heads"])
    assert Painter.of(net, ["attn.proj"]).layers["attn.proj"].space.each == 1
