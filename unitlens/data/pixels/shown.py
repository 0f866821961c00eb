"""How images are looked at where no network is at hand: as somebody says that a network takes them, or as they are."""

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from unitlens.data.pixels.arrays import network_pixels
from unitlens.data.pixels.fit import Fit
from unitlens.models.bands.settings import Bands
from unitlens.models.preprocessing import Preprocessing


def taken_pixels(image: npt.NDArray[Any], bands: Bands, name: str) -> npt.NDArray[Any]:
    """The bands and values that a network takes of an image, by these settings: 8 bits, or floats in [0, 1].

    Where neither bands nor a range are given, it may be of any: all bands, the smallest value black, the largest white.

    Parameters
    ----------
    image : array, (height, width, bands)
    bands : Bands
    name : str
        For errors.

    Raises
    ------
    UnitlensError
        If it has no such band, or values that no range is given for, though bands are.
    """
    count = image.shape[2] if bands.chosen is None else len(bands.chosen)
    if count > 1:  # what is grey is shown in grey
        bands.check_count(count)
    if bands.chosen is None and bands.range is None and image.dtype != np.uint8:
        numbers = np.nan_to_num(image.astype(np.float64))
        low, high = float(numbers.min()), float(numbers.max())
        return ((numbers - low) / max(high - low, 1e-12)).astype(np.float32)
    of_values = replace(bands, show_bands=None)
    mean, std = (0.0,) * count, (1.0,) * count  # of which only their number matters
    return network_pixels(image, Preprocessing(image.shape[:2], None, mean, std, bands=of_values), name)


def shown_pixels(image: npt.NDArray[Any], fit: Fit, bands: Bands, name: str) -> npt.NDArray[np.uint8]:
    """Show an image in 8-bit RGB: its first three bands, or its first one in grey, unless others are asked for.

    Parameters
    ----------
    image : array, (height, width, bands)
        Of more than 8 bits and without a range, from the 1st to the 99th percentile of what is shown.
    fit : Fit
        How large.
    bands : Bands
    name : str
        For errors.

    Returns
    -------
    uint8 array, (height, width, 3)

    Raises
    ------
    UnitlensError
        As `taken_pixels`.
    """
    fitted = np.ascontiguousarray(fit.pixels(taken_pixels(image, bands, name)).transpose(2, 0, 1))
    bands = replace(bands, show_bands=None) if len(fitted) == 1 else bands
    shown: npt.NDArray[np.uint8] = bands.shown(torch.from_numpy(fitted)[None])[0].permute(1, 2, 0).numpy()
    return shown
