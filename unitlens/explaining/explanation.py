"""Why the network said what it said of some images: the values that are measured, and the tables they make."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from unitlens.ablation.agreement import compare_ranks
from unitlens.drawing.notebooks import table_html
from unitlens.errors import UnitlensError, did_you_mean
from unitlens.explaining.labelled_units import LabelledUnits
from unitlens.explaining.sentences import sentence
from unitlens.plurals import counted
from unitlens.stats.scores import Floats, Ints

if TYPE_CHECKING:
    import pandas as pd

ATTRIBUTED = ("activation_x_gradient", "conductance", "internal_influence")
"""Attributions that have a column in ``explanation.csv``: those of `unitlens.ablation.attribution.METHODS`."""

COLUMNS = {
    "image": "the image's name, or its file",
    "class": "the class whose logit and probability are followed: the predicted one, unless another was named",
    "layer": "the layer's name",
    "unit": "the unit's number in it, from 0",
    "concept": "the concept that the dissection gave it, as in units.csv; empty where there is none",
    "category": "the concept's category",
    "verdict": "of the dissection, as in units.csv",
    "logit_effect": "logit of the class with the unit alone ablated - without: below 0, the unit speaks for the class",
    "probability_effect": "the same of the softmax of the class, in [-1, 1]",
    "prediction": "the predicted class with the unit ablated",
    "area": "share of the label grid on which the unit is above its threshold",
    "peak": "the unit's largest activation in the image",
    "threshold": "the activation above which the unit is active, of the dissection",
    **dict.fromkeys(
        ATTRIBUTED,
        "captum's attribution of the class's logit to the unit, summed over positions; empty where not asked for",
    ),
}
"""Name and meaning of every column of ``explanation.csv``, in its order."""

CONCEPT_COLUMNS = {
    "image": "the image's name, or its file",
    "class": "the class whose logit and probability are followed",
    "layer": "the layer's name",
    "concept": "the concept; all units of which it is the concept, and whose verdict is detector, are ablated together",
    "category": "the concept's category",
    "units": "these units, joined by spaces",
    "logit_effect": "logit of the class with them ablated - without",
    "probability_effect": "the same of the softmax of the class",
    "prediction": "the predicted class with them ablated",
    "area": "share of the label grid on which any of them is above its threshold",
}
"""Name and meaning of every column of ``explanation.concepts.csv``, in its order."""

SET_COLUMNS = {
    "image": "the image's name, or its file",
    "class": "the class whose logit and probability are followed",
    "layer": "the layer's name",
    "set": "top: the units that cost the class most, each alone; named: those of the sentence; smallest: the smallest "
    "set that was found to change the prediction",
    "size": "how many units",
    "units": "these units, joined by spaces",
    "logit_effect": "logit of the class with them ablated together - without",
    "probability_effect": "the same of the softmax of the class",
    "prediction": "the predicted class with them ablated",
    "exhausted": "of smallest: no set of so many units, or fewer, changes the prediction, as all were tried",
}
"""Name and meaning of every column of ``explanation.sets.csv``, in its order."""

AGREEMENT_COLUMNS = {
    "image": "the image's name, or its file",
    "class": "the class whose output is attributed",
    "layer": "the layer's name",
    "method": "activation_x_gradient, conductance or internal_influence, by captum",
    "spearman": "rank correlation, over units, of the attribution and what removing the unit costs the class's logit",
    "overlap": "share of the most important units by the one that are among the most important by the other",
    "top": "how many units those are",
    "chance": "the overlap of units drawn at random",
}
"""Name and meaning of every column of ``explanation.attributions.csv``, in its order."""

TOP = 10
"""So many units are ablated together, the first, the first two, ..., and are shown."""


class Answer(NamedTuple):
    """What the network says of an image under an intervention, of the class that is followed.

    Attributes
    ----------
    logit, probability : float
        The class's output, and its softmax.
    prediction : int
        The class of the largest output.
    """

    logit: float
    probability: float
    prediction: int


class AblatedSet(NamedTuple):
    """A set of units, and what the network says with all of them ablated.

    Attributes
    ----------
    units : tuple of int
    answer : Answer
    """

    units: tuple[int, ...]
    answer: Answer


class SmallestSet(NamedTuple):
    """The smallest set that was found to change the prediction.

    Attributes
    ----------
    found : AblatedSet or None
        None where none of at most ``most`` units was found.
    exhausted : int
        No set of so many units, or fewer, changes the prediction: all were tried. At 0, a single unit may do.
    most : int
        Sets of so many units at most were looked for.
    """

    found: AblatedSet | None
    exhausted: int
    most: int

    @property
    def certain(self) -> bool:
        """Whether no smaller set does it."""
        return self.found is not None and self.exhausted == len(self.found.units) - 1


class UnitAnswers(NamedTuple):
    """What the network says with each unit alone ablated, each (U,)."""

    logit: Floats
    probability: Floats
    prediction: Ints


@dataclass(frozen=True, eq=False, repr=False)
class Explanation:
    """Why the network said what it said of one image.

    Attributes
    ----------
    image : str
        Its name, or its file.
    pixels : uint8 array, (height, width, 3)
        What the network saw of it.
    class_of : str or None
        Its own class, where the data say it.
    explained : int
        The output that is followed.
    before : Answer
        Of the untouched network.
    units : UnitAnswers
        With each unit alone ablated.
    area, peak : float64 arrays, (U,)
        Share of the label grid on which each unit is above its threshold; its largest activation.
    maps : float32 array, (U, h, w)
        The layer's activations.
    concepts : tuple of AblatedSet
        The units of each concept together, in the order of `LabelledUnits.concepts`.
    concept_area : float64 array
        Share of the label grid on which any unit of each concept is above its threshold.
    together : tuple of AblatedSet
        The first unit of `ranked`, the first two, ...
    named : AblatedSet or None
        The units that the sentence names; None where none speaks for the class.
    smallest : SmallestSet
    attributions : mapping of str to float64 array, (U,)
        By captum's methods.
    """

    image: str
    pixels: npt.NDArray[np.uint8]
    class_of: str | None
    explained: int
    before: Answer
    units: UnitAnswers
    area: Floats
    peak: Floats
    maps: npt.NDArray[np.float32]
    concepts: tuple[AblatedSet, ...]
    concept_area: Floats
    together: tuple[AblatedSet, ...]
    named: AblatedSet | None
    smallest: SmallestSet
    attributions: Mapping[str, Floats]

    @property
    def logit_effect(self) -> Floats:
        """Logit of the class with each unit alone ablated, less that without, (U,)."""
        return self.units.logit - self.before.logit

    @property
    def probability_effect(self) -> Floats:
        """The same of its softmax, (U,)."""
        return self.units.probability - self.before.probability

    @property
    def ranked(self) -> list[int]:
        """All units, the one first whose removal costs the class's logit most."""
        order: list[int] = np.argsort(self.logit_effect, kind="stable").tolist()
        return order


