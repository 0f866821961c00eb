"""A network without some of its units, as a module of its own: to be saved, exported and used."""

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from unitlens.ablation.activity import unit_means, unit_space
from unitlens.ablation.interventions import Intervention, Replacement, intervening
from unitlens.ablation.units import Chosen, chosen_units, units_by_layer
from unitlens.data.concepts import Data
from unitlens.data.inmemory.dataset import as_data
from unitlens.data.reading import Reading
from unitlens.errors import UnitlensError
from unitlens.models.hooks import record
from unitlens.models.layers import Way, display_name, display_shape, find_layers, one_tensor, tensors_in, uncompiled
from unitlens.models.loading import classifier
from unitlens.models.network import Network
from unitlens.models.passes import evaluating
from unitlens.models.switching import switch_inputs, switch_weights, wrapped
from unitlens.models.units.space import UnitSpace


def without(
    net: Network | nn.Module,
    layer: str | Mapping[str, Chosen],
    units: Chosen | None = None,
    *,
    value: float | Tensor | str = 0.0,
    data: Data | str | Path | None = None,
    limit: int | None = None,
    batch_size: int = 32,
) -> nn.Module:
    """Return a copy of a network's module in which units are switched off for good.

    It does what the network does with these units ablated (`unitlens.Intervention`), without hooks: it can be saved,
    exported and used in place of the network, which stays as it is. Where the layer is linear, a convolution, a batch
    norm or a layer norm, the units' weights are set to 0, and the module's weights are as many as before and load into
    the same architecture; of heads of attention it is what their projection reads of them. Else (of a ReLU, say, or of
    weights that another layer shares) a module that holds the units at their values is put around the layer, and
    ``layer.weight`` becomes ``layer.layer.weight`` in its ``state_dict``.

    Parameters
    ----------
    net : Network or torch.nn.Module
    layer : str or mapping of str to units
        Its name; or the units of several layers, ``{"layer3": [1, 2], "layer4": [5]}``.
    units : int, sequence or Tensor of int
        Which.
    value : float, Tensor or "mean"
        What they are set to: a number; a number for each unit of the layer, (U,); or each unit's mean over ``data``.
    data : Data, str or Path, optional
        For "mean": the images. A string is what ``--data`` takes.
    limit, batch_size : int, optional
        For "mean": only so many images; images at a time.

    Returns
    -------
    torch.nn.Module
        In the modes that the network's modules are in. Training it further changes weights that were set to 0.

    Raises
    ------
    UnitlensError
        If there is no such layer or unit, the layer is called several times in a pass, or is never reached.

    Examples
    --------
    >>> import torch
    >>> import unitlens as ul
    >>> net = ul.load("bundled:scenes")
    >>> module = ul.without(net, "conv6", [108, 37])
    >>> int(module.conv6.weight[[108, 37]].count_nonzero())
    0
    """
    net = net if isinstance(net, Network) else classifier(net)
    chosen = units_by_layer(layer, units)
    found = {name: _Found.of(net, name) for name in chosen}
    reading = Reading(batch_size=batch_size, limit=limit)
    interventions = []
    for name, given in chosen.items():
        ablated = chosen_units(given, name, found[name].units)
        values = _values(value, net, name, found[name], data, reading)[found[name].space.places(ablated)]
        interventions.append(Intervention(name, ablated, values.to(net.device)))
    for in_weights in (True, False):
        model = _switched(_copied(net), interventions, found, in_weights=in_weights)
        if _same(net, model, interventions):
            return model
    names = ", ".join(map(display_name, chosen))
    raise UnitlensError(
        f"Units of {names} cannot be switched off for good, as {net.name} calls the layer where it cannot be replaced: "
        "ablate them with ul.intervening or ul.ablate."
    )


