"""What effects.json holds, as records that are read strictly: nothing is missing, unknown or of another type."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from unitlens.ablation.measurement import EffectSettings
from unitlens.dissection.run_record import MOST, FastRecord, GroupsRecord, NetworkRecord, SkippedRecord, check_hash
from unitlens.errors import UnitlensError
from unitlens.records import check_range, check_types, read_result, read_versioned

SCHEMA = 7
"""Version of effects.json and of the files beside it."""

OLDEST = 6
"""The oldest version that is still read."""


@dataclass(frozen=True)
class ImagesRecord:
    """The images: how they were opened, how many were read and measured, and the groups of those that were read."""

    source: str
    opened: Mapping[str, Any]
    images: int
    measured: int
    sha256: str
    skipped: tuple[SkippedRecord, ...]
    groups: GroupsRecord | None = None

    def __post_init__(self) -> None:
        check_types(self)
        check_hash("data.sha256", self.sha256)
        check_range("data.images", self.images, 1, MOST)
        check_range("data.measured", self.measured, 1, self.images)


@dataclass(frozen=True)
class FrontRecord(FastRecord):
    """The same of the front of a cut, and of what the network returns; see `unitlens.ablation.replay.hastening`."""

    output: float
    predictions: int | None

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range("the predictions that changed", self.predictions or 0, 0, self.images)


@dataclass(frozen=True)
class ReplayRecord:
    """Whether only what lies behind the layer was replayed, or why not; and what a fast front changed."""

    replays: bool
    reason: str | None
    fast: FrontRecord | None

    def __post_init__(self) -> None:
        check_types(self)


@dataclass(frozen=True, kw_only=True)
class InfoRecord:
    """Where a measurement comes from."""

    unitlens: str
    network: NetworkRecord
    data: ImagesRecord
    replay: ReplayRecord
    timings: Mapping[str, float]
    warnings: tuple[str, ...]
    versions: Mapping[str, str]

    def __post_init__(self) -> None:
        check_types(self)


@dataclass(frozen=True)
class OutputsRecord:
    """See `unitlens.data.classes.Classes`."""

    names: tuple[str, ...]
    output_of: Mapping[str, int]

    def __post_init__(self) -> None:
        check_types(self)
        if len(self.names) < 2 or not self.output_of:
            raise UnitlensError("the outputs are fewer than two, or no class has one")
        for name, output in self.output_of.items():
            check_range(f"the output of {name}", output, 0, len(self.names) - 1)


@dataclass(frozen=True)
class MeasurementRecord:
    """A measurement without its counts. Each unit of a set is a number, or in several layers [layer, number]."""

    settings: EffectSettings
    info: InfoRecord
    outputs: OutputsRecord
    sets: tuple[Any, ...]

    def __post_init__(self) -> None:
        check_types(self)
        if self.settings.where_sha256 is not None:
            check_hash("where_sha256", self.settings.where_sha256)


@dataclass(frozen=True)
class UnitsRecord:
    """Effects of every unit alone; ``measured`` is the number of the measurement."""

    kind: Literal["UnitEffects"]
    measured: int

    def __post_init__(self) -> None:
        check_types(self)


@dataclass(frozen=True)
class SetRecord:
    """Effects of a set, and the measurements of the sets that were drawn, by their kind."""

    kind: Literal["SetEffects"]
    measured: int
    drawn: Mapping[str, int]

    def __post_init__(self) -> None:
        check_types(self)


@dataclass(frozen=True)
class CurveRecord:
    """A curve; each member is [kind, k, draw]."""

    kind: Literal["Curve"]
    measured: int
    ranking: int
    class_name: str
    members: tuple[Any, ...]

    def __post_init__(self) -> None:
        check_types(self)


ResultRecord = UnitsRecord | SetRecord | CurveRecord

_RESULTS: Mapping[str, type[ResultRecord]] = {
    "UnitEffects": UnitsRecord,
    "SetEffects": SetRecord,
    "Curve": CurveRecord,
}


@dataclass(frozen=True)
class EffectsRecord:
    """All of effects.json; each of ``results`` is a `ResultRecord`."""

    schema: int
    command: str | None
    results: tuple[Any, ...]
    measurements: tuple[MeasurementRecord, ...]

    def __post_init__(self) -> None:
        check_types(self)
        object.__setattr__(self, "results", tuple(read_result(_RESULTS, one) for one in self.results))
        if not self.results:
            raise UnitlensError("there are no results")

    @classmethod
    def from_json(cls, content: Any) -> "EffectsRecord":
        """Read effects.json.

        Raises
        ------
        UnitlensError
            If it is of another schema, or was not written by `unitlens.ablation.files.write_effects`.
        """
        return read_versioned(cls, content, schema=SCHEMA, oldest=OLDEST, file="effects.json")
