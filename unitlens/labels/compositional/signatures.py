"""The signatures of a pass: what is marked at each position of its images, as one number."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from unitlens.dissection.positions.marks import Marks
from unitlens.dissection.store.passes import StoredPass
from unitlens.dissection.store.rows import Rows, append
from unitlens.dissection.store.temporary import temporary_store
from unitlens.stats.blocks import in_blocks
from unitlens.stats.folds import FOLDS
from unitlens.stats.formulas.signatures import Signatures
from unitlens.stats.scores import Bools, ShortInts

_AT_ONCE = 1 << 20
"""Cells of label planes that are numbered together."""

_IN_MEMORY = 1 << 28
"""Numbers of at most so many bytes are read into memory once."""


@dataclass(frozen=True, eq=False)
class StoredSignatures:
    """The signatures of a pass, and the number of each position's.

    Attributes
    ----------
    signatures : Signatures
    numbers : Rows
        (N, H * W) int32.
    grid : tuple of int
        (H, W) of the label grid; of a layer without a grid, (1, 1).
    """

    signatures: Signatures
    numbers: Rows
    grid: tuple[int, int]

    @property
    def count(self) -> int:
        """How many signatures there are."""
        return int(self.signatures.by_fold.shape[1])

    def marks(self) -> Marks:
        """The numbers as what is marked in images, to be counted where units are active; small ones stay in memory."""
        if self.numbers.count * self.numbers.row_bytes > _IN_MEMORY:
            return Marks.in_planes(lambda images: self.numbers.read(images)[:, None], self.count, self.grid)
        kept = self.numbers.read(range(self.numbers.count))[:, None]
        return Marks.in_planes(lambda images: kept[np.asarray(images)], self.count, self.grid)


@contextmanager
def signatures_of(stored: StoredPass, *, grid: bool) -> Iterator[StoredSignatures]:
    """Number what is marked at all positions of the images of a pass.

    Parameters
    ----------
    stored : StoredPass
    grid : bool
        Whether positions of the label grid are meant; else whole images, as of layers without a grid.

    Yields
    ------
    StoredSignatures
        Inside of the ``with``, its numbers are in a temporary folder.
    """
    labels, columns = stored.labels, stored.labels.columns
    sides = labels.grid if grid else (1, 1)
    cells = sides[0] * sides[1]
    known = _Known(columns.count)
    by_fold = np.zeros((FOLDS, 0), np.int64)
    with temporary_store() as store:
        numbers = store.rows("signatures", (cells,), np.int32)
        for block in in_blocks(stored.images, _AT_ONCE // cells):
            images = range(block.start, block.stop)
            of_block = known.of_planes(labels.read(images)) if grid else known.of_sets(labels.presence.read(images))
            by_fold = np.pad(by_fold, ((0, 0), (0, len(known.columns) - by_fold.shape[1])))
            np.add.at(by_fold, (stored.folds[block][:, None], of_block), 1)
            append(numbers, of_block)
        sets = np.array(known.columns, bool).reshape(-1, columns.count)
        yield StoredSignatures(Signatures.of(sets, columns.category_of, by_fold), numbers, sides)


@dataclass
class _Known:
    """The signatures that were met.

    Attributes
    ----------
    count : int
        Of columns.
    columns : list of bool array, (count,)
        Those of each signature.
    """

    count: int
    columns: list[Bools] = field(default_factory=list)
    _numbers: dict[bytes, int] = field(default_factory=dict)

    def of_planes(self, planes: npt.NDArray[np.int16]) -> ShortInts:
        """Numbers of the positions of images, (images, cells), from their planes, (images, L, cells)."""
        images, _, cells = planes.shape
        flat = planes.transpose(1, 0, 2).reshape(planes.shape[1], images * cells)
        # Next to each other, positions are mostly alike: only where something changes is looked up.
        changes = np.ones(images * cells, bool)
        changes[1:] = (flat[:, 1:] != flat[:, :-1]).any(0)
        rows, inverse = np.unique(flat[:, changes].T, axis=0, return_inverse=True)
        sets = np.zeros((len(rows), self.count), bool)
        np.put_along_axis(sets, rows.astype(np.int64), True, 1)
        sets[:, 0] = False  # "none of this" is what is left
        numbers = self._number(sets)[inverse.reshape(-1)]
        return np.asarray(numbers[np.cumsum(changes) - 1].reshape(images, cells))

    def of_sets(self, present: npt.NDArray[np.uint8]) -> ShortInts:
        """Numbers of whole images, (images, 1), from the columns for which they count, (images, count)."""
        sets = present.astype(bool)
        sets[:, 0] = False
        rows, inverse = np.unique(sets, axis=0, return_inverse=True)
        return np.asarray(self._number(rows)[inverse.reshape(-1)][:, None])

    def _number(self, sets: Bools) -> ShortInts:
        numbers = np.empty(len(sets), np.int32)
        for row, key in enumerate(np.packbits(sets, axis=1)):
            number = self._numbers.setdefault(key.tobytes(), len(self.columns))
            if number == len(self.columns):
                self.columns.append(sets[row])
            numbers[row] = number
        return numbers
