"""The bundled segmenter: a small network that labels the pixels of the drawn scenes, and its weights."""

import csv
from pathlib import Path
from types import MappingProxyType

import torch
from torch import Tensor, nn

from unitlens.models.bundled.scenes import MEAN, STD, bundled_network

LABELLED = MappingProxyType({"object": 69, "part": 27, "material": 13})
"""The categories that it labels, and how many concepts each has."""
WEIGHTS = Path(__file__).parent / "scenes_segmenter.safetensors"
IOU = Path(__file__).parent / "scenes_segmenter.csv"
"""IoU of every concept on held-out drawn scenes, written by the training script beside the weights."""


class ScenesSegmenter(nn.Module):
    """Down to an eighth of the image, and up to a half of it again, with a sum across at every size.

    Objects, parts and materials overlap (a wheel is part of a car and made of metal), so that each category has scores
    of its own; score 0 of each is for nothing of the category.
    """

    mean: Tensor
    std: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(MEAN).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(STD).view(3, 1, 1), persistent=False)
        self.down2 = nn.Sequential(_layer(3, 32, size=5, stride=2), _layer(32, 48))
        self.down4 = nn.Sequential(_layer(48, 96, stride=2), _layer(96, 96))
        self.down8 = nn.Sequential(_layer(96, 160, stride=2), _layer(160, 160))
        self.narrow4, self.narrow2 = nn.Conv2d(160, 96, 1), nn.Conv2d(96, 48, 1)
        self.enlarge = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False)
        self.up4 = _layer(96, 96)
        self.up2 = _layer(48, 48)
        self.classify = nn.Conv2d(48, sum(1 + count for count in LABELLED.values()), 1)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Return the scores of every category.

        Parameters
        ----------
        images : Tensor, (N, 3, height, width)
            RGB in [0, 1]; height and width are multiples of 8.

        Returns
        -------
        list of Tensor, (N, 1 + concepts, height, width)
            One a category; number 0 is none of its concepts.
        """
        # in one piece, which lies in memory as it is computed: that is fast
        return _by_category(self.enlarge(self._half(images)))

    def coarse(self, images: Tensor) -> list[Tensor]:
        """Return the same scores at half the height and width, which they are computed at."""
        return _by_category(self._half(images))

    def _half(self, images: Tensor) -> Tensor:
        """The scores of all categories, at half the height and width."""
        half = self.down2((images - self.mean) / self.std)
        quarter = self.down4(half)
        eighth = self.down8(quarter)
        quarter = self.up4(quarter + self.enlarge(self.narrow4(eighth)))
        half = self.up2(half + self.enlarge(self.narrow2(quarter)))
        scores: Tensor = self.classify(half)
        return scores


class SceneObjects(ScenesSegmenter):
    """The same network with the scores of objects alone, returned as torchvision's segmenters do."""

    def forward(self, images: Tensor) -> dict[str, Tensor]:  # type: ignore[override]
        """Return {"out": scores of objects}, (N, 1 + objects, height, width); number 0 is none of them."""
        return {"out": super().forward(images)[0]}


def object_names() -> tuple[str, ...]:
    """What the scores of `SceneObjects` are of."""
    with IOU.open(encoding="utf-8", newline="") as file:
        return ("nothing", *(row["concept"] for row in csv.DictReader(file) if row["category"] == "object"))


def _by_category(scores: Tensor) -> list[Tensor]:
    sizes = [1 + count for count in LABELLED.values()]
    return [scores.narrow(1, sum(sizes[:k]), size) for k, size in enumerate(sizes)]


def _layer(units_in: int, units: int, *, size: int = 3, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(units_in, units, size, stride=stride, padding=size // 2), nn.ReLU())


def scenes_segmenter(*, weights: str | None = None) -> ScenesSegmenter:
    """Return the trained segmenter of the drawn scenes, in evaluation mode.

    Parameters
    ----------
    weights : str or None
        None for the weights that come along, "none" for weights freshly drawn, else a file that
        ``benchmarks/training/segmenter.py`` wrote.

    Raises
    ------
    UnitlensError
        If the file is not there, or holds other weights.
    """
    return bundled_network(ScenesSegmenter, weights, trained=WEIGHTS, script="benchmarks.training.segmenter")


def scene_objects(*, weights: str | None = None, seed: int = 0) -> SceneObjects:
    """Return the same network with the scores of objects alone; weights as for `scenes_segmenter`."""
    return bundled_network(SceneObjects, weights, trained=WEIGHTS, script="benchmarks.training.segmenter", seed=seed)
