"""Any outcomes as a response: summed by fold, untouched and under every intervention."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from unitlens.ablation.outcomes.reading import ImageOutcome, Measured, Read, Seen, read_all
from unitlens.ablation.outcomes.tally import OutcomeTally
from unitlens.ablation.replay.nests import Output, by_variant
from unitlens.ablation.replay.replayed import MeasuredImages, Replayed
from unitlens.ablation.responses.response import Arrays
from unitlens.data.batches import Batch, ImageRecord
from unitlens.data.columns import Columns
from unitlens.data.concepts import Data
from unitlens.errors import UnitlensError
from unitlens.models.network import Network
from unitlens.stats.exact_sums import ExactSums
from unitlens.stats.folds import FOLDS
from unitlens.stats.scores import Bools, Floats

_PARTS = 2
"""Of an outcome: its value, and what that is a part of."""


@dataclass(frozen=True, eq=False)
class Outcomes:
    """Outcomes of whatever the network returns; images need no class.

    Attributes
    ----------
    outcomes : sequence of ImageOutcome
    grid : (int, int)
        Of the label grid.
    """

    outcomes: Sequence[ImageOutcome]
    grid: tuple[int, int] = (1, 1)
    adds: ClassVar[bool] = True

    def measurable(self, batch: Batch) -> Bools:
        """Every image."""
        return np.ones(len(batch.names), bool)

    def why_nothing(self, read: ImageRecord) -> str | None:
        """Any image can be measured."""
        return None

    def notes(self, read: ImageRecord) -> list[str]:
        """Nothing."""
        return []

    def start(
        self, net: Network, data: Data, images: MeasuredImages, outputs: Output, variants: int
    ) -> "_OutcomeCounter":
        """Begin to sum, with what the network returns for the first images."""
        measured = Measured(net, Columns.of(data.concepts), self.grid, outputs)
        reads = [outcome.start(measured) for outcome in self.outcomes]
        names, _ = read_all(reads, by_variant(outputs, len(images.chosen)), Seen(images, outputs))
        return _OutcomeCounter(reads, variants, names)


class _OutcomeCounter:
    """Exact sums by fold, once it is known which outcomes there are."""

    def __init__(self, reads: Sequence[Read], variants: int, names: tuple[str, ...]) -> None:
        self.reads, self.names = reads, names
        self.images = np.zeros(FOLDS, np.int64)
        self.before = ExactSums(FOLDS, (len(names), _PARTS))
        self.after = ExactSums(FOLDS, (len(names), _PARTS, variants))

    def add(self, replayed: Replayed) -> None:
        """Sum the numbers of some images."""
        images, folds = replayed.images, replayed.images.folds
        seen = Seen(images, replayed.output)
        np.add.at(self.images, folds, 1)
        (before,) = self._read(by_variant(replayed.output, len(folds)), seen)
        self.before.add(folds, before)
        for first, outputs in replayed.outputs():
            after = self._read(outputs, seen)
            self.after.add(folds, np.moveaxis(after, 0, -1), first=first)

    def _read(self, outputs: Output, seen: Seen) -> Floats:
        names, numbers = read_all(self.reads, outputs, seen)
        if names != self.names:
            raise UnitlensError(
                f"The outcomes of some images are {', '.join(names)}, and those of the first {', '.join(self.names)}: "
                "return the same for all images."
            )
        return numbers

    def counts(self) -> OutcomeTally:
        """The sums."""
        return OutcomeTally(self.names, self.images, self.before.sums(), np.moveaxis(self.after.sums(), -1, 1))

    def state(self) -> Arrays:
        """What was summed, as arrays."""
        return {"images": self.images, **self.before.state("before"), **self.after.state("after")}

    def merge(self, state: Arrays) -> None:
        """Add what another one summed."""
        self.images += state["images"]
        self.before.merge(state, "before")
        self.after.merge(state, "after")
