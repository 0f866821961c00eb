"""Preprocessing of images: as given, as a network declares it, or ImageNet's."""

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from unitlens.errors import UnitlensError, UnitlensWarning, argument
from unitlens.records import check_types

Triple = tuple[float, float, float]
Size = tuple[int, int]
Interpolation = Literal["bilinear", "bicubic"]

IMAGENET_MEAN: Triple = (0.485, 0.456, 0.406)
IMAGENET_STD: Triple = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Preprocessing:
    """How images are prepared for a network.

    Attributes
    ----------
    image_size : (int, int)
        Height and width of the network's input, in pixels.
    resize : int or None
        None: the image is squashed to ``image_size``. Else its shorter side becomes this many pixels, and the
        centre of ``image_size`` is cropped.
    mean, std : three floats
        Of red, green and blue in [0, 1]; the network gets (image - mean) / std.
    interpolation : {"bilinear", "bicubic"}
        How images are resized.

    Raises
    ------
    UnitlensError
        If a size is not positive, the crop is larger than what it is cropped from, or a std is not positive.
    """

    image_size: Size
    resize: int | None
    mean: Triple
    std: Triple
    interpolation: Interpolation = "bilinear"

    def __post_init__(self) -> None:
        check_types(self)
        if min(self.image_size) < 1:
            raise UnitlensError(f"The image size is {_by(self.image_size)}; both sides must be at least 1 pixel.")
        if self.resize is not None and self.resize < max(self.image_size):
            raise UnitlensError(
                f"An image whose shorter side is resized to {self.resize} is too small for a crop of "
                f"{_by(self.image_size)}; give a larger {argument('resize')} or a smaller {argument('image_size')}."
            )
        if not all(math.isfinite(value) for value in (*self.mean, *self.std)) or min(self.std) <= 0:
            raise UnitlensError(f"mean {self.mean} and std {self.std} must be finite, and std above 0.")

    def __str__(self) -> str:
        fitting = "squashed" if self.resize is None else f"shorter side {self.resize}, centre cropped"
        return f"{_by(self.image_size)}, {fitting}"

    def normalise(self, images: Tensor) -> Tensor:
        """Return images as the network takes them.

        Parameters
        ----------
        images : Tensor, (N, 3, height, width)
            RGB in [0, 1].

        Returns
        -------
        Tensor, (N, 3, height, width)
            (image - mean) / std, on the same device and of the same number type.
        """
        mean, std = (
            torch.tensor(v, dtype=images.dtype).to(images.device, non_blocking=True) for v in (self.mean, self.std)
        )
        return (images - mean[:, None, None]) / std[:, None, None]


class Declared(NamedTuple):
    """What a network declares about the images it takes; None where it declares nothing."""

    image_size: Size | None = None
    resize: int | None = None
    mean: Triple | None = None
    std: Triple | None = None
    interpolation: Interpolation = "bilinear"


def decide(
    declared: Declared,
    *,
    image_size: int | Size | None = None,
    resize: int | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    stacklevel: int = 3,
) -> Preprocessing:
    """Decide on the preprocessing: as given, else as the network declares it, else ImageNet's, with a warning.

    Parameters
    ----------
    declared : Declared
        What the network declares.
    image_size : int or (int, int), optional
        Side, or height and width. Given without ``resize``, images are squashed to it.
    resize : int, optional
        The shorter side before the centre is cropped.
    mean, std : three floats, optional
        Of red, green and blue in [0, 1].
    stacklevel : int
        For the warning: how far up the caller is that should see it.

    Raises
    ------
    UnitlensError
        If a value is not of its kind, or they do not go together.

    Warns
    -----
    UnitlensWarning
        If the size, the mean or the std had to be assumed.
    """
    given_mean, given_std = _three("mean", mean) or declared.mean, _three("std", std) or declared.std
    given_size = _size(image_size) or declared.image_size
    if resize is not None and (isinstance(resize, bool) or not isinstance(resize, int)):
        raise UnitlensError(f"resize is {resize!r}; it is a whole number of pixels, the shorter side before the crop.")
    if resize is None and image_size is None:
        resize = declared.resize
    assumed = [
        *(["224 x 224 pixels"] if given_size is None else []),
        *(["ImageNet's mean"] if given_mean is None else []),
        *(["ImageNet's std"] if given_std is None else []),
    ]
    if assumed:
        warnings.warn(
            f"The network does not say how images are prepared for it, so it is assumed: {', '.join(assumed)}; "
            f"say what is right with {argument('image_size')}, {argument('mean')} and {argument('std')}.",
            UnitlensWarning,
            stacklevel=stacklevel,
        )
    return Preprocessing(
        given_size or (224, 224), resize, given_mean or IMAGENET_MEAN, given_std or IMAGENET_STD, declared.interpolation
    )


def declared_by(model: nn.Module) -> Declared:
    """Return what a network declares in a ``pretrained_cfg`` or ``default_cfg`` dictionary, as timm's do.

    With ``crop_pct`` the shorter side is resized to floor(size / crop_pct), as timm does it; ``crop_mode`` "squash"
    means no crop.
    """
    for name in ("pretrained_cfg", "default_cfg"):
        config = getattr(model, name, None)
        if isinstance(config, Mapping) and config:
            return _declared_by_config(config)
    return Declared()


def _declared_by_config(config: Mapping[str, Any]) -> Declared:
    size = config.get("input_size")
    image_size = (int(size[-2]), int(size[-1])) if size else None
    crop = config.get("crop_pct")
    resize = None
    if image_size and crop and config.get("crop_mode") != "squash":
        resize = math.floor(max(image_size) / float(crop))
    return Declared(
        image_size,
        resize,
        _three("mean", config.get("mean")),
        _three("std", config.get("std")),
        "bicubic" if config.get("interpolation") == "bicubic" else "bilinear",
    )


def _three(what: str, values: Sequence[float] | None) -> Triple | None:
    if values is None:
        return None
    try:
        red, green, blue = (float(value) for value in values)
    except (TypeError, ValueError):
        raise UnitlensError(f"{what} is {values!r}; it is three numbers, for red, green and blue.") from None
    return red, green, blue


def _size(image_size: int | Sequence[int] | None) -> Size | None:
    if image_size is None:
        return None
    sides = image_size if isinstance(image_size, Sequence) else (image_size, image_size)
    if len(sides) != 2 or not all(isinstance(side, int) and not isinstance(side, bool) for side in sides):
        raise UnitlensError(f"image_size is {image_size!r}; it is a number of pixels, or (height, width).")
    return sides[0], sides[1]


def _by(size: Size) -> str:
    return f"{size[0]} x {size[1]}"
