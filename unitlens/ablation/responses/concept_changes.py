"""Changes of an image's own class as a response: summed by the concepts that the image contains, and by fold."""

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np
import torch
from torch import Tensor

from unitlens.ablation.replay.nests import Output
from unitlens.ablation.replay.replayed import MeasuredImages, Replayed
from unitlens.ablation.responses.predictions import (
    classes_of_scores,
    notes_of_classes,
    predictions,
    why_no_class,
    with_class,
)
from unitlens.ablation.responses.response import Arrays
from unitlens.data.batches import Batch, ImageRecord
from unitlens.data.classes import Classes
from unitlens.data.concepts import Data
from unitlens.models.network import Network
from unitlens.stats.exact_sums import ExactSums
from unitlens.stats.folds import FOLDS
from unitlens.stats.scores import Bools, Floats, Ints

MEASURES = ("logit", "accuracy")
"""What is read of an image's own class: the output of the class, and whether it is predicted, 1 or 0."""


class ConceptSums(NamedTuple):
    """Changes of the two `MEASURES`, summed over the images that contain each of C concepts.

    Attributes
    ----------
    images : int64 array, (32, C)
        How many images of each fold contain it.
    chosen : float64 array, (2, 32, C)
        Under the set that is chosen for the concept.
    random : float64 array, (2, 32, C)
        Under the drawn sets, the mean over these.
    by_draw : float64 array, (2, C, R)
        Under each drawn set, over all folds.
    """

    images: Ints
    chosen: Floats
    random: Floats
    by_draw: Floats


@dataclass(frozen=True, eq=False)
class ConceptChanges:
    """How the output of an image's own class changes, and whether it is predicted, for each concept in the image.

    Attributes
    ----------
    concepts : int
        How many there are, C.
    chosen : int64 array, (2, C)
        Which set of the design is for each concept, in images of the even and of the odd folds.
    draws : int
        How many sets at the end of the design are drawn at random, R.
    """

    concepts: int
    chosen: Ints
    draws: int
    adds: ClassVar[bool] = True

    def measurable(self, batch: Batch) -> Bools:
        """Those with a class."""
        return with_class(batch)

    def why_nothing(self, read: ImageRecord) -> str | None:
        """Without classes there is no output of one's own."""
        return why_no_class(read)

    def notes(self, read: ImageRecord) -> list[str]:
        """Images without a class were left out."""
        return notes_of_classes(read)

    def start(
        self, net: Network, data: Data, images: MeasuredImages, outputs: Output, variants: int
    ) -> "_ConceptCounter":
        """Begin to sum; outputs are scores of classes, (N, K)."""
        return _ConceptCounter(self, classes_of_scores(net, data, outputs)[0], variants)


class _ConceptCounter:
    """Exact sums, which no order of the images changes."""

    def __init__(self, response: ConceptChanges, classes: Classes, variants: int) -> None:
        self.response, self.classes, self.variants = response, classes, variants
        measures, concepts = len(MEASURES), response.concepts
        self.images = np.zeros((FOLDS, concepts), np.int64)
        self.chosen = ExactSums(FOLDS, (measures, concepts))
        self.random = ExactSums(FOLDS, (measures, concepts))
        self.by_draw = ExactSums(concepts, (measures, response.draws))

    def add(self, replayed: Replayed) -> None:
        """Sum the changes in some images."""
        images, folds = replayed.images, replayed.images.folds
        own = torch.from_numpy(images.truth(self.classes)).to(replayed.output.device)
        before = _read(replayed.output[None], own, "The network's outputs")
        change = np.zeros((len(folds), len(MEASURES), self.variants))
        for first, outputs in replayed.outputs():
            after = _read(outputs, own, "With units ablated, the network's outputs")
            change[..., first : first + len(outputs)] = after - before
        self._sum(change, folds, contained(images, self.response.concepts))

    def _sum(self, change: Floats, folds: Ints, contains: Bools) -> None:
        """Add changes (N, 2, V) to the sums of the concepts that images contain, (N, C)."""
        np.add.at(self.images, folds, contains)
        sets = self.response.chosen[folds % 2]  # (N, C)
        of_concept = np.take_along_axis(change, sets[:, None, :], 2)
        self.chosen.add(folds, np.where(contains[:, None, :], of_concept, 0.0))
        drawn = change[..., self.variants - self.response.draws :]
        mean = drawn.mean(2, keepdims=True)
        self.random.add(folds, np.where(contains[:, None, :], mean, 0.0))
        image, concept = np.nonzero(contains)
        self.by_draw.add(concept, drawn[image])

    def counts(self) -> ConceptSums:
        """The sums."""
        chosen, random = (np.moveaxis(sums.sums(), 1, 0) for sums in (self.chosen, self.random))
        return ConceptSums(self.images, chosen, random, np.moveaxis(self.by_draw.sums(), 1, 0))

    def state(self) -> Arrays:
        """What was summed, as arrays."""
        return {
            "images": self.images,
            **self.chosen.state("chosen"),
            **self.random.state("random"),
            **self.by_draw.state("by_draw"),
        }

    def merge(self, state: Arrays) -> None:
        """Add what another one summed."""
        self.images += state["images"]
        self.chosen.merge(state, "chosen")
        self.random.merge(state, "random")
        self.by_draw.merge(state, "by_draw")


def contained(images: MeasuredImages, concepts: int) -> Bools:
    """Which concepts images contain anywhere on the label grid, (N, C)."""
    contains = np.zeros((len(images.chosen), concepts), bool)
    for row, image in enumerate(images.chosen):
        columns = np.unique(images.batch.planes[image])
        contains[row, columns[(columns > 0) & (columns <= concepts)] - 1] = True
    return contains


def _read(outputs: Tensor, own: Tensor, what: str) -> Floats:
    """The two measures of each image's own class, (N, 2, V), of outputs (V, N, K)."""
    right = predictions(outputs, what) == own.cpu().numpy()
    logit = outputs.double().gather(2, own[None, :, None].expand(len(outputs), -1, 1))[..., 0].cpu().numpy()
    return np.stack([logit.T, right.T], axis=1)
