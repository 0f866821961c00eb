"""What is computed beside what people marked: which concepts those are, and how well a segmenter finds them."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from unitlens.data.concepts import Concept
from unitlens.data.segmentation.segmenters import Segmenter, ceilings, plain
from unitlens.data.sources import StackedData, Tags
from unitlens.errors import UnitlensError


class Agreement(NamedTuple):
    """How well segmenters agree with what is marked in the data itself.

    Attributes
    ----------
    iou : mapping of Concept to float
        Of a segmenter's concept with what is marked under the same name, where anything is.
    notes : tuple of str
        Why it is not known of the others.
    """

    iou: Mapping[Concept, float]
    notes: tuple[str, ...]


def agreement(data: Any, *, limit: int | None = None, seed: int = 0, progress: bool = False) -> Agreement:
    """Hold the segmenters among the sources of a data set against what is marked in the data itself.

    Parameters
    ----------
    data : Data
        Of any kind; only what `unitlens.with_concepts` made has segmenters. What is marked in the data itself need not
        be among the concepts.
    limit, seed : int, optional
        Only so many images, see `unitlens.data.reading.chosen_images`.
    progress : bool
        Whether progress is shown.
    """
    iou: dict[Concept, float] = {}
    notes = []
    for source in data.sources if isinstance(data, StackedData) else ():
        if not isinstance(source, Segmenter):
            continue
        own = {plain(concept.name): concept for concept in source.concepts}
        if not len(data.data.concepts):
            notes.append(f"Nothing is marked beside the {source!r}: how well it finds what it names is not known.")
            continue
        try:
            found = ceilings(source, data.data, limit=limit, seed=seed, progress=progress)
        except UnitlensError as error:
            notes.append(f"How well the {source!r} finds what it names is not known: {error}")
            continue
        iou |= {own[plain(one.concept.name)]: one.iou for one in found if one.truth}
        notes += [_note(source, len(own), iou)] if iou else []
    return Agreement(iou, tuple(notes))


def _note(source: Segmenter, concepts: int, iou: Mapping[Concept, float]) -> str:
    low, high = min(iou, key=iou.__getitem__), max(iou, key=iou.__getitem__)
    return (
        f"The {source!r} was held against what is marked for {len(iou)} of its {concepts} concepts: IoU from "
        f"{iou[low]:.3f} ({low.name}) to {iou[high]:.3f} ({high.name}). No label by it can be better than that."
    )


def computed_categories(data: Any) -> frozenset[str]:
    """Categories that are computed from pixels, so that nobody can mend what is not found of them."""
    if not isinstance(data, StackedData):
        return frozenset()
    sources = [source for source in data.sources if not isinstance(source, Tags)]
    return frozenset(Concept(*concept).category for source in sources for concept in source.concepts)
