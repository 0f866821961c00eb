"""Look through annotated pictures before they are used: what is there, and what is wrong."""

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from unitlens.check_ceilings import Agreement, agreement, computed_categories
from unitlens.checked import Check, ConceptCheck, Finding, Sight, highest_iou
from unitlens.columns import Columns
from unitlens.concepts import Data, Example
from unitlens.data import as_example
from unitlens.errors import UnitlensError
from unitlens.folder import AnnotatedFolder
from unitlens.network import Preprocessing
from unitlens.pictures import Fit, UnreadableError, same_aspect
from unitlens.progress import progress as progress_of
from unitlens.sources import open_data
from unitlens.sprites import draw_tiles
from unitlens.stacking import StackedData

Counts = npt.NDArray[np.int64]

TILE = 96
"""Side of a picture on the page, in pixels."""

_TILES = 8000
"""A page holds at most about so many of them, at some 3 kB each."""


def check(
    data: Data | str | Path,
    *,
    quantile: float = 0.01,
    min_iou: float = 0.04,
    image_size: int | tuple[int, int] = 224,
    resize: int | None = None,
    grid: int | tuple[int, int] | None = None,
    limit: int | None = None,
    sights: int = 12,
    progress: bool = False,
) -> Check:
    """Look through annotated pictures.

    Parameters
    ----------
    data : Data, str or Path
        Any annotated pictures; a string is what ``--data`` takes.
    quantile, min_iou : float
        See `unitlens.dissect`.
    image_size, resize, grid
        How a network would be shown the pictures, and its label grid: a quarter of the input, rounded down.
    limit : int, optional
        Only so many pictures from the start.
    sights : int
        At most so many pictures of each concept are drawn; 0: none.
    progress : bool
        Whether progress is shown.

    Returns
    -------
    Check

    Raises
    ------
    UnitlensError
        If there are no such data, or their lists contradict themselves, so that nothing can be looked through.
    """
    data = open_data(data) if isinstance(data, str | Path) else data
    if not 0 < quantile < 1:
        raise UnitlensError(f"The quantile is {quantile}; it must lie between 0 and 1, such as 0.01.")
    size = (image_size, image_size) if isinstance(image_size, int) else image_size
    cells = (grid, grid) if isinstance(grid, int) else grid or (max(1, size[0] // 4), max(1, size[1] // 4))
    walk = _Walk(data, Columns.of(data.concepts), Preprocessing(size, resize, (0.0,) * 3, (1.0,) * 3), cells)
    total = len(data) if limit is None else min(limit, len(data))
    with progress_of(total, "checking", show=progress) as bar:
        for index in range(total):
            walk.look(index)
            bar.update(1)
    chosen = walk.choose(max(0, min(sights, _TILES // max(len(data.concepts), 1))))
    seen = _draw(walk, chosen)
    agreed = agreement(data, limit=limit)
    concepts = tuple(walk.concepts(quantile, seen, agreed))
    computed = computed_categories(data)
    wrong = [*_of_files(data), *walk.findings, *_of_concepts(concepts, walk, quantile, min_iou, computed)]
    return Check(
        source=str(getattr(data, "source", repr(data))),
        pictures=total,
        read=walk.read,
        grid=cells,
        quantile=quantile,
        min_iou=min_iou,
        categories=dict(zip(walk.columns.categories, walk.annotated.tolist(), strict=True)),
        concepts=concepts,
        findings=tuple(wrong),
        notes=(*_notes(walk, concepts, quantile, min_iou, computed), *agreed.notes),
    )


@dataclass
class _Walk:
    """One pass over the pictures, and what is counted in it."""

    data: Data
    columns: Columns
    preprocessing: Preprocessing
    grid: tuple[int, int]
    findings: list[Finding] = field(default_factory=list)
    names: dict[str, int] = field(default_factory=dict)
    areas: list[tuple[int, npt.NDArray[np.int32]]] = field(default_factory=list)  # index, and positions of each column

    def look(self, index: int) -> None:
        """Count what is marked in a picture, or say what is wrong with it."""
        try:
            example = as_example(self.data[index])
        except UnreadableError as error:
            self.findings.append(Finding("unreadable", str(error)))
            return
        except UnitlensError as error:
            self.findings.append(Finding("contradiction", str(error)))
            return
        if self.names.setdefault(example.name, index) != index:
            self.findings.append(Finding("name", f"Two pictures are called {example.name}."))
        try:
            planes = self.planes(example)
        except UnitlensError as error:
            self.findings.append(Finding(_kind(example), str(error)))
            return
        if self.columns.categories and not any(len(maps) for maps in example.planes.values()):
            self.findings.append(Finding("missing map", f"{example.name} is annotated for no category."))
        self.areas.append((index, np.bincount(planes.ravel(), minlength=self.columns.count).astype(np.int32)))

    def planes(self, example: Example) -> npt.NDArray[np.int16]:
        """Columns of every cell of the label grid, see `Columns.planes`."""
        height, width = example.picture.shape[:2]
        return self.columns.planes(example, Fit.of(height, width, self.preprocessing), self.grid)

    @property
    def read(self) -> int:
        return len(self.areas)

    @property
    def cells(self) -> int:
        return self.grid[0] * self.grid[1]

    @property
    def held(self) -> Counts:
        """Positions of each column by picture, (pictures, columns)."""
        return np.array([area for _, area in self.areas], dtype=np.int64).reshape(self.read, self.columns.count)

    @property
    def annotated(self) -> Counts:
        """Pictures with a judged position of each category."""
        annotated: Counts = (self.held[:, 1 + len(self.columns.concepts) :] < self.cells).sum(0)
        return annotated

    def choose(self, most: int) -> list[list[int]]:
        """For each concept, the pictures that it covers most, by their place among those that were read."""
        held = self.held[:, 1 : 1 + len(self.columns.concepts)]
        return [[place for place in np.argsort(-area, kind="stable")[:most].tolist() if area[place]] for area in held.T]

    def concepts(self, quantile: float, sights: Sequence[Sequence[Sight]], agreed: Agreement) -> Iterator[ConceptCheck]:
        """What is marked of each concept."""
        held, first = self.held, 1 + len(self.columns.concepts)
        everywhere = self.read * self.cells
        judged = everywhere - held[:, first:].sum(0)
        for number, concept in enumerate(self.columns.concepts):
            own, all_judged = held[:, 1 + number], int(judged[self.columns.category_of[number]])
            positions = int(own.sum())
            most = int(Fraction(Decimal(str(quantile))) * everywhere)
            yield ConceptCheck(
                concept,
                int((own > 0).sum()),
                positions,
                positions / max(all_judged, 1),
                highest_iou(positions, most, elsewhere=everywhere - all_judged),
                tuple(sights[number]),
                agreed.iou.get(concept),
            )


def _kind(example: Example) -> str:
    """What is wrong with a picture whose planes contradict the data set."""
    shape = example.picture.shape[:2]
    maps = [np.asarray(plane) for planes in example.planes.values() for plane in planes]
    if any(plane.ndim == 2 and plane.size and not same_aspect(shape, plane.shape) for plane in maps):
        return "size"
    return "stray label"


def _draw(walk: _Walk, chosen: Sequence[Sequence[int]]) -> list[list[Sight]]:
    """Draw the masks of concepts into the pictures that were chosen for them; each picture is read once."""
    wanted: dict[int, list[int]] = {}
    for number, places in enumerate(chosen):
        for place in places:
            wanted.setdefault(place, []).append(number)
    drawn: dict[tuple[int, int], Sight] = {}
    for place, numbers in sorted(wanted.items()):
        index, area = walk.areas[place]
        example = as_example(walk.data[index])
        height, width = example.picture.shape[:2]
        shown = np.asarray(Fit.of(height, width, walk.preprocessing).picture(example.picture))
        planes = walk.planes(example).reshape(-1, *walk.grid)
        masks = np.stack([(planes == 1 + number).any(0) for number in numbers])
        tiles = draw_tiles(np.broadcast_to(shown, (len(numbers), *shown.shape)), masks, size=TILE)
        for number, tile in zip(numbers, tiles, strict=True):
            drawn[number, place] = Sight(example.name, float(area[1 + number]) / walk.cells, _jpeg(tile))
    return [[drawn[number, place] for place in places] for number, places in enumerate(chosen)]


def _jpeg(tile: npt.NDArray[np.uint8]) -> bytes:
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(tile).save(file, "JPEG", quality=75)
    return file.getvalue()


def _of_files(data: Any) -> Iterator[Finding]:
    """Files of an annotated folder that have no counterpart."""
    for name in getattr(data, "not_pictures", ()):
        yield Finding("no picture", f"{name} is no picture file.")
    data = data.data if isinstance(data, StackedData) and data.own else data
    for name in getattr(data, "unpaired", ()):
        yield Finding(
            "missing pair", f"{name} has no counterpart, a picture or a mask of the same name, and is left out."
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
            yield Finding("missing picture", f"labels/{place.as_posix()} is the map of no picture under images/.")


def _of_concepts(
    concepts: Sequence[ConceptCheck], walk: _Walk, quantile: float, min_iou: float, computed: frozenset[str]
) -> Iterator[Finding]:
    if not concepts:
        yield Finding("nothing marked", "No concept is marked, so that units cannot be matched.")
    if not walk.read:
        yield Finding("nothing read", "None of the pictures could be looked at.")
        return
    for name, own in zip(walk.columns.names(), concepts, strict=True):
        if own.concept.category in computed or not _near_empty(own, quantile, min_iou):
            continue
        if not own.positions:
            yield Finding("near-empty", f"{own.concept.category} {name} is marked nowhere.")
        else:
            yield Finding(
                "near-empty",
                f"{own.concept.category} {name} is marked at {own.positions} positions in {own.pictures} "
                f"picture{'s' * (own.pictures > 1)}: at the quantile {quantile:g} no IoU with it can pass "
                f"{own.ceiling:.3f}.",
            )


def _near_empty(own: ConceptCheck, quantile: float, min_iou: float) -> bool:
    return not own.positions or (own.share < quantile and own.ceiling <= min_iou)


def _notes(
    walk: _Walk, concepts: Sequence[ConceptCheck], quantile: float, min_iou: float, computed: frozenset[str]
) -> Iterator[str]:
    """What is worth knowing."""
    for category, count in zip(walk.columns.categories, walk.annotated.tolist(), strict=True):
        if count < walk.read:
            left_out = f"{walk.read - count} of {walk.read} pictures are not annotated for {category}"
            yield f"{left_out}, and count for nothing in it."
    for name, own in zip(walk.columns.names(), concepts, strict=True):
        if own.share >= 0.01 and 0 < own.ceiling <= min_iou:
            yield (
                f"{own.concept.category} {name} covers {own.share:.0%} of what is judged: no IoU with it can pass "
                f"{own.ceiling:.3f}, so that no unit can have it as a label above {min_iou:g}; a larger quantile would."
            )
    for category in sorted(computed) if walk.read else ():
        all_ = [one for one in concepts if one.concept.category == category]
        rare = [one.concept.name for one in all_ if _near_empty(one, quantile, min_iou)]
        if rare:
            some = ", ".join(rare[:5]) + f" and {len(rare) - 5} more" * (len(rare) > 5)
            count = f"{len(rare)} of {len(all_)} concepts of {category}"
            yield f"{count} are found nowhere or too rarely to be labels: {some}."
