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
    """Pieces of columns of 32 bits, written once behind what is in a file, and read in their order.

    Attributes
    ----------
    count : int
        How long all pieces are together.
    """

    def __init__(self, into: GrowingBytes) -> None:
        self.count, self._lengths, self._bytes, self._start = 0, array("q"), into, len(into)

    def __len__(self) -> int:
        """Number of pieces."""
        return len(self._lengths)

    def append(self, columns: Iterable[Tensor]) -> None:
        """Add a piece behind the others; a UnitlensError if the disk is full."""
        piece = torch.stack([column.view(torch.int32) for column in columns])
        self._bytes.append(piece.numpy().reshape(-1).view(np.uint8).data)
        self._lengths.append(piece.shape[1])
        self.count += piece.shape[1]

    def drop(self) -> None:
        """Drop all pieces, behind which nothing else stands."""
        self._bytes.cut(self._start)

    def __iter__(self) -> Iterator[Tensor]:
        """The pieces, int32 (4, length) each."""
        start = self._start
        for length in self._lengths:
            content = self._bytes.read(start, start + length * _BYTES)
            start += length * _BYTES
            yield torch.from_numpy(np.frombuffer(content, np.int32).reshape(_COLUMNS, length))


class WaitingRuns:
    """Runs of blocks of units, piece by piece, until they are counted with what other blocks have in the same images.

    All blocks are in one file, as there may be thousands of them.

    Parameters
    ----------
    most : int
        So many runs of all blocks together may wait.

    Examples
    --------
    >>> piece, waiting = Runs(*torch.arange(8, dtype=torch.int32).view(4, 2)), WaitingRuns(most=5)
    >>> [runs.stop.tolist() for runs in waiting.add([piece, piece])]
    [[6, 7], [6, 7]]
    >>> waiting.add([piece]) is None
    True
    """

    def __init__(self, *, most: int) -> None:
        self._room, self._bytes = most, GrowingBytes()

    def add(self, pieces: Iterable[Runs]) -> Iterator[Runs] | None:
        """Let the pieces of a block wait.

        Returns
        -------
        iterator of Runs, or None
            They come back in their order; None where there are none, or more than there is room for.

        Raises
        ------
        UnitlensError
            If the disk is full.
        """
        waiting = _Pieces(self._bytes)
        for runs in pieces:
            waiting.append(runs)
            if waiting.count > self._room:
                waiting.drop()
                return None
        self._room -= waiting.count
        return (Runs(*piece) for piece in waiting) if len(waiting) else None


class KeptPositions:
    """Active positions of a block of units that one scan found, piece by piece, for the next scan to sift."""

    def __init__(self, pieces: Iterable[Active] = ()) -> None:
        self._pieces = _Pieces(GrowingBytes())
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
