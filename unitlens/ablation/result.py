"""The results of measuring effects: every unit alone, one set of units, and a curve of growing sets."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, Self, SupportsIndex, overload

import numpy as np

from unitlens.ablation.estimates import Estimate
from unitlens.ablation.measurement import EffectSettings, Measurement
from unitlens.ablation.random_sets import Band, random_set_rows
from unitlens.ablation.table import UnitSet, joined
from unitlens.drawing.notebooks import table_html
from unitlens.errors import UnitlensError
from unitlens.plurals import counted
from unitlens.stats.folds import Folds
from unitlens.stats.scores import Floats
from unitlens.tables.labelled import units_frame

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


class Ranking(tuple[int, ...]):
    """Units in the order of their importance, with the images they were ranked on; slices, ``[:n]``, keep these.

    Attributes
    ----------
    class_ : str
        The class whose measure they were ranked by.
    folds : {"all", "even", "odd"}
        The images that ranked them. Measured on the same images, the first look better than they are: they were
        selected on them.
    """

    class_: str
    folds: Folds

    def __new__(cls, units: Iterable[int], *, class_: str, folds: Folds) -> Self:
        """Make one from units, most important first."""
        made = super().__new__(cls, units)
        made.class_, made.folds = class_, folds
        return made

    @overload
    def __getitem__(self, index: SupportsIndex) -> int: ...
    @overload
    def __getitem__(self, index: slice) -> "Ranking": ...
    def __getitem__(self, index: SupportsIndex | slice) -> "int | Ranking":
        units = super().__getitem__(index)
        return Ranking(units, class_=self.class_, folds=self.folds) if isinstance(units, tuple) else units


@dataclass(frozen=True, eq=False, repr=False)
class UnitEffects:
    """The effect of ablating each unit of a layer alone on a classifier's predictions: units x classes.

    An effect is after - before, on the same images. Made by `unitlens.importance`.

    Attributes
    ----------
    measured : Measurement
        The counts; set u is unit u.
    """

    measured: Measurement

    @property
    def layer(self) -> str:
        """The layer's name."""
        return self.measured.layer

    @property
    def units(self) -> int:
        """How many units the layer has."""
        return len(self.measured.sets)

    @property
    def classes(self) -> tuple[str, ...]:
        """Classes that have images, in the order of the outputs: the columns of `effect`."""
        return self.measured.classes

    @property
    def peaks(self) -> Floats:
        """Mean over the images of each unit's largest activation, (U,)."""
        return self.measured.peaks

    @property
    def settings(self) -> EffectSettings:
        """How it was measured."""
        return self.measured.settings

    @property
    def info(self) -> Mapping[str, Any]:
        """Where it comes from: network, data, how it was computed, versions, timings, warnings."""
        return self.measured.info

    def table(self) -> "pd.DataFrame":
        """A row a unit, class and measure, with the columns of `unitlens.ablation.table.COLUMNS`."""
        return self.measured.table()

    def effect(self, measure: str = "balanced_accuracy", *, folds: Folds | None = None) -> Floats:
        """Effects on a measure, (U, classes).

        Parameters
        ----------
        measure : str
        folds : {"all", "even", "odd"}, optional
            Of the images of these folds alone.
        """
        return self.estimate(measure, folds=folds).effect

    def frame(self, measure: str = "balanced_accuracy", *, folds: Folds | None = None) -> "pd.DataFrame":
        """The same with their names: rows are units, columns classes."""
        return units_frame(self.effect(measure, folds=folds), self.classes, of="class")

    def estimate(self, measure: str = "balanced_accuracy", *, folds: Folds | None = None) -> Estimate:
        """Before, after, effect, interval and p-value, each (U, classes)."""
        return self.measured.estimate(measure, folds=folds)

    def overall(self, measure: str = "accuracy", *, folds: Folds | None = None) -> Estimate:
        """The same over all classes together, each (U,)."""
        return self.measured.overall(measure, folds=folds)

    def show(self, measure: str = "logit", *, ax: "Axes | None" = None) -> "Figure":
        """Draw a map of the effects on a measure, classes x units, in axes that are given, or in a new figure.

        Units stand in the order of the class that they lower most; red is a loss, blue a gain.
        """
        from unitlens.drawing.effects import effect_map

        return effect_map(self.effect(measure), self.classes, what=measure.replace("_", " "), ax=ax)

    def most_important(
        self,
        class_: str | int,
        n: int | None = None,
        *,
        measure: str = "balanced_accuracy",
        folds: Folds = "even",
        least: bool = False,
    ) -> Ranking:
        """Units whose ablation lowers a class most, largest effect first.

        Parameters
        ----------
        class_ : str or int
            Its name, or the number of its output.
        n : int, optional
            How many; all.
        measure : str
            By what; where it is the same, by the logit of the class's own images, then by number.
        folds : {"even", "odd", "all"}
            The images that rank. A choice is measured on others: `unitlens.ablate` does so for what is ranked on even
            or odd folds, and marks what is ranked on all.
        least : bool
            The other way around.

        Returns
        -------
        Ranking

        Raises
        ------
        UnitlensError
            If there is no such class, it has no images, or the measure is undefined for it.
        """
        name = self.measured.outputs.names[self.measured.outputs.output(class_)]
        if name not in self.classes:
            raise UnitlensError(f"The class {name} has no images in the data, so that nothing can be ranked by it.")
        column = self.classes.index(name)
        keys = [self.effect(by, folds=folds)[:, column] for by in (measure, "logit")]
        if np.isnan(keys[0]).any():
            raise UnitlensError(self._undefined(name, measure, folds))
        order = np.lexsort([np.arange(self.units), *([-k if least else k for k in reversed(keys)])])
        return Ranking(map(int, order[:n]), class_=name, folds=folds)

    def _undefined(self, name: str, measure: str, folds: Folds) -> str:
        """Why the effect on a measure of a class is not defined, and what to do."""
        images = self.measured.counted(folds).images
        of_class, where = (
            int(images[self.measured.outputs.output(name)]),
            "" if folds == "all" else f" of the {folds} folds",
        )
        if of_class == 0:
            return f"The class {name} has no images{where} to rank by: use more images."
        if of_class == int(images.sum()):
            return (
                f"All {of_class} images{where} are of the class {name}, and {measure.replace('_', ' ')} is not defined "
                "with one class: use images of other classes too, or rank by another measure, such as recall or logit."
            )
        return f"The effect on {measure.replace('_', ' ')} of {name} is not defined for every unit: rank by another."

    def __repr__(self) -> str:
        return f"<UnitEffects of {counted(self.units, 'unit')}, each alone, {_of(self.measured)}>"

    def _repr_html_(self) -> str:
        return _first_rows(repr(self), self.table())


