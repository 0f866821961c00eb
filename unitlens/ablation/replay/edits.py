"""Edits of units by hand: which units, to what, how far and where; and what a network returns with them."""

import base64
import binascii
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from unitlens.ablation.interventions import Intervention
from unitlens.ablation.replay.cut import Change, Cut, State
from unitlens.ablation.replay.nests import Output
from unitlens.errors import UnitlensError
from unitlens.models.layers import check_units
from unitlens.models.units.space import UnitSpace
from unitlens.records import check_range, check_types

MOST_POSITIONS = 1 << 16
"""Of a layer's grid: edits are also read from files and requests, which may say anything."""

MOST_UNITS = 1 << 12


@dataclass(frozen=True)
class UnitEdit:
    """Units of a layer, what they are set to, how far, and where. Plain numbers, so that JSON holds all of it.

    Attributes
    ----------
    layer : str
        The layer's name.
    units : tuple of int
    values : tuple of float
        What each of the units is set to.
    strength : float
        How far they are, from 0 (they stay as they are) to 1.
    grid : (int, int) or None
        Rows and columns of the layer; None: the units are set everywhere.
    mask : str
        The positions of the grid, row by row, eight to a byte with the first one highest, in base64; empty without a
        grid.

    Raises
    ------
    UnitlensError
        If numbers are out of range, or the mask has not the size of the grid.

    Examples
    --------
    >>> edit = UnitEdit.at("block4", [3, 17], [0.0, 0.0], np.array([[True, False], [False, False]]))
    >>> edit.mask, edit.positions.tolist()
    ('gA==', [[True, False], [False, False]])
    """

    layer: str
    units: tuple[int, ...]
    values: tuple[float, ...]
    strength: float
    grid: tuple[int, int] | None
    mask: str

    def __post_init__(self) -> None:
        check_types(self)
        check_range("strength", self.strength, 0, 1)
        if not 0 < len(self.units) <= MOST_UNITS or len(set(self.units)) < len(self.units) or min(self.units) < 0:
            raise UnitlensError("An edit names its units, numbers from 0, each once.")
        if len(self.values) != len(self.units):
            raise UnitlensError(
                f"An edit of {len(self.units)} units sets them to {len(self.values)} values: give one for each."
            )
        if self.grid is not None and (min(self.grid) < 1 or math.prod(self.grid) > MOST_POSITIONS):
            raise UnitlensError(f"An edit's grid is {self.grid}; it is the rows and columns of the layer.")
        self._bits()

    @classmethod
    def at(
        cls,
        layer: str,
        units: Sequence[int],
        values: Sequence[float],
        positions: npt.NDArray[np.bool_] | None = None,
        *,
        strength: float = 1.0,
    ) -> "UnitEdit":
        """Make one from positions, bool (h, w); None: everywhere."""
        packed = b"" if positions is None else np.packbits(positions).tobytes()
        grid = None if positions is None else tuple(positions.shape)
        return cls(layer, tuple(units), tuple(values), strength, grid, base64.b64encode(packed).decode())

    @property
    def positions(self) -> npt.NDArray[np.bool_] | None:
        """Where units are set, bool (h, w); None: everywhere."""
        if self.grid is None:
            return None
        return np.unpackbits(self._bits(), count=math.prod(self.grid)).astype(bool).reshape(self.grid)

    def _bits(self) -> npt.NDArray[np.uint8]:
        try:
            packed = base64.b64decode(self.mask, validate=True)
        except (binascii.Error, ValueError):
            raise UnitlensError("An edit's mask is not base64.") from None
        expected = 0 if self.grid is None else -(-math.prod(self.grid) // 8)
        if len(packed) != expected:
            raise UnitlensError(
                f"An edit's mask has {len(packed)} bytes; for its grid they are {expected}, a bit for each position."
            )
        return np.frombuffer(packed, np.uint8)

    def check(self, layer: str, units: int, grid: Sequence[int]) -> None:
        """Make sure that the layer has these units, and this grid.

        Raises
        ------
        UnitlensError
            If it has not.
        """
        check_units(layer, self.units, units)
        if self.grid is not None and tuple(self.grid) != tuple(grid):
            has = f"a grid of {grid[0]} x {grid[1]}" if len(grid) == 2 else "no grid"
            raise UnitlensError(f"An edit is of a grid of {self.grid[0]} x {self.grid[1]}, and {layer} has {has}.")

    def intervention(self) -> Intervention:
        """The same as an intervention, for `unitlens.intervening`."""
        positions = self.positions
        where = None if positions is None else torch.from_numpy(positions)
        if self.strength < 1:
            where = torch.tensor(self.strength) if where is None else where * self.strength
        return Intervention(self.layer, self.units, torch.tensor(self.values), where=where)


def output_with(cut: Cut, state: State, edits: Sequence[UnitEdit], spaces: Mapping[str, UnitSpace]) -> Output:
    """What the network returns for images that went through its front, with units edited, one edit after the other.

    Parameters
    ----------
    cut : Cut
        The network, cut at the layers of the edits.
    state : State
        Of N images, from `Cut.front`; it is not changed.
    edits : sequence of UnitEdit
    spaces : mapping of str to UnitSpace
        Where the units of each layer are in its output.

    Returns
    -------
    Tensor, (N, ...), nest of these, or ByImage
    """
    if not edits:
        return state.output
    changes: dict[str, Callable[[Tensor], Tensor]] = {
        layer: partial(_edited, [edit.intervention() for edit in edits if edit.layer == layer], spaces[layer])
        for layer in dict.fromkeys(edit.layer for edit in edits)
    }
    first = changes.pop(cut.layer, None)
    activation = state.activation if first is None else first(state.activation)
    later: dict[str, Change] = {layer: partial(_in_rows, change) for layer, change in changes.items()}
    return cut.back(state, activation, later)


def _edited(interventions: Sequence[Intervention], space: UnitSpace, activation: Tensor) -> Tensor:
    for intervention in interventions:
        activation = intervention.on(activation, space=space)
    return activation


def _in_rows(change: Callable[[Tensor], Tensor], activation: Tensor, rows: range) -> Tensor:
    return change(activation)
