"""Rows of several stores, one behind the other, to be read."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from unitlens.dissection.store.nonzero import NonZero
from unitlens.dissection.store.rows import RowNumbers, Rows


class JoinedRows:
    """The rows of parts, to be read as one.

    Parameters
    ----------
    parts : sequence of Rows or None
        Of one shape and type; at least one is not None. They may be kept in different ways.
    counts : sequence of int
        How many rows each part has: those that it lacks are zeros.
    """

    def __init__(self, parts: Sequence[Rows | None], counts: Sequence[int]) -> None:
        first = next(part for part in parts if part is not None)
        self.shape, self.dtype, self.count = first.shape, first.dtype, sum(counts)
        starts: list[int] = np.cumsum([0, *counts]).tolist()
        self._parts: list[tuple[Rows, int, int]] = [
            (part, start, start + count)
            for part, start, count in zip(parts, starts[:-1], counts, strict=True)
            if part is not None and count
        ]

    @property
    def filled(self) -> float:
        """Share of the numbers that take room, over all parts."""
        return sum(part.filled * (stop - start) for part, start, stop in self._parts) / max(self.count, 1)

    @property
    def row_bytes(self) -> int:
        """Bytes that one row takes, on average."""
        return round(sum(part.row_bytes * (stop - start) for part, start, stop in self._parts) / max(self.count, 1))

    def put(self, first: int, rows: npt.NDArray[Any]) -> None:
        """Nothing is written here."""
        raise TypeError("rows of several stores are only read")

    def read(self, rows: RowNumbers, part: slice | None = None) -> npt.NDArray[Any]:
        """Read rows, or the same part of each along its first side."""
        pieces = list(self._of_parts(rows))
        if len(pieces) == 1 and len(pieces[0][2]) == len(rows):
            return pieces[0][0].read(pieces[0][2], part)
        first = self.shape[0] if part is None else part.stop - part.start
        out = np.zeros((len(rows), first, *self.shape[1:]), self.dtype)
        for of_part, into, own in pieces:
            out[into] = of_part.read(own, part)
        return out

    def nonzero(self, rows: RowNumbers, part: slice) -> NonZero | None:
        """Read what is not 0 in a part of some rows; None if any of them is kept in another way."""
        found = [NonZero.none(self.dtype)]
        for of_part, into, own in self._of_parts(rows):
            piece = of_part.nonzero(own, part)
            if piece is None:
                return None
            numbers = np.arange(len(rows))[into]
            found.append(NonZero(numbers[piece.row], piece.place, piece.value))
        return NonZero.joined(found)

    def _of_parts(self, rows: RowNumbers) -> Iterator[tuple[Rows, slice | npt.NDArray[np.int64], RowNumbers]]:
        """Parts that have any of some rows, which of these, and their numbers there."""
        for part, start, stop in self._parts:
            if isinstance(rows, range) and rows.step == 1:
                low, high = max(rows.start, start), min(rows.stop, stop)
                if low < high:
                    yield part, slice(low - rows.start, high - rows.start), range(low - start, high - start)
                continue
            numbers = np.asarray(rows, dtype=np.int64)
            own = np.flatnonzero((numbers >= start) & (numbers < stop))
            if len(own):
                yield part, own, numbers[own] - start
