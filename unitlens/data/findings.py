"""What is wrong with annotated images, and what is worth knowing of them, in sentences."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from unitlens.data.checks import ConceptCheck, Finding
from unitlens.data.concepts import described
from unitlens.data.readers.annotated import AnnotatedFolder
from unitlens.data.sources import StackedData


def of_files(data: Any) -> Iterator[Finding]:
    """Files that have no counterpart, or are no images."""
    for name in described(data).not_images:
        yield Finding("no image", f"{name} is no image file.")
    data = data.data if isinstance(data, StackedData) and data.own else data
    for name in getattr(data, "unpaired", ()):
        yield Finding(
            "missing pair", f"{name} has no counterpart, an image or a mask of the same name, and is left out."
        )
    if not isinstance(data, AnnotatedFolder):
        return
    stems = {name.rpartition(".")[0] for name in data.names}
    labels = data.root / "labels"
    for path in sorted(labels.rglob("*")) if labels.is_dir() else ():
        place = path.relative_to(labels)
        if not path.is_file() or any(part.startswith(".") for part in place.parts):
            continue
        inside = "/".join(place.parts[1:]).rpartition(".")[0]
        if path.suffix != ".png":
            yield Finding("no label map", f"labels/{place.as_posix()} is no label map: a label map is a .png file.")
        elif inside not in stems:
            yield Finding("missing image", f"labels/{place.as_posix()} is the map of no image under images/.")


def of_concepts(
    concepts: Sequence[ConceptCheck], read: int, *, quantile: float, min_iou: float, excused: frozenset[str]
) -> Iterator[Finding]:
    """Concepts that are marked nowhere or hardly, those of the excused categories aside; and that nothing is there."""
    if not concepts:
        yield Finding("nothing marked", "No concept is marked, so that units cannot be matched.")
    if not read:
        yield Finding("nothing read", "None of the images could be looked at.")
        return
    for category in dict.fromkeys(one.concept.category for one in concepts if one.concept.category not in excused):
        own = [one for one in concepts if one.concept.category == category]
        yield from (_hardly(one, quantile) for one in own if one.positions and _near_empty(one, quantile, min_iou))
        nowhere = [one.concept.name for one in own if not one.positions]
        if len(nowhere) == 1:
            yield Finding("near-empty", f"{category} {nowhere[0]} is marked nowhere.")
        elif nowhere:
            count = f"{len(nowhere)} of {len(own)} concepts of {category}"
            yield Finding("near-empty", f"{count} are marked nowhere: {_some(nowhere)}.")


def _hardly(own: ConceptCheck, quantile: float) -> Finding:
    return Finding(
        "near-empty",
        f"{own.concept.category} {own.concept.name} is marked at {own.positions} positions in {own.images} "
        f"image{'s' * (own.images > 1)}: at the quantile {quantile:g} no IoU with it can pass {own.ceiling:.3f}.",
    )


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + f" and {len(names) - 5} more" * (len(names) > 5)


def _near_empty(own: ConceptCheck, quantile: float, min_iou: float) -> bool:
    return not own.positions or (own.share < quantile and own.ceiling <= min_iou)


def notes(
    concepts: Sequence[ConceptCheck],
    annotated: Mapping[str, int],
    read: int,
    *,
    quantile: float,
    min_iou: float,
    excused: frozenset[str],
) -> Iterator[str]:
    """What is worth knowing, and not wrong."""
    for category, count in annotated.items():
        if count < read:
            left_out = f"{read - count} of {read} images are not annotated for {category}"
            yield f"{left_out}, and count for nothing in it."
    for own in concepts:
        if own.share >= 0.01 and 0 < own.ceiling <= min_iou:
            yield (
                f"{own.concept.category} {own.concept.name} covers {own.share:.0%} of what is judged: no IoU with it "
                f"can pass {own.ceiling:.3f}, so that no unit can have it as a label above {min_iou:g}; a larger "
                "quantile would."
            )
    for category in sorted(excused) if read else ():
        all_ = [one for one in concepts if one.concept.category == category]
        rare = [one.concept.name for one in all_ if _near_empty(one, quantile, min_iou)]
        if rare:
            count_of = f"{len(rare)} of {len(all_)} concepts of {category}"
            yield f"{count_of} are found nowhere or too rarely to be labels: {_some(rare)}."
