"""Controls: the same dissection of an untrained copy of the network, in a rotated basis, or of a random dictionary."""

import copy
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from unitlens.data.batches import Batches
from unitlens.data.concepts import Data
from unitlens.data.reading import Reading, Subset, chosen_images
from unitlens.dissection.settings import Settings
from unitlens.dissection.store.folder import Store
from unitlens.dissection.table import UntrainedLayer, add_untrained
from unitlens.errors import UnitlensError, argument
from unitlens.models.activations import Readout, reader
from unitlens.models.bases import Basis, Coding
from unitlens.models.dictionaries.controls import random_dictionary, shuffled_dictionary
from unitlens.models.dictionaries.dictionary import Dictionary
from unitlens.models.fast.ending import EndingPasses
from unitlens.models.network import Network
from unitlens.models.passes import evaluating
from unitlens.stats.blocks import in_blocks
from unitlens.stats.counts import Counts
from unitlens.stats.evidence import halves_iou
from unitlens.stats.folds import fold_table
from unitlens.stats.scores import Floats, best_met

if TYPE_CHECKING:
    import pandas as pd

    from unitlens.dissection.labelling import LabelledLayer

CALIBRATION_BATCH = 16
"""Images at a time while batch norm is calibrated, whatever the run's own batch size: it would change the result."""

CALIBRATION_IMAGES = 2048
"""At most so many images calibrate batch norm, spread evenly over those of the run; all machines take the same ones."""

MATCHED_IMAGES = 128
"""At most so many images say how often the features of a dictionary are active."""

_NORMS = "norms"
"""Under this name the store of an untrained copy's pass has the statistics of its batch norms."""

_AT_ONCE = 64  # units of which counts by fold are dense together


def turned(units: int, basis: Coding | None, seed: int) -> Basis:
    """Units of a layer, or directions of a basis, as a random rotation turns them."""
    matrix = rotation(units, seed=seed)
    return Basis(matrix @ basis.matrix if isinstance(basis, Basis) else matrix, "a random rotation")


def control_dictionary(
    kind: str, dictionary: Dictionary, net: Network, data: Data, settings: Settings, *, seed: int
) -> Dictionary:
    """A dictionary in which nothing was learnt, matched on some of the run's images.

    Parameters
    ----------
    kind : {"random-dictionary", "shuffled-dictionary"}
    dictionary : Dictionary
    net, data, settings
        Of the pass; it has one layer.
    seed : int
    """
    positions = some_positions(net, data, settings)
    make = random_dictionary if kind == "random-dictionary" else shuffled_dictionary
    return make(dictionary, positions, seed=seed)


def some_positions(net: Network, data: Data, settings: Settings) -> Tensor:
    """Activations of the units of the one layer at all positions of some images of the run, (positions, U) float32."""
    readout = Readout(settings.layers, settings.tap, settings.layout)
    run, (layer,) = reader(net, readout, outputs=False), settings.layers
    with evaluating(net.model):
        batches = _prepared_images(net, data, settings, most=MATCHED_IMAGES)
        maps = [run(images).maps[layer].float().cpu() for images in batches]
    return torch.cat([part.movedim(1, -1).flatten(0, -2) for part in maps])


