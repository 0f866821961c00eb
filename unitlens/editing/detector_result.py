"""The result of taking units for detectors of what is drawn: how well their peaks tell whether it is there."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from unitlens.ablation.table import Units
from unitlens.data.concepts import Concept
from unitlens.drawing.notebooks import table_html
from unitlens.editing.settings import AreaSettings
from unitlens.plurals import counted
from unitlens.stats.folds import FEWEST_FOLDS, FOLDS, effective_half_width
from unitlens.stats.intervals import Distances, share_distances, sum_distances
from unitlens.stats.scores import Bools, Floats, Ints, share

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False, repr=False)
class DrawnDetectors:
    """How well units' peaks tell whether a concept is drawn. Made by `unitlens.drawn_detectors`.

    Attributes
    ----------
    settings : AreaSettings
    info : mapping
        Where it comes from.
    concepts : tuple of Concept, C
    segmenter_iou : float64 array, (C,)
        How good the concept source is at each of them; NaN where it does not say.
    column : int
        Which of them is to be told.
    units : tuple of int, U
    least_area : float
        The concept is in an image where it takes at least this share of it.
    peaks : float64 array, (N, U)
        Each unit's largest activation in each image.
    area : float64 array, (N,)
        Of the concept, as a share of the image.
    folds : int64 array, (N,)
        Of each image; those of even folds choose the levels, and those of odd ones measure them.
    """

    settings: AreaSettings
    info: Mapping[str, Any]
    concepts: tuple[Concept, ...]
    segmenter_iou: Floats
    column: int
    units: Units
    least_area: float
    peaks: Floats
    area: Floats
    folds: Ints

    @property
    def concept(self) -> Concept:
        """What is to be told."""
        return self.concepts[self.column]

    def table(self) -> "pd.DataFrame":
        """A row a unit, the best first.

        Columns unit, level (above which the concept is said to be there; chosen on images of even folds),
        balanced_accuracy, low, high (on those of odd folds; low and high are its 95 % interval, by the jackknife over
        folds, and as wide as that of independent images at least), chosen_on (balanced
        accuracy on the images that chose the level), recall (share of the images with the concept that are above the
        level), specificity (of the others that are not), with_concept and without (images), and segmenter_iou (of the
        concept).
        """
        import pandas as pd

        present, odd = self.area >= self.least_area, self.folds % 2 == 1
        there, folds = present[odd], self.folds[odd]
        rows = []
        for column, unit in enumerate(self.units):
            peaks = self.peaks[:, column]
            level, chosen_on = best_level(peaks[~odd], present[~odd])
            above = peaks[odd] > level
            told = _Told(*(_by_fold(folds, kind) for kind in (above & there, there, ~above & ~there, ~there)))
            value, ends = told.accuracy(), told.distances()
            rows.append(
                {
                    "unit": unit,
                    "level": level,
                    "balanced_accuracy": float(value),
                    "low": float(value - ends.below),
                    "high": float(value + ends.above),
                    "chosen_on": chosen_on,
                    "recall": float(share(told.hits.sum(), told.present.sum())),
                    "specificity": float(share(told.rejected.sum(), told.absent.sum())),
                    "with_concept": int(told.present.sum()),
                    "without": int(told.absent.sum()),
                    "segmenter_iou": float(self.segmenter_iou[self.column]),
                }
            )
        table = pd.DataFrame(rows).sort_values("balanced_accuracy", ascending=False, kind="stable")
        return pd.DataFrame(table.reset_index(drop=True))

    def __repr__(self) -> str:
        return (
            f"<DrawnDetectors of {self.concept.name}: {counted(len(self.units), 'unit')} of {self.settings.layer}, "
            f"{counted(len(self.area), 'image')}>"
        )

    def _repr_html_(self) -> str:
        return table_html(repr(self), self.table())


class _Told(NamedTuple):
    """Images by fold, each (32,): with the concept, above the level and in all; without it, not above and in all."""

    hits: Ints
    present: Ints
    rejected: Ints
    absent: Ints

    def accuracy(self) -> Floats:
        """Balanced accuracy of all, or, with a further dimension, of each sum."""
        hits, present, rejected, absent = (counts.sum(0) for counts in self)
        return (share(hits, present) + share(rejected, absent)) / 2

    def distances(self) -> Distances:
        """To the ends of its 95 % interval; images of a group are in one fold, so that folds are independent."""
        hits, present, rejected, absent = (int(counts.sum()) for counts in self)
        independent = sum_distances(share_distances(hits, present), share_distances(rejected, absent)).times(0.5)
        left_out = _Told(*(np.broadcast_to(counts.sum() - counts, (1, FOLDS)) for counts in self)).accuracy()
        filled = self.present + self.absent > 0
        half = effective_half_width(left_out, filled) if filled.sum() >= FEWEST_FOLDS else np.float64(np.nan)
        return Distances(np.maximum(half, independent.below), np.maximum(half, independent.above))


def _by_fold(folds: Ints, kind: Bools) -> Ints:
    return np.bincount(folds[kind], minlength=FOLDS)


def best_level(peaks: Floats, present: Bools) -> tuple[float, float]:
    """The level above which peaks tell best whether something is there, and the balanced accuracy.

    Of equals the lowest, and midway between two peaks.

    Examples
    --------
    >>> best_level(np.array([0.0, 1.0, 2.0, 3.0]), np.array([False, False, True, True]))
    (1.5, 1.0)
    """
    values, inverse = np.unique(peaks, return_inverse=True)
    there = np.bincount(inverse, weights=present, minlength=len(values))
    absent = np.bincount(inverse, weights=~present, minlength=len(values))
    # above no value, above the first, ...: what is not above is rejected
    hits = 1 - share(np.append(0, there.cumsum()), there.sum())
    rejected = share(np.append(0, absent.cumsum()), absent.sum())
    accuracy = (hits + rejected) / 2
    best = int(accuracy.argmax())
    edges = np.concatenate([[values[0] - 1], (values[1:] + values[:-1]) / 2, [values[-1]]])
    return float(edges[best]), float(accuracy[best])
