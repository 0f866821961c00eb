"""The numbers of rows that are not 0, each with its place."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Places = npt.NDArray[np.int64]


@dataclass(frozen=True)
class NonZero:
    """The numbers of some rows that are not 0.

    Attributes
    ----------
    row, place : int64 arrays, (numbers,)
        In which row each is, and where in that row, or in the part of it that was read, laid out as one line.
    value : array, (numbers,)
    """

    row: Places
    place: Places
    value: npt.NDArray[Any]

    @classmethod
    def of(cls, rows: npt.NDArray[Any]) -> "NonZero":
        """Find what is not 0 in rows, (n, *shape), in whatever order they lie in memory.

        What has no bit set is 0, so that -0.0 is not.
        """
        axes = np.argsort([-abs(stride) for stride in rows.strides], kind="stable")
        ordered = rows.transpose(axes)  # which nobody has to copy to walk through it
        at = np.flatnonzero(ordered.view(f"u{rows.dtype.itemsize}") != 0)
        index = np.empty((rows.ndim, len(at)), np.int64)
        index[axes] = np.unravel_index(at, ordered.shape)
        place = np.ravel_multi_index(tuple(index[1:]), rows.shape[1:]) if len(at) else index[0]
        return cls(index[0], np.asarray(place, np.int64), ordered.reshape(-1)[at])

    @classmethod
    def none(cls, dtype: npt.DTypeLike) -> "NonZero":
        """No numbers, of a type."""
        return cls(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, dtype))

    @classmethod
    def joined(cls, parts: "Sequence[NonZero]") -> "NonZero":
        """What several have, one behind the other."""
        if len(parts) == 1:
            return parts[0]
        row, place, value = zip(*((part.row, part.place, part.value) for part in parts), strict=True)
        return cls(np.concatenate(row), np.concatenate(place), np.concatenate(value))

    def some(self, which: npt.NDArray[np.bool_] | Places) -> "NonZero":
        """Some of them, by a mask or by their numbers."""
        return NonZero(self.row[which], self.place[which], self.value[which])

    def moved(self, rows: int) -> "NonZero":
        """The same in rows so many further on."""
        return NonZero(self.row + rows, self.place, self.value)

    def of_rows(self, wanted: Places) -> "NonZero":
        """Those in rows of these numbers, which may have any order and come again; their rows count through them."""
        order = np.argsort(wanted, kind="stable")
        first, stop = (np.searchsorted(wanted[order], self.row, side=side) for side in ("left", "right"))
        times = stop - first
        which = np.repeat(np.arange(len(self.row)), times)
        nth = np.arange(len(which)) - np.repeat(times.cumsum() - times, times)
        return NonZero(order[first[which] + nth], self.place[which], self.value[which])
