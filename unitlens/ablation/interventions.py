"""Set units to other values, or scale them, while a network runs."""

import hashlib
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from numbers import Real
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from unitlens.errors import UnitlensError, argument, did_you_mean
from unitlens.models.bases import BasisLike, Coding, as_basis
from unitlens.models.hooks import edit
from unitlens.models.layers import check_units, display_name, display_shape, find_layers, uncompiled, whole_numbers
from unitlens.models.network import Network
from unitlens.models.units.space import CHANNELS, TOKENS, UnitSpace, checked_word, find_space

Where = Tensor | str | None
"""The positions that are changed: a tensor, a word of `unitlens.models.units.space.TOKENS`, or all."""

Value = float | Tensor | str
"""A number, a tensor, or a word for what is found in the data: "mean", "resample", or a quantile such as "q0.99"."""

FROM_DATA = {"mean": "set to their means", "resample": "set to their activations in other images"}
"""Values that are found in the data, and how they are described; there are also quantiles."""


def quantile_of(value: object) -> str | None:
    """The quantile that a value such as "q0.99" names, as a decimal; None where it names none.

    Examples
    --------
    >>> quantile_of("q0.99"), quantile_of("mean")
    ('0.99', None)
    """
    named = re.fullmatch(r"q(0?\.[0-9]+)", value) if isinstance(value, str) else None
    return named[1] if named and float(named[1]) > 0 else None


