"""The bundled generator: a small network that draws scenes from random numbers, and its weights."""

from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor, nn

from unitlens.models.bundled.scenes import CLASSES, bundled_network

LATENTS = 96
IMAGE_SIZE = 64
WIDTHS = (256, 192, 96, 48, 24)
"""Units of ``block4``, ``block8``, ``block16``, ``block32`` and ``block64``."""
WEIGHTS = Path(__file__).parent / "scenes_generator.safetensors"
DEFAULT_LAYER = "block16"
CODE = LATENTS + len(CLASSES)


class Start(nn.Module):
    """The code becomes maps of 4 x 4."""

    def __init__(self, units: int) -> None:
        super().__init__()
        self.project = nn.Linear(CODE, units * 16)
        self.grid = nn.Unflatten(1, (units, 4, 4))
        self.relu = nn.ReLU()

    def forward(self, code: Tensor) -> Tensor:
        """Return maps, (N, units, 4, 4), from the code, (N, 108)."""
        maps: Tensor = self.relu(self.grid(self.project(code)))
        return maps


class Block(nn.Module):
    """Twice the size: a convolution on the small grid, bilinear enlargement, a convolution on the large one.

    The code scales and shifts each of the block's units before the last ReLU, so that what is drawn can be decided at
    every size.
    """

    def __init__(self, units_in: int, units: int) -> None:
        super().__init__()
        self.narrow = nn.Conv2d(units_in, units, 3, padding=1)
        self.relu1 = nn.ReLU()
        self.enlarge = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False)
        self.conv = nn.Conv2d(units, units, 3, padding=1)
        self.scale = nn.Linear(CODE, units)
        self.shift = nn.Linear(CODE, units)
        self.relu2 = nn.ReLU()

    def forward(self, maps: Tensor, code: Tensor) -> Tensor:
        """Return maps, (N, units, 2 h, 2 w), from the smaller ones and the code."""
        x = self.conv(self.enlarge(self.relu1(self.narrow(maps))))
        larger: Tensor = self.relu2(x * (1 + self.scale(code)[..., None, None]) + self.shift(code)[..., None, None])
        return larger


class ScenesGenerator(nn.Module):
    """Five blocks, from 4 x 4 to 64 x 64; each from ``block8`` on adds what it draws to the image.

    A latent is 96 independent normal numbers. The largest of the first twelve decides which of the twelve kinds of
    scene is drawn; every kind is therefore as likely as any other, and a latent is all that the generator takes.
    """

    def __init__(self) -> None:
        super().__init__()
        start, *_ = WIDTHS
        self.block4 = Start(start)
        self.block8, self.block16, self.block32, self.block64 = (
            Block(units_in, units) for units_in, units in pairwise(WIDTHS)
        )
        self.draw8, self.draw16, self.draw32, self.draw64 = (nn.Conv2d(units, 3, 1) for units in WIDTHS[1:])
        self.enlarge = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False)
        self.tanh = nn.Tanh()

    def forward(self, latents: Tensor) -> Tensor:
        """Draw images.

        Parameters
        ----------
        latents : Tensor, (N, 96)
            Independent normal numbers.

        Returns
        -------
        Tensor, (N, 3, 64, 64)
            RGB in [-1, 1].
        """
        code = torch.cat([latents, scene_of(latents)], 1)
        maps = self.block4(code)
        maps = self.block8(maps, code)
        image = self.draw8(maps)
        maps = self.block16(maps, code)
        image = self.enlarge(image) + self.draw16(maps)
        maps = self.block32(maps, code)
        image = self.enlarge(image) + self.draw32(maps)
        maps = self.block64(maps, code)
        drawn: Tensor = self.tanh(self.enlarge(image) + self.draw64(maps))
        return drawn


def scene_of(latents: Tensor) -> Tensor:
    """Return which scene each latent stands for: one 1 a row, (N, 12), in the order of ``CLASSES``."""
    return nn.functional.one_hot(latents[:, : len(CLASSES)].argmax(1), len(CLASSES)).to(latents.dtype)


def scenes_generator(*, weights: str | None = None, seed: int = 0) -> ScenesGenerator:
    """Return the generator of drawn scenes, in evaluation mode.

    Parameters
    ----------
    weights : str or None
        None for the trained weights that come along, "none" for weights freshly drawn, else a ``.safetensors`` file
        that ``benchmarks/training/generator.py`` of the repository wrote.
    seed : int
        Of the fresh weights. PyTorch's own generator is left as it was.

    Raises
    ------
    UnitlensError
        If the file is not there, or holds other weights.
    """
    return bundled_network(ScenesGenerator, weights, trained=WEIGHTS, script="benchmarks.training.generator", seed=seed)
