"""Areas of concepts in drawn images as a response, and how far the images move."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt
from torch import Tensor

from unitlens.ablation.replay.nests import Output, in_rows, row_count, some
from unitlens.ablation.replay.replayed import MeasuredImages, Replayed
from unitlens.ablation.responses.area_tallies import COUNTED, AreaCounts, AreaTally, Transitions
from unitlens.ablation.responses.response import Arrays
from unitlens.data.batches import Batch, ImageRecord
from unitlens.data.concepts import Data
from unitlens.data.drawn import CategoryMaps, DrawnConcepts
from unitlens.errors import UnitlensError
from unitlens.models.network import Network
from unitlens.stats.scores import Bools, Floats, Ints


@dataclass(frozen=True)
class Areas:
    """The area of every concept in the images that the network draws.

    Attributes
    ----------
    drawn : DrawnConcepts
        What says which concepts are where.
    follow : bool
        Whether to count what becomes of each position under the first intervention.
    """

    drawn: DrawnConcepts
    follow: bool = False
    adds: ClassVar[bool] = True

    def measurable(self, batch: Batch) -> Bools:
        """All of them."""
        return np.ones(len(batch.names), dtype=bool)

    def why_nothing(self, read: ImageRecord) -> str | None:
        """Areas can be measured on any image."""
        return None

    def notes(self, read: ImageRecord) -> list[str]:
        """Nothing."""
        return []

    def start(self, net: Network, data: Data, images: MeasuredImages, outputs: Output, variants: int) -> "AreaCounter":
        """Begin to count; outputs are images."""
        first = drawn_images(net, images.inputs[:1], some(outputs, slice(1)))
        marked = self.drawn.maps(first)
        positions = self.drawn.positions(marked)
        tally = AreaTally.start(positions, variants, first[0].size)
        if not self.follow:
            return AreaCounter(net, self.drawn, tally, None)
        shown = np.concatenate([positions, self.drawn.category_positions(marked)])
        became = np.zeros((len(shown), len(shown)), np.int64)
        return AreaCounter(net, self.drawn, tally, Transitions(became, shown))


@dataclass(frozen=True, eq=False)
class AreaCounter:
    """Counts areas, and what becomes of each position."""

    net: Network
    drawn: DrawnConcepts
    tally: AreaTally
    transitions: Transitions | None

    def add(self, replayed: Replayed) -> None:
        """Count the areas of images."""
        images = replayed.images
        folds, before = images.folds, drawn_images(self.net, images.inputs, replayed.output)
        marked = self.drawn.maps(before)
        areas = self.drawn.areas(marked)
        np.add.at(self.tally.images, folds, 1)
        np.add.at(self.tally.present, folds, areas > 0)
        np.add.at(self.tally.before, folds, areas)
        for first, block in changed_images(self.net, images.inputs, before, replayed.outputs()):
            which = slice(first, first + len(block.moved))
            change = np.zeros((*block.moved.shape, len(self.drawn.concepts)), np.int64)
            marked_after = self.drawn.maps(block.images) if len(block.images) else []
            if marked_after:
                change[block.variant, block.image] = self.drawn.areas(marked_after) - areas[block.image]
            if first == 0 and self.transitions is not None:
                self._follow(self.transitions, marked, marked_after, block)
            for fold in np.unique(folds):
                self.tally.change[fold, which] += change[:, folds == fold].sum(1)
                self.tally.moved[fold, which] += block.moved[:, folds == fold].sum(1)

    def _follow(
        self,
        transitions: Transitions,
        before: list[CategoryMaps],
        after: list[CategoryMaps],
        block: "ChangedImages",
    ) -> None:
        """Count what positions show before and under the first intervention; where it changed nothing, the same."""
        became, later = transitions.became, block.variant == 0
        for number, maps in enumerate(before):
            shown = self.drawn.shown(maps)
            shown_after = shown.copy()
            if later.any():
                shown_after[block.image[later]] = self.drawn.shown(after[number])[later]
            pairs = shown.astype(np.int64) * len(became) + shown_after
            became += np.bincount(pairs.ravel(), minlength=became.size).reshape(became.shape)

    def counts(self) -> AreaCounts:
        """What was counted."""
        return AreaCounts(self.tally, self.transitions)

    def state(self) -> Arrays:
        """What was counted, as arrays."""
        followed = {} if self.transitions is None else {"became": self.transitions.became}
        return {name: getattr(self.tally, name) for name in COUNTED} | followed

    def merge(self, state: Arrays) -> None:
        """Add what another one counted."""
        for name, counts in self.state().items():
            counts += state[name]


class ChangedImages(NamedTuple):
    """Images that an intervention changed, out of V variants of N images.

    Attributes
    ----------
    images : uint8 array, (changed, 3, height, width)
    variant, image : int64 arrays, (changed,)
        Which variant of which image each is.
    moved : int64 array, (V, N)
        Summed absolute differences of the numbers of each.
    """

    images: npt.NDArray[np.uint8]
    variant: npt.NDArray[np.intp]
    image: npt.NDArray[np.intp]
    moved: Ints


def changed_images(
    net: Network, inputs: Tensor, before: npt.NDArray[np.uint8], variants: Iterator[tuple[int, Output]]
) -> Iterator[tuple[int, ChangedImages]]:
    """Yield the images that interventions changed: in many, a unit changes nothing, and nothing needs to be marked."""
    for first, outputs in variants:
        count = row_count(outputs)
        inputs_of = inputs.repeat(count, *[1] * (inputs.ndim - 1))
        after = drawn_images(net, inputs_of, in_rows(outputs)).reshape(count, *before.shape)
        moved = np.abs(after.astype(np.int16) - before).reshape(*after.shape[:2], -1).sum(-1, dtype=np.int64)
        variant, image = np.nonzero(moved)
        yield first, ChangedImages(after[variant, image], variant, image, moved)


def drawn_images(net: Network, inputs: Tensor, outputs: Output) -> npt.NDArray[np.uint8]:
    """The images that a network draws, uint8 (N, 3, height, width).

    Raises
    ------
    UnitlensError
        If it draws none.
    """
    if net.image != "output":
        raise UnitlensError(
            f"{net.name} does not draw images, so that there are no areas of concepts to measure: make it with "
            "ul.generator, or measure predictions with ul.ablate."
        )
    return np.asarray(net.images(inputs, outputs).cpu().numpy())


def concept_areas(drawn: DrawnConcepts, images: npt.NDArray[np.uint8]) -> Floats:
    """Area of each concept in images, as shares of the image, (N, C)."""
    marked: list[CategoryMaps] = drawn.maps(images)
    return drawn.areas(marked) / drawn.positions(marked)
