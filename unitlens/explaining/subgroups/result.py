"""What removing units does to the accuracy of subgroups: what is measured, and its tables."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from unitlens.ablation.random_sets import KINDS, Band
from unitlens.drawing.notebooks import table_html
from unitlens.stats.paired_accuracy import PairedAccuracy, accuracy, paired_accuracy
from unitlens.stats.scores import Bools, Floats, Ints

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = {
    "layer": "the layer's name",
    "kind": "unit: one unit; concept: all detectors of one concept together; set: what was chosen step by "
    "step, a unit or all detectors of a concept beside what was chosen before",
    "rank": "the place among those of its kind, by what they do on the images that choose; of sets: the step",
    "units": "the units that are ablated together, joined by spaces",
    "concept": "of a concept: its name; of units: the concepts of those that are detectors, joined by ;",
    "category": "the category of each",
    "chosen": "whether it is the set that is taken for the answer",
    "subgroup": "the subgroup",
    "worst": "whether it is the one with the lowest accuracy on the images that choose",
    "choosing_effect": "after - before on the images that choose (even folds), for comparison: it is too good",
    "images": "how many images it is measured on (odd folds)",
    "before": "accuracy of the untouched network on them",
    "after": "accuracy with the units ablated",
    "effect": "after - before, on the same images",
    "low": "lower end of the 95 % interval of effect",
    "high": "its upper end",
    "random_mean": "mean effect of sets of as many units that are drawn at random; of the first of each kind, and the "
    "chosen set",
    "random_low": "lower end of the band in which a further such set lies with a probability of 95 %",
    "random_high": "its upper end",
    "random_p": "(1 + how many of them have an effect as large or larger, upwards) / (1 + how many there are)",
    "matched_mean": "the same of sets of other units that hand on about as much",
    "matched_low": "lower end of their band",
    "matched_high": "its upper end",
    "matched_p": "as random_p, of these",
}
"""Name and meaning of every column of ``shortcuts.csv``, in its order."""

ACCURACY_COLUMNS = {
    "subgroup": "the subgroup",
    "class": "the class; * for all",
    "images": "how many images, of both halves",
    "accuracy": "share of them that the untouched network classifies rightly",
    "low": "lower end of its 95 % interval",
    "high": "its upper end",
    "measured_images": "how many of them are of the half that is measured (odd folds)",
    "before": "accuracy of the untouched network on these",
    "after": "accuracy on these without the units of the chosen set",
    "effect": "after - before",
    "effect_low": "lower end of its 95 % interval",
    "effect_high": "its upper end",
}
"""Name and meaning of every column of ``shortcuts.accuracy.csv``, in its order."""

IMAGE_COLUMNS = {
    "image": "the image's name",
    "class": "its class",
    "subgroup": "its subgroup",
    "prediction": "the predicted class",
    "without": "the predicted class without the units of the chosen set",
}
"""Name and meaning of every column of ``shortcuts.images.csv``, in its order: a row an image that is measured."""

EVERY = "*"


class Removal(NamedTuple):
    """Units that are ablated together.

    Attributes
    ----------
    kind : {"unit", "concept", "set"}
    rank : int
        Among those of its kind, from 1.
    units : tuple of int
    concept, category : str
        Of a concept; else those of its detectors, joined.
    """

    kind: str
    rank: int
    units: tuple[int, ...]
    concept: str
    category: str


class MeasuredHalf(NamedTuple):
    """The images of one half, and what is predicted of them under V removals.

    Attributes
    ----------
    names : list of str
    subgroup : int64 array, (N,)
        The number of each image's subgroup.
    truth, before : int64 arrays, (N,)
        The output of its class; the predicted one.
    after : int64 array, (N, V)
        What is predicted under each removal.
    folds : int64 array, (N,)
    """

    names: list[str]
    subgroup: Ints
    truth: Ints
    before: Ints
    after: Ints
    folds: Ints

    @property
    def right(self) -> Bools:
        """Which images the untouched network classifies rightly, (N,)."""
        return np.asarray(self.before == self.truth)

    @property
    def right_after(self) -> Bools:
        """Which are classified rightly under each removal, (N, V)."""
        return np.asarray(self.after == self.truth[:, None])

    def effects(self, subgroups: int, *, grouped: bool) -> PairedAccuracy:
        """Of each removal on each subgroup."""
        return paired_accuracy(self.right, self.right_after, self.subgroup, subgroups, self.folds, grouped=grouped)


class ShownImages(NamedTuple):
    """Some images of the worst subgroup.

    Attributes
    ----------
    images : uint8 array, (M, height, width, 3)
        As the network saw them.
    classes, before, after : list of str
        What they show; the predicted class, and the one without the units of the chosen set.
    """

    images: npt.NDArray[np.uint8]
    classes: list[str]
    before: list[str]
    after: list[str]


@dataclass(frozen=True, eq=False, repr=False)
class Shortcuts:
    """Which units keep a network from being right where it is worst, and what their removal costs elsewhere.

    Attributes
    ----------
    info : dict
        Where they come from.
    layer : str
    classes : tuple of str
        What each output is called, (K,).
    subgroups : tuple of str
        The subgroups, (S,).
    worst : int
        The one with the lowest accuracy on the images that choose.
    removals : tuple of Removal, V
    chosen : int
        The set that is taken for the answer: its place among the removals.
    choosing, measured : MeasuredHalf
        The images of even folds, with what was chosen; those of odd folds.
    drawn : mapping of (int, str) to float64 array, (D, S)
        For some removals and each kind of drawn sets ("random", "matched"): effects of the sets on the subgroups.
    grouped : bool
        Whether images belong together.
    shown : ShownImages
    """

    info: Mapping[str, Any]
    layer: str
    classes: tuple[str, ...]
    subgroups: tuple[str, ...]
    worst: int
    removals: tuple[Removal, ...]
    chosen: int
    choosing: MeasuredHalf
    measured: MeasuredHalf
    drawn: Mapping[tuple[int, str], Floats]
    grouped: bool
    shown: ShownImages

    def __repr__(self) -> str:
        removal, effects = self.removals[self.chosen], self.effects
        before, after = effects.before[self.worst], effects.after[self.chosen, self.worst]
        units = "unit" if len(removal.units) == 1 else "units"
        return (
            f"<Shortcuts: {self.subgroups[self.worst]} {before:.1%} right; without {units} "
            f"{', '.join(map(str, removal.units))} {after:.1%}>"
        )

    def _repr_html_(self) -> str:
        return table_html(repr(self), self.table())

    @property
    def units(self) -> tuple[int, ...]:
        """The units of the chosen set, as `unitlens.without` takes them."""
        return self.removals[self.chosen].units

    @cached_property
    def effects(self) -> PairedAccuracy:
        """Of each removal on each subgroup, on the images that are measured: (V, S)."""
        return self.measured.effects(len(self.subgroups), grouped=self.grouped)

    def table(self) -> "pd.DataFrame":
        """A row a removal and subgroup, with the columns of `COLUMNS`."""
        import pandas as pd

        choosing = self.choosing.effects(len(self.subgroups), grouped=self.grouped).effect
        rows = []
        for place, removal in enumerate(self.removals):
            units = " ".join(map(str, removal.units))
            of_removal = removal._asdict() | {"layer": self.layer, "units": units, "chosen": place == self.chosen}
            for number, subgroup in enumerate(self.subgroups):
                of_subgroup = {"subgroup": subgroup, "worst": number == self.worst}
                of_subgroup["choosing_effect"] = choosing[place, number]
                rows.append(of_removal | of_subgroup | self._effect(place, number) | self._beside(place, number))
        return pd.DataFrame(rows, columns=list(COLUMNS))

    def accuracy(self) -> "pd.DataFrame":
        """A row a subgroup, and a subgroup and class, with the columns of `ACCURACY_COLUMNS`."""
        import pandas as pd

        truth = np.concatenate([half.truth for half in (self.choosing, self.measured)])
        subgroup = np.concatenate([half.subgroup for half in (self.choosing, self.measured)])
        count = len(self.classes)
        cells = np.unique(subgroup * count + truth)
        parts = [self._accuracy(lambda half: half.subgroup, len(self.subgroups), [EVERY] * len(self.subgroups))]
        parts.append(
            self._accuracy(
                lambda half: np.searchsorted(cells, half.subgroup * count + half.truth),
                len(cells),
                [self.classes[cell % count] for cell in cells],
                [self.subgroups[cell // count] for cell in cells],
            )
        )
        return pd.concat(parts, ignore_index=True)[list(ACCURACY_COLUMNS)]

    def images(self) -> "pd.DataFrame":
        """A row an image that is measured, with the columns of `IMAGE_COLUMNS`."""
        import pandas as pd

        half, names = self.measured, np.array(self.classes, dtype=object)
        columns = {
            "image": half.names,
            "class": names[half.truth],
            "subgroup": np.array(self.subgroups, dtype=object)[half.subgroup],
            "prediction": names[half.before],
            "without": names[half.after[:, self.chosen]],
        }
        return pd.DataFrame(columns, columns=list(IMAGE_COLUMNS))

    def files(self) -> dict[str, str]:
        """What is saved, by file name."""
        tables = {
            "shortcuts.csv": self.table(),
            "shortcuts.accuracy.csv": self.accuracy(),
            "shortcuts.images.csv": self.images(),
        }
        return {name: table.to_csv(index=False) for name, table in tables.items()}

    def _effect(self, place: int, number: int) -> dict[str, Any]:
        effects = self.effects
        row = {name: getattr(effects, name)[place, number] for name in ("after", "effect", "low", "high")}
        return {"images": effects.images[number], "before": effects.before[number]} | row

    def _beside(self, place: int, number: int) -> dict[str, float]:
        """Where the effects of drawn sets lie; nothing where none were drawn."""
        row: dict[str, float] = {}
        for kind in KINDS:
            effects = self.drawn.get((place, kind))
            if effects is not None:
                band, effect = Band.of(effects[:, number]), self.effects.effect[place, number]
                as_large = int((effects[:, number] >= effect - 1e-12).sum())
                row |= {f"{kind}_{name}": value for name, value in band._asdict().items() if name != "holds"}
                row[f"{kind}_p"] = (1 + as_large) / (1 + len(effects))
        return row

    def _accuracy(
        self, kind_of: Any, kinds: int, classes: list[str], subgroups: list[str] | None = None
    ) -> "pd.DataFrame":
        import pandas as pd

        halves = (self.choosing, self.measured)
        kind, right, folds = (
            np.concatenate([of(half) for half in halves])
            for of in (kind_of, lambda half: half.right, lambda half: half.folds)
        )
        whole = accuracy(right, kind, kinds, folds, grouped=self.grouped)
        half = self.measured
        after = half.right_after[:, [self.chosen]]
        effects = paired_accuracy(half.right, after, kind_of(half), kinds, half.folds, grouped=self.grouped)
        columns = {
            "subgroup": self.subgroups if subgroups is None else subgroups,
            "class": classes,
            "images": whole.images,
            "accuracy": whole.share,
            "low": whole.low,
            "high": whole.high,
            "measured_images": effects.images,
            "before": effects.before,
            "after": effects.after[0],
            "effect": effects.effect[0],
            "effect_low": effects.low[0],
            "effect_high": effects.high[0],
        }
        return pd.DataFrame(columns)
