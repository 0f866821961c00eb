"""How images are looked at where no network says which of their bands it takes."""

from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from unitlens.data.pixels.fit import Fit
from unitlens.models.bands.settings import Bands


def shown_pixels(image: npt.NDArray[Any], fit: Fit) -> npt.NDArray[np.uint8]:
    """Show an image in 8-bit RGB: its first three bands, or its first one in grey.

    Parameters
    ----------
    image : array, (height, width, bands)
        Of more than 8 bits, from the 1st to the 99th percentile of what is shown.
    fit : Fit
        How large.

    Returns
    -------
    uint8 array, (height, width, 3)
    """
    if image.dtype != np.uint8:
        numbers = np.nan_to_num(image.astype(np.float64))
        low, high = float(numbers.min()), float(numbers.max())
        image = ((numbers - low) / max(high - low, 1e-12)).astype(np.float32)
    fitted = np.ascontiguousarray(fit.pixels(image).transpose(2, 0, 1))
    shown: npt.NDArray[np.uint8] = Bands().shown(torch.from_numpy(fitted)[None])[0].permute(1, 2, 0).numpy()
    return shown
