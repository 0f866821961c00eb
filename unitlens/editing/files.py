"""The files that interventions add to a run: tables, interventions.json, and images to look at."""

import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from unitlens.editing.causal_result import CausalEffects
from unitlens.editing.insertion_result import InsertionMap
from unitlens.editing.record import (
    SCHEMA,
    CausalRecord,
    InterventionsRecord,
    IouRow,
    MapRecord,
    PlaceTaker,
    Replaced,
    SetRecord,
)
from unitlens.editing.set_result import SetAreas
from unitlens.editing.tables import CAUSAL_COLUMNS, CHANGED_COLUMNS, INSERTION_COLUMNS, INTERVENTION_COLUMNS
from unitlens.errors import UnitlensError
from unitlens.files import another_or_overwrite, json_text, make_folder, read_json, write_whole
from unitlens.records import read_record, write_record

if TYPE_CHECKING:
    import pandas as pd

    from unitlens.dissection.result import Dissection

INFO, IMAGES = "interventions.json", "interventions"
SETS, CHANGED, CAUSAL, INSERTIONS = (
    "interventions.csv",
    "interventions.what_changed.csv",
    "causal_effects.csv",
    "insertions.csv",
)
TABLES: Mapping[str, Mapping[str, str]] = {
    SETS: INTERVENTION_COLUMNS,
    CHANGED: CHANGED_COLUMNS,
    CAUSAL: CAUSAL_COLUMNS,
    INSERTIONS: INSERTION_COLUMNS,
}
"""The tables and their columns."""

ACROSS = 4
"""Images that stand side by side in a sheet, each with what it became and the difference."""

TEXT = ("layer", "units", "change", "concept", "category", "before", "after")
"""Columns that are text in some table."""

Result = SetAreas | CausalEffects | InsertionMap


@dataclass(frozen=True, eq=False)
class SavedInterventions:
    """What the files of interventions hold.

    Attributes
    ----------
    record : InterventionsRecord
    tables : mapping of str to DataFrame
        By the names of their files.
    images : mapping of str to bytes
        PNG files, by their names.
    """

    record: InterventionsRecord
    tables: Mapping[str, "pd.DataFrame"]
    images: Mapping[str, bytes]

    @classmethod
    def of(
        cls, results: Sequence[Result], *, dissection: "Dissection | None" = None, command: str | None = None
    ) -> "SavedInterventions":
        """Gather results of one network.

        Parameters
        ----------
        results : sequence of SetAreas, CausalEffects or InsertionMap
        dissection : Dissection, optional
            Of the same network: effects stand beside its IoUs.
        command : str, optional
            The command line that made them.

        Raises
        ------
        UnitlensError
            If they are of different networks.
        """
        import pandas as pd

        infos = [result.info for result in results]
        if len({info["network"]["sha256"] for info in infos}) != 1:
            raise UnitlensError("These interventions are of different networks: save them into a folder each.")
        sets = [result for result in results if isinstance(result, SetAreas)]
        sweeps = [result for result in results if isinstance(result, CausalEffects)]
        maps = [result for result in results if isinstance(result, InsertionMap)]
        images: dict[str, bytes] = {}
        for number, one in enumerate(sets):
            if one.examples is not None:
                images[f"set_{number + 1}.png"] = one.examples.sheet(across=ACROSS)
        for number, door in enumerate(maps):
            images[f"map_{number + 1}.png"] = door.figure()._repr_png_()  # type: ignore[attr-defined]
        parts: dict[str, list[pd.DataFrame]] = {
            SETS: [one.table() for one in sets],
            CHANGED: [_changed_rows(one) for one in sets],
            CAUSAL: [sweep.table() for sweep in sweeps],
            INSERTIONS: [_insertion_rows(door) for door in maps],
        }
        record = InterventionsRecord(
            schema=SCHEMA,
            unitlens=infos[0]["unitlens"],
            command=command,
            network=infos[0]["network"]["name"],
            network_sha256=infos[0]["network"]["sha256"],
            latents=infos[0]["data"]["source"],
            concepts=tuple(dict.fromkeys(source for info in infos for source in info["concepts"])),
            warnings=tuple(dict.fromkeys(note for info in infos for note in info["warnings"])),
            sets=tuple(_set_record(one, f"set_{number + 1}.png", images) for number, one in enumerate(sets)),
            sweeps=tuple(_causal_record(sweep, dissection) for sweep in sweeps),
            maps=tuple(_map_record(door, f"map_{number + 1}.png") for number, door in enumerate(maps)),
        )
        return cls(record, {name: pd.concat(t, ignore_index=True) for name, t in parts.items() if t}, images)


def check_no_interventions(folder: Path, *, overwrite: bool) -> None:
    """Make sure that interventions may be written into a folder.

    Raises
    ------
    UnitlensError
        If there are some already, and they may not be replaced.
    """
    if (folder / INFO).exists() and not overwrite:
        raise UnitlensError(f"{folder} holds interventions already ({INFO}): {another_or_overwrite()}.")


