"""Image files of any number of bands and depth as arrays: Pillow's formats, TIFF, and NumPy's .npy and .npz.

What Pillow reads as 8-bit images is read by Pillow, as RGB. TIFFs of other bands or depths are read by tifffile, and
16-bit colours of PNG by torchvision, as Pillow cuts them to 8 bits.
"""

import io
import math
import struct
import warnings
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from unitlens.data.pixels.layout import bands_last
from unitlens.errors import UnitlensError

Array = npt.NDArray[Any]

FORMATS = frozenset({"AVIF", "BMP", "DIB", "GIF", "JPEG", "JPEG2000", "MPO", "PNG", "PPM", "TIFF", "WEBP"})
"""Of a file whose name says another one; Pillow knows more, such as PostScript, for which it starts a program."""

MOST_BYTES = 1 << 31
"""Of an image file, and of an image; that of 179 million pixels of 8-bit RGB, the most for Pillow, is smaller."""

_BROKEN = (OSError, UnidentifiedImageError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError)
_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_DEFLATE = (8, 32946)
_NPY, _ZIP, _PNG = b"\x93NUMPY", b"PK", b"\x89PNG\r\n\x1a\n"


class UnreadableError(UnitlensError):
    """A file that is not an image, or a damaged one: left out and named, unless the run is strict."""


def decode_pixels(content: bytes, path: str | Path, *, bands: int | None = None) -> Array:
    """Decode an image file.

    Parameters
    ----------
    content : bytes
    path : str or Path
        For sentences.
    bands : int, optional
        How many are wanted: where it is 4, the fourth channel of an 8-bit file of four is a band, and otherwise its
        transparency, which is left out.

    Returns
    -------
    array, (height, width, bands)
        8-bit images of Pillow's formats as RGB, turned as their EXIF data say; others in their own bands and type.

    Raises
    ------
    UnreadableError
        If it is not an image, is damaged, or holds a volume or a clip.
    """
    if content.startswith(_NPY):
        return bands_last(_npy(content, path), str(path))
    if content.startswith(_ZIP):
        return bands_last(_npz(content, path), str(path))
    if content.startswith(_TIFF):
        deep = _deep_tiff(content, path, bands)
        if deep is not None:
            return deep
    if content.startswith(_PNG) and _is_deep_colour(content):
        with opened(content, path) as image:
            image.load()  # what Pillow refuses is refused
            return _sixteen_bit_png(content, path)
    with opened(content, path) as image:
        return pillow_pixels(image, bands=bands)


def is_deep(content: bytes) -> bool:
    """Whether the bytes are those of a file that is not read by Pillow, or need not be."""
    return content.startswith((_NPY, _ZIP, *_TIFF))


def pillow_pixels(image: Image.Image, *, bands: int | None = None) -> Array:
    """An open image of Pillow's as an array: 16- and 32-bit grey in its own type, all else as 8-bit RGB."""
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I;16") or image.mode in ("I", "F"):
        array = np.asarray(image)
        whole = array.dtype.kind == "u" or (array.dtype.kind == "i" and array.min() >= 0 and array.max() <= 65535)
        return (array.astype(np.uint16) if whole else array)[:, :, None]
    if bands == 4 and image.mode in ("RGBA", "RGBX"):
        return np.asarray(image)
    return np.asarray(image.convert("RGB"))


