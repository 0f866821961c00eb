"""Controls: what the same measurement finds in a network that has learnt nothing, or in a basis without meaning."""

import copy
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from unitlens.data.batches import batches
from unitlens.data.columns import Columns
from unitlens.data.concepts import Data
from unitlens.dissection.forward import Reading, observe
from unitlens.dissection.labelling import LabelledLayer, LabelSettings, label_units
from unitlens.dissection.store.temporary import temporary_store
from unitlens.dissection.table import with_untrained
from unitlens.errors import UnitlensError, argument, did_you_mean
from unitlens.models.bases import Basis
from unitlens.models.network import Network
from unitlens.models.passes import evaluating
from unitlens.stats.blocks import in_blocks
from unitlens.stats.counts import Counts
from unitlens.stats.evidence import halves_iou
from unitlens.stats.folds import fold_table
from unitlens.stats.scores import Floats, best_met

if TYPE_CHECKING:
    import pandas as pd

CONTROLS = {
    "untrained": "the same architecture with fresh weights",
    "rotated": "the layer's units turned by a random orthogonal matrix",
}
"""By the names that ``control=`` takes."""

CALIBRATION_BATCH = 16
"""Images at a time while batch norm is calibrated, whatever the run's own batch size: it would change the result."""

_AT_ONCE = 64  # units of which counts by fold are dense together


def check_controls(control: str | Sequence[str]) -> tuple[str, ...]:
    """The controls that were named, each once.

    Raises
    ------
    UnitlensError
        If one is not known.
    """
    named = tuple(dict.fromkeys([control] if isinstance(control, str) else control))
    for name in named:
        if name not in CONTROLS:
            raise UnitlensError(
                f"There is no control {name!r}{did_you_mean(name, CONTROLS)}; there are {', '.join(CONTROLS)}."
            )
    return named


class ControlRun(NamedTuple):
    """What a control gave.

    Attributes
    ----------
    name : str
        A key of `CONTROLS`.
    layers : dict of str to LabelledLayer
    notes : list of str
        What the user should know.
    """

    name: str
    layers: dict[str, LabelledLayer]
    notes: list[str]


def run_control(
    name: str,
    net: Network,
    done: Sequence[LabelledLayer],
    data: Data,
    columns: Columns,
    *,
    grid: tuple[int, int],
    reading: Reading,
    how: LabelSettings,
) -> ControlRun:
    """Measure a control with the same images, labels and definitions.

    Parameters
    ----------
    name : str
        A key of `CONTROLS`.
    net : Network
        The trained one; it is not touched.
    done : sequence of LabelledLayer
        What was found in it.
    data, columns, grid, reading, how
        As for the network itself.

    Raises
    ------
    UnitlensError
        If no untrained copy can be made.
    """
    reading = replace(reading, thumbnails=False)
    how = replace(how, levels=False)
    found: dict[str, LabelledLayer] = {}
    notes: list[str] = []
    if name == "untrained":
        net, notes = untrained_copy(net, seed=how.seed)
        calibrate(net, data, columns, grid=grid, limit=reading.limit)
        passes = [([one.name for one in done], reading)]
    else:
        passes = [([one.name], replace(reading, basis=_turned(one, reading.basis, how.seed))) for one in done]
    for layers, reads in passes:
        with temporary_store() as store:
            kept = (net, layers, data, columns, store)
            stored = observe(*kept, grid=grid, tap=how.definitions.tap, reading=reads, draws=how.draws)
            found |= {layer: label_units(stored, maps, how) for layer, maps in stored.layers.items()}
    return ControlRun(name, found, notes)


