"""The files of a run: a folder that is written whole, and read back without images or network."""

import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from unitlens.dissection.table import COLUMNS
from unitlens.errors import UnitlensError, spelled
from unitlens.files import another_folder, another_or_overwrite

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
_PARTIAL = ".unitlens-"
FILES = (RUN, UNITS, COUNTS, EXEMPLARS, STRIPS, CONTROLS, REPORT)

_TYPES = {
    **dict.fromkeys(("unit", "rank", "nonfinite"), "int64"),
    **dict.fromkeys(("detector", "above_min_iou", "silent"), "bool"),
    **dict.fromkeys(("activated_pixels", "concept_pixels", "intersection"), "Int64"),
    **dict.fromkeys(("layer", "concept", "category", "second_concept", "second_category"), "str"),
    **dict.fromkeys(("verdict", "evaluated_on", "image", "control"), "str"),
    "label_set": "object",
}
"""Of the columns of units.csv and exemplars.csv; all others are float64."""

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
    """

    info: dict[str, Any]
    units: "pd.DataFrame"
    exemplars: "pd.DataFrame"
    counts: Arrays
    strips: Strips
    controls: "pd.DataFrame | None" = None


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
    try:  # what may be written is known for sure only to the one who tries
        Path(tempfile.mkdtemp(prefix=_PARTIAL, dir=parent)).rmdir()
    except OSError as error:
        raise UnitlensError(f"Nothing may be written into {parent} ({error.strerror}): {another_folder()}.") from None
    if folder.is_dir():
        there = [path.name for path in folder.iterdir()]
        if RUN not in there and not all(map(_ours, there)):
            raise UnitlensError(f"{folder} holds other files and no run: {another_folder()}.")
        if there and not overwrite:
            raise UnitlensError(f"{folder} holds a run already: {another_or_overwrite()}.")
    return folder


def _ours(name: str) -> bool:
    """Whether a file of this name belongs to a run."""
    return name in FILES or name.startswith(("effects.", "audit.", _PARTIAL))


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
        Whether a run that is there may be replaced; other files in its folder stay.

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
    made = None
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        # Inside a folder that is there: it may lie on another disk than its parent, and a rename stays on one disk.
        made = Path(tempfile.mkdtemp(prefix=_PARTIAL, dir=folder if folder.is_dir() else folder.parent))
        _write_files(made, files, page)
        made.chmod(0o755)
        _move(made, folder)
    except OSError as error:
        raise UnitlensError(f"{folder} could not be written: {error.strerror or error}.") from None
    finally:
        if made is not None:
            shutil.rmtree(made, ignore_errors=True)
    return folder


def _write_files(folder: Path, files: RunFiles, page: str | None) -> None:
    from safetensors.numpy import save

    (folder / RUN).write_text(json.dumps(files.info, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    files.units.to_csv(folder / UNITS, index=False)
    files.exemplars.to_csv(folder / EXEMPLARS, index=False)
    if files.controls is not None:
        files.controls.to_csv(folder / CONTROLS, index=False)
    counts = {name: np.ascontiguousarray(array) for name, array in files.counts.items()}
    strips = {f"{layer}/{unit}": np.frombuffer(strip, np.uint8) for (layer, unit), strip in files.strips.items()}
    # Written by Python rather than by safetensors, which says in other words that a disk is full.
    (folder / COUNTS).write_bytes(save(counts))
    (folder / STRIPS).write_bytes(save(strips))
    if page is not None:
        (folder / REPORT).write_text(page, encoding="utf-8")


def _move(made: Path, folder: Path) -> None:
    """Put a finished folder in its place; what an old run left there goes.

    run.json goes first and comes last: where it is, the run is whole.
    """
    if not folder.is_dir():
        made.rename(folder)
        return
    (folder / RUN).unlink(missing_ok=True)
    for path in folder.iterdir():
        if _ours(path.name) and path.is_file():
            path.unlink()
    for path in sorted(made.iterdir(), key=lambda path: path.name == RUN):
        os.replace(path, folder / path.name)


def read_run(folder: str | Path) -> RunFiles:
    """Read a run.

    Raises
    ------
    UnitlensError
        If the folder holds no run, or a file of it is missing or damaged.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    folder = Path(folder)
    if not (folder / RUN).is_file():
        raise UnitlensError(
            f"{folder} holds no run (there is no {folder / RUN}): "
            + spelled(python="ul.report(folder, ul.dissect(...)) writes one.", shell="`unitlens dissect` writes one.")
        )
    try:
        info = json.loads((folder / RUN).read_text(encoding="utf-8"))
        units, exemplars = _read_table(folder / UNITS), _read_table(folder / EXEMPLARS)
        controls = _read_table(folder / CONTROLS) if (folder / CONTROLS).is_file() else None
        counts, strips = load_file(folder / COUNTS), load_file(folder / STRIPS)
    except (OSError, ValueError, SafetensorError) as error:
        raise UnitlensError(f"The run in {folder} is incomplete or damaged: {error}.") from None
    absent = [key for key in ("network", "data", "settings", "layers") if not isinstance(info, dict) or key not in info]
    absent += [column for column in COLUMNS if column not in units]
    if absent:
        raise UnitlensError(
            f"The run in {folder} is incomplete or damaged, or of another version of unitlens: it has no {absent[0]}."
        )
    pairs = ((name.rpartition("/"), strip) for name, strip in strips.items())
    images = {(layer, int(unit)): strip.tobytes() for (layer, _, unit), strip in pairs}
    return RunFiles(info, units, exemplars, counts, images, controls)


def _read_table(path: Path) -> "pd.DataFrame":
    """A table as it was written: names stay text, though they may look like numbers, and numbers are exact."""
    import pandas as pd

    text = pd.read_csv(path, dtype=str, keep_default_na=False, na_values=[""])
    return pd.DataFrame({name: _typed(column, _TYPES.get(str(name), "float64")) for name, column in text.items()})


def _typed(text: "pd.Series[str]", type_: Any) -> "pd.Series[Any]":
    typed: pd.Series[Any] = text == "True" if type_ == "bool" else text.astype(type_)
    return typed
