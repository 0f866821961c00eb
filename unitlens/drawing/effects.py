"""Figures of what units do: maps of effects, curves of ablation, and units that cause a concept to be drawn."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from unitlens.drawing.figures import axes_of, figure_of

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Floats = npt.NDArray[np.float64]

KINDS = {
    "most": "most important units ablated",
    "least": "least important units ablated",
    "random": "random units ablated",
    "matched": "matched units ablated",
    "kept": "only the most important units kept",
}
"""What the lines of a curve are."""


def effect_map(effect: Floats, classes: Sequence[str], *, what: str, ax: "Axes | None" = None) -> "Figure":
    """Draw effects as a map with a bar of its colours.

    Parameters
    ----------
    effect : float64 array, (U, classes)
        Units are put in the order of the class that they lower most, and of how much.
    classes : sequence of str
    what : str
        What the effects are on.
    ax : matplotlib.axes.Axes, optional
        Where it is drawn; by default in a new figure.
    """
    known = np.nan_to_num(effect)
    first, lowest = known.argmin(1), known.min(1)
    order = np.lexsort([np.arange(len(known)), lowest, first])
    largest = float(np.abs(known).max(initial=0)) or 1.0
    axes = axes_of(ax, 7.2, max(2.0, 0.17 * len(classes) + 1.1))
    drawn = axes.imshow(
        effect[order].T, cmap="RdBu", vmin=-largest, vmax=largest, aspect="auto", interpolation="nearest"
    )
    axes.grid(visible=False)
    for tick in axes.set_yticks(np.arange(len(classes)), list(classes), fontsize="small"):
        tick.label1.set_parse_math(False)  # "$" is a letter in a class's name
    axes.set_xticks([])
    axes.set_xlabel(f"{len(known)} units, by the class that they lower most")
    figure = figure_of(axes)
    figure.colorbar(drawn, ax=axes, label=f"change of {what}")
    return figure


def curve_figure(
    bands: Mapping[str, "pd.DataFrame"], before: float, *, title: str, measure: str, ax: "Axes | None" = None
) -> "Figure":
    """Draw what is left of a class as more and more units are ablated.

    Parameters
    ----------
    bands : mapping of str to DataFrame
        By the keys of `KINDS`: columns k, mean, low and high; bands are drawn of what was drawn at random.
    before : float
        Without an ablation.
    title, measure : str
        The class, and what is measured of it.
    ax : matplotlib.axes.Axes, optional
        Where it is drawn; by default in a new figure.
    """
    axes = axes_of(ax, 5.0, 3.4)
    for kind, what in KINDS.items():
        if kind not in bands or bands[kind].empty:
            continue
        band = bands[kind]
        (line,) = axes.plot(band["k"], band["mean"], marker="o", markersize=4, label=what)
        if kind in ("random", "matched"):
            axes.fill_between(band["k"], band["low"], band["high"], color=line.get_color(), alpha=0.2, linewidth=0)
    axes.axhline(before, linestyle=":", color=axes.xaxis.label.get_color(), label="no ablation")
    axes.set_xscale("log")
    sizes = sorted({int(k) for band in bands.values() for k in band["k"]})
    axes.set_xticks(sizes, [str(k) for k in sizes])
    axes.set_xticks([], minor=True)
    axes.set_xlabel("units ablated, or kept")
    axes.set_ylabel(measure)
    axes.set_title(title, loc="left", fontsize="medium", parse_math=False)
    axes.legend(frameon=False, fontsize="x-small")
    return figure_of(axes)


def causal_figure(
    units: Sequence[int], effect: Floats, low: Floats, high: Floats, *, concept: str, ax: "Axes | None" = None
) -> "Figure":
    """Draw effects of units on a concept as bars with intervals.

    Parameters
    ----------
    units : sequence of int
        From top to bottom.
    effect, low, high : float64 arrays, (units,)
        In % of the image.
    concept : str
    ax : matplotlib.axes.Axes, optional
        Where it is drawn; by default in a new figure.
    """
    axes = axes_of(ax, 3.6, max(1.6, 0.22 * len(units) + 1.0))
    lines = np.arange(len(units))[::-1]
    ink = axes.xaxis.label.get_color()
    axes.barh(lines, effect, height=0.7)
    axes.hlines(lines, low, high, color=ink, linewidth=1)
    axes.axvline(0, color=ink, linewidth=0.8)
    axes.set_yticks(lines, [f"unit {unit}" for unit in units], fontsize="small")
    axes.set_xlabel("average causal effect, % of the image")
    axes.set_title(concept, loc="left", fontsize="medium", parse_math=False)
    return figure_of(axes)
