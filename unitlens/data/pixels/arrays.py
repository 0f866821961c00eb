"""Arrays of pixels as a network takes them: its bands, and its values."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from unitlens.errors import UnitlensError, argument, spelled
from unitlens.models.bands.settings import Bands
from unitlens.models.preprocessing import Preprocessing
from unitlens.plurals import counted

Array = npt.NDArray[Any]

_LARGEST = {"uint8": 255, "uint16": 65535}
"""What is 1 in images of a type, unless a range is given."""


def check_rgb(image: Array, name: str, who: str) -> None:
    """Make sure that an image is 8-bit RGB, for what looks at colours.

    Raises
    ------
    UnitlensError
        If it is another one.
    """
    if image.dtype != np.uint8 or image.shape[2:] != (3,):
        raise UnitlensError(
            f"The image {name} is {image.dtype} of {counted(image.shape[2], 'band')}, and {who} need 8-bit RGB: give "
            f"label maps, or leave these concepts out ({argument('concepts')})."
        )


def network_pixels(image: Array, preprocessing: Preprocessing, name: str | Path) -> Array:
    """The bands that a network takes of an image, in 8 bits or, of any other depth, as floats in [0, 1].

    Parameters
    ----------
    image : array, (height, width, bands)
    preprocessing : Preprocessing
        Of the network: which bands, and which values are 0 and 1.
    name : str or Path
        For errors.

    Returns
    -------
    uint8 or float32 array, (height, width, bands of the network)
        8-bit images stay as they are, unless a range is given. Grey images are repeated for a network of three bands,
        and 8-bit RGB becomes grey (Pillow's, ITU-R 601-2) for a network of one.

    Raises
    ------
    UnitlensError
        If it has another number of bands, or values that no range was given for.
    """
    bands = preprocessing.bands
    image = _taken(image, preprocessing.count, bands, name)
    if image.dtype == bool:
        image = image.astype(np.uint8) * np.uint8(255)
    if image.dtype == np.uint8 and bands.range in (None, (0.0, 255.0)):
        return image
    return _scaled(image, bands.range, name)


def _taken(image: Array, count: int, bands: Bands, name: str | Path) -> Array:
    """The bands that are taken of an image."""
    there = image.shape[2]
    if bands.chosen is not None:
        beyond = next((band for band in bands.chosen if band > there), None)
        if beyond is not None:
            raise UnitlensError(
                f"The image {name} has {counted(there, 'band')}, and {argument('bands')} chooses band {beyond}: "
                "choose others."
            )
        return image[:, :, [band - 1 for band in bands.chosen]]
    if there == count:
        return image
    if there == 1 and count == 3:
        return np.repeat(image, 3, axis=2)
    if there == 3 and count == 1 and image.dtype == np.uint8:
        return np.asarray(Image.fromarray(np.ascontiguousarray(image)).convert("L"))[:, :, None]
    choice = ",".join(map(str, range(1, count + 1)))
    given = spelled(python=f"bands=({choice})", shell=f"--bands {choice}")
    what = f"choose them with {given}, or give" if there > count else f"give images of {counted(count, 'band')}, or"
    raise UnitlensError(
        f"The image {name} has {counted(there, 'band')}, and the network takes {count}: {what} a network that "
        f"takes {there}."
    )


def _scaled(image: Array, given: tuple[float, float] | None, name: str | Path) -> npt.NDArray[np.float32]:
    """Values of any type as floats in [0, 1]."""
    if image.dtype.kind == "f" and not np.isfinite(image).all():
        raise UnitlensError(f"The image {name} has NaN or infinite values: fill them, or leave it out.")
    largest = _LARGEST.get(image.dtype.name)
    if given is None and largest is None:
        low, high = float(image.min()), float(image.max())
        if image.dtype.kind != "f" or low < 0 or high > 1:
            what = f"{image.dtype} from {low:.6g} to {high:.6g}"
            raise UnitlensError(
                f"The image {name} is {what}, and nothing says which values are 0 and 1 for the network: give "
                + spelled(python="range=(LOW, HIGH)", shell="--range LOW,HIGH")
                + "; uint8, uint16, and floats from 0 to 1 need none. If it was normalised, give the data set without "
                f"that: unitlens does it, by {argument('mean')} and {argument('std')}."
            )
        return image.astype(np.float32)
    low, high = given or (0.0, float(largest or 1))
    exact = np.float32 if image.dtype.itemsize <= 2 else np.float64
    numbers: npt.NDArray[np.float64] = image.astype(exact)
    scaled = numbers / np.float32(high) if low == 0 else (numbers - low) / (high - low)
    return np.asarray(scaled.clip(0, 1), np.float32)
