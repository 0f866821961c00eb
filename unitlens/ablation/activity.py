"""How active units are in the images: their activations, means and peaks, and values to set them to."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import partial
from math import floor
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from unitlens.ablation.interventions import Replacement, quantile_of
from unitlens.data.batches import Batch, Batches
from unitlens.data.concepts import Data
from unitlens.data.reading import Reading, Subset, chosen_images
from unitlens.errors import UnitlensError
from unitlens.models.bases import Coding
from unitlens.models.fast.ending import EndingPasses
from unitlens.models.hooks import record
from unitlens.models.layers import find_layers
from unitlens.models.network import Network
from unitlens.models.outgoing import outgoing_weights
from unitlens.models.passes import evaluating
from unitlens.models.units.space import UnitSpace, find_space
from unitlens.stats.scores import Floats

DONORS = 64
"""From so many images, drawn at random, resampled activations are taken."""

MATCHED_ON = 256
"""On so many images, drawn at random, it is measured what sets are matched in."""


@dataclass(frozen=True, eq=False)
class Donors:
    """Activations to resample from.

    Attributes
    ----------
    activations : Tensor, (D, U, ...)
    groups : tuple of str, D
        Of the images; an image that belongs to no other is its own.
    """

    activations: Tensor
    groups: tuple[str, ...]

    def for_images(self, groups: Sequence[str], hashes: Sequence[int]) -> Tensor:
        """Return for each image the activations of another group's, which follows from its hash: (N, U, ...)."""
        return self.activations.index_select(0, torch.tensor(list(map(self._donor, groups, hashes))))

    def _donor(self, group: str, hash_: int) -> int:
        count = len(self.groups)
        position: int = hash_ // 32 % count
        while self.groups[position] == group:
            position = (position + 1) % count
        return position


@dataclass(frozen=True, eq=False)
class LayerValues:
    """What the units of one layer are replaced by, with all that is found in the data.

    Attributes
    ----------
    replacement : Replacement
        Of all units of the layer.
    donors : Donors, optional
        In place of its value.
    """

    replacement: Replacement
    donors: Donors | None = None

    def for_images(self, batch: Batch, chosen: Sequence[int], dimensions: int) -> Replacement:
        """Return the replacement in some images of a batch, for activations of so many dimensions."""
        replacement = self.replacement.of_images([batch.indices[i] for i in chosen], dimensions)
        if self.donors is None:
            return replacement
        groups, hashes = [batch.groups[i] for i in chosen], [batch.hashes[i] for i in chosen]
        return replace(replacement, value=self.donors.for_images(groups, hashes))

    def of_units(
        self, batch: Batch, chosen: Sequence[int], units: Sequence[int], *, space: UnitSpace, activation: Tensor
    ) -> Replacement:
        """Return that of some units in some images of a batch, of which the layer's output is given."""
        everywhere = self.for_images(batch, chosen, activation.ndim)
        of_layer = everywhere.in_layer(space, activation, space.count(activation))
        return of_layer.of_units(space.places(units), activation.ndim)


Keep = Callable[[Callable[[], Tensor]], Tensor]


def computed(compute: Callable[[], Tensor]) -> Tensor:
    """What a function computes, which is kept nowhere."""
    return compute()


def find_values(
    replacement: Replacement,
    net: Network,
    layer: str,
    data: Data,
    reading: Reading,
    *,
    seed: int,
    means: Mapping[str, Tensor],
    keep: Keep = computed,
    basis: Coding | None = None,
) -> LayerValues:
    """Find "mean", quantiles and "resample" in the data: with a pass over all images, or over 64 of them.

    Parameters
    ----------
    replacement : Replacement
        As it was asked for.
    net, layer, data, reading
        Of what.
    seed : int
        Of the images to resample from.
    means : mapping of str to Tensor, (U,)
        Of layers whose means are known, such as those of a run on the same images.
    keep : callable
        Called with what computes means and quantiles by a pass over all images, where these may be known.
    basis : Coding, optional
        Directions that are the units.

    Raises
    ------
    UnitlensError
        If there are fewer than two images to resample from.
    """
    if not isinstance(replacement.value, str):
        return LayerValues(replacement)

    if replacement.value == "mean":
        if layer in means:
            return LayerValues(replace(replacement, value=means[layer]))
        return LayerValues(
            replace(replacement, value=keep(partial(unit_means, net, layer, data, reading, basis=basis)))
        )
    quantile = quantile_of(replacement.value)
    if quantile is not None:
        quantiles = partial(unit_quantiles, net, layer, data, reading, quantile, basis=basis)
        return LayerValues(replace(replacement, value=keep(quantiles)))
    activations, groups = [], list[str]()
    for batch, activation in layer_activations(
        net, layer, _drawn(data, DONORS, reading, seed), replace(reading, limit=None), basis=basis
    ):
        activations.append(activation.cpu())
        groups += batch.groups
    if len(set(groups)) < 2:
        raise UnitlensError("Resampling takes activations from other images, of which there are none in another group.")
    return LayerValues(replacement, Donors(torch.cat(activations), tuple(groups)))


