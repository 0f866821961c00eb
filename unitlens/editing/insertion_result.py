"""The result of inserting units at every place: where their concept appears, and what stood there before."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from unitlens.ablation.table import Units
from unitlens.data.columns import Columns
from unitlens.data.concepts import Concept
from unitlens.data.drawn import shown_names
from unitlens.drawing.notebooks import table_html
from unitlens.editing.settings import LEAST_AREA, AreaSettings
from unitlens.plurals import counted
from unitlens.stats.changes import mean_change
from unitlens.stats.intervals import share_distances
from unitlens.stats.scores import Floats, Ints, share

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure, SubFigure


class InsertionTally(NamedTuple):
    """Sums of what happened at P places where D things stood before: by thing and fold, and by place. They add.

    Attributes
    ----------
    images : int64 array, (32,)
    seen : int64 array, (32, D)
        At how many places of all images the thing stood.
    appeared : int64 array, (32, D)
        At how many of these the concept appeared.
    by_random : int64 array, (32, D)
        At how many it did with sets drawn at random in place of the units, summed over the draws at each place.
    change : int64 array, (32, D)
        Summed change of the concept's area in the image, in positions of its map.
    appeared_at, change_at : int64 arrays, (P,)
        The same by place, in all images.
    positions : int
        Of an image's map.
    """

    images: Ints
    seen: Ints
    appeared: Ints
    by_random: Ints
    change: Ints
    appeared_at: Ints
    change_at: Ints
    positions: int


def usual_area(areas: Ints, positions: int) -> int | None:
    """The median area of a concept in the images that show it, on 1 % of their positions or more; None where none does.

    Examples
    --------
    >>> usual_area(np.array([0, 7, 0, 12, 4]), 400)
    7
    """
    there = np.sort(areas[areas >= LEAST_AREA * positions])
    return int(there[(len(there) - 1) // 2]) if len(there) else None  # of two in the middle the smaller


def least_gain(usual: int | None, place: int) -> int:
    """How many positions a concept gains at least where it appears: half of its usual area, or half of the place.

    Examples
    --------
    >>> least_gain(7, 64), least_gain(400, 64), least_gain(None, 64)
    (4, 32, 32)
    """
    return (min(place, place if usual is None else usual) + 1) // 2


@dataclass(frozen=True, eq=False, repr=False)
class InsertionMap:
    """Where a concept appears when its units are inserted at every place. Made by `unitlens.insertion_map`.

    Attributes
    ----------
    settings : AreaSettings
    info : mapping
        Where it comes from.
    concepts : tuple of Concept, C
    segmenter_iou : float64 array, (C,)
        How good the concept source is at each of them; NaN where it does not say.
    column : int
        Which of them may appear.
    units : tuple of int
    grid : (int, int)
        Of the places.
    draws : int
        Sets drawn at random that were inserted at each place beside the units.
    areas : int64 array, (N,)
        Of the concept in each untouched image, in positions of its map.
    tally : InsertionTally
    """

    settings: AreaSettings
    info: Mapping[str, Any]
    concepts: tuple[Concept, ...]
    segmenter_iou: Floats
    column: int
    units: Units
    grid: tuple[int, int]
    draws: int
    areas: Ints
    tally: InsertionTally

    @property
    def concept(self) -> Concept:
        """What may appear."""
        return self.concepts[self.column]

    @property
    def shown(self) -> tuple[str, ...]:
        """What may have stood at a place."""
        return tuple(shown_names(Columns.of(self.concepts)))

    @property
    def images(self) -> int:
        """How many were drawn."""
        return int(self.tally.images.sum())

    @property
    def usual_area(self) -> float:
        """Median area of the concept, as a share of the image, in the untouched images that show it on 1 % or more.

        NaN where none does. The concept appears where it gains half of this at a place, or half of the place, whichever
        is less.
        """
        usual = usual_area(self.areas, self.tally.positions)
        return float("nan") if usual is None else usual / self.tally.positions

    def table(self) -> "pd.DataFrame":
        """A row for what stood at a place before the units were inserted there; the most frequent first.

        Columns before, places (in how many images and places it stood), appeared (share of these at which the concept
        appeared), low, high (its 95 % interval, by the jackknife over folds of images; as wide as that of independent
        places at least), random_appeared, random_low, random_high (the same with sets drawn at random), area (mean
        change of the concept's area, as a share of the image), area_low, area_high, usual_area and segmenter_iou (of
        the concept).
        """
        import pandas as pd

        seen = self.tally.seen
        appeared, low, high = _share_of_places(self.tally.appeared, seen)
        random, random_low, random_high = _share_of_places(self.tally.by_random, seen * self.draws)
        area, area_half, _ = mean_change(self.tally.change / self.tally.positions, seen)
        columns: dict[str, Any] = {
            "before": self.shown,
            "places": seen.sum(0),
            "appeared": appeared,
            "low": low,
            "high": high,
            "random_appeared": random,
            "random_low": random_low,
            "random_high": random_high,
            "area": area,
            "area_low": area - area_half,
            "area_high": area + area_half,
            "usual_area": self.usual_area,
            "segmenter_iou": self.segmenter_iou[self.column],
        }
        table = pd.DataFrame(columns)
        return pd.DataFrame(
            table[table["places"] > 0].sort_values("places", ascending=False, kind="stable").reset_index(drop=True)
        )

    def appeared(self) -> Floats:
        """Share of the images in which the concept appeared at each place, as a map of the grid, (h, w)."""
        return np.asarray(share(self.tally.appeared_at, self.images)).reshape(self.grid)

    def area(self) -> Floats:
        """Mean change of the concept's area at each place, as a share of the image, (h, w)."""
        return np.asarray(share(self.tally.change_at / self.tally.positions, self.images)).reshape(self.grid)

    def figure(self, *, fewest: int = 1, most: int = 12, figure: "Figure | SubFigure | None" = None) -> "Figure":
        """Draw where the concept appears, and how often by what stood there before.

        Parameters
        ----------
        fewest : int
            What stood at fewer places is left out.
        most : int
            So many of the most frequent.
        figure : matplotlib.figure.Figure or SubFigure, optional
            Where it is drawn; by default a new one.
        """
        from unitlens.drawing.insertions import insertion_figure

        table = self.table()
        table = table[table["places"] >= fewest].head(most)
        iou = float(self.segmenter_iou[self.column])
        return insertion_figure(self.appeared(), table, self.concept.name, segmenter_iou=iou, figure=figure)

    def __repr__(self) -> str:
        return (
            f"<InsertionMap of {self.concept.name}: {counted(len(self.units), 'unit')} of {self.settings.layer} "
            f"{self.settings.change}, at {self.grid[0]} x {self.grid[1]} places of "
            f"{counted(self.images, 'image')}>"
        )

    def _repr_html_(self) -> str:
        return table_html(repr(self), self.table(), most=None)


def _share_of_places(count: Ints, places: Ints) -> tuple[Floats, Floats, Floats]:
    """A share of places and its 95 % interval, from counts by fold, (32, D); without places NaN.

    The jackknife alone would be sure of what was seen never, or always.
    """
    value, half, _ = mean_change(count.astype(float), places)
    value = np.where(places.sum(0) > 0, value, np.nan)
    below, above = share_distances(count.sum(0), places.sum(0))
    return value, np.maximum(value - np.maximum(half, below), 0), np.minimum(value + np.maximum(half, above), 1)
