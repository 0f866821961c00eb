"""What can be painted with: the concepts that a run knows, with their units, and what these are set to."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from unitlens.dissection.result import Dissection
from unitlens.editing.causal_result import CausalEffects
from unitlens.errors import UnitlensError, did_you_mean
from unitlens.models.layers import check_units
from unitlens.stats.scores import Floats

if TYPE_CHECKING:
    from unitlens.editing.painting.typical import TypicalActivations

MOST_UNITS = 100
"""Of a concept: those of highest IoU, and those that differ most where it is drawn."""

MOST_STRENGTH = 3.0
"""Units that are added may go three times as far from their overall mean as where the concept is drawn."""

Action = Literal["remove", "add"]


class PaletteUnit(NamedTuple):
    """A unit that a concept can be painted with.

    Attributes
    ----------
    unit : int
    iou : float
        With the concept.
    difference : float
        Its mean where the concept is drawn less its overall mean, in its standard deviations; NaN where not known.
    concept, verdict : str
        The unit's own concept, empty where it has none, and the verdict on it, as in units.csv.
    effect : float
        Its average causal effect on the area of the concept; NaN where that was not measured.
    """

    unit: int
    iou: float
    difference: float
    concept: str
    verdict: str
    effect: float


@dataclass(frozen=True, eq=False)
class PaletteConcept:
    """A concept of one layer.

    Attributes
    ----------
    name : str
        As the dissection names it: its name, or category/name where several categories have that name.
    category : str
    layer : str
    units : tuple of PaletteUnit
        Highest IoU first.
    levels : float64 array, (U,)
        What units of the layer are set to for adding the concept: their mean activation where it is drawn, or else
        their thresholds.
    overall : float64 array, (U,), or None
        Their overall mean, where levels are means too; None: they are thresholds.
    segmenter_iou : float
        How good the concept source is at it; NaN where it does not say.
    """

    name: str
    category: str
    layer: str
    units: tuple[PaletteUnit, ...]
    levels: Floats
    overall: Floats | None
    segmenter_iou: float

    def values(self, units: Sequence[int], action: Action, strength: float) -> list[float]:
        """What units are set to.

        Parameters
        ----------
        units : sequence of int
        action : {"remove", "add"}
            Removed units are set to 0.
        strength : float
            Up to 1 it is how far they are (see `UnitEdit`); beyond, added units go so many times as far from their
            overall mean as where the concept is drawn.

        Raises
        ------
        UnitlensError
            If one is not in the layer.
        """
        check_units(self.layer, units, len(self.levels))
        if action == "remove":
            return [0.0] * len(units)
        overall = self.levels if self.overall is None else self.overall
        reached = overall + max(strength, 1.0) * (self.levels - overall)
        return [float(reached[unit]) for unit in units]


@dataclass(frozen=True, eq=False)
class Palette:
    """All concepts that can be painted with, those with the best units first."""

    concepts: tuple[PaletteConcept, ...]

    def __getitem__(self, key: tuple[str, str]) -> PaletteConcept:
        """The concept of a layer, by the layer's name and the concept's."""
        layer, name = key
        known = {concept.name: concept for concept in self.concepts if concept.layer == layer}
        if name not in known:
            listed = ", ".join(list(known)[:12]) + (", ..." if len(known) > 12 else "")
            raise UnitlensError(
                f"There is no concept {name!r} to paint with in {layer}{did_you_mean(name, known)}; there are {listed}."
            )
        return known[name]

    @classmethod
    def of(
        cls,
        layers: Sequence[Dissection],
        *,
        typical: "TypicalActivations | None" = None,
        ious: Mapping[tuple[str, str], float] | None = None,
        effects: Sequence[CausalEffects] = (),
    ) -> "Palette":
        """Gather the concepts of a run that any unit meets.

        Parameters
        ----------
        layers : sequence of Dissection
            Of one layer each.
        typical : TypicalActivations, optional
            Of the same network: concepts that are drawn in none of its images are left out.
        ious : mapping of (str, str) to float, optional
            How good the concept source is, by category and name.
        effects : sequence of CausalEffects, optional
            Of layers of the same network.
        """
        by_layer = {sweep.settings.layer: sweep for sweep in effects}
        concepts = [
            concept
            for layer in layers
            for concept in _of_layer(layer, layer.layers[0], typical, ious or {}, by_layer.get(layer.layers[0]))
        ]
        return cls(tuple(sorted(concepts, key=lambda concept: -concept.units[0].iou)))


def _of_layer(
    dissection: Dissection,
    layer: str,
    typical: "TypicalActivations | None",
    ious: Mapping[tuple[str, str], float],
    sweep: CausalEffects | None,
) -> list[PaletteConcept]:
    table, iou = dissection.table(), dissection.counts.iou
    own, verdicts = table["concept"].fillna("").tolist(), table["verdict"].tolist()
    thresholds = table["threshold"].to_numpy(np.float64)
    effects = {} if sweep is None else _effects(sweep)
    unknown = np.full(len(table), np.nan)
    found = []
    for column, (name, concept) in enumerate(
        zip(dissection.concepts, dissection.info["data"]["concepts"], strict=True)
    ):
        key = (concept["category"], concept["name"])
        if not iou[:, column].any() or not _is_drawn(typical, key):
            continue
        levels = _levels(typical, key, layer)
        overall = None if typical is None or levels is None else typical.overall[layer]
        difference = unknown if typical is None or levels is None else _difference(typical, layer, levels)
        effect = effects.get(key, unknown)
        units = [
            PaletteUnit(
                unit=unit,
                iou=float(iou[unit, column]),
                difference=float(difference[unit]),
                concept=own[unit],
                verdict=verdicts[unit],
                effect=float(effect[unit]),
            )
            for unit in _best_units(iou[:, column], np.abs(difference))
        ]
        found.append(
            PaletteConcept(
                name=name,
                category=concept["category"],
                layer=layer,
                units=tuple(units),
                levels=thresholds if levels is None else levels,
                overall=overall,
                segmenter_iou=ious.get(key, float("nan")),
            )
        )
    return found


def _best_units(iou: Floats, difference: Floats) -> list[int]:
    """The first units by IoU and the first by difference, highest IoU first."""
    by_iou = [int(unit) for unit in np.argsort(-iou, kind="stable")[:MOST_UNITS] if iou[unit] > 0]
    by_difference = [int(unit) for unit in np.argsort(-difference, kind="stable")[:MOST_UNITS] if difference[unit] > 0]
    return sorted({*by_iou, *by_difference}, key=lambda unit: (-iou[unit], unit))


def _difference(typical: "TypicalActivations", layer: str, levels: Floats) -> Floats:
    spread = typical.spread[layer]
    return np.where(spread > 0, (levels - typical.overall[layer]) / np.where(spread > 0, spread, 1), 0.0)


def _effects(sweep: CausalEffects) -> dict[tuple[str, str], Floats]:
    """Average causal effects of all units on each concept."""
    effect = sweep.effect()
    return {(concept.category, concept.name): effect[:, c] for c, concept in enumerate(sweep.concepts)}


def _is_drawn(typical: "TypicalActivations | None", concept: tuple[str, str]) -> bool:
    """Whether a concept is drawn in any image that was looked at; if none was, it may be."""
    if typical is None:
        return True
    column = typical.columns.get(concept)
    return column is not None and bool(typical.shown[column])


def _levels(typical: "TypicalActivations | None", concept: tuple[str, str], layer: str) -> Floats | None:
    """Mean activations of all units where a concept is drawn, where it was seen often enough."""
    if typical is None or layer not in typical.means:
        return None
    means = typical.means[layer][typical.columns[concept]]
    return means if bool(np.isfinite(means).all()) else None
