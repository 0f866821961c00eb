"""Predictions of classes as a response: right and wrong ones, and outcomes that are summed."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, NamedTuple

import numpy as np
import torch
from torch import Tensor

from unitlens.ablation.outcomes.measures import Outcome, values_of
from unitlens.ablation.replay.nests import Output, describe
from unitlens.ablation.replay.replayed import MeasuredImages, Replayed
from unitlens.ablation.responses.counting import PredictionTally
from unitlens.ablation.responses.response import Arrays
from unitlens.ablation.tallies import Tally, row_count
from unitlens.data.batches import Batch, ImageRecord
from unitlens.data.classes import Classes, join_classes
from unitlens.data.concepts import Data, described
from unitlens.errors import UnitlensError
from unitlens.models.network import Network
from unitlens.stats.scores import Bools, Ints


class PredictionCounts(NamedTuple):
    """Counts of predictions, and which output is which class."""

    tally: Tally
    outputs: Classes


def with_class(batch: Batch) -> Bools:
    """Which images of a batch have a class."""
    return np.array([class_ is not None for class_ in batch.classes], dtype=bool)


def why_no_class(read: ImageRecord) -> str | None:
    """Say that no image has a class, where it is so."""
    if any(class_ is not None for class_ in read.classes):
        return None
    return f"None of the {len(read.classes)} images that were read has a class."


def notes_of_classes(read: ImageRecord) -> list[str]:
    """Note that images without a class were left out."""
    count = read.classes.count(None)
    return [f"{count} of {len(read.classes)} images have no class and count for nothing."] if count else []


def classes_of_scores(net: Network, data: Data, outputs: Output) -> tuple[Classes, Tensor]:
    """Which output is which class, and the outputs, which have to be scores of classes, (N, K)."""
    if not isinstance(outputs, Tensor) or outputs.ndim != 2 or outputs.shape[1] < 2:
        raise UnitlensError(
            f"The network returns {describe(outputs)}; effects on predictions are measured where it returns scores "
            "of classes, images x classes."
        )
    return join_classes(data, net.classes, outputs.shape[1]), outputs


@dataclass(frozen=True)
class Predictions:
    """The predicted class of every image that has a class, and outcomes.

    Attributes
    ----------
    outcomes : mapping of str to Outcome
        Outcomes to sum.
    """

    outcomes: Mapping[str, Outcome] = field(default_factory=dict)
    adds: ClassVar[bool] = True

    def measurable(self, batch: Batch) -> Bools:
        """Those with a class."""
        return with_class(batch)

    def why_nothing(self, read: ImageRecord) -> str | None:
        """Without classes there are no right predictions."""
        return why_no_class(read)

    def notes(self, read: ImageRecord) -> list[str]:
        """Images without a class were left out."""
        return notes_of_classes(read)

    def start(
        self, net: Network, data: Data, images: MeasuredImages, outputs: Output, variants: int
    ) -> "_PredictionCounter":
        """Begin to count; outputs are scores of classes, (N, K)."""
        classes, outputs = classes_of_scores(net, data, outputs)
        predictions(outputs, "The network's outputs")
        count, outcomes = outputs.shape[1], self.outcomes
        rows = row_count(variants, count, len(outcomes), grouped=described(data).grouped)
        return _PredictionCounter(PredictionTally(variants, count, outcomes, rows=rows), classes, outcomes)


@dataclass(frozen=True, eq=False)
class _PredictionCounter:
    tally: PredictionTally
    outputs: Classes
    outcomes: Mapping[str, Outcome]

    def add(self, replayed: Replayed) -> None:
        """Count images, all of which have a class."""
        images, untouched = replayed.images, replayed.output
        truth, folds = images.truth(self.outputs), images.folds
        classes = torch.from_numpy(truth).to(untouched.device)
        before = predictions(untouched, "The network's outputs")
        self.tally.add_untouched(truth, before, folds)
        values = {name: values_of(outcome, untouched[None], classes)[0] for name, outcome in self.outcomes.items()}
        for first, outputs in replayed.outputs():
            after = predictions(outputs, "With units ablated, the network's outputs")
            self.tally.add_changes(first, truth, before, after, folds)
            for name, outcome in self.outcomes.items():
                changed = values_of(outcome, outputs, classes)
                self.tally.add_outcome(name, first, truth, values[name], changed, folds)

    def counts(self) -> PredictionCounts:
        """What was counted."""
        return PredictionCounts(self.tally.tally(), self.outputs)

    def state(self) -> Arrays:
        """What was counted, as arrays."""
        return self.tally.state()

    def merge(self, state: Arrays) -> None:
        """Add what another one counted."""
        self.tally.merge(state)


def predictions(outputs: Tensor, what: str) -> Ints:
    """Return the class of the largest output, int64, of (..., K).

    Raises
    ------
    UnitlensError
        If the largest is nan or infinite.
    """
    largest, predicted = outputs.max(-1)
    wrong = int((~largest.isfinite()).sum())
    if wrong:
        raise UnitlensError(
            f"{what} are nan or infinite for {wrong} of {largest.numel()} images, so that nothing is predicted: check "
            "the network's weights, and the range of its input (mean and std)."
        )
    return np.asarray(predicted.cpu().numpy())
