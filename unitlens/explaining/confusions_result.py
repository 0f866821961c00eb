"""Errors by pairs of classes: what is measured, and its table."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from unitlens.drawing.notebooks import table_html
from unitlens.explaining.labelled_units import LabelledUnits
from unitlens.plurals import counted
from unitlens.stats.paired import PairedMeans, paired_means, q_values
from unitlens.stats.scores import Bools, Floats, Ints

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = {
    "class": "the class of the images",
    "predicted": "the class that they were taken for",
    "images": "how many were",
    "right_images": "how many images of the class that were classified rightly they are compared with",
    "layer": "the layer's name",
    "concept": "the concept, all detectors of which are ablated together; empty for a unit without a good label",
    "category": "the concept's category",
    "units": "the units that are ablated together, joined by spaces",
    "pull": "mean of logit(predicted) - logit(class) less the same with the units ablated: above 0, they pull towards "
    "the wrong class",
    "low": "lower end of its 95 % interval (jackknife over folds); empty below 8 folds",
    "high": "its upper end",
    "p_value": "of the pull's being 0, from the same",
    "q_value": "Benjamini and Hochberg's, over all rows",
    "right_pull": "the same mean over the images that were classified rightly",
    "right_low": "lower end of its 95 % interval",
    "right_high": "its upper end",
    "repaired": "share of the images that are classified rightly with the units ablated",
}
"""Name and meaning of every column of ``confusions.csv``, in its order."""


class PulledImages(NamedTuple):
    """Some images and what interventions do to them.

    Attributes
    ----------
    names : list of str
    folds : int64 array, (N,)
    pull : float64 array, (N, V)
        By how much the wrong class's lead over the right one is larger untouched than under each intervention.
    right : bool array, (N, V)
        Whether the image is classified rightly then.
    """

    names: list[str]
    folds: Ints
    pull: Floats
    right: Bools

    def mean(self) -> PairedMeans:
        """The mean pull of each intervention, with its interval, each (V,)."""
        return paired_means(self.pull, self.folds)


class ConfusedPair(NamedTuple):
    """Images of one class that were taken for another.

    Attributes
    ----------
    class_, predicted : int
        The two outputs.
    wrong, rightly : PulledImages
        Those that were; images of the class that were classified rightly.
    shown : uint8 array, (M, height, width, 3)
        The first of those that were taken for the other class, as the network saw them.
    """

    class_: int
    predicted: int
    wrong: PulledImages
    rightly: PulledImages
    shown: npt.NDArray[np.uint8]


@dataclass(frozen=True, eq=False, repr=False)
class Confusions:
    """Which concepts pull images of one class towards another.

    Attributes
    ----------
    info : dict
        Where they come from.
    layer : str
    classes : tuple of str
        What each output is called, (K,).
    labelled : LabelledUnits
    sets : tuple of tuple of int
        The units that are ablated together: those of each concept, and each unit without a good label.
    pairs : tuple of ConfusedPair
        The most frequent first.
    errors, images : int
        Of so many images so many were classified wrongly.
    """

    info: Mapping[str, Any]
    layer: str
    classes: tuple[str, ...]
    labelled: LabelledUnits
    sets: tuple[tuple[int, ...], ...]
    pairs: tuple[ConfusedPair, ...]
    errors: int
    images: int

    def __repr__(self) -> str:
        most = self.pairs[0]
        return (
            f"<Confusions: {self.errors} of {counted(self.images, 'image')} are classified wrongly; most often "
            f"{self.classes[most.class_]} as {self.classes[most.predicted]} ({len(most.wrong.names)})>"
        )

    def _repr_html_(self) -> str:
        return table_html(repr(self), self.table())

    def table(self) -> "pd.DataFrame":
        """A row a pair of classes and set of units, the one first that pulls most, with the columns of `COLUMNS`."""
        import pandas as pd

        table = pd.concat([self._of_pair(pair) for pair in self.pairs], ignore_index=True)
        table["q_value"] = q_values(table["p_value"].to_numpy(np.float64))
        return table[list(COLUMNS)]

    def _of_pair(self, pair: ConfusedPair) -> "pd.DataFrame":
        import pandas as pd

        pull, right_pull = pair.wrong.mean(), pair.rightly.mean()
        unnamed = [None] * (len(self.sets) - len(self.labelled.concepts))
        table = pd.DataFrame(
            {
                "class": self.classes[pair.class_],
                "predicted": self.classes[pair.predicted],
                "images": len(pair.wrong.names),
                "right_images": len(pair.rightly.names),
                "layer": self.layer,
                "concept": [concept.name for concept in self.labelled.concepts] + unnamed,
                "category": [concept.category for concept in self.labelled.concepts] + unnamed,
                "units": [" ".join(map(str, units)) for units in self.sets],
                "pull": pull.mean,
                "low": pull.low,
                "high": pull.high,
                "p_value": pull.p_value,
                "right_pull": right_pull.mean if len(pair.rightly.names) else np.nan,
                "right_low": right_pull.low,
                "right_high": right_pull.high,
                "repaired": pair.wrong.right.mean(0),
            }
        )
        return table.sort_values("pull", ascending=False, kind="stable")

    def files(self) -> dict[str, str]:
        """What is saved, by file name."""
        return {"confusions.csv": self.table().to_csv(index=False)}
