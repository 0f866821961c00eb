"""The geometry that images and label maps both go through, so that a position means the same place."""

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

if TYPE_CHECKING:
    from unitlens.models.preprocessing import Preprocessing


class Fit(NamedTuple):
    """How an image of one size becomes the network's input: squashed or scaled to ``scaled``, then cropped.

    Attributes
    ----------
    scaled : tuple of int
        (height, width) that the whole image is scaled to.
    corner : tuple of int
        (top, left) of the crop in it.
    size : tuple of int
        (height, width) of the crop.
    """

    scaled: tuple[int, int]
    corner: tuple[int, int]
    size: tuple[int, int]

    @classmethod
    def of(cls, height: int, width: int, preprocessing: "Preprocessing") -> "Fit":
        """Fit of images of height x width."""
        size = preprocessing.image_size
        if preprocessing.resize is None:
            return cls(size, (0, 0), size)
        shorter, longer = preprocessing.resize, int(preprocessing.resize * max(height, width) / min(height, width))
        scaled = (shorter, longer) if height <= width else (longer, shorter)
        return cls(scaled, (round((scaled[0] - size[0]) / 2), round((scaled[1] - size[1]) / 2)), size)

    def pixels(self, image: npt.NDArray[Any], interpolation: str = "bilinear") -> npt.NDArray[Any]:
        """An image as large as the network takes it, by Pillow.

        Parameters
        ----------
        image : uint8 or float32 array, (height, width, bands)
            8-bit ones are rounded to 8 bits again, floats in [0, 1] are not, and stay in it.
        interpolation : {"bilinear", "bicubic"}

        Returns
        -------
        array of the same type, (height, width, bands)
        """
        if image.shape[2] == 3 and image.dtype == np.uint8:
            return np.asarray(self._fitted(Image.fromarray(image), interpolation))
        # band by band: Pillow takes a fourth one for transparency, and has no floats of several
        bands = (Image.fromarray(np.ascontiguousarray(image[:, :, band])) for band in range(image.shape[2]))
        fitted = np.stack([np.asarray(self._fitted(band, interpolation)) for band in bands], axis=2)
        return fitted if image.dtype == np.uint8 else fitted.clip(0, 1)

    def _fitted(self, image: Image.Image, interpolation: str) -> Image.Image:
        if image.size != self.scaled[::-1]:
            image = image.resize(self.scaled[::-1], Image.Resampling[interpolation.upper()])
        top, left = self.corner
        return image.crop((left, top, left + self.size[1], top + self.size[0])) if self.scaled != self.size else image

    def labels(self, plane: npt.NDArray[Any], grid: tuple[int, int]) -> npt.NDArray[Any]:
        """Sample a label map once, at the nearest pixel to each cell of the grid.

        Parameters
        ----------
        plane : integer array, (rows, columns)
            Of the whole image, at any resolution.
        grid : tuple of int
            (H, W).

        Returns
        -------
        integer array, (H, W)
        """
        down, across = plane.shape[0] / self.scaled[0], plane.shape[1] / self.scaled[1]
        top, left = self.corner[0] * down, self.corner[1] * across
        box = (left, top, left + self.size[1] * across, top + self.size[0] * down)
        image = Image.fromarray(plane if plane.dtype in (np.uint8, np.uint16) else plane.astype(np.int32))
        return np.asarray(image.resize(grid[::-1], Image.Resampling.NEAREST, box=box))
