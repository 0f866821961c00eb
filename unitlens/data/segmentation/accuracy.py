"""How well a segmenter finds what people marked: its IoU with each concept, over a whole data set."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from unitlens.data.columns import Columns
from unitlens.data.concepts import Concept, Data, Example
from unitlens.data.pixels.files import UnreadableError
from unitlens.data.pixels.fit import Fit
from unitlens.data.reading import chosen_images, read_examples
from unitlens.data.segmentation.segmenters import Segmenter
from unitlens.errors import UnitlensError
from unitlens.progress import progress as progress_of


class ConceptIoU(NamedTuple):
    """How well a segmenter finds a concept that is marked by people.

    Attributes
    ----------
    concept : Concept
        As in the data.
    iou : float
        Of all marked and all segmented positions; nan where there are none.
    marked, segmented, both : int
        Positions that are marked, that the segmenter gives the concept, and that are both, where both judged.
    """

    concept: Concept
    iou: float
    marked: int
    segmented: int
    both: int


def segmenter_iou(
    segmenter: Segmenter,
    data: Data,
    *,
    grid: int = 112,
    limit: int | None = None,
    seed: int = 0,
    progress: bool = False,
) -> list[ConceptIoU]:
    """Measure a segmenter's IoU with each concept that is marked in a data set and that it has a name for.

    No unit can be shown to be a better detector of a concept than the segmenter that marks it.

    Parameters
    ----------
    segmenter : Segmenter
    data : Data
        With ground truth. Concepts belong together by name, in whatever category, case and spaces aside ("dining table"
        and "diningtable").
    grid : int
        Positions a side that both are sampled at, at the nearest pixel.
    limit, seed : int, optional
        Only so many images, see `unitlens.data.reading.chosen_images`. Unreadable images are left out.
    progress : bool
        Whether progress is shown.

    Returns
    -------
    list of ConceptIoU
        One for each concept in common, in the order of the data. IoU is of sums over all images.

    Raises
    ------
    UnitlensError
        If they have no name in common.
    """
    truth, segmented = Columns.of(data.concepts), Columns.of(segmenter.concepts)
    by_name = {plain(concept.name): column for column, concept in enumerate(segmented.concepts)}
    pairs = [(t, by_name[plain(c.name)]) for t, c in enumerate(truth.concepts) if plain(c.name) in by_name]
    if not pairs:
        raise UnitlensError(f"The {segmenter!r} and the data have no concept of the same name, so nothing is measured.")
    counts = np.zeros((len(pairs), 3), np.int64)
    fit = Fit((grid, grid), (0, 0), (grid, grid))
    for example in _examples(data, limit, seed, progress=progress):
        marks = truth.planes(example, fit, (grid, grid))
        planes = segmenter.planes(example.image, example.name)
        segments = segmented.planes(example._replace(planes=planes), fit, (grid, grid))
        for pair, (t, s) in enumerate(pairs):
            judged = _judged(truth, marks, t) & _judged(segmented, segments, s)
            is_marked, is_segmented = _holds(marks, t) & judged, _holds(segments, s) & judged
            counts[pair] += is_marked.sum(), is_segmented.sum(), (is_marked & is_segmented).sum()
    return [
        ConceptIoU(
            truth.concepts[t], float(both / (a + b - both)) if a + b else float("nan"), int(a), int(b), int(both)
        )
        for (t, _), (a, b, both) in zip(pairs, counts, strict=True)
    ]


def _examples(data: Data, limit: int | None, seed: int, *, progress: bool) -> Iterator[Example]:
    """The images that can be read."""
    indices = chosen_images(data, limit, seed=seed)
    with progress_of(len(indices), "comparing the segmenter with what is marked", show=progress) as bar:
        for read in read_examples(data, indices):
            bar.update(1)
            if isinstance(read.example, Example):
                yield read.example
            elif not isinstance(read.example, UnreadableError):
                raise read.example


def plain(name: str) -> str:
    """A name without case, spaces and the like, by which concepts of two sources belong together."""
    return "".join(letter for letter in name.casefold() if letter.isalnum()) or name


def _holds(planes: npt.NDArray[np.int16], concept: int) -> npt.NDArray[np.bool_]:
    """Where any plane has the concept, (H * W,)."""
    holds: npt.NDArray[np.bool_] = (planes == 1 + concept).any(0)
    return holds


def _judged(columns: Columns, planes: npt.NDArray[np.int16], concept: int) -> npt.NDArray[np.bool_]:
    """Where the concept's category is judged, (H * W,)."""
    category = int(columns.category_of[concept])
    judged: npt.NDArray[np.bool_] = planes[category] != 1 + len(columns.concepts) + category
    return judged
