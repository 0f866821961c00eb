"""How much disk the store of a pass may take."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from unitlens.dissection.store.folder import Store
from unitlens.errors import UnitlensError, argument


@dataclass(frozen=True)
class PassesBeside:
    """Passes that are on disk together with one when a dissection is finished.

    Attributes
    ----------
    made : int
        So many were made before it.
    taken : int
        Bytes that these take.
    ahead : int
        So many will be made after it, each of which is taken to be as large as this one.
    """

    made: int = 0
    taken: int = 0
    ahead: int = 0

    @classmethod
    def of(cls, made: list[Path], ahead: int) -> "PassesBeside":
        """What the folders of passes that were made take on disk, where what was never written takes nothing."""
        files = (path.lstat() for folder in made for path in folder.rglob("*"))
        return cls(len(made), sum(512 * file.st_blocks for file in files), ahead)


ALONE = PassesBeside()
"""No other pass is on disk with it."""


@dataclass(frozen=True)
class StoreLimit:
    """How much disk the store of a pass may take, with those of further passes that are kept beside it.

    Attributes
    ----------
    store : Store
    images : int
        Of the pass, in all.
    beside : PassesBeside
        That are kept beside it in the end.
    allowed, free, room : int
        Bytes that they may take, that were free when the pass began, and that were free or theirs already.
    """

    store: Store
    images: int
    beside: PassesBeside
    allowed: int
    free: int
    room: int

    @classmethod
    def of(cls, store: Store, limit: int | None, *, images: int, beside: PassesBeside = ALONE) -> "StoreLimit":
        """What a number of bytes allows, or half of the free disk if there is none; what is there already is free."""
        free = shutil.disk_usage(store.folder).free
        taken = store.manifest.images * store.row_bytes + beside.taken
        room = free + taken
        return cls(store, images, beside, room // 2 if limit is None else limit, free, room)

    @property
    def passes(self) -> int:
        """How many are kept in the end, this one with them."""
        return self.beside.made + 1 + self.beside.ahead

    @property
    def needed(self) -> int:
        """Bytes that all passes will take, if images that are not there yet take as much as those that are."""
        return self.beside.taken + self.images * self.store.row_bytes * (1 + self.beside.ahead)

    def check(self) -> None:
        """Refuse what takes more than is allowed: at the start, and whenever images were added.

        How much is not 0, which is all that may be kept, is known of those images alone.

        Raises
        ------
        UnitlensError
            If it does.
        """
        if self.needed > self.allowed:
            several = self.passes > 1
            passes = f" in {self.passes} passes" if several else ""
            # a higher limit makes no room that the disk has not
            more = f"raise {argument('store_limit')}" if self.needed <= self.room else "free some disk"
            controls = f", fewer controls ({argument('control')})" if several else ""
            raise UnitlensError(
                f"The store needs {in_bytes(self.needed)} for {self.images} images{passes}, more than the "
                f"{in_bytes(self.allowed)} allowed ({in_bytes(self.free)} are free under {self.store.folder.parent}): "
                f"choose fewer images ({argument('limit')}){controls}, fewer or coarser layers or a coarser "
                f"{argument('grid')}, or {more}."
            )


def in_bytes(count: float) -> str:
    """A number of bytes, to be read.

    Examples
    --------
    >>> in_bytes(123_456_789)
    '123 MB'
    """
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"
