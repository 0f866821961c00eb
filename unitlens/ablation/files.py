"""The files that effects add to a run: tables, effects.json, and effects.safetensors with every count."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from unitlens.ablation.agreement import AGREEMENT_COLUMNS
from unitlens.ablation.measurement import EffectSettings, Measurement
from unitlens.ablation.random_sets import COLUMNS
from unitlens.ablation.result import Curve, Member, SetEffects, UnitEffects
from unitlens.ablation.table import LayerUnit, UnitSet, shortened
from unitlens.ablation.tallies import Tally
from unitlens.data.classes import Classes
from unitlens.errors import UnitlensError, argument
from unitlens.files import another_or_overwrite, make_folder, write_whole

if TYPE_CHECKING:
    import pandas as pd

TABLE, DRAWN, INFO, COUNTS = "effects.csv", "effects.random_sets.csv", "effects.json", "effects.safetensors"
AGREEMENT = "effects.attributions.csv"
FILES = (TABLE, DRAWN, INFO, COUNTS)

SCHEMA = 2
"""Version of effects.json and effects.safetensors; effects of another one are refused."""

Result = UnitEffects | SetEffects | Curve


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
        own = [result.measured for result in self.results if not isinstance(result, Curve)]
        return own or [curve.sets("most") for curve in self.curves]

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
    if (folder / INFO).exists() and not overwrite:
        raise UnitlensError(f"{folder} holds effects already ({TABLE}): {another_or_overwrite()}.")


def write_effects(folder: Path, saved: SavedEffects, *, overwrite: bool = False) -> None:
    """Write the files of effects into a folder; effects.json comes last, so that where it is, all is there.

    Raises
    ------
    UnitlensError
        If there are effects already, or nothing can be written.
    """
    from safetensors.numpy import save

    check_no_effects(folder, overwrite=overwrite)
    described, measurements = _described(saved)
    arrays = {
        f"{number}/{name}": np.ascontiguousarray(array)
        for number, measured in enumerate(measurements)
        for name, array in {**measured.tally.arrays(), "peaks": measured.peaks}.items()
    }
    table, drawn = shortened(saved.table()).to_csv(index=False), saved.random_sets()
    make_folder(folder)
    try:
        for name in (INFO, DRAWN):
            (folder / name).unlink(missing_ok=True)
    except OSError as error:
        raise UnitlensError(f"{folder} could not be written: {error.strerror or error}.") from None
    write_whole(folder / COUNTS, save(arrays))
    write_whole(folder / TABLE, table)
    if len(drawn):
        write_whole(folder / DRAWN, drawn.to_csv(index=False))
    write_whole(folder / INFO, json.dumps(described, indent=1, ensure_ascii=False) + "\n")


def read_effects(folder: Path) -> SavedEffects | None:
    """Read the effects of a run; None where there are none.

    Raises
    ------
    UnitlensError
        If they are incomplete or damaged, or of another version.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    if not (folder / INFO).is_file():
        return None
    try:
        described = json.loads((folder / INFO).read_text(encoding="utf-8"))
        schema = described.get("schema") if isinstance(described, dict) else None
        if schema != SCHEMA:
            raise UnitlensError(
                f"The effects in {folder} are of schema {schema!r}, and this version of unitlens reads {SCHEMA}: "
                f"measure them again with {argument('overwrite', True)}."
            )
        arrays = load_file(folder / COUNTS)
        parts = [_measurement(number, one, arrays) for number, one in enumerate(described["measurements"])]
        command = described["command"]
        if not isinstance(command, str | None):
            raise ValueError("command is not text")
        return SavedEffects(tuple(_result(one, parts) for one in described["results"]), command)
    except (OSError, ValueError, KeyError, TypeError, IndexError, AttributeError, SafetensorError) as error:
        what = f"{type(error).__name__}: {error}".removesuffix(".")
        raise UnitlensError(
            f"The effects in {folder} are incomplete or damaged ({what}): measure them again."
        ) from None


def write_agreement(folder: Path, by_class: "pd.DataFrame | None") -> None:
    """Write effects.attributions.csv; without any, one that is there is removed, as it was of other effects."""
    if by_class is None:
        (folder / AGREEMENT).unlink(missing_ok=True)
    else:
        write_whole(folder / AGREEMENT, by_class.to_csv(index=False))


