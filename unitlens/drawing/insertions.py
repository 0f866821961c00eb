"""The figure of the door experiment: where a concept appears, and by what stood there before."""

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from unitlens.drawing.figures import new_figure

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure, SubFigure


def insertion_figure(
    appeared: npt.NDArray[np.float64],
    table: "pd.DataFrame",
    concept: str,
    *,
    segmenter_iou: float,
    figure: "Figure | SubFigure | None" = None,
) -> "Figure":
    """Draw a map of places and bars with intervals.

    Parameters
    ----------
    appeared : float64 array, (h, w)
        Share of the images in which the concept appeared at each place.
    table : pandas.DataFrame
        Columns before, places, appeared, low, high and random_appeared.
    concept : str
        Its name.
    segmenter_iou : float
        Of the segmenter with it; NaN where it is not known.
    figure : matplotlib.figure.Figure or SubFigure, optional
        Where it is drawn; by default a new one.
    """
    figure = new_figure(9.0, max(2.8, 0.3 * len(table) + 1.2)) if figure is None else figure
    places, bars = figure.subplots(1, 2, width_ratios=(1, 1.6))
    shown = places.imshow(100 * appeared, cmap="viridis", vmin=0, vmax=max(1.0, 100 * appeared.max()))
    known = "" if np.isnan(segmenter_iou) else f"\nIoU of the segmenter with {concept}: {segmenter_iou:.2f}"
    places.set_title(f"{concept} appears, % of images{known}", fontsize="medium")
    places.set_xticks([])
    places.set_yticks([])
    places.grid(visible=False)
    ink = bars.xaxis.label.get_color()
    figure.colorbar(shown, ax=places, shrink=0.8)
    order = np.argsort(table["appeared"].to_numpy(), kind="stable")
    rows = table.iloc[order]
    lines = np.arange(len(rows))
    bars.barh(lines, 100 * rows["appeared"].to_numpy())
    bars.hlines(lines, 100 * rows["low"].to_numpy(), 100 * rows["high"].to_numpy(), color=ink, linewidth=1)
    by_random = 100 * rows["random_appeared"].to_numpy()
    bars.plot(by_random, lines, "D", color=ink, markerfacecolor=bars.get_facecolor(), markersize=4, clip_on=False)
    names = [f"{name}, {count:,} places" for name, count in zip(rows["before"], rows["places"], strict=True)]
    bars.set_yticks(lines, names, fontsize="small")
    bars.set_xlim(left=0)
    what = f"% of places at which {concept} appears, by what stood there"
    bars.set_xlabel(f"{what}\n(diamonds: with as many random units)", fontsize="small")
    for side in ("top", "right"):
        bars.spines[side].set_visible(False)
    whole: Figure = figure.figure
    return whole
