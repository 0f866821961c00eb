"""What the report says of effects, as plain values: a heat map, curves, a class's units and a unit's classes."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from unitlens.ablation_curves import KINDS, Curve
from unitlens.cards import unit_id
from unitlens.chance import benjamini_hochberg
from unitlens.effect_files import SavedEffects
from unitlens.effect_result import Effects
from unitlens.scores import Floats

if TYPE_CHECKING:
    import pandas as pd

MEASURE, FINE = "balanced_accuracy", "logit"
"""What the page shows of a class; and what shows the part of a unit that by itself changes no call."""

WIDEST, TALLEST = 300, 60
"""Most units and classes of the heat map: those with the largest effects."""

SIGNIFICANT = 0.05
WIDTH, HEIGHT = 340, 170
"""Of a curve, in the units of its drawing."""


class Cell(NamedTuple):
    """One cell of the heat map; strength is a share of the largest."""

    x: int
    y: int
    strength: float
    gain: bool
    title: str


class HeatMap(NamedTuple):
    """Units x classes."""

    classes: list[str]
    units: list[int]
    cells: list[Cell]
    largest: float
    left_out: int


class Use(NamedTuple):
    """A unit and what it does to a class: on balanced accuracy, with its interval, and on the mean logit."""

    unit: int
    id: str
    label: str
    class_: str
    effect: float
    low: float
    high: float
    logit: float


class ClassUses(NamedTuple):
    """The most important units of a class."""

    class_: str
    before: float
    pictures: int
    uses: list[Use]


class UnitUses(NamedTuple):
    """The classes that a unit serves."""

    unit: int
    id: str
    label: str
    uses: list[Use]


class Line(NamedTuple):
    """One line of a curve, with its points as SVG writes them."""

    kind: str
    what: str
    points: str


class CurveView(NamedTuple):
    """A curve, drawn: lines, bands, marks of the axis, and the table of the paper."""

    class_: str
    lines: list[Line]
    bands: list[Line]
    ticks: list[tuple[float, int]]
    before: float
    rows: list[tuple[str, float, float]]


class EffectsView(NamedTuple):
    """Everything that the page says of effects."""

    info: Mapping[str, Any]
    layer: str
    heat: HeatMap | None
    classes: list[ClassUses]
    units: list[UnitUses]
    curves: list[CurveView]
    sets: list[tuple[str, str, list[Use]]]
    accuracy: float


def effects_view(saved: SavedEffects, units: "pd.DataFrame | None" = None, *, most: int = 8) -> EffectsView:
    """Say what the page shows of some effects.

    Parameters
    ----------
    saved : SavedEffects
    units : pandas.DataFrame, optional
        units.csv of the run, for labels.
    most : int
        Units shown for a class, and classes for a unit.

    Returns
    -------
    EffectsView
    """
    first, sweep = saved.first, saved.sweep
    labels = _labels(units, first.layer)
    table = _Table.of(sweep) if sweep is not None else None
    return EffectsView(
        first.info,
        first.layer,
        _heat_map(table, labels) if table is not None else None,
        _class_uses(table, labels, most) if table is not None else [],
        _unit_uses(table, labels, most) if table is not None else [],
        [_curve(curve) for curve in saved.curves],
        [_set(effects, place, labels) for effects in saved.listed if not effects.single for place in _few(effects)],
        float(first.overall().before[0]),
    )


class _Table(NamedTuple):
    """Effects of every unit on every class, with intervals and q-values, each (U, classes)."""

    layer: str
    classes: tuple[str, ...]
    before: Floats
    pictures: Any
    effect: Floats
    low: Floats
    high: Floats
    logit: Floats
    q_value: Floats
    ranks: Sequence[Sequence[int]]

    @classmethod
    def of(cls, effects: Effects) -> "_Table":
        found, fine = effects.estimate(MEASURE), effects.estimate(FINE)
        q_value = benjamini_hochberg(np.nan_to_num(fine.p_value, nan=1.0).ravel()).reshape(fine.p_value.shape)
        change, logit = np.nan_to_num(found.effect), np.nan_to_num(fine.effect)
        keys = [np.lexsort([logit[:, c], change[:, c]]).tolist() for c in range(change.shape[1])]
        return cls(
            effects.layer,
            effects.classes,
            found.before[0],
            found.pictures[0],
            change,
            found.low,
            found.high,
            logit,
            q_value,
            keys,
        )

    def use(self, unit: int, column: int, labels: Mapping[int, str]) -> Use:
        """One unit and one class."""
        place = unit, column
        numbers = (float(values[place]) for values in (self.effect, self.low, self.high, self.logit))
        return Use(unit, unit_id(self.layer, unit), labels.get(unit, ""), self.classes[column], *numbers)


def _labels(units: "pd.DataFrame | None", layer: str) -> dict[int, str]:
    """Labels of detectors."""
    if units is None:
        return {}
    own = units[(units["layer"] == layer) & units["detector"].astype(bool)]
    return {int(unit): str(concept) for unit, concept in zip(own["unit"], own["concept"], strict=True)}


def _heat_map(table: _Table, labels: Mapping[int, str]) -> HeatMap:
    """Units stand in the order of the class that they matter most to, and of how much."""
    size = np.abs(table.logit)
    largest = float(size.max(initial=0)) or 1.0
    classes = np.sort(np.argsort(-size.max(0), kind="stable")[:TALLEST])
    units = np.argsort(-size.max(1), kind="stable")[:WIDEST]
    own = table.logit[:, classes]
    units = np.array(sorted(units.tolist(), key=lambda u: (int(own[u].argmin()), float(own[u].min()), u)), dtype=int)
    cells = []
    for x, unit in enumerate(units.tolist()):
        for y, column in enumerate(classes.tolist()):
            effect = float(table.logit[unit, column])
            if abs(effect) >= 0.03 * largest:
                label = f" ({labels[unit]})" if unit in labels else ""
                title = f"unit {unit}{label}, {table.classes[column]}: {effect:+.3f}"
                cells.append(Cell(x, y, round(abs(effect) / largest, 3), effect > 0, title))
    left_out = len(table.logit) - len(units)
    return HeatMap([table.classes[c] for c in classes.tolist()], units.tolist(), cells, largest, left_out)


def _class_uses(table: _Table, labels: Mapping[int, str], most: int) -> list[ClassUses]:
    found = []
    for column, name in enumerate(table.classes):
        order = [
            unit
            for unit in table.ranks[column][:most]
            if min(table.effect[unit, column], table.logit[unit, column]) < 0
        ]
        uses = [table.use(unit, column, labels) for unit in order]
        found.append(ClassUses(name, float(table.before[column]), int(table.pictures[column]), uses))
    return found


def _unit_uses(table: _Table, labels: Mapping[int, str], most: int) -> list[UnitUses]:
    """Units whose loss costs a class a tenth of the largest loss of logit, told apart from chance; largest first."""
    serves = (table.q_value <= SIGNIFICANT) & (table.logit < 0.1 * min(float(table.logit.min(initial=0)), -1e-12))
    found = []
    for unit in np.flatnonzero(serves.any(1)).tolist():
        order = [c for c in np.argsort(table.logit[unit], kind="stable").tolist() if serves[unit, c]][:most]
        uses = [table.use(unit, column, labels) for column in order]
        found.append(UnitUses(unit, unit_id(table.layer, unit), labels.get(unit, ""), uses))
    return sorted(found, key=lambda one: one.uses[0].logit)


def _few(effects: Effects) -> range:
    return range(min(len(effects.sets), 12))


def _set(effects: Effects, place: int, labels: Mapping[int, str]) -> tuple[str, str, list[Use]]:
    """A set of units: which, what happens to the accuracy, and to the classes that lose or gain most."""
    units, found = effects.sets[place], effects.estimate(MEASURE)
    named = [f"{unit} {labels[unit]}" if isinstance(unit, int) and unit in labels else str(unit) for unit in units[:24]]
    named += [f"and {len(units) - 24} more"] if len(units) > 24 else []
    overall = effects.overall()
    change = np.nan_to_num(found.effect[place])
    uses = [
        Use(
            -1,
            "",
            "",
            effects.classes[c],
            float(change[c]),
            float(found.low[place, c]),
            float(found.high[place, c]),
            0.0,
        )
        for c in np.argsort(-np.abs(change), kind="stable")[:6].tolist()
    ]
    accuracy = f"accuracy over all classes {overall.before[place]:.3f} to {overall.after[place]:.3f}"
    return ", ".join(named), accuracy, uses


def _curve(curve: Curve) -> CurveView:
    table = curve.table()
    sizes = sorted(table["k"].unique().tolist())
    x = {k: _across(k, sizes) for k in sizes}
    lines, bands = [], []
    for kind, what in KINDS.items():
        own = curve.band(kind, MEASURE)
        if not len(own):
            continue
        lines.append(Line(kind, what, _points([(x[k], m) for k, m in zip(own["k"], own["mean"], strict=True)])))
        if kind in ("random", "matched"):
            low = [(x[k], value) for k, value in zip(own["k"], own["low"], strict=True)]
            high = [(x[k], value) for k, value in zip(own["k"], own["high"], strict=True)]
            bands.append(Line(kind, what, _points([*low, *reversed(high)])))
    paper = curve.paper_table()
    rows = [(str(r.what), float(r.balanced_accuracy), float(r.accuracy)) for r in paper.itertuples()]  # type: ignore[arg-type]
    before = _height(curve.untouched()[MEASURE])
    return CurveView(curve.class_, lines, bands, [(x[k], int(k)) for k in sizes], before, rows)


def _across(k: int, sizes: Sequence[int]) -> float:
    """Place of a size, on a logarithmic axis."""
    span = math.log(max(sizes)) - math.log(min(sizes))
    return round(WIDTH * (math.log(k) - math.log(min(sizes))) / span, 1) if span else WIDTH / 2


def _height(value: float) -> float:
    """Place of a share; the axis goes from 0.4 to 1."""
    return round(HEIGHT * (1 - (max(value, 0.4) - 0.4) / 0.6), 1)


def _points(points: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{x:g},{_height(value):g}" for x, value in points if value == value)