@contextmanager
def opened(content: bytes, path: str | Path) -> Iterator[Image.Image]:
    """The image of a file's bytes, by Pillow; errors inside of the ``with`` name the file."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's remarks on odd, but legible, files
        try:
            image = Image.open(io.BytesIO(content))
        except Image.DecompressionBombError:
            most = 2 * (Image.MAX_IMAGE_PIXELS or 0) // 1_000_000
            raise UnreadableError(f"{path} has more than the {most} million pixels that Pillow opens.") from None
        except _BROKEN:
            raise UnreadableError(f"{path} is not an image that can be read.") from None
        if image.format not in FORMATS:
            raise UnreadableError(f"{path} is a file of {image.format}, which is not read: save it as PNG or JPEG.")
        try:
            yield image
        except _BROKEN as error:
            raise UnreadableError(f"{path} is damaged: {str(error).rstrip('.')}.") from None


def _npy(content: bytes, path: str | Path) -> Array:
    """The array of a .npy file; what its header promises is compared with what is there before room is made for it."""
    from numpy.lib import format as npy

    file = io.BytesIO(content)
    try:
        major = npy.read_magic(file)[0]
        read_header = npy.read_array_header_1_0 if major == 1 else npy.read_array_header_2_0
        shape, _, dtype = read_header(file)
    except Exception as error:  # of damaged headers nearly anything is raised
        fact = str(error).strip().rstrip(".").partition("\n")[0]
        raise UnreadableError(f"{path} is damaged: {fact}.") from None
    _check_numbers(dtype, path)
    if any(type(side) is not int or not 0 <= side <= MOST_BYTES for side in shape):
        raise UnreadableError(f"{path} is damaged: no array has the shape {shape}.")
    size = dtype.itemsize
    for side in shape:
        size *= side
    if size != len(content) - file.tell():
        raise UnreadableError(f"{path} is damaged: it holds {len(content) - file.tell():,} bytes of {size:,}.")
    file.seek(0)
    return np.asarray(np.lib.format.read_array(file, allow_pickle=False))


def _check_numbers(dtype: np.dtype[Any], path: str | Path) -> None:
    if dtype.kind not in "biuf":
        raise UnreadableError(f"{path} holds {dtype}, where an image is an array of numbers.")


def _npz(content: bytes, path: str | Path) -> Array:
    """The array of a .npz file: the only one, or the one called image."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            names = [name for name in archive.namelist() if name.endswith(".npy")]
            name = "image.npy" if "image.npy" in names else names[0] if len(names) == 1 else None
            if name is None:
                there = ", ".join(one.removesuffix(".npy") for one in names[:5]) or "none"
                raise UnreadableError(f"{path} holds the arrays {there}: save the image alone, or as 'image'.")
            if archive.getinfo(name).file_size > MOST_BYTES:
                raise UnreadableError(f"{path} holds more than {MOST_BYTES // 10**9} GB.")
            with archive.open(name) as member:
                return _npy(member.read(MOST_BYTES), path)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, *_BROKEN) as error:
        raise UnreadableError(f"{path} is damaged: {str(error).rstrip('.')}.") from None


def _is_deep_colour(content: bytes) -> bool:
    """Whether a PNG has 16 bits for each of several channels."""
    return len(content) > 26 and content[24] == 16 and content[25] in (2, 4, 6)


def _sixteen_bit_png(content: bytes, path: str | Path) -> Array:
    """The colours of a 16-bit PNG, without transparency."""
    import torch
    from torchvision.io import ImageReadMode, decode_png

    width, height = struct.unpack(">II", content[16:24])
    check_size((height, width, 4), 2, path)
    try:
        image = decode_png(torch.frombuffer(bytearray(content), dtype=torch.uint8), ImageReadMode.UNCHANGED)
    except RuntimeError as error:
        raise UnreadableError(f"{path} is damaged: {str(error).splitlines()[0].rstrip('.')}.") from None
    return np.ascontiguousarray(image[: len(image) - (len(image) + 1) % 2].permute(1, 2, 0).numpy())


def check_size(shape: tuple[int, ...], itemsize: int, path: str | Path) -> None:
    """Refuse an image that would take too much memory, before it is decoded.

    Raises
    ------
    UnreadableError
        If it would.
    """
    size = itemsize
    for side in shape:
        size *= int(side)
    if size > MOST_BYTES:
        raise UnreadableError(
            f"{path} holds {' x '.join(map(str, shape))} numbers, more than the {MOST_BYTES // 10**9} GB that are read."
        )


