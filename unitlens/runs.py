"""The files of a run: a folder that is written whole, and read back without pictures or network."""

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

from unitlens.errors import UnitlensError

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
FILES = (RUN, UNITS, COUNTS, EXEMPLARS, STRIPS, REPORT)

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
    """

    info: dict[str, Any]
    units: "pd.DataFrame"
    exemplars: "pd.DataFrame"
    counts: Arrays
    strips: Strips


def check_free(folder: str | Path, *, overwrite: bool = False) -> Path:
    """Make sure that a run may be written to a folder.

    Raises
    ------
    UnitlensError
        If something is there already and may not be overwritten, or is no run.
    """
    folder = Path(folder)
    if folder.exists() and not folder.is_dir():
        raise UnitlensError(f"{folder} is a file; a run is written into a folder: choose another --out.")
    if folder.is_dir() and any(folder.iterdir()):
        if not (folder / RUN).is_file():
            raise UnitlensError(f"{folder} holds other files and no run: choose another --out.")
        if not overwrite:
            raise UnitlensError(f"{folder} holds a run already: choose another --out, or replace it with --overwrite.")
    return folder


def write_run(folder: str | Path, files: RunFiles, *, overwrite: bool = False) -> Path:
    """Write a run, whole or not at all.

    Parameters
    ----------
    folder : str or Path
        Made if it is not there.
    files : RunFiles
    overwrite : bool
        Whether a run that is there may be replaced.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    UnitlensError
        If a run is there already, or the disk is full.
    """
    from safetensors.numpy import save_file

    folder = check_free(folder, overwrite=overwrite)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        made = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    except OSError as error:
        raise UnitlensError(f"{folder} could not be written: {error.strerror}.") from None
    try:
        (made / RUN).write_text(json.dumps(files.info, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        files.units.to_csv(made / UNITS, index=False)
        files.exemplars.to_csv(made / EXEMPLARS, index=False)
        save_file({name: np.ascontiguousarray(array) for name, array in files.counts.items()}, made / COUNTS)
        strips = {f"{layer}/{unit}": np.frombuffer(strip, np.uint8) for (layer, unit), strip in files.strips.items()}
        save_file(strips, made / STRIPS)
        made.chmod(0o755)
        _move(made, folder)
    except OSError as error:
        raise UnitlensError(f"{folder} could not be written: {error.strerror or error}.") from None
    finally:
        shutil.rmtree(made, ignore_errors=True)
    return folder


def _move(made: Path, folder: Path) -> None:
    """Put a finished folder in its place; what an old run left there goes."""
    if not folder.is_dir():
        made.rename(folder)
        return
    for path in folder.iterdir():
        if path.is_file() and (path.name in FILES or path.name.startswith("effects.")):
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
    import pandas as pd
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    folder = Path(folder)
    if not (folder / RUN).is_file():
        raise UnitlensError(f"{folder} holds no run (there is no {folder / RUN}): `unitlens dissect` writes one.")
    try:
        info = json.loads((folder / RUN).read_text(encoding="utf-8"))
        units = pd.read_csv(folder / UNITS, float_precision="round_trip", keep_default_na=False, na_values=[""])
        exemplars = pd.read_csv(folder / EXEMPLARS, float_precision="round_trip", keep_default_na=False, na_values=[""])
        counts, strips = load_file(folder / COUNTS), load_file(folder / STRIPS)
    except (OSError, ValueError, SafetensorError) as error:
        raise UnitlensError(f"The run in {folder} is incomplete or damaged: {error}.") from None
    pairs = ((name.rpartition("/"), strip) for name, strip in strips.items())
    return RunFiles(
        info, units, exemplars, counts, {(layer, int(unit)): strip.tobytes() for (layer, _, unit), strip in pairs}
    )


def write_text(path: Path, text: str) -> None:
    """Write a text file whole: to a temporary file first, which is then renamed.

    Raises
    ------
    UnitlensError
        If it cannot be written.
    """
    partial = path.with_name(f".{path.name}.partial")
    try:
        partial.write_text(text, encoding="utf-8")
        os.replace(partial, path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise UnitlensError(f"{path} could not be written: {error.strerror}.") from None
