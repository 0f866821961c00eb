"""Units as detectors of what is drawn: how well peak activations tell whether an image shows a concept."""

import html
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from torch import nn

from unitlens.ablation.activity import unit_axis
from unitlens.ablation.responses.areas import concept_areas, drawn_images
from unitlens.ablation.table import Units
from unitlens.ablation.units import Chosen
from unitlens.data.batches import Batches
from unitlens.data.concepts import Concept, Data
from unitlens.data.groups import Groups
from unitlens.data.reading import Reading
from unitlens.editing.experiment import AreaExperiment, Concepts
from unitlens.errors import UnitlensError
from unitlens.models.hooks import record
from unitlens.models.network import Network
from unitlens.models.passes import evaluating
from unitlens.stats.intervals import share_distances, sum_distances
from unitlens.stats.scores import Bools, Floats, share

if TYPE_CHECKING:
    import pandas as pd

LEAST_AREA = 0.01
"""A concept is in an image where it takes at least this share of it."""


@dataclass(frozen=True, eq=False, repr=False)
class DrawnDetectors:
    """How well units' peaks tell whether a concept is drawn. Made by `unitlens.drawn_detectors`.

    Attributes
    ----------
    layer : str
    concept : Concept
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

    layer: str
    concept: Concept
    units: Units
    least_area: float
    peaks: Floats
    area: Floats
    odd: Bools

    def table(self) -> "pd.DataFrame":
        """A row a unit, the best first.

        Columns unit, level (above which the concept is said to be there; chosen on images of even folds),
        balanced_accuracy, low, high (on those of odd folds; low and high are its 95 % interval), chosen_on (balanced
        accuracy on the images that chose the level), recall (share of the images with the concept that are above the
        level), specificity (of the others that are not), with_concept and without (images).
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
                }
            )
        table = pd.DataFrame(rows).sort_values("balanced_accuracy", ascending=False, kind="stable")
        return pd.DataFrame(table.reset_index(drop=True))

    def __repr__(self) -> str:
        return (
            f"<DrawnDetectors of {self.concept.name}: {len(self.units)} units of {self.layer}, {len(self.area)} images>"
        )

    def _repr_html_(self) -> str:
        return f"<p>{html.escape(repr(self)[1:-1])}</p>" + self.table().head(10).to_html(
            index=False, float_format="{:.4g}".format
        )


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


def drawn_detectors(
    net: Network | nn.Module,
    layer: str,
    concept: str,
    latents: Data | str | Path,
    concepts: Concepts = None,
    *,
    units: Chosen | None = None,
    least_area: float = LEAST_AREA,
    groups: Groups | None = None,
    limit: int | None = None,
    batch_size: int = 32,
    workers: int = 0,
    seed: int = 0,
    progress: bool = False,
) -> DrawnDetectors:
    """Measure how well units' peak activations tell whether a concept is drawn.

    The level of each unit is chosen on images of even folds, and its balanced accuracy measured on those of odd folds.

    Parameters
    ----------
    net, layer, latents, concepts, groups, limit, batch_size, workers, seed, progress
        As for `unitlens.intervene`.
    concept : str
        Its name, or category/name.
    units : int, sequence or Tensor of int, optional
        Which; all of the layer, unless given.
    least_area : float
        The concept is in an image where it takes at least this share of it.

    Returns
    -------
    DrawnDetectors

    Raises
    ------
    UnitlensError
        As for `unitlens.intervene`; if the concept is in no image or in all of them.
    """
    reading = Reading(batch_size=batch_size, workers=workers, limit=limit, seed=seed, progress=progress)
    experiment = AreaExperiment.of(net, layer, latents, concepts, groups=groups, reading=reading)
    column = experiment.drawn.index_of(concept)
    chosen = None if units is None else experiment.units(units)
    peaks, areas, odd = [], [], list[bool]()
    for batch in Batches(experiment.data, experiment.net.preprocessing, reading, task="drawing"):
        inputs = experiment.net.prepare(batch.images)
        with evaluating(experiment.net.model), record(experiment.net.model, layer) as recording:
            outputs = experiment.net.model(inputs)
        activation = recording[layer].movedim(unit_axis(experiment.net, layer, recording[layer]), 1)
        of_units = activation.double().reshape(*activation.shape[:2], -1).amax(2).cpu().numpy()
        peaks.append(of_units if chosen is None else of_units[:, list(chosen)])
        areas.append(concept_areas(experiment.drawn, drawn_images(experiment.net, inputs, outputs))[:, column])
        odd += [fold % 2 == 1 for fold in batch.folds]
    area, is_odd = np.concatenate(areas), np.array(odd)
    for half in (is_odd, ~is_odd):
        there = int((area[half] >= least_area).sum())
        if there in (0, int(half.sum())):
            raise UnitlensError(
                f"{concept} takes {least_area:.1%} of the image in {there} of {int(half.sum())} images: to tell it "
                "there have to be some with it and some without; draw more images, or choose another least_area."
            )
    table_units = tuple(range(peaks[0].shape[1])) if chosen is None else chosen
    return DrawnDetectors(
        layer, experiment.drawn.concepts[column], table_units, least_area, np.concatenate(peaks), area, is_odd
    )
