"""The result of looking for the units that a concept rests on, and what is left of it as more of them are removed."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from unitlens.ablation.responses.area_tallies import AreaTally
from unitlens.ablation.table import Units
from unitlens.data.concepts import Concept
from unitlens.drawing.notebooks import table_html
from unitlens.editing.settings import AreaSettings
from unitlens.stats.scores import Floats

if TYPE_CHECKING:
    import pandas as pd

METHODS = ("iou", "greedy", "optimise")
Method = Literal["iou", "greedy", "optimise"]


@dataclass(frozen=True, eq=False, repr=False)
class ConceptSet:
    """The units that a concept rests on, and what is left of it as more of them are removed.

    Made by `unitlens.concept_set`. Units and their number are chosen on latents of even folds; areas are measured on
    those of odd folds.

    Attributes
    ----------
    settings : AreaSettings
    info : mapping
        Where it comes from.
    concepts : tuple of Concept, C
    segmenter_iou : float64 array, (C,)
        How good the concept source is at each of them; NaN where it does not say.
    column : int
        Which of them the set removes.
    method : {"iou", "greedy", "optimise"}
    target : float
        The share of the concept that the set has to remove.
    ranking : tuple of int
        Units in the order in which they are added.
    sizes : tuple of int, S
        How many of them are removed in each measurement, rising.
    tally : AreaTally
        With each size removed, on all latents.
    weights : float64 array, (U,), or None
        How much of each unit the concept needs, where that was optimised.
    """

    settings: AreaSettings
    info: Mapping[str, Any]
    concepts: tuple[Concept, ...]
    segmenter_iou: Floats
    column: int
    method: Method
    target: float
    ranking: Units
    sizes: tuple[int, ...]
    tally: AreaTally
    weights: Floats | None = None

    @property
    def concept(self) -> Concept:
        """What the set removes."""
        return self.concepts[self.column]

    @property
    def size(self) -> int:
        """The smallest number of units that removes the target on the latents that choose; all, where none does."""
        enough = np.flatnonzero(self._chosen_on >= self.target)
        return self.sizes[int(enough[0])] if len(enough) else self.sizes[-1]

    @property
    def reached(self) -> bool:
        """Whether that many units remove the target, on the latents that choose."""
        return bool((self._chosen_on >= self.target).any())

    @cached_property
    def _chosen_on(self) -> Floats:
        """Share of the concept that each size removes on the latents that choose, (S,)."""
        return self.tally.half("even").removed()[0][:, self.column]

    @property
    def units(self) -> Units:
        """The units of the set."""
        return self.ranking[: self.size]

    def removed(self) -> tuple[float, float, float]:
        """Share of the concept that the set removes on the other latents, and its 95 % interval."""
        row = self.sizes.index(self.size)
        value, low, high = (float(ends[row, self.column]) for ends in self.tally.half("odd").removed())
        return value, low, high

    def table(self) -> "pd.DataFrame":
        """What is left as more units are removed: a row for each size.

        Columns units (how many), added (since the row before, joined by ;), chosen_on (share of the concept removed on
        the latents that choose), removed, low, high (on the others), others_lost (the area that all other concepts
        lose, as a share of the image, on the others), moved (how far images move) and segmenter_iou (of the concept).
        """
        import pandas as pd

        odd = self.tally.half("odd")
        removed, low, high = (ends[:, self.column] for ends in odd.removed())
        effect = np.delete(odd.estimate().effect, self.column, 1)
        steps = zip((0, *self.sizes[:-1]), self.sizes, strict=True)
        columns: dict[str, Any] = {
            "units": self.sizes,
            "added": [";".join(map(str, self.ranking[start:stop])) for start, stop in steps],
            "chosen_on": self._chosen_on,
            "removed": removed,
            "low": low,
            "high": high,
            "others_lost": np.minimum(effect, 0).sum(1),
            "moved": odd.distance(),
            "segmenter_iou": self.segmenter_iou[self.column],
        }
        return pd.DataFrame(columns)

    def __repr__(self) -> str:
        value, low, high = self.removed()
        interval = f" ({low:.0%} to {high:.0%})" if np.isfinite(low) else ""
        return (
            f"<ConceptSet of {self.concept.name} by {self.method}: {self.size} units of {self.settings.layer} remove "
            f"{value:.0%}{interval} on latents that did not choose them>"
        )

    def _repr_html_(self) -> str:
        return table_html(repr(self), self.table(), most=None)