class _Found(NamedTuple):
    """Where the units of a layer are: how many, where in which tensor that it returns."""

    units: int
    space: UnitSpace
    way: Way

    @classmethod
    def of(cls, net: Network, layer: str) -> "_Found":
        """Find them with one pass of an example."""
        (ref,), image, calls = find_layers(net.model, layer), net.example_inputs(), list[Way]()

        def see(module: nn.Module, args: object, output: object) -> None:
            calls.append(one_tensor(ref, output)[0])

        handle = ref.module.register_forward_hook(see)
        try:
            with evaluating(net.model), record(net.model, layer) as recording:
                net.model(image)
        finally:
            handle.remove()
        activation = recording[layer]
        if len(calls) > 1:
            raise UnitlensError(
                f"{display_name(layer)} is one call of {len(calls)} of a layer, and for good its units can be switched "
                "off in all of them only: ablate them in that call with ul.intervening or ul.ablate."
            )
        space = unit_space(net, layer, activation)
        return cls(space.count(activation), space, calls[0])


def _copied(net: Network) -> nn.Module:
    model = uncompiled(net.model)
    try:
        return copy.deepcopy(model)
    except (RuntimeError, TypeError) as error:
        raise UnitlensError(
            f"{net.name} cannot be copied ({type(error).__name__}: {error}); build it anew, and switch units off there."
        ) from error


def _values(
    value: float | Tensor | str,
    net: Network,
    layer: str,
    found: _Found,
    data: Data | str | Path | None,
    reading: Reading,
) -> Tensor:
    """What each unit of a layer is set to, (U,); of heads each of their numbers."""
    count = found.units
    if isinstance(value, str) and value == "mean":
        if data is None:
            raise UnitlensError("value is 'mean', the units' mean over images, and there are none: give them as data=.")
        return unit_means(net, layer, as_data(data), reading).float()
    if isinstance(value, str):
        raise UnitlensError(f"value is {value!r}; units are switched to a number, one for each, or to 'mean'.")
    given = Replacement(value).value
    values = torch.as_tensor(given, dtype=torch.float32)
    if values.shape not in (torch.Size(), torch.Size([count])):
        raise UnitlensError(
            f"value is {display_shape(values.shape)}, but {display_name(layer)} has {count} units: give one number, or "
            f"{count}."
        )
    return values.expand(count).repeat_interleave(found.space.each)


def _switched(
    model: nn.Module, interventions: Sequence[Intervention], found: Mapping[str, _Found], *, in_weights: bool
) -> nn.Module:
    """The model with the units switched off: in its weights where they may be and can, else in modules around layers.

    Weights come first: a module that is put around a layer hides the layers in it from their names.
    """
    left = []
    for each in interventions:
        (ref,), at, values = find_layers(model, each.layer), found[each.layer], torch.as_tensor(each.value)
        if ref.heads is not None:
            if not switch_inputs(model, ref.module, at.space.places(each.units), values):
                raise UnitlensError(
                    f"Heads of {each.layer.removesuffix(':heads')} cannot be switched off for good, as its projection "
                    "shares its weights or has no bias: ablate them with ul.intervening or ul.ablate."
                )
            continue
        done = in_weights and not at.way and switch_weights(model, ref.module, each.units, values, axis=at.space.axis)
        if not done:
            left.append((ref.module, each.units, values, at))
    for module, units, values, at in left:
        model = wrapped(model, module, units, values, axis=at.space.axis, way=at.way)
    return model


def _same(net: Network, model: nn.Module, interventions: Sequence[Intervention]) -> bool:
    """Whether the model does with an example what the network does under the interventions."""
    image = net.example_inputs()
    with evaluating(net.model), intervening(net, *interventions):
        wanted = [tensor.clone() for _, tensor in tensors_in(net.model(image))]
    with evaluating(model):
        made = [tensor for _, tensor in tensors_in(model(image))]
    return len(made) == len(wanted) and all(
        one.shape == other.shape and torch.allclose(one.float(), other.float(), rtol=1e-4, atol=1e-5, equal_nan=True)
        for one, other in zip(made, wanted, strict=True)
    )
