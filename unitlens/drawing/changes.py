"""The figure of changes between images in pairs: images, units that change most, and what they mean for classes."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from unitlens.drawing.figures import new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

Floats = npt.NDArray[np.float64]

RISE, FALL = "#2590d1", "#df6b5e"


class Images(NamedTuple):
    """Some pairs of images, each (M, height, width, 3), uint8."""

    before: npt.NDArray[np.uint8]
    after: npt.NDArray[np.uint8]


class Bars(NamedTuple):
    """Units that change, from top to bottom: labels, mean changes, ends of intervals (NaN where there are none)."""

    labels: Sequence[str]
    mean: Floats
    low: Floats
    high: Floats


def changes_figure(
    images: Images,
    said: Sequence[tuple[str, str]],
    bars: Bars,
    changes: Floats,
    margins: Floats | None,
    classes: tuple[str, str],
    *,
    figure: "Figure | SubFigure | None" = None,
) -> "Figure":
    """Draw pairs of images, the units that change most, and all units by what they add to one class over the other.

    Parameters
    ----------
    images : Images
    said : sequence of (str, str)
        What is predicted of each pair.
    bars : Bars
    changes : float64 array, (U,)
        Mean changes of all units' peaks.
    margins : float64 array, (U,), optional
        What each adds to the lead of the first class over the second.
    classes : (str, str)
    figure : matplotlib.figure.Figure or SubFigure, optional
        Where it is drawn; by default a new one. Fonts and paper are those of matplotlib's style.
    """
    shown = min(3, len(images.before))
    height = max(4.2, 0.24 * len(bars.labels) + 1.2)
    figure = new_figure(11.5 if margins is not None else 8.2, height) if figure is None else figure
    panels = 2 if margins is None else 3
    parts = np.atleast_1d(np.asarray(figure.subfigures(1, panels, width_ratios=[1.25, 1.5, 1.5][:panels])))
    tiles = parts[0].subplots(max(shown, 2), 2, squeeze=False)
    for axes in tiles.flat:
        axes.axis("off")
    for row in range(shown):
        for axes, of_side, name in zip(tiles[row], images, said[row], strict=True):
            axes.imshow(of_side[row])
            axes.set_title(name, fontsize="small")
    _bars(parts[1].subplots(), bars)
    if margins is not None:
        _scatter(parts[2].subplots(), changes, margins, classes)
    whole: Figure = figure.figure
    return whole


def _bars(axes: "Axes", bars: Bars) -> None:
    places, ink = np.arange(len(bars.labels))[::-1], axes.xaxis.label.get_color()
    axes.barh(places, bars.mean, color=np.where(bars.mean > 0, RISE, FALL), height=0.7)
    known = ~np.isnan(bars.low)
    if known.any():
        distances = np.stack([bars.mean - bars.low, bars.high - bars.mean])[:, known]
        axes.errorbar(bars.mean[known], places[known], xerr=distances, fmt="none", ecolor=ink, elinewidth=1)
    axes.set_yticks(places, bars.labels, fontsize="small")
    axes.axvline(0, color=ink, linewidth=0.8)
    axes.set_xlabel("change of the peak")
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(left=False)


def _scatter(axes: "Axes", changes: Floats, margins: Floats, classes: tuple[str, str]) -> None:
    ink = axes.xaxis.label.get_color()
    axes.scatter(margins, changes, s=14, color=np.where(changes > 0, RISE, FALL), alpha=0.8, linewidths=0)
    axes.axhline(0, color=ink, linewidth=0.8)
    axes.axvline(0, color=ink, linewidth=0.8)
    axes.set_xlabel(f"lead that it adds\nfor {classes[1]}  ←     →  for {classes[0]}", fontsize="small")
    axes.set_ylabel("change of the peak")
    axes.spines[["top", "right"]].set_visible(False)
