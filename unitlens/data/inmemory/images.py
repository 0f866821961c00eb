"""Images as people hold them (Pillow, NumPy, torch, files), as 8-bit RGB."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from unitlens.data.images import read_image, to_rgb
from unitlens.errors import UnitlensError

Pixels = npt.NDArray[np.uint8]


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
    return array.ndim == 2 or 1 in (array.shape[0], array.shape[2]) or 3 in (array.shape[0], array.shape[2])


def describe_image(value: Any) -> str:
    """How an image is held, in a few words."""
    if isinstance(value, str | Path):
        return "files"
    if isinstance(value, Image.Image):
        return "Pillow images"
    array = array_of(value)
    assert array is not None
    kind = "tensors" if hasattr(value, "detach") else "arrays"
    scale = " in [0, 1]" if array.dtype.kind == "f" else ""
    return f"{kind} of {' x '.join(map(str, array.shape))}{scale}"


def pixels_of(value: Any, name: str) -> Pixels:
    """An image as 8-bit RGB, (height, width, 3).

    Parameters
    ----------
    value : Pillow image, file, array or tensor
        An array of (height, width), (height, width, 1 or 3) or (1 or 3, height, width): uint8; or floats from 0 to 1,
        which become the nearest of 256 values; or bool.
    name : str
        For errors.

    Raises
    ------
    UnitlensError
        If it is no such image.
    """
    if isinstance(value, str | Path):
        return np.asarray(read_image(Path(value)).pixels, np.uint8)
    if isinstance(value, Image.Image):
        return np.asarray(to_rgb(value))
    array = array_of(value)
    if array is None or array.ndim not in (2, 3) or not array.size:
        what = f"{array.dtype} of {array.shape}" if array is not None else f"of type {type(value).__name__}"
        raise UnitlensError(f"The image {name} is {what}; an image is a Pillow image, a file, or an array of pixels.")
    return _eight_bits(_channels_last(array, name), name)


def _channels_last(array: npt.NDArray[Any], name: str) -> npt.NDArray[Any]:
    """The three colours as the last dimension; of grey images three times the same."""
    if array.ndim == 2:
        array = array[:, :, None]
    elif array.shape[2] not in (1, 3) and array.shape[0] in (1, 3):
        array = array.transpose(1, 2, 0)
    if array.shape[2] not in (1, 3):
        shape = " x ".join(map(str, array.shape))
        raise UnitlensError(
            f"The image {name} is of {shape}, which has neither one channel (grey) nor three (red, green, blue), first "
            "or last: choose three of them, such as image[:3]."
        )
    return array if array.shape[2] == 3 else np.repeat(array, 3, axis=2)


def _eight_bits(array: npt.NDArray[Any], name: str) -> Pixels:
    if array.dtype == np.uint8:
        return np.ascontiguousarray(array)
    if array.dtype == bool:
        return np.ascontiguousarray(array.astype(np.uint8) * 255)
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise UnitlensError(f"The image {name} has NaN or infinite values.")
    low, high = float(array.min()), float(array.max())
    if array.dtype.kind == "f" and low >= 0 and high <= 1:
        return np.ascontiguousarray((array * 255).round().astype(np.uint8))
    if array.dtype.kind != "f" and low >= 0 and high <= 255:
        return np.ascontiguousarray(array.astype(np.uint8))
    what = f"{array.dtype} from {low:.3g} to {high:.3g}"
    raise UnitlensError(
        f"The image {name} is {what}; pixels are uint8, or floats from 0 to 1. Give the data set without its "
        "normalisation (unitlens does it: ul.classifier(model, mean=, std=)), or undo it."
    )
