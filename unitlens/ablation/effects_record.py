"""What effects.json holds, as records that are read strictly: nothing is missing, unknown or of another type."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from unitlens.ablation.measurement import EffectSettings
from unitlens.dissection.run_record import MOST, GroupsRecord, NetworkRecord, SkippedRecord, check_hash
from unitlens.errors import UnitlensError, argument
from unitlens.records import check_range, check_types, read_record

SCHEMA = 5
"""Version of effects.json and of the files beside it; effects of another one are refused."""


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
class ReplayRecord:
    """Whether only what lies behind the layer was replayed, or why not."""

    replays: bool
    reason: str | None

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
        object.__setattr__(self, "results", tuple(map(_result_record, self.results)))
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
        schema = content.get("schema") if isinstance(content, Mapping) else None
        if type(schema) is not int or schema != SCHEMA:
            shown = schema if schema is None or isinstance(schema, int) else "unknown"
            raise UnitlensError(
                f"effects.json is of schema {shown}, and this version of unitlens reads {SCHEMA}: measure them again "
                f"with {argument('overwrite', True)}"
            )
        return read_record(cls, content, what="effects.json")


def _result_record(content: Any) -> ResultRecord:
    """Read a result by its kind."""
    if isinstance(content, UnitsRecord | SetRecord | CurveRecord):
        return content
    kind = content.get("kind") if isinstance(content, Mapping) else None
    if not isinstance(kind, str) or kind not in _RESULTS:
        raise UnitlensError(f"a result is none of {', '.join(_RESULTS)}")
    return read_record(_RESULTS[kind], content, what="a result")