@dataclass(frozen=True, eq=False, repr=False)
class SetEffects:
    """The effect of ablating a set of units together on a classifier's predictions, beside sets that are drawn.

    An effect is after - before, on the same images. Made by `unitlens.ablate`.

    Attributes
    ----------
    measured : Measurement
        The counts of the one set.
    drawn : mapping of str to Measurement
        What it is compared with: "random", sets of as many units drawn at random, and "matched", of other units that
        hand on about as much. Measured on the same images; empty where none were drawn.
    """

    measured: Measurement
    drawn: Mapping[str, Measurement] = field(default_factory=dict)

    @property
    def layer(self) -> str:
        """The layer's name; several joined by ;."""
        return self.measured.layer

    @property
    def units(self) -> UnitSet:
        """The units that are ablated; of several layers, a `LayerUnit` each."""
        return self.measured.sets[0]

    @property
    def classes(self) -> tuple[str, ...]:
        """Classes that have images, in the order of the outputs: the entries of `effect`."""
        return self.measured.classes

    @property
    def settings(self) -> EffectSettings:
        """How it was measured, such as on which folds."""
        return self.measured.settings

    @property
    def info(self) -> Mapping[str, Any]:
        """Where it comes from: network, data, how it was computed, versions, timings, warnings."""
        return self.measured.info

    def table(self) -> "pd.DataFrame":
        """A row a class and measure, with the columns of `unitlens.ablation.table.COLUMNS`."""
        return self.measured.table()

    def random_sets(self) -> "pd.DataFrame":
        """The set beside those drawn: a row a kind, measure and class, with the columns of `random_sets.COLUMNS`."""
        of_set, drawn = self.measured.counted(), {kind: sets.counted() for kind, sets in self.drawn.items()}
        names, measures = self.measured.outputs.names, self.settings.measures
        return random_set_rows(self.layer, joined(self.units), of_set, drawn, names, measures)

    def effect(self, measure: str = "balanced_accuracy") -> Floats:
        """Effects on a measure, (classes,)."""
        return self.estimate(measure).effect

    def estimate(self, measure: str = "balanced_accuracy") -> Estimate:
        """Before, after, effect, interval and p-value, each (classes,)."""
        return self.measured.estimate(measure).row(0)

    def overall(self, measure: str = "accuracy") -> Estimate:
        """The same over all classes together, each a number."""
        return self.measured.overall(measure).row(0)

    def describe_drawn(self, kind: str) -> str:
        """How sets of a kind were drawn, in words."""
        return "drawn at random" if kind == "random" else f"matched in {self.settings.matched_in or 'activation'}"

    def remarks(self) -> str:
        """What to know of it: what it is beside, and which images chose it; empty, or behind a semicolon."""
        drawn = [f"{len(sets.sets)} {self.describe_drawn(kind)}" for kind, sets in self.drawn.items()]
        beside = f"; beside sets of the same size: {' and '.join(drawn)}" if drawn else ""
        ranked, folds = self.settings.ranked, self.settings.folds
        if ranked is None:
            return beside
        if ranked != folds and "all" not in (ranked, folds):
            return f"{beside}; ranked on the {ranked} folds, measured on the {folds}"
        return f"{beside}; measured on the images that ranked it: top-ranked units look better, as they were selected"

    def __repr__(self) -> str:
        units = counted(len(self.units), "unit")
        return f"<SetEffects of {units} together, {_of(self.measured)}{self.remarks()}>"

    def _repr_html_(self) -> str:
        return _first_rows(repr(self), self.table())


