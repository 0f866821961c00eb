"""Where the bands of an array stand."""

from typing import Any

import numpy as np
import numpy.typing as npt

from unitlens.errors import UnitlensError
from unitlens.models.bands.limits import MOST_BANDS

Array = npt.NDArray[Any]


def bands_last(array: Array, name: str) -> Array:
    """An array of one image with its bands as the last dimension.

    Parameters
    ----------
    array : array, (height, width), (height, width, bands) or (bands, height, width)
        Bands are the last dimension where that is 1 or 3, else the first one where that is, else the smaller of the
        two.
    name : str or Path
        For errors.

    Returns
    -------
    array, (height, width, bands)

    Raises
    ------
    UnitlensError
        If it is no such array.

    Examples
    --------
    >>> bands_last(np.zeros((5, 64, 48)), "a").shape, bands_last(np.zeros((64, 48)), "a").shape
    ((64, 48, 5), (64, 48, 1))
    """
    shape = " x ".join(map(str, array.shape)) or "one number"
    if array.ndim == 2:
        array = array[:, :, None]
    if array.ndim > 3:
        raise UnitlensError(
            f"The image {name} is of {shape}: video clips and volumes are not read for now, give images of height x "
            "width, or height x width x bands."
        )
    if array.ndim < 3 or not array.size:
        raise UnitlensError(f"The image {name} is {array.dtype} of {shape}; an image has a height, a width and bands.")
    first, last = array.shape[0], array.shape[2]
    if last not in (1, 3) and (first in (1, 3) or first < last):
        array = np.moveaxis(array, 0, 2)
    if array.shape[2] > MOST_BANDS:
        raise UnitlensError(
            f"The image {name} is of {shape}: an image has 1 to {MOST_BANDS} bands, first or last, and video clips and "
            "volumes are not read for now."
        )
    return np.ascontiguousarray(array, array.dtype.newbyteorder("="))


def moved_last(images: Array) -> Array:
    """Images with their bands as the last dimension, band by band: in a quarter of the time of a transposed copy.

    Parameters
    ----------
    images : array, (N, bands, height, width)

    Returns
    -------
    array, (N, height, width, bands)
        In memory of its own.

    Examples
    --------
    >>> moved_last(np.zeros((2, 3, 64, 48), np.uint8)).shape
    (2, 64, 48, 3)
    """
    count, bands, height, width = images.shape
    moved = np.empty((count, height, width, bands), images.dtype)
    for band in range(bands):
        moved[..., band] = images[:, band]
    return moved
