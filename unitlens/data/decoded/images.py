"""What is kept of decoded images: their pixels as the network takes them, and what is marked in them on the grid."""

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import PIL
from PIL import features

from unitlens.data.columns import Columns
from unitlens.data.decoded.shelf import Shelf, ShelfWriter, size_of_shelves
from unitlens.files import cache_folder, encoded
from unitlens.models.preprocessing import Preprocessing
from unitlens.progress import tell

NEVER = "UNITLENS_IMAGES"
"""Where this variable of the environment is ``none``, no decoded image is kept, or read."""

SCHEMA = 1

_FINGERPRINT = 80  # bytes, see `unitlens.data.copies.fingerprint`
_SIZE = np.dtype("<u4")


class DecodedImage(NamedTuple):
    """An image as the network takes it.

    Attributes
    ----------
    pixels : uint8 array, (3, height, width)
    size : (int, int)
        Height and width of the file's image, to which label maps belong.
    fingerprint : bytes
    """

    pixels: npt.NDArray[np.uint8]
    size: tuple[int, int]
    fingerprint: bytes


class Fresh(NamedTuple):
    """Under which keys an image that was decoded just now is to be kept, if at all.

    Attributes
    ----------
    image, marks : bytes or None
        SHA-256 of the file, and of all files of the example.
    size : (int, int)
        See `DecodedImage`.
    """

    image: bytes | None
    marks: bytes | None
    size: tuple[int, int]


@dataclass(frozen=True)
class DecodedImages:
    """Images that were decoded before for one geometry, and what was marked in them for one table of columns.

    Files are read whole and hashed each time, which takes a hundredth of decoding them: what is found is of the very
    same bytes, wherever they lie.

    Attributes
    ----------
    preprocessing : Preprocessing
    columns : Columns
    grid : (int, int)
    """

    preprocessing: Preprocessing
    columns: Columns
    grid: tuple[int, int]

    @classmethod
    def of(cls, preprocessing: Preprocessing, columns: Columns, grid: tuple[int, int]) -> "DecodedImages | None":
        """Those of the cache of this user; None where it is switched off."""
        return None if os.environ.get(NEVER) == "none" else cls(preprocessing, columns, grid)

    @cached_property
    def images(self) -> Shelf:
        """Pixels, by the hash of the image file."""
        height, width = self.preprocessing.image_size
        return Shelf(_root() / f"image-{self._geometry}", 3 * height * width + 2 * _SIZE.itemsize + _FINGERPRINT)

    @cached_property
    def marks(self) -> Shelf:
        """Label planes, by the hash of all files of an example."""
        key = _hashed(self._geometry, repr(self.columns), repr(self.grid))
        return Shelf(_root() / f"marks-{key}", 2 * len(self.columns.categories) * self.grid[0] * self.grid[1])

    @property
    def _geometry(self) -> str:
        given = self.preprocessing
        libraries = [PIL.__version__, *(str(features.version(name)) for name in ("jpg", "libjpeg_turbo", "webp"))]
        return _hashed(str(SCHEMA), repr((given.image_size, given.resize, given.interpolation)), *libraries)

    def image(self, key: bytes) -> DecodedImage | None:
        """Return what was kept of an image file."""
        row = self.images.get(key)
        if row is None:
            return None
        pixels = np.frombuffer(row, np.uint8, 3 * self.preprocessing.image_size[0] * self.preprocessing.image_size[1])
        height, width = np.frombuffer(row, _SIZE, 2, offset=pixels.nbytes).tolist()
        found = pixels.reshape(3, *self.preprocessing.image_size)
        return DecodedImage(found, (height, width), row[-_FINGERPRINT:])

    def planes(self, key: bytes) -> npt.NDArray[np.int16] | None:
        """Return what was marked in an example."""
        row = self.marks.get(key) if self.marks.row_bytes else None
        return None if row is None else np.frombuffer(row, "<i2").reshape(len(self.columns.categories), -1).copy()


class DecodedWriter:
    """Keeps images that were decoded, in the process that reads their batches.

    Parameters
    ----------
    decoded : DecodedImages
    """

    def __init__(self, decoded: DecodedImages) -> None:
        self._decoded = decoded
        self._images, self._marks = (ShelfWriter(shelf, _root()) for shelf in (decoded.images, decoded.marks))

    def add(
        self,
        pixels: npt.NDArray[np.uint8],
        planes: Sequence[npt.NDArray[np.int16]],
        fingerprints: Sequence[bytes],
        fresh: Sequence[Fresh | None],
    ) -> None:
        """Keep those of a batch that were decoded just now, (N, 3, height, width)."""
        for image, marked, print_, one in zip(pixels, planes, fingerprints, fresh, strict=True):
            if one is not None and one.image is not None:
                size = np.array(one.size, _SIZE).tobytes()
                self._images.add(one.image, b"".join([image.tobytes(), size, print_]))
            if one is not None and one.marks is not None and marked.nbytes == self._decoded.marks.row_bytes > 0:
                self._marks.add(one.marks, marked.astype("<i2").tobytes())

    def finish(self) -> None:
        """Let what was kept be found, and say so."""
        self._images.finish()
        self._marks.finish()
        if self._images.written:
            root = _root()
            tell(
                f"decoded images are kept for the next time in {root}, which has {size_of_shelves(root) / 1e6:,.1f} MB "
                f"now ({NEVER}=none in the environment switches that off)"
            )


def worth_keeping(size: tuple[int, int], preprocessing: Preprocessing) -> bool:
    """Whether an image is larger than what is made of it: small ones are decoded as fast as they are read."""
    return size[0] * size[1] >= preprocessing.image_size[0] * preprocessing.image_size[1]


def _root() -> Path:
    return cache_folder("images")


def _hashed(*texts: str) -> str:
    return hashlib.sha256(encoded("\n".join(texts))).hexdigest()[:32]
