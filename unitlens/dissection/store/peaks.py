"""The peaks of units, unit by unit: they are stored image by image."""

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from unitlens.dissection.store.rows import Rows
from unitlens.nameless import NamelessFile
from unitlens.stats.blocks import in_blocks

_AT_ONCE = 1 << 18

_BYTES = 4


class PeaksByUnit:
    """Peaks of some units of a layer, turned over once into a file without a name.

    Parameters
    ----------
    peaks : Rows
        (N, U) float32.
    units : iterable of int
        Those that will be asked for.
    """

    def __init__(self, peaks: Rows, units: Iterable[int]) -> None:
        chosen = sorted(set(units))
        self._place = {unit: place for place, unit in enumerate(chosen)}
        self._images, self._file = peaks.count, NamelessFile()
        if not chosen:
            return
        between = slice(chosen[0], chosen[-1] + 1)
        for block in in_blocks(self._images, max(1, _AT_ONCE // (between.stop - between.start))):
            by_unit = peaks.read(range(block.start, block.stop), between).T
            for unit in chosen:
                of_unit = np.ascontiguousarray(by_unit[unit - between.start], np.float32)
                self._file.write(of_unit.view(np.uint8).data, self._start(unit) + block.start * _BYTES)

    def read(self, unit: int) -> npt.NDArray[np.float32]:
        """The peaks of a unit, by its number in the layer, (N,)."""
        start = self._start(unit)
        return np.frombuffer(self._file.read(start, start + self._images * _BYTES), np.float32)

    def _start(self, unit: int) -> int:
        return self._place[unit] * self._images * _BYTES
