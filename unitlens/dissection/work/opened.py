"""Activations that were kept, opened."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from unitlens.dissection.store.folder import Store
from unitlens.dissection.store.manifest import FILE as MANIFEST
from unitlens.dissection.store.manifest import Manifest
from unitlens.dissection.store.passes import StoredPass
from unitlens.dissection.work.kept import number_of
from unitlens.errors import UnitlensError


def keeps_images(kept: Path) -> bool:
    """Whether activations that were kept have the images beside them, as the network saw them.

    Raises
    ------
    UnitlensError
        If they are damaged.
    """
    manifests = [Manifest.read(folder) for folder in _stores(kept)]
    return all("thumbnails" in manifest.rows for manifest in manifests if manifest.images)


@contextmanager
def opened_activations(kept: Path) -> Iterator[StoredPass]:
    """Open activations that were kept: a store, or a folder of the stores of parts.

    Raises
    ------
    UnitlensError
        If they are damaged, or the pass was not finished.
    """
    with ExitStack() as opened:
        stores = [opened.enter_context(Store.open(folder)) for folder in _stores(kept)]
        if not stores or not all(store.manifest.complete for store in stores):
            raise UnitlensError(f"{kept} does not hold a finished pass over the images.")
        stored = StoredPass.joined(stores)
        if not stored.images:
            raise UnitlensError(f"{kept} holds no images.")
        yield stored


def _stores(kept: Path) -> list[Path]:
    """The folders of one store, or of the stores of parts in their order."""
    return [kept] if (kept / MANIFEST).exists() else sorted(filter(Path.is_dir, kept.iterdir()), key=number_of)
