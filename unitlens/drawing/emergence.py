"""The emergence figure: unique concepts and detectors by category, from layer to layer or from run to run."""

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from unitlens.drawing.figures import category_colours

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

PANELS = {"unique_concepts": ("unique concepts", "unique"), "detectors": ("detectors", "detectors")}
"""Columns of the table that are drawn: what they are called, and how the columns of their intervals begin."""

WIDTH, HEIGHT = 640, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 44, 16, 14, 86


class Point(NamedTuple):
    """One number in the chart: where it is, its interval's ends (equal to it where unknown), and what it says."""

    x: float
    y: float
    low: float
    high: float
    spoken: str


class Line(NamedTuple):
    """One category."""

    category: str
    points: list[Point]

    @property
    def path(self) -> str:
        """The corners, as SVG takes them."""
        return " ".join(f"{point.x:.1f},{point.y:.1f}" for point in self.points)


class Panel(NamedTuple):
    """One chart: lines by category over the entries, and ticks (place, text) of both axes."""

    title: str
    lines: list[Line]
    entries: list[tuple[float, str]]
    ticks: list[tuple[float, str]]


def from_layer_to_layer(units: "pd.DataFrame") -> "pd.DataFrame":
    """What `panels` draws, from the table of one run alone: without intervals, which take its counts.

    Parameters
    ----------
    units : DataFrame
        ``units.csv``.

    Returns
    -------
    DataFrame
        One row a layer and category of a label: its detectors, and the concepts that they detect.
    """
    import pandas as pd

    categories = list(dict.fromkeys(units["category"].dropna()))
    rows = []
    for layer in dict.fromkeys(units["layer"]):
        own = units[(units["layer"] == layer) & units["detector"].astype(bool)]
        for category in categories:
            concepts = own.loc[own["category"] == category, "concept"]
            rows.append((layer, category, concepts.nunique(), len(concepts)))
    table = pd.DataFrame(rows, columns=["entry", "category", *PANELS])
    return table.assign(**{f"{ends}_{end}": np.nan for _, ends in PANELS.values() for end in ("low", "high")})


def panels(table: "pd.DataFrame") -> list[Panel]:
    """Charts of a comparison's table, in the pixels of a drawing of ``WIDTH`` x ``HEIGHT``.

    Parameters
    ----------
    table : DataFrame
        The rows of ``Comparison.table()`` that are of one category, or `from_layer_to_layer`.

    Returns
    -------
    list of Panel
        One for each of `PANELS`.
    """
    names = list(dict.fromkeys(table["entry"]))
    places = np.linspace(_LEFT + 24, WIDTH - _RIGHT - 24, len(names))
    return [_panel(table, column, *about, names, places.tolist()) for column, about in PANELS.items()]


def _panel(table: "pd.DataFrame", column: str, title: str, ends: str, names: list[str], places: list[float]) -> Panel:
    top = max(table[[column, f"{ends}_high"]].max().max(), 1.0)
    step = _step(top)
    scale = (HEIGHT - _TOP - _BOTTOM) / (step * np.ceil(top / step))

    def height(value: float) -> float:
        return float(HEIGHT - _BOTTOM - scale * value)

    lines = []
    for category in category_colours(table["category"]):
        own = table[table["category"] == category].set_index("entry").loc[names]
        numbers = own[[column, f"{ends}_low", f"{ends}_high"]].to_numpy(float)
        points = []
        for x, (value, low, high), spoken in zip(
            places, numbers, _spoken(names, category, title, numbers), strict=True
        ):
            ends_at = [height(value if np.isnan(end) else end) for end in (low, high)]
            points.append(Point(x, height(value), ends_at[0], ends_at[1], spoken))
        lines.append(Line(category, points))
    ticks = [(height(value), f"{value:g}") for value in np.arange(0, top + step, step)]
    return Panel(title, lines, list(zip(places, names, strict=True)), ticks)


def _spoken(names: list[str], category: str, title: str, numbers: np.ndarray) -> list[str]:
    """What each point says in words."""
    return [
        f"{name}: {value:g} {title} of category {category}" + ("" if np.isnan(low) else f" ({low:.1f} to {high:.1f})")
        for name, (value, low, high) in zip(names, numbers, strict=True)
    ]


def _step(top: float) -> float:
    """A round distance between ticks, so that there are three to seven."""
    power = 10.0 ** np.floor(np.log10(top / 3))
    return float(max(1.0, power * max(factor for factor in (1, 2, 5) if power * factor <= top / 3)))


def emergence_figure(table: "pd.DataFrame") -> "Figure":
    """The same charts as a figure of matplotlib.

    Parameters
    ----------
    table : DataFrame
        The rows of ``Comparison.table()`` that are of one category.
    """
    from unitlens.drawing.figures import new_figure

    names = list(dict.fromkeys(table["entry"]))
    figure = new_figure(4.2 * len(PANELS), 3.2)
    for axes, (column, (title, ends)) in zip(figure.subplots(1, len(PANELS)), PANELS.items(), strict=True):
        for category, colour in category_colours(table["category"]).items():
            own = table[table["category"] == category].set_index("entry").loc[names]
            value = own[column].to_numpy(float)
            ends_of = [own[f"{ends}_{end}"].fillna(own[column]).to_numpy(float) for end in ("low", "high")]
            width = np.clip([value - ends_of[0], ends_of[1] - value], 0, None)
            axes.errorbar(
                range(len(names)), value, width, color=colour.light, marker="o", ms=4, capsize=2, label=category
            )
        axes.set_xticks(range(len(names)), names, rotation=30 if max(map(len, names)) > 6 else 0, fontsize=8)
        axes.set_ylim(bottom=0)
        axes.set_title(title, loc="left", fontsize=10)
        axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8)
    return figure
