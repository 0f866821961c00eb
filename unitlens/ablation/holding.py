"""What units are held at during a measurement: a number, their means, what they are in other images, or scaled."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from unitlens.ablation.interventions import held_at, positions_of
from unitlens.data.batches import Batch, batches
from unitlens.data.columns import Columns
from unitlens.data.concepts import Concept, Data, Example
from unitlens.dissection.forward import Reading
from unitlens.errors import UnitlensError, did_you_mean
from unitlens.models import layouts
from unitlens.models.hooks import record
from unitlens.models.layers import find_layers
from unitlens.models.network import Network
from unitlens.models.passes import evaluating
from unitlens.stats.scores import Floats

Value = float | Tensor | Literal["mean", "resample"]

DONORS = 64
"""From so many images, drawn at random, resampled activations are taken."""

SEEN = 256
"""On so many images, drawn at random, it is seen how active units are, where sets are matched in that."""


@dataclass(frozen=True, eq=False)
class Holding:
    """What units are held at.

    Attributes
    ----------
    value : float, Tensor, "mean" or "resample"
        One number; ``(U,)``, a number for each unit of the layer, or ``(U, h, w)``, a map for each; each unit's mean
        over all positions of all images; or what the unit is in another image.
    scale : float, optional
        In place of a value: what units are multiplied by.
    where : Tensor of bool, (h, w), optional
        The positions; all, unless said otherwise.
    donors : Tensor, (D, U, ...), optional
        Activations of other images, for "resample".
    names : tuple of str
        Of those images.
    """

    value: Value = 0.0
    scale: float | None = None
    where: Tensor | None = None
    donors: Tensor | None = None
    names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "value", held_at(self.value, self.scale))
        object.__setattr__(self, "where", positions_of(self.where))
        if isinstance(self.value, str) and self.value not in ("mean", "resample"):
            raise UnitlensError(
                f"Units are held at a number, 'mean' or 'resample', not at {self.value!r}"
                f"{did_you_mean(self.value, ('mean', 'resample'))}."
            )
        numbers = [number for number in (self.value, self.scale) if isinstance(number, int | float | Tensor)]
        if not all(bool(torch.as_tensor(number).isfinite().all()) for number in numbers):
            raise UnitlensError("Units are held at a finite number, or multiplied by one; nan and inf are none.")
        if self.scale is not None and (isinstance(self.value, str | Tensor) or self.value != 0):
            raise UnitlensError("Units are held at a value or multiplied by a scale, not both.")

    def __str__(self) -> str:
        where = "" if self.where is None else f" at {int(self.where.sum())} of {self.where.numel()} positions"
        if self.scale is not None:
            return f"multiplied by {self.scale:g}{where}"
        named = {"mean": "their means", "resample": "what they are in other images"}
        value = self.value
        what = named[value] if isinstance(value, str) else "given values" if isinstance(value, Tensor) else f"{value:g}"
        return f"held at {what}{where}"

    def of(self, activation: Tensor, names: Sequence[str], hashes: Sequence[int]) -> float | Tensor:
        """Return what all units of a layer are held at, as `unitlens.ablation.replay.sweeps.sweep` takes it.

        Parameters
        ----------
        activation : Tensor, (N, U, ...)
            What the layer says.
        names, hashes : sequence, N
            Of the images; which other image stands for one follows from them alone.
        """
        if self.scale is None and self.where is None and not isinstance(self.value, str | Tensor):
            return float(self.value)
        held = activation * self.scale if self.scale is not None else self._values(activation, names, hashes)
        if self.where is None:
            return held
        grid = tuple(activation.shape[2:])
        if not grid or tuple(self.where.shape) != grid:
            has = f"a grid of {' x '.join(map(str, grid))}" if grid else "no grid"
            raise UnitlensError(f"where is {' x '.join(map(str, self.where.shape))}, but the layer has {has}.")
        return torch.where(self.where.to(activation.device), held, activation)

    def _values(self, activation: Tensor, names: Sequence[str], hashes: Sequence[int]) -> Tensor:
        if self.donors is not None:
            return self.donors.index_select(0, torch.tensor(list(map(self._donor, names, hashes)))).to(activation)
        given = torch.as_tensor(self.value).to(activation)
        value = given.reshape(-1, *[1] * (activation.ndim - 2)) if given.ndim == 1 else given
        try:
            return value.expand_as(activation).contiguous()
        except RuntimeError:
            raise UnitlensError(
                f"Units cannot be held at values of {tuple(given.shape)}: give one number, a number for each of the "
                f"{activation.shape[1]} units of the layer, or a map for each."
            ) from None

    def _donor(self, name: str, hash_: int) -> int:
        """Choose another image, by the image's hash."""
        place = hash_ // 32 % len(self.names)
        return (place + 1) % len(self.names) if self.names[place] == name else place


