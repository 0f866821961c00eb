"""The figures of a saved run by their names: concepts, units with their images, effects, and units that draw."""

import io
import math
import re
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from unitlens.dissection.result import Dissection
from unitlens.drawing.emergence import counts_by_layer, emergence_figure
from unitlens.drawing.figures import concept_bars, new_figure
from unitlens.editing.causal_result import CausalEffects
from unitlens.editing.insertion_result import InsertionMap

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from unitlens.pages.writing import Contents

MOST_CONCEPTS = 3
"""Of a sweep over units, the concepts that some unit draws most of have a figure."""


PAGE = 9.5
"""Inches of a page from top to bottom: rows beyond are on a further figure."""

_TITLE, _EDGE = 0.28, 0.04
"""Inches of what stands above a row of images, and of what is left free beside and below it."""

Redraw = Callable[[Dissection, Sequence[int], int], Dissection]
"""From a layer, some of its units and the side of a tile in pixels to the same, with other exemplar images."""


class NamedFigure(NamedTuple):
    """A figure that is yet to be drawn, and the name of its file, without an ending."""

    name: str
    draw: "Callable[[], Figure]"


class UnitImages(NamedTuple):
    """How units are shown with their images.

    Attributes
    ----------
    units : int
        So many of each layer.
    images : int or None
        So many exemplars of each; None: all that the run has.
    redraw : callable or None
        Draws exemplars again; None: they are as the run has them.
    width : float
        Of the figure, in inches.
    dpi : int
    """

    units: int = 8
    images: int | None = None
    redraw: Redraw | None = None
    width: float = 7.2
    dpi: int = 300


def figures_of(contents: "Contents", shown: UnitImages) -> Iterator[NamedFigure]:
    """All figures of what a folder holds, in the order in which a paper shows them.

    Parameters
    ----------
    contents : Contents
    shown : UnitImages
    """
    if contents.run is not None:
        yield from _of_dissection(Dissection.of(contents.run), shown)
    if contents.effects is not None:
        alone = contents.effects.units
        if alone is not None:
            yield NamedFigure(f"effects-{file_name(alone.layer)}", alone.show)
        for curve in contents.effects.curves:
            yield NamedFigure(f"curve-{file_name(curve.class_)}", curve.show)
    if contents.interventions is not None:
        for result in contents.interventions.results:
            if isinstance(result, InsertionMap):
                yield NamedFigure(f"inserted-{file_name(result.concept.name)}", result.figure)
            if isinstance(result, CausalEffects):
                yield from _of_sweep(result)


def _of_dissection(dissection: Dissection, shown: UnitImages) -> Iterator[NamedFigure]:
    for layer in dissection.layers:
        one = dissection[layer]
        yield NamedFigure(f"concepts-{file_name(layer)}", partial(concept_bars, one.table(), title=layer))
        units = _shown_units(one, shown.units)
        tiles = _tile_count(one, units, shown.images)
        rows = max(1, int(PAGE / (shown.width / tiles + _TITLE)))
        for first in range(0, len(units), rows):
            page = partial(_unit_grid, one, units[first : first + rows], tiles, shown)
            yield NamedFigure(f"units-{file_name(layer)}", page)
    if len(dissection.layers) > 1:
        yield NamedFigure("emergence", lambda: emergence_figure(counts_by_layer(dissection.table())))


def _shown_units(one: Dissection, most: int) -> list[int]:
    """The best detector of each concept, then of each further one, by falling IoU; other units where there are none."""
    table = one.table()
    table = table[table["concept"].notna()].sort_values("iou", ascending=False, kind="stable")
    table = table.assign(turn=table.groupby(["detector", "category", "concept"]).cumcount())
    table = table.sort_values(["detector", "turn", "iou"], ascending=[False, True, False], kind="stable")
    return [int(unit) for unit in table["unit"] if one.strip(int(unit)) is not None][:most]


def _tile_count(one: Dissection, units: Sequence[int], images: int | None) -> int:
    """How many images stand side by side."""
    from PIL import Image

    strip = one.strip(units[0]) if units else None
    if strip is None:
        return 1
    with Image.open(io.BytesIO(strip), formats=["JPEG"]) as file:
        tiles = round(file.width / file.height)
    return tiles if images is None else min(tiles, images)


def _unit_grid(one: Dissection, units: list[int], tiles: int, shown: UnitImages) -> "Figure":
    """A row of images for each unit, under its concept; nothing has to be laid out, as all rows are alike."""
    if shown.redraw is not None:
        one = shown.redraw(one, units, math.ceil(shown.width * shown.dpi / tiles))
    row = shown.width / tiles + _TITLE
    height = len(units) * row
    figure = new_figure(shown.width, height, layout=None)
    for number, unit in enumerate(units):
        bottom = height - (number + 1) * row + _EDGE
        axes = figure.add_axes(
            (
                _EDGE / shown.width,
                bottom / height,
                1 - 2 * _EDGE / shown.width,
                (row - _TITLE - 2 * _EDGE / tiles) / height,
            )
        )
        one.show(unit, images=tiles, ax=axes)
    return figure


def _of_sweep(result: CausalEffects) -> Iterator[NamedFigure]:
    best = result.effect().max(0)
    for column in (-best).argsort(kind="stable")[:MOST_CONCEPTS].tolist():
        concept = result.concepts[column]
        if best[column] > 0:
            name = f"{concept.category}/{concept.name}"
            layer = file_name(result.settings.layer)
            yield NamedFigure(f"causes-{layer}-{file_name(concept.name)}", partial(result.show, name))


def file_name(text: str) -> str:
    """Text as a part of a file's name.

    Examples
    --------
    >>> file_name("layer3[1].conv"), file_name("ski slope")
    ('layer3-1-.conv', 'ski-slope')
    """
    return re.sub(r"[^\w.-]+", "-", text)[:60] or "unnamed"
