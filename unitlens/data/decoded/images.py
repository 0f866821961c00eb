"""What is kept of decoded images: their pixels as the network takes them, and what is marked in them on the grid."""

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

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

SCHEMA = 2

_FINGERPRINT = 80  # bytes, see `unitlens.data.copies.fingerprint`
_SIZE = np.dtype("<u4")
_DTYPES = (np.dtype(np.uint8), np.dtype(np.float32))


class DecodedImage(NamedTuple):
    """An image as the network takes it.

    Attributes
    ----------
    pixels : uint8 or float32 array, (bands, height, width)
    size : (int, int)
        Height and width of the file's image, to which label maps belong.
    fingerprint : bytes
    """

    pixels: npt.NDArray[Any]
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
    def images(self) -> Mapping[np.dtype[Any], Shelf]:
        """Pixels, by the hash of the image file: those of 8-bit images, and those of deeper ones."""
        rest = 2 * _SIZE.itemsize + _FINGERPRINT
        return {
            dtype: Shelf(_root() / f"image{dtype.str[1:]}-{self._geometry}", self._numbers * dtype.itemsize + rest)
            for dtype in _DTYPES
        }

    @property
    def _numbers(self) -> int:
        """How many numbers an image has."""
        return self.preprocessing.count * self.preprocessing.image_size[0] * self.preprocessing.image_size[1]

    @cached_property
    def marks(self) -> Shelf:
        """Label planes, by the hash of all files of an example."""
        key = _hashed(self._geometry, repr(self.columns), repr(self.grid))
        return Shelf(_root() / f"marks-{key}", 2 * len(self.columns.categories) * self.grid[0] * self.grid[1])

    @property
    def _geometry(self) -> str:
        given = self.preprocessing
        libraries = [PIL.__version__, *(str(features.version(name)) for name in ("jpg", "libjpeg_turbo", "webp"))]
        libraries.append(version("tifffile"))
        bands = (given.count, given.bands.chosen, given.bands.range)
        return _hashed(str(SCHEMA), repr((given.image_size, given.resize, given.interpolation, bands)), *libraries)

    def image(self, key: bytes) -> DecodedImage | None:
        """Return what was kept of an image file."""
        for dtype, shelf in self.images.items():
            row = shelf.get(key)
            if row is not None:
                pixels = np.frombuffer(row, dtype, self._numbers)
                height, width = np.frombuffer(row, _SIZE, 2, offset=pixels.nbytes).tolist()
                found = pixels.reshape(self.preprocessing.count, *self.preprocessing.image_size)
                return DecodedImage(found, (height, width), row[-_FINGERPRINT:])
        return None

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
        self._images = {dtype: ShelfWriter(shelf, _root()) for dtype, shelf in decoded.images.items()}
        self._marks = ShelfWriter(decoded.marks, _root())

    def add(
        self,
        pixels: npt.NDArray[Any],
        planes: Sequence[npt.NDArray[np.int16]],
        fingerprints: Sequence[bytes],
        fresh: Sequence[Fresh | None],
    ) -> None:
        """Keep those of a batch that were decoded just now, (N, bands, height, width)."""
        for image, marked, print_, one in zip(pixels, planes, fingerprints, fresh, strict=True):
            if one is not None and one.image is not None:
                size = np.array(one.size, _SIZE).tobytes()
                self._images[image.dtype].add(one.image, b"".join([image.tobytes(), size, print_]))
            if one is not None and one.marks is not None and marked.nbytes == self._decoded.marks.row_bytes > 0:
                self._marks.add(one.marks, marked.astype("<i2").tobytes())

    def finish(self) -> None:
        """Let what was kept be found, and say so."""
        for writer in (*self._images.values(), self._marks):
            writer.finish()
        if any(writer.written for writer in self._images.values()):
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
