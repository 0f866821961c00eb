"""Hold or scale units while a network runs: what is done (`Intervention`), and doing it (`intervening`)."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

import torch
from torch import Tensor, nn

from unitlens.errors import UnitlensError
from unitlens.models.hooks import edit
from unitlens.models.layers import find_layers, shown, shown_shape, uncompiled
from unitlens.models.layouts import unit_axis
from unitlens.models.network import Network


@dataclass(frozen=True, eq=False)
class Intervention:
    """Units of a layer, and what they are held at or scaled by.

    Attributes
    ----------
    layer : str
        A layer's name, as `unitlens.models.layers` tells.
    units : tuple of int
        Which units; given as any sequence, array or tensor of whole numbers, or one alone.
    value : float or Tensor
        What they are held at: one number (0 by default, an ablation); ``(len(units),)``, a number for each, such as its
        mean over the data; ``(len(units), h, w)``, a map for each; or ``(N, len(units), ...)``, what they are in other
        images (resampling).
    scale : float, optional
        In place of a value: what they are multiplied by.
    where : Tensor of bool, (h, w) or (N, h, w), optional
        The positions where they are held or scaled; everywhere, unless said otherwise.

    Raises
    ------
    UnitlensError
        If no unit is given, one is given twice or is no whole number from 0, ``value`` and ``scale`` are both given or
        are no numbers, or ``where`` is not bool.

    Examples
    --------
    >>> intervention = Intervention("0", [1])
    >>> intervention.on(torch.ones(1, 3, 1, 2)).tolist()
    [[[[1.0, 1.0]], [[0.0, 0.0]], [[1.0, 1.0]]]]
    """

    layer: str
    units: Sequence[int]
    value: float | Tensor = 0.0
    scale: float | None = None
    where: Tensor | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "units", _whole_numbers(self.units, self.layer))
        value = held_at(self.value, self.scale)
        object.__setattr__(self, "value", value)
        object.__setattr__(self, "where", positions_of(self.where))
        if isinstance(value, str):
            raise UnitlensError(
                f"An intervention holds units at numbers, not at {value!r}: give their means or what they are in "
                "other images as a tensor (ul.ablate and ul.importance take 'mean' and 'resample' and find them)."
            )
        if self.scale is not None and (isinstance(self.value, Tensor) or self.value != 0.0):
            raise UnitlensError(
                "An intervention has a value to hold units at or a scale to multiply them by, not both."
            )

    def on(self, activation: Tensor, *, axis: int = 1) -> Tensor:
        """Return a layer's output with the intervention done.

        Parameters
        ----------
        activation : Tensor, (N, U, h, w) or (N, U)
            What the layer returned; it stays as it is, and gradients flow from the result to it.
        axis : int
            The dimension along which its units lie.

        Returns
        -------
        Tensor
            Of the same shape.

        Raises
        ------
        UnitlensError
            If a unit is out of range, or a value or ``where`` does not have the shape of the layer's output.
        """
        if axis != 1:
            return self.on(activation.movedim(axis, 1)).movedim(1, axis).contiguous()
        count = activation.shape[1] if activation.ndim > 1 else 0
        outside = [unit for unit in self.units if unit >= count]
        if outside:
            raise UnitlensError(
                f"{shown(self.layer)} has {count} units, 0 to {count - 1}; unit {outside[0]} is not among them."
            )
        units = torch.tensor(self.units, device=activation.device)
        before = activation.index_select(1, units)
        after = before * self.scale if self.scale is not None else self._values(before)
        if self.where is not None:
            after = torch.where(self._positions(before), after, before)
        return activation.index_copy(1, units, after.to(activation.dtype))

    def _values(self, before: Tensor) -> Tensor:
        """Bring the value to the shape of what is replaced, (N, units, ...)."""
        if not isinstance(self.value, Tensor):
            return torch.full_like(before, self.value)
        value = self.value.to(before)
        if value.shape == before.shape[1:2]:
            value = value.reshape(-1, *[1] * (before.ndim - 2))
        elif value.shape not in (torch.Size(), before.shape, before.shape[1:]):
            count = len(self.units)
            raise UnitlensError(
                f"Units of {shown(self.layer)} cannot be held at a value of {shown_shape(value.shape)}: give one "
                f"number, {count} (one for each unit), or activations of {shown_shape(before.shape)}."
            )
        return value.expand_as(before)

    def _positions(self, before: Tensor) -> Tensor:
        """Bring ``where`` to the shape of what is replaced, (N, units, h, w)."""
        assert self.where is not None
        grid = before.shape[2:]
        if not grid or self.where.shape not in (grid, before.shape[:1] + grid):
            has = f"a grid of {shown_shape(grid)}" if grid else "no grid, so that there is no where in it"
            raise UnitlensError(f"where is {shown_shape(self.where.shape)}, but {shown(self.layer)} has {has}.")
        return self.where.to(before.device).reshape(-1, 1, *grid).expand_as(before)


@contextmanager
def intervening(network: Network | nn.Module, *interventions: Intervention) -> Iterator[None]:
    """Intervene in every pass of a network inside the ``with``; it is as before afterwards, whatever happens.

    Units lie along the dimension that `unitlens.models.layouts` tells from the size of the images; where the network
    is given none (N, channels, height, width), along dimension 1.

    Parameters
    ----------
    network : Network or nn.Module
        The network, or the model itself.
    *interventions : Intervention
        In one layer or several; several in one layer are done one after the other.

    Raises
    ------
    UnitlensError
        At once, if there is no such layer; in a pass, if units, values or ``where`` do not fit what the layer returns,
        or the layer is not reached.

    Examples
    --------
    >>> model = nn.Sequential(nn.Flatten(), nn.Linear(4, 3))
    >>> with intervening(model, Intervention("1", [0, 2], value=5.0)):
    ...     model(torch.ones(1, 1, 2, 2))[0, [0, 2]].tolist()
    [5.0, 5.0]
    """
    model = network if isinstance(network, nn.Module) else network.model
    by_layer: dict[str, list[Intervention]] = {}
    for intervention in interventions:
        by_layer.setdefault(intervention.layer, []).append(intervention)
    sizes: list[tuple[int, int]] = []  # of the images of the pass

    def see(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        tensors = [given for given in (*args, *kwargs.values()) if isinstance(given, Tensor) and given.ndim == 4]
        sizes[:] = [(int(tensors[0].shape[2]), int(tensors[0].shape[3]))] if tensors else []

    edits = {layer: _in_turn(model, group, sizes) for layer, group in by_layer.items()}
    with edit(model, edits), ExitStack() as stack:
        stack.callback(uncompiled(model).register_forward_pre_hook(see, with_kwargs=True).remove)
        yield


def _in_turn(
    model: nn.Module, interventions: list[Intervention], sizes: list[tuple[int, int]]
) -> Callable[[Tensor], Tensor]:
    place = find_layers(model, interventions[0].layer)[0]

    def change(activation: Tensor) -> Tensor:
        axis = unit_axis(place, activation, sizes[0]) if sizes else 1
        for intervention in interventions:
            activation = intervention.on(activation, axis=axis)
        return activation

    return change


def held_at(value: object, scale: object) -> object:
    """Check what units are held at or multiplied by: a number, a word, or a tensor, also of what arrays and lists hold.

    Raises
    ------
    UnitlensError
        If it is none of these, or the scale is no number.
    """
    if scale is not None and not isinstance(scale, Real):
        raise UnitlensError(f"Units are multiplied by one number, not by {scale!r}.")
    if isinstance(value, str | Tensor | float | int):
        return value
    try:
        return torch.as_tensor(value)
    except (TypeError, ValueError, RuntimeError):
        raise UnitlensError(
            f"Units are held at a number, or at a tensor, array or list of numbers, not at {value!r}."
        ) from None


def positions_of(where: object) -> Tensor | None:
    """Check the positions at which units are held: bool, as a tensor or an array.

    Raises
    ------
    UnitlensError
        If they are something else.
    """
    try:
        found = None if where is None else torch.as_tensor(where)
    except (TypeError, ValueError, RuntimeError):
        raise UnitlensError(f"where says for each position yes or no, as a tensor of bool, not {where!r}.") from None
    if found is not None and found.dtype != torch.bool:
        raise UnitlensError(f"where says for each position yes or no, so it is bool, not {found.dtype}.")
    return found


def _whole_numbers(units: object, layer: str) -> tuple[int, ...]:
    numbers = whole_numbers(units)
    below = [unit for unit in numbers if unit < 0]
    if below:
        raise UnitlensError(f"Units are whole numbers from 0, not {below[0]!r}.")
    if not numbers:
        raise UnitlensError(f"No unit of {shown(layer)} is given; give at least one.")
    twice = [unit for index, unit in enumerate(numbers) if unit in numbers[:index]]
    if twice:
        raise UnitlensError(f"Unit {twice[0]} of {shown(layer)} is given twice; give each once.")
    return numbers


def whole_numbers(units: object) -> tuple[int, ...]:
    """Take units as they are given: one, or any collection, array or tensor of them.

    Raises
    ------
    UnitlensError
        If one is no whole number.
    """
    given = units.tolist() if hasattr(units, "tolist") else units
    numbers = tuple(given) if isinstance(given, Iterable) and not isinstance(given, str) else (given,)
    wrong = [unit for unit in numbers if isinstance(unit, bool) or not isinstance(unit, Integral)]
    if wrong:
        raise UnitlensError(f"Units are whole numbers from 0, not {wrong[0]!r}.")
    return tuple(map(int, numbers))
