"""The bundled encoder of images and words: two small networks with one space, and their weights."""

import csv
import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from unitlens.errors import UnitlensError, did_you_mean
from unitlens.models.bundled.scenes import MEAN, STD, bundled_network

WEIGHTS = Path(__file__).parent / "scenes_words.safetensors"
"""In half precision."""
VOCABULARY = Path(__file__).parent / "scenes_words.csv"
"""The words that it knows, and how well it finds the images of each, written by the training script."""
IMAGE_SIZE = 96
SPACE = 160
"""Numbers of a vector."""
SILENT = frozenset(("a", "an", "the", "with", "and", "of", "in", "on", "made", "some"))
"""Words that say nothing of an image."""


class ScenesWords(nn.Module):
    """A convolutional network for images and a bag of words for texts; a pair that belongs together has a high cosine.

    The vector of an image comes from the mean and the maximum of 192 units over a grid of 12 x 12, the vector of a text
    from the sum of its words, whose order says nothing.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, words: int | None = None) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(MEAN).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(STD).view(3, 1, 1), persistent=False)
        self.units = nn.Sequential(
            *_layer(3, 32, size=5, stride=2),
            *_layer(32, 48, stride=2),
            *_layer(48, 64),
            *_layer(64, 128, stride=2),
            *_layer(128, 160),
            *_layer(160, 192),
        )
        self.project = nn.Linear(2 * 192, SPACE)
        self.embed = nn.EmbeddingBag(len(vocabulary()) if words is None else words, SPACE, mode="sum")
        self.mix = nn.Sequential(nn.Linear(SPACE, 2 * SPACE), nn.ReLU(), nn.Linear(2 * SPACE, SPACE))

    def encode_images(self, images: Tensor) -> Tensor:
        """Return the vector of each image.

        Parameters
        ----------
        images : Tensor, (N, 3, height, width)
            RGB in [0, 1]; of another size they are resized.

        Returns
        -------
        Tensor, (N, 160)
            Of length 1.
        """
        if images.shape[-2:] != (IMAGE_SIZE, IMAGE_SIZE):
            size = (IMAGE_SIZE, IMAGE_SIZE)
            images = functional.interpolate(images, size=size, mode="bilinear", align_corners=False, antialias=True)
        maps = self.units((images - self.mean) / self.std)
        pooled = torch.cat([maps.mean((-2, -1)), maps.amax((-2, -1))], dim=1)
        return functional.normalize(self.project(pooled), dim=1)

    def encode_words(self, words: Sequence[str]) -> Tensor:
        """Return the vector of each text, (W, 160), of length 1.

        Raises
        ------
        UnitlensError
            If a text has no word that the encoder knows, or one that it does not know.
        """
        known = vocabulary()
        bags = [_known(text, known) for text in words]
        return self.encode_bags([[known[word] for word in bag] for bag in bags])

    def encode_bags(self, bags: Sequence[Sequence[int]]) -> Tensor:
        """The vectors of texts whose words are numbers of the vocabulary."""
        sizes = torch.tensor([0, *(len(bag) for bag in bags)], dtype=torch.int64)
        flat = torch.tensor([word for bag in bags for word in bag], dtype=torch.int64)
        device = self.project.weight.device
        sums = self.embed(flat.to(device), sizes.cumsum(0)[:-1].to(device))
        return functional.normalize(sums + self.mix(sums), dim=1)


def scenes_words(*, weights: str | None = None, seed: int = 0) -> ScenesWords:
    """Return the encoder of drawn scenes and words, in evaluation mode.

    Parameters
    ----------
    weights : str or None
        None for the trained weights that come along, "none" for weights freshly drawn, else a file that
        ``benchmarks/training/words.py`` of the repository wrote.
    seed : int
        Of the fresh weights.

    Raises
    ------
    UnitlensError
        If the file is not there, or holds other weights.
    """
    return bundled_network(ScenesWords, weights, trained=WEIGHTS, script="benchmarks.training.words", seed=seed)


@cache
def vocabulary() -> dict[str, int]:
    """The number of each word that the encoder knows."""
    with VOCABULARY.open(encoding="utf-8", newline="") as file:
        return {row["word"]: index for index, row in enumerate(csv.DictReader(file))}


def words_in(text: str) -> list[str]:
    """The words of a text that say something, in lower case; ``-`` and ``_`` part words.

    Examples
    --------
    >>> words_in("A house with a red roof")
    ['house', 'red', 'roof']
    """
    return [word for word in re.findall(r"[^\W\d_]+", text.lower()) if word not in SILENT]


def _known(text: str, known: dict[str, int]) -> list[str]:
    words = [word if word in known else word.removesuffix("s") for word in words_in(text)]
    strange = next((word for word in words if word not in known), None)
    if strange is not None or not words:
        what = f"the word {strange!r}" if strange else f"a text without words, {text!r}"
        raise UnitlensError(
            f"bundled:scenes-words does not know {what}{did_you_mean(strange or '', known)}; it was trained on the "
            f"{len(known)} words that drawn scenes are captioned with. Give words of these, or another encoder."
        )
    return words


def _layer(units_in: int, units: int, *, size: int = 3, stride: int = 1) -> tuple[nn.Module, nn.Module]:
    return nn.Conv2d(units_in, units, size, stride=stride, padding=size // 2), nn.ReLU()
