"""The result of taking units for detectors of what is drawn: how well their peaks tell whether it is there."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from unitlens.ablation.table import Units
from unitlens.data.concepts import Concept
from unitlens.drawing.notebooks import table_html
from unitlens.editing.settings import AreaSettings
from unitlens.stats.intervals import share_distances, sum_distances
from unitlens.stats.scores import Bools, Floats, share

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
    odd : bool array, (N,)
        Images of odd folds, which did not choose the levels.
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
    odd: Bools

    @property
    def concept(self) -> Concept:
        """What is to be told."""
        return self.concepts[self.column]

    def table(self) -> "pd.DataFrame":
        """A row a unit, the best first.

        Columns unit, level (above which the concept is said to be there; chosen on images of even folds),
        balanced_accuracy, low, high (on those of odd folds; low and high are its 95 % interval), chosen_on (balanced
        accuracy on the images that chose the level), recall (share of the images with the concept that are above the
        level), specificity (of the others that are not), with_concept and without (images), and segmenter_iou (of the
        concept).
        """
        import pandas as pd

        present = self.area >= self.least_area
        rows = []
        for column, unit in enumerate(self.units):
            peaks = self.peaks[:, column]
            level, chosen_on = best_level(peaks[~self.odd], present[~self.odd])
            above, there = peaks[self.odd] > level, present[self.odd]
            hits, rejected = int((above & there).sum()), int((~above & ~there).sum())
            counts = int(there.sum()), int((~there).sum())
            value = float(share(hits, counts[0]) + share(rejected, counts[1])) / 2
            ends = sum_distances(share_distances(hits, counts[0]), share_distances(rejected, counts[1])).times(0.5)
            rows.append(
                {
                    "unit": unit,
                    "level": level,
                    "balanced_accuracy": value,
                    "low": value - float(ends.below),
                    "high": value + float(ends.above),
                    "chosen_on": chosen_on,
                    "recall": float(share(hits, counts[0])),
                    "specificity": float(share(rejected, counts[1])),
                    "with_concept": counts[0],
                    "without": counts[1],
                    "segmenter_iou": float(self.segmenter_iou[self.column]),
                }
            )
        table = pd.DataFrame(rows).sort_values("balanced_accuracy", ascending=False, kind="stable")
        return pd.DataFrame(table.reset_index(drop=True))

    def __repr__(self) -> str:
        return (
            f"<DrawnDetectors of {self.concept.name}: {len(self.units)} units of {self.settings.layer}, "
            f"{len(self.area)} images>"
        )

    def _repr_html_(self) -> str:
        return table_html(repr(self), self.table())


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
