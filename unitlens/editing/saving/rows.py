"""The rows of the tables that results are saved as, where these have more columns than the result's own table."""

from typing import TYPE_CHECKING, Any

import numpy as np

from unitlens.ablation.table import joined
from unitlens.editing.concept_set_result import ConceptSet
from unitlens.editing.detector_result import DrawnDetectors
from unitlens.editing.insertion_result import InsertionMap
from unitlens.editing.set_result import SetAreas
from unitlens.editing.tables import CHANGED_COLUMNS, DETECTOR_COLUMNS, INSERTION_COLUMNS, SET_COLUMNS

if TYPE_CHECKING:
    import pandas as pd


def changed_rows(one: SetAreas) -> "pd.DataFrame":
    """Pairs of what positions showed and show, the largest share first."""
    import pandas as pd

    matrix, ious = one.what_changed(), dict(zip(one.shown, one.segmenter_iou.tolist(), strict=False))  # concepts first
    values = matrix.to_numpy()
    order = np.argsort(-values, axis=None, kind="stable")
    order = order[values.ravel()[order] > 0]
    rows, columns = np.unravel_index(order, values.shape)
    named: dict[str, Any] = {
        "layer": one.settings.layer,
        "units": joined(one.units),
        "change": one.settings.change,
        "before": [matrix.index[k] for k in rows],
        "after": [matrix.columns[k] for k in columns],
        "share": values[rows, columns],
        "before_segmenter_iou": [ious.get(matrix.index[k], np.nan) for k in rows],
        "after_segmenter_iou": [ious.get(matrix.columns[k], np.nan) for k in columns],
    }
    return pd.DataFrame(named, columns=list(CHANGED_COLUMNS))


def insertion_rows(door: InsertionMap) -> "pd.DataFrame":
    """What stood at places, with the units that were inserted there."""
    named: dict[str, Any] = {
        "layer": door.settings.layer,
        "units": joined(door.units),
        "change": door.settings.change,
        "concept": door.concept.name,
    }
    return door.table().assign(**named)[list(INSERTION_COLUMNS)]


def set_rows(found: ConceptSet) -> "pd.DataFrame":
    """What is left of a concept as more units are removed."""
    table = found.table()
    named: dict[str, Any] = {
        "layer": found.settings.layer,
        "concept": found.concept.name,
        "category": found.concept.category,
        "method": found.method,
        "chosen": (table["units"] == found.size).astype(int),
        "images": int(found.tally.half("odd").images.sum()),
    }
    return table.assign(**named)[list(SET_COLUMNS)]


def detector_rows(found: DrawnDetectors) -> "pd.DataFrame":
    """Units as detectors of a concept, the best first."""
    named: dict[str, Any] = {
        "layer": found.settings.layer,
        "concept": found.concept.name,
        "category": found.concept.category,
        "least_area": found.least_area,
    }
    return found.table().assign(**named)[list(DETECTOR_COLUMNS)]
