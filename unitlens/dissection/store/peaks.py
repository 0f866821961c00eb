"""The peaks of units, unit by unit: they are stored image by image."""

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
    units : slice
        With a start and a stop.
    """

    def __init__(self, peaks: Rows, units: slice) -> None:
        self._first, self._images, self._file = int(units.start), peaks.count, NamelessFile()
        for block in in_blocks(self._images, _AT_ONCE // max(units.stop - units.start, 1)):
            by_unit = np.ascontiguousarray(peaks.read(range(block.start, block.stop), units).T, np.float32)
            for unit, of_unit in enumerate(by_unit, units.start):
                self._file.write(of_unit.view(np.uint8).data, self._place(unit) + block.start * _BYTES)

    def read(self, unit: int) -> npt.NDArray[np.float32]:
        """The peaks of a unit, by its number in the layer, (N,)."""
        return np.frombuffer(self._file.read(self._place(unit), self._place(unit + 1)), np.float32)

    def _place(self, unit: int) -> int:
        return (unit - self._first) * self._images * _BYTES
