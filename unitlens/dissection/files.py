"""The files of a run: a folder that is written whole, and read back without images or network."""

import csv
import io
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from unitlens.dissection.run_record import DataRecord, GroupsRecord, OtherSchemaError, RunRecord
from unitlens.dissection.settings import Settings
from unitlens.dissection.validation import check_controls, check_counts, check_exemplars, check_units
from unitlens.dissection.work.folders import describe_kept
from unitlens.errors import UnitlensError, spelled
from unitlens.files import another_folder, another_or_overwrite, json_text, read_arrays, read_json
from unitlens.journal import FOLDERS, TEMPORARY, FolderChange, changing, is_result, settle

if TYPE_CHECKING:
    import pandas as pd

RUN, UNITS, COUNTS, EXEMPLARS, STRIPS = (
    "run.json",
    "units.csv",
    "counts.safetensors",
    "exemplars.csv",
    "strips.safetensors",
)
REPORT = "report.html"
CONTROLS = "controls.csv"
GROUPS = "groups.csv"
FILES = (RUN, UNITS, COUNTS, EXEMPLARS, STRIPS, CONTROLS, GROUPS, REPORT)

_WHOLE = ("unit", "rank", "nonfinite", "active_images")
_WHOLE_OR_EMPTY = ("activated_pixels", "concept_pixels", "intersection", "concepts_needed")
_YES_OR_NO = ("detector", "above_min_iou", "silent")
# fmt: off
_TEXT = (
    "layer", "concept", "category", "second_concept", "second_category", "verdict", "evaluated_on",
    "image", "control", "concept_set", "needed_concepts",
)
# fmt: on
"""Columns of the tables by their type; all others are float64."""

_MOST = 2**53

Strips = Mapping[tuple[str, int], bytes]
Arrays = Mapping[str, npt.NDArray[Any]]


@dataclass(frozen=True, eq=False)
class RunFiles:
    """What the files of a dissection hold.

    Attributes
    ----------
    info : dict
        run.json.
    units, exemplars : pandas.DataFrame
        units.csv and exemplars.csv.
    counts : mapping of str to array
        counts.safetensors, with the keys ``LAYER/FIELD``.
    strips : mapping of (layer, unit) to bytes
        strips.safetensors: the exemplars as one image each.
    controls : pandas.DataFrame or None
        controls.csv, where a control ran: the rows of units.csv and of the controls, with ``control`` in front.
    settings : Settings or None
        Those of run.json, where they were read already.
    groups : mapping of str to str or None
        groups.csv, where images belong together: the group of each, by its name.
    """

    info: dict[str, Any]
    units: "pd.DataFrame"
    exemplars: "pd.DataFrame"
    counts: Arrays
    strips: Strips
    controls: "pd.DataFrame | None" = None
    settings: Settings | None = None
    groups: Mapping[str, str] | None = None


def check_free(folder: str | Path, *, overwrite: bool = False) -> Path:
    """Make sure that a run may be written to a folder.

    Raises
    ------
    UnitlensError
        If something is there already and may not be overwritten, or is no run, or nothing can be written there.
    """
    folder = Path(folder)
    parent = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not parent.is_dir():
        raise UnitlensError(f"{parent} is a file; a run is written into a folder: {another_folder()}.")
    if folder.is_symlink() and not folder.exists():
        raise UnitlensError(f"{folder} is a link to nothing: {another_folder()}.")
    try:  # what may be written is known for sure only to the one who tries; the file has no name, so that none is left
        tempfile.TemporaryFile(dir=parent).close()
    except OSError as error:
        raise UnitlensError(f"Nothing may be written into {parent} ({error.strerror}): {another_folder()}.") from None
    if folder.is_dir():
        settle(folder)
        there = [path.name for path in folder.iterdir() if not path.name.startswith(TEMPORARY)]
        if RUN not in there and not all(map(_ours, there)):
            raise UnitlensError(f"{folder} holds other files and no run: {another_folder()}.")
        if there and not overwrite:
            raise UnitlensError(f"{folder} holds a run already: {another_or_overwrite()}.")
    return folder


