"""The files that effects add to a run: tables, effects.json, and effects.safetensors with every count."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy.typing as npt

from unitlens.ablation.agreement import AGREEMENT_COLUMNS
from unitlens.ablation.effects_record import (
    SCHEMA,
    CurveRecord,
    EffectsRecord,
    InfoRecord,
    MeasurementRecord,
    OutputsRecord,
    ResultRecord,
    SetRecord,
    UnitsRecord,
)
from unitlens.ablation.measurement import Measurement
from unitlens.ablation.random_sets import COLUMNS
from unitlens.ablation.result import Curve, SetEffects, UnitEffects
from unitlens.ablation.table import shortened
from unitlens.ablation.validation import (
    Result,
    check_agreement,
    check_measurement,
    check_networks,
    check_result,
    check_table,
    read_member,
    read_set,
    read_table,
    read_tally,
)
from unitlens.data.classes import Classes
from unitlens.errors import UnitlensError
from unitlens.files import (
    another_or_overwrite,
    json_text,
    parts_file,
    read_json,
    read_parts,
)
from unitlens.journal import changing, settle
from unitlens.records import read_record, write_record

if TYPE_CHECKING:
    import pandas as pd

TABLE, DRAWN, INFO, COUNTS = "effects.csv", "effects.random_sets.csv", "effects.json", "effects.safetensors"
AGREEMENT = "effects.attributions.csv"
FILES = (TABLE, DRAWN, INFO, COUNTS)

_TEXT = ("layer", "units", "class", "measure", "kind", "method")
"""Columns of the tables that are text; all others are numbers."""


@dataclass(frozen=True, eq=False)
class SavedEffects:
    """Results that are saved together.

    Attributes
    ----------
    results : tuple of UnitEffects, SetEffects or Curve
    command : str, optional
        The command line that made them.
    """

    results: tuple[Result, ...]
    command: str | None = None

    @property
    def first(self) -> Measurement:
        """Any of the measurements, for what all have in common."""
        return self.results[0].measured

    @property
    def units(self) -> UnitEffects | None:
        """The effects of every unit alone: measured for themselves, or to rank the units of a curve."""
        alone = [result for result in self.results if isinstance(result, UnitEffects)]
        alone += [curve.ranking for curve in self.curves]
        return alone[0] if alone else None

    @property
    def sets(self) -> tuple[SetEffects, ...]:
        """The effects of sets of units."""
        return tuple(result for result in self.results if isinstance(result, SetEffects))

    @property
    def curves(self) -> tuple[Curve, ...]:
        """The curves."""
        return tuple(result for result in self.results if isinstance(result, Curve))

    def listed(self) -> list[Measurement]:
        """What has rows in effects.csv; of curves alone, the sets of their most important units."""
        measurements = [result.measured for result in self.results if not isinstance(result, Curve)]
        return measurements or [curve.sets("most") for curve in self.curves]

    def table(self) -> "pd.DataFrame":
        """All rows of effects.csv, before any are left out."""
        import pandas as pd

        return pd.concat([measured.table() for measured in self.listed()], ignore_index=True)

    def random_sets(self) -> "pd.DataFrame":
        """All rows of effects.random_sets.csv: each set that has some, and each size of a curve, beside those drawn."""
        import pandas as pd

        of_curves = [curve.chosen("most", k) for curve in self.curves for k in curve.sizes]
        tables = [effects.random_sets() for effects in (*self.sets, *of_curves) if effects.drawn]
        empty = pd.DataFrame(columns=list(COLUMNS))
        return pd.concat(tables, ignore_index=True).drop_duplicates(ignore_index=True) if tables else empty


def check_no_effects(folder: Path, *, overwrite: bool) -> None:
    """Make sure that effects may be written into a run.

    Raises
    ------
    UnitlensError
        If there are some already, and they may not be replaced.
    """
    settle(folder)
    if (folder / INFO).exists() and not overwrite:
        raise UnitlensError(f"{folder} holds effects already ({TABLE}): {another_or_overwrite()}.")


def write_effects(folder: Path, saved: SavedEffects, *, overwrite: bool = False) -> None:
    """Write the files of effects into a folder; attributions that are there were compared with others, and go.

    Raises
    ------
    UnitlensError
        If there are effects already, or nothing can be written.
    """
    check_no_effects(folder, overwrite=overwrite)
    described, measurements = _described(saved)
    check_networks(measurements)
    parts = [{**one.tally.arrays(), "peaks": one.peaks} for one in measurements]
    table, drawn = shortened(saved.table()).to_csv(index=False), saved.random_sets()
    with changing(folder) as change:
        change.remove((DRAWN, AGREEMENT))
        change.write(COUNTS, parts_file(parts))
        change.write(TABLE, table)
        if len(drawn):
            change.write(DRAWN, drawn.to_csv(index=False))
        change.write(INFO, json_text(write_record(described)))


def read_effects(folder: Path) -> SavedEffects | None:
    """Read the effects of a run, and make sure that their files belong together; None where there are none.

    Raises
    ------
    UnitlensError
        If they are incomplete, damaged or of another version, or say what the others rule out.
    """
    settle(folder)
    if not (folder / INFO).exists():
        return None
    try:
        return _read(folder)
    except UnitlensError as error:
        raise UnitlensError(
            f"The effects in {folder} are incomplete or damaged ({str(error).rstrip('.')}): measure them again."
        ) from None


def _read(folder: Path) -> SavedEffects:
    record = EffectsRecord.from_json(read_json(folder / INFO))
    arrays = read_parts(folder / COUNTS, len(record.measurements))
    parts = [_measurement(one, own) for one, own in zip(record.measurements, arrays, strict=True)]
    check_networks(parts)
    saved = SavedEffects(tuple(_result(one, parts) for one in record.results), record.command)
    for result in saved.results:
        check_result(result)
    table, drawn = shortened(saved.table()), saved.random_sets()
    check_table(TABLE, read_table(folder / TABLE, table.columns.tolist(), text=_TEXT), table)
    if len(drawn) or (folder / DRAWN).exists():
        check_table(DRAWN, read_table(folder / DRAWN, drawn.columns.tolist(), text=_TEXT), drawn)
    return saved


def write_agreement(folder: Path, by_class: "pd.DataFrame") -> None:
    """Write effects.attributions.csv beside the effects that attributions were compared with."""
    with changing(folder) as change:
        change.write(AGREEMENT, by_class.to_csv(index=False))


def read_agreement(folder: Path, saved: SavedEffects) -> "pd.DataFrame | None":
    """Read effects.attributions.csv, which belongs to the effects of a folder; None where there is none.

    Raises
    ------
    UnitlensError
        If it is damaged, or of other effects.
    """
    if not (folder / AGREEMENT).exists():
        return None
    try:
        table = read_table(folder / AGREEMENT, list(AGREEMENT_COLUMNS), text=_TEXT)
        check_agreement(table, saved.units)
        return table.astype({"images": int, "top": int})
    except (UnitlensError, ValueError) as error:
        fact = str(error).rstrip(".")
        raise UnitlensError(f"{folder / AGREEMENT} is damaged ({fact}): measure the effects again.") from None


class _Numbered:
    """Measurements, each once, by the numbers that they have in the files."""

    def __init__(self) -> None:
        self.measurements: list[Measurement] = []

    def number(self, measured: Measurement) -> int:
        for number, other in enumerate(self.measurements):
            if other is measured:
                return number
        self.measurements.append(measured)
        return len(self.measurements) - 1


def _described(saved: SavedEffects) -> tuple[EffectsRecord, list[Measurement]]:
    """What effects.json holds, and the measurements whose counts effects.safetensors holds."""
    numbered = _Numbered()
    results = tuple(_describe_result(result, numbered) for result in saved.results)
    measurements = tuple(
        MeasurementRecord(
            settings=measured.settings,
            info=read_record(InfoRecord, measured.info, what="info"),
            outputs=OutputsRecord(measured.outputs.names, measured.outputs.output_of),
            sets=measured.sets,
        )
        for measured in numbered.measurements
    )
    return EffectsRecord(SCHEMA, saved.command, results, measurements), numbered.measurements


def _describe_result(result: Result, numbered: _Numbered) -> ResultRecord:
    measured = numbered.number(result.measured)
    match result:
        case UnitEffects():
            return UnitsRecord("UnitEffects", measured)
        case SetEffects():
            return SetRecord(
                "SetEffects", measured, {kind: numbered.number(sets) for kind, sets in result.drawn.items()}
            )
        case Curve():
            ranking = numbered.number(result.ranking.measured)
            return CurveRecord("Curve", measured, ranking, result.class_, result.members)


def _result(record: ResultRecord, parts: Sequence[Measurement]) -> Result:
    measured = _part(parts, record.measured)
    match record:
        case UnitsRecord():
            return UnitEffects(measured)
        case SetRecord():
            return SetEffects(measured, {kind: _part(parts, number) for kind, number in record.drawn.items()})
        case CurveRecord():
            members = tuple(map(read_member, record.members))
            return Curve(record.class_name, members, measured, UnitEffects(_part(parts, record.ranking)))


def _part(parts: Sequence[Measurement], number: int) -> Measurement:
    if not 0 <= number < len(parts):
        raise UnitlensError(f"a result is of measurement {number}, and there are {len(parts)}")
    return parts[number]


def _measurement(record: MeasurementRecord, arrays: dict[str, npt.NDArray[Any]]) -> Measurement:
    """Read one measurement back, with its counts checked."""
    if "peaks" not in arrays:
        raise UnitlensError(f"peaks is missing in {COUNTS}")
    peaks = arrays.pop("peaks")
    outputs = Classes(record.outputs.names, record.outputs.output_of)
    sets = tuple(map(read_set, record.sets))
    tally = read_tally(
        arrays,
        sets=len(sets),
        classes=len(outputs.names),
        measures=record.settings.measures,
        images=record.info.data.measured,
    )
    measured = Measurement(record.settings, write_record(record.info), sets, tally, outputs, peaks)
    check_measurement(measured, record.info.network.classes)
    return measured
