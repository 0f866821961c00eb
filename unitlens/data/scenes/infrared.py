"""Near infrared of the drawn scenes: a fourth band, from what things are made of and not from their colour."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from unitlens.data.scenes.words import CATEGORIES

MATERIAL: Mapping[str, float] = {
    "foliage": 0.85,
    "grass": 0.80,
    "snow": 0.70,
    "fabric": 0.55,
    "wood": 0.50,
    "sand": 0.45,
    "brick": 0.40,
    "tile": 0.40,
    "stone": 0.35,
    "metal": 0.30,
    "asphalt": 0.15,
    "glass": 0.10,
    "water": 0.03,
}
"""Share of near infrared (some 850 nm) that is reflected: much by living plants, whatever the colour of the leaves, and
next to nothing by water; dyes hardly matter there. Rounded from what spectral libraries give."""

OBJECT: Mapping[str, float] = {
    **{"sky": 0.10, "cloud": 0.75, "sun": 1.0, "sea": 0.03, "campfire": 1.0, "screen": 0.05, "television": 0.05},
    **{"flower": 0.80, "plant": 0.80, "bush": 0.85, "field": 0.30, "hill": 0.50, "hay bale": 0.60, "log": 0.50},
    **{"person": 0.55, "cow": 0.50, "sheep": 0.60, "dog": 0.50, "cat": 0.50, "bird": 0.50},
}
"""The same of objects whose material is not marked."""

ELSE = 0.40


def infrared(
    image: npt.NDArray[np.uint8], planes: Mapping[str, npt.NDArray[np.uint8]], rng: np.random.Generator
) -> npt.NDArray[np.uint8]:
    """The near infrared of an image.

    Parameters
    ----------
    image : uint8 array, (height, width, 3)
        Of it texture, light and shadow are taken: how much brighter each pixel is than its object in that image.
    planes : mapping of str to uint8 array, (height, width)
        What it shows: "object" and "material".
    rng : numpy.random.Generator
        Of the noise.

    Returns
    -------
    uint8 array, (height, width)
    """
    objects, materials = planes["object"], planes["material"]
    of_object = np.array([ELSE, *(OBJECT.get(name, ELSE) for name in CATEGORIES["object"])])
    of_material = np.array([0.0, *(MATERIAL[name] for name in CATEGORIES["material"])])
    reflected = np.where(materials > 0, of_material[materials], of_object[objects])
    light = image @ np.array([0.299, 0.587, 0.114])
    kind = objects.astype(np.int64) * (len(of_material) + 1) + materials
    mean = np.bincount(kind.ravel(), light.ravel()) / np.maximum(np.bincount(kind.ravel()), 1)
    shading = (light / np.maximum(mean[kind], 1)).clip(0.5, 1.5)
    noisy = 255 * reflected * (0.5 + 0.5 * shading) + rng.normal(0, 3, reflected.shape)
    return np.asarray(noisy.round().clip(0, 255), np.uint8)
