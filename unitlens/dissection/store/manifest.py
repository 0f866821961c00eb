"""What a store holds, as its manifest says it."""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from unitlens.errors import UnitlensError
from unitlens.files import check_readable, replace_file
from unitlens.records import LATER, check_types, read_record

SCHEMA = 2
"""Of the files of a store; one of another schema is not opened."""

FILE = "manifest.json"

_LARGEST = 1 << 40
"""Bytes; no row is larger."""


@dataclass(frozen=True)
class RowsEntry:
    """Rows of one name: shape of one, type as numpy writes it (``<f4``), and how many of them count.

    Where only what is not 0 is kept (`unitlens.dissection.store.sparse_rows`), also in how many batches they are.
    """

    shape: tuple[int, ...]
    dtype: str
    count: int
    batches: int | None = field(default=None, metadata=LATER)

    def __post_init__(self) -> None:
        check_types(self)
        size = math.prod(self.shape) * np.dtype(self.dtype).itemsize
        if np.dtype(self.dtype).kind not in "iuf" or min(self.count, *self.shape, 0) < 0 or size > _LARGEST:
            raise ValueError("rows of numbers are of no such type or size")
        if self.batches is not None and not (0 <= self.batches <= self.count and self.shape and all(self.shape)):
            raise ValueError("rows are in no such number of batches")


@dataclass(frozen=True)
class Manifest:
    """How much of the files of a store counts; it is written after them.

    Attributes
    ----------
    schema : int
    images : int
        How many images the store has all rows of.
    looked_at : int
        How many images were looked at for it, with those that were left out.
    seconds : float
        It took so far.
    complete : bool
        Whether the pass went through to its end.
    lines : int
        Bytes of ``images.jsonl``.
    lines_sha256 : str
        Of these bytes: name, class and hash of each image, in their order, and the images that were left out.
    rows : dict of str to RowsEntry
        By name, such as ``maps/layer4``.
    documents : dict of str to str
        SHA-256 of each document, by name, and of the arrays that were written last, by their file's name.
    """

    schema: int = SCHEMA
    images: int = 0
    looked_at: int = 0
    seconds: float = 0.0
    complete: bool = False
    lines: int = 0
    lines_sha256: str = ""
    rows: Mapping[str, RowsEntry] = field(default_factory=dict)
    documents: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_types(self)
        if min(self.images, self.looked_at, self.lines, self.seconds) < 0:
            raise ValueError("there is less than nothing")
        if not all(re.match(r"[a-z]+(/|\Z)", name) for name in self.rows):
            raise ValueError("a name of rows leads elsewhere")

    def write(self, folder: Path, *, synced: bool) -> None:
        """Write the manifest of a store, whole or not at all; an OSError if the system refuses it."""
        replace_file(folder / FILE, json.dumps(asdict(self), indent=1).encode(), synced=synced)

    @classmethod
    def read(cls, folder: Path) -> "Manifest":
        """Read the manifest of a store.

        Raises
        ------
        UnitlensError
            If there is none, or it is of another schema or contradicts itself.
        """
        path = folder / FILE
        check_readable(path)
        try:
            document = json.loads(path.read_bytes())
            schema = int(document["schema"])
            if schema == SCHEMA:
                return read_record(cls, document, what=FILE)
        except OSError as error:
            raise UnitlensError(
                f"{folder} is not a store of unitlens: {path} cannot be read ({error.strerror})."
            ) from None
        except (ValueError, TypeError, KeyError, RecursionError, OverflowError, UnitlensError):
            raise UnitlensError(f"{path} is not the manifest of a store, or is damaged: remove the store.") from None
        raise UnitlensError(
            f"{folder} is a store of schema {schema}, and this version of unitlens reads schema {SCHEMA}: remove it."
        )
