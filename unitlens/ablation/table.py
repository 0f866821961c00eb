"""The table of effects: a row a set of units, class and measure. This is the one place that says what columns mean."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from unitlens.ablation.estimates import OF_COUNTS, OVERALL, Estimate, estimate, estimate_overall
from unitlens.ablation.tallies import Counted
from unitlens.stats.paired import q_values
from unitlens.stats.scores import Floats

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = {
    "layer": "the layer's name; several joined by ;",
    "units": "the units that are ablated: one number, or several joined by ; (in several layers each as LAYER/UNIT)",
    "class": "the class whose images (recall, logit, ...) or predictions it is about; * for all classes together",
    "measure": "recall, precision, accuracy, balanced_accuracy, logit, log_probability, margin or one's own",
    "before": "the measure of the untouched network",
    "after": "the measure with the units ablated",
    "effect": "after - before, on the same images",
    "low": "lower end of the 95 % interval of effect",
    "high": "its upper end",
    "q_value": "Benjamini and Hochberg's, over all sets of units and classes of the measure (of * apart); counts only",
    "images": "how many images: of the class; for *, in all",
}
"""Name and meaning of every column of ``effects.csv``, in its order."""

Units = tuple[int, ...]
"""Units of a layer that are ablated together."""

LayerUnits = tuple[Units, ...]
"""The same in several layers: units of each."""

MOST_ROWS = 1_000_000
"""With more rows, effects.csv keeps * and each unit's largest effects."""

KEPT = 20
"""How many of each unit's effects it then keeps, of each measure."""


class LayerUnit(NamedTuple):
    """A unit of one of several layers."""

    layer: str
    unit: int

    def __str__(self) -> str:
        return f"{self.layer}/{self.unit}"


UnitSet = tuple[int | LayerUnit, ...]
"""Units that are ablated together, as results name them."""


def named_units(layers: Sequence[str], units: LayerUnits) -> UnitSet:
    """Name the units of a set: by their numbers; in several layers with their layers.

    Examples
    --------
    >>> named_units(["layer3", "layer4"], ((1,), (5,)))
    (LayerUnit(layer='layer3', unit=1), LayerUnit(layer='layer4', unit=5))
    """
    if len(layers) == 1:
        return units[0]
    return tuple(LayerUnit(layer, unit) for layer, of_layer in zip(layers, units, strict=True) for unit in of_layer)


def joined(units: Sequence[int | LayerUnit]) -> str:
    """Write units as they stand in a table.

    Examples
    --------
    >>> joined([3, 17]), joined([LayerUnit("layer4", 5)])
    ('3;17', 'layer4/5')
    """
    return ";".join(map(str, units))


def effect_rows(
    layer: str,
    sets: Sequence[Sequence[int | LayerUnit]],
    counted: Counted,
    names: Sequence[str],
    measures: Sequence[str],
) -> "pd.DataFrame":
    """Make the table.

    Parameters
    ----------
    layer : str
    sets : sequence of sequence of int or LayerUnit, S
        Units that are ablated together.
    counted : Counted
        Of the S sets and K outputs.
    names : sequence of str, K
        Of the outputs.
    measures : sequence of str
        Of each class. For all classes together there are accuracy, and those of these that are not counts.

    Returns
    -------
    pandas.DataFrame
        With the columns `COLUMNS`; classes without images have no rows.
    """
    import pandas as pd

    units = [joined(units) for units in sets]
    outputs = np.flatnonzero(counted.images)
    classes = [names[int(k)] for k in outputs]
    parts = [_part(units, classes, measure, estimate(counted, measure).columns(outputs)) for measure in measures]
    overall = ["accuracy", *(measure for measure in measures if measure in counted.sums)]
    parts += [_part(units, [OVERALL], measure, estimate_overall(counted, measure)) for measure in overall]
    table = pd.concat(parts, ignore_index=True)
    table.insert(0, "layer", layer)
    return table.reindex(columns=list(COLUMNS))


def shortened(table: "pd.DataFrame", *, most: int = MOST_ROWS, kept: int = KEPT) -> "pd.DataFrame":
    """Leave rows out where there are too many: all of ``*`` stay, and the largest effects of each unit and measure."""
    if len(table) <= most:
        return table
    overall = table["class"] == OVERALL
    rank = table["effect"].abs().groupby([table["units"], table["measure"], overall]).rank("first", ascending=False)
    return table[overall | (rank <= kept)]


def _part(units: Sequence[str], classes: Sequence[str], measure: str, effects: Estimate) -> "pd.DataFrame":
    """The rows of one measure: sets x classes."""
    import pandas as pd

    columns: dict[str, Any] = {
        "units": np.repeat(np.array(units, dtype=object), len(classes)),
        "class": np.tile(np.array(classes, dtype=object), len(units)),
        "measure": measure,
        "q_value": _q_values(effects.p_value.ravel(), measure),
    }
    columns |= {name: getattr(effects, name).ravel() for name in ("before", "after", "effect", "low", "high", "images")}
    return pd.DataFrame(columns)


def _q_values(p_value: Floats, measure: str) -> Floats:
    """Benjamini and Hochberg's; NaN for outcomes that are not counts.

    Without a unit behind a rectifier all that it added is missing: every unit that is ever active moves logits, in one
    direction. That it does is known beforehand; of interest is how far.
    """
    return q_values(p_value, measure in OF_COUNTS)
