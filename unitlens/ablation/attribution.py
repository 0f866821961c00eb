"""Cheap guesses at what units are used for, captum's layer attributions, and how well they agree with the effects."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from unitlens.ablation.agreement import Attributions, agreement_by_class
from unitlens.ablation.experiment import Experiment
from unitlens.ablation.work.checkpoints import Checkpoint, checkpointed
from unitlens.ablation.work.kept import measurement_key
from unitlens.data.batches import Batches
from unitlens.data.classes import join_classes
from unitlens.data.concepts import Data
from unitlens.data.inmemory.dataset import as_data
from unitlens.data.reading import Reading, Subset, chosen_images
from unitlens.errors import UnitlensError, UnitlensWarning, argument, did_you_mean
from unitlens.models.fast.copies import fast_copy
from unitlens.models.fast.precision import Fast, chosen_precision
from unitlens.models.layers import describe_error, find_layers
from unitlens.models.loading import classifier
from unitlens.models.network import Network
from unitlens.models.passes import evaluating_with_gradients
from unitlens.stats.scores import Floats

if TYPE_CHECKING:
    import pandas as pd

METHODS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "activation_x_gradient": ("LayerGradientXActivation", {}),
    "conductance": ("LayerConductance", {"n_steps": 16}),
    "internal_influence": ("InternalInfluence", {"n_steps": 16}),
}
"""Each method, the class of ``captum.attr`` that computes it, and the arguments it is called with."""

IMAGES = 64
"""On so many images at most, evenly spread: each takes about as long as 50 passes of the network."""

TOP = 20
"""The overlap is that of so many most important units, but of no more than a quarter of the layer's."""


def attributions(
    net: Network | nn.Module,
    layer: str,
    data: Data | str | Path,
    *,
    methods: Sequence[str] = tuple(METHODS),
    limit: int | None = None,
    batch_size: int = 32,
    workers: int = 0,
    seed: int = 0,
    fast: bool | Fast = False,
    checkpoint: Checkpoint | None = None,
    progress: bool = False,
) -> Attributions:
    """Attribute each class's output to the units of a layer, with captum.

    Parameters
    ----------
    net, layer, data, limit, batch_size, workers, seed, checkpoint, progress
        As for `unitlens.importance`.
    fast : bool or {"float32", "bfloat16"}
        Whether a copy of the network computes them that is faster, in float32 in either case: gradients would be too
        coarse in bfloat16.
    methods : sequence of str
        Of `METHODS`.

    Returns
    -------
    Attributions

    Raises
    ------
    UnitlensError
        If there is no such method, or the layer is one call of several, or one of several tensors.

    References
    ----------
    Kokhlikyan et al., "Captum", arXiv:2009.07896; Dhamdhere et al., "How important is a neuron?", ICLR 2019
    (conductance); Leino et al., "Influence-directed explanations", ITC 2018 (internal influence).
    """
    for method in methods:
        if method not in METHODS:
            raise UnitlensError(
                f"There is no attribution {method!r}{did_you_mean(method, METHODS)}; there are {', '.join(METHODS)}."
            )
    net = net if isinstance(net, Network) else classifier(net)
    data = as_data(data)
    resolved = find_layers(net.model, layer)[0]
    if (resolved.call, resolved.item, resolved.heads) != (None, None, None):
        raise UnitlensError(f"captum attributes to whole layers that are called once; {layer} is a part of one.")
    reading = Reading(batch_size=batch_size, workers=workers, limit=limit, seed=seed, progress=progress)
    precision = chosen_precision(fast)
    with checkpointed(checkpoint) as kept:
        asked = ("attributions", layer, tuple(methods), bool(precision))
        key = measurement_key(net, data, reading, *asked) if kept.folder else None
        found = kept.arrays(key, lambda: _attributed(net, layer, data, methods, reading, fast=bool(precision)))
    counts = found["images"]
    seen = np.flatnonzero(counts)
    classes = join_classes(data, net.classes, len(counts))
    names = tuple(classes.names[int(k)] for k in seen)
    return Attributions(names, {method: found[method][:, seen] / counts[seen] for method in methods})


