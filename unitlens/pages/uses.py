"""Which units a class uses and which classes a unit serves, as plain values that the page shows."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from unitlens.ablation.result import SetEffects, UnitEffects
from unitlens.ablation.table import joined
from unitlens.pages.cards import class_id, unit_id
from unitlens.stats.scores import Floats, Ints

if TYPE_CHECKING:
    import pandas as pd

MEASURE, FINE = "balanced_accuracy", "logit"
"""What the page shows of a class; and what shows the part of a unit that by itself changes no call."""

SIGNIFICANT = 0.05
SETS, CLASSES_OF_SET, CONCEPTS_OF_CLASS = 12, 6, 6
"""Most sets of units that are shown, classes of each, and concepts of a class."""


class Use(NamedTuple):
    """A unit and what it does to a class: on balanced accuracy, with its interval, and on the mean logit."""

    unit: int
    id: str
    label: str
    class_: str
    class_id: str
    effect: float
    low: float
    high: float
    logit: float


class ClassUses(NamedTuple):
    """The most important units of a class, and the concepts that it rests on: name, sum of effects, detectors."""

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
    label: str
    uses: list[Use]


class SetView(NamedTuple):
    """A set of units: what happens to the accuracy, beside drawn sets, and to the classes that change most."""

    units: str
    before: float
    after: float
    beside: list[tuple[str, int, float, float, float]]
    uses: list[Use]


class SweepTable(NamedTuple):
    """Effects of every unit on every class, (U, classes) each, and the order of units for each class."""

    layer: str
    classes: tuple[str, ...]
    before: Floats
    images: Ints
    effect: Floats
    low: Floats
    high: Floats
    logit: Floats
    q_value: Floats
    order: Ints

    @classmethod
    def of(cls, effects: UnitEffects) -> "SweepTable":
        """Gather it from the effects of every unit alone."""
        from scipy.stats import false_discovery_control

        found, fine = effects.estimate(MEASURE), effects.estimate(FINE)
        q_value = false_discovery_control(np.nan_to_num(fine.p_value, nan=1.0).ravel()).reshape(fine.p_value.shape)
        change, logit = np.nan_to_num(found.effect), np.nan_to_num(fine.effect)
        return cls(
            *(effects.layer, effects.classes, found.before[0], found.images[0], change, found.low, found.high),
            *(logit, q_value, _order(change, found.high, logit)),
        )

    def use(self, unit: int, column: int, labels: Mapping[int, str]) -> Use:
        """One unit and one class."""
        place, name = (unit, column), self.classes[column]
        numbers = (float(values[place]) for values in (self.effect, self.low, self.high, self.logit))
        return Use(unit, unit_id(self.layer, unit), labels.get(unit, ""), name, class_id(name), *numbers)


def _order(change: Floats, high: Floats, logit: Floats) -> Ints:
    """Units of each class: first those told apart from chance by the measure, by how much; then by logit.

    Among units that change no call of the class, one call of another class more or less would else decide.
    """
    certain = high < 0
    return np.lexsort([logit, np.where(certain, change, 0.0), ~certain], axis=0)


def class_uses(
    table: SweepTable, labels: Mapping[int, str], matrix: "pd.DataFrame | None", *, most: int
) -> list[ClassUses]:
    """The most important units of each class, and its concepts, from `unitlens.ablation.uses.class_concepts`."""
    found = []
    for column, name in enumerate(table.classes):
        order = [
            unit
            for unit in table.order[:most, column].tolist()
            if min(table.effect[unit, column], table.logit[unit, column]) < 0
        ]
        uses = [table.use(unit, column, labels) for unit in order]
        concepts = _rests_on(matrix.loc[name].to_dict(), labels) if matrix is not None else []
        own = float(table.before[column]), int(table.images[column])
        found.append(ClassUses(name, class_id(name), *own, uses, concepts))
    return found


def _rests_on(row: Mapping[Any, float], labels: Mapping[int, str]) -> list[tuple[str, float, int]]:
    """The concepts that a class loses most with, down to a twentieth of the first."""
    first = sorted((float(effect), str(concept)) for concept, effect in row.items())[:CONCEPTS_OF_CLASS]
    said = list(labels.values())
    return [(name, effect, said.count(name)) for effect, name in first if effect < 0 and effect <= 0.05 * first[0][0]]


def unit_uses(table: SweepTable, labels: Mapping[int, str], *, most: int) -> list[UnitUses]:
    """Units whose loss costs a class a tenth of the largest loss of logit, told apart from chance; largest first."""
    serves = (table.q_value <= SIGNIFICANT) & (table.logit < 0.1 * min(float(table.logit.min(initial=0)), -1e-12))
    found = []
    for unit in np.flatnonzero(serves.any(1)).tolist():
        order = [c for c in np.argsort(table.logit[unit], kind="stable").tolist() if serves[unit, c]][:most]
        uses = [table.use(unit, column, labels) for column in order]
        found.append(UnitUses(unit, unit_id(table.layer, unit), labels.get(unit, ""), uses))
    return sorted(found, key=lambda one: one.uses[0].logit)


def set_view(effects: SetEffects, labels: Mapping[int, str]) -> SetView:
    """One set, and the classes that it changes most."""
    own, overall = effects.estimate(MEASURE), effects.overall()
    change = np.nan_to_num(own.effect)
    order = np.argsort(-np.abs(change), kind="stable")[:CLASSES_OF_SET].tolist()
    uses = []
    for c in order:
        name = effects.classes[c]
        numbers = float(change[c]), float(own.low[c]), float(own.high[c])
        uses.append(Use(-1, "", "", name, class_id(name), *numbers, 0.0))
    named = _named(effects.units, labels)
    return SetView(named, float(overall.before), float(overall.after), _beside(effects), uses)


def _named(units: Sequence[Any], labels: Mapping[int, str], most: int = 24) -> str:
    """Units as they are said: their number, or layer and number, and what they look for."""
    said = joined(units).split(";")
    plain = [f"{one} {labels[int(one)]}" if one.isdecimal() and int(one) in labels else one for one in said[:most]]
    return ", ".join(plain) + (f" and {len(said) - most} more" if len(said) > most else "")


def _beside(effects: SetEffects) -> list[tuple[str, int, float, float, float]]:
    """Accuracy with sets of the same size ablated instead: kind, draws, mean, and 2.5 and 97.5 percentile."""
    kinds = {"random": "drawn at random", "matched": "drawn to be about as active"}
    found = []
    for kind, drawn in effects.drawn.items():
        after = drawn.overall().after
        low, high = np.quantile(after, [0.025, 0.975]).tolist()
        found.append((kinds[kind], len(after), float(after.mean()), low, high))
    return found
