"""Preprocessing of images: as given, as a network declares it, or ImageNet's."""

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from unitlens.errors import UnitlensError, UnitlensWarning, argument
from unitlens.models.bands.limits import MOST_BANDS
from unitlens.models.bands.settings import Bands
from unitlens.plurals import counted
from unitlens.records import LATER, check_types

Numbers = tuple[float, ...]
"""One for each band."""
Size = tuple[int, int]
Interpolation = Literal["bilinear", "bicubic"]

IMAGENET_MEAN: Numbers = (0.485, 0.456, 0.406)
IMAGENET_STD: Numbers = (0.229, 0.224, 0.225)


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
    mean, std : floats
        Of each band in [0, 1], such as red, green and blue; the network gets (image - mean) / std.
    interpolation : {"bilinear", "bicubic"}
        How images are resized.
    bands : Bands
        Which bands of an image the network takes, which values are 0 and 1, and how they are shown.

    Raises
    ------
    UnitlensError
        If a size is not positive, the crop is larger than what it is cropped from, a std is not positive, or mean and
        std are not of as many bands.
    """

    image_size: Size
    resize: int | None
    mean: Numbers
    std: Numbers
    interpolation: Interpolation = "bilinear"
    bands: Bands = field(default=Bands(), metadata=LATER)

    def __post_init__(self) -> None:
        check_types(self)
        if min(self.image_size) < 1:
            raise UnitlensError(f"The image size is {_by(self.image_size)}; both sides must be at least 1 pixel.")
        if self.resize is not None and self.resize < max(self.image_size):
            raise UnitlensError(
                f"An image whose shorter side is resized to {self.resize} is too small for a crop of "
                f"{_by(self.image_size)}; give a larger {argument('resize')} or a smaller {argument('image_size')}."
            )
        if len(self.mean) != len(self.std) or not 1 <= len(self.mean) <= MOST_BANDS:
            raise UnitlensError(
                f"mean has {len(self.mean)} and std {len(self.std)} numbers; both have one for each band, of 1 to "
                f"{MOST_BANDS} bands."
            )
        self.bands.check_count(len(self.mean))
        if not all(math.isfinite(value) for value in (*self.mean, *self.std)) or min(self.std) <= 0:
            raise UnitlensError(f"mean {self.mean} and std {self.std} must be finite, and std above 0.")

    def __str__(self) -> str:
        fitting = "squashed" if self.resize is None else f"shorter side {self.resize}, centre cropped"
        bands = "" if self.count == 3 else f" of {counted(self.count, 'band')}"
        return f"{_by(self.image_size)}{bands}, {fitting}"

    @property
    def count(self) -> int:
        """How many bands the network takes."""
        return len(self.mean)

    @classmethod
    def from_json(cls, recorded: Mapping[str, Any]) -> "Preprocessing":
        """What was recorded of one, as ``dataclasses.asdict`` gives it, whose sequences may be lists."""
        lists = {name: tuple(recorded[name]) for name in ("image_size", "mean", "std")}
        return cls(**{**recorded, **lists})

    def differences(self, other: "Preprocessing") -> str:
        """Say what of images is prepared otherwise than by another one; nothing where networks are given the same."""
        own, others = (one._deciding() for one in (self, other))
        parts = [f"{name} is {value}, not {others[name]}" for name, value in own.items() if value != others[name]]
        return ", ".join(parts)

    def _deciding(self) -> dict[str, Any]:
        """All that decides what a network is given, and not how images are shown."""
        fields = {name: getattr(self, name) for name in ("image_size", "resize", "mean", "std", "interpolation")}
        return {**fields, "bands": self.bands.chosen, "range": self.bands.range}

    def of_prepared_images(self) -> "Preprocessing":
        """The same for images that were prepared already: of the input size, of these bands, and from 0 to 1."""
        shown = (0.0, 1.0) if self.bands.range and not self.bands.show_percentiles else None
        bands = replace(self.bands, chosen=None, range=None, show_range=self.bands.show_range or shown)
        return replace(self, resize=None, bands=bands)

    def shown(self, images: Tensor) -> Tensor:
        """Return images that the network takes as they are looked at: see `Bands.shown`."""
        return self.bands.shown(images)

    def normalise(self, images: Tensor) -> Tensor:
        """Return images as the network takes them.

        Parameters
        ----------
        images : Tensor, (N, bands, height, width)
            In [0, 1].

        Returns
        -------
        Tensor, (N, bands, height, width)
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
    mean: Numbers | None = None
    std: Numbers | None = None
    interpolation: Interpolation = "bilinear"


