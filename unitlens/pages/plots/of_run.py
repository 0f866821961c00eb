"""The figures of a saved run by their names: concepts, units with their images, effects, and units that draw."""

import io
import re
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from unitlens.dissection.result import Dissection
from unitlens.drawing.emergence import counts_by_layer, emergence_figure
from unitlens.drawing.figures import concept_bars, new_figure, strip_figure
from unitlens.editing.causal_result import CausalEffects
from unitlens.editing.insertion_result import InsertionMap

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from unitlens.pages.writing import Contents

MOST_CONCEPTS = 3
"""Of a sweep over units, the concepts that some unit draws most of have a figure."""


class NamedFigure(NamedTuple):
    """A figure that is yet to be drawn, and the name of its file, without an ending."""

    name: str
    draw: "Callable[[], Figure]"


def figures_of(contents: "Contents", *, units: int) -> Iterator[NamedFigure]:
    """All figures of what a folder holds, in the order in which a paper shows them.

    Parameters
    ----------
    contents : Contents
    units : int
        How many units of each layer are shown with their images.
    """
    if contents.run is not None:
        yield from _of_dissection(Dissection.of(contents.run), units)
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


def _of_dissection(dissection: Dissection, units: int) -> Iterator[NamedFigure]:
    for layer in dissection.layers:
        one = dissection[layer]
        yield NamedFigure(f"concepts-{file_name(layer)}", partial(concept_bars, one.table(), title=layer))
        shown = _shown_units(one, units)
        if shown:
            yield NamedFigure(f"units-{file_name(layer)}", partial(_unit_grid, one, shown))
    if len(dissection.layers) > 1:
        yield NamedFigure("emergence", lambda: emergence_figure(counts_by_layer(dissection.table())))


def _shown_units(one: Dissection, most: int) -> list[int]:
    """The best detector of each concept, then of each further one, by falling IoU; other units where there are none."""
    table = one.table()
    table = table[table["concept"].notna()].sort_values("iou", ascending=False, kind="stable")
    table = table.assign(turn=table.groupby(["detector", "category", "concept"]).cumcount())
    table = table.sort_values(["detector", "turn", "iou"], ascending=[False, True, False], kind="stable")
    return [int(unit) for unit in table["unit"] if one.strip(int(unit)) is not None][:most]


def _unit_grid(one: Dissection, units: list[int]) -> "Figure":
    """A row of images for each unit, under its concept."""
    from PIL import Image

    rows = {int(row["unit"]): row for _, row in one.table().iterrows()}
    strips = [one.strip(unit) or b"" for unit in units]
    with Image.open(io.BytesIO(strips[0]), formats=["JPEG"]) as strip:
        tiles = strip.width / strip.height
    figure = new_figure(7.2, len(units) * (7.2 / tiles + 0.28))
    for axes, unit, strip_file in zip(figure.subplots(len(units), 1, squeeze=False)[:, 0], units, strips, strict=True):
        strip_figure(strip_file, rows[unit], ax=axes)
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
