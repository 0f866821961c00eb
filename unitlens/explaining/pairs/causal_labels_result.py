"""Whether units answer to what they are labelled as, and to nothing else: the values that were measured."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from unitlens.data.concepts import Concept
from unitlens.drawing.notebooks import table_html
from unitlens.explaining.labelled_units import GOOD
from unitlens.stats.intervals import share_distances
from unitlens.stats.paired import PairedMeans, q_values
from unitlens.stats.scores import Bools, Floats, Ints

if TYPE_CHECKING:
    import pandas as pd

CausalVerdict = Literal["passes", "answers to something else", "does not answer", ""]

VERDICTS: Mapping[str, str] = {
    "passes": "the unit grows active when its concept is added, and when nothing else is as much",
    "answers to something else": "it grows as active, or more, when something is added that brings none of its concept",
    "does not answer": "adding its concept does not make it active, as far as these pairs can tell",
}
"""What each says of a label."""

COLUMNS = {
    "layer": "the layer's name",
    "unit": "the unit's number in it, from 0",
    "concept": "the concept that the dissection gave it, as in units.csv",
    "category": "the concept's category",
    "verdict": "of the dissection, as in units.csv",
    "iou": "IoU with the concept, as in units.csv",
    "heldout_iou": "held-out IoU, as in units.csv",
    "pairs": "how many pairs of images with and without the concept; 0: it cannot be left out",
    "area_change": "mean change of the share of the label grid above the unit's threshold when its concept is added",
    "area_low": "lower end of its interval, by the jackknife over folds of scenes; empty with fewer than 8",
    "area_high": "its upper end",
    "q_value": "Benjamini and Hochberg's, over areas and peaks of the layer's units, of no change of the area",
    "peak_change": "mean change of the unit's largest activation when its concept is added",
    "peak_low": "lower end of its interval",
    "peak_high": "its upper end",
    "peak_q_value": "Benjamini and Hochberg's, over areas and peaks of the layer's units, of no change of the peak",
    "other": "of all others, the concept whose adding makes the area grow most, in pairs that bring none of the unit's "
    "own concept; of those that do at a p-value of 0.05, if there are any",
    "other_category": "its category",
    "other_change": "mean change of the area when it is added",
    "other_q_value": "Benjamini and Hochberg's, over the layer's units and all other concepts",
    "others": "how many other concepts make the area grow, at a q-value of 0.05",
    "others_mean": "mean change of the area over all other concepts",
    "selectivity": "area_change / (area_change + other_change), what is below 0 taken as 0: above 0.5, the unit "
    "answers to its concept more than to anything else",
    "causal_verdict": "passes, answers to something else, or does not answer; empty where there are no pairs",
}
"""Name and meaning of every column of ``causal_labels.csv``, in its order."""

TEXT = ("layer", "concept", "category", "verdict", "other", "other_category", "causal_verdict")
"""Columns that are text; all others are numbers."""

ALPHA = 0.05
"""A change is one if its q-value is not above this."""


@dataclass(frozen=True, eq=False)
class LayerAnswers:
    """What adding concepts does to the units of one layer.

    Attributes
    ----------
    units : DataFrame
        Rows of units.csv: layer, unit, concept, category, verdict, iou, heldout_iou.
    own : int64 array, (U,)
        The column of each unit's concept; -1 without one.
    pairs : int64 array, (C,)
        How many there are of each concept.
    area, peak : PairedMeans of (U,)
        When a unit's own concept is added; NaN where there are no pairs.
    others : PairedMeans of (C, U)
        The area when another concept is added, in pairs that bring none of the unit's own; NaN where there are none.
    added : float64 array, (C, U)
        Mean change of the area when any concept is added, in all pairs; NaN without pairs.
    """

    units: "pd.DataFrame"
    own: Ints
    pairs: Ints
    area: PairedMeans
    peak: PairedMeans
    others: PairedMeans
    added: Floats


@dataclass(frozen=True, eq=False, repr=False)
class CausalLabels:
    """Whether units answer to what they are labelled as, and to nothing else.

    Attributes
    ----------
    info : dict
        Where it comes from: network, data, settings, versions, warnings.
    concepts : tuple of Concept
        All that are marked in the pairs, in the order of the columns.
    rows : DataFrame
        With the columns of `COLUMNS`.
    added : mapping of str to float64 array, (C, U)
        Of each layer, the mean change of every unit's area when each concept is added; NaN without pairs.
    """

    info: Mapping[str, Any]
    concepts: tuple[Concept, ...]
    rows: "pd.DataFrame"
    added: Mapping[str, Floats]

    def table(self) -> "pd.DataFrame":
        """A row a unit with a concept, with the columns of `COLUMNS`."""
        return self.rows.copy()

    def shares(self) -> "pd.DataFrame":
        """How many labels pass: see `label_shares`."""
        return label_shares(self.rows)

    def answers(self, layer: str | None = None) -> "pd.DataFrame":
        """Mean change of the area of every unit when each concept is added: concepts x units, those with pairs."""
        import pandas as pd

        added = self.added[next(iter(self.added)) if layer is None else layer]
        names = [f"{concept.category}/{concept.name}" for concept in self.concepts]
        return pd.DataFrame(added, index=names).dropna(how="all")

    def __repr__(self) -> str:
        return f"<CausalLabels: {describe_shares(self.rows)}>"

    def _repr_html_(self) -> str:
        tested = self.rows[self.rows["causal_verdict"] != ""]
        columns = ["unit", "concept", "verdict", "iou", "area_change", "other", "other_change", "causal_verdict"]
        return table_html(repr(self), tested.sort_values("selectivity", ascending=False)[columns])


def causal_rows(answers: LayerAnswers, concepts: Sequence[Concept]) -> "pd.DataFrame":
    """The rows of one layer, with the columns of `COLUMNS`.

    Parameters
    ----------
    answers : LayerAnswers
    concepts : sequence of Concept
    """
    import pandas as pd

    q_others = q_values(answers.others.p_value)
    q_own = q_values(np.stack([answers.area.p_value, answers.peak.p_value]))
    labelled = np.flatnonzero(answers.units["concept"].notna())
    rows = []
    for unit in labelled.tolist():
        area, peak = (PairedMeans(*(values[unit] for values in one)) for one in (answers.area, answers.peak))
        changes, grows = answers.others.mean[:, unit], answers.others.p_value[:, unit] <= ALPHA
        other, known = _largest(changes, grows), ~np.isnan(changes)
        certain = (q_others[:, unit] <= ALPHA) & (changes > 0)
        change = np.nan if other is None else float(changes[other])
        own = int(answers.own[unit])
        own_pairs = int(answers.pairs[own]) if own >= 0 else 0
        q_other = np.nan if other is None else float(q_others[other, unit])
        rows.append(
            {
                "pairs": own_pairs,
                "area_change": area.mean,
                "area_low": area.low,
                "area_high": area.high,
                "q_value": q_own[0, unit],
                "peak_change": peak.mean,
                "peak_low": peak.low,
                "peak_high": peak.high,
                "peak_q_value": q_own[1, unit],
                "other": "" if other is None else concepts[other].name,
                "other_category": "" if other is None else concepts[other].category,
                "other_change": change,
                "other_q_value": q_other,
                "others": int(certain.sum()),
                "others_mean": float(changes[known].mean()) if known.any() else np.nan,
                "selectivity": _selectivity(float(area.mean), change),
                "causal_verdict": _verdict(
                    float(area.mean),
                    answers=bool(
                        (q_own[0, unit] <= ALPHA and area.mean > 0) or (q_own[1, unit] <= ALPHA and peak.mean > 0)
                    ),
                    rivals=changes[grows & (changes > 0)],
                    certain=changes[certain],
                )
                if own_pairs
                else "",
            }
        )
    of_units = answers.units.iloc[labelled].reset_index(drop=True)
    measured = pd.DataFrame(rows, columns=[name for name in COLUMNS if name not in of_units])
    return pd.DataFrame(pd.concat([of_units, measured], axis=1)[list(COLUMNS)])


def _largest(change: Floats, grows: Bools) -> int | None:
    """The concept of largest change, of those with which the area grows if there are any."""
    known = ~np.isnan(change)
    among = known & grows & (change > 0)
    among = among if among.any() else known
    return int(np.where(among, change, -np.inf).argmax()) if among.any() else None


def _selectivity(own: float, other: float) -> float:
    own, other = max(own, 0.0), max(other, 0.0)
    return own / (own + other) if own + other > 0 else float("nan")


def _verdict(own: float, *, answers: bool, rivals: Floats, certain: Floats) -> CausalVerdict:
    """Judge a label; of a unit that answers to its concept any rival counts, of others those that are certain."""
    against = rivals if answers else certain
    if len(against) and against.max() >= own:
        return "answers to something else"
    return "passes" if answers else "does not answer"


def label_shares(rows: "pd.DataFrame") -> "pd.DataFrame":
    """How many labels pass, by the verdict of the dissection, detectors first.

    Parameters
    ----------
    rows : DataFrame
        With the columns of `COLUMNS`.

    Returns
    -------
    DataFrame
        A row a verdict of the dissection: ``verdict``, ``labels`` (how many units), ``untested`` (without pairs),
        ``passes``, ``answers_to_something_else``, ``does_not_answer`` (how many), ``only`` (how many pass, and answer
        to nothing else at all), ``share`` (that pass, of those that were tested), ``low`` and ``high`` (its 95 %
        interval over labels, Jeffreys').
    """
    import pandas as pd

    verdicts = sorted(rows["verdict"].unique(), key=lambda name: (name != GOOD, name))
    listed = []
    for verdict in verdicts:
        of_verdict = rows[rows["verdict"] == verdict]
        counts = of_verdict["causal_verdict"].value_counts()
        passes, tested = int(counts.get("passes", 0)), int((of_verdict["causal_verdict"] != "").sum())
        ends = share_distances(passes, max(tested, 1))
        value = passes / tested if tested else np.nan
        listed.append(
            {
                "verdict": verdict,
                "labels": len(of_verdict),
                "untested": len(of_verdict) - tested,
                "passes": passes,
                "answers_to_something_else": int(counts.get("answers to something else", 0)),
                "does_not_answer": int(counts.get("does not answer", 0)),
                "only": int(((of_verdict["causal_verdict"] == "passes") & (of_verdict["others"] == 0)).sum()),
                "share": value,
                "low": value - float(ends.below),
                "high": value + float(ends.above),
            }
        )
    return pd.DataFrame(listed)


def describe_shares(rows: "pd.DataFrame") -> str:
    """Say how many labels of detectors pass."""
    shares = label_shares(rows[rows["verdict"] == GOOD])
    if not len(shares) or shares["labels"].sum() == shares["untested"].sum():
        return "no label of a detector could be tested"
    row = shares.iloc[0]
    tested = int(row["labels"] - row["untested"])
    untested = f"; {int(row['untested'])} more have a concept that cannot be left out" if row["untested"] else ""
    return (
        f"{int(row['passes'])} of {tested} labels of detectors pass ({100 * row['share']:.0f} %, 95 % interval "
        f"{100 * row['low']:.0f} to {100 * row['high']:.0f} %), {int(row['answers_to_something_else'])} answer to "
        f"something else, {int(row['does_not_answer'])} do not answer{untested}"
    )
