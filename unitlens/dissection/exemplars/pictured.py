"""Which units of a run are shown with images: all of them or, of thousands, those that are worth a look first."""

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from unitlens.drawing.strips import strips_drawn

if TYPE_CHECKING:
    import pandas as pd


def worth_a_look(units: "pd.DataFrame") -> npt.NDArray[np.int64]:
    """Order units: detectors first, by falling IoU, and those without a concept last; as in the table where equal.

    Of thousands of units, many with a high IoU did not pass a test: detectors stand before them.

    Parameters
    ----------
    units : DataFrame
        With the columns detector, concept and iou of ``units.csv``.

    Returns
    -------
    int64 array, (U,)
        Places of rows, the first one first.
    """
    iou = units["iou"].astype(np.float64).to_numpy(np.float64, na_value=np.nan)
    known = np.isfinite(iou) & units["concept"].notna().to_numpy()
    detector = units["detector"].eq(True).fillna(False).to_numpy(bool)  # empty where nothing was tested
    return np.lexsort((np.where(known, -iou, np.inf), ~detector))


def pictured_units(units: "pd.DataFrame", *, exemplar_size: int | None) -> set[tuple[str, int]]:
    """Choose the units whose exemplars are drawn: all, where so few or where a size was asked for.

    Parameters
    ----------
    units : DataFrame
        Of all layers of a run; as of `worth_a_look`, with layer and unit.
    exemplar_size : int or None
        Of the run's settings: with it, all are drawn, however large the page becomes.

    Returns
    -------
    set of (str, int)
        Layer and unit.
    """
    most = len(units) if exemplar_size is not None else strips_drawn(len(units))
    first = units.iloc[worth_a_look(units)[:most]]
    return set(zip(first["layer"], first["unit"].tolist(), strict=True))


def describe_no_strip(unit: int, *, any_strip: bool) -> str:
    """Say why a unit's exemplars cannot be shown as images, and what to do."""
    if not any_strip:
        return "This dissection was made without exemplar images: make it with exemplars=8."
    return (
        f"Of this many units, the exemplars of some are kept as images: of detectors, then of those with the highest "
        f"IoU. redrawn(dissection, [{unit}]) draws those of unit {unit} from the original images, and a dissection "
        "with exemplar_size=64 keeps those of every unit."
    )
