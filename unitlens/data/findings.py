"""What a check of annotated images found: what is marked, what is wrong, and what is worth knowing, in sentences."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from unitlens.data.concepts import Concept, Data, Finding, ListedFiles, described
from unitlens.plurals import counted


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


class AlikeImages(NamedTuple):
    """A group of copies or near copies: how many images it has, and some of them, drawn small."""

    images: int
    sights: tuple[Sight, ...]


@dataclass(frozen=True)
class Check:
    """What is marked in annotated images, and what is wrong.

    Attributes
    ----------
    source : str
    images, read : int
        How many there are, and how many of them could be read and contradict nothing.
    grid : (int, int)
        The label grid on which positions are counted.
    quantile, min_iou : float
        At which the ceilings hold, and what they are compared with.
    categories : dict of str to int
        How many images are annotated for each.
    concepts : tuple of ConceptCheck
    findings : tuple of Finding
        What is wrong.
    notes : tuple of str
        What is worth knowing, and not wrong.
    alike : tuple of AlikeImages
        The largest groups of copies and near copies.
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
    alike: tuple[AlikeImages, ...] = ()

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


def of_files(data: Data) -> Iterator[Finding]:
    """Files among the images that are none, and lists that contradict the files."""
    for name in described(data).not_images:
        yield Finding("no image", f"{name} is not an image file.")
    if isinstance(data, ListedFiles):
        yield from data.file_findings()


def of_concepts(
    concepts: Sequence[ConceptCheck], read: int, *, quantile: float, min_iou: float, computed: frozenset[str]
) -> Iterator[Finding]:
    """Concepts that are marked nowhere or hardly anywhere, those of computed categories aside; or nothing at all."""
    if not concepts:
        yield Finding("nothing marked", "No concept is marked, so that units cannot be matched.")
    if not read:
        yield Finding("nothing read", "None of the images could be read.")
        return
    for category, members in _by_category(concepts).items():
        if category in computed:
            continue
        yield from (
            _rarely_marked(one, quantile) for one in members if one.positions and _is_rare(one, quantile, min_iou)
        )
        nowhere = [one.concept.name for one in members if not one.positions]
        if len(nowhere) == 1:
            yield Finding("near-empty", f"{category} {nowhere[0]} is marked nowhere.")
        elif nowhere:
            count = f"{len(nowhere)} of {counted(len(members), 'concept')} of {category}"
            yield Finding("near-empty", f"{count} are marked nowhere: {_first_few(nowhere)}.")


def notes(
    concepts: Sequence[ConceptCheck],
    annotated: Mapping[str, int],
    read: int,
    *,
    quantile: float,
    min_iou: float,
    computed: frozenset[str],
) -> Iterator[str]:
    """What is worth knowing, and not wrong."""
    for category, count in annotated.items():
        if count < read:
            left_out = f"{read - count} of {read} images are not annotated for {category}"
            yield f"{left_out}, and count for nothing in it."
    for one in concepts:
        if one.share >= 0.01 and 0 < one.ceiling <= min_iou:
            yield (
                f"{one.concept.category} {one.concept.name} covers {one.share:.0%} of what is judged: no IoU with it "
                f"can pass {one.ceiling:.3f}, so that no unit can have it as a label above {min_iou:g}; a larger "
                "quantile would."
            )
    members = _by_category(concepts)
    for category in sorted(computed & members.keys()) if read else ():
        rare = [one.concept.name for one in members[category] if _is_rare(one, quantile, min_iou)]
        if rare:
            count_of = f"{len(rare)} of {counted(len(members[category]), 'concept')} of {category}"
            yield f"{count_of} are found nowhere or too rarely to be labels: {_first_few(rare)}."


def _by_category(concepts: Sequence[ConceptCheck]) -> dict[str, list[ConceptCheck]]:
    members: dict[str, list[ConceptCheck]] = {}
    for one in concepts:
        members.setdefault(one.concept.category, []).append(one)
    return members


def _is_rare(one: ConceptCheck, quantile: float, min_iou: float) -> bool:
    """Whether a concept covers so little that no unit can match it."""
    return not one.positions or (one.share < quantile and one.ceiling <= min_iou)


def _rarely_marked(one: ConceptCheck, quantile: float) -> Finding:
    images = counted(one.images, "image")
    return Finding(
        "near-empty",
        f"{one.concept.category} {one.concept.name} is marked at {one.positions} positions in {images}: at the "
        f"quantile {quantile:g} no IoU with it can pass {one.ceiling:.3f}.",
    )


def _first_few(names: Sequence[str]) -> str:
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return ", ".join(names[:5]) + more
