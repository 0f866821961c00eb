"""Stores that are gone when the run is over."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from unitlens.dissection.store.folder import Store
from unitlens.dissection.store.rows import writing


@contextmanager
def temporary_store() -> Iterator[Store]:
    """A store in a temporary folder (TMPDIR), removed afterwards, whatever happens."""
    with writing(None):
        temporary = tempfile.TemporaryDirectory(prefix="unitlens-")
    with temporary as folder:
        store = Store(Path(folder))
        try:
            yield store
        finally:
            store.close()
