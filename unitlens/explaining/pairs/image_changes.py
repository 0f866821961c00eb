"""Which units change between images in pairs: the values that were measured, and the tables they make."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from unitlens.ablation.agreement import compare_ranks
from unitlens.drawing.changes import Bars, Images, changes_figure
from unitlens.drawing.notebooks import table_html
from unitlens.explaining.labelled_units import LabelledUnits
from unitlens.plurals import counted
from unitlens.stats.paired import PairedMeans, paired_means, q_values
from unitlens.stats.scores import Floats, Ints

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure, SubFigure

COLUMNS = {
    "layer": "the layer's name",
    "unit": "the unit's number in it, from 0",
    "concept": "the concept that the dissection gave it, as in units.csv; empty where there is none",
    "category": "the concept's category",
    "verdict": "of the dissection, as in units.csv",
    "peak_before": "mean of the unit's largest activation in the images before",
    "peak_after": "the same in the images after",
    "peak_change": "after - before, mean over pairs",
    "peak_low": "lower end of its interval, by the jackknife over folds of pairs; empty with fewer than 8 filled ones",
    "peak_high": "its upper end",
    "peak_q_value": "Benjamini and Hochberg's, over units, of no change",
    "area_before": "mean share of the label grid on which the unit is above its threshold, in the images before",
    "area_after": "the same in the images after",
    "area_change": "after - before, mean over pairs",
    "area_low": "lower end of its interval",
    "area_high": "its upper end",
    "area_q_value": "Benjamini and Hochberg's, over units, of no change",
    "margin_before": "what the unit adds, in the image before, to the lead of its predicted class over that of the "
    "image after: lead - lead with the unit removed; mean over pairs whose prediction changes, empty where none does",
    "margin_after": "the same in the image after",
    "margin_change": "after - before: below 0, what became of the unit helped to change the prediction",
    "margin_low": "lower end of its interval",
    "margin_high": "its upper end",
    "pairs": "how many pairs",
    "changed": "in how many of them the prediction changes",
}
"""Name and meaning of every column of ``pairs.csv``, in its order."""

PAIR_COLUMNS = {
    "before": "the name of the image before",
    "after": "the name of the image after",
    "prediction_before": "the class that is predicted before; empty where the network returns no scores of classes",
    "prediction_after": "the class that is predicted after",
    "probability_before": "softmax of the class that is predicted before, in the image before",
    "probability_after": "of the same class, in the image after",
}
"""Name and meaning of every column of ``pairs.images.csv``, in its order."""

CONCEPT_COLUMNS = {
    "layer": "the layer's name",
    "concept": "a concept that some unit is a detector of",
    "category": "its category",
    "units": "these units, joined by spaces",
    "area_before": "share of the label grid on which a unit is above its threshold, mean over them and pairs, before",
    "area_after": "the same after",
    "area_change": "after - before",
    "area_low": "lower end of its interval, as in pairs.csv",
    "area_high": "its upper end",
    "q_value": "Benjamini and Hochberg's, over concepts, of no change",
    "change": "added or removed, where the q-value is 0.05 at most; else empty",
}
"""Name and meaning of every column of ``pairs.concepts.csv``, in its order."""

MATTER_COLUMNS = {
    "layer": "the layer's name",
    "by": "peak or area: units are ranked by the size of its mean change",
    "spearman": "rank correlation, over units, of the size of the change and of what removal does to the lead of the "
    "one predicted class over the other, either way, mean over both images of the pairs whose prediction changes",
    "overlap": "share of the units that change most that are among those that matter most",
    "top": "how many units those are",
    "chance": "the overlap of units drawn at random",
}
"""Name and meaning of every column of ``pairs.matter.csv``, in its order."""

TOP, ALPHA = 10, 0.05


@dataclass(frozen=True, eq=False, repr=False)
class ImageChanges:
    """Which units change between images in pairs, and whether they matter for the two predicted classes.

    Attributes
    ----------
    info : dict
        Where they come from: network, data, settings, versions, warnings.
    layer : str
    labelled : LabelledUnits
        What the dissection says of each unit.
    classes : tuple of str
        What each output is called, (K,); empty where the network returns no scores of classes.
    names : tuple of (str, str)
        Of the images of each pair, before and after, (P,).
    folds : int64 array, (P,)
    peaks, areas : float64 arrays, (2, P, U)
        Before and after.
    outputs : float64 array, (2, P, K)
    margins : float64 array, (2, P, U)
        What each unit adds to the lead of the class that is predicted before over that after; NaN where they are one.
    shown : Images
        What the network saw of some pairs, those first whose prediction changes.
    """

    info: Mapping[str, Any]
    layer: str
    labelled: LabelledUnits
    classes: tuple[str, ...]
    names: tuple[tuple[str, str], ...]
    folds: Ints
    peaks: Floats
    areas: Floats
    outputs: Floats
    margins: Floats
    shown: Images

    @property
    def pairs(self) -> int:
        """How many."""
        return len(self.names)

    @property
    def interval(self) -> float:
        """How sure the intervals are: 0.95 or 0.99."""
        return float(self.info["settings"]["interval"])

    @cached_property
    def predictions(self) -> Ints:
        """The outputs of the largest scores, (2, P); without scores all 0."""
        return self.outputs.argmax(2) if self.classes else np.zeros((2, self.pairs), np.int64)

    @cached_property
    def changed(self) -> npt.NDArray[np.bool_]:
        """In which pairs the prediction changes, (P,)."""
        return np.asarray(self.predictions[0] != self.predictions[1])

    @cached_property
    def peak_changes(self) -> PairedMeans:
        """Mean changes of the peaks, each (U,)."""
        return paired_means(self.peaks[1] - self.peaks[0], self.folds, interval=self.interval)

    @cached_property
    def area_changes(self) -> PairedMeans:
        """Mean changes of the areas above thresholds, each (U,)."""
        return paired_means(self.areas[1] - self.areas[0], self.folds, interval=self.interval)

    @cached_property
    def margin_changes(self) -> PairedMeans | None:
        """Mean changes of what units add to the lead of one class over the other; None where no prediction changes."""
        if not self.measured.any():
            return None
        margins = self.margins[:, self.measured]
        return paired_means(margins[1] - margins[0], self.folds[self.measured], interval=self.interval)

    @cached_property
    def measured(self) -> npt.NDArray[np.bool_]:
        """Of which pairs it was measured what units matter, (P,)."""
        return np.asarray(~np.isnan(self.margins).any((0, 2)))

    @property
    def importance(self) -> Floats:
        """How much each unit moves the lead of one predicted class over the other, either way, (U,); NaN if unknown."""
        if not self.measured.any():
            return np.full(len(self.labelled), np.nan)
        return np.asarray(np.abs(self.margins[:, self.measured]).mean((0, 1)))

    def table(self) -> "pd.DataFrame":
        """A row a unit, that whose area or peak changes most surely first, with the columns of `COLUMNS`."""
        import pandas as pd

        margins = self.margin_changes
        empty = np.full(len(self.labelled), np.nan)
        before, after = (empty, empty) if margins is None else self.margins[:, self.measured].mean(1)
        columns = {
            **_columns("peak", self.peaks, self.peak_changes),
            **_columns("area", self.areas, self.area_changes),
            "margin_before": before,
            "margin_after": after,
            "margin_change": empty if margins is None else margins.mean,
            "margin_low": empty if margins is None else margins.low,
            "margin_high": empty if margins is None else margins.high,
            "pairs": self.pairs,
            "changed": int(self.changed.sum()),
        }
        of_units = self.labelled.table[["layer", "unit", "concept", "category", "verdict"]]
        table = of_units.reset_index(drop=True).assign(**columns)[list(COLUMNS)]
        order = np.argsort(-np.abs(self.peak_changes.mean), kind="stable")
        return pd.DataFrame(table.iloc[order].reset_index(drop=True))

    def images(self) -> "pd.DataFrame":
        """A row a pair, with the columns of `PAIR_COLUMNS`."""
        import pandas as pd

        table = pd.DataFrame(list(self.names), columns=["before", "after"])
        if not self.classes:
            return table.reindex(columns=list(PAIR_COLUMNS))
        names, pair = np.array(self.classes, dtype=object), np.arange(self.pairs)
        table["prediction_before"], table["prediction_after"] = names[self.predictions]
        probability = _softmax(self.outputs)[:, pair, self.predictions[0]]
        table["probability_before"], table["probability_after"] = probability
        return table[list(PAIR_COLUMNS)]

    def concepts(self) -> "pd.DataFrame":
        """A row a concept with detectors, that which grows most first, with the columns of `CONCEPT_COLUMNS`."""
        import pandas as pd

        known = self.labelled.concepts
        areas = np.stack([self.areas[:, :, list(one.units)].mean(2) for one in known], 2) if known else None
        if areas is None:
            return pd.DataFrame(columns=list(CONCEPT_COLUMNS))
        change = paired_means(areas[1] - areas[0], self.folds, interval=self.interval)
        q_value = q_values(change.p_value)
        table = pd.DataFrame(
            {
                "layer": self.layer,
                "concept": [one.name for one in known],
                "category": [one.category for one in known],
                "units": [" ".join(map(str, one.units)) for one in known],
                "area_before": areas[0].mean(0),
                "area_after": areas[1].mean(0),
                "area_change": change.mean,
                "area_low": change.low,
                "area_high": change.high,
                "q_value": q_value,
                "change": np.where(q_value <= ALPHA, np.where(change.mean > 0, "added", "removed"), ""),
            }
        )
        order = np.argsort(-change.mean, kind="stable")
        return pd.DataFrame(table.iloc[order].reset_index(drop=True))

    def matter(self) -> "pd.DataFrame":
        """Whether the units that change are those that matter for the two predictions: `MATTER_COLUMNS`.

        Empty where no prediction changes.
        """
        import pandas as pd

        rows = []
        if self.measured.any():
            top = max(1, min(TOP, len(self.labelled) // 4))
            for name, change in (("peak", self.peak_changes), ("area", self.area_changes)):
                ranks = compare_ranks(np.abs(change.mean), self.importance, top=top)
                rows.append({"layer": self.layer, "by": name} | ranks._asdict())
        return pd.DataFrame(rows, columns=list(MATTER_COLUMNS))

    def figure(self, *, figure: "Figure | SubFigure | None" = None) -> "Figure":
        """Pairs of images, the units that change most with intervals, and what they mean for the two predictions.

        Parameters
        ----------
        figure : matplotlib.figure.Figure or SubFigure, optional
            Where it is drawn; by default a new one.

        Returns
        -------
        matplotlib.figure.Figure
        """
        means, order = self.peak_changes, np.argsort(self.peak_changes.mean, kind="stable")
        chosen = np.concatenate([order[:TOP], order[max(len(order) - TOP, TOP) :]])[::-1]
        chosen = chosen[means.mean[chosen] != 0]
        labels = [self.label(unit) for unit in chosen.tolist()]
        bars = Bars(labels, means.mean[chosen], means.low[chosen], means.high[chosen])
        margins, changes = None, means.mean
        if self.measured.any():  # of the pairs whose prediction changes
            margins = self.margins[:, self.measured].mean((0, 1))
            changes = (self.peaks[1] - self.peaks[0])[self.measured].mean(0)
        classes = self.classes_named()
        return changes_figure(self.shown, self._said(), bars, changes, margins, classes, figure=figure)

    def label(self, unit: int) -> str:
        """The unit's number, and its concept where its label is good."""
        row = self.labelled.table.iloc[unit]
        return f"{unit} {row['concept']}" if self.labelled.good[unit] else f"{unit}"

    def classes_named(self) -> tuple[str, str]:
        """The class before and after, where the prediction changes in the same way in all pairs in which it does."""
        found = {tuple(pair) for pair in self.predictions[:, self.changed].T.tolist()}
        if len(found) == 1:
            ((before, after),) = found
            return self.classes[before], self.classes[after]
        return "the class before", "the class after"

    def _said(self) -> list[tuple[str, str]]:
        """What is predicted of the pairs that are shown."""
        if not self.classes:
            return [("", "")] * len(self.shown.before)
        order = np.argsort(~self.changed, kind="stable")  # as they are shown
        return [(self.classes[one], self.classes[other]) for one, other in self.predictions.T[order].tolist()]

    def files(self) -> dict[str, str]:
        """What is saved, by file name."""
        tables = {
            "pairs.csv": self.table(),
            "pairs.images.csv": self.images(),
            "pairs.concepts.csv": self.concepts(),
            "pairs.matter.csv": self.matter(),
        }
        return {name: table.to_csv(index=False) for name, table in tables.items()}

    def __repr__(self) -> str:
        changed = f", the prediction changes in {self.changed.sum()}" if self.classes else ""
        units = int((q_values(self.peak_changes.p_value) <= ALPHA).sum())
        change = f"{counted(units, 'unit')} of {self.layer} change{'s' if units == 1 else ''}"
        return f"<ImageChanges in {counted(self.pairs, 'pair')}{changed}; {change}>"

    def _repr_html_(self) -> str:
        columns = ["unit", "concept", "verdict", "peak_change", "peak_low", "peak_high", "area_change", "margin_change"]
        return table_html(repr(self), self.table()[columns])


def _columns(name: str, values: Floats, change: PairedMeans) -> dict[str, Floats]:
    before, after = values.mean(1)
    return {
        f"{name}_before": before,
        f"{name}_after": after,
        f"{name}_change": change.mean,
        f"{name}_low": change.low,
        f"{name}_high": change.high,
        f"{name}_q_value": q_values(change.p_value),
    }


def _softmax(scores: Floats) -> Floats:
    powers = np.exp(scores - scores.max(-1, keepdims=True))
    return np.asarray(powers / powers.sum(-1, keepdims=True))
