"""What the loop over images asks of a response: which images it can be measured on, and to count them."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import numpy.typing as npt

from unitlens.ablation.replay.nests import Output
from unitlens.data.batches import Batch, ImageRecord
from unitlens.data.concepts import Data
from unitlens.models.network import Network
from unitlens.stats.scores import Bools

if TYPE_CHECKING:
    from unitlens.ablation.replay.replayed import MeasuredImages, Replayed

Counts = TypeVar("Counts", covariant=True)
"""What a response counts."""

Arrays = Mapping[str, npt.NDArray[Any]]
"""Arrays by their names."""


class Counter(Protocol[Counts]):
    """Counts of a response, while they grow."""

    def add(self, replayed: "Replayed") -> None:
        """Count images that went through the network, and what interventions on them give."""
        ...

    def counts(self) -> Counts:
        """What was counted."""
        ...


class Addable(Protocol):
    """A counter that can be stopped, gone on with, and counted with in parts: what it has counted adds."""

    def state(self) -> Arrays:
        """All that was counted, as arrays."""
        ...

    def merge(self, state: Arrays) -> None:
        """Add what another one counted on images that come after those of this one, as its `state` says it."""
        ...


class Response(Protocol[Counts]):
    """What is measured."""

    @property
    def adds(self) -> bool:
        """Whether its counters are `Addable`: else it is measured anew after a stop, and by one process."""
        ...

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
        self, net: Network, data: Data, images: "MeasuredImages", outputs: Output, variants: int
    ) -> Counter[Counts]:
        """Begin to count, with what the network returns for the first images.

        Raises
        ------
        UnitlensError
            If it cannot be measured of such outputs.
        """
        ...
