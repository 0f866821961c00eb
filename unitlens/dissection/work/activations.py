"""The activations of a run that lasts: kept beside its results, so that its images need not be shown again."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from unitlens.dissection.store.rows import writing
from unitlens.dissection.work.folders import PART
from unitlens.dissection.work.kept import ACTIVATIONS, NETWORK_PASS, number_of
from unitlens.dissection.work.merging import JoinedWork, find_parts
from unitlens.files import sync_folder


def keep_activations(passes: Path, run: Path) -> None:
    """Move the activations from the folder of the passes of a run into the run, in place of those that are there.

    Parameters
    ----------
    passes : Path
        Where the passes were made, by one process or by several.
    run : Path
    """
    parts = sorted(passes.glob(f"{PART}*"), key=number_of) or [passes]
    for number, folder in _numbered(find_parts(parts), run):
        os.replace(folder, run / ACTIVATIONS / number)
    sync_folder(run / ACTIVATIONS)


def copy_activations(parts: JoinedWork, run: Path) -> None:
    """Copy the activations of parts that are put together into the run, in place of those that are there."""
    for number, folder in _numbered(parts, run):
        with writing(run):
            shutil.copytree(folder, run / ACTIVATIONS / number)


def _numbered(parts: JoinedWork, run: Path) -> Iterator[tuple[str, Path]]:
    """The number and the store of each part, for an empty folder of the run."""
    into = run / ACTIVATIONS
    shutil.rmtree(into, ignore_errors=True)
    into.mkdir()
    for number, part in enumerate(parts.folders, start=1):
        yield str(number), part / NETWORK_PASS
