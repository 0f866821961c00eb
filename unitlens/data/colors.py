"""The eleven basic color terms, computed from pixels."""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from unitlens.data.concepts import Concept
from unitlens.data.pixels.arrays import check_rgb

NAMES = ("black", "blue", "brown", "gray", "green", "orange", "pink", "purple", "red", "white", "yellow")
"""Labels 1 to 11: the terms of Berlin and Kay, "Basic Color Terms", 1969."""

_BITS = 5  # 32 steps of each of red, green and blue


class Ellipse(NamedTuple):
    """Where colors have no hue, at a range of lightness.

    Attributes
    ----------
    up_to : float
        Largest L* of the range.
    center, axes : (float, float)
        In the a*, b* plane; the half axes.
    tilt : float
        Rotation in degrees.
    """

    up_to: float
    center: tuple[float, float]
    axes: tuple[float, float]
    tilt: float


ACHROMATIC = (
    Ellipse(31, (0.42, 0.25), (5.89, 7.47), 2.32),
    Ellipse(41, (0.23, 0.66), (6.46, 7.87), 17.59),
    Ellipse(51, (-0.12, 0.52), (5.38, 6.98), 19.58),
    Ellipse(66, (-0.44, 1.08), (6.06, 7.50), 24.55),
    Ellipse(76, (-0.57, 1.16), (5.37, 6.90), 24.75),
    Ellipse(np.inf, (-1.26, 1.81), (6.04, 7.39), -1.19),
)
BLACK_TO_GRAY, GRAY_TO_WHITE = 28.28, 79.65
"""L*. These and the ellipses: Benavente, Vanrell, Baldrich, "Parametric fuzzy sets for automatic color naming", JOSA A
25(10), 2008, from experiments with ten observers; the boundaries here are where their sigmoids are 1/2."""


class Colors:
    """The color term of every pixel, computed: a concept source of the category "color".

    In CIELAB (D65), a pixel inside the ellipse of its lightness (`ACHROMATIC`) is black, gray or white by its L*.
    Any other gets the term of the nearest color (Euclidean distance) among those that the xkcd color survey (Munroe,
    2010; 222,500 sessions on people's own screens) found for names that end in one of the eleven terms, such as "dark
    sky blue"; Matplotlib carries the survey's table. Psychophysical models of surface colors alone put a screen's own
    red and blue among orange and purple. Pixels are sRGB, rounded to 32 steps a channel, the middle of each; every
    pixel is judged.
    """

    @property
    def concepts(self) -> Sequence[Concept]:
        """The eleven terms."""
        return tuple(Concept("color", label, name) for label, name in enumerate(NAMES, 1))

    def planes(self, image: npt.NDArray[np.uint8], name: str) -> Mapping[str, Sequence[npt.NDArray[np.uint8]]]:
        """The label of every pixel of an image, in the image's size; an error where it is not 8-bit RGB."""
        check_rgb(image, name, "colours")
        return {"color": [color_labels(image)]}

    def planes_of(self, images: npt.NDArray[np.uint8]) -> Mapping[str, Sequence[npt.NDArray[np.uint8]]]:
        """The label of every pixel of many images, (N, height, width, 3)."""
        return {"color": [color_labels(images)]}

    def __repr__(self) -> str:
        return "colors"


def color_labels(image: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Name the color of every pixel.

    Parameters
    ----------
    image : uint8 array, (height, width, 3)
        sRGB.

    Returns
    -------
    uint8 array, (height, width)
        Labels 1 to 11, as in `NAMES`.

    Examples
    --------
    >>> NAMES[color_labels(np.array([[[255, 0, 0]]], np.uint8))[0, 0] - 1]
    'red'
    """
    red, green, blue = (image[..., channel].astype(np.uint16) >> (8 - _BITS) for channel in range(3))
    labels: npt.NDArray[np.uint8] = _table()[(red << 2 * _BITS) | (green << _BITS) | blue]
    return labels


@cache
def _table() -> npt.NDArray[np.uint8]:
    """The label of the middle of each of the 32 x 32 x 32 cells of RGB."""
    from skimage.color import rgb2lab

    steps = 1 << _BITS
    middle = ((np.arange(steps) + 0.5) * (256 / steps) - 0.5) / 255
    rgb = np.stack(np.meshgrid(middle, middle, middle, indexing="ij"), -1).reshape(-1, 3)
    return named(rgb2lab(rgb))


def named(lab: npt.NDArray[np.float64]) -> npt.NDArray[np.uint8]:
    """Name colors.

    Parameters
    ----------
    lab : array, (colors, 3)
        CIELAB, D65.

    Returns
    -------
    uint8 array, (colors,)
        Labels 1 to 11.
    """
    from scipy.spatial import cKDTree

    survey = _survey()
    terms = np.array([NAMES.index(term) for term, _ in survey])
    nearest = terms[cKDTree(np.array([color for _, color in survey])).query(lab)[1]]
    by_lightness = np.array([NAMES.index(term) for term in ("black", "gray", "white")])
    without_hue = by_lightness[np.searchsorted([BLACK_TO_GRAY, GRAY_TO_WHITE], lab[:, 0])]
    return (1 + np.where(achromatic(lab), without_hue, nearest)).astype(np.uint8)


def achromatic(lab: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    """Whether each color lies inside the ellipse of its lightness; (colors, 3) to (colors,)."""
    level = np.searchsorted([ellipse.up_to for ellipse in ACHROMATIC], lab[:, 0])
    center, axes = (np.array([ellipse[field] for ellipse in ACHROMATIC])[level] for field in (1, 2))
    tilt = np.radians([ellipse.tilt for ellipse in ACHROMATIC])[level]
    a, b = (lab[:, 1:] - center).T
    along = (a * np.cos(tilt) + b * np.sin(tilt)) / axes[:, 0]
    across = (b * np.cos(tilt) - a * np.sin(tilt)) / axes[:, 1]
    inside: npt.NDArray[np.bool_] = along**2 + across**2 < 1
    return inside


def _survey() -> list[tuple[str, npt.NDArray[np.float64]]]:
    """The term and the CIELAB color of each of the survey's names that end in one."""
    from matplotlib.colors import get_named_colors_mapping, to_rgb
    from skimage.color import rgb2lab

    terms = []
    for name, color in sorted(get_named_colors_mapping().items()):
        term = name.split(" ")[-1].removeprefix("xkcd:").replace("grey", "gray")
        if name.startswith("xkcd:") and term in NAMES:
            terms.append((term, rgb2lab(np.array(to_rgb(color)))))
    return terms
