"""The files that outcomes add to a run: outcomes.csv, outcomes.json, and outcomes.safetensors with the sums."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from unitlens.ablation.effects_record import InfoRecord
from unitlens.ablation.measurement import EffectSettings
from unitlens.ablation.outcomes.result import COLUMNS, OutcomeEffects
from unitlens.ablation.outcomes.tally import OutcomeTally
from unitlens.ablation.random_sets import KINDS
from unitlens.ablation.validation import check_table, read_set, read_table
from unitlens.dissection.run_record import check_hash
from unitlens.errors import UnitlensError
from unitlens.files import (
    another_or_overwrite,
    json_text,
    parts_file,
    read_json,
    read_parts,
)
from unitlens.journal import changing, settle
from unitlens.records import check_range, check_types, read_record, read_versioned, write_record
from unitlens.stats.folds import FOLDS, chosen_folds

if TYPE_CHECKING:
    import pandas as pd

TABLE, INFO, COUNTS = FILES = ("outcomes.csv", "outcomes.json", "outcomes.safetensors")

SCHEMA = 3
"""Version of outcomes.json and of the files beside it."""

OLDEST = 2
"""The oldest version that is still read."""

_TEXT = ("layer", "units", "outcome")
"""Columns of the table that are text; all others are numbers."""

Arrays = dict[str, npt.NDArray[Any]]


@dataclass(frozen=True)
class OutcomeRecord:
    """One result without its sums; ``settings.measures`` are its outcomes.

    Attributes
    ----------
    settings : EffectSettings
    info : InfoRecord
    alone : bool
        Whether every unit was ablated alone.
    sets : tuple
        Units that were ablated together: each a number, or in several layers [layer, number].
    draws : mapping of str to int
        How many sets of each kind were drawn.
    """

    settings: EffectSettings
    info: InfoRecord
    alone: bool
    sets: tuple[Any, ...]
    draws: Mapping[str, int]

    def __post_init__(self) -> None:
        check_types(self)
        if self.settings.where_sha256 is not None:
            check_hash("where_sha256", self.settings.where_sha256)
        _require(bool(self.settings.measures), "a result has no outcome")
        _require(set(self.draws) <= set(KINDS), "sets were drawn in an unknown way")
        for kind, count in self.draws.items():
            check_range(f"the number of {kind} sets", count, 1, 1 << 24)
        single = [list(one) == [number] for number, one in enumerate(map(read_set, self.sets))]
        if self.alone:
            _require(bool(single) and all(single) and not self.draws, "the units are not those of one layer in turn")
        else:
            _require(len(single) == 1 and len(read_set(self.sets[0])) > 0, "a result is not of one set")


@dataclass(frozen=True)
class OutcomesRecord:
    """All of outcomes.json."""

    schema: int
    command: str | None
    results: tuple[OutcomeRecord, ...]

    def __post_init__(self) -> None:
        check_types(self)
        _require(bool(self.results), "there are no results")


@dataclass(frozen=True, eq=False)
class SavedOutcomes:
    """Results that are saved together.

    Attributes
    ----------
    results : tuple of OutcomeEffects
        Of one network.
    command : str, optional
        The command line that made them.

    Raises
    ------
    UnitlensError
        If they are of different networks.
    """

    results: tuple[OutcomeEffects, ...]
    command: str | None = None

    def __post_init__(self) -> None:
        if len({result.info["network"]["sha256"] for result in self.results}) != 1:
            raise UnitlensError("The outcomes are of different networks, or of different weights: save them apart.")

    @property
    def info(self) -> Mapping[str, Any]:
        """Where the first result comes from; its network is that of all."""
        return self.results[0].info

    def table(self) -> "pd.DataFrame":
        """All rows of outcomes.csv."""
        import pandas as pd

        return pd.concat([result.table() for result in self.results], ignore_index=True)


def check_no_outcomes(folder: Path, *, overwrite: bool) -> None:
    """Make sure that outcomes may be written into a run.

    Raises
    ------
    UnitlensError
        If there are some already, and they may not be replaced.
    """
    settle(folder)
    if (folder / INFO).exists() and not overwrite:
        raise UnitlensError(f"{folder} holds outcomes already ({TABLE}): {another_or_overwrite()}.")


def write_outcomes(folder: Path, saved: SavedOutcomes, *, overwrite: bool = False) -> None:
    """Write the files of outcomes into a folder.

    Raises
    ------
    UnitlensError
        If there are outcomes already, or nothing can be written.
    """
    check_no_outcomes(folder, overwrite=overwrite)
    record = OutcomesRecord(SCHEMA, saved.command, tuple(map(_describe, saved.results)))
    parts, table = list(map(_arrays, saved.results)), saved.table().to_csv(index=False)
    with changing(folder) as change:
        change.write(COUNTS, parts_file(parts))
        change.write(TABLE, table)
        change.write(INFO, json_text(write_record(record)))


def read_outcomes(folder: Path) -> SavedOutcomes | None:
    """Read the outcomes of a run, and make sure that their files belong together; None where there are none.

    Raises
    ------
    UnitlensError
        If they are incomplete, damaged or of another version, or say what the others rule out.
    """
    settle(folder)
    if not (folder / INFO).exists():
        return None
    try:
        content = read_json(folder / INFO)
        record: OutcomesRecord = read_versioned(OutcomesRecord, content, schema=SCHEMA, oldest=OLDEST, file=INFO)
        parts = read_parts(folder / COUNTS, len(record.results))
        results = tuple(_restore(one, own) for one, own in zip(record.results, parts, strict=True))
        saved = SavedOutcomes(results, record.command)
        check_table(TABLE, read_table(folder / TABLE, list(COLUMNS), text=_TEXT), saved.table())
    except UnitlensError as error:
        raise UnitlensError(
            f"The outcomes in {folder} are incomplete or damaged ({str(error).rstrip('.')}): measure them again."
        ) from None
    return saved


def _describe(result: OutcomeEffects) -> OutcomeRecord:
    return OutcomeRecord(
        settings=result.settings,
        info=read_record(InfoRecord, result.info, what="info"),
        alone=result.handed is not None,
        sets=result.sets,
        draws={kind: tally.after.shape[1] for kind, tally in result.drawn.items()},
    )


def _arrays(result: OutcomeEffects) -> Arrays:
    tally = result.tally
    after = np.concatenate([tally.after, *(drawn.after for drawn in result.drawn.values())], 1)
    arrays = {"images": tally.images, "before": tally.before, "after": after}
    return arrays if result.handed is None else arrays | {"handed": result.handed}


def _restore(record: OutcomeRecord, arrays: Arrays) -> OutcomeEffects:
    names, count = record.settings.measures, len(record.sets) + sum(record.draws.values())
    shapes = {"images": (FOLDS,), "before": (FOLDS, len(names), 2), "after": (FOLDS, count, len(names), 2)}
    if record.alone:
        shapes["handed"] = (len(record.sets),)
    for name, shape in shapes.items():
        dtype = np.int64 if name == "images" else np.float64
        _require(name in arrays, f"{name} is missing in {COUNTS}")
        given = arrays[name]
        _require(given.dtype == dtype and given.shape == shape, f"{name} is {given.dtype} {given.shape}, not {shape}")
        _require(bool(np.isfinite(given).all()), f"{name} has values that are not finite")
    _require(arrays.keys() == shapes.keys(), f"{COUNTS} holds more than its sums")
    images = arrays["images"]
    _require(bool((images >= 0).all()), "a fold has fewer than no images")
    _require(int(images.sum()) == record.info.data.measured, "the folds have other images than were measured")
    _require(not images[~chosen_folds(record.settings.folds)].any(), "not all images are of the folds")
    tally = OutcomeTally(names, images, arrays["before"], arrays["after"])
    drawn, start = {}, len(record.sets)
    for kind, draws in record.draws.items():
        drawn[kind] = tally.only(slice(start, start + draws))
        start += draws
    sets = tuple(map(read_set, record.sets))
    own = tally.only(slice(len(sets)))
    return OutcomeEffects(record.settings, write_record(record.info), sets, own, drawn, arrays.get("handed"))


def _require(true: bool, fact: str) -> None:
    if not true:
        raise UnitlensError(fact)
