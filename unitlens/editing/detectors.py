"""Units as detectors of what is drawn: how well peak activations tell whether an image shows a concept."""

from pathlib import Path

import numpy as np
from torch import nn

from unitlens.ablation.activity import unit_peaks
from unitlens.ablation.responses.areas import concept_areas, drawn_images
from unitlens.ablation.table import Units
from unitlens.ablation.units import Chosen
from unitlens.data.batches import Batches
from unitlens.data.concepts import Data
from unitlens.data.groups import Groups
from unitlens.data.reading import Reading
from unitlens.editing.detector_result import DrawnDetectors
from unitlens.editing.experiment import AreaExperiment, Concepts, note_few_folds
from unitlens.editing.settings import LEAST_AREA
from unitlens.errors import UnitlensError, spelled
from unitlens.models.bases import BasisLike
from unitlens.models.hooks import record
from unitlens.models.network import Network
from unitlens.models.passes import evaluating
from unitlens.stats.folds import FOLDS
from unitlens.stats.scores import Bools, Floats


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
    basis: BasisLike | None = None,
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
    net, layer, latents, concepts, groups, basis, limit, batch_size, workers, seed, progress
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

    Examples
    --------
    Three units that draw red, green and blue:

    >>> import unitlens as ul
    >>> model = nn.Sequential(nn.Unflatten(1, (3, 1, 1)), nn.ReLU(), nn.Upsample(scale_factor=4))
    >>> net = ul.generator(model, latents=3, rescale=(0, 1))
    >>> found = ul.drawn_detectors(net, "1", "blue", ul.latents(3, 200), ul.Colors())
    >>> int(found.table().loc[0, "unit"])
    2
    """
    reading = Reading(batch_size=batch_size, workers=workers, limit=limit, seed=seed, progress=progress)
    experiment = AreaExperiment.of(net, layer, latents, concepts, reading=reading, groups=groups, basis=basis)
    chosen = None if units is None else experiment.units(units)
    return detect_drawn(experiment, concept, units=chosen, least_area=least_area)


def detect_drawn(
    experiment: AreaExperiment, concept: str, *, units: Units | None = None, least_area: float = LEAST_AREA
) -> DrawnDetectors:
    """The same for an experiment."""
    net, layer, column = experiment.net, experiment.layer, experiment.drawn.index_of(concept)
    peaks, areas, each = [], [], list[int]()
    batches = Batches(experiment.data, net.preprocessing, experiment.reading, task="drawing")
    for batch in batches:
        inputs = net.prepare(batch.images)
        with evaluating(net.model), record(net.model, layer) as recording:
            outputs = net.model(inputs)
        space = experiment.space(recording[layer])
        of_units = unit_peaks(space.strengths(space.read(recording[layer])))
        peaks.append(of_units if units is None else of_units[:, list(units)])
        areas.append(concept_areas(experiment.drawn, drawn_images(net, inputs, outputs))[:, column])
        each += batch.folds
    area, folds = np.concatenate(areas), np.array(each, np.int64)
    _check_both_kinds(area, folds % 2 == 1, concept, least_area)
    info = experiment.describe(batches.record)
    note_few_folds(info["warnings"], info["data"], np.bincount(folds[folds % 2 == 1], minlength=FOLDS))
    return DrawnDetectors(
        settings=experiment.settings(None, "watched"),
        info=info,
        concepts=experiment.drawn.concepts,
        segmenter_iou=experiment.drawn.ious(),
        column=column,
        units=tuple(range(peaks[0].shape[1])) if units is None else units,
        least_area=least_area,
        peaks=np.concatenate(peaks),
        area=area,
        folds=folds,
    )


def _check_both_kinds(area: Floats, odd: Bools, concept: str, least_area: float) -> None:
    """Make sure that some images of each half show the concept, and some do not."""
    for half in (odd, ~odd):
        there = int((area[half] >= least_area).sum())
        if there in (0, int(half.sum())):
            raise UnitlensError(
                f"{concept} takes {least_area:.1%} of the image or more in {there} of {int(half.sum())} images: there "
                "have to be some with it and some without; "
                + spelled(python="draw more images, or choose another least_area.", shell="draw more (--latents N).")
            )
