"""From maps on a layer's grid to masks on the label grid, without forming the upsampled maps in between.

Every product and sum here is a single elementwise operation, so that a value has the same bits whatever else is in its
batch and whatever device computes it: counts of any split of the images then merge to the same bits.
"""

from dataclasses import dataclass
from typing import Literal, NamedTuple, Self

import numpy as np
import torch
from torch import Tensor

Upsampling = Literal["edges", "zeros"]


class Axis(NamedTuple):
    """Where the cells of one side of the label grid lie between the cells of the layer grid.

    Attributes
    ----------
    low, high : int64 tensor, (cells,)
        Indices of the two neighbours on the layer grid.
    weight : float32 tensor, (cells,)
        How far the cell lies from ``low`` to ``high``, in [0, 1).
    """

    low: Tensor
    high: Tensor
    weight: Tensor

    @classmethod
    def between(cls, size: int, cells: int, *, upsampling: Upsampling = "edges") -> Self:
        """Place ``cells`` half-pixel centres along ``size`` layer cells, in exact integer arithmetic.

        With "zeros" the layer's map is expected with a cell of zeros around it (see `SamplePlan.padded`).
        """
        # The centre of cell i lies at (i + 1/2) * size / cells - 1/2 on the layer grid, one further with padding: a
        # fraction with the denominator 2 * cells. Beyond the first and the last centre the edge is repeated.
        padding = 1 if upsampling == "zeros" else 0
        last = size - 1 + 2 * padding
        numerator = (2 * torch.arange(cells) + 1) * size - cells + 2 * cells * padding
        numerator = numerator.clamp(0, 2 * cells * last)
        low = numerator // (2 * cells)
        weight = (numerator % (2 * cells)).double() / (2 * cells)
        return cls(low, (low + 1).clamp(max=last), weight.float())

    def to(self, device: torch.device) -> "Axis":
        """The same on a device."""
        low, high, weight = (part.to(device, non_blocking=True) for part in self)
        return Axis(low, high, weight)


class Active(NamedTuple):
    """Positions at which units are strictly above their levels, in no particular order.

    Attributes
    ----------
    unit, image, position : int64 or int32 tensor, (active positions,)
        Index into the block's units, into its images, and row * W + column on the label grid.
    value : float32 tensor, (active positions,)
        The activation there.
    """

    unit: Tensor
    image: Tensor
    position: Tensor
    value: Tensor


