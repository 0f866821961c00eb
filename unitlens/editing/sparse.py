"""The sparse optimisation of GAN dissection: how much of each unit a concept needs, by gradient."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from unitlens.ablation.activity import LayerValues
from unitlens.data.batches import Batch, Batches
from unitlens.data.drawn import SoftSource
from unitlens.editing.experiment import AreaExperiment
from unitlens.errors import UnitlensError, spelled
from unitlens.models.hooks import edit
from unitlens.models.latents import drawn_images
from unitlens.models.passes import evaluating_with_gradients
from unitlens.stats.scores import Floats

STEPS = 100
BATCH = 16
RATE = 0.05
PENALTY = 0.01


def sparse_weights(
    experiment: AreaExperiment, concept: int, values: LayerValues, *, steps: int = STEPS, penalty: float = PENALTY
) -> Floats:
    """Find how much of each unit a concept needs: weights in [0, 1] of U units.

    They maximise the average causal effect less ``penalty`` times their Euclidean norm. The effect is the concept's
    mean probability where each unit is moved by its weight towards what it is inserted at, less that where it is moved
    by its weight towards 0; on latents of even folds, a batch a step, by Adam, with the weights clamped to [0, 1].

    Parameters
    ----------
    experiment : AreaExperiment
    concept : int
        Which of the experiment's.
    values : LayerValues
        What inserted units are set to.
    steps : int
    penalty : float

    Returns
    -------
    float64 array, (U,)

    Raises
    ------
    UnitlensError
        If the concept's source gives no probabilities.

    References
    ----------
    Bau et al., "GAN Dissection", ICLR 2019, section 3.2.
    """
    source, index = _soft_source(experiment, concept)
    net, layer = experiment.net, experiment.layer
    assert net.latents is not None
    low, high = net.latents.output_range
    weights: Tensor | None = None
    optimiser: torch.optim.Optimizer | None = None
    for batch, even in _batches(experiment, steps):
        inputs = net.prepare(batch.images[even]).clone()

        def probability(
            inserted: bool, batch: Batch = batch, even: list[int] = even, inputs: Tensor = inputs
        ) -> Tensor:
            def change(activation: Tensor) -> Tensor:
                nonlocal weights
                space = experiment.space(activation)
                before, units = space.read(activation), range(space.count(activation))
                if weights is None:
                    weights = torch.full((len(units),), 0.5, device=before.device, requires_grad=True)
                share = weights.repeat_interleave(space.each).reshape(-1, *[1] * (before.ndim - 2))
                target = torch.zeros_like(before)
                if inserted:
                    replacement = values.of_units(batch, even, units, space=space, activation=activation)
                    target = replacement.values(before.detach(), layer=layer)
                return space.write(activation, units, before, before + share * (target - before))

            with edit(net.model, {layer: change}):
                images = (drawn_images(net.model(inputs), len(inputs)) - low) / (high - low)
            return source.probabilities(images.clamp(0, 1))[:, index].mean()

        with evaluating_with_gradients(net.model):
            effect = probability(True) - probability(False)
            assert weights is not None
            optimiser = optimiser or torch.optim.Adam([weights], lr=RATE)
            optimiser.zero_grad()
            (penalty * weights.norm() - effect).backward()
            optimiser.step()
        with torch.no_grad():
            weights.clamp_(0, 1)
    if weights is None:
        raise UnitlensError("No latent of the even folds is left to choose units on: draw more.")
    return np.asarray(weights.detach().double().cpu())


def _soft_source(experiment: AreaExperiment, concept: int) -> tuple[SoftSource, int]:
    """The source of a concept, and which of its concepts that is."""
    first = 0
    for source in experiment.drawn.sources:
        if concept < first + len(source.concepts):
            if isinstance(source, SoftSource):
                return source, concept - first
            raise UnitlensError(
                f"The method 'optimise' follows gradients of how likely a concept is, which {source} does not say: use "
                + spelled(
                    python="a segmentation network (ul.segmenter), or the method 'iou' or 'greedy'.",
                    shell="a run with --concepts segmenter:NETWORK, or --set iou or --set greedy.",
                )
            )
        first += len(source.concepts)
    raise AssertionError("concepts are those of the sources")


def _batches(experiment: AreaExperiment, steps: int) -> Iterator[tuple[Batch, list[int]]]:
    """So many batches, and which latents of each are of even folds; from the first again where there are too few."""
    reading = replace(experiment.reading, batch_size=2 * BATCH, progress=False)
    done = 0
    while done < steps:
        before = done
        for batch in Batches(experiment.data, experiment.net.preprocessing, reading, task="optimising"):
            even = [i for i, fold in enumerate(batch.folds) if fold % 2 == 0]
            if even and done < steps:
                done += 1
                yield batch, even
        if done == before:
            return