_OF_INTERVENTIONS = ("interventions.", "causal_effects.", "insertions.", "concept_sets.", "drawn_detectors.")
_OF_UNITS = ("reconstruction.", "concept_effects.")
_OF_EXPLANATIONS = ("explanation.", "confusions.", "shortcuts.", "causal_labels.", "pairs.", "attack.")


def _ours(name: str) -> bool:
    """Whether a file or folder of this name belongs to a run."""
    added = ("effects.", "outcomes.", "audit.", "labels.", *_OF_UNITS, *_OF_EXPLANATIONS, *_OF_INTERVENTIONS)
    return is_result(name) and (name in (*FILES, *FOLDERS) or name.startswith(added))


def write_run(folder: str | Path, files: RunFiles, *, page: str | None = None, overwrite: bool = False) -> Path:
    """Write a run, whole or not at all.

    Parameters
    ----------
    folder : str or Path
        Made if it is not there.
    files : RunFiles
    page : str, optional
        The text of report.html.
    overwrite : bool
        Whether a run that is there may be replaced, with all that was added to it; other files in its folder stay.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    UnitlensError
        If a run is there already, or the disk is full.
    """
    folder = check_free(folder, overwrite=overwrite)
    with changing(folder) as change:
        change.remove(name for name in os.listdir(folder) if _ours(name))
        _write_files(change, files)
        if page is not None:
            change.write(REPORT, page)
    return folder


def _write_files(change: FolderChange, files: RunFiles) -> None:
    from safetensors.numpy import save

    change.write(RUN, json_text(files.info))
    change.write(UNITS, files.units.to_csv(index=False))
    change.write(EXEMPLARS, files.exemplars.to_csv(index=False))
    if files.controls is not None:
        change.write(CONTROLS, files.controls.to_csv(index=False))
    if files.groups is not None:
        rows = io.StringIO(newline="")
        csv.writer(rows).writerows([("image", "group"), *files.groups.items()])
        change.write(GROUPS, rows.getvalue())
    change.write(COUNTS, save({name: np.ascontiguousarray(array) for name, array in files.counts.items()}))
    strips = {f"{layer}/{unit}": np.frombuffer(strip, np.uint8) for (layer, unit), strip in files.strips.items()}
    change.write(STRIPS, save(strips))


def read_run(folder: str | Path) -> RunFiles:
    """Read a run, and make sure that its files belong together.

    Raises
    ------
    UnitlensError
        If the folder holds no run, or one of another version; if a file is missing or damaged, or says what the others
        rule out.
    """
    folder = Path(folder)
    settle(folder)
    if not (folder / RUN).is_file():
        if kept := describe_kept(folder):
            raise UnitlensError(kept)
        raise UnitlensError(
            f"{folder} holds no run (there is no {folder / RUN}): "
            + spelled(python="ul.report(folder, ul.dissect(...)) writes one.", shell="`unitlens dissect` writes one.")
        )
    try:
        return _read(folder)
    except OtherSchemaError as error:
        raise UnitlensError(f"The run in {folder} {error}") from None
    except UnitlensError as error:
        raise UnitlensError(f"The run in {folder} is incomplete or damaged: {str(error).rstrip('.')}.") from None


def _read(folder: Path) -> RunFiles:
    info = read_json(folder / RUN)
    record = RunRecord.from_json(info)
    units, exemplars = _read_table(folder / UNITS), _read_table(folder / EXEMPLARS)
    controls = _read_table(folder / CONTROLS) if (folder / CONTROLS).exists() else None
    arrays = read_arrays(folder / COUNTS)
    strips = _strips(read_arrays(folder / STRIPS))
    counts = {layer: check_counts(layer, part, record) for layer, part in _by_layer(arrays, record).items()}
    check_units(units, arrays, counts, record)
    check_controls(controls, units, record)
    check_exemplars(exemplars, strips, record)
    groups = _read_groups(folder / GROUPS, record.data) if record.data.groups is not None else None
    return RunFiles(info, units, exemplars, arrays, strips, controls, record.settings, groups)


