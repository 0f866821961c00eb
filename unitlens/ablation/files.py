"""The files that effects add to a run: two tables, effects.json, and effects.safetensors with every count."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from unitlens.ablation.curves import Curve, Member
from unitlens.ablation.random_sets import COLUMNS
from unitlens.ablation.result import Effects
from unitlens.ablation.table import LayerUnit, shortened
from unitlens.ablation.tallies import Tally
from unitlens.data.classes import Classes
from unitlens.errors import UnitlensError
from unitlens.files import another_or_overwrite, make_folder, write_whole

if TYPE_CHECKING:
    import pandas as pd

TABLE, DRAWN, INFO, COUNTS = "effects.csv", "effects.random_sets.csv", "effects.json", "effects.safetensors"
FILES = (TABLE, DRAWN, INFO, COUNTS)


@dataclass(frozen=True, eq=False)
class SavedEffects:
    """What the files of effects hold.

    Attributes
    ----------
    listed : tuple of Effects
        Those whose rows are in effects.csv.
    sweep : Effects, optional
        Of every unit alone.
    curves : tuple of Curve
    """

    listed: tuple[Effects, ...]
    sweep: Effects | None = None
    curves: tuple[Curve, ...] = ()

    @classmethod
    def of(cls, *results: Effects | Curve) -> "SavedEffects":
        """What there is to save of some results; a curve's rows are those of its most important units."""
        curves = tuple(result for result in results if isinstance(result, Curve))
        listed = [result for result in results if isinstance(result, Effects)]
        if not listed:
            listed = [curve.chosen("most") for curve in curves]
        sweeps = [found for found in listed if found.single] + [curve.ranking for curve in curves]
        return cls(tuple(listed), sweeps[0] if sweeps else None, curves)

    @property
    def first(self) -> Effects:
        """Any of the effects, for what all have in common."""
        return self.listed[0]

    def table(self) -> "pd.DataFrame":
        """All rows of effects.csv, before any are left out."""
        import pandas as pd

        return pd.concat([effects.table() for effects in self.listed], ignore_index=True)

    def random_sets(self) -> "pd.DataFrame":
        """All rows of effects.random_sets.csv: each set that has some, and each size of a curve, beside those drawn."""
        import pandas as pd

        sizes = [(curve, k) for curve in self.curves for k in sorted({member.k for member in curve.members})]
        every = [*self.listed, *(curve.chosen("most", k) for curve, k in sizes)]
        tables = [effects.random_sets() for effects in every if effects.drawn]
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
    parts = _parts(saved)
    arrays = {
        f"{place}/{name}": np.ascontiguousarray(array)
        for place, effects in enumerate(parts)
        for name, array in {**effects.tally.arrays(), "peaks": effects.peaks}.items()
    }
    make_folder(folder)
    try:
        for name in (INFO, DRAWN):
            (folder / name).unlink(missing_ok=True)
    except OSError as error:
        raise UnitlensError(f"{folder} could not be written: {error.strerror or error}.") from None
    write_whole(folder / COUNTS, save(arrays))
    write_whole(folder / TABLE, shortened(saved.table()).to_csv(index=False))
    drawn = saved.random_sets()
    if len(drawn):
        write_whole(folder / DRAWN, drawn.to_csv(index=False))
    write_whole(folder / INFO, json.dumps(_described(saved, parts), indent=1, ensure_ascii=False) + "\n")


def read_effects(folder: Path) -> SavedEffects | None:
    """Read the effects of a run; None where there are none.

    Raises
    ------
    UnitlensError
        If they are incomplete or damaged.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    if not (folder / INFO).is_file():
        return None
    try:
        told = json.loads((folder / INFO).read_text(encoding="utf-8"))
        arrays = load_file(folder / COUNTS)
        bare = [_part(place, one, arrays) for place, one in enumerate(told["parts"])]
        parts = [
            replace(part, drawn={kind: bare[place] for kind, place in one.get("drawn", {}).items()})
            for part, one in zip(bare, told["parts"], strict=True)
        ]
        curves = tuple(
            Curve(one["class"], tuple(Member(*m) for m in one["members"]), parts[one["part"]], parts[one["ranking"]])
            for one in told["curves"]
        )
        sweep = None if told["sweep"] is None else parts[told["sweep"]]
        return SavedEffects(tuple(parts[place] for place in told["listed"]), sweep, curves)
    except (OSError, ValueError, KeyError, TypeError, IndexError, SafetensorError) as error:
        raise UnitlensError(
            f"The effects in {folder} are incomplete or damaged ({error}): measure them again."
        ) from None


def _parts(saved: SavedEffects) -> list[Effects]:
    """Each of the effects once."""
    every = [*saved.listed, *([saved.sweep] if saved.sweep else [])]
    every += [effects for curve in saved.curves for effects in (curve.effects, curve.ranking)]
    every += [drawn for effects in saved.listed for drawn in effects.drawn.values()]
    return list({id(effects): effects for effects in every}.values())


def _described(saved: SavedEffects, parts: list[Effects]) -> dict[str, Any]:
    place = {id(effects): number for number, effects in enumerate(parts)}
    return {
        "parts": [
            {
                "info": effects.info,
                "sets": effects.sets,
                "drawn": {kind: place[id(drawn)] for kind, drawn in effects.drawn.items()},
            }
            for effects in parts
        ],
        "listed": [place[id(effects)] for effects in saved.listed],
        "sweep": None if saved.sweep is None else place[id(saved.sweep)],
        "curves": [
            {
                "class": curve.class_,
                "members": curve.members,
                "part": place[id(curve.effects)],
                "ranking": place[id(curve.ranking)],
            }
            for curve in saved.curves
        ],
    }


def _part(place: int, told: Mapping[str, Any], arrays: Mapping[str, Any]) -> Effects:
    own = {name.partition("/")[2]: array for name, array in arrays.items() if name.partition("/")[0] == str(place)}
    peaks = own.pop("peaks")
    classes = told["info"]["classes"]
    joined = Classes(tuple(classes["names"]), classes["output_of"])
    sets = tuple(tuple(LayerUnit(*unit) if isinstance(unit, list) else unit for unit in held) for held in told["sets"])
    return Effects(dict(told["info"]), sets, Tally.of(own), joined, peaks)
