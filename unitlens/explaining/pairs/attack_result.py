"""What an attack did: how often it succeeded, how far images moved, and what units and concepts changed."""

import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from unitlens.drawing.notebooks import table_html
from unitlens.explaining.pairs.image_changes import ImageChanges
from unitlens.plurals import counted
from unitlens.stats.intervals import share_distances
from unitlens.stats.scores import Bools, Floats, Ints

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure, SubFigure

COLUMNS = {
    "image": "the image's name",
    "class": "its class, which the network predicts rightly",
    "target": "the class that it was to be taken for; empty where any other would do",
    "prediction": "the class that is predicted of the attacked image, in 8 bits",
    "success": "True where that is the target, or without one any other class than its own",
    "success_float": "the same before the image was rounded to 8 bits",
    "probability_before": "softmax of the image's class, before",
    "probability_after": "of the same class, of the attacked image in 8 bits",
    "linf": "largest change of any number of the image in 8 bits, as a share of the range, in [0, 1]",
    "l2": "root of the sum of squares of these changes",
}
"""Name and meaning of every column of ``attack.csv``, in its order."""


class SuccessRate(NamedTuple):
    """How often an attack succeeds, and its 95 % interval (Jeffreys'), over images, or over groups of them."""

    rate: float
    low: float
    high: float


@dataclass(frozen=True, eq=False, repr=False)
class Attack:
    """What an attack did.

    Attributes
    ----------
    info : dict
        Where it comes from: network, data, settings, versions, warnings.
    changes : ImageChanges
        Of units, from the images to the attacked ones, in 8 bits.
    of_class : str
        The class of the images.
    target : str or None
        The class that they were to be taken for; None: any other.
    success, success_float : bool array, (P,)
        Whether they are, in 8 bits and before rounding.
    linf, l2 : float64 array, (P,)
        How far they moved.
    attacked : uint8 array, (P, height, width, bands)
        The images, of the network's input size; float32 in [0, 1] where they have more than 8 bits, which are then
        not rounded.
    """

    info: Mapping[str, Any]
    changes: ImageChanges
    of_class: str
    target: str | None
    success: Bools
    success_float: Bools
    linf: Floats
    l2: Floats
    attacked: npt.NDArray[Any]

    @property
    def images(self) -> int:
        """How many were attacked."""
        return len(self.success)

    @property
    def rate(self) -> SuccessRate:
        """How often it succeeded, in 8 bits."""
        return _rate(self.success, self.changes.folds, grouped=self.info["data"]["groups"] is not None)

    def table(self) -> "pd.DataFrame":
        """A row an image, with the columns of `COLUMNS`."""
        import pandas as pd

        pairs = self.changes.images()
        columns = {
            "image": [before for before, _ in self.changes.names],
            "class": self.of_class,
            "target": "" if self.target is None else self.target,
            "prediction": pairs["prediction_after"],
            "success": self.success,
            "success_float": self.success_float,
            "probability_before": pairs["probability_before"],
            "probability_after": pairs["probability_after"],
            "linf": self.linf,
            "l2": self.l2,
        }
        return pd.DataFrame(columns, columns=list(COLUMNS))

    def units(self) -> "pd.DataFrame":
        """Which units change, and whether they matter: see `ImageChanges.table`."""
        return self.changes.table()

    def concepts(self) -> "pd.DataFrame":
        """Which concepts it adds and removes, by the units that are labelled so: see `ImageChanges.concepts`."""
        return self.changes.concepts()

    def figure(self, *, figure: "Figure | SubFigure | None" = None) -> "Figure":
        """As `ImageChanges.figure`."""
        return self.changes.figure(figure=figure)

    def files(self) -> dict[str, str]:
        """What is saved, by file name."""
        of_pairs = {name.replace("pairs.", "attack."): text for name, text in self.changes.files().items()}
        of_pairs["attack.units.csv"] = of_pairs.pop("attack.csv")
        del of_pairs["attack.images.csv"]  # attack.csv has its columns
        return {"attack.csv": self.table().to_csv(index=False), **of_pairs}

    def image_files(self) -> dict[str, bytes]:
        """The attacked images as files, which lose nothing, by file name: the number and the name of the image.

        8-bit RGB as PNG, others as NumPy's .npy.
        """
        from PIL import Image

        files = {}
        for number, ((name, _), pixels) in enumerate(zip(self.changes.names, self.attacked, strict=True)):
            file = io.BytesIO()
            rgb = pixels.dtype == np.uint8 and pixels.shape[2] == 3
            if rgb:
                Image.fromarray(pixels).save(file, "PNG")
            else:
                np.save(file, pixels, allow_pickle=False)
            files[f"{number:04d}-{PurePosixPath(name).stem}.{'png' if rgb else 'npy'}"] = file.getvalue()
        return files

    def __repr__(self) -> str:
        return f"<Attack: {self.describe()}>"

    def describe(self) -> str:
        """Say how often it succeeded and how far images moved."""
        rate, to = self.rate, "" if self.target is None else f" to {self.target}"
        by = self.info["settings"]["attack"]
        bound = "" if by["method"] == "cw" else f", {by['norm']} {by['epsilon']:.4g}"
        return (
            f"{by['method']}{bound}: {int(self.success.sum())} of {counted(self.images, 'image')} of "
            f"{self.of_class}{to} "
            f"({100 * rate.rate:.0f} %, 95 % interval {100 * rate.low:.0f} to {100 * rate.high:.0f} %; before rounding "
            f"to 8 bits {int(self.success_float.sum())}), moved by {self.l2.mean():.2f} in L2 and "
            f"{self.linf.max():.4f} at most in any number"
        )

    def _repr_html_(self) -> str:
        return table_html(repr(self), self.concepts())


def _rate(success: Bools, folds: Ints, *, grouped: bool) -> SuccessRate:
    """The share of successes; where images have groups, as if there were as many images as groups' folds."""
    count, images = float(success.sum()), float(len(success))
    if grouped:
        effective = min(images, float(len(np.unique(folds))))
        count, images = count / images * effective, effective
    value, ends = count / images, share_distances(count, images)
    return SuccessRate(value, value - float(ends.below), value + float(ends.above))
