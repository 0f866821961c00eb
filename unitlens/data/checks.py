"""What a look through annotated images found: what is there, and what is wrong."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from unitlens.data.concepts import Concept


class Finding(NamedTuple):
    """Something that is wrong: its kind, and a sentence."""

    kind: str
    text: str


class Sight(NamedTuple):
    """An image in which a concept is marked: its name, the share of it that is, and a JPEG with the mask drawn in."""

    image: str
    share: float
    tile: bytes


class ConceptCheck(NamedTuple):
    """What is marked of a concept.

    Attributes
    ----------
    concept : Concept
    images, positions : int
        In which it is marked, and cells of the label grid in all.
    share : float
        Of the positions that are judged for its category.
    ceiling : float
        The highest IoU that a unit can reach with it, as a mask holds at most the quantile of all positions: about
        q / f for a concept that covers the share f, and f / q for one that covers less than q.
    sights : tuple of Sight
        Images in which it covers most.
    segmenter_iou : float or None
        Of a segmenter's concept: its IoU with what is marked under the same name in the data itself, over all images;
        None where nothing is, and for concepts of other sources.
    """

    concept: Concept
    images: int
    positions: int
    share: float
    ceiling: float
    sights: tuple[Sight, ...]
    segmenter_iou: float | None = None


@dataclass(frozen=True)
class Check:
    """What is there in annotated images, and what is wrong.

    Attributes
    ----------
    source : str
    images, read : int
        How many there are, and how many of them could be read and contradict nothing.
    grid : (int, int)
        The label grid on which positions are counted.
    quantile, min_iou : float
        At which the ceilings hold, and what they are held against.
    categories : dict of str to int
        How many images are annotated for each.
    concepts : tuple of ConceptCheck
    findings : tuple of Finding
        What is wrong.
    notes : tuple of str
        What is worth knowing, and not wrong.
    """

    source: str
    images: int
    read: int
    grid: tuple[int, int]
    quantile: float
    min_iou: float
    categories: Mapping[str, int]
    concepts: tuple[ConceptCheck, ...]
    findings: tuple[Finding, ...]
    notes: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.findings


def highest_iou(concept: int, mask: int, *, elsewhere: int = 0) -> float:
    """The highest IoU that a mask of a given size can reach with a concept.

    Parameters
    ----------
    concept : int
        Positions of the concept.
    mask : int
        Positions of the mask.
    elsewhere : int
        Positions that are not judged for the concept's category, where a mask may lie without being counted.

    Examples
    --------
    >>> highest_iou(400, 100), highest_iou(25, 100), highest_iou(25, 100, elsewhere=75)
    (0.25, 0.25, 1.0)
    """
    if not concept or not mask:
        return 0.0
    return mask / concept if mask < concept else concept / max(concept, mask - elsewhere)
