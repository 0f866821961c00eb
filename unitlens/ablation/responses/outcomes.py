"""Any outcomes as a response: summed by fold, untouched and under every intervention."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from unitlens.ablation.outcomes.reading import ImageOutcome, Measured, Read, Seen, read_all
from unitlens.ablation.outcomes.tally import OutcomeTally
from unitlens.ablation.replay.nests import Output, by_variant
from unitlens.ablation.replay.replayed import MeasuredImages, Replayed
from unitlens.data.batches import Batch, ImageRecord
from unitlens.data.columns import Columns
from unitlens.data.concepts import Data
from unitlens.errors import UnitlensError
from unitlens.models.network import Network
from unitlens.stats.scores import Bools


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
        return _OutcomeCounter([outcome.start(measured) for outcome in self.outcomes], variants)


class _OutcomeCounter:
    def __init__(self, reads: Sequence[Read], variants: int) -> None:
        self.reads, self.variants = reads, variants
        self.tally: OutcomeTally | None = None

    def add(self, replayed: Replayed) -> None:
        """Sum the numbers of some images."""
        images, folds = replayed.images, replayed.images.folds
        seen = Seen(images, replayed.output)
        names, before = read_all(self.reads, by_variant(replayed.output, len(folds)), seen)
        if self.tally is None:
            self.tally = OutcomeTally.start(names, self.variants)
        tally = self.tally
        _check_names(names, tally.names)
        np.add.at(tally.images, folds, 1)
        np.add.at(tally.before, folds, before[0])
        for first, outputs in replayed.outputs():
            names, after = read_all(self.reads, outputs, seen)
            _check_names(names, tally.names)
            np.add.at(tally.after[:, first : first + len(after)], folds, after.swapaxes(0, 1))

    def counts(self) -> OutcomeTally:
        """The sums."""
        assert self.tally is not None  # else nothing was measured, which is an error before
        return self.tally


def _check_names(names: tuple[str, ...], first: tuple[str, ...]) -> None:
    if names != first:
        raise UnitlensError(
            f"The outcomes of some images are {', '.join(names)}, and those of the first {', '.join(first)}: return "
            "the same for all images."
        )
