"""The result of removing and inserting every unit alone: average causal effects on the area of every concept."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from unitlens.ablation.random_sets import Others, alike_units
from unitlens.ablation.responses.area_tallies import AreaEstimate, AreaTally
from unitlens.data.concepts import Concept
from unitlens.data.drawn import concept_index
from unitlens.drawing.notebooks import table_html
from unitlens.editing.settings import AreaSettings
from unitlens.editing.tables import CAUSAL_COLUMNS, RANKING_COLUMNS
from unitlens.errors import UnitlensError
from unitlens.plurals import counted
from unitlens.stats.folds import Folds
from unitlens.stats.paired import q_values
from unitlens.stats.scores import Bools, Floats

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from unitlens.ablation.activity import Contributions
    from unitlens.dissection.result import Dissection


@dataclass(frozen=True, eq=False, repr=False)
class CausalEffects:
    """Average causal effects of U units on the areas of C concepts. Made by `unitlens.causal_effects`.

    Attributes
    ----------
    settings : AreaSettings
        Of the removal, and what units are set to that are inserted.
    inserted_at : str
        What happens to units that are inserted, in words.
    info : mapping
        Where it comes from.
    concepts : tuple of Concept, C
    segmenter_iou : float64 array, (C,)
        How good the concept source is at each of them; NaN where it does not say.
    removal, insertion : AreaTally
        Areas with every unit removed alone, and with every unit inserted alone, in the same images.
    handed : Contributions
        What each unit hands on, in which units are matched.
    """

    settings: AreaSettings
    inserted_at: str
    info: Mapping[str, Any]
    concepts: tuple[Concept, ...]
    segmenter_iou: Floats
    removal: AreaTally
    insertion: AreaTally
    handed: "Contributions"

    @property
    def units(self) -> int:
        """How many the layer has."""
        return int(self.removal.change.shape[1])

    @property
    def images(self) -> int:
        """How many were drawn."""
        return int(self.removal.images.sum())

    def effect(self, *, folds: Folds = "all") -> Floats:
        """Average causal effects, (U, C): the area with a unit inserted less that with it removed, of the image."""
        return self.estimate(folds=folds).effect

    def estimate(self, *, folds: Folds = "all") -> AreaEstimate:
        """Areas with every unit removed (before) and inserted (after), and the difference, each (U, C)."""
        removal, insertion = self.removal.half(folds), self.insertion.half(folds)
        difference = replace(insertion, change=insertion.change - removal.change).estimate()
        before = removal.estimate().after
        return difference._replace(before=before, after=before + difference.effect)

    def most_causal(self, concept: str, n: int | None = None, *, folds: Folds = "all") -> list[int]:
        """Units of the largest average causal effect on a concept.

        Parameters
        ----------
        concept : str
            Its name, or category/name.
        n : int, optional
            How many; all units with an effect above 0.
        folds : {"all", "even", "odd"}
            The images that rank them: measure on the others.
        """
        effect = self.effect(folds=folds)[:, concept_index(concept, self.concepts, "the concept source")]
        order = np.argsort(-effect, kind="stable")
        return [int(unit) for unit in (order[effect[order] > 0] if n is None else order[:n])]

    def show(self, concept: str, n: int = 12, *, ax: "Axes | None" = None) -> "Figure":
        """Draw the units of largest average causal effect on a concept, with 95 % intervals; in axes or alone."""
        from unitlens.drawing.effects import causal_figure

        units = self.most_causal(concept, n)
        column = concept_index(concept, self.concepts, "the concept source")
        estimate = self.estimate()
        effect, low, high = (100 * part[units, column] for part in (estimate.effect, estimate.low, estimate.high))
        return causal_figure(units, effect, low, high, concept=concept, ax=ax)

    def table(self) -> "pd.DataFrame":
        """A row a unit and concept that is drawn, with the columns of `unitlens.editing.tables.CAUSAL_COLUMNS`."""
        import pandas as pd

        estimate = self.estimate()
        removed, inserted = (tally.estimate().effect for tally in (self.removal, self.insertion))
        there = (self.removal.before.sum(0) > 0) | (inserted != 0).any(0)
        units, concepts = np.meshgrid(np.arange(self.units), np.flatnonzero(there), indexing="ij")
        at = units.ravel(), concepts.ravel()
        others = Others.of(estimate.effect, self._alike)
        columns: dict[str, Any] = {
            "layer": self.settings.layer,
            "unit": at[0],
            "concept": [self.concepts[c].name for c in at[1]],
            "category": [self.concepts[c].category for c in at[1]],
            "removed": removed[at],
            "inserted": inserted[at],
            "average_causal_effect": estimate.effect[at],
            "low": estimate.low[at],
            "high": estimate.high[at],
            "q_value": q_values(estimate.p_value, np.broadcast_to(there, estimate.p_value.shape))[at],
            "random_mean": others.mean[at],
            "random_low": others.low[at],
            "random_high": others.high[at],
            "matched_mean": others.matched[at],
            "matched": self._alike.sum(1)[at[0]],
            "segmenter_iou": self.segmenter_iou[at[1]],
        }
        return pd.DataFrame(columns, columns=list(CAUSAL_COLUMNS))

    @cached_property
    def _alike(self) -> Bools:
        """Which other units hand on about as much as each, (U, U)."""
        alike = np.zeros((self.units, self.units), bool)
        for unit in range(self.units):
            alike[unit, alike_units(unit, self.handed.values)] = True
        return alike & ~np.eye(self.units, dtype=bool)

    def beside_others(self, concept: str) -> "pd.DataFrame":
        """Each unit's effect on a concept beside those of other units, and of others that hand on about as much.

        A set of one unit that is drawn at random is one of the others, so that all of them stand in place of draws.

        Columns unit, effect, random_mean, random_low, random_high (of all other units), matched_mean and matched (how
        many are alike), p_value: (1 + other units with an effect as large or larger, of either sign) / units.
        """
        import pandas as pd

        effect = self.effect()[:, concept_index(concept, self.concepts, "the concept source")]
        others = Others.of(effect[:, None], self._alike)
        as_large = (np.abs(effect) >= np.abs(effect)[:, None]).sum(1) - 1
        columns: dict[str, Any] = {
            "unit": np.arange(self.units),
            "effect": effect,
            "random_mean": others.mean[:, 0],
            "random_low": others.low[:, 0],
            "random_high": others.high[:, 0],
            "matched_mean": others.matched[:, 0],
            "matched": self._alike.sum(1),
            "p_value": (1 + as_large) / self.units,
        }
        return pd.DataFrame(columns)

    def beside_iou(self, dissection: "Dissection") -> "pd.DataFrame":
        """How far units that match a concept are those that cause it: a row for each concept that both know.

        The columns are those of `unitlens.editing.tables.RANKING_COLUMNS`.

        Raises
        ------
        UnitlensError
            If the dissection is of other layers.
        """
        import pandas as pd
        from scipy.stats import spearmanr

        of_layer = dissection[self.settings.layer]
        iou, effect = of_layer.scores("iou").to_numpy(), self.effect()
        if len(iou) != self.units:
            units = counted(self.units, "unit")
            raise UnitlensError(f"{self.settings.layer} has {units}, and {len(iou)} in the dissection.")
        columns = {(c["category"], c["name"]): k for k, c in enumerate(of_layer.info["data"]["concepts"])}
        rows = []
        for c, concept in enumerate(self.concepts):
            k = columns.get((concept.category, concept.name))
            if k is None or not effect[:, c].any() or not iou[:, k].any():
                continue
            by_effect, by_iou = (np.argsort(-values, kind="stable") for values in (effect[:, c], iou[:, k]))
            rows.append(
                {
                    "layer": self.settings.layer,
                    "concept": concept.name,
                    "category": concept.category,
                    "rank_correlation": float(spearmanr(effect[:, c], iou[:, k]).statistic),
                    "shared": len(set(by_effect[:10].tolist()) & set(by_iou[:10].tolist())),
                    "by_effect": ";".join(map(str, by_effect[:5])),
                    "by_iou": ";".join(map(str, by_iou[:5])),
                    "segmenter_iou": self.segmenter_iou[c],
                }
            )
        return pd.DataFrame(rows, columns=list(RANKING_COLUMNS))

    def __repr__(self) -> str:
        return (
            f"<CausalEffects: {counted(self.units, 'unit')} of {self.settings.layer}, "
            f"{counted(len(self.concepts), 'concept')}, {counted(self.images, 'image')}>"
        )

    def _repr_html_(self) -> str:
        table = self.table()
        order = table["average_causal_effect"].abs().sort_values(ascending=False, kind="stable").index
        return table_html(repr(self), table.reindex(order))
