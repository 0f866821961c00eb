"""The images of a run as an encoder of words sees them: whole, and what units mark of their exemplars."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import torch

from unitlens.dissection.exemplars.strongest import Variety
from unitlens.dissection.store.layers import LayerMaps
from unitlens.dissection.store.passes import StoredPass
from unitlens.dissection.store.rows import Rows
from unitlens.drawing.strips import enlarged
from unitlens.errors import UnitlensError
from unitlens.models.words.encoder import BATCH, Encoder
from unitlens.progress import progress
from unitlens.stats.scores import Bools, Ints

Floats = npt.NDArray[np.floating]
Pixels = npt.NDArray[np.uint8]

SIDE = 96
"""Pixels along a side of a crop, or those of the image where they are more."""
LEAST_SIDE = 0.25
"""A crop has so large a share of the image's side at least: what is smaller is shown with what stands around it."""
MARGIN = 0.1
"""Of a mask's box, on each side."""
GREY = 128
"""What stands outside of the mask."""


def images_of(stored: StoredPass) -> Rows:
    """The images of a pass, (N, height, width, 3), as the network saw them.

    Raises
    ------
    UnitlensError
        If the pass did not keep them.
    """
    if stored.thumbnails is None:
        raise UnitlensError(
            "Words are compared with the images, which the run did not keep with its activations, as it has no "
            "exemplars: dissect with exemplars."
        )
    return stored.thumbnails


@dataclass(frozen=True, eq=False)
class Sight:
    """The images of a pass as an encoder sees them, all of them once they are asked for.

    Attributes
    ----------
    stored : StoredPass
        With thumbnails.
    encoder : Encoder
    show : bool
        Whether progress is shown.
    """

    stored: StoredPass
    encoder: Encoder
    show: bool = False

    @cached_property
    def vectors(self) -> Floats:
        """The vector of every image, float32 (N, D), of length 1."""
        return image_vectors(self.stored, self.encoder, show=self.show)


def image_vectors(stored: StoredPass, encoder: Encoder, *, show: bool = False) -> Floats:
    """The vector of every image, float32 (N, D), of length 1."""
    images, parts = images_of(stored), []
    with progress(stored.images, "images to vectors", show=show) as bar:
        for start in range(0, stored.images, BATCH):
            some = range(start, min(start + BATCH, stored.images))
            parts.append(encoder.encode_images(as_batch(images.read(some))))
            bar.update(len(some))
    return np.asarray(torch.cat(parts).numpy())


def as_batch(images: Pixels) -> torch.Tensor:
    """Images, (N, height, width, 3), as the tensor that encoders take, (N, 3, height, width)."""
    return torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))


def first_exemplars(peaks: Floats, images: Bools, count: int, variety: Variety | None = None) -> Ints:
    """The images of highest peak among some, (U, count), the highest first; ties in the order of the images.

    Parameters
    ----------
    peaks : float array, (N, U)
    images : bool array, (N,)
        Those among which they are chosen; ``count`` at least.
    count : int
    variety : Variety, optional
        Of images that are alike the first is taken.
    """
    among = np.flatnonzero(images)
    order = among[np.argsort(-peaks[among], axis=0, kind="stable").T]
    return order[:, :count] if variety is None else np.stack([variety.first(ranked, count) for ranked in order])


def crop_vectors(
    stored: StoredPass,
    layer: LayerMaps,
    exemplars: Ints,
    threshold: Floats,
    encoder: Encoder,
    *,
    show: bool = False,
) -> Floats:
    """The vector of what each unit marks of its exemplars, float32 (U, K, D), of length 1.

    Parameters
    ----------
    stored : StoredPass
    layer : LayerMaps
    exemplars : int array, (U, K)
        Numbers of images.
    threshold : float array, (U,)
        Of the units' masks.
    encoder : Encoder
    show : bool
        Whether progress is shown.
    """
    images, units, (count, of_unit) = images_of(stored), [], exemplars.shape
    at_once = max(1, BATCH // max(of_unit, 1))
    with progress(count, f"crops of {layer.name} to vectors", unit="units", show=show) as bar:
        for start in range(0, count, at_once):
            crops = [
                masked_crop(image, maps, float(threshold[unit]))
                for unit in range(start, min(start + at_once, count))
                for image, maps in zip(
                    images.read(exemplars[unit]),
                    layer.maps.read(exemplars[unit], slice(unit, unit + 1))[:, 0],
                    strict=True,
                )
            ]
            units.append(encoder.encode_images(as_batch(np.stack(crops))))
            bar.update(len(crops) // of_unit)
    vectors = torch.cat(units).numpy()
    return np.asarray(vectors.reshape(count, of_unit, vectors.shape[1]))


def masked_crop(image: Pixels, maps: Floats, threshold: float) -> Pixels:
    """What a mask holds of an image, in a square, (side, side, 3); outside of the mask it is grey.

    Parameters
    ----------
    image : uint8 array, (height, width, 3)
    maps : float array, (h, w)
        Activations of a unit. Where none is above the threshold, the position of the highest is the mask; of a layer
        without a grid the crop is the image.
    threshold : float
    """
    height, width = image.shape[:2]
    mask = enlarged(maps, (height, width)) > min(threshold, float(maps.max()) - 1e-6 * abs(float(maps.max())) - 1e-12)
    rows, columns = (_stretch(np.flatnonzero(mask.any(axis)), mask.shape[1 - axis]) for axis in (1, 0))
    shown = np.where(mask[rows, columns, None], image[rows, columns], np.uint8(GREY))
    return _resized(shown, max(SIDE, min(height, width)))


def _stretch(marked: Ints, length: int) -> slice:
    """The stretch of a side that a mask takes, with a margin, and a quarter of the side at least."""
    first, last = (0, length) if not len(marked) else (int(marked[0]), int(marked[-1]) + 1)
    size = min(max((last - first) * (1 + 2 * MARGIN), LEAST_SIDE * length), length)
    start = min(max((first + last - size) / 2, 0), length - size)
    return slice(int(start), max(round(start + size), int(start) + 1))


def _resized(crop: Pixels, side: int) -> Pixels:
    from PIL import Image

    return np.asarray(Image.fromarray(crop).resize((side, side), Image.Resampling.BILINEAR))
