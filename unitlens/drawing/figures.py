"""Figures: the bar chart of concepts, a unit's exemplar images, and the colours of the categories."""

import io
import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from unitlens.errors import UnitlensError

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


class Colour(NamedTuple):
    """One colour, as it is drawn on a light and on a dark page (``#rrggbb``)."""

    light: str
    dark: str


_PALETTE = {
    "scene": Colour("#2590d1", "#4abaff"),
    "object": Colour("#412cbb", "#8a79ff"),
    "part": Colour("#df6b5e", "#f6764e"),
    "material": Colour("#12503a", "#4c9276"),
    "texture": Colour("#bc8200", "#d2e14d"),
    "color": Colour("#7c2a6d", "#af68aa"),
}
"""Contrast of at least 3:1 with the page, and distinct under every kind of colour blindness (found by a search)."""

_GREY = Colour("#70757d", "#9aa0a8")


class ConceptCount(NamedTuple):
    """How many units are matched to a concept.

    Attributes
    ----------
    category, concept : str
        Its name, as it stands in the table.
    detectors : int
        Units that are detectors of it.
    others : int
        Units above the least IoU that are not detectors, as the evidence is against them.
    """

    category: str
    concept: str
    detectors: int
    others: int


def category_colours(categories: Iterable[str]) -> dict[str, Colour]:
    """Give each category a colour, in the order in which charts and pages show them.

    Parameters
    ----------
    categories : iterable of str
        Names, repeated or not. Known ones (scene, object, part, material, texture, color) come first and keep their
        colours; others follow by name and take the colours that are left, and grey when none is.

    Returns
    -------
    dict of str to Colour
        One for each category.

    Examples
    --------
    >>> list(category_colours(["stuff", "object", "object"]))
    ['object', 'stuff']
    """
    present = set(categories)
    free = [colour for name, colour in _PALETTE.items() if name not in present]
    known = {name: colour for name, colour in _PALETTE.items() if name in present}
    others = sorted(present - set(_PALETTE))
    return known | dict(zip(others, itertools.chain(free, itertools.repeat(_GREY)), strict=False))


def concept_counts(table: "pd.DataFrame") -> list[ConceptCount]:
    """Count units by concept, for the bar chart.

    Parameters
    ----------
    table : DataFrame
        One row for each unit, with the columns ``concept, category, detector, above_min_iou``.

    Returns
    -------
    list of ConceptCount
        By category, in it by falling number of detectors, then of others, then by name. Concepts of units that are
        neither detectors nor above the least IoU are left out.
    """
    labelled = table[table["concept"].notna()]
    counts: dict[tuple[str, str], list[int]] = {}
    columns = (labelled[name] for name in ("category", "concept", "detector", "above_min_iou"))
    for category, concept, detector, above in zip(*columns, strict=True):
        if detector or above:
            counts.setdefault((str(category), str(concept)), [0, 0])[0 if detector else 1] += 1
    order = list(category_colours(category for category, _ in counts))
    rows = [ConceptCount(category, concept, *numbers) for (category, concept), numbers in counts.items()]
    return sorted(rows, key=lambda row: (order.index(row.category), -row.detectors, -row.others, row.concept))


def concept_bars(table: "pd.DataFrame", *, title: str | None = None, ax: "Axes | None" = None) -> "Figure":
    """Draw a bar chart of the units of each concept, coloured and sorted by category.

    Parameters
    ----------
    table : DataFrame
        Units, as from ``Dissection.table()``.
    title : str, optional
        Shown above.
    ax : matplotlib.axes.Axes, optional
        Where it is drawn; by default in a new figure. Fonts and paper are those of matplotlib's style, and where a
        style has colours of its own, the colours of the categories, too.

    Returns
    -------
    Figure
        Full bars are detectors; pale ones on top of them are other units above the least IoU. The legend says how many
        unique concepts and how many detectors each category has.

    Examples
    --------
    >>> import pandas as pd
    >>> units = pd.DataFrame({"category": "object", "concept": ["tree", "tree", "car"], "detector": True})
    >>> figure = concept_bars(units.assign(above_min_iou=True), title="layer4")
    >>> [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    ['object: 2 concepts, 3 units']
    """
    from matplotlib.ticker import MaxNLocator

    counts = concept_counts(table)
    colours = style_colours(count.category for count in counts)
    axes = axes_of(ax, min(24.0, max(5.0, 1.6 + 0.24 * len(counts))), 3.6)
    shades = [colours[count.category] for count in counts]
    x = np.arange(len(counts))
    detectors = np.array([count.detectors for count in counts], dtype=int)
    axes.bar(x, detectors, 0.78, color=shades)
    axes.bar(x, [count.others for count in counts], 0.78, bottom=detectors, color=shades, alpha=0.3)
    names = [count.concept for count in counts]
    for tick in axes.set_xticks(x, names, rotation=90, fontsize="small" if len(counts) < 90 else "xx-small"):
        tick.label1.set_parse_math(False)  # "$" is a letter in a concept's name
    axes.set_xlim(-0.6, max(len(counts), 1) - 0.4)
    axes.set_ylabel("units")
    axes.yaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.tick_params(axis="x", length=0)
    axes.spines[["top", "right"]].set_visible(False)
    _legend(axes, counts, colours)
    if title:
        axes.set_title(title, loc="left", fontsize="medium", parse_math=False)
    return figure_of(axes)