def unit_means(net: Network, layer: str, data: Data, reading: Reading, *, basis: Coding | None = None) -> Tensor:
    """Mean activation of each unit over all positions of all images, summed in float64: float64, (U,).

    Of a head, the mean of each of its numbers.
    """
    total: Tensor | None = None
    count = 0
    for _, activation in layer_activations(net, layer, data, reading, basis=basis):
        each = activation.double().reshape(*activation.shape[:2], -1)
        total = each.sum((0, 2)) if total is None else total + each.sum((0, 2))
        count += each.shape[0] * each.shape[2]
    assert total is not None  # else reading was an error
    return total.cpu() / count


def unit_quantiles(
    net: Network, layer: str, data: Data, reading: Reading, quantile: str, *, basis: Coding | None = None
) -> Tensor:
    """Find for each unit the value that a share 1 - quantile of all positions of all images exceeds: float32, (U,).

    By the definition of a dissection's threshold: with n positions, it is the k-th largest value, counted from 0, with
    k = floor((1 - quantile) n). Memory grows with k.
    """
    above, largest, positions = 1 - Decimal(quantile), torch.empty(0), 0
    images = len(chosen_images(data, reading.limit, seed=reading.seed))
    for batch, activation in layer_activations(net, layer, data, reading, basis=basis):
        values = activation.movedim(1, 0).flatten(1).float().cpu()
        positions += values.shape[1]
        # no more are needed than those above the quantile, if all images can be read
        most = floor(above * images * (values.shape[1] // len(batch.names))) + 1
        values = torch.cat([largest.reshape(len(values), -1), values], 1)
        largest = values.topk(min(most, values.shape[1]), 1).values
    return largest[:, floor(above * positions)]


class Contributions(NamedTuple):
    """What each unit hands on, (U,): its mean absolute activation, times its outgoing weight where that is known."""

    values: Floats
    weighted: bool


def unit_contributions(
    net: Network, layer: str, data: Data, reading: Reading, *, seed: int, basis: Coding | None = None
) -> Contributions:
    """Measure on some images, drawn at random, how much each unit hands on to the next layers."""
    total, count = np.zeros(0), 0
    for batch, activation in layer_activations(
        net, layer, _drawn(data, MATCHED_ON, reading, seed), replace(reading, limit=None), basis=basis
    ):
        means = activation.double().abs().reshape(*activation.shape[:2], -1).mean(2).sum(0).cpu().numpy()
        total, count = means + (total if count else 0), count + len(batch.names)
    mean, heads = total / max(count, 1), find_layers(net.model, layer)[0].heads
    if basis is None and heads is not None:
        return Contributions(np.linalg.norm(mean.reshape(heads, -1), axis=1), weighted=False)
    weights = outgoing_weights(net, layer) if basis is None else None
    if weights is None or len(weights) != len(mean):
        return Contributions(mean, weighted=False)
    return Contributions(mean * weights, weighted=True)


def unit_peaks(activation: Tensor) -> Floats:
    """Each unit's largest activation in each image: float64, (N, U)."""
    return np.asarray(activation.reshape(*activation.shape[:2], -1).amax(2).double().cpu())


def layer_activations(
    net: Network, layer: str, data: Data, reading: Reading, *, basis: Coding | None = None
) -> Iterator[tuple[Batch, Tensor]]:
    """Run the network on all images, and give the activations of a layer's units batch by batch, (N, U, ...)."""
    run = EndingPasses(net.model, [layer])
    for batch in Batches(data, net.preprocessing, reading, task="recording"):
        with evaluating(net.model):
            recording, _ = run(net.prepare(batch.images))
        yield batch, unit_space(net, layer, recording[layer], basis).read(recording[layer])


def unit_space(net: Network, layer: str, activation: Tensor, basis: Coding | None = None) -> UnitSpace:
    """Find where the units of a layer are in its output, as `unitlens.models.units.space.find_space` does."""
    (ref,) = find_layers(net.model, layer)
    return find_space(net.model, ref, activation, net.preprocessing.image_size, basis=basis)


def unit_count(net: Network, layer: str, basis: Coding | None = None) -> int:
    """Return how many units a layer has; the network is run on one example for it."""
    image = net.example_inputs()
    with evaluating(net.model), record(net.model, layer) as recording:
        net.model(image)
    return unit_space(net, layer, recording[layer], basis).count(recording[layer])


def _drawn(data: Data, count: int, reading: Reading, seed: int) -> Subset:
    """Images drawn at random from those that are read."""
    indices = chosen_images(data, reading.limit, seed=reading.seed)
    drawn = np.sort(np.random.default_rng(seed).permutation(len(indices))[:count])
    return Subset(data, [indices[index] for index in drawn])
