"""Check annotated images before they are used: what is marked, and what is wrong."""

import hashlib
import io
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from unitlens.data.columns import Columns
from unitlens.data.concepts import Concept, Data, Example, Finding, described
from unitlens.data.copies import Copies, find_copies, fingerprint
from unitlens.data.findings import AlikeImages, Check, ConceptCheck, Sight, highest_iou, notes, of_concepts, of_files
from unitlens.data.groups import Groups, grouped
from unitlens.data.images import same_aspect
from unitlens.data.inmemory.dataset import as_data
from unitlens.data.pixels.files import UnreadableError
from unitlens.data.pixels.fit import Fit
from unitlens.data.pixels.shown import shown_pixels, taken_pixels
from unitlens.data.preparing import name_hash
from unitlens.data.reading import ExampleRead, chosen_images, read_examples
from unitlens.data.segmentation.accuracy import plain, segmenter_iou
from unitlens.data.segmentation.segmenters import Segmenter
from unitlens.data.sources import StackedData
from unitlens.data.tags import Tags
from unitlens.drawing.strips import draw_tiles
from unitlens.errors import UnitlensError, argument
from unitlens.models.bands.settings import Bands, given_bands
from unitlens.models.preprocessing import Preprocessing
from unitlens.progress import progress as progress_of
from unitlens.stats.folds import FEWEST_FOLDS, FOLDS

Counts = npt.NDArray[np.int64]

TILE = 96
"""Side of an image on the page, in pixels."""

