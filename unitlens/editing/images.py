"""Draw an image with units removed or inserted."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from unitlens.ablation.activity import unit_space
from unitlens.ablation.interventions import Intervention, intervening
from unitlens.ablation.responses.areas import drawn_images
from unitlens.ablation.units import Chosen, chosen_units
from unitlens.editing.edited import Edited
from unitlens.editing.experiment import unit_positions
from unitlens.editing.networks import drawing_network
from unitlens.errors import UnitlensError
from unitlens.models.bases import BasisLike, Coding, as_basis
from unitlens.models.hooks import record
from unitlens.models.network import Network
from unitlens.models.passes import evaluating

Edits = Chosen | Mapping[str, Chosen]
"""Units of one layer, or units of several by the layers' names."""


def edit_image(
    net: Network,
    latent: Any,
    *,
    layer: str | None = None,
    remove: Edits | None = None,
    insert: Edits | None = None,
    where: Any = None,
    level: Any = None,
    like: Any = None,
    basis: BasisLike | None = None,
) -> Edited:
    """Draw images as they are, and with units removed or inserted.

    Parameters
    ----------
    net : Network
        One that draws images, see `unitlens.generator`.
    latent : array, Tensor or Data
        One latent, or several, (N, ...).
    layer : str, optional
        The layer of the units; the network's default one.
    remove : units, or mapping of str to units, optional
        Units that are set to 0; or those of several layers, ``{"block4": [3, 17]}``.
    insert : units, or mapping of str to units, optional
        Units that are set to ``level``.
    where : mask or positions, optional
        Where in the layer's grid: a position (row, column) or several of them; or a mask (h, w), or (N, h, w) for each
        image, of bool or of how far each position is replaced, from 0 to 1. Everywhere, unless given.
    level : float or array, optional
        What inserted units are set to: one number, or one for each unit of the layer, such as a dissection's
        thresholds, ``d.table()["threshold"]``.
    like : array or Tensor, optional
        In place of the level: a latent, whose image's activations the inserted units take (resampling), which is least
        out of distribution.
    basis : matrix, file of one, or Dictionary, optional
        Directions, or features, that are the units, as for `unitlens.ablate`.

    Returns
    -------
    Edited

    Raises
    ------
    UnitlensError
        If there is no such layer, unit or position, or units are to be inserted at no level.

    Examples
    --------
    >>> import unitlens as ul
    >>> model = torch.nn.Sequential(torch.nn.Linear(4, 12), torch.nn.Unflatten(1, (3, 2, 2)))
    >>> net = ul.generator(model, latents=4, rescale=(-1, 1))
    >>> edited = ul.edit_image(net, [0.1, 0.2, 0.3, 0.4], layer="1", remove=0)
    >>> edited.after[0, :, :, 0].tolist()
    [[128, 128], [128, 128]]
    """
    net = drawing_network(net)
    removed, inserted = _by_layer(net, layer, remove), _by_layer(net, layer, insert)
    latents = _latents(net, latent)
    layers = list(dict.fromkeys([*removed, *inserted]))
    coding = None if basis is None else as_basis(basis)
    with evaluating(net.model), record(net.model, layers) as recording:
        outputs = net.model(latents)
    if inserted and level is None and like is None:
        raise UnitlensError(
            "Nothing says what inserted units are set to: give level=, such as the thresholds of a dissection "
            "(level=d.table()['threshold']) or a number, or like=, a latent whose activations they take."
        )
    others = _recorded(net, _latents(net, like), inserted, coding) if inserted and like is not None else {}
    interventions = []
    for name in layers:
        space = unit_space(net, name, recording[name], coding)
        positions = unit_positions(where, space.read(recording[name]).shape[2:], name)
        count = space.count(recording[name])
        if name in removed:
            units = chosen_units(removed[name], name, count)
            interventions.append(Intervention(name, units, 0.0, where=positions))
        if name in inserted:
            units = chosen_units(inserted[name], name, count)
            value = others[name][0, space.places(units)] if others else _levels(level, units, count, name)
            interventions.append(Intervention(name, units, value, where=positions))
    with evaluating(net.model), intervening(net, *interventions, basis=coding):
        edited = net.model(latents)
    before, after = (drawn_images(net, latents, drawn).transpose(0, 2, 3, 1) for drawn in (outputs, edited))
    return Edited(before, after, _units(interventions, removed), _units(interventions[::-1], inserted))


def _by_layer(net: Network, layer: str | None, units: Edits | None) -> dict[str, Chosen]:
    if units is None or (not isinstance(units, Mapping) and np.size(units) == 0):
        return {}
    if isinstance(units, Mapping):
        return dict(units)
    if layer is None and net.default_layer is None:
        raise UnitlensError("No layer is named for the units: give layer=, or units by layer, such as {'4': [3, 17]}.")
    return {layer or str(net.default_layer): units}


def _latents(net: Network, given: Any) -> Tensor:
    """One latent or several as a batch, as the network takes them."""
    if hasattr(given, "concepts"):
        given = np.stack([given[index].image for index in range(len(given))])
    latents = torch.as_tensor(given, dtype=torch.float32)
    assert net.latents is not None
    return net.prepare(latents[None] if latents.ndim == len(net.latents.input_shape) else latents)


def _recorded(net: Network, latents: Tensor, layers: Mapping[str, Any], basis: Coding | None) -> dict[str, Tensor]:
    """Activations of the units of layers for other latents."""
    with evaluating(net.model), record(net.model, list(layers)) as recording:
        net.model(latents)
    return {name: unit_space(net, name, recording[name], basis).read(recording[name]) for name in layers}


def _levels(level: Any, units: Sequence[int], count: int, layer: str) -> Any:
    """What the units are set to, of one number or one for each unit of the layer."""
    levels = torch.as_tensor(np.asarray(level, np.float64))
    if levels.ndim == 0:
        return float(levels)
    if levels.shape != (count,):
        raise UnitlensError(
            f"level has {tuple(levels.shape)} numbers, and {layer} {count} units: give one number, or one for each."
        )
    return levels[list(units)].float()


def _units(interventions: Sequence[Intervention], layers: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    by_layer: dict[str, tuple[int, ...]] = {}
    for intervention in interventions:
        if intervention.layer in layers:
            by_layer.setdefault(intervention.layer, tuple(intervention.units))
    return by_layer