def decide(
    declared: Declared,
    *,
    takes: int | None = None,
    image_size: int | Size | None = None,
    resize: int | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    bands: Bands | None = None,
    stacklevel: int = 3,
) -> Preprocessing:
    """Decide on the preprocessing: as given, else as the network declares it, else ImageNet's, with a warning.

    Parameters
    ----------
    declared : Declared
        What the network declares.
    takes : int, optional
        How many bands it takes; as many as the numbers that are given or declared, unless known.
    image_size : int or (int, int), optional
        Side, or height and width. Given without ``resize``, images are squashed to it.
    resize : int, optional
        The shorter side before the centre is cropped.
    mean, std : floats, optional
        Of each band in [0, 1]; a single one is that of all. Of images that have not three bands, 0 and 1 are assumed.
    bands : Bands, optional
        What else is said of the bands.
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
    given = {"mean": _numbers("mean", mean), "std": _numbers("std", std)}
    count = _band_count(takes, given, declared, bands)
    given_mean, given_std = (
        _of_bands(name, value, count) or (known if known is not None and len(known) == count else None)
        for (name, value), known in zip(given.items(), (declared.mean, declared.std), strict=True)
    )
    given_size = _size(image_size) or declared.image_size
    if resize is not None and (isinstance(resize, bool) or not isinstance(resize, int)):
        raise UnitlensError(f"resize is {resize!r}; it is a whole number of pixels, the shorter side before the crop.")
    if resize is None and image_size is None:
        resize = declared.resize
    colours = count == 3
    assumed = [
        *(["224 x 224 pixels"] if given_size is None else []),
        *(["ImageNet's mean" if colours else "a mean of 0"] if given_mean is None else []),
        *(["ImageNet's std" if colours else "a std of 1"] if given_std is None else []),
    ]
    if assumed:
        of_bands = "" if colours else f" of {counted(count, 'band')}"
        warnings.warn(
            f"The network does not say how images{of_bands} are prepared for it, so it is assumed: "
            f"{', '.join(assumed)}; say what is right with {argument('image_size')}, {argument('mean')} and "
            f"{argument('std')}.",
            UnitlensWarning,
            stacklevel=stacklevel,
        )
    return Preprocessing(
        given_size or (224, 224),
        resize,
        given_mean or (IMAGENET_MEAN if colours else (0.0,) * count),
        given_std or (IMAGENET_STD if colours else (1.0,) * count),
        declared.interpolation,
        bands or Bands(),
    )


def _band_count(takes: int | None, given: Mapping[str, Numbers | None], declared: Declared, bands: Bands | None) -> int:
    """How many bands a network takes: as it shows, else as many as numbers, or chosen bands, say."""
    if takes is not None:
        return takes
    chosen = bands.chosen if bands is not None else None
    known = [*given.values(), chosen, declared.mean, declared.std]
    return next((len(numbers) for numbers in known if numbers is not None and len(numbers) > 1), None) or (
        1 if chosen is not None else 3
    )


def _of_bands(name: str, values: Numbers | None, count: int) -> Numbers | None:
    """Numbers for each band; a single one is that of all."""
    if values is None or len(values) == count:
        return values
    if len(values) == 1:
        return values * count
    raise UnitlensError(
        f"{argument(name)} has {len(values)} numbers, and the network takes {counted(count, 'band')}: give one for "
        "each band, or a single one for all."
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
        _numbers("mean", config.get("mean")),
        _numbers("std", config.get("std")),
        "bicubic" if config.get("interpolation") == "bicubic" else "bilinear",
    )


def _numbers(what: str, values: Any) -> Numbers | None:
    if values is None:
        return None
    try:
        numbers = tuple(float(value) for value in values)
    except (TypeError, ValueError):
        numbers = ()
    if not numbers:
        raise UnitlensError(
            f"{what} is {values!r}; it is numbers, one for each band: three for red, green and blue, or one for all."
        )
    return numbers


def _size(image_size: int | Sequence[int] | None) -> Size | None:
    if image_size is None:
        return None
    sides = image_size if isinstance(image_size, Sequence) else (image_size, image_size)
    if len(sides) != 2 or not all(isinstance(side, int) and not isinstance(side, bool) for side in sides):
        raise UnitlensError(f"image_size is {image_size!r}; it is a number of pixels, or (height, width).")
    return sides[0], sides[1]


def _by(size: Size) -> str:
    return f"{size[0]} x {size[1]}"