def hold(holding: Holding, net: Network, layer: str, data: Data, reading: Reading, *, seed: int) -> Holding:
    """Find what "mean" and "resample" need in the data: a pass over all images, or over 64 of them.

    Raises
    ------
    UnitlensError
        If there are fewer than two images to resample from.
    """
    if isinstance(holding.value, str) and holding.value == "mean":
        return replace(holding, value=unit_means(net, layer, data, reading))
    if not isinstance(holding.value, str):
        return holding
    found, names = [], []
    for batch, activation in activations(net, layer, _some(data, DONORS, reading, seed), reading):
        found.append(activation.cpu())
        names += batch.names
    if len(names) < 2:
        raise UnitlensError("Resampling takes activations from other images, of which there are none.")
    return replace(holding, donors=torch.cat(found), names=tuple(names))


def unit_means(net: Network, layer: str, data: Data, reading: Reading) -> Tensor:
    """Mean activation of each unit over all positions of all images, summed in float64: float64, (U,)."""
    total: Tensor | None = None
    count = 0
    for _, activation in activations(net, layer, data, reading):
        each = activation.double().reshape(*activation.shape[:2], -1)
        total = each.sum((0, 2)) if total is None else total + each.sum((0, 2))
        count += each.shape[0] * each.shape[2]
    if total is None:
        raise UnitlensError("None of the images could be read.")
    return total.cpu() / count


def unit_peaks(net: Network, layer: str, data: Data, reading: Reading, *, seed: int) -> Floats:
    """Mean over some images, drawn at random, of each unit's largest activation: float64, (U,)."""
    total, count = np.zeros(0), 0
    for batch, activation in activations(net, layer, _some(data, SEEN, reading, seed), reading):
        peaks = peaks_of(activation)
        total, count = peaks + (total if count else 0), count + len(batch.names)
    return total / max(count, 1)


def peaks_of(activation: Tensor) -> Floats:
    """Each unit's largest activation in each image, summed over images: float64, (U,)."""
    peaks = activation.double().reshape(*activation.shape[:2], -1).amax(2)
    return np.asarray(peaks.sum(0).cpu())


def activations(net: Network, layer: str, data: Data, reading: Reading) -> Iterator[tuple[Batch, Tensor]]:
    """What a layer says to all images, batch by batch, with the units along dimension 1."""
    for batch in read(net, data, reading):
        if batch.names:
            with evaluating(net.model), record(net.model, layer) as recording:
                net.model(net.prepare(batch.images))
            yield batch, recording[layer].movedim(unit_axis(net, layer, recording[layer]), 1)


def unit_axis(net: Network, layer: str, activation: Tensor) -> int:
    """Say along which dimension of a layer's output its units lie, by the rule of `unitlens.models.layouts`.

    Raises
    ------
    UnitlensError
        If they lie along none, or it is not clear along which.
    """
    return layouts.unit_axis(find_layers(net.model, layer)[0], activation, net.preprocessing.image_size)


def read(net: Network, data: Data, reading: Reading) -> Iterator[Batch]:
    """Images with their classes; what is marked in them comes on a grid of one cell, as it is not needed here."""
    return batches(
        data,
        Columns.of(data.concepts),
        net.preprocessing,
        grid=(1, 1),
        batch_size=reading.batch_size,
        workers=reading.workers,
        limit=reading.limit,
        strict=reading.strict,
    )


def _some(data: Data, count: int, reading: Reading, seed: int) -> "_Some":
    """Images drawn at random from those that are read."""
    total = len(data) if reading.limit is None else min(reading.limit, len(data))
    return _Some(data, np.sort(np.random.default_rng(seed).permutation(total)[:count]).tolist())


class _Some:
    """Some images of a data set."""

    def __init__(self, data: Data, indices: list[int]) -> None:
        self._data, self._indices = data, indices

    @property
    def concepts(self) -> Sequence[Concept]:
        return self._data.concepts

    def __len__(self) -> int:
        return len(self._indices)

    def __getitem__(self, index: int) -> Example:
        return self._data[self._indices[index]]