def write_interventions(folder: Path, saved: SavedInterventions, *, overwrite: bool = False) -> None:
    """Write the files; interventions.json comes last, so that where it is, all is there.

    Raises
    ------
    UnitlensError
        If there are some already, or nothing can be written.
    """
    check_no_interventions(folder, overwrite=overwrite)
    make_folder(folder)
    for name in (INFO, *TABLES):
        with suppress(FileNotFoundError):
            (folder / name).unlink()
    shutil.rmtree(folder / IMAGES, ignore_errors=True)
    for name, table in saved.tables.items():
        write_whole(folder / name, table.to_csv(index=False))
    if saved.images:
        make_folder(folder / IMAGES)
    for name, content in saved.images.items():
        write_whole(folder / IMAGES / name, content)
    write_whole(folder / INFO, json_text(write_record(saved.record)))


def read_interventions(folder: Path) -> SavedInterventions | None:
    """Read the interventions of a folder; None where there are none.

    Raises
    ------
    UnitlensError
        If their files are incomplete, damaged, or of another version.
    """
    if not (folder / INFO).exists():
        return None
    try:
        record = read_record(InterventionsRecord, read_json(folder / INFO), what=INFO)
        there = {SETS: record.sets, CHANGED: record.sets, CAUSAL: record.sweeps, INSERTIONS: record.maps}
        tables = {name: _read_table(folder / name) for name, results in there.items() if results}
        names = [*(one.sheet for one in record.sets), *(door.figure for door in record.maps)]
        images = {name: _read_png(folder / IMAGES / name) for name in names if name is not None}
    except UnitlensError as error:
        raise UnitlensError(
            f"The interventions in {folder} are incomplete or damaged ({str(error).rstrip('.')}): measure them again."
        ) from None
    return SavedInterventions(record, tables, images)


def _read_table(path: Path) -> "pd.DataFrame":
    import pandas as pd

    columns = TABLES[path.name]
    text = {name: object for name in TEXT if name in columns}
    if path.name == SETS:
        text = {name: kind for name, kind in text.items() if name not in ("before", "after")}
    types: dict[Any, Any] = {name: text.get(name, np.float64) for name in columns}
    try:
        table = pd.read_csv(
            path, dtype=types, keep_default_na=False, na_values={k: [""] for k in columns if k not in text}
        )
    except (OSError, ValueError) as error:
        raise UnitlensError(f"{path.name} cannot be read ({str(error).strip()})") from None
    if list(table.columns) != list(columns):
        raise UnitlensError(f"{path.name} has other columns than those of this version")
    return table


def _read_png(path: Path) -> bytes:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UnitlensError(f"{path.name} cannot be read ({error.strerror})") from None
    if not content.startswith(b"\x89PNG\r\n\x1a\n"):
        raise UnitlensError(f"{path.name} is not a PNG file")
    return content


def _changed_rows(one: SetAreas) -> "pd.DataFrame":
    """Pairs of what positions showed and show, the largest share first."""
    import pandas as pd

    matrix = one.what_changed()
    values = matrix.to_numpy()
    order = np.argsort(-values, axis=None, kind="stable")
    order = order[values.ravel()[order] > 0]
    rows, columns = np.unravel_index(order, values.shape)
    return pd.DataFrame(
        {
            "layer": one.settings.layer,
            "units": ";".join(map(str, one.units)),
            "change": one.settings.change,
            "before": [matrix.index[k] for k in rows],
            "after": [matrix.columns[k] for k in columns],
            "share": values[rows, columns],
        },
        columns=list(CHANGED_COLUMNS),
    )


def _insertion_rows(door: InsertionMap) -> "pd.DataFrame":
    import pandas as pd

    table = door.table().assign(
        layer=door.settings.layer,
        units=";".join(map(str, door.units)),
        change=door.settings.change,
        concept=door.concept.name,
    )
    return pd.DataFrame(table[list(INSERTION_COLUMNS)])


def _set_record(one: SetAreas, sheet: str, images: Mapping[str, bytes]) -> SetRecord:
    band, distance = one.moved_by_drawn(), one.distance
    losses = one.table().query("effect < 0").head(3)
    names = one.shown
    replaced = []
    for row in losses.itertuples():
        name = str(row.concept) if str(row.concept) in names else f"{row.category}/{row.concept}"
        takers = tuple(PlaceTaker(str(k), float(v)) for k, v in one.took_its_place(name, 5).items())
        replaced.append(Replaced(name, float(-row.effect), takers))  # type: ignore[operator, arg-type]
    return SetRecord(
        layer=one.settings.layer,
        units=one.units,
        change=one.settings.change,
        images=one.images,
        moved=one.moved,
        moved_random=(band.low, band.mean, band.high) if one.drawn else (),
        distance=() if distance is None else (distance.before, distance.after, distance.outside),
        replaced=tuple(replaced),
        sheet=sheet if sheet in images else None,
        sheet_of=one.examples_of,
    )


def _causal_record(sweep: CausalEffects, dissection: "Dissection | None") -> CausalRecord:
    rows: list[IouRow] = []
    if dissection is not None and sweep.settings.layer in dissection.layers:
        rows = [IouRow(**row) for row in sweep.beside_iou(dissection).to_dict("records")]  # type: ignore[arg-type]
    return CausalRecord(
        layer=sweep.settings.layer,
        units=sweep.units,
        removed=sweep.settings.change,
        inserted=sweep.inserted_at,
        images=sweep.images,
        beside_iou=tuple(rows),
    )


def _map_record(door: InsertionMap, figure: str) -> MapRecord:
    return MapRecord(
        layer=door.settings.layer,
        units=door.units,
        change=door.settings.change,
        concept=door.concept.name,
        images=door.images,
        rows=door.grid[0],
        columns=door.grid[1],
        figure=figure,
    )