def _read_groups(path: Path, data: DataRecord) -> dict[str, str]:
    """Read the group of each image, if they are those that run.json records."""
    if not path.is_file():
        raise UnitlensError(f"there is no file {path.name}")
    group_of, once, lines = dict[str, str](), dict[str, str](), 0
    try:
        with path.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
            rows = csv.reader(file)
            header = next(rows, None)
            for lines, row in enumerate(rows, 1):
                if len(row) == 2 and lines <= data.images:
                    group_of[row[0]] = once.setdefault(row[1], row[1])  # a group of many images is one text
    except (OSError, csv.Error, ValueError) as error:
        raise UnitlensError(f"{path.name} cannot be read ({error})") from None
    if header != ["image", "group"] or not len(group_of) == lines == data.images:
        raise UnitlensError(f"{path.name} does not name one group for each of the {data.images} images")
    if GroupsRecord.of(group_of) != data.groups:
        raise UnitlensError(f"{path.name} has other groups than run.json")
    return group_of


def _by_layer(arrays: Arrays, record: RunRecord) -> dict[str, Arrays]:
    """Sort arrays by their layers, whose names may contain a slash."""
    parts: dict[str, dict[str, npt.NDArray[Any]]] = {layer: {} for layer in record.layers}
    for key, array in arrays.items():
        layer, _, name = key.rpartition("/")
        if layer not in parts:
            raise UnitlensError(f"{COUNTS} has {key}, which is not of a layer of the run")
        parts[layer][name] = array
    return dict(parts)


def _strips(arrays: Arrays) -> dict[tuple[str, int], bytes]:
    strips = {}
    for key, array in arrays.items():
        layer, _, unit = key.rpartition("/")
        if not (unit.isascii() and unit.isdigit() and unit == str(int(unit[:18]))) or array.dtype != np.uint8:
            raise UnitlensError(f"{STRIPS} has {key}, which is not the strip of a unit")
        strips[layer, int(unit)] = array.tobytes()
    return strips


def _read_table(path: Path) -> "pd.DataFrame":
    """A table as it was written: names stay text, though they may look like numbers, and numbers are exact."""
    import pandas as pd

    if not path.is_file():
        raise UnitlensError(f"there is no file {path.name}")
    try:
        # Without a header: a row that is longer than the first one is an error then, and no column is renamed.
        whole = pd.read_csv(
            path, header=None, dtype=object, keep_default_na=False, na_values=[""], encoding_errors="surrogateescape"
        )
    except (OSError, ValueError) as error:
        raise UnitlensError(f"{path.name} cannot be read ({str(error).strip()})") from None
    header, *rows = whole.where(whole.notna(), None).to_numpy(object)
    names = [str(name) for name in header]
    if len(set(names)) < len(names):
        raise UnitlensError(f"{path.name} has two columns of one name")
    columns = {}
    for column, name in enumerate(names):
        texts = [row[column] for row in rows]
        try:
            columns[name] = _typed(name, texts)
        except (ValueError, KeyError, OverflowError):
            raise UnitlensError(f"{path.name}: {name} has a value of another type") from None
    return pd.DataFrame(columns)


def _typed(name: str, texts: list[str | None]) -> Any:
    """Return a column in its type, the same with every version of pandas.

    Raises
    ------
    ValueError, KeyError or OverflowError
        If a text is not a value of that type.
    """
    import pandas as pd

    if name in _TEXT:
        # pandas 3 has a type of its own for text, pandas 2 does not; in either of them a missing one stays missing
        return pd.Series(texts, dtype=object if name in ("concept_set", "needed_concepts") else pd.Series([""]).dtype)
    if name in _YES_OR_NO:
        return pd.Series([{"True": True, "False": False}[str(text)] for text in texts], dtype=bool)
    if name in _WHOLE:
        return pd.Series([_whole(str(text)) for text in texts], dtype=np.int64)
    if name in _WHOLE_OR_EMPTY:
        return pd.Series([None if text is None else _whole(text) for text in texts], dtype="Int64")
    return pd.Series([np.nan if text is None else float(text) for text in texts], dtype=np.float64)


def _whole(text: str) -> int:
    number = int(text)
    if abs(number) > _MOST:
        raise OverflowError(text)
    return number
