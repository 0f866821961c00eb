"""A network that does not take what it is given: the sentence says what it takes."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import unitlens as ul
from tests.worlds.planted import ColourWorld


class Generator(nn.Module):
    """Takes (N, 100) numbers and shapes them itself, as many do."""

    def __init__(self) -> None:
        super().__init__()
        self.draw = nn.Sequential(nn.ConvTranspose2d(100, 8, 4), nn.ReLU(), nn.ConvTranspose2d(8, 3, 4))

    def forward(self, latents: Tensor) -> Tensor:
        return self.draw(latents.view(latents.shape[0], 100, 1, 1))


def flat():
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 5))


NETWORKS = {
    "latents as maps": (lambda: Generator().draw, ("does not take RGB", "0 (ConvTranspose2d)", "takes 100 channels")),
    "latents as numbers": (
        lambda: nn.Sequential(nn.Linear(100, 5)),
        ("does not take RGB", "(Linear)", "takes 100 numbers"),
    ),
    "latents shaped inside": (Generator, ("draw.0 (ConvTranspose2d)", "takes 100 channels")),
    "another size": (flat, ("1 (Linear) takes 192 numbers", "given 3072", "image_size=")),
    "a grid too small": (
        lambda: nn.Sequential(nn.Conv2d(3, 5, 99)),
        ("fails on images of 32 x 32", "image_size="),
    ),
}


class Classified:
    """Images of two classes."""

    concepts = ()

    def __len__(self):
        return 8

    def __getitem__(self, index):
        return ul.Example(np.full((40, 40, 3), index, np.uint8), {}, f"{index}", f"class {index % 2}")


def looked_at(net):
    net.layers()


def dissected(net):
    ul.dissect(net, net_layer(net), ColourWorld(8), evidence=False)


def ablated(net):
    ul.importance(net, net_layer(net), Classified())


def net_layer(net):
    return next(name for name, module in net.model.named_modules() if not list(module.children()))


def test_a_network_of_one_channel_is_given_one_band():
    model = nn.Sequential(nn.Conv2d(1, 5, 3))
    with pytest.raises(ul.UnitlensError, match=r"mean= has 3 numbers, and the network takes 1 band: give one for each"):
        ul.classifier(model, image_size=32, mean=(0, 0, 0), std=(1, 1, 1))
    assert ul.classifier(model, image_size=32, mean=(0,), std=(1,)).layers()[-1].shape == (5, 30, 30)


@pytest.mark.parametrize("use", [looked_at, dissected, ablated])
@pytest.mark.parametrize("kind", NETWORKS)
def test_the_sentence_says_what_the_network_takes(kind, use):
    build, facts = NETWORKS[kind]
    net = ul.classifier(build(), image_size=32, mean=(0, 0, 0), std=(1, 1, 1))
    with pytest.raises(ul.UnitlensError) as raised:
        use(net)
    for fact in facts:
        assert fact in str(raised.value)
    if "does not take RGB" in facts:
        assert "image_size" not in str(raised.value)


def test_memory_that_is_not_there_asks_for_a_smaller_batch():
    class Large(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            raise torch.OutOfMemoryError

    net = ul.classifier(Large(), image_size=32, mean=(0, 0, 0), std=(1, 1, 1))
    with pytest.raises(ul.UnitlensError, match=r"1 images? of 32 x 32 .*batch_size="):
        net.layers()
