"""Where units are active, while it waits to be counted with what other units have in the same images."""

from array import array
from collections.abc import Iterable, Iterator

import numpy as np
import torch

from unitlens.packed import GrowingBytes
from unitlens.stats.regions.runs import Runs

_RUN = 16
"""Bytes of a run: four numbers of 32 bits."""


class WaitingRuns:
    """Runs of a block of units, piece by piece, in a file without a name: they are written once and read once.

    Attributes
    ----------
    count : int
        How many runs all pieces have together.

    Examples
    --------
    >>> piece = Runs(*torch.arange(8, dtype=torch.int32).view(4, 2))
    >>> waiting = WaitingRuns.of([piece, piece], most=4)
    >>> waiting.count, [piece.stop.tolist() for piece in waiting]
    (4, [[6, 7], [6, 7]])
    >>> WaitingRuns.of([piece, piece], most=3) is None
    True
    """

    def __init__(self) -> None:
        self.count, self._lengths, self._bytes = 0, array("q"), GrowingBytes()

    @classmethod
    def of(cls, pieces: Iterable[Runs], *, most: int) -> "WaitingRuns | None":
        """Let pieces wait; None where there are none, or they have more runs together than ``most``.

        Raises
        ------
        UnitlensError
            If the disk is full.
        """
        waiting = cls()
        for runs in pieces:
            waiting._append(runs)
            if waiting.count > most:
                return None
        return waiting if waiting._lengths else None

    def _append(self, runs: Runs) -> None:
        self._bytes.append(torch.stack(runs).numpy().tobytes())
        self._lengths.append(len(runs.unit))
        self.count += len(runs.unit)

    def __iter__(self) -> Iterator[Runs]:
        """The pieces, in their order."""
        start = 0
        for length in self._lengths:
            content = self._bytes.read(start, start + length * _RUN)
            start += length * _RUN
            yield Runs(*torch.from_numpy(np.frombuffer(content, np.int32).reshape(4, length)))