def _deep_tiff(content: bytes, path: str | Path, bands: int | None) -> Array | None:
    """A TIFF of other bands or depths than Pillow reads; None where it is one of Pillow's."""
    import tifffile

    try:
        # what the file names is not opened (_multifile)
        with tifffile.TiffFile(io.BytesIO(content), _multifile=False) as file:
            if _is_pillows(file, bands):
                return None
            series = file.series[0]
            _check_numbers(series.dtype, path)
            check_size(series.shape, series.dtype.itemsize, path)
            _check_packed(series.pages, content, path)
            _refuse_stacks(series.axes, series.shape, path)
            inverted = getattr(file.pages[0], "photometric", None) == 0  # white is 0
            array, axes = series.asarray(), series.axes
    except UnitlensError:
        raise
    except Exception as error:  # tifffile raises whatever a damaged file leads to
        text = str(error).splitlines()[0].rstrip(".") if str(error) else type(error).__name__
        if "imagecodecs" in text:
            raise UnitlensError(
                f"{path} is packed in a way that needs imagecodecs: pip install 'unitlens[tiff]', or save it without."
            ) from None
        raise UnreadableError(f"{path} is damaged: {text}.") from None
    if inverted and array.dtype.kind == "u":
        array = np.iinfo(array.dtype).max - array
    return _tiff_bands(array, axes, path)


def _check_packed(pages: Any, content: bytes, path: str | Path) -> None:
    """Refuse what unpacks to more than it promises, where imagecodecs does not: tifffile itself unpacks all of it.

    Raises
    ------
    UnreadableError
        If it does.
    UnitlensError
        If it is packed in a way of which that cannot be known.
    """
    if find_spec("imagecodecs") is not None:
        return
    for page in filter(None, pages):
        if page.compression not in (1, *_DEFLATE):
            raise UnitlensError(
                f"{path} is packed in a way that needs imagecodecs: pip install 'unitlens[tiff]', or save it without."
            )
        most = math.prod(page.chunks) * page.dtype.itemsize
        for start, size in zip(page.dataoffsets, page.databytecounts, strict=True):
            unpacked = zlib.decompressobj() if page.compression in _DEFLATE and size else None
            if unpacked is not None and len(unpacked.decompress(content[start : start + size], most + 1)) > most:
                raise UnreadableError(f"{path} is damaged: it unpacks to more than it promises.")


def _is_pillows(file: Any, bands: int | None) -> bool:
    """Whether a TIFF is one image of 8 bits, as Pillow has it, in grey, colours or a palette."""
    page = file.pages[0]
    several = len(file.pages) > 1 and len(file.series[0].pages) > 1
    depth = page.bitspersample
    if several or not (depth in (1, 8) or (isinstance(depth, tuple) and set(depth) == {8})):
        return False
    if page.sampleformat != 1 or page.photometric not in (0, 1, 2, 3, 5, 6, 8):
        return False
    alpha = bool(page.extrasamples) and all(int(kind) in (1, 2) for kind in page.extrasamples)
    colours = {2: 3, 5: 4, 6: 3, 8: 3}.get(int(page.photometric), 1)
    if page.samplesperpixel == colours:
        return True
    return alpha and page.samplesperpixel == colours + 1 and bands != page.samplesperpixel


def _refuse_stacks(axes: str, shape: tuple[int, ...], path: str | Path) -> None:
    """Stacks over time or depth are no bands of one image."""
    for axis, words in (("T", "a clip (images over time)"), ("Z", "a volume (images over depth)")):
        place = axes.find(axis)
        if place >= 0 and shape[place] > 1:
            raise UnitlensError(
                f"{path} is {words}, of {' x '.join(map(str, shape))}: video clips and volumes are not read for now, "
                "give one image a file."
            )


def _tiff_bands(array: Array, axes: str, path: str | Path) -> Array:
    """The bands of a TIFF as the last dimension, by its axes; by their number where those do not say it."""
    kept = [place for place, axis in enumerate(axes) if axis in "YX" or array.shape[place] > 1]
    array = array.reshape([array.shape[place] for place in kept])
    axes = "".join(axes[place] for place in kept)
    known = next((axis for axis in axes if axis not in "YX"), None)
    if array.ndim == 3 and known is not None and {"Y", "X"} < set(axes):
        array = np.moveaxis(array, axes.index(known), 2)
        return np.ascontiguousarray(array)
    return bands_last(array, str(path))
