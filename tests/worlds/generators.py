"""Generators whose units are painted by hand: each draws a square of one colour at one place."""

from types import MappingProxyType

import numpy as np
import torch
from torch import nn

import unitlens as ul
from tests.worlds.planted import COLOURS, Said

GREY = 128
SIZE = 32
"""Pixels along a side of the images."""

BACKDROP = 12
"""Numbers of a latent that shade the grey behind the squares."""

CELLS = 16
"""Cells along a side of the units' maps."""


class Painter(nn.Module):
    """Unit u draws a square of 8 x 8 pixels where z[u] > 1: of colour u mod 4, in tile u of a grid of 4 x 4.

    ``layer`` has the units' maps, which are brighter in a square's middle and with larger z; whatever a unit is set to
    at a place, its colour is drawn there. Further units are random and draw nothing. The last `BACKDROP` numbers of a
    latent shade the grey behind the squares.
    """

    def __init__(self, units=8, *, extra=0):
        super().__init__()
        shapes = torch.zeros(units + extra, CELLS, CELLS)
        for unit in range(units):
            top, left = 4 * (unit // 4), 4 * (unit % 4)
            shapes[unit, top : top + 4, left : left + 4] = torch.tensor([[0.7, 0.8, 0.8, 0.7], [0.8, 1, 0.9, 0.8]] * 2)
        shapes[units:] = torch.rand(extra, CELLS, CELLS, generator=torch.Generator().manual_seed(0))
        self.shapes = nn.ConvTranspose2d(units + extra, units + extra, CELLS, groups=units + extra, bias=False)
        self.backdrop = nn.ConvTranspose2d(BACKDROP, 3, SIZE, bias=False)
        self.layer = Said()
        self.larger = nn.Upsample(scale_factor=SIZE // CELLS)
        self.paint = nn.Conv2d(units + extra, 3, 1)
        colours = torch.tensor(list(COLOURS.values())).float()
        weight = torch.zeros(3, units + extra)
        for unit in range(units):
            weight[:, unit] = (colours[unit % 4] - GREY) / 127.5
        with torch.no_grad():
            self.shapes.weight.copy_(shapes[:, None])
            self.paint.weight.copy_(weight[:, :, None, None])
            self.paint.bias.fill_(GREY / 127.5 - 1)
            self.backdrop.weight.copy_(_waves())

    def forward(self, latents):
        on, shade = torch.relu(latents[:, :-BACKDROP] - 1), latents[:, -BACKDROP:]
        maps = self.layer(self.shapes(on[:, :, None, None]))
        return self.paint((8 * self.larger(maps)).clamp(0, 1)) + self.backdrop(shade[:, :, None, None])


def _waves():
    """Faint waves, (BACKDROP, 3, SIZE, SIZE), the same in the three channels."""
    draws = np.random.default_rng(0)
    y, x = np.mgrid[:SIZE, :SIZE] / SIZE
    waves = [np.sin(2 * np.pi * (u * x + v * y + w)) for u, v, w in draws.uniform(0, 3, (BACKDROP, 3))]
    return torch.from_numpy(0.02 * np.stack(waves)).float()[:, None].repeat(1, 3, 1, 1)


class Dots(nn.Module):
    """Unit u draws a dot of 4 x 4 pixels, of colour u and at a place of its own, in each quarter of the image."""

    def __init__(self):
        super().__init__()
        self.layer = Said()
        dots = torch.zeros(4, 16, 16)
        for unit, (top, left) in enumerate([(2, 2), (2, 10), (10, 2), (10, 10)]):
            dots[unit, top : top + 4, left : left + 4] = 1
        self.register_buffer("dots", dots.repeat(1, 2, 2))
        self.register_buffer("colours", (torch.tensor(list(COLOURS.values())).float() - GREY) / 127.5)

    def forward(self, latents):
        maps = self.layer(torch.relu(latents.unflatten(1, (4, 2, 2)) - 1))
        dots = (8 * nn.functional.interpolate(maps, scale_factor=16)).clamp(0, 1) * self.dots
        return torch.einsum("nuyx,uc->ncyx", dots, self.colours) + GREY / 127.5 - 1


def dots():
    """A network for `Dots`, whose latents have 16 numbers."""
    return ul.generator(Dots().eval(), latents=16, rescale=(-1, 1))


def painter(units=8, *, extra=0):
    """A network for `Painter`."""
    return ul.generator(Painter(units, extra=extra).eval(), latents=units + extra + BACKDROP, rescale=(-1, 1))


def concept_of(unit):
    """The colour that a unit draws."""
    return list(COLOURS)[unit % 4]


class Squares:
    """Marks the squares in what was drawn: a concept source."""

    concepts = tuple(ul.Concept("color", label, name) for label, name in enumerate(COLOURS, 1))

    def planes(self, image, name):
        anchors = np.array([(GREY,) * 3, *COLOURS.values()], np.int64)
        distance = ((image[:, :, None].astype(np.int64) - anchors) ** 2).sum(-1)
        return {"color": [distance.argmin(-1).astype(np.uint8)]}

    def __repr__(self):
        return "squares"


class Measured(Squares):
    """Squares that says how good it is at three of its four colours."""

    ious = MappingProxyType({("color", "red"): 0.9, ("color", "green"): 0.5, ("color", "yellow"): 0.0})


def painted(n=200, *, units=8, extra=0, seed=0, source=None):
    """Latents for `painter`, and what marks the squares."""
    return ul.with_concepts(ul.latents(units + extra + BACKDROP, n, seed=seed), source or Squares())
