"""What directions or features hold of their layer: variance explained, and accuracy with no more than that."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from unitlens.data.batches import Batch, Batches
from unitlens.data.classes import join_classes
from unitlens.data.concepts import Data, described
from unitlens.data.inmemory.dataset import as_data
from unitlens.data.reading import Reading, warning_of_unread
from unitlens.dissection.dictionaries.result import Reconstruction
from unitlens.dissection.settings import BasisRecord
from unitlens.models.bases import BasisLike, Coding, as_basis
from unitlens.models.hooks import edit, record
from unitlens.models.layers import find_layers
from unitlens.models.network import Network
from unitlens.models.passes import evaluating
from unitlens.models.units.space import UnitSpace, find_space
from unitlens.stats.folds import FOLDS, jackknife_half_width
from unitlens.stats.paired_accuracy import paired_accuracy
from unitlens.stats.scores import Floats


def reconstruction(
    net: Network,
    layer: str,
    data: Data | str | Path,
    *,
    basis: BasisLike,
    limit: int | None = None,
    batch_size: int = 32,
    workers: int = 0,
    seed: int = 0,
    progress: bool = False,
) -> Reconstruction:
    """Measure what directions or features hold of a layer's output: two passes over the images.

    Parameters
    ----------
    net : Network
    layer : str
    data : Data, str or Path
        Accuracy is measured where images have classes and the network returns scores of these.
    basis : matrix, (D, U), file of one, or Dictionary
        As for `unitlens.dissect`. Of directions, the reconstruction is what lies in their span.
    limit, batch_size, workers, seed, progress
        As for `unitlens.dissect`.

    Returns
    -------
    Reconstruction
        Its ``save`` adds it to a run, from which `unitlens.compare` takes it.

    Raises
    ------
    UnitlensError
        If there is no such layer, or the basis is of another number of units.

    Warns
    -----
    UnitlensWarning
        If images could not be read, and are left out.
    """
    data, coding = as_data(data), as_basis(basis)
    reading = Reading(batch_size=batch_size, workers=workers, limit=limit, seed=seed, progress=progress)
    batches = Batches(data, net.preprocessing, reading, task="reconstructing")
    sums, predicted = _Sums(), list[_Predicted]()
    with evaluating(net.model), warning_of_unread():
        for batch in batches:
            predicted.append(_reconstruct(net, layer, batch, coding, sums))
    accuracy = _accuracy(net, data, predicted)
    explained, half = sums.explained()
    return Reconstruction(
        layer=layer,
        basis=BasisRecord(**coding.describe()),
        network_sha256=net.fingerprint(),
        data_sha256=batches.record.sha256(data.concepts),
        images=len(batches.record.names),
        active=sums.active / max(1.0, float(sums.positions.sum())),
        explained=explained,
        explained_low=None if np.isnan(half) else explained - half,
        explained_high=None if np.isnan(half) else min(1.0, explained + half),
        **accuracy,
    )


@dataclass(frozen=True)
class _Predicted:
    """What the network predicts of a batch, before and with the reconstruction; None where it does not classify."""

    classes: Sequence[Any]
    folds: Sequence[int]
    outputs: int
    before: Tensor | None
    after: Tensor | None


def _reconstruct(net: Network, layer: str, batch: Batch, coding: Coding, sums: "_Sums") -> _Predicted:
    """Run the network twice, the second time with the reconstruction in place of the layer's output."""
    inputs = net.prepare(batch.images)
    with net.pass_errors(inputs), record(net.model, layer) as recording:
        outputs = net.model(inputs)
    (ref,) = find_layers(net.model, layer)
    space = find_space(net.model, ref, recording[layer], net.preprocessing.image_size, basis=coding)
    channels = recording[layer].movedim(space.axis, 1)
    active = space.read(recording[layer])
    reconstructed = coding.reconstruct(active)
    sums.add(channels, reconstructed, active, batch.folds)
    if not isinstance(outputs, Tensor) or outputs.ndim != 2 or outputs.shape[1] < 2:
        return _Predicted(batch.classes, batch.folds, 0, None, None)
    with edit(net.model, {layer: lambda activation: _in_place(space, activation, reconstructed)}):
        after = net.model(inputs)
    return _Predicted(batch.classes, batch.folds, outputs.shape[1], outputs.argmax(1).cpu(), after.argmax(1).cpu())


def _in_place(space: UnitSpace, activation: Tensor, reconstructed: Tensor) -> Tensor:
    return activation.clone().copy_(reconstructed.movedim(1, space.axis))


class _Sums:
    """Sums over positions by fold, in float64."""

    def __init__(self) -> None:
        self.error, self.square, self.positions = np.zeros(FOLDS), np.zeros(FOLDS), np.zeros(FOLDS)
        self.total: Floats | None = None
        self.active = 0.0

    def add(self, channels: Tensor, reconstructed: Tensor, units: Tensor, folds: Sequence[int]) -> None:
        x, error = (
            part.reshape(*part.shape[:2], -1)  # vectors have one position
            for part in (channels.double(), channels.double() - reconstructed.double())
        )
        if self.total is None:
            self.total = np.zeros((FOLDS, x.shape[1]))
        np.add.at(self.error, folds, error.square().sum((1, 2)).numpy(force=True))
        np.add.at(self.square, folds, x.square().sum((1, 2)).numpy(force=True))
        np.add.at(self.total, folds, x.sum(2).numpy(force=True))
        np.add.at(self.positions, folds, x.shape[2])
        self.active += float((units != 0).sum())

    def explained(self) -> tuple[float, float]:
        """Variance explained, and half of its 95 % interval."""
        assert self.total is not None  # else reading was an error
        filled = self.positions > 0
        parts = (self.error, self.square, self.total, self.positions)
        without = [part.sum(0) - part[filled] for part in parts]
        value = _share(*(part.sum(0, keepdims=True) for part in parts))
        return float(value[0]), float(jackknife_half_width(_share(*without))) if filled.sum() > 1 else float("nan")


def _share(error: Floats, square: Floats, total: Floats, positions: Floats) -> Floats:
    variance = square - (total**2).sum(-1) / np.maximum(positions, 1)
    return np.asarray(1 - error / np.maximum(variance, 1e-300))


def _accuracy(net: Network, data: Data, predicted: Sequence[_Predicted]) -> dict[str, float]:
    """Accuracy before and with the reconstruction, where the network classifies and images have classes."""
    classes = [class_ for one in predicted for class_ in one.classes]
    known = np.array([class_ is not None for class_ in classes])
    if not known.any() or predicted[0].before is None:
        return {}
    joined = join_classes(data, net.classes, predicted[0].outputs)
    truth = np.array([joined.output(class_) for class_ in classes if class_ is not None])
    before, after = (
        torch.cat([part for one in predicted if (part := getattr(one, name)) is not None]).numpy()[known] == truth
        for name in ("before", "after")
    )
    folds = np.array([fold for one in predicted for fold in one.folds], np.int64)[known]
    kind, grouped = np.zeros(len(truth), np.int64), described(data).grouped
    found = paired_accuracy(before, after[:, None], kind, 1, folds, grouped=grouped)
    numbers = {
        "accuracy": found.before[0],
        "accuracy_kept": found.after[0, 0],
        "accuracy_effect": found.effect[0, 0],
        "accuracy_effect_low": found.low[0, 0],
        "accuracy_effect_high": found.high[0, 0],
    }
    return {name: float(number) for name, number in numbers.items() if np.isfinite(number)}