_ALIKE_GROUPS, _ALIKE_IMAGES = 12, 6
"""So many groups of near copies are shown, and so many images of each."""

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
    bands: int | Sequence[int] | None = None,
    range: Sequence[float] | None = None,
    show_bands: int | Sequence[int] | None = None,
    show_range: Sequence[float] | None = None,
    show_percentiles: Sequence[float] | None = None,
    groups: Groups | None = None,
    limit: int | None = None,
    seed: int = 0,
    sights: int = 12,
    progress: bool = False,
) -> Check:
    """Check annotated images: what is marked in them, and what is wrong.

    Parameters
    ----------
    data : Data, str or Path
        Any annotated images; a string is what ``--data`` takes.
    quantile, min_iou : float
        See `unitlens.dissect`.
    image_size, resize, grid
        How images would become a network's input, and its label grid: a quarter of the input, rounded down.
    bands, range
        Which bands of an image the network would take, and which values are 0 and 1 for it, see `unitlens.classifier`.
        Where one is given, images that do not go with it are findings.
    show_bands, show_range, show_percentiles
        How images are shown, see `unitlens.classifier`.
    groups : str, Path, mapping, sequence or None
        Images that belong together, see `unitlens.data.groups.grouped`: how many groups they make, and how large.
    limit : int, optional
        Only so many images, spread evenly over the data set.
    seed : int
        Which images a limit takes.
    sights : int
        At most so many images of each concept are drawn; 0: none.
    progress : bool
        Whether progress is shown.

    Returns
    -------
    Check

    Raises
    ------
    UnitlensError
        If there are no such data, or their lists contradict themselves so that no image can be checked.
    """
    data = as_data(data)
    if described(data).of_latents:
        raise UnitlensError(
            "Latents have no images to look at before a generator draws them: check the images that were encoded, or "
            "dissect the generator, which tells what it draws."
        )
    if not 0 < quantile < 1:
        raise UnitlensError(f"{argument('quantile', quantile)} must lie between 0 and 1, such as 0.01.")
    size = (image_size, image_size) if isinstance(image_size, int) else image_size
    cells = (grid, grid) if isinstance(grid, int) else grid or (max(1, size[0] // 4), max(1, size[1] // 4))
    images = grouped(data, groups, limit=limit, seed=seed)
    asked = given_bands(
        bands=bands, range=range, show_bands=show_bands, show_range=show_range, show_percentiles=show_percentiles
    )
    geometry = Preprocessing(size, resize, (0.0,) * 3, (1.0,) * 3)
    walk = _Walk(images, Columns.of(data.concepts), geometry, cells, asked)
    indices = chosen_images(data, limit, seed=seed)
    with progress_of(len(indices), "checking", show=progress) as bar:
        for read in read_examples(images, indices, bands=walk.most_bands):
            walk.look(read)
            bar.update(1)
    segmented = compare_segmenters(data, limit=limit, seed=seed, progress=progress)
    sights_by_concept = _draw(walk, walk.choose(max(0, min(sights, _TILES // max(len(data.concepts), 1)))))
    concepts = tuple(walk.concepts(quantile, sights_by_concept, segmented.iou))
    annotated = dict(zip(walk.columns.categories, walk.annotated.tolist(), strict=True))
    # what is computed, or missing from some of the images only, nobody can mend
    computed = computed_categories(data) if len(indices) == len(data) else frozenset(annotated)
    wrong = of_concepts(concepts, walk.read, quantile=quantile, min_iou=min_iou, computed=computed)
    copies = find_copies(walk.fingerprints, walk.digests)
    known = notes(concepts, annotated, walk.read, quantile=quantile, min_iou=min_iou, computed=computed)
    return Check(
        source=described(data).source,
        images=len(indices),
        read=walk.read,
        grid=walk.grid,
        quantile=quantile,
        min_iou=min_iou,
        categories=annotated,
        concepts=concepts,
        findings=(*of_files(data), *walk.findings, *wrong),
        notes=(*_band_notes(asked), *known, *segmented.notes, *_group_notes(walk.group_of), *_copy_notes(walk, copies)),
        alike=tuple(_draw_alike(walk, copies)) if sights else (),
    )


class SegmenterComparison(NamedTuple):
    """How well segmenters find what is marked in the data itself.

    Attributes
    ----------
    iou : mapping of Concept to float
        Of a segmenter's concept with what is marked under the same name, where anything is.
    notes : tuple of str
        Why it is not known of the others.
    """

    iou: Mapping[Concept, float]
    notes: tuple[str, ...]


def compare_segmenters(
    data: Data, *, limit: int | None = None, seed: int = 0, progress: bool = False
) -> SegmenterComparison:
    """Compare the segmenters among the sources of a data set with what is marked in the data itself.

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
    if not isinstance(data, StackedData):
        return SegmenterComparison(iou, ())
    for source in data.sources:
        if not isinstance(source, Segmenter):
            continue
        by_name = {plain(concept.name): concept for concept in source.concepts}
        if not len(data.data.concepts):
            notes.append(f"Nothing is marked beside the {source!r}: how well it finds what it names is not known.")
            continue
        try:
            measured = segmenter_iou(source, data.data, limit=limit, seed=seed, progress=progress)
        except UnitlensError as error:
            notes.append(f"How well the {source!r} finds what it names is not known: {error}")
            continue
        iou |= {by_name[plain(one.concept.name)]: one.iou for one in measured if one.marked}
        notes += [_segmenter_note(source, len(by_name), iou)] if iou else []
    return SegmenterComparison(iou, tuple(notes))


def _segmenter_note(source: Segmenter, concepts: int, iou: Mapping[Concept, float]) -> str:
    low, high = min(iou, key=iou.__getitem__), max(iou, key=iou.__getitem__)
    return (
        f"The {source!r} was compared with what is marked for {len(iou)} of its {concepts} concepts: IoU from "
        f"{iou[low]:.3f} ({low.name}) to {iou[high]:.3f} ({high.name}). No label by it can be better than that."
    )


def computed_categories(data: Data) -> frozenset[str]:
    """Categories that are computed from pixels, so that nobody can mend what is not found of them."""
    if not isinstance(data, StackedData):
        return frozenset()
    sources = [source for source in data.sources if not isinstance(source, Tags)]
    return frozenset(Concept(*concept).category for source in sources for concept in source.concepts)


@dataclass
class _Walk:
    """One pass over the images, and what is counted in it."""

    data: Data
    columns: Columns
    preprocessing: Preprocessing
    grid: tuple[int, int]
    bands: Bands
    findings: list[Finding] = field(default_factory=list)
    names: dict[str, int] = field(default_factory=dict)
    fingerprints: list[bytes] = field(default_factory=list)
    digests: list[bytes] = field(default_factory=list)
    group_of: dict[str, str] = field(default_factory=dict)
    areas: list[tuple[int, npt.NDArray[np.int32]]] = field(default_factory=list)  # index, and positions of each column

    def look(self, read: ExampleRead) -> None:
        """Count what is marked in an image, or say what is wrong with it."""
        index, example = read.index, read.example
        if not isinstance(example, Example):
            kind = "unreadable" if isinstance(example, UnreadableError) else "contradiction"
            self.findings.append(Finding(kind, str(example)))
            return
        if self.names.setdefault(example.name, index) != index:
            self.findings.append(Finding("name", f"Two images are called {example.name}."))
        try:
            taken_pixels(self.given(example), self.bands, example.name)
        except UnitlensError as error:
            self.findings.append(Finding("bands", str(error)))
            return
        try:
            planes = self.planes(example)
        except UnitlensError as error:
            self.findings.append(Finding(_kind(example), str(error)))
            return
        if self.columns.categories and not any(len(maps) for maps in example.planes.values()):
            self.findings.append(Finding("missing map", f"{example.name} is annotated for no category."))
        if example.group is not None:
            self.group_of[example.name] = example.group
        self.fingerprints.append(fingerprint(example.image))
        self.digests.append(hashlib.sha256(example.image.tobytes() + str(example.image.shape).encode()).digest())
        self.areas.append((index, np.bincount(planes.ravel(), minlength=self.columns.count).astype(np.int32)))

    def planes(self, example: Example) -> npt.NDArray[np.int16]:
        """Columns of every cell of the label grid, see `Columns.planes`."""
        height, width = example.image.shape[:2]
        sized = example._replace(image=np.broadcast_to(np.uint8(0), (height, width, 3)))  # of any depth
        return self.columns.planes(sized, Fit.of(height, width, self.preprocessing), self.grid)

    def example(self, row: int) -> Example:
        """An image that was read, by its place among these, once more."""
        (read,) = read_examples(self.data, [self.areas[row][0]], bands=self.most_bands)
        if not isinstance(read.example, Example):
            raise read.example
        return read.example

    @property
    def most_bands(self) -> int | None:
        """So many bands an image has to have."""
        return None if self.bands.chosen is None else max(self.bands.chosen)

    def given(self, example: Example) -> npt.NDArray[Any]:
        """Its pixels as a network would be given them."""
        return example.image if example.exact is None or self.bands.range is None else example.exact

    def pixels(self, example: Example) -> npt.NDArray[np.uint8]:
        """An image of any number of bands and depth as it is looked at, (height, width, 3)."""
        image = self.given(example)
        fit = Fit.of(image.shape[0], image.shape[1], self.preprocessing)
        return shown_pixels(image, fit, self.bands, example.name)

    @property
    def read(self) -> int:
        return len(self.areas)

    @property
    def cells(self) -> int:
        return self.grid[0] * self.grid[1]

    @property
    def held(self) -> Counts:
        """Positions of each column by image, (images, columns)."""
        return np.array([area for _, area in self.areas], dtype=np.int64).reshape(self.read, self.columns.count)

    @property
    def annotated(self) -> Counts:
        """Images with a judged position of each category."""
        annotated: Counts = (self.held[:, 1 + len(self.columns.concepts) :] < self.cells).sum(0)
        return annotated

    def choose(self, most: int) -> list[list[int]]:
        """For each concept, the images that it covers most, by their place among those that were read."""
        held = self.held[:, 1 : 1 + len(self.columns.concepts)]
        return [
            [number for number in np.argsort(-area, kind="stable")[:most].tolist() if area[number]] for area in held.T
        ]

    def concepts(
        self, quantile: float, sights: Sequence[Sequence[Sight]], segmenter_iou: Mapping[Concept, float]
    ) -> Iterator[ConceptCheck]:
        """What is marked of each concept."""
        held, first = self.held, 1 + len(self.columns.concepts)
        everywhere = self.read * self.cells
        judged = everywhere - held[:, first:].sum(0)
        for number, concept in enumerate(self.columns.concepts):
            marked, all_judged = held[:, 1 + number], int(judged[self.columns.category_of[number]])
            positions = int(marked.sum())
            most = int(Fraction(Decimal(str(quantile))) * everywhere)
            yield ConceptCheck(
                concept,
                int((marked > 0).sum()),
                positions,
                positions / max(all_judged, 1),
                highest_iou(positions, most, elsewhere=everywhere - all_judged),
                tuple(sights[number]),
                segmenter_iou.get(concept),
            )


def _band_notes(bands: Bands) -> Iterator[str]:
    """Which bands and values of the images were checked, and how they are shown, where something was asked for."""
    if bands.chosen is not None or bands.range is not None:
        chosen = "all bands" if bands.chosen is None else f"bands {', '.join(map(str, bands.chosen))}"
        values = "" if bands.range is None else f"; {bands.range[0]:g} becomes 0, and {bands.range[1]:g} becomes 1"
        yield f"Images were read as a network would be given them: {chosen}{values}."
    parts = [] if bands.show_bands is None else [f"bands {', '.join(map(str, bands.show_bands))} of these"]
    if bands.show_range is not None:
        parts.append(f"from {bands.show_range[0]:g} to {bands.show_range[1]:g}")
    if bands.show_percentiles is not None:
        low, high = bands.show_percentiles
        parts.append(f"from percentile {low:g} to {high:g} of each image")
    if parts:
        yield f"They are shown as {', '.join(parts)}."


def _kind(example: Example) -> str:
    """What is wrong with an image whose planes contradict the data set."""
    shape = example.image.shape[:2]
    maps = [np.asarray(plane) for planes in example.planes.values() for plane in planes]
    if any(plane.ndim == 2 and plane.size and not same_aspect(shape, plane.shape) for plane in maps):
        return "size"
    return "stray label"


def _draw(walk: _Walk, chosen: Sequence[Sequence[int]]) -> list[list[Sight]]:
    """Draw the masks of concepts into the images that were chosen for them; each image is read once."""
    wanted: dict[int, list[int]] = {}
    for number, rows in enumerate(chosen):
        for row in rows:
            wanted.setdefault(row, []).append(number)
    drawn: dict[tuple[int, int], Sight] = {}
    for row, numbers in sorted(wanted.items()):
        example, area = walk.example(row), walk.areas[row][1]
        pixels = walk.pixels(example)
        planes = walk.planes(example).reshape(-1, *walk.grid)
        masks = np.stack([(planes == 1 + number).any(0) for number in numbers])
        tiles = draw_tiles(np.broadcast_to(pixels, (len(numbers), *pixels.shape)), masks, size=TILE)
        for number, tile in zip(numbers, tiles, strict=True):
            drawn[number, row] = Sight(example.name, float(area[1 + number]) / walk.cells, _jpeg(tile))
    return [[drawn[number, row] for row in rows] for number, rows in enumerate(chosen)]


def _group_notes(group_of: Mapping[str, str]) -> Iterator[str]:
    """How many groups the images form, and whether they are too few for intervals; nothing without groups."""
    sizes = Counter(group_of.values())
    if not sizes:
        return
    ((largest, most),) = sizes.most_common(1)
    yield f"The images form {len(sizes)} groups, the largest ({largest}) of {most} images."
    folds = len({name_hash(group) % FOLDS for group in sizes})
    if folds < FEWEST_FOLDS:
        yield f"They fill {folds} of {FOLDS} folds, fewer than {FEWEST_FOLDS}: a dissection will have no intervals."


def _copy_notes(walk: _Walk, copies: Copies) -> Iterator[str]:
    """How many images are copies, and what to say of it; nothing where images have groups already."""
    if copies.exact:
        are = "image is an exact copy" if copies.exact == 1 else "images are exact copies"
        yield f"{copies.exact} {are} of another one."
    if copies.images and not described(walk.data).grouped:
        give = f"give {argument('groups', 'auto')}, or {argument('groups', 'sequence:20')} for frames of a video"
        yield (
            f"{copies.images} of {walk.read} images are copies or near copies of others, so that there seem to be "
            f"{copies.groups} groups"
            + (f": {give}." if copies.notable else f"; they are few, but to count them as one, {give}.")
        )


def _draw_alike(walk: _Walk, copies: Copies) -> Iterator[AlikeImages]:
    """Draw some images of the largest groups of copies."""
    first, size = np.unique(copies.group, return_counts=True)
    for group, count in sorted(zip(first.tolist(), size.tolist(), strict=True), key=lambda one: (-one[1], one[0])):
        if count < 2 or group in first[np.argsort(-size, kind="stable")][_ALIKE_GROUPS:]:
            continue
        sights = []
        for row in np.flatnonzero(copies.group == group)[:_ALIKE_IMAGES].tolist():
            example = walk.example(row)
            pixels = walk.pixels(example)
            (tile,) = draw_tiles(pixels[None], np.ones((1, *walk.grid), bool), size=TILE)
            sights.append(Sight(example.name, 1.0, _jpeg(tile)))
        yield AlikeImages(count, tuple(sights))


def _jpeg(tile: npt.NDArray[np.uint8]) -> bytes:
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(tile).save(file, "JPEG", quality=75)
    return file.getvalue()
