"""A folder of rows."""

from pathlib import Path

import numpy.typing as npt

from unitlens.dissection.store.rows import RowFile


class Store:
    """A folder of `RowFile` that is gone when the run is over."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._files: dict[str, RowFile] = {}

    def rows(self, name: str, shape: tuple[int, ...], dtype: npt.DTypeLike) -> RowFile:
        """The rows of one name, made at the first call."""
        if name not in self._files:
            self._files[name] = RowFile(self.folder / f"{len(self._files)}.rows", shape, dtype)
        return self._files[name]

    def close(self) -> None:
        """Close all files."""
        for file in self._files.values():
            file.close()