@dataclass(frozen=True, eq=False)
class Replacement:
    """What takes the place of the activations of some units: other values, or the activations times a scale.

    Attributes
    ----------
    value : float, Tensor, "mean", "resample" or a quantile
        One number; ``(U,)``, a number for each unit; ``(U, h, w)``, a map for each; or ``(N, U, h, w)``, activations
        for each image. Given as a number, tensor, array or list. "mean", each unit's mean over all positions of all
        images, "q0.99" and the like, the value that 1 % of these positions exceed, and "resample", its activations in
        another image, are found in the data by `unitlens.ablation.activity.find_values`.
    scale : float, optional
        In place of a value: the factor of the activations.
    where : Tensor, (h, w), (N, h, w) or (), or {"class", "patches"}, optional
        The positions that are replaced, the same ones in all images or those of each image: bool, or how far each is,
        from 0 (it stays as it is) to 1; one number: so far everywhere; of tokens (T,), or a word of
        `unitlens.models.units.space.TOKENS`, which `in_layer` looks up; None: all.

    Raises
    ------
    UnitlensError
        If ``value`` and ``scale`` are both given, are not finite numbers, or ``where`` is neither bool nor numbers from
        0 to 1.
    """

    value: Value = 0.0
    scale: float | None = None
    where: Where = None

    def __post_init__(self) -> None:
        value, scale = _value(self.value), _scale(self.scale)
        numbers = [number for number in (value, scale) if isinstance(number, int | float | Tensor)]
        if not all(bool(torch.as_tensor(number).isfinite().all()) for number in numbers):
            raise UnitlensError("Units are set to finite numbers, or multiplied by one; nan and inf are not finite.")
        if scale is not None and (isinstance(value, str | Tensor) or value != 0):
            both = f"{argument('value')} and {argument('scale')}"
            raise UnitlensError(f"{both} are both given: set units to a value or multiply them, not both.")
        object.__setattr__(self, "value", value)
        object.__setattr__(self, "scale", scale)
        object.__setattr__(self, "where", _positions(self.where))

    @property
    def where_sha256(self) -> str | None:
        """SHA-256 of the positions, by their shape and their values; None where all are replaced."""
        if self.where is None or isinstance(self.where, str):
            return None
        positions = np.ascontiguousarray(self.where.cpu().numpy())
        return hashlib.sha256(f"{positions.shape}\n".encode() + positions.tobytes()).hexdigest()

    def __str__(self) -> str:
        at = "" if self.where is None else _described_positions(self.where)
        if self.scale is not None:
            return f"multiplied by {self.scale:g}{at}"
        if isinstance(self.value, str):
            return FROM_DATA.get(self.value, f"set to their {self.value[1:]} quantiles") + at
        return f"set to {'given values' if isinstance(self.value, Tensor) else f'{self.value:g}'}{at}"

    def in_layer(self, space: UnitSpace, activation: Tensor, units: int) -> "Replacement":
        """Return the same for a layer, of which one output is given, and so many of its units.

        The positions of a word are looked up, and one number for each head becomes that of all of its numbers.
        """
        made, value = self, self.value
        if space.each > 1 and isinstance(value, Tensor) and value.shape == (units,):
            made = replace(made, value=value.repeat_interleave(space.each))
        if isinstance(self.where, str):
            made = replace(made, where=space.positions(self.where, activation))
        return made

    def of_units(self, units: Sequence[int], dimensions: int) -> "Replacement":
        """Return that of some of the units, for activations of so many dimensions."""
        if not isinstance(self.value, Tensor) or self.value.ndim == 0:
            return self
        axis = 1 if self.value.ndim == dimensions else 0
        return replace(self, value=self.value.index_select(axis, torch.tensor(units, device=self.value.device)))

    def values(self, activation: Tensor, *, layer: str = "the layer") -> Tensor:
        """Return what the activations of all these units become.

        Parameters
        ----------
        activation : Tensor, (N, U, h, w) or (N, U)
            Of the units of the replacement, and of no others.
        layer : str
            Its name, for errors.

        Returns
        -------
        Tensor
            Of the same shape and type.

        Raises
        ------
        UnitlensError
            If ``value`` or ``where`` does not have the shape of the activations.
        """
        after = activation * self.scale if self.scale is not None else self._everywhere(activation, layer)
        if self.where is not None:
            mask = self._mask(activation, layer)
            # where the mask is 0 or 1, both ways give the same to the bit
            soft = mask.is_floating_point()
            after = mask * after + (1 - mask) * activation if soft else torch.where(mask, after, activation)
        return after.to(activation.dtype)

    def _everywhere(self, activation: Tensor, layer: str) -> Tensor:
        """Bring the value to the shape of the activations."""
        assert not isinstance(self.value, str), "values that are found in the data are found before"
        if not isinstance(self.value, Tensor):
            return torch.full_like(activation, self.value)
        value = self.value.to(activation)
        if value.shape == activation.shape[1:2]:
            value = value.reshape(-1, *[1] * (activation.ndim - 2))
        elif value.shape not in (torch.Size(), activation.shape, activation.shape[1:]):
            count = activation.shape[1]
            raise UnitlensError(
                f"Units of {display_name(layer)} cannot be set to a value of shape {display_shape(value.shape)}: give "
                f"one number, {count} (one for each unit), or activations of {display_shape(activation.shape[1:])} or "
                f"{display_shape(activation.shape)}."
            )
        return value.expand_as(activation)

    def of_images(self, indices: Sequence[int], dimensions: int) -> "Replacement":
        """Return that of some of the images, for activations of so many dimensions."""
        if not isinstance(self.where, Tensor) or self.where.ndim < dimensions - 1:
            return self
        return replace(self, where=self.where[torch.tensor(indices, device=self.where.device)])

    def check_positions(self, images: int, grid: Sequence[int], *, layer: str = "the layer") -> None:
        """Make sure that the positions are those of so many images and of the layer's grid.

        Raises
        ------
        UnitlensError
            If ``where`` has another shape, or the layer has no grid.
        """
        if not isinstance(self.where, Tensor) or self.where.ndim == 0:
            return
        if grid and self.where.shape in (torch.Size(grid), torch.Size([images, *grid])):
            return
        given, name = display_shape(self.where.shape), display_name(layer)
        if not grid:
            raise UnitlensError(f"where is {given}, but {name} has no grid, so that there are no positions in it.")
        all_images, each_image = display_shape(grid), display_shape([images, *grid])
        raise UnitlensError(
            f"where is {given}, but {name} has a grid of {all_images}: give {all_images} positions, the same in all "
            f"images, or {each_image}, those of each of the {images} images."
        )

    def _mask(self, activation: Tensor, layer: str) -> Tensor:
        """Bring the positions to the shape of the activations."""
        assert isinstance(self.where, Tensor), "positions that a word names are looked up before"
        grid = activation.shape[2:]
        self.check_positions(len(activation), grid, layer=layer)
        where = self.where.to(activation) if self.where.is_floating_point() else self.where.to(activation.device)
        return (where.reshape(-1, 1, *grid) if where.ndim else where).expand_as(activation)


