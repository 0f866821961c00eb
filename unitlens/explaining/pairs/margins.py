"""What each unit does to the lead of one class over another, image by image, by removing it."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from unitlens.ablation.replay.replayed import MeasuredImages, Replayed
from unitlens.data.batches import Batch, ImageRecord
from unitlens.data.concepts import Data
from unitlens.models.network import Network
from unitlens.stats.scores import Bools, Floats


@dataclass(frozen=True, eq=False)
class Margins:
    """The lead of one class over another that each unit adds: with the unit - without it.

    Attributes
    ----------
    classes : mapping of str to (int, int)
        Of each image that is measured, by its name: the output that leads, and the other one.
    """

    classes: Mapping[str, tuple[int, int]]

    def measurable(self, batch: Batch) -> Bools:
        """Those of which two classes are named."""
        return np.array([name in self.classes for name in batch.names], bool)

    def why_nothing(self, read: ImageRecord) -> str | None:
        """Nothing more can be said."""
        return None

    def notes(self, read: ImageRecord) -> list[str]:
        """Nothing."""
        return []

    def start(
        self, net: Network, data: Data, images: MeasuredImages, outputs: Tensor, variants: int
    ) -> "_MarginCounter":
        """Begin; outputs are scores of classes, (N, K)."""
        return _MarginCounter(self, variants)


@dataclass(frozen=True, eq=False)
class _MarginCounter:
    asked: Margins
    units: int
    rows: dict[str, Floats] = field(default_factory=dict)

    def add(self, replayed: Replayed) -> None:
        """Remove every unit of some images."""
        batch = replayed.images.batch
        names = [batch.names[row] for row in replayed.images.chosen.tolist()]
        leads, others = torch.tensor([self.asked.classes[name] for name in names], device=replayed.output.device).T
        image = torch.arange(len(names), device=replayed.output.device)

        def margin(outputs: Tensor) -> Tensor:
            return (outputs[..., image, leads] - outputs[..., image, others]).double()

        whole, without = margin(replayed.output), np.empty((self.units, len(names)))
        for first, block in replayed.outputs():
            without[first : first + len(block)] = margin(block).cpu().numpy()
        added = whole.cpu().numpy() - without
        self.rows.update(zip(names, added.T, strict=True))

    def counts(self) -> dict[str, Floats]:
        """What each unit adds, (U,), by the image's name."""
        return self.rows