def read_agreement(folder: Path) -> "pd.DataFrame | None":
    """Read effects.attributions.csv; None where there is none.

    Raises
    ------
    UnitlensError
        If it is damaged.
    """
    import pandas as pd

    if not (folder / AGREEMENT).is_file():
        return None
    try:
        table = pd.read_csv(folder / AGREEMENT, dtype={"layer": str, "class": str}, keep_default_na=False)
        shares = dict.fromkeys(("spearman", "overlap", "chance"), float)
        return table[list(AGREEMENT_COLUMNS)].astype({**shares, "images": int, "top": int})
    except (OSError, ValueError, KeyError) as error:
        raise UnitlensError(f"{folder / AGREEMENT} is damaged ({error}): measure the effects again.") from None


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


def _described(saved: SavedEffects) -> tuple[dict[str, Any], list[Measurement]]:
    """What effects.json holds, and the measurements whose counts effects.safetensors holds."""
    numbered = _Numbered()
    results = [_describe_result(result, numbered) for result in saved.results]
    measurements = [
        {
            "settings": asdict(measured.settings),
            "info": measured.info,
            "outputs": {"names": measured.outputs.names, "output_of": measured.outputs.output_of},
            "sets": measured.sets,
        }
        for measured in numbered.measurements
    ]
    described = {"schema": SCHEMA, "command": saved.command, "results": results, "measurements": measurements}
    return described, numbered.measurements


def _describe_result(result: Result, numbered: _Numbered) -> dict[str, Any]:
    own = {"kind": type(result).__name__, "measured": numbered.number(result.measured)}
    match result:
        case SetEffects():
            return own | {"drawn": {kind: numbered.number(sets) for kind, sets in result.drawn.items()}}
        case Curve():
            ranking = numbered.number(result.ranking.measured)
            return own | {"class": result.class_, "members": result.members, "ranking": ranking}
    return own


def _result(described: Mapping[str, Any], parts: Sequence[Measurement]) -> Result:
    measured = parts[described["measured"]]
    match described["kind"]:
        case "UnitEffects":
            return _unit_effects(measured)
        case "SetEffects":
            if len(measured.sets) != 1:
                raise ValueError(f"one set has the counts of {len(measured.sets)}")
            return SetEffects(measured, {kind: parts[number] for kind, number in described["drawn"].items()})
        case "Curve":
            members = tuple(Member(str(kind), int(k), int(draw)) for kind, k, draw in described["members"])
            if len(members) != len(measured.sets) or described["class"] not in measured.classes:
                raise ValueError("a curve does not fit its counts")
            return Curve(described["class"], members, measured, _unit_effects(parts[described["ranking"]]))
    raise ValueError(f"there is no result {described['kind']!r}")


def _unit_effects(measured: Measurement) -> UnitEffects:
    if measured.sets != tuple((unit,) for unit in range(len(measured.peaks))):
        raise ValueError("effects of every unit alone do not have each unit once")
    return UnitEffects(measured)


def _measurement(number: int, described: Mapping[str, Any], arrays: Mapping[str, Any]) -> Measurement:
    """Read one measurement back, with its counts checked."""
    settings = described["settings"]
    if settings.keys() != {field.name for field in fields(EffectSettings)}:
        raise ValueError("the settings do not have their fields")
    lists = {name: tuple(map(str, settings[name])) for name in ("layers", "measures")}
    outputs = Classes(tuple(described["outputs"]["names"]), dict(described["outputs"]["output_of"]))
    sets = tuple(map(_unit_set, described["sets"]))
    own = {name.partition("/")[2]: array for name, array in arrays.items() if name.partition("/")[0] == str(number)}
    peaks = own.pop("peaks")
    tally = Tally.of(own)
    tally.check(len(sets), len(outputs.names))
    return Measurement(EffectSettings(**(settings | lists)), dict(described["info"]), sets, tally, outputs, peaks)


def _unit_set(units: Sequence[Any]) -> UnitSet:
    return tuple(LayerUnit(str(unit[0]), int(unit[1])) if isinstance(unit, list) else int(unit) for unit in units)
