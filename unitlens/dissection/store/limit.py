"""How much disk the store of a pass may take."""

import shutil
from dataclasses import dataclass

from unitlens.dissection.store.folder import Store
from unitlens.errors import UnitlensError, argument


@dataclass(frozen=True)
class StoreLimit:
    """How much disk the store of a pass may take, with those of further passes that are kept beside it.

    Attributes
    ----------
    store : Store
    images : int
        Of the pass, in all.
    passes : int
        As many are kept beside each other in the end.
    allowed, free : int
        Bytes that they may take, and that were free when the pass began.
    """

    store: Store
    images: int
    passes: int
    allowed: int
    free: int

    @classmethod
    def of(cls, store: Store, limit: int | None, *, images: int, passes: int = 1) -> "StoreLimit":
        """What a number of bytes allows, or half of the free disk if there is none; what is there already is free."""
        free = shutil.disk_usage(store.folder).free
        taken = store.manifest.images * store.row_bytes
        return cls(store, images, passes, (free + taken) // 2 if limit is None else limit, free)

    @property
    def needed(self) -> int:
        """Bytes that all images will take, if those that are not there yet take as much as those that are."""
        return self.images * self.store.row_bytes * self.passes

    def check(self) -> None:
        """Refuse what takes more than is allowed: at the start, and whenever images were added.

        How much is not 0, which is all that may be kept, is known of those images alone.

        Raises
        ------
        UnitlensError
            If it does.
        """
        if self.needed > self.allowed:
            raise UnitlensError(
                f"The store needs {in_bytes(self.needed)} for {self.images} images, more than the "
                f"{in_bytes(self.allowed)} allowed ({in_bytes(self.free)} are free under {self.store.folder.parent}): "
                f"choose fewer images ({argument('limit')}), fewer or coarser layers or a coarser {argument('grid')}, "
                f"or raise {argument('store_limit')}."
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
