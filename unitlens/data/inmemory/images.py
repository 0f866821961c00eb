"""Images as people hold them (Pillow, NumPy, torch, files), as arrays of their bands."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from unitlens.data.images import encoded_image
from unitlens.data.pixels.files import pillow_pixels
from unitlens.data.pixels.layout import bands_last
from unitlens.errors import UnitlensError
from unitlens.models.bands.limits import MOST_BANDS

Pixels = npt.NDArray[Any]


def array_of(value: Any) -> npt.NDArray[Any] | None:
    """What an array, tensor, image or nested list holds, as an array; None where it is none of these."""
    if hasattr(value, "detach"):
        value = value.detach().cpu()
    if isinstance(value, str | bytes | Path | dict) or value is None:
        return None
    try:
        array = np.asarray(value)
    except (TypeError, ValueError):
        return None
    return array if array.dtype.kind in "biuf" else None


def is_image(value: Any) -> bool:
    """Whether a value looks like an image: Pillow's, a file's name, or an array with channels first or last."""
    if isinstance(value, str | Path | Image.Image):
        return True
    array = array_of(value)
    if array is None or array.ndim not in (2, 3):
        return False
    return array.ndim == 2 or min(array.shape[0], array.shape[2]) <= MOST_BANDS


def describe_image(value: Any) -> str:
    """How an image is held, in a few words."""
    if isinstance(value, str | Path):
        return "files"
    if isinstance(value, Image.Image):
        return "Pillow images"
    array = array_of(value)
    assert array is not None
    kind = "tensors" if hasattr(value, "detach") else "arrays"
    floats = array.dtype.kind == "f" and array.size > 0
    scale = " in [0, 1]" if floats and array.min() >= 0 and array.max() <= 1 else ""
    return f"{kind} of {' x '.join(map(str, array.shape))}{scale}"


def pixels_of(value: Any, name: str) -> Pixels:
    """An image as an array of its bands, (height, width, bands).

    Parameters
    ----------
    value : Pillow image, file, array or tensor
        An array of (height, width), or with its bands first or last: see `unitlens.data.pixels.arrays.bands_last`.
        Floats that are 255ths of 8-bit images, as torchvision's ``ToTensor`` gives them, become 8-bit again, and so do
        bool and whole numbers from 0 to 255; uint16, other whole numbers and other floats stay as they are.
    name : str
        For errors.

    Raises
    ------
    UnitlensError
        If it is no such image.
    """
    if isinstance(value, str | Path):
        return np.asarray(encoded_image(Path(value)))
    if isinstance(value, Image.Image):
        return pillow_pixels(value)
    array = array_of(value)
    if array is None or not array.size:
        what = f"{array.dtype} of {array.shape}" if array is not None else f"of type {type(value).__name__}"
        raise UnitlensError(f"The image {name} is {what}; an image is a Pillow image, a file, or an array of pixels.")
    return _narrow(bands_last(array, name), name)


def _narrow(array: npt.NDArray[Any], name: str) -> Pixels:
    """In 8 bits what 8 bits hold without loss."""
    if array.dtype == bool:
        return array.astype(np.uint8) * np.uint8(255)
    if array.dtype.kind != "f":
        small = array.dtype not in (np.uint8, np.uint16) and array.min() >= 0 and array.max() <= 255
        return array.astype(np.uint8) if small else array
    if not np.isfinite(array).all():
        raise UnitlensError(f"The image {name} has NaN or infinite values.")
    whole = array * 255
    rounded = whole.round()
    eight_bits = array.min() >= 0 and array.max() <= 1 and np.abs(whole - rounded).max() < _ROUNDING
    return rounded.astype(np.uint8) if eight_bits else array


_ROUNDING = 1e-3
"""Of 256 steps: float32 keeps 8-bit numbers by 2e-5, float16 by far less well, and stays what it is."""


def exact_pixels(value: Any, name: str) -> Pixels | None:
    """Floats as they are given, for a network with a range of its own; None where `pixels_of` changes nothing."""
    array = None if isinstance(value, str | Path | Image.Image) else array_of(value)
    return bands_last(array, name) if array is not None and array.dtype.kind == "f" else None
