"""What labels mean, as label planes beside the activations of a run: then labels are counted as concepts are."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from unitlens.data.columns import Columns
from unitlens.data.concepts import Concept
from unitlens.dissection.store.labels import LabelPlanes
from unitlens.dissection.store.passes import StoredPass
from unitlens.dissection.store.temporary import temporary_store
from unitlens.labels.footing.meanings import Meaning, OneConcept
from unitlens.stats.blocks import in_blocks
from unitlens.stats.scores import Bools, Floats, share

_IMAGES_AT_ONCE = 64


@contextmanager
def with_meanings(
    stored: StoredPass, meanings: Sequence[Meaning], *, grid: bool
) -> Iterator[tuple[StoredPass, list[int]]]:
    """A pass whose label planes mark what labels mean.

    Parameters
    ----------
    stored : StoredPass
    meanings : sequence of Meaning
    grid : bool
        Whether positions of the label grid count; else each image is one position, as for layers without a grid.

    Yields
    ------
    StoredPass, list of int
        The pass, and the column of each meaning among its concepts. Where all are concepts of the run, the pass is as
        it was.
    """
    if all(isinstance(meaning, OneConcept) for meaning in meanings):
        yield stored, [meaning.concepts[0] for meaning in meanings]
        return
    # Each meaning is the only concept of a category of its own, as it is judged where all of its concepts are.
    columns = Columns.of([Concept(f"label {k}", 1, "there") for k in range(len(meanings))])
    size = stored.labels.grid if grid else (1, 1)
    folds = stored.folds
    with temporary_store() as store:
        planes = LabelPlanes.start(columns, size, store)
        for block in in_blocks(stored.images, _IMAGES_AT_ONCE):
            marked = _Marked(stored.labels, range(block.start, block.stop), grid=grid)
            numbers = [_numbers(marked, meaning, k, len(meanings)) for k, meaning in enumerate(meanings)]
            planes.add(list(np.stack(numbers, axis=1)), folds[block].tolist())
        yield replace(stored, labels=planes), list(range(len(meanings)))


def overlaps(
    stored: StoredPass, meanings: Sequence[Meaning], pairs: Sequence[tuple[int, int]], *, grid: bool
) -> Floats:
    """Jaccard's index of where two labels are, over the positions at which both are judged.

    Parameters
    ----------
    stored : StoredPass
    meanings : sequence of Meaning
    pairs : sequence of (int, int)
        P of them.
    grid : bool
        Whether positions of the label grid count, or images.

    Returns
    -------
    float64 array, (P,)
        In [0, 1]; NaN where neither is anywhere.
    """
    both, either = np.zeros((2, len(pairs)))
    for block in in_blocks(stored.images, _IMAGES_AT_ONCE):
        marked = _Marked(stored.labels, range(block.start, block.stop), grid=grid)
        judged = [np.packbits(marked.judged(meaning)) for meaning in meanings]
        there = [np.packbits(meaning.holds(marked.there)) for meaning in meanings]
        for number, (one, other) in enumerate(pairs):
            counted = judged[one] & judged[other]
            both[number] += _bits(there[one] & there[other] & counted)
            either[number] += _bits((there[one] | there[other]) & counted)
    return np.where(either > 0, share(both, either), np.nan)


def areas(stored: StoredPass, meanings: Sequence[Meaning], *, grid: bool) -> Floats:
    """How much of each image labels hold.

    Parameters
    ----------
    stored : StoredPass
    meanings : sequence of Meaning
        M of them.
    grid : bool
        Whether it is the share of the positions of the label grid that are judged; else whether the image holds it.

    Returns
    -------
    float64 array, (N, M)
        In [0, 1]; NaN where an image is not judged.
    """
    out = np.full((stored.images, len(meanings)), np.nan)
    concept = [place for place, meaning in enumerate(meanings) if isinstance(meaning, OneConcept)]
    out[:, concept] = stored.labels.shares([meanings[place].concepts[0] for place in concept], grid=grid)
    others = [(place, meaning) for place, meaning in enumerate(meanings) if not isinstance(meaning, OneConcept)]
    for block in in_blocks(stored.images, _IMAGES_AT_ONCE) if others else ():
        marked = _Marked(stored.labels, range(block.start, block.stop), grid=grid)
        for place, meaning in others:
            judged = marked.judged(meaning)
            there, counted = (meaning.holds(marked.there) & judged).sum(1), judged.sum(1)
            out[block, place] = np.where(counted > 0, share(there, counted), np.nan)
    return out


_BITS = np.array([bin(byte).count("1") for byte in range(256)], np.uint8)


def _bits(packed: npt.NDArray[np.uint8]) -> int:
    return int(_BITS[packed].sum(dtype=np.int64))


class _Marked:
    """What is marked in some images of a run."""

    def __init__(self, labels: LabelPlanes, images: range, *, grid: bool) -> None:
        self._columns, self._known = labels.columns, dict[int, Bools]()
        self._planes = labels.read(images) if grid else None
        self._presence = None if grid else labels.presence.read(images)

    def has(self, column: int) -> Bools:
        """Where a column of the table of counts counts, (images, cells)."""
        if column not in self._known:
            if self._planes is not None:
                self._known[column] = (self._planes == column).any(1)
            else:
                assert self._presence is not None
                self._known[column] = self._presence[:, [column]] > 0
        return self._known[column]

    def there(self, concept: int) -> Bools:
        """Where a concept is, (images, cells)."""
        return self.has(1 + concept)

    def judged(self, meaning: Meaning) -> Bools:
        """Where the categories of all concepts of a label are judged, (images, cells)."""
        first = 1 + len(self._columns.concepts)
        categories = np.unique(self._columns.category_of[list(meaning.concepts)])
        return ~np.asarray(np.logical_or.reduce([self.has(first + int(category)) for category in categories]), bool)


def _numbers(marked: _Marked, meaning: Meaning, number: int, count: int) -> npt.NDArray[np.int16]:
    """Columns of one plane, (images, cells): where a label is true, and where it does not count."""
    there = np.where(meaning.holds(marked.there), 1 + number, 0)
    return np.where(marked.judged(meaning), there, 1 + count + number).astype(np.int16)
