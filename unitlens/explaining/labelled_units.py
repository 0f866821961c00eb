"""The units of one layer with what a dissection says of them: concepts, verdicts, thresholds."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor

from unitlens.dissection.settings import Settings
from unitlens.errors import UnitlensError
from unitlens.stats.masks import Active, SamplePlan
from unitlens.stats.scores import Bools, Floats

if TYPE_CHECKING:
    import pandas as pd

    from unitlens.dissection.result import Dissection

GOOD = "detector"
"""The verdict of a label that is taken at its word."""


class LabelledConcept(NamedTuple):
    """A concept and all units of the layer that are its detectors."""

    category: str
    name: str
    units: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class LabelledUnits:
    """What a dissection says of the units of one layer.

    Attributes
    ----------
    table : DataFrame
        A row a unit: layer, unit, concept, category, verdict and threshold, as in units.csv.
    """

    table: "pd.DataFrame"

    @classmethod
    def of(cls, dissection: "Dissection", layer: str) -> "LabelledUnits":
        """Those of one layer of a dissection.

        Parameters
        ----------
        dissection : Dissection
        layer : str

        Raises
        ------
        UnitlensError
            If the layer was not dissected.
        """
        table = dissection[layer].table()
        return cls(table[["layer", "unit", "concept", "category", "verdict", "threshold"]])

    def __len__(self) -> int:
        return len(self.table)

    @cached_property
    def thresholds(self) -> Floats:
        """The activation above which each is active, (U,)."""
        return self.table["threshold"].to_numpy(np.float64)

    @cached_property
    def good(self) -> Bools:
        """Which have a label that is taken at its word, (U,): the verdict is detector."""
        return (self.table["verdict"] == GOOD).to_numpy(bool)

    @cached_property
    def concepts(self) -> tuple[LabelledConcept, ...]:
        """The concepts of these units, in the order of their category and name."""
        groups = self.table[self.good].groupby(["category", "concept"], sort=True)["unit"]
        return tuple(
            LabelledConcept(str(category), str(name), tuple(map(int, units))) for (category, name), units in groups
        )

    def active(self, maps: Tensor, settings: Settings) -> tuple[Active, tuple[int, int]]:
        """Where units are above their thresholds in maps, (N, U, h, w), on the label grid, which is returned too."""
        h, w = maps.shape[2:]
        grid = settings.grid if h * w > 1 else (1, 1)
        level = torch.from_numpy(self.thresholds.astype(np.float32)).to(maps.device)
        return SamplePlan((h, w), grid, settings.upsampling).above(maps.float(), level), grid

    def unlabelled(self, units: Sequence[int]) -> list[int]:
        """Those of some units that have no such label."""
        return [unit for unit in units if not self.good[unit]]

    def check_count(self, count: int, layer: str) -> None:
        """Make sure that the network has as many units there.

        Raises
        ------
        UnitlensError
            If there are more or fewer, as the dissection reads the layer in another layout, or is of another network.
        """
        if len(self) != count:
            raise UnitlensError(
                f"The dissection has {len(self)} units of {layer}, and effects can be measured of {count}: it is of "
                "another network, or reads the layer in another layout, in which units cannot be ablated."
            )
