"""What run.json holds, as records that are read strictly: nothing is missing, unknown or of another type."""

import hashlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from unitlens.data.concepts import told_apart
from unitlens.dissection.settings import Settings
from unitlens.errors import UnitlensError
from unitlens.files import encoded
from unitlens.models.latents import LatentInput
from unitlens.models.preprocessing import Preprocessing
from unitlens.records import LATER, check_range, check_types, read_record

SCHEMA = 7
"""Of run.json and of the files beside it. It is raised where a reader of the old one would misread the new one.

A field that is added is marked `unitlens.records.LATER`, so that runs of before stay readable. tests/old_runs/ has a
run of every schema that is read, and a test opens each.
"""

OLDEST = 7
"""The oldest schema that is still read."""

MOST = 2**53
"""Counts are no larger than this, so that sums of 32 folds stay exact in int64."""

_LONGEST_SIDE = 1 << 15


@dataclass(frozen=True)
class NetworkRecord:
    """The network that was dissected; see `unitlens.models.network.Network`."""

    name: str
    weights: str | None
    image: Literal["input", "output"]
    sha256: str
    preprocessing: Preprocessing
    classes: tuple[str, ...] | None
    latents: LatentInput | None

    def __post_init__(self) -> None:
        check_types(self)
        check_hash("network.sha256", self.sha256)
        if (self.image == "output") != (self.latents is not None):
            raise UnitlensError(f"the units are compared with the {self.image}, and latents is {self.latents}")
        if max(*self.preprocessing.image_size, self.preprocessing.resize or 1) > _LONGEST_SIDE:
            raise UnitlensError(f"the input of the network has more than {_LONGEST_SIDE} pixels a side")


@dataclass(frozen=True)
class SkippedRecord:
    """An image that was left out, and why."""

    image: str
    reason: str

    def __post_init__(self) -> None:
        check_types(self)


@dataclass(frozen=True)
class CategoryRecord:
    """How many images are annotated for a category."""

    images: int

    def __post_init__(self) -> None:
        check_types(self)


@dataclass(frozen=True)
class ConceptRecord:
    """A concept, how many images and positions of the label grid contain it, and how good the segmenter is at it."""

    category: str
    label: int
    name: str
    images: int
    positions: int
    segmenter_iou: float | None = None

    def __post_init__(self) -> None:
        check_types(self)


@dataclass(frozen=True)
class GroupsRecord:
    """How many groups the images form, of how many images the largest is, and a hash of what groups.csv says."""

    count: int
    largest: int
    sha256: str

    def __post_init__(self) -> None:
        check_types(self)
        check_hash("data.groups.sha256", self.sha256)
        check_range("the number of groups", self.count, 1, MOST)
        check_range("the images of a group", self.largest, 1, MOST)

    @classmethod
    def of(cls, group_of: Mapping[str, str]) -> "GroupsRecord":
        """The record of groups by the names of images."""
        sizes, pairs = Counter(group_of.values()), hashlib.sha256()
        for number, name in enumerate(sorted(group_of)):
            pairs.update(encoded(("\n" if number else "") + f"{name!r} {group_of[name]!r}"))
        return cls(len(sizes), max(sizes.values()), pairs.hexdigest())


@dataclass(frozen=True)
class DataRecord:
    """The images, what is marked in them, and the keywords that `unitlens.open_data` was given beside the source."""

    source: str
    sha256: str
    images: int
    skipped: tuple[SkippedRecord, ...]
    categories: Mapping[str, CategoryRecord]
    concepts: tuple[ConceptRecord, ...]
    opened: Mapping[str, Any]
    groups: GroupsRecord | None = None

    def __post_init__(self) -> None:
        check_types(self)
        check_hash("data.sha256", self.sha256)
        check_range("data.images", self.images, 1, MOST)
        for category, own in self.categories.items():
            check_range(f"the images of {category}", own.images, 0, self.images)
        for one in self.concepts:
            if one.category not in self.categories:
                raise UnitlensError(f"the concept {one.name} is of the category {one.category}, which is not listed")
            check_range(f"the label of {one.name}", one.label, 0, MOST)
            check_range(f"the images of {one.name}", one.images, 0, self.images)
            check_range(f"the positions of {one.name}", one.positions, 0, MOST)
            check_range(f"the segmenter's IoU with {one.name}", one.segmenter_iou or 0, 0, 1)
        pairs = [(one.category, one.name) for one in self.concepts]
        if not pairs or len(set(pairs)) < len(pairs):
            raise UnitlensError("there is no concept, or one is listed twice")


@dataclass(frozen=True)
class LayerRecord:
    """A layer: its units, the grid of its maps, and each unit's mean activation over all positions."""

    units: int
    grid: tuple[int, int] | None
    layout: str | None
    left_out: Mapping[str, int]
    nonfinite: int
    mean: tuple[float, ...]

    def __post_init__(self) -> None:
        check_types(self)
        check_range("the units of a layer", self.units, 1, MOST)
        check_range("the nonfinite units of a layer", self.nonfinite, 0, self.units)
        if self.grid is not None and not 1 <= min(self.grid) <= max(self.grid) <= _LONGEST_SIDE:
            raise UnitlensError(f"the grid of a layer is {self.grid[0]} x {self.grid[1]}")
        if len(self.mean) != self.units:
            raise UnitlensError(f"a layer of {self.units} units has the means of {len(self.mean)}")


