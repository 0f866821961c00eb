"""What interventions.json says of each result, beside its counts: records that are read strictly."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, Literal

from unitlens.ablation.effects_record import InfoRecord
from unitlens.data.concepts import Concept
from unitlens.dissection.run_record import check_hash
from unitlens.editing.settings import AreaSettings
from unitlens.errors import UnitlensError
from unitlens.records import check_range, check_types, read_result, read_versioned

SCHEMA = 5
"""Version of interventions.json and of the files beside it; those of another one are refused."""


@dataclass(frozen=True, kw_only=True)
class AreaInfoRecord(InfoRecord):
    """Where a result comes from; ``concepts`` are the sources that looked at the images."""

    concepts: tuple[str, ...]


@dataclass(frozen=True)
class MarkedRecord:
    """A concept, and how good its source is at it."""

    category: str
    label: int
    name: str
    segmenter_iou: float | None

    def __post_init__(self) -> None:
        check_types(self)
        check_range(f"the segmenter's IoU with {self.name}", self.segmenter_iou or 0, 0, 1)

    def concept(self) -> Concept:
        """The concept alone."""
        return Concept(self.category, self.label, self.name)


@dataclass(frozen=True, kw_only=True)
class ResultRecord:
    """What the records of all results say.

    Attributes
    ----------
    settings : AreaSettings
    info : AreaInfoRecord
    concepts : int
        Which of the file's lists has all that were measured, in the order of the counts.
    """

    settings: AreaSettings
    info: AreaInfoRecord
    concepts: int

    def __post_init__(self) -> None:
        check_types(self)
        if self.settings.where_sha256 is not None:
            check_hash("where_sha256", self.settings.where_sha256)


@dataclass(frozen=True, kw_only=True)
class ConceptRecord(ResultRecord):
    """A result about one concept; ``column`` is its place among all."""

    column: int


@dataclass(frozen=True, kw_only=True)
class DistanceRecord:
    """See `unitlens.editing.set_result.LayerDistance`."""

    before: float
    after: float
    outside: float
    images: int

    def __post_init__(self) -> None:
        check_types(self)
        check_range("the share of positions outside", self.outside, 0, 1)


@dataclass(frozen=True, kw_only=True)
class SetRecord(ResultRecord):
    """One set of units; ``sheet`` is the file of example images, of which all show ``sheet_of`` untouched."""

    kind: Literal["SetAreas"] = "SetAreas"
    units: tuple[int, ...]
    draws: Mapping[str, int]
    chosen_for: str | None
    distance: DistanceRecord | None
    sheet: str | None
    sheet_of: str | None

    def __post_init__(self) -> None:
        super().__post_init__()
        check_units(self.units)
        check_file(self.sheet)


@dataclass(frozen=True, kw_only=True)
class CausalRecord(ResultRecord):
    """The sweep of every unit of a layer; ``ranked``: whether its ranking stands beside one by IoU."""

    kind: Literal["CausalEffects"] = "CausalEffects"
    units: int
    inserted_at: str
    weighted: bool
    ranked: bool

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range("the number of units", self.units, 1, 1 << 24)


@dataclass(frozen=True, kw_only=True)
class MapRecord(ConceptRecord):
    """Units inserted at every place, beside ``draws`` random sets at each; ``figure`` is a file."""

    kind: Literal["InsertionMap"] = "InsertionMap"
    units: tuple[int, ...]
    grid: tuple[int, int]
    draws: int
    figure: str

    def __post_init__(self) -> None:
        super().__post_init__()
        check_units(self.units)
        check_range("the places along a side", min(self.grid), 1, max(self.grid))
        check_range("the places along a side", max(self.grid), 1, 1 << 12)
        check_range("the random sets at a place", self.draws, 0, 1 << 24)
        check_file(self.figure)


@dataclass(frozen=True, kw_only=True)
class ConceptSetRecord(ConceptRecord):
    """The units that a concept rests on."""

    kind: Literal["ConceptSet"] = "ConceptSet"
    method: Literal["iou", "greedy", "optimise"]
    target: float
    ranking: tuple[int, ...]
    sizes: tuple[int, ...]

    def __post_init__(self) -> None:
        super().__post_init__()
        check_units(self.ranking)
        check_range("target", self.target, 0, 1)
        rising = all(one < other for one, other in zip(self.sizes, self.sizes[1:], strict=False))
        if not self.sizes or not rising or self.sizes[0] < 1 or self.sizes[-1] > len(self.ranking):
            raise UnitlensError("the sizes of a set are not rising, or more than its units")


@dataclass(frozen=True, kw_only=True)
class DetectorsRecord(ConceptRecord):
    """Units as detectors of what is drawn."""

    kind: Literal["DrawnDetectors"] = "DrawnDetectors"
    units: tuple[int, ...]
    least_area: float

    def __post_init__(self) -> None:
        super().__post_init__()
        check_units(self.units)
        check_range("least_area", self.least_area, 0, 1)


_KINDS: Mapping[str, type[ResultRecord]] = {
    "SetAreas": SetRecord,
    "CausalEffects": CausalRecord,
    "InsertionMap": MapRecord,
    "ConceptSet": ConceptSetRecord,
    "DrawnDetectors": DetectorsRecord,
}


@dataclass(frozen=True)
class InterventionsRecord:
    """All of interventions.json.

    Attributes
    ----------
    schema : int
    command : str or None
        The command line that made it.
    concepts : tuple of tuple of MarkedRecord
        Lists of concepts; most often all results measure the same.
    results : tuple
        Each a `ResultRecord`.
    """

    schema: int
    command: str | None
    concepts: tuple[tuple[MarkedRecord, ...], ...]
    results: tuple[Any, ...]

    def __post_init__(self) -> None:
        check_types(self)
        object.__setattr__(self, "results", tuple(read_result(_KINDS, one) for one in self.results))
        if not self.results:
            raise UnitlensError("there are no results")
        for marked in self.concepts:
            pairs = [(one.category, one.name) for one in marked]
            if not pairs or len(set(pairs)) < len(pairs):
                raise UnitlensError("there is no concept, or one is listed twice")
        for one in self.results:
            check_range("the list of a result's concepts", one.concepts, 0, len(self.concepts) - 1)
            if isinstance(one, ConceptRecord):
                check_range("the column of a concept", one.column, 0, len(self.concepts[one.concepts]) - 1)

    @classmethod
    def from_json(cls, content: Any) -> "InterventionsRecord":
        """Read interventions.json.

        Raises
        ------
        UnitlensError
            If it is of another schema, or was not written by `unitlens.editing.saving.files.write_interventions`.
        """
        return read_versioned(cls, content, schema=SCHEMA, file="interventions.json")


def check_units(units: tuple[int, ...]) -> None:
    """Units are numbers from 0, each once."""
    if not units or min(units) < 0 or len(set(units)) < len(units):
        raise UnitlensError("a set has no unit, one below 0, or one twice")


def check_file(name: str | None) -> None:
    """A file lies in the folder of images and nowhere else."""
    if name is not None and (PurePosixPath(name).name != name or "\\" in name or not name.endswith(".png")):
        raise UnitlensError(f"{name} is not the name of an image of interventions.")
