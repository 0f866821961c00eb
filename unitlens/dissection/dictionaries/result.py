"""The result of a reconstruction: what directions or features hold of their layer, in a run and in tables."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from unitlens.dissection.beside.belonging import MeasuredOf
from unitlens.dissection.beside.layer_file import LayerFile
from unitlens.dissection.run_record import MOST, check_hash
from unitlens.dissection.settings import BasisRecord
from unitlens.errors import UnitlensError, spelled
from unitlens.records import check_interval, check_range, check_types

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = {
    "layer": "name of the layer",
    "units": "directions or features from which its output is reconstructed",
    "images": "images",
    "active": "mean number of units that are not 0 at a position",
    "explained": "variance of the layer's output that is explained: 1 - squared error / squared distance from the "
    "mean, over all units and positions",
    "explained_low": "lower end of the 95 % interval (jackknife over folds)",
    "explained_high": "upper end",
    "accuracy": "share of the images with a class that is classified rightly; empty where nothing is classified",
    "accuracy_kept": "the same with the reconstruction in place of the layer's output",
    "accuracy_effect": "accuracy_kept - accuracy",
    "accuracy_effect_low": "lower end of the 95 % interval, on the same images",
    "accuracy_effect_high": "upper end",
}
"""Name and meaning of every column of `Reconstruction.table`, in order."""


@dataclass(frozen=True, kw_only=True)
class Reconstruction:
    """What directions or features hold of a layer; `COLUMNS` says what the numbers are."""

    layer: str
    basis: BasisRecord
    network_sha256: str
    data_sha256: str
    images: int
    active: float
    explained: float
    explained_low: float | None
    explained_high: float | None
    accuracy: float | None = None
    accuracy_kept: float | None = None
    accuracy_effect: float | None = None
    accuracy_effect_low: float | None = None
    accuracy_effect_high: float | None = None

    def __post_init__(self) -> None:
        check_types(self)
        for name in ("network_sha256", "data_sha256"):
            check_hash(name, getattr(self, name))
        check_range("images", self.images, 1, MOST)
        check_range("active", self.active, 0, self.units)
        check_range("explained", self.explained, -math.inf, 1)
        check_interval("explained", self.explained, self.explained_low, self.explained_high)
        measured = (self.accuracy, self.accuracy_kept, self.accuracy_effect)
        if None in measured and any(value is not None for value in measured):
            raise UnitlensError("accuracy, accuracy_kept and accuracy_effect are numbers, or all of them are missing")
        for name in ("accuracy", "accuracy_kept"):
            check_range(name, getattr(self, name) or 0.0, 0, 1)
        check_range("accuracy_effect", self.accuracy_effect or 0.0, -1, 1)
        check_interval("accuracy_effect", self.accuracy_effect, self.accuracy_effect_low, self.accuracy_effect_high)

    def __str__(self) -> str:
        interval = "" if self.explained_low is None else f" ({self.explained_low:.1%} to {self.explained_high:.1%})"
        active = f"{self.active:.3g} of {self.units} {self.basis.noun} active at a position"
        text = f"{self.explained:.1%} of the variance{interval}, {active}"
        if self.accuracy is None:
            return text
        text += f"; accuracy {self.accuracy_kept:.1%}, where the network's is {self.accuracy:.1%}"
        if self.accuracy_effect_low is None or self.accuracy_effect is None or self.accuracy_effect_high is None:
            return text
        low, effect, high = (
            100 * end for end in (self.accuracy_effect_low, self.accuracy_effect, self.accuracy_effect_high)
        )
        return f"{text} ({effect:+.2g} points, {low:+.2g} to {high:+.2g})"

    @property
    def units(self) -> int:
        """How many directions or features there are."""
        return self.basis.shape[0]

    @property
    def measured_of(self) -> MeasuredOf:
        """What it was measured of, which says to which runs it belongs."""
        return MeasuredOf("reconstruction", self.layer, self.basis, self.network_sha256, self.data_sha256)

    def table(self) -> "pd.DataFrame":
        """One row with the columns `COLUMNS`."""
        import pandas as pd

        return pd.DataFrame([{name: getattr(self, name) for name in COLUMNS}])

    def save(self, run: str | Path, *, overwrite: bool = False) -> Path:
        """Write it into the folder of a run, beside those of its other layers, for `unitlens.compare`.

        Parameters
        ----------
        run : str or Path
        overwrite : bool
            Whether a damaged file may be replaced.

        Raises
        ------
        UnitlensError
            If there is no run, or one of other units or of another network; or the file is damaged.

        Warns
        -----
        UnitlensWarning
            If it was measured on other images than those of the run, which `unitlens.compare` says too.
        """
        from unitlens.dissection.result import open_run

        return FILE.save(self, open_run(run), Path(run), overwrite=overwrite)


FILE = LayerFile(
    "reconstruction.json",
    Reconstruction,
    lambda: spelled(python="save it again with overwrite=True", shell="`unitlens reconstruct RUN --overwrite`"),
)
"""In the folder of a run."""
