"""What the loop over images asks of a response: which images it can be measured on, and to count them."""

from typing import TYPE_CHECKING, Protocol, TypeVar

from unitlens.ablation.replay.nests import Output
from unitlens.data.batches import Batch, ImageRecord
from unitlens.data.concepts import Data
from unitlens.models.network import Network
from unitlens.stats.scores import Bools

if TYPE_CHECKING:
    from unitlens.ablation.replay.replayed import MeasuredImages, Replayed

Counts = TypeVar("Counts", covariant=True)
"""What a response counts; it adds."""


class Counter(Protocol[Counts]):
    """Counts of a response, while they grow."""

    def add(self, replayed: "Replayed") -> None:
        """Count images that went through the network, and what interventions on them give."""
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
        self, net: Network, data: Data, images: "MeasuredImages", outputs: Output, variants: int
    ) -> Counter[Counts]:
        """Begin to count, with what the network returns for the first images.

        Raises
        ------
        UnitlensError
            If it cannot be measured of such outputs.
        """
        ...
