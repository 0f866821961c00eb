"""How far a layer with some units replaced lies outside of what it says otherwise."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from unitlens.ablation.activity import LayerValues, layer_activations
from unitlens.ablation.interventions import replace_units
from unitlens.ablation.table import Units
from unitlens.editing.experiment import AreaExperiment
from unitlens.editing.set_result import LayerDistance
from unitlens.models.units.space import UnitSpace
from unitlens.stats.scores import Floats

MEASURED_ON = 256
"""Images at most, for the distances and for what they are distances from."""

RIDGE = 1e-3
"""Added to the variance of each unit, as a share of their mean: units that are never active would vary by 0."""

USUAL = 0.99
"""Share of the positions of untouched images that lie within the usual distance."""


def layer_distance(experiment: AreaExperiment, units: Units, values: LayerValues) -> LayerDistance | None:
    """Measure how far a layer lies outside of what it says otherwise, with some of its units replaced.

    What is usual is measured on the images of even folds, and the distance on those of odd folds; at most 256 of both.

    Returns
    -------
    LayerDistance or None
        None with fewer than two images of either.
    """
    usual, before, after, images = [], [], [], 0
    for even, activation, changed in _activations(experiment, units, values):
        usual.append(_positions(activation[even]))
        before.append(_positions(activation[~even]))
        after.append(_positions(changed[~even]))
        images += int((~even).sum())
    fitted, untouched, replaced = torch.cat(usual), torch.cat(before), torch.cat(after)
    if len(fitted) < 2 or len(untouched) < 2:
        return None
    mean = fitted.mean(0)
    covariance = torch.cov(fitted.T).reshape(len(mean), len(mean))
    ridge = RIDGE * covariance.diagonal().mean().clamp(min=torch.finfo(torch.float64).tiny)
    factor = torch.linalg.cholesky(covariance + ridge * torch.eye(len(mean), dtype=torch.float64))
    distances = [_distance(values, mean, factor) for values in (untouched, replaced)]
    limit = np.quantile(distances[0], USUAL)
    return LayerDistance(
        float(distances[0].mean()), float(distances[1].mean()), float((distances[1] > limit).mean()), images
    )


def _activations(
    experiment: AreaExperiment, units: Units, values: LayerValues
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Which images are of even folds, and the layer's activations, untouched and with the units replaced."""
    limit = min(MEASURED_ON, experiment.reading.limit or MEASURED_ON)
    reading = replace(experiment.reading, limit=limit, progress=False)
    count = experiment.unit_count()
    for batch, activation in layer_activations(
        experiment.net, experiment.layer, experiment.data, reading, basis=experiment.basis
    ):
        space = UnitSpace(each=activation.shape[1] // count, layer=experiment.layer)  # of what was read of the layer
        replacement = values.of_units(batch, range(len(batch.names)), units, space=space, activation=activation)
        changed = replace_units(activation, units, replacement, space=space, layer=experiment.layer)
        yield torch.tensor(batch.folds) % 2 == 0, activation, changed


def _positions(activation: Tensor) -> Tensor:
    """Activations of all units at each position, (N, U, ...) to (positions, U)."""
    return activation.double().cpu().movedim(1, -1).reshape(-1, activation.shape[1])


def _distance(values: Tensor, mean: Tensor, factor: Tensor) -> Floats:
    solved = torch.linalg.solve_triangular(factor, (values - mean).T, upper=False)
    return np.asarray((solved**2).sum(0).sqrt())
