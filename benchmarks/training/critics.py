"""The critics that the bundled generator is trained against: on features of the bundled classifier, and on pixels."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.parametrizations import spectral_norm

from unitlens.models.bundled.scenes import CLASSES, MEAN, STD, scene_net

SEEN_SIZE = 96
"""Pixels a side of what the classifier sees; it was trained on 112, and 96 cost a quarter less."""


class Critic(nn.Module):
    """Logits of a map, and how well it suits the scene: a mean over places, (N,)."""

    def __init__(self, units: int) -> None:
        super().__init__()
        self.real = nn.Conv2d(units, 1, 1)
        self.suits = nn.Embedding(len(CLASSES), units)
        nn.init.normal_(self.suits.weight, std=0.5 / math.sqrt(units))

    def forward(self, maps: Tensor, scenes: Tensor) -> Tensor:
        """Return logits, (N, h, w)."""
        logits: Tensor = self.real(maps).squeeze(1) + torch.einsum("nchw,nc->nhw", maps, self.suits(scenes))
        return logits


class FeatureCritics(nn.Module):
    """One critic for each of three layers of the frozen classifier, behind a fixed random mixture of its units."""

    def __init__(self, scales: Sequence[Tensor], random: torch.Generator) -> None:
        super().__init__()
        for i, scale in enumerate(scales):
            mixture = nn.init.orthogonal_(torch.empty(len(scale), len(scale)), generator=random)
            self.register_buffer(f"mix{i}", (mixture / scale).view(len(scale), len(scale), 1, 1))
        self.heads = nn.ModuleList([self._head(len(scale), 2 if i == 0 else 1) for i, scale in enumerate(scales)])
        self.critics = nn.ModuleList([Critic(64) for _ in scales])

    @staticmethod
    def _head(units: int, stride: int) -> nn.Module:
        return nn.Sequential(
            spectral_norm(nn.Conv2d(units, 64, 3, stride=2, padding=1)),
            nn.LeakyReLU(0.2),
            spectral_norm(nn.Conv2d(64, 64, 3, stride=stride, padding=1)),
            nn.LeakyReLU(0.2),
        )

    def forward(self, features: Sequence[Tensor], scenes: Tensor) -> list[Tensor]:
        """Return one map of logits for each layer."""
        mixed = [functional.conv2d(f, getattr(self, f"mix{i}")) for i, f in enumerate(features)]
        return [critic(head(x), scenes) for x, head, critic in zip(mixed, self.heads, self.critics, strict=True)]


class PixelCritic(nn.Module):
    """A small network on the pixels, which also sees how alike the images of the batch are."""

    def __init__(self) -> None:
        super().__init__()
        self.maps = nn.Sequential(
            nn.Conv2d(3, 24, 4, stride=2, padding=1),
            nn.LeakyReLU(0.2),
            nn.Conv2d(24, 48, 4, stride=2, padding=1),
            nn.LeakyReLU(0.2),
            nn.Conv2d(48, 96, 4, stride=2, padding=1),
            nn.LeakyReLU(0.2),
        )
        self.last = nn.Sequential(nn.Conv2d(97, 96, 3, stride=2, padding=1), nn.LeakyReLU(0.2))
        self.critic = Critic(96)

    def forward(self, images: Tensor, scenes: Tensor) -> Tensor:
        """Return logits, (N, 4, 4)."""
        maps = self.maps(images)
        spread = (maps.var(0, unbiased=False) + 1e-8).sqrt().mean().expand(len(maps), 1, *maps.shape[2:])
        logits: Tensor = self.critic(self.last(torch.cat([maps, spread], 1)), scenes)
        return logits


class Features(nn.Module):
    """Three layers of the frozen classifier, for images in [-1, 1]."""

    def __init__(self) -> None:
        super().__init__()
        self.net = scene_net().requires_grad_(False)
        self.register_buffer("mean", torch.tensor(MEAN).view(3, 1, 1))
        self.register_buffer("std", torch.tensor(STD).view(3, 1, 1))

    def forward(self, images: Tensor) -> list[Tensor]:
        """Return the outputs of ``relu2``, ``relu4`` and ``relu6``."""
        seen = functional.interpolate(images, size=(SEEN_SIZE, SEEN_SIZE), mode="bilinear", align_corners=False)
        net, x = self.net, ((seen + 1) / 2 - self.mean) / self.std
        low = net.relu2(net.conv2(net.relu1(net.conv1(x))))
        middle = net.relu4(net.conv4(net.relu3(net.conv3(low))))
        return [low, middle, net.relu6(net.conv6(net.relu5(net.conv5(middle))))]

    def scales(self, images: Tensor) -> list[Tensor]:
        """Return the root mean square of each unit of each layer, so that none outweighs the others."""
        with torch.no_grad():
            return [f.square().mean((0, 2, 3)).sqrt().clamp_min(1e-3) for f in self(images)]