class Member(NamedTuple):
    """What a set of a curve is: its kind, the number of units chosen, and the number of the draw."""

    kind: str
    k: int
    draw: int


@dataclass(frozen=True, eq=False, repr=False)
class Curve:
    """What is left of a class as more and more units are ablated. Made by `unitlens.ablation_curve`.

    Attributes
    ----------
    class_ : str
        Its name.
    members : tuple of Member, S
        What each set is.
    measured : Measurement
        The counts of the S sets; on the odd folds, as units were ranked on the even ones.
    ranking : UnitEffects
        Of every unit alone, on all images.
    """

    class_: str
    members: tuple[Member, ...]
    measured: Measurement
    ranking: UnitEffects

    @property
    def settings(self) -> EffectSettings:
        """How it was measured."""
        return self.measured.settings

    @property
    def info(self) -> Mapping[str, Any]:
        """Where it comes from: network, data, how it was computed, versions, timings, warnings."""
        return self.measured.info

    @property
    def sizes(self) -> tuple[int, ...]:
        """How many units were chosen, rising."""
        return tuple(sorted({member.k for member in self.members}))

    def table(self) -> "pd.DataFrame":
        """A row a set: kind, k, draw; the class's balanced accuracy and recall, and the accuracy over all classes.

        Each measure has four columns: after (under its own name), ``_effect``, ``_low`` and ``_high``, the last two the
        95 % interval of the effect.
        """
        import pandas as pd

        column = self.measured.classes.index(self.class_)
        columns: dict[str, Any] = {name: [getattr(m, name) for m in self.members] for name in Member._fields}
        estimates = {name: self.measured.estimate(name).columns([column]) for name in ("balanced_accuracy", "recall")}
        for name, one in {**estimates, "accuracy": self.measured.overall()}.items():
            columns[name] = one.after.ravel()
            columns |= {f"{name}_{part}": getattr(one, part).ravel() for part in ("effect", "low", "high")}
        columns["units"] = [joined(units) for units in self.measured.sets]
        return pd.DataFrame(columns)

    def chosen(self, kind: str, k: int) -> SetEffects:
        """The effects of the set of one kind and size, beside those that were drawn of that size."""
        drawn = {"most": ("random", "matched"), "least": ("random",)}.get(kind, ())
        beside = {name: self.sets(name, k) for name in drawn}
        return SetEffects(self.sets(kind, k), {name: sets for name, sets in beside.items() if sets.sets})

    def sets(self, kind: str, k: int | None = None) -> Measurement:
        """The counts of all sets of one kind; or of one kind and size."""
        return self.measured.only(
            index for index, member in enumerate(self.members) if member.kind == kind and k in (None, member.k)
        )

    def untouched(self) -> dict[str, float]:
        """Balanced accuracy and recall of the class, and accuracy over all, without an ablation."""
        column = self.measured.classes.index(self.class_)
        measures = ("balanced_accuracy", "recall")
        before = {name: float(self.measured.estimate(name).before[0, column]) for name in measures}
        return {**before, "accuracy": float(self.measured.overall().before[0])}

    def band(self, kind: str = "random", measure: str = "balanced_accuracy") -> "pd.DataFrame":
        """Mean and band over the draws of a kind: a row for each k, with ``low``, ``high`` and what the band holds."""
        import pandas as pd

        by_size = self.table().query("kind == @kind").groupby("k")[measure]
        rows = [{"k": k, **Band.of(values.to_numpy())._asdict()} for k, values in by_size]
        return pd.DataFrame(rows, columns=["k", *Band._fields])

    def show(self, measure: str = "balanced_accuracy", *, ax: "Axes | None" = None) -> "Figure":
        """Draw a measure against the number of units ablated, in axes that are given, or in a new figure."""
        from unitlens.drawing.effects import curve_figure

        bands = {kind: self.band(kind, measure) for kind in dict.fromkeys(member.kind for member in self.members)}
        before = self.untouched()[measure]
        return curve_figure(bands, before, title=self.class_, measure=measure.replace("_", " "), ax=ax)

    def paper_table(self, few: int = 4) -> "pd.DataFrame":
        """The table of Bau et al., PNAS 2020: unchanged, few ablated, k ablated, only these kept, random units ablated.

        Columns ``what``, ``balanced_accuracy`` of the class, and ``accuracy`` over all classes.
        """
        import pandas as pd

        table, k, measures = self.table(), max(self.sizes), ["balanced_accuracy", "accuracy"]
        wanted = [("most", few, f"{few} most important units ablated")] if few != k else []
        wanted += [
            ("most", k, f"{k} most important units ablated"),
            ("kept", k, f"only these {k} kept, {self.ranking.units - k} ablated"),
            ("least", k, f"{k} least important units ablated"),
            ("random", k, f"{k} random units ablated, mean of {{}} draws"),
            ("matched", k, f"{k} matched units ablated, mean of {{}} draws"),
        ]
        means = {"unchanged": pd.Series(self.untouched())}
        for kind, size, what in wanted:
            of_size = table[(table["kind"] == kind) & (table["k"] == size)]
            if len(of_size):
                means[what.format(len(of_size))] = of_size[measures].mean()
        rows = [{"what": what, **{m: float(row[m]) for m in measures}} for what, row in means.items()]
        chance = {"what": "chance", "balanced_accuracy": 0.5, "accuracy": 1 / len(self.measured.outputs.names)}
        return pd.DataFrame([*rows, chance])

    def __repr__(self) -> str:
        sets = counted(len(self.members), "set")
        return f"<Curve of {self.class_}: {sets}; ranked on the even folds, measured on the odd>"


def _of(measured: Measurement) -> str:
    """What was measured, in words."""
    return (
        f"of {measured.layer} of {measured.info['network']['name']}, {measured.settings.ablation}: "
        f"{counted(len(measured.classes), 'class', 'classes')}, {counted(measured.images, 'image')}"
    )


def _first_rows(head: str, table: "pd.DataFrame") -> str:
    """The rows with the largest effects, as HTML."""
    order = table["effect"].abs().sort_values(ascending=False, kind="stable").index
    return table_html(head, table.reindex(order))
