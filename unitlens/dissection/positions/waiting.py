"""Where units are active, while it waits to be looked at again or counted: in files without names."""

from array import array
from collections.abc import Iterable, Iterator

import numpy as np
import torch
from torch import Tensor

from unitlens.packed import GrowingBytes
from unitlens.stats.masks import Active
from unitlens.stats.regions.runs import Runs

_COLUMNS, _BYTES = 4, 16
"""Numbers of 32 bits of a position or a run, and their bytes."""


class _Pieces:
    """Pieces of columns of 32 bits, written once and read in their order.

    Attributes
    ----------
    count : int
        How long all pieces are together.
    """

    def __init__(self) -> None:
        self.count, self._lengths, self._bytes = 0, array("q"), GrowingBytes()

    def __len__(self) -> int:
        """Number of pieces."""
        return len(self._lengths)

    def append(self, columns: Iterable[Tensor]) -> None:
        """Add a piece behind the others; a UnitlensError if the disk is full."""
        piece = torch.stack([column.view(torch.int32) for column in columns])
        self._bytes.append(piece.numpy().reshape(-1).view(np.uint8).data)
        self._lengths.append(piece.shape[1])
        self.count += piece.shape[1]

    def __iter__(self) -> Iterator[Tensor]:
        """The pieces, int32 (4, length) each."""
        start = 0
        for length in self._lengths:
            content = self._bytes.read(start, start + length * _BYTES)
            start += length * _BYTES
            yield torch.from_numpy(np.frombuffer(content, np.int32).reshape(_COLUMNS, length))


class WaitingRuns:
    """Runs of a block of units, piece by piece, until they are counted with what other units have in the same images.

    Examples
    --------
    >>> piece = Runs(*torch.arange(8, dtype=torch.int32).view(4, 2))
    >>> waiting = WaitingRuns.of([piece, piece], most=4)
    >>> waiting.count, [piece.stop.tolist() for piece in waiting]
    (4, [[6, 7], [6, 7]])
    >>> WaitingRuns.of([piece, piece], most=3) is None
    True
    """

    def __init__(self, pieces: _Pieces) -> None:
        self._pieces = pieces

    @property
    def count(self) -> int:
        """How many all pieces have together."""
        return self._pieces.count

    @classmethod
    def of(cls, pieces: Iterable[Runs], *, most: int) -> "WaitingRuns | None":
        """Let pieces wait; None where there are none, or they have more runs together than ``most``.

        Raises
        ------
        UnitlensError
            If the disk is full.
        """
        waiting = _Pieces()
        for runs in pieces:
            waiting.append(runs)
            if waiting.count > most:
                return None
        return cls(waiting) if len(waiting) else None

    def __iter__(self) -> Iterator[Runs]:
        """The pieces, in their order."""
        return (Runs(*piece) for piece in self._pieces)


class KeptPositions:
    """Active positions of a block of units that one scan found, piece by piece, for the next scan to sift."""

    def __init__(self, pieces: Iterable[Active] = ()) -> None:
        self._pieces = _Pieces()
        for active in pieces:
            self.append(active)

    @property
    def count(self) -> int:
        """How many all pieces have together."""
        return self._pieces.count

    def append(self, active: Active) -> None:
        """Add the positions of the next images, in 32 bits; a UnitlensError if the disk is full."""
        self._pieces.append(active)

    def __iter__(self) -> Iterator[Active]:
        """The pieces, in their order, in 32 bits."""
        for unit, image, position, value in self._pieces:
            yield Active(unit, image, position, value.view(torch.float32))