def rotation(units: int, *, seed: int = 0) -> Tensor:
    """A random orthogonal matrix, uniform among all, (units, units) float32.

    Source: Mezzadri, "How to generate random matrices from the classical compact groups", Notices AMS 54 (2007).

    Examples
    --------
    >>> turn = rotation(5)
    >>> torch.allclose(turn @ turn.T, torch.eye(5), atol=1e-6)
    True
    """
    drawn = torch.randn(units, units, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    q, r = torch.linalg.qr(drawn)
    turned: Tensor = (q * r.diagonal().sign()).float()
    return turned


def untrained_copy(net: Network, *, seed: int = 0) -> tuple[Network, list[str]]:
    """Copy a network with fresh weights.

    Every module that can reset its own parameters does (``reset_parameters``); parameters of other modules are shuffled
    within themselves, which keeps their distribution. Batch norm then waits for `calibrate`.

    Parameters
    ----------
    net : Network
        It is copied, and not touched.
    seed : int

    Returns
    -------
    untrained : Network
    notes : list of str
        Which parameters were shuffled, if any.

    Raises
    ------
    UnitlensError
        If the copy equals the network.
    """
    model = copy.deepcopy(getattr(net.model, "_orig_mod", net.model))
    with torch.random.fork_rng(range(torch.cuda.device_count())), torch.no_grad():
        torch.manual_seed(seed)
        shuffled = _reset(model)
    before = dict(getattr(net.model, "_orig_mod", net.model).named_parameters())
    if all(torch.equal(before[name], parameter) for name, parameter in model.named_parameters()):
        raise UnitlensError(
            f"The untrained copy of {net.name} equals the network itself"
            + (
                f": choose another {argument('seed')}, or leave out {argument('control')}."
                if before
                else ", which has no parameters."
            )
        )
    notes = []
    if shuffled:
        notes.append(
            "In the untrained copy, what no module resets was shuffled within itself: "
            f"{len(shuffled)} parameter{'s' * (len(shuffled) > 1)} ({', '.join(shuffled[:3])}"
            f"{', ...' if len(shuffled) > 3 else ''})."
        )
    return replace(net, model=model, weights="none"), notes


def _reset(model: nn.Module) -> list[str]:
    """Reset what can be reset and shuffle the rest, whose names are returned."""
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    reset: set[int] = set()
    for module in model.modules():
        function = getattr(module, "reset_parameters", None)
        if callable(function):
            before = {
                id(parameter): (parameter._version, parameter.clone()) for parameter in module.parameters(recurse=False)
            }
            function()
            reset |= {
                id(parameter)
                for parameter in module.parameters(recurse=False)
                if _touched(parameter, before.get(id(parameter)))
            }
    rest = [parameter for parameter in model.parameters() if id(parameter) not in reset]
    for parameter in rest:
        flat = parameter.detach().flatten()
        parameter.copy_(flat[torch.randperm(len(flat)).to(flat.device)].view_as(parameter))
    return [names[id(parameter)] for parameter in rest]


def _touched(parameter: nn.Parameter, before: tuple[int, Tensor] | None) -> bool:
    """Whether a reset wrote to a parameter: spectral and weight norm hide theirs behind a tensor that is computed."""
    return before is None or parameter._version != before[0] or not torch.equal(parameter, before[1])


def batch_norms(model: nn.Module) -> list[nn.modules.batchnorm._BatchNorm]:
    """The modules of a model whose running statistics `calibrate` estimates."""
    norms = [module for module in model.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    return [norm for norm in norms if norm.running_mean is not None]


def calibrate(net: Network, data: Data, settings: Settings) -> None:
    """Estimate the running statistics of every batch norm anew, in one pass over the images.

    With the statistics that a reset leaves (mean 0, variance 1), the activations of a deep untrained network vanish.

    Parameters
    ----------
    net : Network
        Changed in place: `untrained_copy`.
    data, settings
        Of the run.
    """
    norms = batch_norms(net.model)
    if not norms:
        return
    momenta = [norm.momentum for norm in norms]
    run = EndingPasses(net.model, settings.layers)  # of what lies behind them, nothing is read
    with evaluating(net.model):
        run(net.example_inputs(2))
        for norm in norms:
            norm.reset_running_stats()
            norm.train()
            norm.momentum = None  # a plain mean over batches
        for images in _prepared_images(net, data, settings):
            run(images)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum


def calibrate_once(net: Network, data: Data, settings: Settings, store: Store) -> None:
    """Calibrate an untrained copy, or take from the store of its pass what was estimated before that was stopped.

    Parameters
    ----------
    net, data, settings
        As for `calibrate`, and changed as there.
    store : Store
        Of the pass.
    """
    norms = batch_norms(net.model)
    estimated = store.arrays(_NORMS)
    if estimated is None:
        calibrate(net, data, settings)
        if norms and store.lasting:
            arrays = {
                f"{number}.{name}": buffer.numpy(force=True)
                for number, norm in enumerate(norms)
                for name, buffer in norm.named_buffers()
            }
            store.commit(images=0, arrays={_NORMS: arrays})
        return
    for number, norm in enumerate(norms):
        for name, buffer in norm.named_buffers():
            buffer.copy_(torch.from_numpy(estimated[f"{number}.{name}"]))


def _prepared_images(net: Network, data: Data, settings: Settings, *, most: int | None = None) -> Iterator[Tensor]:
    """Prepared images; a last one that is alone is left out, as batch norm learns nothing from one value."""
    chosen = chosen_images(data, settings.limit, seed=settings.seed)
    count = min(len(chosen), CALIBRATION_IMAGES if most is None else most)
    spread = Subset(data, [chosen[number * len(chosen) // count] for number in range(count)])
    for number, batch in enumerate(Batches(spread, net.preprocessing, Reading(batch_size=CALIBRATION_BATCH))):
        if len(batch.names) > 1 or number == 0:
            yield net.prepare(batch.images)


def compare_with_untrained(layer: "LabelledLayer", copies: Sequence["LabelledLayer"]) -> "pd.DataFrame":
    """Add to the rows of a layer what its untrained copies reach for their concepts."""
    reached = [_untrained_layer(copy) for copy in copies]
    return add_untrained(layer.table, best_met(layer.counts.intersection, layer.score), reached)


def _untrained_layer(untrained: "LabelledLayer") -> UntrainedLayer:
    mute = (untrained.table["silent"] | (untrained.table["nonfinite"] > 0)).to_numpy(bool)
    return UntrainedLayer(
        by_concept=np.where(mute[:, None], 0.0, heldout_by_concept(untrained.counts)),
        best=np.where(mute, 0.0, untrained.table["heldout_iou"].to_numpy(np.float64)),
    )


def heldout_by_concept(counts: Counts) -> Floats:
    """Held-out IoU of every unit with every concept, (U, C): as nothing is chosen, the mean over both halves."""
    units = len(counts.active)
    return np.concatenate([halves_iou(fold_table(counts, block)) for block in in_blocks(units, _AT_ONCE)])


def comparison_row(network: str, layer: str, table: "pd.DataFrame") -> dict[str, Any]:
    """Count the units and concepts of a layer, of the network or of a control.

    Returns
    -------
    dict
        layer, network, units, silent, above_min_iou and concepts (the papers' rule), detectors and detected_concepts
        (more than chance).
    """
    papers, detectors = table[table["above_min_iou"]], table[table["detector"]]
    pair = ["category", "concept"]
    return {
        "layer": layer,
        "network": network,
        "units": len(table),
        "silent": int(table["silent"].sum()),
        "above_min_iou": len(papers),
        "concepts": len(papers[pair].drop_duplicates()),
        "detectors": len(detectors),
        "detected_concepts": len(detectors[pair].drop_duplicates()),
    }


def chance_row(layer: "LabelledLayer", min_iou: float) -> dict[str, Any]:
    """Count the same for a layer's masks with the labels of other images: means over draws, and no detectors."""
    above = (layer.shifted_iou > min_iou) & ~layer.table["silent"].to_numpy(bool)[:, None]
    draws = range(above.shape[1])
    unique = [len(np.unique(layer.shifted_concept[above[:, draw], draw])) for draw in draws]
    return {
        "layer": layer.name,
        "network": "labels of other images",
        "units": len(layer.table),
        "silent": int(layer.table["silent"].sum()),
        "above_min_iou": round(float(above.sum(0).mean()), 1) if draws else None,
        "concepts": round(float(np.mean(unique)), 1) if draws else None,
        "detectors": None,
        "detected_concepts": None,
    }