@dataclass(frozen=True)
class SamplePlan:
    """How maps of one layer are brought to the label grid: bilinear, half-pixel centres, edges repeated.

    Attributes
    ----------
    layer_grid : tuple of int
        (h, w) of the maps.
    grid : tuple of int
        (H, W) of the label grid.
    upsampling : {"edges", "zeros"}
        What lies outside of the map: its edge repeated, or zeros (the code of the PNAS 2020 paper).
    """

    layer_grid: tuple[int, int]
    grid: tuple[int, int]
    upsampling: Upsampling = "edges"

    def axis(self, side: int, device: torch.device) -> Axis:
        """Sampling along side 0 (rows) or 1 (columns)."""
        axis = Axis.between(self.layer_grid[side], self.grid[side], upsampling=self.upsampling)
        return axis.to(device)

    def padded(self, maps: Tensor) -> Tensor:
        """Maps, (..., h, w), with a cell of zeros around them, where upsampling is "zeros"."""
        return torch.nn.functional.pad(maps, (1, 1, 1, 1)) if self.upsampling == "zeros" else maps

    def upsample(self, maps: Tensor) -> Tensor:
        """Bring whole maps to the grid.

        Parameters
        ----------
        maps : tensor, (..., h, w)

        Returns
        -------
        tensor, (..., H, W)
        """
        rows = interpolate(self.padded(maps), self.axis(0, maps.device), dim=-2)
        return interpolate(rows, self.axis(1, maps.device), dim=-1)

    def above(self, maps: Tensor, level: Tensor) -> Active:
        """Find all positions of the label grid at which units are strictly above their level.

        An interpolated value is never larger than the largest of its neighbours, also after rounding: maps, and then
        rows, that stay below the level are dropped before anything is computed from them. Of a map that is active at
        1 % of its positions, a few per cent are ever brought to the grid.

        Parameters
        ----------
        maps : float32 tensor, (N, U, h, w)
            Finite.
        level : float32 tensor, (U,)

        Returns
        -------
        Active
        """
        maps = self.padded(maps)
        images, units, h, w = maps.shape
        maps = maps.reshape(images * units, h, w)
        # 1. Maps whose largest value lies above the level.
        image, unit = torch.nonzero(maps.amax((1, 2)).view(images, units) > level, as_tuple=True)
        return self._in_maps(maps.index_select(0, image * units + unit), image, unit, level)

    def above_in(self, maps: Tensor, image: Tensor, unit: Tensor, level: Tensor) -> Active:
        """Find the same in some of the maps, where all others are 0 everywhere and no level is below 0.

        Parameters
        ----------
        maps : float32 tensor, (M, h, w)
        image, unit : int64 tensors, (M,)
            Of which image and of which unit each is.
        level : float32 tensor, (U,)
        """
        maps = self.padded(maps)
        some = true_at(maps.amax((1, 2)) > level.index_select(0, unit))
        image, unit = image.index_select(0, some), unit.index_select(0, some)
        return self._in_maps(maps.index_select(0, some), image, unit, level)

    def _in_maps(self, maps: Tensor, image: Tensor, unit: Tensor, level: Tensor) -> Active:
        """Find positions in padded maps, (M, h, w), which all rise above the level of their unit."""
        level = level.index_select(0, unit)
        # 2. Of these, rows of the label grid, sampled between rows of the layer, whose largest value does.
        of_map, row, lines = self._rows_above(maps, level)
        # 3. Of these, cells whose value does.
        line, column, value = self._cells_above(lines, level.index_select(0, of_map))
        position = row.index_select(0, line).mul_(self.grid[1]).add_(column)
        of_map = of_map.index_select(0, line)
        return Active(unit.index_select(0, of_map), image.index_select(0, of_map), position, value)

    def _rows_above(self, maps: Tensor, level: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Rows of the label grid that rise above the level of their map.

        Parameters
        ----------
        maps : tensor, (M, h, w)
        level : tensor, (M,)

        Returns
        -------
        of_map, row : int64 tensors, (rows,)
        lines : tensor, (w, rows)
            Their values, still on the columns of the layer.
        """
        # The side that is sampled comes first: whole runs of memory are copied then, not single numbers.
        sampled = enlarge(maps.permute(1, 2, 0).contiguous(), self.axis(0, maps.device))  # (H, w, M)
        (_, w, count), above = sampled.shape, sampled.amax(1) > level
        row, of_map = divided(true_at(above), count)
        at = torch.arange(w, device=maps.device)[:, None] * count + (row * (w * count) + of_map)
        return of_map, row, sampled.view(-1).index_select(0, at.view(-1)).view(w, -1)

    def _cells_above(self, lines: Tensor, level: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Cells of the label grid that lie above the level of their row.

        Parameters
        ----------
        lines : tensor, (w, rows)
        level : tensor, (rows,)

        Returns
        -------
        line, column : int64 tensors, (active positions,)
        value : tensor, (active positions,)
        """
        values = enlarge(lines, self.axis(1, lines.device))  # (W, rows)
        hit = true_at(values > level)
        column, line = divided(hit, lines.shape[1])
        return line, column, values.view(-1).index_select(0, hit)


def true_at(mask: Tensor) -> Tensor:
    """Indices of what is true in a mask of any shape, counted row by row, (hits,) int64."""
    if mask.device.type == "cpu":  # NumPy finds them in a third of the time
        return torch.from_numpy(np.flatnonzero(mask.numpy()))
    return torch.nonzero(mask.reshape(-1)).view(-1)


def divided(index: Tensor, by: int) -> tuple[Tensor, Tensor]:
    """Quotients and remainders of indices, which are not negative; by 0 there are none to divide."""
    if index.device.type == "cpu":  # NumPy divides by one number without dividing: ten times as fast
        quotient = torch.from_numpy(index.numpy() // max(by, 1))
    else:
        quotient = index.div(max(by, 1), rounding_mode="floor")
    return quotient, index - quotient * by


def interpolate(maps: Tensor, axis: Axis, *, dim: int) -> Tensor:
    """Sample maps along one dimension: ``low + weight * (high - low)``, exact where both neighbours are equal."""
    shape = [1] * maps.dim()
    shape[dim] = -1
    low = maps.index_select(dim, axis.low)
    step = maps.index_select(dim, axis.high).sub_(low)
    return step.mul_(axis.weight.to(maps.dtype).view(shape)).add_(low)


def enlarge(maps: Tensor, axis: Axis) -> Tensor:
    """Sample maps along their first dimension, as `interpolate` does: to the same bits, in fewer passes over memory.

    Cells between the same two neighbours are computed together, so that these are not copied for each of them.
    """
    low, counts = torch.unique_consecutive(axis.low, return_counts=True)
    if len(axis.low) < 6 * len(low):  # few cells between two neighbours: each pass would be too short
        return interpolate(maps, axis, dim=0)
    first = counts.cumsum(0) - counts
    step = maps.index_select(0, axis.high[first]).sub_(maps.index_select(0, low))
    weight = axis.weight.view(-1, *[1] * (maps.dim() - 1))
    out = maps.new_empty((len(weight), *maps.shape[1:]))
    of_each = counts.tolist()
    for neighbour, one_step, cells, weights in zip(
        low.tolist(), step, torch.split(out, of_each), torch.split(weight, of_each), strict=True
    ):
        torch.mul(one_step, weights, out=cells).add_(maps[neighbour])
    return out


def at_most_grid(maps: Tensor, grid: tuple[int, int]) -> Tensor:
    """Bring those sides of maps to the grid on which the layer is finer than it, so that they take less room.

    Parameters
    ----------
    maps : tensor, (N, U, h, w)
    grid : tuple of int
        (H, W).

    Returns
    -------
    tensor, (N, U, min(h, H), min(w, W))
        Sampling it again at the grid changes nothing on the sides that were reduced.
    """
    for dim, cells in ((-2, grid[0]), (-1, grid[1])):
        if maps.shape[dim] > cells:
            axis = Axis.between(maps.shape[dim], cells)
            maps = interpolate(maps, axis.to(maps.device), dim=dim)
    return maps
