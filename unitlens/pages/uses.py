"""The most important units of each class, and the classes that each unit serves, as plain values for the page."""

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from unitlens.ablation.estimates import Estimate
from unitlens.ablation.random_sets import Band
from unitlens.ablation.result import SetEffects, UnitEffects
from unitlens.ablation.table import UnitSet
from unitlens.pages.units.places import class_id, unit_id
from unitlens.stats.scores import Floats, Ints

if TYPE_CHECKING:
    import pandas as pd

MEASURE, FINE = "balanced_accuracy", "logit"
"""What the page shows of a class; and what shows the part of a unit that alone changes no prediction."""

SETS, CLASSES_OF_SET, CONCEPTS_OF_CLASS = 12, 6, 6
"""Most sets of units that are shown, classes of each, and concepts of a class."""


class Use(NamedTuple):
    """A unit and what it does to a class: on balanced accuracy, with its interval, and on the mean logit."""

    unit: int
    id: str
    concept: str
    class_: str
    class_id: str
    effect: float
    low: float
    high: float
    logit: float


class ClassUses(NamedTuple):
    """The most important units of a class, and the concepts that it depends on: name, sum of effects, detectors."""

    class_: str
    id: str
    before: float
    images: int
    uses: list[Use]
    concepts: list[tuple[str, float, int]]


class UnitUses(NamedTuple):
    """The classes that a unit serves."""

    unit: int
    id: str
    concept: str
    uses: list[Use]


class SetView(NamedTuple):
    """A set of units: the accuracy before and after, and with drawn sets; and the classes that change most.

    Attributes
    ----------
    units : str
    before, after : float
    beside : list of tuples
        Of each kind of drawn sets: the kind, how many, and mean and band of the accuracy after.
    classes : list of tuples
        Name, effect on `MEASURE`, and its interval.
    """

    units: str
    before: float
    after: float
    beside: list[tuple[str, int, Band]]
    classes: list[tuple[str, float, float, float]]


class EffectTable(NamedTuple):
    """Effects of every unit on every class, and the order of units for each class.

    Attributes
    ----------
    layer : str
    classes : tuple of str
    estimate : Estimate
        Of `MEASURE`, (U, classes).
    change, logit, logit_high : float64 arrays, (U, classes)
        Effects on `MEASURE` and on `FINE`, 0 where there is none, and the upper end of the latter's interval.
    order : int64 array, (U, classes)
        Units of each class, most important first.
    """

    layer: str
    classes: tuple[str, ...]
    estimate: Estimate
    change: Floats
    logit: Floats
    logit_high: Floats
    order: Ints

    @classmethod
    def of(cls, effects: UnitEffects) -> "EffectTable":
        """Gather it from the effects of every unit alone."""
        estimate, fine = effects.estimate(MEASURE), effects.estimate(FINE)
        change, logit = np.nan_to_num(estimate.effect), np.nan_to_num(fine.effect)
        return cls(
            effects.layer, effects.classes, estimate, change, logit, fine.high, _order(change, estimate.high, logit)
        )

    def use(self, unit: int, column: int, concept_of: Mapping[int, str]) -> Use:
        """One unit and one class."""
        cell, name = (unit, column), self.classes[column]
        return Use(
            unit=unit,
            id=unit_id(self.layer, unit),
            concept=concept_of.get(unit, ""),
            class_=name,
            class_id=class_id(name),
            effect=float(self.change[cell]),
            low=float(self.estimate.low[cell]),
            high=float(self.estimate.high[cell]),
            logit=float(self.logit[cell]),
        )


def _order(change: Floats, high: Floats, logit: Floats) -> Ints:
    """Units of each class: first those whose effect on the measure is significant, by its size; then by logit.

    Among units that change no prediction of the class, one image of another class more or less would else decide.
    """
    certain = high < 0
    return np.lexsort([logit, np.where(certain, change, 0.0), ~certain], axis=0)


def class_uses(
    table: EffectTable, concept_of: Mapping[int, str], matrix: "pd.DataFrame | None", *, most: int
) -> list[ClassUses]:
    """The most important units of each class, and its concepts, from `unitlens.ablation.uses.class_concepts`."""
    classes = []
    for column, name in enumerate(table.classes):
        harmful = np.minimum(table.change[:, column], table.logit[:, column]) < 0
        units = [unit for unit in table.order[:most, column].tolist() if harmful[unit]]
        classes.append(
            ClassUses(
                class_=name,
                id=class_id(name),
                before=float(table.estimate.before[0, column]),
                images=int(table.estimate.images[0, column]),
                uses=[table.use(unit, column, concept_of) for unit in units],
                concepts=_depended_on(matrix.loc[name].to_dict(), concept_of) if matrix is not None else [],
            )
        )
    return classes


def _depended_on(row: Mapping[Any, float], concept_of: Mapping[int, str]) -> list[tuple[str, float, int]]:
    """The concepts that a class depends on most, down to a twentieth of the first, and their number of detectors."""
    first = sorted((float(effect), str(concept)) for concept, effect in row.items())[:CONCEPTS_OF_CLASS]
    counts = Counter(concept_of.values())
    return [(name, effect, counts[name]) for effect, name in first if effect < 0 and effect <= 0.05 * first[0][0]]


def unit_uses(table: EffectTable, concept_of: Mapping[int, str], *, most: int) -> list[UnitUses]:
    """Units that lower a class's logit, by its interval, by a tenth of the largest decrease or more; largest first."""
    serves = (table.logit_high < 0) & (table.logit < 0.1 * min(float(table.logit.min(initial=0)), -1e-12))
    units = []
    for unit in np.flatnonzero(serves.any(1)).tolist():
        order = [c for c in np.argsort(table.logit[unit], kind="stable").tolist() if serves[unit, c]][:most]
        uses = [table.use(unit, column, concept_of) for column in order]
        units.append(UnitUses(unit, uses[0].id, uses[0].concept, uses))
    return sorted(units, key=lambda one: one.uses[0].logit)


def set_view(effects: SetEffects, concept_of: Mapping[int, str]) -> SetView:
    """One set, and the classes that it changes most."""
    estimate, overall = effects.estimate(MEASURE), effects.overall()
    change = np.nan_to_num(estimate.effect)
    order = np.argsort(-np.abs(change), kind="stable")[:CLASSES_OF_SET].tolist()
    classes = [(effects.classes[c], float(change[c]), float(estimate.low[c]), float(estimate.high[c])) for c in order]
    beside: list[tuple[str, int, Band]] = []
    for kind, drawn in effects.drawn.items():
        after = drawn.overall().after
        beside.append((effects.describe_drawn(kind), len(after), Band.of(after)))
    named = _named(effects.units, concept_of)
    return SetView(named, float(overall.before), float(overall.after), beside, classes)


def _named(units: UnitSet, concept_of: Mapping[int, str], most: int = 24) -> str:
    """Units by their numbers and what they look for; those of several layers by layer and number."""
    names = [
        f"{unit} {concept_of[unit]}" if isinstance(unit, int) and unit in concept_of else str(unit) for unit in units
    ]
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
