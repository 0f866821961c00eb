"""Figures to look at: the bar chart of concepts, a unit's exemplar images, and the colours of the categories."""

import io
import math
from collections.abc import Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

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
"""Found by a search: at least 3:1 against the page, and apart for the colour-blind of every kind."""

_OTHER = Colour("#70757d", "#9aa0a8")


class ConceptCount(NamedTuple):
    """How many units have a concept as their label.

    Attributes
    ----------
    category, concept : str
        The label, as it stands in the table.
    detectors : int
        Units that are detectors of it.
    others : int
        Units above the least IoU that are no detectors (their evidence speaks against it).
    """

    category: str
    concept: str
    detectors: int
    others: int


def category_colours(categories: Iterable[str]) -> dict[str, Colour]:
    """Colours of categories, in the order in which charts and pages show them.

    Parameters
    ----------
    categories : iterable of str
        Names, repeated or not. Known ones (scene, object, part, material, texture, color) come first and keep their
        colours; others follow by name and take those that are left, and grey when none is.

    Returns
    -------
    dict of str to Colour
        One entry a category.

    Examples
    --------
    >>> list(category_colours(["stuff", "object", "object"]))
    ['object', 'stuff']
    """
    present = set(categories)
    free = [colour for name, colour in _PALETTE.items() if name not in present]
    known = {name: colour for name, colour in _PALETTE.items() if name in present}
    other = sorted(present - set(_PALETTE))
    return known | {name: free[i] if i < len(free) else _OTHER for i, name in enumerate(other)}


def concept_counts(table: "pd.DataFrame") -> list[ConceptCount]:
    """Count units by label, for the bar chart.

    Parameters
    ----------
    table : DataFrame
        Units, one a row, with the columns ``concept, category, detector, above_min_iou``.

    Returns
    -------
    list of ConceptCount
        By category, in it by falling number of detectors, then of others, then by name. Labels of units that are
        neither detectors nor above the least IoU are left out.
    """
    labelled = table[table["concept"].notna()]
    counts: dict[tuple[str, str], list[int]] = {}
    columns = (labelled[name] for name in ("category", "concept", "detector", "above_min_iou"))
    for category, concept, detector, above in zip(*columns, strict=True):
        if detector or above:
            counts.setdefault((str(category), str(concept)), [0, 0])[0 if detector else 1] += 1
    place = {name: i for i, name in enumerate(category_colours(category for category, _ in counts))}
    found = [ConceptCount(*key, *numbers) for key, numbers in counts.items()]
    return sorted(found, key=lambda one: (place[one.category], -one.detectors, -one.others, one.concept))


def concept_bars(table: "pd.DataFrame", *, title: str | None = None) -> "Figure":
    """Bar chart of the units of each concept, coloured and sorted by category: the field's signature figure.

    Parameters
    ----------
    table : DataFrame
        Units, as from ``Dissection.table()``.
    title : str, optional
        Shown above.

    Returns
    -------
    Figure
        Full bars are detectors; pale ones on top of them are units above the least IoU that are none. The legend says
        how many unique concepts and how many detectors each category has.
    """
    from matplotlib.ticker import MaxNLocator

    counts = concept_counts(table)
    colours = category_colours(one.category for one in counts)
    figure = new_figure(min(24.0, max(5.0, 1.6 + 0.24 * len(counts))), 3.6)
    axes = figure.add_subplot()
    shades = [colours[one.category].light for one in counts]
    places = np.arange(len(counts))
    full = np.array([one.detectors for one in counts], dtype=int)
    axes.bar(places, full, 0.78, color=shades)
    axes.bar(places, [one.others for one in counts], 0.78, bottom=full, color=shades, alpha=0.3)
    names = axes.set_xticks(places, [one.concept for one in counts], rotation=90, fontsize=8 if len(counts) < 90 else 5)
    for tick in names:
        tick.label1.set_parse_math(False)  # "$" is a letter in a concept's name
    axes.set_xlim(-0.6, max(len(counts), 1) - 0.4)
    axes.set_ylabel("units")
    axes.yaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.tick_params(axis="x", length=0)
    axes.spines[["top", "right"]].set_visible(False)
    _legend(axes, counts, colours)
    if title:
        axes.set_title(title, loc="left", fontsize=10, parse_math=False)
    return figure


def _legend(axes: "Axes", counts: Sequence[ConceptCount], colours: dict[str, Colour]) -> None:
    """One patch a category, with its number of unique concepts and of detectors."""
    from matplotlib.patches import Patch

    patches = []
    for category, colour in colours.items():
        sizes = [one.detectors for one in counts if one.category == category and one.detectors]
        label = f"{category}: {len(sizes)} concept{'s' * (len(sizes) != 1)}, {sum(sizes)} unit{'s' * (sum(sizes) != 1)}"
        patches.append(Patch(color=colour.light, label=label))
    if not patches:
        axes.set_axis_off()
        axes.text(0.5, 0.5, "no unit has a label above the least IoU", transform=axes.transAxes, ha="center")
        return
    legend = axes.legend(handles=patches, frameon=False, fontsize=8, loc="upper right")
    for text in legend.get_texts():
        text.set_parse_math(False)


def strip_figure(strip: bytes, row: "pd.Series[Any]") -> "Figure":
    """A unit's exemplar images with its mask on them, under a title that says what it looks for.

    Parameters
    ----------
    strip : bytes
        What `unitlens.drawing.strips.draw_strip` returned.
    row : Series
        The unit's row of the table: its layer, unit, concept, iou, and the ends of the interval where it has one.

    Returns
    -------
    Figure
        Ready to show or to save.
    """
    from PIL import Image

    with Image.open(io.BytesIO(strip)) as file:
        image = np.asarray(file.convert("RGB"))
    tiles = image.shape[1] / image.shape[0]
    figure = new_figure(max(1.4 * tiles, 4.0), 1.75, file="jpeg")
    axes = figure.add_subplot()
    axes.imshow(image)
    axes.set_axis_off()
    figure.suptitle(_title(row), x=0.01, ha="left", fontsize=10, parse_math=False)
    return figure


def _title(row: "pd.Series[Any]") -> str:
    """``layer4 unit 17: tree, IoU 0.312 (0.29 to 0.33)``."""
    title = f"{row['layer']} unit {row['unit']}"
    if not isinstance(row["concept"], str):
        return f"{title}: no label"
    title = f"{title}: {row['concept']}, IoU {row['iou']:.3f}"
    low, high = row.get("iou_low"), row.get("iou_high")
    if low is None or high is None or not (math.isfinite(low) and math.isfinite(high)):
        return title
    return f"{title} ({low:.2f} to {high:.2f})"


def new_figure(width: float, height: float, *, file: Literal["png", "jpeg"] = "png") -> "Figure":
    """An empty figure, in inches, that belongs to no window and shows itself in a notebook, as one kind of file."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=110, layout="constrained")
    # a notebook draws figures of pyplot alone by itself; this one brings its own image
    setattr(figure, f"_repr_{file}_", partial(_drawn, figure, file))
    return figure


def _drawn(figure: "Figure", file: str) -> bytes:
    """The figure as a file."""
    content = io.BytesIO()
    figure.savefig(content, format=file, facecolor="white")
    return content.getvalue()
