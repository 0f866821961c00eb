"""What the page says of effects: everything that the template shows, as plain values."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from unitlens.ablation.agreement import over_classes
from unitlens.ablation.files import SavedEffects
from unitlens.ablation.measurement import EffectSettings
from unitlens.ablation.result import SetEffects, UnitEffects
from unitlens.ablation.uses import class_concepts, classes_served
from unitlens.dissection.result import Dissection
from unitlens.pages.cards import concept_id
from unitlens.pages.document import document
from unitlens.pages.effect_charts import CurveView, HeatMap, ServedView, concept_map, curve_view, served_view, unit_map
from unitlens.pages.uses import (
    MEASURE,
    SETS,
    ClassUses,
    SetView,
    SweepTable,
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


class Method(NamedTuple):
    """How well one attribution agrees with the exact effect: means over classes, and the ends."""

    name: str
    spearman: float
    low: float
    high: float
    overlap: float


class AgreementView(NamedTuple):
    """The table of attribution methods."""

    methods: list[Method]
    images: int
    classes: int
    top: int
    chance: float


class EffectsView(NamedTuple):
    """Everything that the page says of effects.

    Attributes
    ----------
    info : mapping
        Of the effects of every unit, or else of the first that there are.
    settings : EffectSettings
        Of the same.
    layer : str
    warnings : list of str
        Of all of them.
    linked : bool
        Whether the page has a card for each unit of the layer.
    heat, concepts : HeatMap, optional
        Classes x units, and classes x concepts.
    served : ServedView, optional
        Figure 2e of the paper.
    agreement : AgreementView, optional
    swept : bool
        Whether every unit was measured alone.
    classes, units : list
    serves : mapping of str to list of Use
        The same classes of a unit, by the place of its card.
    curves, sets : list
    accuracy : float
        Untouched.
    few : bool
        Whether the classes are few enough for several images of each unit.
    """

    info: Mapping[str, Any]
    settings: EffectSettings
    layer: str
    warnings: list[str]
    linked: bool
    heat: HeatMap | None
    concepts: HeatMap | None
    served: ServedView | None
    agreement: AgreementView | None
    swept: bool
    classes: list[ClassUses]
    units: list[UnitUses]
    serves: Mapping[str, list[Use]]
    curves: list[CurveView]
    sets: list[SetView]
    accuracy: float
    few: bool


def effects_view(
    saved: SavedEffects, dissection: Dissection | None = None, agreement: "pd.DataFrame | None" = None
) -> EffectsView:
    """Say what the page shows of some effects.

    Parameters
    ----------
    saved : SavedEffects
    dissection : Dissection, optional
        Of the same network: what units look for.
    agreement : DataFrame, optional
        What `unitlens.ablation.agreement.agreement_by_class` returned.
    """
    effects = saved.units
    first = saved.first if effects is None else effects.measured
    measured = [*saved.listed(), *([effects.measured] if effects is not None else [])]
    linked = dissection is not None and first.layer in dissection.layers
    labels = _labels(dissection, first.layer)
    few = len(first.classes) <= MANY
    table = SweepTable.of(effects) if effects is not None else None
    matrix = class_concepts(dissection, effects) if linked and dissection is not None and effects is not None else None
    units = unit_uses(table, labels, most=8 if few else 4) if table is not None else []
    return EffectsView(
        info=first.info,
        settings=first.settings,
        layer=first.layer,
        warnings=list(dict.fromkeys(text for one in measured for text in one.info["warnings"])),
        linked=linked,
        heat=unit_map(table.logit, table.classes, labels, table.layer) if table is not None else None,
        concepts=concept_map(matrix, _places(dissection)) if matrix is not None else None,
        served=_served(dissection, effects, labels) if linked else None,
        agreement=_agreement(agreement),
        swept=effects is not None,
        classes=class_uses(table, labels, matrix, most=8 if few else 5) if table is not None else [],
        units=units,
        serves={one.id: one.uses for one in units},
        curves=[curve_view(curve, MEASURE) for curve in saved.curves],
        sets=[set_view(one, labels) for one in _shown_sets(saved)],
        accuracy=float(first.overall().before[0]),
        few=few,
    )


def _shown_sets(saved: SavedEffects) -> list[SetEffects]:
    """The sets to show; of curves alone, those of their most important units."""
    if saved.sets or any(isinstance(result, UnitEffects) for result in saved.results):
        return list(saved.sets[:SETS])
    return [curve.chosen("most", k) for curve in saved.curves for k in curve.sizes][:SETS]


def _labels(dissection: Dissection | None, layer: str) -> dict[int, str]:
    """Labels of detectors."""
    if dissection is None:
        return {}
    own = dissection.detectors()
    own = own[own["layer"] == layer]
    return {int(unit): str(concept) for unit, concept in zip(own["unit"], own["concept"], strict=True)}


def _places(dissection: Dissection | None) -> dict[str, str]:
    """The section of each concept."""
    if dissection is None:
        return {}
    own = dissection.detectors()
    return {
        str(name): concept_id(str(kind), str(name)) for kind, name in zip(own["category"], own["concept"], strict=True)
    }


def _served(dissection: Dissection | None, effects: UnitEffects | None, labels: Mapping[int, str]) -> ServedView | None:
    """Figure 2e, by held-out IoU where there is one."""
    if dissection is None or effects is None:
        return None
    heldout = bool(dissection[effects.layer].table()["heldout_iou"].notna().any())
    served = classes_served(dissection, effects, score="heldout_iou" if heldout else "iou", top=TOP)
    return served_view(served, labels, effects.layer, top=TOP, heldout=heldout)


def _agreement(by_class: "pd.DataFrame | None") -> AgreementView | None:
    if by_class is None or not len(by_class):
        return None
    rows = over_classes(by_class)
    methods = [
        Method(str(row["method"]).replace("_", " "), *(float(row[name]) for name in _NUMBERS))
        for row in rows.to_dict("records")
    ]
    own = by_class[by_class["method"] == by_class["method"].iloc[0]]
    return AgreementView(
        methods, int(own["images"].sum()), len(own), int(own["top"].iloc[0]), float(own["chance"].iloc[0])
    )


_NUMBERS = ("spearman", "spearman_low", "spearman_high", "overlap")


def render_effects(effects: EffectsView) -> str:
    """Return the page of effects that were measured without a dissection, as text."""
    return document(
        "effects_page.html",
        version=effects.info["unitlens"],
        styles=("report.css", "effects.css"),
        info=effects.info,
        effects=effects,
    )
