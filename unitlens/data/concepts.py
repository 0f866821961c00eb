"""What is marked in images: concepts, examples, and the protocol that every data set follows."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

NOT_JUDGED = -1
"""The value, in a plane of a signed type, of a position that nobody judged; 0 is judged, and none of the concepts.
255 and 65535 mean the same there, see `Example`."""


class Concept(NamedTuple):
    """A word for a region.

    Attributes
    ----------
    category : str
        Its kind: object, part, material, texture, color, scene, ...
    label : int
        Its id in the label maps of the category, 1 or more.
    name : str
        The word. Identity is (category, name).
    """

    category: str
    label: int
    name: str


class Example(NamedTuple):
    """One image and what is marked in it.

    Attributes
    ----------
    image : array of uint8, height x width x 3
        RGB, as it is to be looked at (EXIF rotation done).
    planes : mapping of str to sequence of integer arrays
        For each category that the image is annotated for, one or more label maps (rows x columns, of the image's
        aspect ratio): 0 is none. In maps of uint8, 255 is not judged; of uint16, 65535 (255 is a label like others);
        of any other type negative values, 255 and 65535 are. An absent category is not annotated.
    name : str
        Unique in the data set; for files, the POSIX path under ``images/``.
    class_ : str or int or None
        The class of the whole image, where it is known.
    file_digest : str or None
        SHA-256 of the files that the example was read from; None for what was made in memory. It tells which of the
        two the image's fold is drawn from: its name, or its bytes.
    """

    image: npt.NDArray[np.uint8]
    planes: Mapping[str, Sequence[npt.NDArray[Any]]]
    name: str
    class_: str | int | None = None
    file_digest: str | None = None


@runtime_checkable
class Data(Protocol):
    """Annotated images: anything with a length, concepts, and examples by index."""

    @property
    def concepts(self) -> Sequence[Concept]:
        """Every concept that may be marked."""
        ...

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Example: ...
