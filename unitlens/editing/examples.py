"""A few images with a set of units removed or inserted, to look at."""

from collections.abc import Iterator

import numpy as np
import torch

from unitlens.ablation.activity import LayerValues
from unitlens.ablation.interventions import replace_units
from unitlens.ablation.responses.areas import concept_areas, drawn_images
from unitlens.ablation.table import Units
from unitlens.data.batches import Batch, Batches
from unitlens.editing.edited import Edited, Images
from unitlens.editing.experiment import AreaExperiment
from unitlens.models.hooks import edit
from unitlens.models.passes import evaluating

EXAMPLE_AREA = 0.02
"""An image is an example of a concept where that takes at least this share of it: enough to be seen at a look."""


def example_images(
    experiment: AreaExperiment, units: Units, values: LayerValues, *, concept: int | None, most: int
) -> Edited | None:
    """Draw the first images as they are and with units replaced: of those that show a concept, where one is named.

    Returns
    -------
    Edited or None
        None where no image shows it, or none is asked for.
    """
    before: list[Images] = []
    after: list[Images] = []
    for drawn, edited in _edited(experiment, units, values, concept, most):
        before.append(drawn)
        after.append(edited)
        if sum(map(len, before)) >= most:
            break
    if not before or most < 1:
        return None
    removed = not isinstance(values.replacement.value, str | torch.Tensor) and values.replacement.value == 0
    of_layer = {experiment.layer: units}
    return Edited(
        np.concatenate(before)[:most],
        np.concatenate(after)[:most],
        of_layer if removed else {},
        {} if removed else of_layer,
    )


def _edited(
    experiment: AreaExperiment, units: Units, values: LayerValues, concept: int | None, most: int
) -> Iterator[tuple[Images, Images]]:
    """Images before and after, (n, height, width, 3), batch by batch."""
    net, layer = experiment.net, experiment.layer
    for batch in Batches(experiment.data, net.preprocessing, experiment.reading, task="drawing"):
        inputs = net.prepare(batch.images)
        with evaluating(net.model):
            before = drawn_images(net, inputs, net.model(inputs))
        chosen = list(range(len(before)))
        if concept is not None:
            areas = concept_areas(experiment.drawn, before)[:, concept]
            chosen = np.flatnonzero(areas >= EXAMPLE_AREA).tolist()
        chosen = chosen[:most]
        if not chosen:
            continue

        def change(activation: torch.Tensor, batch: Batch = batch, chosen: list[int] = chosen) -> torch.Tensor:
            space = experiment.space(activation)
            replacement = values.of_units(batch, chosen, units, space=space, activation=activation)
            return replace_units(activation, units, replacement, space=space, layer=layer)

        with evaluating(net.model), edit(net.model, {layer: change}):
            after = drawn_images(net, inputs[chosen], net.model(inputs[chosen]))
        yield before[chosen].transpose(0, 2, 3, 1), after.transpose(0, 2, 3, 1)
