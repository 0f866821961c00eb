"""What the loop over images asks of a response: which images it can be measured on, and to count them."""

from collections.abc import Iterator
from typing import NamedTuple, Protocol, TypeVar

import numpy as np
import numpy.typing as npt
from torch import Tensor

from unitlens.data.batches import Batch, ImageRecord
from unitlens.data.concepts import Data
from unitlens.models.network import Network
from unitlens.stats.scores import Bools, Ints

Counts = TypeVar("Counts", covariant=True)
"""What a response counts; it adds."""


class MeasuredImages(NamedTuple):
    """Some images of a batch, as they are measured.

    Attributes
    ----------
    batch : Batch
    chosen : int64 array, (N,)
        Their indices in the batch.
    inputs : Tensor, (N, ...)
        As the network takes them.
    """

    batch: Batch
    chosen: npt.NDArray[np.int64]
    inputs: Tensor

    @property
    def folds(self) -> Ints:
        """Their folds, (N,)."""
        return np.array([self.batch.folds[i] for i in self.chosen], dtype=np.int64)


class Counter(Protocol[Counts]):
    """Counts of a response, while they grow."""

    def add(self, images: MeasuredImages, untouched: Tensor, variants: Iterator[tuple[int, Tensor]]) -> None:
        """Count images.

        Parameters
        ----------
        images : MeasuredImages
            N of them.
        untouched : Tensor, (N, ...)
            The network's outputs without an intervention.
        variants : iterator of (int, Tensor)
            The outputs under some interventions, (V, N, ...), and the number of the first of them.
        """
        ...

    def counts(self) -> Counts:
        """What was counted."""
        ...


class Response(Protocol[Counts]):
    """What is measured."""

    def measurable(self, batch: Batch) -> Bools:
        """Say of each image of a batch whether it can be measured on it."""
        ...

    def why_nothing(self, read: ImageRecord) -> str | None:
        """One sentence where it can be measured on none of the images."""
        ...

    def notes(self, read: ImageRecord) -> list[str]:
        """What to warn of."""
        ...

    def start(
        self, net: Network, data: Data, images: MeasuredImages, outputs: Tensor, variants: int
    ) -> Counter[Counts]:
        """Begin to count, with what the network returns for the first images.

        Raises
        ------
        UnitlensError
            If it cannot be measured of such outputs.
        """
        ...