def replace_units(
    activation: Tensor,
    units: Sequence[int],
    replacement: Replacement,
    *,
    space: UnitSpace = CHANNELS,
    layer: str = "the layer",
    known: Tensor | None = None,
) -> Tensor:
    """Return a layer's output with some of its units replaced. Everything that changes units goes through here.

    Parameters
    ----------
    activation : Tensor, (N, U, h, w) or (N, U)
        What the layer returned; it stays as it is, and gradients flow from the result to it.
    units : sequence of int
        Some of the U.
    replacement : Replacement
        Of these units.
    space : UnitSpace
        Where the units are in it.
    layer : str
        Its name, for errors.
    known : Tensor, (N, F, ...), optional
        What is read of all directions or features there, where it was read before: it is not read again.

    Returns
    -------
    Tensor
        Of the same shape, and in the same order in memory: another one may round differently.

    Raises
    ------
    UnitlensError
        If a value or ``where`` does not have the shape of the layer's output.
    """
    before = space.read(activation, units) if known is None else known[:, list(units)]
    after = replacement.in_layer(space, activation, len(units)).values(before, layer=layer)
    return space.write(activation, units, before, after)


@dataclass(frozen=True, eq=False)
class Intervention:
    """Units of a layer, and what they are set to or multiplied by.

    Attributes
    ----------
    layer : str
        A layer's name, as `unitlens.models.layers` lists them.
    units : tuple of int
        Which units; given as one whole number, or any sequence, array or tensor of them.
    value : float or Tensor
        What they are set to: one number (0 by default, an ablation); ``(len(units),)``, a number for each, such as its
        mean over the data; ``(len(units), h, w)``, a map for each; or ``(N, len(units), ...)``, their activations in
        other images (resampling).
    scale : float, optional
        In place of a value: what they are multiplied by.
    where : Tensor, (h, w), (N, h, w) or (), or {"class", "patches"}, optional
        The positions where they are replaced, for all images or each of them: bool, or how far, from 0 to 1; one
        number: so far everywhere; of tokens also these words; None: all.

    Raises
    ------
    UnitlensError
        If no unit is given, one is given twice or is not a whole number from 0, or value, scale or where is not as
        above.

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
    where: Where = None
    replacement: Replacement = field(init=False, repr=False)

    def __post_init__(self) -> None:
        value: object = self.value
        if isinstance(value, str):
            raise UnitlensError(
                f"An intervention sets units to numbers, not to {value!r}: give their means, or their activations "
                "in other images, as a tensor (ul.ablate and ul.importance take 'mean' and 'resample' and find them)."
            )
        object.__setattr__(self, "units", _some_units(self.units, self.layer))
        replacement = Replacement(self.value, self.scale, self.where)
        object.__setattr__(self, "replacement", replacement)
        for name in ("value", "scale", "where"):
            object.__setattr__(self, name, getattr(replacement, name))

    def on(self, activation: Tensor, *, space: UnitSpace = CHANNELS) -> Tensor:
        """Return a layer's output with the intervention done.

        Parameters
        ----------
        activation : Tensor, (N, U, h, w) or (N, U)
            What the layer returned; it stays as it is, and gradients flow from the result to it.
        space : UnitSpace
            Where its units are.

        Returns
        -------
        Tensor
            Of the same shape.

        Raises
        ------
        UnitlensError
            If a unit is out of range, or a value or ``where`` does not have the shape of the layer's output.
        """
        check_units(self.layer, self.units, space.count(activation))
        return replace_units(activation, self.units, self.replacement, space=space, layer=self.layer)


@contextmanager
def intervening(
    network: Network | nn.Module, *interventions: Intervention, basis: BasisLike | None = None
) -> Iterator[None]:
    """Intervene in every pass of a network inside the ``with``; it is as before afterwards, whatever happens.

    Units lie along the dimension that `unitlens.models.layouts` finds from the size of the images, of a `Network` that
    draws images of these; where a model is given none (N, channels, height, width), along dimension 1.

    Parameters
    ----------
    network : Network or nn.Module
        The network, or the model itself.
    *interventions : Intervention
        In one layer or several; several in one layer are done one after the other.
    basis : matrix, (D, U), file of one, or Dictionary, optional
        Its rows are directions, and the units of the interventions these, as for `unitlens.importance`.

    Raises
    ------
    UnitlensError
        At once, if there is no such layer or basis; in a pass, if units, values or ``where`` do not fit what the layer
        returns, or the layer is not reached.

    Examples
    --------
    >>> model = nn.Sequential(nn.Flatten(), nn.Linear(4, 3))
    >>> with intervening(model, Intervention("1", [0, 2], value=5.0)):
    ...     model(torch.ones(1, 1, 2, 2))[0, [0, 2]].tolist()
    [5.0, 5.0]
    """
    model = network if isinstance(network, nn.Module) else network.model
    directions = None if basis is None else as_basis(basis)
    by_layer: dict[str, list[Intervention]] = {}
    for intervention in interventions:
        by_layer.setdefault(intervention.layer, []).append(intervention)
    sizes: list[tuple[int, int]] = []  # of the images of the pass
    drawing = isinstance(network, Network) and network.latents is not None
    if isinstance(network, Network) and drawing:
        sizes.append(network.preprocessing.image_size)

    def note_size(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        images = [given for given in (*args, *kwargs.values()) if isinstance(given, Tensor) and given.ndim == 4]
        if not drawing:
            sizes[:] = [(int(images[0].shape[2]), int(images[0].shape[3]))] if images else []

    edits = {layer: _in_turn(model, group, sizes, directions) for layer, group in by_layer.items()}
    with edit(model, edits), ExitStack() as stack:
        stack.callback(uncompiled(model).register_forward_pre_hook(note_size, with_kwargs=True).remove)
        yield


def _in_turn(
    model: nn.Module, interventions: list[Intervention], sizes: list[tuple[int, int]], basis: Coding | None
) -> Callable[[Tensor], Tensor]:
    layer = find_layers(model, interventions[0].layer)[0]

    def change(activation: Tensor) -> Tensor:
        # Heads are what a linear step reads, whatever the model is given: its numbers lie along the last dimension.
        axis = 1 if layer.heads is None else activation.ndim - 1
        each = 1 if layer.heads is None or basis is not None else activation.shape[axis] // layer.heads
        space = UnitSpace(axis, each, basis, layer=layer.given)
        if sizes:
            space = find_space(model, layer, activation, sizes[0], basis=basis)
        for intervention in interventions:
            activation = intervention.on(activation, space=space)
        return activation

    return change


def _value(value: object) -> Value:
    """Check what units are set to: a number, a word, or a tensor, also of what arrays and lists hold."""
    if isinstance(value, str) and (value in FROM_DATA or quantile_of(value)):
        return value
    if isinstance(value, Tensor | float | int):
        return value
    try:
        return torch.as_tensor(value)
    except (TypeError, ValueError, RuntimeError):
        near = did_you_mean(value, FROM_DATA) if isinstance(value, str) else ""
        raise UnitlensError(
            f"value is {value!r}{near}; units are set to a number, to a tensor, array or list of numbers, to 'mean', "
            "'resample', or a quantile such as 'q0.99'."
        ) from None


def _scale(scale: object) -> float | None:
    """Check what units are multiplied by."""
    if scale is not None and not isinstance(scale, Real):
        raise UnitlensError(f"scale is {scale!r}; it is the one number that units are multiplied by.")
    return None if scale is None else float(scale)


def _described_positions(where: Tensor | str) -> str:
    if isinstance(where, str):
        return f" {TOKENS[where]}"
    if where.ndim == 0:
        return f", {float(where):g} of the way"
    return f" at {float(where.sum()):g} of {where.numel()} positions"


def _positions(where: object) -> Where:
    """Check the positions at which units are replaced: bool, or from 0 to 1, as a tensor or an array; or a word."""
    if isinstance(where, str):
        return checked_word(where)
    each = "bool, yes or no for each position, or how far each is replaced, from 0 to 1"
    try:
        positions = None if where is None else torch.as_tensor(where)
    except (TypeError, ValueError, RuntimeError):
        raise UnitlensError(f"where is {where!r}; it is a tensor: {each}.") from None
    if positions is None or positions.dtype == torch.bool:
        return positions
    if not positions.is_floating_point():
        raise UnitlensError(f"where is of {positions.dtype}; it is {each}.")
    outside = positions[~((positions >= 0) & (positions <= 1))]
    if len(outside):
        raise UnitlensError(f"where holds {float(outside[0]):g}; it is {each}.")
    return positions


def _some_units(units: object, layer: str) -> tuple[int, ...]:
    numbers = whole_numbers(units)
    below = [unit for unit in numbers if unit < 0]
    if below:
        raise UnitlensError(f"Units are whole numbers from 0, not {below[0]!r}.")
    if not numbers:
        raise UnitlensError(f"No unit of {display_name(layer)} is given; give at least one.")
    twice = [unit for index, unit in enumerate(numbers) if unit in numbers[:index]]
    if twice:
        raise UnitlensError(f"Unit {twice[0]} of {display_name(layer)} is given twice; give each once.")
    return numbers