@dataclass(frozen=True, eq=False, repr=False)
class Explanations:
    """Why the network said what it said of some images. ``explanations[0]`` is the first.

    Attributes
    ----------
    info : dict
        Where they come from: network, data, dissection, settings, versions, warnings.
    layer : str
    classes : tuple of str
        What each output is called, (K,).
    labelled : LabelledUnits
        What the dissection says of each unit.
    images : tuple of Explanation
    """

    info: Mapping[str, Any]
    layer: str
    classes: tuple[str, ...]
    labelled: LabelledUnits
    images: tuple[Explanation, ...]

    def __len__(self) -> int:
        return len(self.images)

    def __iter__(self) -> Iterator[Explanation]:
        return iter(self.images)

    def __getitem__(self, image: int | str) -> Explanation:
        """The explanation of an image, by its place or its name."""
        if isinstance(image, int):
            return self.images[image]
        names = [one.image for one in self.images]
        if image not in names:
            listed = ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")
            raise UnitlensError(f"The image {image} was not explained{did_you_mean(image, names)}, but {listed}.")
        return self.images[names.index(image)]

    def __repr__(self) -> str:
        images = counted(len(self), "image")
        return f"<Explanations of {images}; {self.layer}>"

    def _repr_html_(self) -> str:
        return table_html(repr(self), self.table())

    def table(self) -> "pd.DataFrame":
        """A row an image and unit, that which speaks most for the class first, with the columns of `COLUMNS`."""
        import pandas as pd

        tables = []
        for one in self.images:
            order = one.ranked
            effects: dict[str, Any] = {
                "logit_effect": one.logit_effect,
                "probability_effect": one.probability_effect,
                "prediction": np.array(self.classes, dtype=object)[one.units.prediction],
                "area": one.area,
                "peak": one.peak,
                **dict.fromkeys(ATTRIBUTED, np.nan),
                **one.attributions,
            }
            table = self.labelled.table.assign(image=one.image, **{"class": self.classes[one.explained]}, **effects)
            tables.append(table.iloc[order])
        empty = pd.DataFrame(columns=list(COLUMNS))
        return pd.concat(tables, ignore_index=True)[list(COLUMNS)] if tables else empty

    def sentences(self) -> dict[str, str]:
        """Say of each image, by its name, why the network gave it its class: every clause with its number."""
        return {one.image: sentence(one, self.labelled, self.classes) for one in self.images}

    def concepts(self) -> "pd.DataFrame":
        """A row an image and concept, that which speaks most for the class first: `CONCEPT_COLUMNS`."""
        rows = []
        for one in self.images:
            pairs = zip(self.labelled.concepts, one.concepts, one.concept_area, strict=True)
            for concept, ablated, area in sorted(pairs, key=lambda pair: pair[1].answer.logit):
                named = {"concept": concept.name, "category": concept.category}
                rows.append(self._row(one, ablated) | named | {"area": float(area)})
        return _frame(rows, CONCEPT_COLUMNS)

    def sets(self) -> "pd.DataFrame":
        """A row an image and set of units that were ablated together: `SET_COLUMNS`."""
        rows = []
        for one in self.images:
            rows += [{"set": "top", "exhausted": None} | self._row(one, ablated) for ablated in one.together]
            if one.named is not None:
                rows.append({"set": "named", "exhausted": None} | self._row(one, one.named))
            if one.smallest.found is not None:
                exhausted = {"set": "smallest", "exhausted": one.smallest.exhausted}
                rows.append(exhausted | self._row(one, one.smallest.found))
        return _frame(rows, SET_COLUMNS).astype({"exhausted": "Int64"})

    def agreement(self) -> "pd.DataFrame":
        """How well captum's attributions agree with what removing units costs, image by image: `AGREEMENT_COLUMNS`."""
        rows = []
        for one in self.images:
            for method, attributed in one.attributions.items():
                top = max(1, min(TOP, len(attributed) // 4))
                ranks = compare_ranks(attributed, -one.logit_effect, top=top)
                rows.append(self._place(one) | {"method": method} | ranks._asdict())
        return _frame(rows, AGREEMENT_COLUMNS)

    def files(self) -> dict[str, str]:
        """What is saved, by file name."""
        tables = {
            "explanation.csv": self.table(),
            "explanation.concepts.csv": self.concepts(),
            "explanation.sets.csv": self.sets(),
            "explanation.attributions.csv": self.agreement(),
        }
        return {name: table.to_csv(index=False) for name, table in tables.items()}

    def _place(self, one: Explanation) -> dict[str, Any]:
        return {"image": one.image, "class": self.classes[one.explained], "layer": self.layer}

    def _row(self, one: Explanation, ablated: AblatedSet) -> dict[str, Any]:
        answer = ablated.answer
        return self._place(one) | {
            "size": len(ablated.units),
            "units": " ".join(map(str, ablated.units)),
            "logit_effect": answer.logit - one.before.logit,
            "probability_effect": answer.probability - one.before.probability,
            "prediction": self.classes[answer.prediction],
        }


def _frame(rows: Sequence[Mapping[str, Any]], columns: Mapping[str, str]) -> "pd.DataFrame":
    import pandas as pd

    return pd.DataFrame(list(rows), columns=list(columns))
