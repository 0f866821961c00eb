"""Charts of what units are used for, as plain values that the page draws: maps of squares, curves, and figure 2e."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from unitlens.ablation.result import Curve
from unitlens.ablation.uses import Served
from unitlens.drawing.effects import KINDS
from unitlens.pages.units.places import class_id, unit_id
from unitlens.stats.scores import Floats, Ints

if TYPE_CHECKING:
    import pandas as pd

WIDEST, TALLEST, CONCEPTS = 300, 60, 40
"""Most units, classes and concepts of a map: those with the largest effects."""

FAINT, MOST_CELLS = 0.03, 8000
"""Squares weaker than this share of the strongest stay blank, and so do those beyond so many."""

WIDTH, HEIGHT = 340, 170
"""Of a curve and of figure 2e, in the units of the drawing."""


class Cell(NamedTuple):
    """One square of a map; strength is a share of the largest, target a place on the page."""

    x: int
    y: int
    strength: float
    gain: bool
    title: str
    target: str


class HeatMap(NamedTuple):
    """Classes (rows, each with its place on the page) x unit numbers or concepts (columns)."""

    classes: list[tuple[str, str]]
    columns: list[str]
    cells: list[Cell]
    largest: float
    blank: float
    left_out: int


def unit_map(effect: Floats, classes: Sequence[str], concept_of: Mapping[int, str], layer: str) -> HeatMap:
    """Effects (U, classes). Units stand in the order of the class that they matter most to, and of how much."""
    kept = _strongest(np.abs(effect).max(0), TALLEST)
    units = _strongest(np.abs(effect).max(1), WIDEST)
    part = effect[:, kept]
    units = np.array(sorted(units.tolist(), key=lambda u: (int(part[u].argmin()), float(part[u].min()), u)), dtype=int)
    return _map(
        effect[np.ix_(units, kept)].T,
        classes=[classes[c] for c in kept],
        columns=[str(unit) for unit in units.tolist()],
        titles=[f"unit {unit}" + (f" ({concept_of[unit]})" if unit in concept_of else "") for unit in units.tolist()],
        targets=[unit_id(layer, unit) for unit in units.tolist()],
        left_out=len(effect) - len(units),
    )


def concept_map(matrix: "pd.DataFrame", targets: Mapping[str, str]) -> HeatMap | None:
    """Classes x concepts, in the order of the class that rests most on them; None where there is no concept.

    Parameters
    ----------
    matrix : DataFrame
        What `unitlens.ablation.uses.class_concepts` returned.
    targets : mapping of str to str
        The place of each concept on the page.
    """
    effect = matrix.to_numpy(dtype=np.float64)
    if not effect.size:
        return None
    rows = _strongest(np.abs(effect).max(1), TALLEST)
    columns = _strongest(np.abs(effect).max(0), CONCEPTS)
    part = effect[rows]
    columns = np.array(sorted(columns.tolist(), key=lambda c: (int(part[:, c].argmin()), float(part[:, c].min()), c)))
    names = [str(matrix.columns[c]) for c in columns]
    return _map(
        part[:, columns],
        classes=[str(matrix.index[r]) for r in rows],
        columns=names,
        titles=names,
        targets=[targets.get(name, "") for name in names],
        left_out=effect.shape[1] - len(columns),
    )


def _strongest(size: Floats, most: int) -> npt.NDArray[np.int64]:
    """Places of the largest, in their own order."""
    return np.sort(np.argsort(-size, kind="stable")[:most]).astype(np.int64)


def _map(
    effect: Floats,
    *,
    classes: list[str],
    columns: list[str],
    titles: Sequence[str],
    targets: Sequence[str],
    left_out: int,
) -> HeatMap:
    """Lay out the squares of (classes, columns)."""
    size = np.abs(effect)
    largest = float(size.max(initial=0)) or 1.0
    blank = max(FAINT * largest, float(np.sort(size.ravel())[-MOST_CELLS]) if size.size > MOST_CELLS else 0.0)
    cells = [
        Cell(
            x=x,
            y=y,
            strength=round(abs(value) / largest, 3),
            gain=value > 0,
            title=f"{titles[x]}, {classes[y]}: {value:+.3f}",
            target=targets[x],
        )
        for y, x, value in ((y, x, float(effect[y, x])) for y, x in np.argwhere(size >= blank).tolist())
    ]
    return HeatMap([(name, class_id(name)) for name in classes], columns, cells, largest, blank, left_out)


class Point(NamedTuple):
    """One unit of figure 2e."""

    x: float
    y: float
    title: str
    target: str


class ServedView(NamedTuple):
    """Figure 2e: for how many classes a unit is important (across) against its IoU (up)."""

    points: list[Point]
    means: list[tuple[float, float, str]]
    step: float
    ticks: list[tuple[float, int]]
    heights: list[tuple[float, str]]
    correlation: float
    low: float
    high: float
    top: int
    heldout: bool


def served_view(served: Served, concept_of: Mapping[int, str], layer: str, *, top: int, heldout: bool) -> ServedView:
    """Draw what `unitlens.ablation.uses.classes_served` returned; units of one count stand side by side."""
    counts, iou = served.classes, served.iou
    most = max(int(counts.max(initial=0)), 1)
    ceiling = max(math.ceil(10 * float(iou.max(initial=0))), 1) / 10
    step = WIDTH / (most + 1)
    spread = (np.arange(len(iou)) * 0.6180339887498949) % 1 - 0.5  # the golden ratio: evenly, whatever their number
    points = [
        Point(
            x=round(float(step * (counts[u] + 0.5 + 0.7 * spread[u])), 1),
            y=round(float(HEIGHT * (1 - iou[u] / ceiling)), 1),
            title=f"unit {u}{f' ({concept_of[u]})' if u in concept_of else ''}: IoU {iou[u]:.3f}, "
            f"{_classes(int(counts[u]))}",
            target=unit_id(layer, u),
        )
        for u in range(len(iou))
    ]
    every = max(1, most // 8)
    return ServedView(
        points=points,
        means=_means(counts, iou, step, ceiling),
        step=round(step, 1),
        ticks=[(round(step * (k + 0.5), 1), k) for k in range(0, most + 1, every)],
        heights=[(round(HEIGHT * (1 - part), 1), f"{part * ceiling:g}") for part in (0.0, 0.5, 1.0)],
        correlation=served.correlation,
        low=served.low,
        high=served.high,
        top=top,
        heldout=heldout,
    )


def _means(counts: Ints, iou: Floats, step: float, ceiling: float) -> list[tuple[float, float, str]]:
    means = []
    for k in np.unique(counts).tolist():
        values = iou[counts == k]
        title = f"mean of {len(values)} unit{'s' * (len(values) != 1)} with {_classes(k)}: {values.mean():.3f}"
        means.append((round(step * (k + 0.5), 1), round(float(HEIGHT * (1 - values.mean() / ceiling)), 1), title))
    return means


def _classes(count: int) -> str:
    return f"{count} class{'es' * (count != 1)}"


class Line(NamedTuple):
    """One line of a curve, with its points as SVG writes them."""

    kind: str
    what: str
    points: str


class CurveView(NamedTuple):
    """A curve, drawn: lines, bands, marks of the axis; and the table of the paper."""

    class_: str
    lines: list[Line]
    bands: list[Line]
    ticks: list[tuple[float, int]]
    before: float
    holds: float
    paper: "pd.DataFrame"


def curve_view(curve: Curve, measure: str) -> CurveView:
    """Draw a curve; the axis of sizes is logarithmic, that of the measure goes from 0.4 to 1."""
    table = curve.table()
    sizes = sorted(table["k"].unique().tolist())
    x = {k: _across(k, sizes) for k in sizes}
    lines, bands = [], []
    for kind, what in KINDS.items():
        band = curve.band(kind, measure)
        if not len(band):
            continue
        lines.append(Line(kind, what, _points([(x[k], m) for k, m in zip(band["k"], band["mean"], strict=True)])))
        if kind in ("random", "matched"):
            low = [(x[k], value) for k, value in zip(band["k"], band["low"], strict=True)]
            high = [(x[k], value) for k, value in zip(band["k"], band["high"], strict=True)]
            bands.append(Line(kind, what, _points([*low, *reversed(high)])))
    before, ticks = _height(curve.untouched()[measure]), [(x[k], int(k)) for k in sizes]
    holds = float(curve.band("random", measure)["holds"].min())
    return CurveView(curve.class_, lines, bands, ticks, before, holds, curve.paper_table())


def _across(k: int, sizes: Sequence[int]) -> float:
    """Place of a size, on a logarithmic axis."""
    span = math.log(max(sizes)) - math.log(min(sizes))
    return round(WIDTH * (math.log(k) - math.log(min(sizes))) / span, 1) if span else WIDTH / 2


def _height(value: float) -> float:
    """Place of a share; the axis goes from 0.4 to 1."""
    return round(HEIGHT * (1 - (max(value, 0.4) - 0.4) / 0.6), 1)


def _points(points: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{x:g},{_height(value):g}" for x, value in points if value == value)
