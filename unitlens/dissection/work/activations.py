"""The activations of a run that lasts: kept beside its results, so that its images need not be shown again."""

import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from unitlens.dissection.store.folder import Store
from unitlens.dissection.store.manifest import FILE as MANIFEST
from unitlens.dissection.store.passes import StoredPass
from unitlens.dissection.work.kept import ACTIVATIONS, NETWORK_PASS
from unitlens.dissection.work.merging import find_parts
from unitlens.errors import UnitlensError
from unitlens.files import sync_folder


def keep_activations(passes: Path, run: Path) -> Path:
    """Move the activations from the folder of the passes of a run into the run, in place of those that are there.

    Parameters
    ----------
    passes : Path
        Where the passes were made, by one process or by several.
    run : Path

    Returns
    -------
    Path
        Where they are now.
    """
    parts = sorted(passes.glob("part-*"), key=_number) or [passes]
    into = run / ACTIVATIONS
    shutil.rmtree(into, ignore_errors=True)
    into.mkdir()
    for number, part in enumerate(find_parts(parts).folders, start=1):
        os.replace(part / NETWORK_PASS, into / str(number))
    sync_folder(into)
    return into


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