def _legend(axes: "Axes", counts: Sequence[ConceptCount], colours: Mapping[str, str]) -> None:
    """Add a legend: each category with its number of unique concepts and of detectors."""
    from matplotlib.patches import Patch

    patches = []
    for category, colour in colours.items():
        sizes = [count.detectors for count in counts if count.category == category and count.detectors]
        concepts = "1 concept" if len(sizes) == 1 else f"{len(sizes)} concepts"
        units = "1 unit" if sum(sizes) == 1 else f"{sum(sizes)} units"
        patches.append(Patch(color=colour, label=f"{category}: {concepts}, {units}"))
    if not patches:
        axes.set_axis_off()
        axes.text(0.5, 0.5, "no unit has a concept above the least IoU", transform=axes.transAxes, ha="center")
        return
    legend = axes.legend(handles=patches, frameon=False, fontsize="small", loc="upper right")
    for text in legend.get_texts():
        text.set_parse_math(False)


def strip_figure(
    strip: bytes, row: "pd.Series[Any]", *, images: int | None = None, ax: "Axes | None" = None
) -> "Figure":
    """Draw a unit's exemplar images with its mask on them, under its concept.

    Parameters
    ----------
    strip : bytes
        An image file, from `unitlens.drawing.strips.draw_strip`.
    row : Series
        The unit's row of the table: its layer, unit, concept, iou, and the ends of the interval where it has one.
    images : int, optional
        So many of them, the first ones; all.
    ax : matplotlib.axes.Axes, optional
        Where it is drawn; by default in a new figure, in which a pixel of the strip is one of the screen.

    Returns
    -------
    Figure
        To be shown or saved.
    """
    from PIL import Image

    if images is not None and images < 1:
        raise UnitlensError(f"images is {images}: at least 1 is drawn.")
    with Image.open(io.BytesIO(strip), formats=["JPEG"]) as file:
        image = np.asarray(file.convert("RGB"))
    image = image[:, : None if images is None else images * image.shape[0]]
    if ax is not None:
        ax.imshow(image)
        ax.set_axis_off()
        ax.set_title(_title(row), loc="left", fontsize="medium", parse_math=False)
        return figure_of(ax)
    tiles = image.shape[1] / image.shape[0]
    side = max(1.4, 4.0 / tiles)  # inches
    figure = new_figure(side * tiles, side + 0.35, file="jpeg", dpi=max(110.0, image.shape[0] / side))
    axes = figure.add_subplot()
    axes.imshow(image)
    axes.set_axis_off()
    figure.suptitle(_title(row), x=0.01, ha="left", fontsize="medium", parse_math=False)
    return figure


def _title(row: "pd.Series[Any]") -> str:
    """Write the title: ``layer4 unit 17: tree, IoU 0.312 (0.29 to 0.33)``."""
    title = f"{row['layer']} unit {row['unit']}"
    if not isinstance(row["concept"], str):
        return f"{title}: no concept"
    title = f"{title}: {row['concept']}, IoU {row['iou']:.3f}"
    low, high = row.get("iou_low"), row.get("iou_high")
    if low is None or high is None or not (math.isfinite(low) and math.isfinite(high)):
        return title
    return f"{title} ({low:.2f} to {high:.2f})"


def axes_of(ax: "Axes | None", width: float, height: float) -> "Axes":
    """Return the axes that were given, or those of a new figure, in inches."""
    return new_figure(width, height).add_subplot() if ax is None else ax


def figure_of(axes: "Axes") -> "Figure":
    """Return the figure that holds axes, those of a subfigure too."""
    figure: Figure = axes.figure.figure  # that of a figure is itself
    return figure


def style_colours(categories: Iterable[str]) -> dict[str, str]:
    """Give each category a colour that goes with matplotlib's style: the style's own, if it has some, else the page's.

    Parameters
    ----------
    categories : iterable of str
        Names, repeated or not.

    Returns
    -------
    dict of str to str
        In the order of `category_colours`.
    """
    from matplotlib import rcParams, rcParamsDefault
    from matplotlib.colors import to_rgb

    colours = category_colours(categories)
    if rcParams["axes.prop_cycle"] != rcParamsDefault["axes.prop_cycle"]:
        own = itertools.cycle(rcParams["axes.prop_cycle"].by_key().get("color", ["C0"]))
        return dict(zip(colours, own, strict=False))
    dark = sum(to_rgb(rcParams["axes.facecolor"])) < 1.5
    return {category: colour.dark if dark else colour.light for category, colour in colours.items()}


def new_figure(
    width: float,
    height: float,
    *,
    file: Literal["png", "jpeg"] = "png",
    dpi: float = 110.0,
    layout: Literal["constrained"] | None = "constrained",
) -> "Figure":
    """Make an empty figure, in inches, that belongs to no window and that a notebook shows, as one kind of file.

    Without a layout, all axes have to be placed: that is fast, where there are many.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=dpi, layout=layout)
    # By itself a notebook shows figures of pyplot only; this one brings its own image.
    setattr(figure, f"_repr_{file}_", partial(_file_content, figure, file))
    return figure


def _file_content(figure: "Figure", file: str) -> bytes:
    """Save the figure as a file in memory."""
    content = io.BytesIO()
    figure.savefig(content, format=file, dpi=figure.dpi)
    return content.getvalue()
