"""`Bands`: which bands of an image a network takes, which values are 0 and 1, and how they are shown."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from unitlens.errors import UnitlensError, argument
from unitlens.plurals import counted
from unitlens.records import check_types

PERCENTILES = (1.0, 99.0)
"""Between which deep images are shown, unless something else is said."""


@dataclass(frozen=True)
class Bands:
    """Which bands of an image a network takes, which values are 0 and 1, and how they are shown.

    Attributes
    ----------
    chosen : tuple of int or None
        Which of an image's bands the network takes, counted from 1, in its order; None: all.
    range : (float, float) or None
        The values of an image that become 0 and 1; what lies outside is set to these. None: 0 and 255 of uint8, 0 and
        65535 of uint16, and of floats 0 and 1, which they must not leave.
    show_bands : tuple of int or None
        Which of the network's bands are shown, counted from 1: one, in grey, or three, as red, green and blue. None:
        of one or two bands the first, of more the first three.
    show_range : (float, float) or None
        What is shown black and white, in [0, 1] as the network has it.
    show_percentiles : (float, float) or None
        The same as percentiles of each image's own numbers, of all bands that are shown. None, and no ``show_range``:
        0 and 1 of 8-bit images and where a ``range`` is given, else the 1st and 99th.

    Raises
    ------
    UnitlensError
        If a band is counted from 0, a range is empty, or there are two ways to show.
    """

    chosen: tuple[int, ...] | None = None
    range: tuple[float, float] | None = None
    show_bands: tuple[int, ...] | None = None
    show_range: tuple[float, float] | None = None
    show_percentiles: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        check_types(self)
        for name, numbers in (("bands", self.chosen), ("show_bands", self.show_bands)):
            if numbers is not None and (not numbers or min(numbers) < 1):
                raise UnitlensError(f"{argument(name)} is {_listed(numbers)}; bands are counted from 1.")
        if self.show_bands is not None and len(self.show_bands) not in (1, 3):
            raise UnitlensError(
                f"{argument('show_bands')} is {_listed(self.show_bands)}; one band is shown, in grey, or three, as "
                "red, green and blue."
            )
        for name, ends in (
            ("range", self.range),
            ("show_range", self.show_range),
            ("show_percentiles", self.show_percentiles),
        ):
            if ends is not None and not ends[0] < ends[1]:
                raise UnitlensError(f"{argument(name)} is {_listed(ends)}; it is a lower and a higher number.")
        shares = self.show_percentiles
        if shares is not None and not 0 <= shares[0] < shares[1] <= 100:
            raise UnitlensError(
                f"{argument('show_percentiles')} is {_listed(shares)}; percentiles lie between 0 and 100."
            )
        if self.show_range is not None and self.show_percentiles is not None:
            raise UnitlensError(
                f"{argument('show_range')} and {argument('show_percentiles')} are two ways to show one image: give one."
            )

    def check_count(self, count: int) -> None:
        """Make sure that they go together with the number of bands that a network takes.

        Raises
        ------
        UnitlensError
            If it takes another number than were chosen, or has no band that is to be shown.
        """
        if self.chosen is not None and len(self.chosen) != count:
            raise UnitlensError(
                f"{argument('bands')} is {_listed(self.chosen)}, {counted(len(self.chosen), 'band')}, and the network "
                f"takes {count}: choose as many."
            )
        beyond = next((band for band in self.show_bands or () if band > count), None)
        if beyond is not None:
            raise UnitlensError(
                f"{argument('show_bands')} has band {beyond}, and the network takes {counted(count, 'band')}: they are "
                "counted from 1, as the network takes them."
            )

    def shown(self, images: Tensor) -> Tensor:
        """Return images as they are looked at.

        Parameters
        ----------
        images : tensor, (N, bands, height, width)
            uint8; or of floats in [0, 1].

        Returns
        -------
        uint8 tensor, (N, 3, height, width)
            RGB; 8-bit images of three bands are the same as before, unless something else was said.
        """
        bands = self.show_bands or ((1,) if images.shape[1] < 3 else (1, 2, 3))
        if self == Bands() and images.dtype == torch.uint8 and images.shape[1] == 3:
            return images
        picked = images[:, [band - 1 for band in bands]]
        deep = picked.is_floating_point()
        percentiles = self.show_percentiles
        if percentiles is None and self.show_range is None and deep and self.range is None:
            percentiles = PERCENTILES
        if percentiles is not None or self.show_range is not None or deep:
            picked = picked.float() / (1 if deep else 255)
            low, high = self._ends(picked, percentiles)
            picked = ((picked - low) / (high - low).clamp_min(1e-12)).clamp_(0, 1).mul_(255).round_().byte()
        return picked.expand(-1, 3, -1, -1) if len(bands) == 1 else picked

    def _ends(self, images: Tensor, percentiles: tuple[float, float] | None) -> tuple[Tensor, Tensor]:
        """What is shown black and white of each image, (N, 1, 1, 1) or one for all."""
        if percentiles is None:
            low, high = self.show_range or (0.0, 1.0)
            return torch.tensor(low), torch.tensor(high)
        ordered = images.flatten(1).sort(1).values
        last = ordered.shape[1] - 1
        low_end, high_end = (ordered[:, round(last * share / 100)][:, None, None, None] for share in percentiles)
        return low_end, high_end


def given_bands(
    *,
    bands: int | Sequence[int] | None = None,
    range: Sequence[float] | None = None,
    show_bands: int | Sequence[int] | None = None,
    show_range: Sequence[float] | None = None,
    show_percentiles: Sequence[float] | None = None,
) -> Bands:
    """`Bands` of what was given, each a sequence or a single band.

    Raises
    ------
    UnitlensError
        If it is neither, or as `Bands`.
    """
    return Bands(
        _numbers("bands", bands),
        _two("range", range),
        _numbers("show_bands", show_bands),
        _two("show_range", show_range),
        _two("show_percentiles", show_percentiles),
    )


def _numbers(name: str, given: Any) -> tuple[int, ...] | None:
    if given is None or isinstance(given, tuple):
        return given
    if isinstance(given, int) and not isinstance(given, bool):
        return (given,)
    if isinstance(given, Sequence) and not isinstance(given, str):
        return tuple(given)
    raise UnitlensError(f"{argument(name)} is {given!r}; it is numbers of bands, counted from 1, such as (4, 3, 2).")


def _two(name: str, given: Any) -> tuple[float, float] | None:
    if given is None:
        return None
    try:
        low, high = (float(value) for value in given)
    except (TypeError, ValueError):
        raise UnitlensError(f"{argument(name)} is {given!r}; it is two numbers, a lower and a higher one.") from None
    return low, high


def _listed(numbers: Sequence[float]) -> str:
    return ",".join(f"{number:g}" for number in numbers)