def _turned(one: LabelledLayer, basis: Basis | None, seed: int) -> Basis:
    matrix = rotation(len(one.threshold), seed=seed)
    return Basis(matrix if basis is None else matrix @ basis.matrix, "a random rotation")


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
    """The same architecture with fresh weights.

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
            before = {id(own): (own._version, own.clone()) for own in module.parameters(recurse=False)}
            function()
            reset |= {id(own) for own in module.parameters(recurse=False) if _touched(own, before.get(id(own)))}
    rest = [parameter for parameter in model.parameters() if id(parameter) not in reset]
    for parameter in rest:
        flat = parameter.detach().flatten()
        parameter.copy_(flat[torch.randperm(len(flat)).to(flat.device)].view_as(parameter))
    return [names[id(parameter)] for parameter in rest]


def _touched(parameter: nn.Parameter, before: tuple[int, Tensor] | None) -> bool:
    """Whether a reset wrote to a parameter: spectral and weight norm hide theirs behind a tensor that is computed."""
    return before is None or parameter._version != before[0] or not torch.equal(parameter, before[1])


def calibrate(net: Network, data: Data, columns: Columns, *, grid: tuple[int, int], limit: int | None = None) -> None:
    """Estimate the running statistics of every batch norm anew, in one pass over the images.

    With the statistics that a reset leaves (mean 0, variance 1), the activations of a deep untrained network vanish.

    Parameters
    ----------
    net : Network
        Changed in place: `untrained_copy`.
    data, columns, grid, limit
        Of the run.
    """
    norms = [
        module
        for module in net.model.modules()
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.running_mean is not None
    ]
    if not norms:
        return
    momenta = [norm.momentum for norm in norms]
    with evaluating(net.model):
        for norm in norms:
            norm.reset_running_stats()
            norm.train()
            norm.momentum = None  # a plain mean over batches
        for images in _batches(net, data, columns, grid, limit):
            net.model(images)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum


def _batches(net: Network, data: Data, columns: Columns, grid: tuple[int, int], limit: int | None) -> Iterator[Tensor]:
    """Prepared images; a last one that is alone is left out, as batch norm learns nothing from one value."""
    stream = batches(data, columns, net.preprocessing, grid=grid, batch_size=CALIBRATION_BATCH, limit=limit)
    for number, batch in enumerate(stream):
        if len(batch.names) > 1 or (batch.names and number == 0):
            yield net.prepare(batch.images)


def held_against(one: LabelledLayer, untrained: LabelledLayer) -> "pd.DataFrame":
    """The rows of a layer with what its untrained copy says of them."""
    mute = (untrained.table["silent"] | (untrained.table["nonfinite"] > 0)).to_numpy(bool)
    by_concept = np.where(mute[:, None], 0.0, heldout_by_concept(untrained.counts))
    best = np.where(mute, 0.0, untrained.table["heldout_iou"].to_numpy(np.float64))
    return with_untrained(one.table, best_met(one.counts.intersection, one.score), by_concept, best)


def heldout_by_concept(counts: Counts) -> Floats:
    """Held-out IoU of every unit with every concept, (U, C): as nothing is chosen, the mean over both halves."""
    units = len(counts.active)
    return np.concatenate([halves_iou(fold_table(counts, block)) for block in in_blocks(units, _AT_ONCE)])


def compared(name: str, one: LabelledLayer, table: "pd.DataFrame") -> dict[str, Any]:
    """One line of the comparison: how many units and concepts a network, or a control of it, comes to.

    Returns
    -------
    dict
        layer, network, units, silent, above_min_iou and concepts (the papers' rule), detectors and detected_concepts
        (more than chance).
    """
    papers, detectors = table[table["above_min_iou"]], table[table["detector"]]
    pair = ["category", "concept"]
    return {
        "layer": one.name,
        "network": name,
        "units": len(table),
        "silent": int(table["silent"].sum()),
        "above_min_iou": len(papers),
        "concepts": len(papers[pair].drop_duplicates()),
        "detectors": len(detectors),
        "detected_concepts": len(detectors[pair].drop_duplicates()),
    }


def compared_shifted(one: LabelledLayer, min_iou: float) -> dict[str, Any]:
    """The same for the masks of a layer with the labels of other images, a mean over draws; none is a detector.

    Without a draw, as for a single image, there are no numbers.
    """
    above = (one.shifted_iou > min_iou) & ~one.table["silent"].to_numpy(bool)[:, None]
    draws = range(above.shape[1])
    unique = [len(np.unique(one.shifted_concept[above[:, draw], draw])) for draw in draws]
    return {
        "layer": one.name,
        "network": "labels of other images",
        "units": len(one.table),
        "silent": int(one.table["silent"].sum()),
        "above_min_iou": round(float(above.sum(0).mean()), 1) if draws else None,
        "concepts": round(float(np.mean(unique)), 1) if draws else None,
        "detectors": None,
        "detected_concepts": None,
    }
