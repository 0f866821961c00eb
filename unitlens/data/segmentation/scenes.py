"""The bundled segmenter as a concept source: objects, parts and materials of drawn scenes, in one pass."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from unitlens.data.concepts import Concept
from unitlens.data.scenes.words import CATEGORIES
from unitlens.data.segmentation.segments import weights_of
from unitlens.models.bundled.scenes_segmenter import IOU, LABELLED, ScenesSegmenter, scenes_segmenter
from unitlens.models.passes import evaluating

BUNDLED = "bundled:scenes-segmenter"
LARGEST = 112
"""Images whose shorter side is longer are reduced to it: the network was trained on 64 to 112 pixels."""


@dataclass(frozen=True, eq=False, repr=False)
class SceneLabels:
    """What the bundled segmenter sees in an image: a concept source of three categories.

    A label cannot be better than the segmenter: ``ious`` says how good it is on held-out drawn scenes.

    Attributes
    ----------
    network : ScenesSegmenter

    Examples
    --------
    >>> import unitlens as ul
    >>> source = SceneLabels.bundled()
    >>> planes = source.planes(ul.Scenes(1)[0].image, "a beach")
    >>> {category: maps[0].shape for category, maps in planes.items()}
    {'object': (112, 112), 'part': (112, 112), 'material': (112, 112)}
    """

    network: ScenesSegmenter

    @classmethod
    def bundled(cls, *, device: str = "cpu") -> "SceneLabels":
        """Return the source with the weights that come along."""
        return cls(scenes_segmenter().to(device))

    @property
    def concepts(self) -> tuple[Concept, ...]:
        """Every object, part and material of the drawn scenes, with the labels that they have there."""
        return tuple(
            Concept(category, label, name)
            for category in LABELLED
            for label, name in enumerate(CATEGORIES[category], 1)
        )

    @cached_property
    def ious(self) -> Mapping[tuple[str, str], float]:
        """The segmenter's IoU with each (category, concept) on held-out drawn scenes of 64 x 64 pixels."""
        with IOU.open(encoding="utf-8", newline="") as file:
            return {(row["category"], row["concept"]): float(row["iou_64"]) for row in csv.DictReader(file)}

    @cached_property
    def fingerprint(self) -> str:
        """Of the network's weights."""
        return weights_of(self.network)

    def planes(self, image: npt.NDArray[np.uint8], name: str) -> Mapping[str, Sequence[npt.NDArray[np.uint8]]]:
        """One label map for each category, (rows, columns)."""
        return {category: [maps[0][0]] for category, maps in self.planes_of(image[None]).items()}

    def planes_of(self, images: npt.NDArray[np.uint8]) -> Mapping[str, Sequence[npt.NDArray[np.uint8]]]:
        """The label maps of many images, uint8 (N, height, width, 3), in one pass: (N, rows, columns) a category."""
        device = next(self.network.parameters()).device
        pixels = torch.from_numpy(np.ascontiguousarray(images)).to(device).permute(0, 3, 1, 2)
        with evaluating(self.network):
            labels = [scores.argmax(1).to(torch.uint8).cpu().numpy() for scores in self.scores(pixels.float() / 255)]
        return {category: [maps] for category, maps in zip(LABELLED, labels, strict=True)}

    def probabilities(self, images: Tensor) -> Tensor:
        """How likely each concept is at each pixel; gradients pass.

        Parameters
        ----------
        images : Tensor, (N, 3, height, width)
            In [0, 1].

        Returns
        -------
        Tensor, (N, C, rows, columns)
            In the order of ``concepts``; those of a category and "none of them" sum to 1.
        """
        return torch.cat([scores.softmax(1)[:, 1:] for scores in self.scores(images)], 1)

    def scores(self, images: Tensor) -> list[Tensor]:
        """Return the network's scores for images of any size, of which large ones are reduced."""
        height, width = images.shape[-2:]
        if min(height, width) > LARGEST:
            factor = LARGEST / min(height, width)
            height, width = round(height * factor), round(width * factor)
            images = functional.interpolate(images, size=(height, width), mode="bilinear", antialias=True)
        beyond = (0, -width % 8, 0, -height % 8)
        padded = functional.pad(images, beyond, mode="replicate") if any(beyond) else images
        return [scores[..., :height, :width] for scores in self.network(padded)]

    def __repr__(self) -> str:
        return BUNDLED
