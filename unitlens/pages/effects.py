"""What the page shows of effects, gathered for its template."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from unitlens.ablation.agreement import over_classes
from unitlens.ablation.files import SavedEffects
from unitlens.ablation.measurement import Measurement
from unitlens.ablation.result import SetEffects, UnitEffects
from unitlens.ablation.uses import class_concepts, classes_served
from unitlens.dissection.result import Dissection
from unitlens.pages.document import document
from unitlens.pages.effect_charts import CurveView, HeatMap, ServedView, concept_map, curve_view, served_view, unit_map
from unitlens.pages.units.places import concept_id
from unitlens.pages.uses import (
    MEASURE,
    SETS,
    ClassUses,
    EffectTable,
    SetView,
    UnitUses,
    Use,
    class_uses,
    set_view,
    unit_uses,
)

if TYPE_CHECKING:
    import pandas as pd

TOP = 4
"""How many units of a class count as its most important in figure 2e, as in the paper."""

MANY = 100
"""With more classes than this, fewer units and images of each are shown."""


class EffectsView(NamedTuple):
    """What the page shows of effects.

    Attributes
    ----------
    measured : Measurement
        Of every unit alone, or else of the first result that there is.
    warnings : list of str
        Of all measurements.
    linked : bool
        Whether the page has a card for each unit of the layer.
    few : bool
        Whether the classes are few enough for several images of each unit.
    heat, concepts : HeatMap, optional
        Of every unit alone: classes x units, and classes x concepts.
    served : ServedView, optional
        Figure 2e of the paper.
    classes, units : list
        The most important units of each class, and the classes of each unit.
    serves : mapping of str to list of Use
        The same classes of a unit, by the id of its card.
    curves, sets : list
    agreement : DataFrame, optional
        Of attributions: what `unitlens.ablation.agreement.over_classes` returned.
    """

    measured: Measurement
    warnings: list[str]
    linked: bool
    few: bool
    heat: HeatMap | None
    concepts: HeatMap | None
    served: ServedView | None
    classes: list[ClassUses]
    units: list[UnitUses]
    serves: Mapping[str, list[Use]]
    curves: list[CurveView]
    sets: list[SetView]
    agreement: "pd.DataFrame | None"


def effects_view(
    saved: SavedEffects, dissection: Dissection | None = None, agreement: "pd.DataFrame | None" = None
) -> EffectsView:
    """Gather what the page shows of some effects.

    Parameters
    ----------
    saved : SavedEffects
    dissection : Dissection, optional
        Of the same network: what units look for.
    agreement : DataFrame, optional
        What `unitlens.ablation.agreement.agreement_by_class` returned.
    """
    effects = saved.units
    measured = saved.first if effects is None else effects.measured
    dissected = dissection if dissection is not None and measured.layer in dissection.layers else None
    concept_of, few = _concepts(dissected, measured.layer), len(measured.classes) <= MANY
    heat = concepts = served = None
    classes: list[ClassUses] = []
    units: list[UnitUses] = []
    if effects is not None:
        table, matrix = EffectTable.of(effects), None
        heat = unit_map(table.logit, effects.classes, concept_of, effects.layer)
        if dissected is not None:
            matrix = class_concepts(dissected, effects)
            concepts, served = concept_map(matrix, _places(dissected)), _served(dissected, effects, concept_of)
        classes = class_uses(table, concept_of, matrix, most=8 if few else 5)
        units = unit_uses(table, concept_of, most=8 if few else 4)
    every = [*saved.listed(), measured]
    return EffectsView(
        measured=measured,
        warnings=list(dict.fromkeys(text for one in every for text in one.info["warnings"])),
        linked=dissected is not None,
        few=few,
        heat=heat,
        concepts=concepts,
        served=served,
        classes=classes,
        units=units,
        serves={unit.id: unit.uses for unit in units},
        curves=[curve_view(curve, MEASURE) for curve in saved.curves],
        sets=[set_view(one, concept_of) for one in _shown_sets(saved)],
        agreement=None if agreement is None or agreement.empty else over_classes(agreement),
    )


def _shown_sets(saved: SavedEffects) -> list[SetEffects]:
    """The sets to show; of curves alone, those of their most important units."""
    if saved.sets or any(isinstance(result, UnitEffects) for result in saved.results):
        return list(saved.sets[:SETS])
    return [curve.chosen("most", k) for curve in saved.curves for k in curve.sizes][:SETS]


def _concepts(dissection: Dissection | None, layer: str) -> dict[int, str]:
    """Concepts of the detectors of a layer."""
    if dissection is None:
        return {}
    table = dissection.detectors()
    table = table[table["layer"] == layer]
    return {int(unit): str(concept) for unit, concept in zip(table["unit"], table["concept"], strict=True)}


def _places(dissection: Dissection) -> dict[str, str]:
    """The id of each concept's section."""
    table = dissection.detectors()
    return {
        str(name): concept_id(str(kind), str(name))
        for kind, name in zip(table["category"], table["concept"], strict=True)
    }


def _served(dissection: Dissection, effects: UnitEffects, concept_of: Mapping[int, str]) -> ServedView:
    """Figure 2e, by held-out IoU where there is one."""
    heldout = bool(dissection[effects.layer].table()["heldout_iou"].notna().any())
    served = classes_served(dissection, effects, score="heldout_iou" if heldout else "iou", top=TOP)
    return served_view(served, concept_of, effects.layer, top=TOP, heldout=heldout)


def render_effects(effects: EffectsView, outcomes: Any = None) -> str:
    """Return the page of effects that were measured without a dissection, as text; with outcomes, if there are any."""
    return document(
        "effects_page.html",
        version=effects.measured.info["unitlens"],
        styles=("report.css", "effects.css", *(["interventions.css"] if outcomes is not None else [])),
        info=effects.measured.info,
        effects=effects,
        outcomes=outcomes,
    )