def _attributed(
    net: Network, layer: str, data: Data, methods: Sequence[str], reading: Reading, *, fast: bool
) -> dict[str, npt.NDArray[Any]]:
    """The sums of each method over the images of each class, (U, classes), and how many ``images`` these are."""
    made = fast_copy(net, [layer], "float32") if fast else None
    model = net.model if made is None else made.net.model
    module = find_layers(model, layer)[0].module
    computed = {method: attribution_method(method, model, module) for method in methods}
    sums: dict[str, Floats] = {}
    counts, classes = np.zeros(0, np.int64), None
    with evaluating_with_gradients(model):
        for batch in Batches(data, net.preprocessing, reading, task="attributing"):
            chosen = [i for i, class_ in enumerate(batch.classes) if class_ is not None]
            if chosen:
                images = net.prepare(batch.images[chosen])
                images = images if made is None else made.prepare(images)
                if classes is None:
                    with torch.no_grad():
                        outputs = model(images[:1]).shape[1]
                    classes = join_classes(data, net.classes, outputs)
                    counts = np.zeros(outputs, np.int64)
                targets = torch.tensor([classes.output_of[str(batch.classes[i])] for i in chosen], device=images.device)
                np.add.at(counts, targets.cpu().numpy(), 1)
                for method, compute in computed.items():
                    _add(sums, method, compute(images, targets), targets, len(counts))
    if classes is None:
        raise UnitlensError("None of the images that were read has a class.")
    return {"images": counts, **sums}


def measure_agreement(experiment: Experiment, *, images: int = IMAGES, top: int = TOP) -> "pd.DataFrame":
    """Compare captum's layer attributions with the exact effects, on the same few images.

    Parameters
    ----------
    experiment : Experiment
        Of one layer.
    images : int
        How many at most, evenly spread over the data.
    top : int
        The overlap is that of so many most important units, at most a quarter of the layer's.

    Returns
    -------
    pandas.DataFrame
        A row a method and class, with the columns `unitlens.ablation.agreement.AGREEMENT_COLUMNS`.

    Raises
    ------
    UnitlensError
        If captum cannot attribute to the layer.
    """
    (layer,), reading = experiment.layers, experiment.reading
    if experiment.basis is not None:
        raise UnitlensError(
            "captum attributes to a layer's own units, not to directions: leave "
            f"{argument('agreement', option='--attributions')} out, or {argument('basis')}."
        )
    data = _evenly_spread(experiment.data, chosen_images(experiment.data, reading.limit, seed=reading.seed), images)
    size = min(reading.batch_size, 8)
    try:
        attributed = attributions(
            experiment.net,
            layer,
            data,
            batch_size=size,
            workers=reading.workers,
            fast=experiment.fast or False,
            checkpoint=experiment.kept,
            progress=reading.progress,
        )
    except (RuntimeError, AssertionError, TypeError) as error:
        option = argument("agreement", option="--attributions")
        raise UnitlensError(
            f"captum cannot attribute to {layer} ({describe_error(error)}): leave {option} out."
        ) from None
    with warnings.catch_warnings():
        # the measurement of all images warns of the network and the replay
        warnings.simplefilter("ignore", UnitlensWarning)
        exact = replace(experiment, data=data, reading=replace(reading, limit=None)).unit_effects()
    return agreement_by_class(attributed, exact, top=max(1, min(top, exact.units // 4)))


def _evenly_spread(data: Data, indices: Sequence[int], most: int) -> Subset:
    """At most so many of the images with these indices, so that a few stand for all of them."""
    count = min(most, len(indices))
    return Subset(data, [indices[number * len(indices) // count] for number in range(count)])


def attribution_method(name: str, model: nn.Module, module: nn.Module) -> Callable[[Tensor, Tensor], Tensor]:
    """What computes one attribution of a batch, (N, U, ...)."""
    import captum.attr

    kind, arguments = METHODS[name]
    method = getattr(captum.attr, kind)(model, module)

    def compute(images: Tensor, targets: Tensor) -> Tensor:
        # two steps at a time, the fewest that conductance takes: else all of a batch stand in memory at once
        steps = {"internal_batch_size": 2 * len(images)} if "n_steps" in arguments else {}
        attributed = method.attribute(images, target=targets, **arguments, **steps)
        result: Tensor = attributed[0] if isinstance(attributed, tuple) else attributed
        return result.detach()

    return compute


def _add(sums: dict[str, Floats], method: str, attributed: Tensor, targets: Tensor, classes: int) -> None:
    """Add a batch, summed over positions, to the sums of its classes."""
    each = attributed.double().reshape(*attributed.shape[:2], -1).sum(2).cpu().numpy()
    total = sums.setdefault(method, np.zeros((each.shape[1], classes)))
    for row, output in zip(each, targets.tolist(), strict=True):
        total[:, output] += row
