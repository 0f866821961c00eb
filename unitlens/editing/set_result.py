"""The result of removing or inserting a set of units: areas beside those of drawn sets, and what took their place."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from unitlens.ablation.random_sets import Band
from unitlens.ablation.responses.area_tallies import AreaTally, Transitions
from unitlens.ablation.table import Units, joined
from unitlens.data.columns import Columns
from unitlens.data.concepts import Concept
from unitlens.data.drawn import shown_names
from unitlens.drawing.notebooks import table_html
from unitlens.editing.edited import Edited
from unitlens.editing.settings import AreaSettings
from unitlens.editing.tables import INTERVENTION_COLUMNS
from unitlens.plurals import counted
from unitlens.stats.paired import q_values
from unitlens.stats.scores import Floats

if TYPE_CHECKING:
    import pandas as pd


class LayerDistance(NamedTuple):
    """Mahalanobis distance of a position's activations from their mean over positions of other, untouched images.

    Attributes
    ----------
    before, after : float
        Its mean over positions, untouched and with the units replaced.
    outside : float
        Share of positions that lie further out, with the units replaced, than 99 % of those of untouched images.
    images : int
        How many images the distances are measured on; as many others say what is usual.
    """

    before: float
    after: float
    outside: float
    images: int


@dataclass(frozen=True, eq=False, repr=False)
class SetAreas:
    """What a set of units does to the area of every concept, beside sets that were drawn. Made by `unitlens.intervene`.

    Attributes
    ----------
    settings : AreaSettings
    info : mapping
        Where it comes from: network, latents, concept sources, versions, timings, warnings.
    units : tuple of int
    concepts : tuple of Concept, C
    segmenter_iou : float64 array, (C,)
        How good the concept source is at each of them; NaN where it does not say.
    tally : AreaTally
        Of the set.
    drawn : mapping of str to AreaTally
        "random": of as many units, drawn at random; "matched": of other units that hand on about as much.
    transitions : Transitions
        What each position became.
    distance : LayerDistance or None
        How far the layer lies outside of what it says otherwise.
    chosen_for : str or None
        The concept that the units were chosen for, where one is named.
    examples : Edited or None
        A few images before and after, to look at.
    examples_of : str or None
        The concept that all of these show untouched, where units are removed: the one that the units were chosen for;
        else that which loses most.
    """

    settings: AreaSettings
    info: Mapping[str, Any]
    units: Units
    concepts: tuple[Concept, ...]
    segmenter_iou: Floats
    tally: AreaTally
    drawn: Mapping[str, AreaTally]
    transitions: Transitions
    distance: LayerDistance | None
    chosen_for: str | None = None
    examples: Edited | None = None
    examples_of: str | None = None

    @property
    def images(self) -> int:
        """How many were drawn."""
        return int(self.tally.images.sum())

    @cached_property
    def shown(self) -> tuple[str, ...]:
        """The names of what positions show, in the order of the transitions."""
        return tuple(shown_names(Columns.of(self.concepts)))

    def table(self) -> "pd.DataFrame":
        """A row a concept, largest effect first; columns: `unitlens.editing.tables.INTERVENTION_COLUMNS`.

        Concepts that are neither drawn nor appear are left out.
        """
        import pandas as pd

        estimate = self.tally.estimate()
        removed = self.tally.removed()
        columns: dict[str, Any] = {
            "layer": self.settings.layer,
            "units": joined(self.units),
            "change": self.settings.change,
            "concept": [concept.name for concept in self.concepts],
            "category": [concept.category for concept in self.concepts],
            "chosen_for": self.chosen_for or "",
        }
        columns |= {name: getattr(estimate, name)[0] for name in ("before", "after", "effect", "low", "high")}
        for name, values in zip(("removed", "removed_low", "removed_high"), removed, strict=True):
            columns[name] = values[0]
        for kind in ("random", "matched"):
            columns |= _bands(kind, self.drawn.get(kind), len(self.concepts))
        columns |= {"images": self.images, "present": self.tally.present.sum(0), "segmenter_iou": self.segmenter_iou}
        table = pd.DataFrame(columns)
        there = (estimate.before[0] > 0) | (estimate.after[0] > 0)
        table["q_value"] = q_values(estimate.p_value[0], there)
        order = np.argsort(-np.abs(estimate.effect[0]), kind="stable")
        return pd.DataFrame(table.loc[order[there[order]], list(INTERVENTION_COLUMNS)].reset_index(drop=True))

    def what_changed(self) -> "pd.DataFrame":
        """What positions showed (rows) and what they show with the units changed (columns), as shares of the image.

        What is never shown is left out. The diagonal is what stayed.
        """
        import pandas as pd

        shares = self.transitions.shares(self.images)
        there = (shares.sum(0) > 0) | (shares.sum(1) > 0)
        names = [name for name, known in zip(self.shown, there, strict=True) if known]
        return pd.DataFrame(shares[np.ix_(there, there)], index=names, columns=names)

    def took_its_place(self, concept: str, most: int = 10) -> "pd.Series[float]":
        """What stands where a concept was: shares of the area that it lost, the largest first."""
        import pandas as pd

        shares, index = self.transitions.shares(self.images), self.shown.index(concept)
        lost = np.where(np.arange(len(shares)) == index, 0.0, shares[index])
        order = np.argsort(-lost, kind="stable")[:most]
        order = order[lost[order] > 0]
        return pd.Series(lost[order] / lost.sum(), index=[self.shown[k] for k in order], dtype=float)

    @property
    def moved(self) -> float:
        """How far images moved: mean absolute difference of their numbers as a share of the range, mean over images."""
        return float(self.tally.distance()[0])

    def moved_by_drawn(self, kind: str = "random") -> Band:
        """The same of the sets that were drawn."""
        tally = self.drawn.get(kind)
        return Band.of(np.zeros(0) if tally is None else tally.distance())

    def __repr__(self) -> str:
        return (
            f"<SetAreas: {counted(len(self.units), 'unit')} of {self.settings.layer} {self.settings.change}; "
            f"{counted(self.images, 'image')}, {counted(len(self.concepts), 'concept')}>"
        )

    def _repr_html_(self) -> str:
        return table_html(repr(self), self.table())


def _bands(kind: str, tally: AreaTally | None, concepts: int) -> dict[str, Any]:
    """Columns of the mean and the band of drawn sets, for each concept."""
    effects = np.zeros((0, concepts)) if tally is None else tally.estimate().effect
    bands = [Band.of(effects[:, c]) for c in range(concepts)]
    return {f"{kind}_{name}": [getattr(band, name) for band in bands] for name in Band._fields}
