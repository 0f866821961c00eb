"""The activations of a run that lasts: kept beside its results, so that its images need not be shown again."""

import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from unitlens.dissection.store.folder import Store
from unitlens.dissection.store.manifest import FILE as MANIFEST
from unitlens.dissection.store.passes import StoredPass
from unitlens.dissection.store.rows import writing
from unitlens.dissection.work.folders import PART
from unitlens.dissection.work.kept import ACTIVATIONS, NETWORK_PASS
from unitlens.dissection.work.merging import JoinedWork, find_parts
from unitlens.errors import UnitlensError
from unitlens.files import sync_folder


def keep_activations(passes: Path, run: Path) -> None:
    """Move the activations from the folder of the passes of a run into the run, in place of those that are there.

    Parameters
    ----------
    passes : Path
        Where the passes were made, by one process or by several.
    run : Path
    """
    parts = sorted(passes.glob(f"{PART}*"), key=_number) or [passes]
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


@contextmanager
def opened_activations(kept: Path) -> Iterator[StoredPass]:
    """Open activations that were kept: a store, or a folder of the stores of parts.

    Raises
    ------
    UnitlensError
        If they are damaged, or the pass was not finished.
    """
    with ExitStack() as opened:
        folders = [kept] if (kept / MANIFEST).exists() else sorted(filter(Path.is_dir, kept.iterdir()), key=_number)
        stores = [opened.enter_context(Store.open(folder)) for folder in folders]
        if not stores or not all(store.manifest.complete for store in stores):
            raise UnitlensError(f"{kept} does not hold a finished pass over the images.")
        stored = StoredPass.joined(stores)
        if not stored.images:
            raise UnitlensError(f"{kept} holds no images.")
        yield stored


def _number(folder: Path) -> int:
    text = folder.name.rpartition("-")[2]
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0