@dataclass(frozen=True)
class FastRecord:
    """What a fast copy computes in, and how far activations are off on so many of the first images.

    See `unitlens.models.fast.copies`.
    """

    precision: str
    channels_last: bool
    folded: int
    norms: int
    images: int
    activation: float
    winograd: int = field(default=0, metadata=LATER, kw_only=True)

    def __post_init__(self) -> None:
        check_types(self)
        check_range("the batch norms", self.norms, 0, MOST)
        check_range("the convolutions by Winograd's algorithm", self.winograd, 0, MOST)
        check_range("the batch norms that are folded", self.folded, 0, self.norms)
        check_range("the images that a fast copy is compared on", self.images, 1, MOST)


@dataclass(frozen=True)
class DeviationRecord(FastRecord):
    """The same of a layer that is dissected; see `unitlens.dissection.rounding.deviation`."""

    units: int
    threshold: float | None
    concepts: int | None

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range("the units of a deviation", self.units, 1, MOST)
        check_range("the units with another concept", self.concepts or 0, 0, self.units)


@dataclass(frozen=True)
class ComparisonRecord:
    """A row of the comparison with controls; see `unitlens.dissection.controls.compared`."""

    layer: str
    network: str
    units: int
    silent: int
    above_min_iou: float | None
    concepts: float | None
    detectors: int | None
    detected_concepts: int | None

    def __post_init__(self) -> None:
        check_types(self)
        for name in ("units", "silent", "above_min_iou", "concepts", "detectors", "detected_concepts"):
            check_range(f"{name} in the comparison", getattr(self, name) or 0, 0, MOST)


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """All of run.json."""

    schema: int
    unitlens: str
    created: str
    command: str | None
    network: NetworkRecord
    data: DataRecord
    settings: Settings
    layers: Mapping[str, LayerRecord]
    timings: Mapping[str, float]
    deviation: Mapping[str, DeviationRecord]
    warnings: tuple[str, ...]
    versions: Mapping[str, str]
    comparison: tuple[ComparisonRecord, ...]
    machine: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_types(self)
        if tuple(self.layers) != self.settings.layers:
            raise UnitlensError(
                f"the layers are {', '.join(self.layers)}, the settings name {', '.join(self.settings.layers)}"
            )
        if max(self.settings.grid) > _LONGEST_SIDE:
            raise UnitlensError(f"the label grid is {self.settings.grid[0]} x {self.settings.grid[1]}")
        for row in self.comparison:
            if row.layer not in self.layers:
                raise UnitlensError(f"the comparison is of {row.layer}, which is not a layer of the run")

    @classmethod
    def from_json(cls, content: Any) -> "RunRecord":
        """Read run.json.

        Raises
        ------
        UnitlensError
            If it is of another schema, or not as `unitlens.dissection.provenance.describe_run` makes it.
        """
        check_schema(content)
        return read_record(cls, content, what="run.json")

    def concept_names(self) -> list[str]:
        """Return the concepts as tables write them: category/name where a name stands twice."""
        return told_apart([(concept.category, concept.name) for concept in self.data.concepts])

    def positions(self, layer: str) -> int:
        """Return the positions that a layer is evaluated on: images times cells of the label grid, or images."""
        cells = 1 if self.layers[layer].grid is None else int(np.prod(self.settings.grid))
        return self.data.images * cells


class OtherSchemaError(UnitlensError):
    """A run is not damaged, but of a schema that is not read here; the text says what to do."""


def check_schema(content: Any) -> None:
    """Make sure that run.json is of a schema that is read here.

    Raises
    ------
    OtherSchemaError
        If it is of an older or a newer one.
    """
    schema = content.get("schema", 1) if isinstance(content, Mapping) else None
    if type(schema) is int and not OLDEST <= schema <= SCHEMA:
        writer = content.get("unitlens")
        by = f" (unitlens {writer} wrote it)" if isinstance(writer, str) and writer.isprintable() else ""
        reads = f"schema {SCHEMA}" if OLDEST == SCHEMA else f"schemas {OLDEST} to {SCHEMA}"
        later, before = "update unitlens", "dissect again"
        raise OtherSchemaError(
            f"is of schema {schema}{by}, and this version of unitlens reads {reads}: "
            f"{later if schema > SCHEMA else before}, or open it with the version that wrote it."
        )


def check_hash(what: str, value: str) -> None:
    """Make sure that a text is a SHA-256.

    Raises
    ------
    UnitlensError
        If it is none.
    """
    if len(value) != 64 or not set(value) <= set("0123456789abcdef"):
        raise UnitlensError(f"{what} is {value!r}, not a SHA-256 in hexadecimal digits")
