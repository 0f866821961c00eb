"""The emergence figure: unique concepts and detectors by category, from layer to layer or from run to run.

It is laid out once, by `panels`; pages write that as SVG, and `emergence_figure` draws it with matplotlib.
"""

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from unitlens.drawing.figures import category_colours, new_figure, style_colours

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure, SubFigure

PANELS = {"unique_concepts": ("unique concepts", "unique"), "detectors": ("detectors", "detectors")}
"""Columns of the table that are drawn: the title, and how the columns of their intervals begin."""

WIDTH, HEIGHT = 640, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 44, 16, 14, 86


class Point(NamedTuple):
    """One number in a chart, in pixels: where it is, and the ends of its interval, equal to it where unknown.

    Attributes
    ----------
    x, y : float
        From the upper left corner.
    low, high : float
        y of the interval's ends.
    description : str
        The number, its interval and what they are of, in words.
    """

    x: float
    y: float
    low: float
    high: float
    description: str


class Line(NamedTuple):
    """The points of one category, from entry to entry."""

    category: str
    points: list[Point]

    @property
    def path(self) -> str:
        """The points as SVG takes them."""
        return " ".join(f"{point.x:.1f},{point.y:.1f}" for point in self.points)


class Panel(NamedTuple):
    """One chart.

    Attributes
    ----------
    title : str
    lines : list of Line
        One for each category.
    entries, ticks : list of (float, str)
        Position and text of what is written below and at the left.
    """

    title: str
    lines: list[Line]
    entries: list[tuple[float, str]]
    ticks: list[tuple[float, str]]


def counts_by_layer(units: "pd.DataFrame") -> "pd.DataFrame":
    """Make the table that `panels` draws from the units of a single run; intervals are unknown.

    Parameters
    ----------
    units : DataFrame
        ``units.csv``.

    Returns
    -------
    DataFrame
        One row for each layer and category of concepts: its detectors, and the concepts that they detect.
    """
    import pandas as pd

    categories = list(dict.fromkeys(units["category"].dropna()))
    rows = []
    for layer in dict.fromkeys(units["layer"]):
        detectors = units[(units["layer"] == layer) & units["detector"].astype(bool)]
        for category in categories:
            concepts = detectors.loc[detectors["category"] == category, "concept"]
            rows.append((layer, category, concepts.nunique(), len(concepts)))
    table = pd.DataFrame(rows, columns=["entry", "category", *PANELS])
    for _, ends in PANELS.values():
        table[[f"{ends}_low", f"{ends}_high"]] = np.nan
    return table


def panels(table: "pd.DataFrame") -> list[Panel]:
    """Lay out the charts of a comparison's table, in the pixels of a drawing of ``WIDTH`` x ``HEIGHT``.

    Parameters
    ----------
    table : DataFrame
        The rows of ``Comparison.table()`` that are of one category, or `counts_by_layer`.

    Returns
    -------
    list of Panel
        One for each of `PANELS`.
    """
    names = list(dict.fromkeys(table["entry"]))
    columns: list[float] = np.linspace(_LEFT + 24, WIDTH - _RIGHT - 24, len(names)).tolist()
    entries = list(zip(columns, names, strict=True))
    return [_panel(table, column, title, ends, entries) for column, (title, ends) in PANELS.items()]


def _panel(table: "pd.DataFrame", column: str, title: str, ends: str, entries: list[tuple[float, str]]) -> Panel:
    top = max(table[[column, f"{ends}_high"]].max().max(), 1.0)
    step = _tick_distance(top)
    scale = (HEIGHT - _TOP - _BOTTOM) / (step * np.ceil(top / step))

    def y(value: float) -> float:
        return float(HEIGHT - _BOTTOM - scale * value)

    lines = []
    for category in category_colours(table["category"]):
        rows = table[table["category"] == category].set_index("entry").loc[[name for _, name in entries]]
        numbers = rows[[column, f"{ends}_low", f"{ends}_high"]].to_numpy(float)
        points = []
        for (x, name), (value, low, high) in zip(entries, numbers, strict=True):
            description = _description(f"{name}: {value:g} {title} of category {category}", low, high)
            known = not np.isnan(low)
            points.append(Point(x, y(value), y(low if known else value), y(high if known else value), description))
        lines.append(Line(category, points))
    ticks = [(y(value), f"{value:g}") for value in np.arange(0, top + step, step)]
    return Panel(title, lines, entries, ticks)


def _description(text: str, low: float, high: float) -> str:
    """The text with the interval behind it, where that is known."""
    return text if np.isnan(low) else f"{text} ({low:.1f} to {high:.1f})"


def _tick_distance(top: float) -> float:
    """A round distance between ticks, so that there are three to seven."""
    power = 10.0 ** np.floor(np.log10(top / 3))
    return float(max(1.0, power * max(factor for factor in (1, 2, 5) if power * factor <= top / 3)))


def emergence_figure(table: "pd.DataFrame", *, figure: "Figure | SubFigure | None" = None) -> "Figure":
    """Draw the emergence figure with matplotlib.

    Parameters
    ----------
    table : DataFrame
        The rows of ``Comparison.table()`` that are of one category, or `counts_by_layer`.
    figure : matplotlib.figure.Figure or SubFigure, optional
        Where it is drawn; by default a new one.
    """
    colours = style_colours(table["category"])
    figure = new_figure(4.2 * len(PANELS), 3.2) if figure is None else figure
    for axes, panel in zip(figure.subplots(1, len(PANELS)), panels(table), strict=True):
        for line in panel.lines:
            colour, x = colours[line.category], [point.x for point in line.points]
            axes.plot(
                x, [point.y for point in line.points], color=colour, marker="o", markersize=4, label=line.category
            )
            ends = [point.low for point in line.points], [point.high for point in line.points]
            axes.vlines(x, ends[0], ends[1], color=colour, alpha=0.55)
        names = [name for _, name in panel.entries]
        rotation = 30 if max(map(len, names)) > 6 else 0
        axes.set_xticks([x for x, _ in panel.entries], names, rotation=rotation, fontsize="small")
        axes.set_yticks([y for y, _ in panel.ticks], [text for _, text in panel.ticks])
        axes.set_xlim(_LEFT, WIDTH - _RIGHT)
        axes.set_ylim(HEIGHT - _BOTTOM, _TOP - 4)  # y falls from top to bottom; the highest marker is not cut
        axes.set_title(panel.title, loc="left", fontsize="medium")
        axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize="small")
    whole: Figure = figure.figure
    return whole
