"""Opening images and label maps."""

import errno
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from unitlens.data.pixels.files import MOST_BYTES, UnreadableError, decode_pixels, is_deep, opened
from unitlens.errors import UnitlensError
from unitlens.files import check_readable

EXTENSIONS = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".npy", ".npz"})

_GONE = {
    getattr(errno, name)
    for name in ("ENODEV", "ENXIO", "ESTALE", "ENOTCONN", "ETIMEDOUT", "EHOSTDOWN", "EHOSTUNREACH", "ENETUNREACH")
    if hasattr(errno, name)
}
"""What the system says of a file where not the file is damaged, but its disk or server is not there."""


def unreadable(error: OSError, path: str | Path) -> UnitlensError:
    """Return the error for a file that cannot be read: of an image that is left out, or of a disk that has gone away.

    Examples
    --------
    >>> type(unreadable(OSError(errno.ESTALE, "Stale file handle"), "a.jpg")).__name__
    'UnitlensError'
    """
    why = f"{path} cannot be read: {error.strerror or error}"
    return UnitlensError(f"{why}, as its disk has gone away.") if error.errno in _GONE else UnreadableError(f"{why}.")


class FileRead(NamedTuple):
    """An image file as an array, and the SHA-256 of its bytes."""

    pixels: npt.NDArray[Any]
    digest: str


def read_image(path: Path) -> FileRead:
    """Read an image as 8-bit RGB, turned as its EXIF data say: for files whose colours are codes.

    Parameters
    ----------
    path : Path
        Any file that Pillow reads: grey, palette, CMYK, with alpha, 16 bits a channel.

    Returns
    -------
    FileRead
        Pixels uint8, (height, width, 3).

    Raises
    ------
    UnreadableError
        If the file is not an image or is cut short.
    """
    content, digest = _content(path)
    with opened(content, path) as image:
        return FileRead(np.asarray(to_rgb(ImageOps.exif_transpose(image))), digest)


def encoded_image(path: Path) -> "Encoded":
    """Read the file of an image, which is decoded later: see `unitlens.data.pixels.files.decode_pixels`.

    Raises
    ------
    UnreadableError
        If it cannot be read; that it is no image shows when it is decoded.
    """
    return Encoded(path, *_content(path), decode_pixels)


def decode_image(content: bytes, name: str, *, most_pixels: int, bands: int | None = None) -> npt.NDArray[Any]:
    """Decode an image file that was sent, unless it has too many pixels.

    Parameters
    ----------
    content : bytes
    name : str
        What errors call it.
    most_pixels : int
        What the file of an 8-bit image says of its size is looked at before its pixels are.
    bands : int, optional
        As `unitlens.data.pixels.files.decode_pixels` takes it.

    Returns
    -------
    array, (height, width, bands)

    Raises
    ------
    UnreadableError
        If it is not an image, is cut short, or has more pixels.
    """
    if not is_deep(content):
        with opened(content, name) as image:
            _check_pixels(image.width, image.height, name, most_pixels)
    pixels = decode_pixels(content, name, bands=bands)
    _check_pixels(pixels.shape[1], pixels.shape[0], name, most_pixels)
    return pixels


def _check_pixels(width: int, height: int, name: str, most: int) -> None:
    if width * height > most:
        raise UnreadableError(f"{name} has {width} x {height} pixels: scale it down to {most:,} pixels at most.")


def to_rgb(image: Image.Image) -> Image.Image:
    """8-bit RGB of an image of any mode; 16-bit grey keeps its upper byte's worth."""
    if image.mode.startswith("I"):
        image = Image.fromarray((np.asarray(image).clip(0, 65535) / 257).round().astype(np.uint8))
    return image.convert("RGB")


def read_label_map(path: Path) -> FileRead:
    """Read a label map: 8-bit grey, palette (its indices count) or 16-bit grey.

    Returns
    -------
    FileRead
        Pixels uint8 or uint16, (rows, columns); 0 is none, 255 or 65535 is not judged.

    Raises
    ------
    UnreadableError
        If the file is not an image or is cut short.
    UnitlensError
        If it has several channels.
    """
    return encoded_label_map(path).read()


def encoded_label_map(path: Path) -> "Encoded":
    """Read the file of a label map, which is decoded later: see `read_label_map`.

    Raises
    ------
    UnreadableError
        If it cannot be read; that it is no label map shows when it is decoded.
    """
    return Encoded(path, *_content(path), _decode_labels)


def _decode_labels(content: bytes, path: Path) -> npt.NDArray[Any]:
    with opened(content, path) as image:
        return _as_labels(image, path)


def _as_labels(image: Image.Image, path: Path) -> npt.NDArray[Any]:
    if image.mode in ("L", "P"):
        return np.asarray(image)
    if image.mode == "1":
        return np.asarray(image).astype(np.uint8)
    if image.mode.startswith("I"):
        return np.asarray(image).astype(np.uint16)
    raise UnitlensError(
        f"The label map {path} is {image.mode}; a label map has one channel: save it as 8-bit or 16-bit grey, "
        "or with a palette, a label id for each pixel."
    )


@dataclass(frozen=True, eq=False)
class Encoded:
    """An image file, or that of a label map, which was read and is decoded when it is asked for.

    Attributes
    ----------
    path : Path
    content : bytes
    digest : str
        SHA-256 of the content.
    decode : callable
        From the content, and the path for sentences, to an array.
    """

    path: Path
    content: bytes
    digest: str
    decode: Callable[[bytes, Path], npt.NDArray[Any]]

    def read(self) -> FileRead:
        """Decode it.

        Raises
        ------
        UnreadableError
            If the file is not an image or is cut short.
        """
        return FileRead(self.decode(self.content, self.path), self.digest)

    def pixels(self, bands: int) -> npt.NDArray[Any]:
        """Decode an image for a network of so many bands: see `unitlens.data.pixels.files.decode_pixels`."""
        return decode_pixels(self.content, self.path, bands=bands)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> npt.NDArray[Any]:
        return np.asarray(self.read().pixels, dtype)


def _content(path: Path) -> tuple[bytes, str]:
    """The bytes of a file, and their SHA-256."""
    try:
        check_readable(path, most=MOST_BYTES)
    except UnitlensError as error:
        raise UnreadableError(str(error)) from None
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise UnitlensError(f"There is no file {path}.") from None
    except OSError as error:
        raise unreadable(error, path) from None
    return content, hashlib.sha256(content).hexdigest()


def same_aspect(image: tuple[int, int], plane: tuple[int, int]) -> bool:
    """Whether a label map shows the whole image: equal aspect ratios, up to a pixel of rounding."""
    (height, width), (rows, columns) = image, plane
    return abs(columns - width * rows / height) <= 1 or abs(rows - height * columns / width) <= 1


def size_of(pixels: npt.NDArray[Any]) -> str:
    """Width x height of an image or a map, and whatever further sides it has, for a sentence."""
    if pixels.ndim < 2:
        return "flat"
    height, width, *others = pixels.shape
    return "x".join(map(str, (width, height, *others)))
