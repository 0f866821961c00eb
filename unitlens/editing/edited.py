"""Images before and after an edit."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from unitlens.drawing.sheets import differences, sheet
from unitlens.files import write_whole
from unitlens.plurals import counted

Images = npt.NDArray[np.uint8]


@dataclass(frozen=True, eq=False, repr=False)
class Edited:
    """Images as they were drawn, and with units removed or inserted. Made by `unitlens.edit_image`.

    Attributes
    ----------
    before, after : uint8 arrays, (N, height, width, 3)
    removed, inserted : mapping of str to tuple of int
        The units of each layer.
    """

    before: Images
    after: Images
    removed: Mapping[str, tuple[int, ...]]
    inserted: Mapping[str, tuple[int, ...]]

    @property
    def difference(self) -> Images:
        """Grey where nothing changed, brighter or darker where numbers rose or fell, (N, height, width, 3)."""
        return differences(self.before, self.after)

    @property
    def distance(self) -> npt.NDArray[np.float64]:
        """How far each image moved: mean absolute difference of its numbers as a share of their range, (N,)."""
        moved = np.abs(self.after.astype(np.int16) - self.before)
        return np.asarray(moved.reshape(len(moved), -1).mean(1) / 255)

    def sheet(self, file: str | Path | None = None, *, size: int = 96, across: int = 1) -> bytes:
        """Draw before, after and difference of each image side by side, as a PNG.

        Parameters
        ----------
        file : str or Path, optional
            Where it is written to, too.
        size : int
            Height of an image in pixels.
        across : int
            So many images, each with what it became, in a row.
        """
        content = sheet([self.before, self.after, self.difference], size=size, across=across)
        if file is not None:
            write_whole(Path(file), content)
        return content

    def _repr_png_(self) -> bytes:
        return self.sheet()

    def __repr__(self) -> str:
        units = [f"{verb} {sum(map(len, of.values()))}" for verb, of in _named(self.removed, self.inserted) if of]
        return f"<Edited: {counted(len(self.before), 'image')}, units {', '.join(units) or 'as they were'}>"


def _named(removed: Mapping[str, Any], inserted: Mapping[str, Any]) -> tuple[tuple[str, Mapping[str, Any]], ...]:
    return ("removed", removed), ("inserted", inserted)
