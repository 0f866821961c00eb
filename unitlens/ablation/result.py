"""The result of a measurement of effects, to compute with and to look at."""

import html
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self, SupportsIndex, overload

import numpy as np

from unitlens.ablation.estimates import Estimate, estimate, estimate_overall
from unitlens.ablation.random_sets import random_set_rows
from unitlens.ablation.table import LayerUnit, effect_rows, joined
from unitlens.ablation.tallies import Counted, Folds, Tally
from unitlens.data.classes import Classes
from unitlens.errors import UnitlensError
from unitlens.stats.scores import Floats

if TYPE_CHECKING:
    import pandas as pd


class Ranking(tuple[int, ...]):
    """Units in the order of their importance, which know what they were ranked on; the first of them, ``[:n]``, too.

    Attributes
    ----------
    class_ : str
        The class whose measure they were ranked by.
    folds : {"all", "even", "odd"}
        The images that ranked them. What is measured on the same images flatters the choice.
    """

    class_: str
    folds: Folds

    def __new__(cls, units: Iterable[int], *, class_: str, folds: Folds) -> Self:
        """Make one from units, most important first."""
        made = super().__new__(cls, units)
        made.class_, made.folds = class_, folds
        return made

    @overload
    def __getitem__(self, place: SupportsIndex) -> int: ...
    @overload
    def __getitem__(self, place: slice) -> "Ranking": ...
    def __getitem__(self, place: SupportsIndex | slice) -> "int | Ranking":
        some = super().__getitem__(place)
        return Ranking(some, class_=self.class_, folds=self.folds) if isinstance(some, tuple) else some


@dataclass(frozen=True, eq=False, repr=False)
class Effects:
    """What holding units does to the calls of a classifier: effect = after - before, on the same images.

    Attributes
    ----------
    info : dict
        Where it comes from: network, data, settings, how it was computed, versions, timings.
    sets : tuple of tuple of int, S
        Units that are held together: for `importance` each unit alone. Of several layers, each is a `LayerUnit`.
    tally : Tally
        The counts.
    class_join : Classes
        Which output is which class.
    peaks : float64 array, (U,)
        Mean over the images of each unit's largest activation; of several layers, one after the other.
    drawn : mapping of str to Effects
        What a single set is set beside: "random", sets of as many units drawn at random, and "matched", of other units
        that are about as active. Measured on the same images; empty where none were drawn.
    """

    info: dict[str, Any]
    sets: tuple[tuple[int | LayerUnit, ...], ...]
    tally: Tally
    class_join: Classes
    peaks: Floats
    drawn: Mapping[str, "Effects"] = field(default_factory=dict)

    @property
    def layer(self) -> str:
        """The layer's name; several joined by ;."""
        return str(self.info["settings"]["layer"])

    @property
    def single(self) -> bool:
        """Whether every set is one unit, and every unit of the layer is there."""
        return self.sets == tuple((unit,) for unit in range(int(self.info["units"])))

    @property
    def measures(self) -> tuple[str, ...]:
        """What is measured of every class."""
        return tuple(self.info["settings"]["measures"])

    @property
    def folds(self) -> Folds:
        """The images that it was measured on: all, or those of even or odd folds."""
        folds: Folds = self.info["settings"]["folds"]
        return folds

    @property
    def classes(self) -> tuple[str, ...]:
        """Classes that have images, in the order of the outputs: the columns of `effect`."""
        return tuple(self.class_join.names[k] for k in self._seen())

    def table(self) -> "pd.DataFrame":
        """A row a set of units, class and measure, with the columns of `unitlens.ablation.table.COLUMNS`."""
        return effect_rows(self.layer, self.sets, self._counted(), self.class_join.names, self.measures)

    def random_sets(self) -> "pd.DataFrame":
        """The set beside those drawn: a row a kind, measure and class, with the columns of `random_sets.COLUMNS`."""
        drawn = {kind: effects._counted() for kind, effects in self.drawn.items()}
        units = joined(self.sets[0]) if self.sets else ""
        return random_set_rows(self.layer, units, self._counted(), drawn, self.class_join.names, self.measures)

    def effect(self, measure: str = "balanced_accuracy", *, folds: Folds | None = None) -> Floats:
        """Effects on a measure, (S, classes).

        Parameters
        ----------
        measure : str
        folds : {"all", "even", "odd"}, optional
            Of the images of these folds alone.
        """
        return self.estimate(measure, folds=folds).effect

    def estimate(self, measure: str = "balanced_accuracy", *, folds: Folds | None = None) -> Estimate:
        """Before, after, effect, interval and p-value, each (S, classes)."""
        return estimate(self._counted(folds), measure).columns(self._seen())

    def overall(self, measure: str = "accuracy", *, folds: Folds | None = None) -> Estimate:
        """The same over all classes together, each (S,)."""
        return estimate_overall(self._counted(folds), measure)

    def most_important(
        self,
        class_: str | int,
        n: int | None = None,
        *,
        measure: str = "balanced_accuracy",
        folds: Folds = "even",
        least: bool = False,
    ) -> Ranking:
        """Units whose removal costs a class most, that first.

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
            If the effects are not of single units, there is no such class, or it has no images.
        """
        if not self.single:
            raise UnitlensError("Units are ranked by what each does alone: ul.importance measures that.")
        name = self.class_join.names[self.class_join.output(class_)]
        if name not in self.classes:
            raise UnitlensError(f"The class {name} has no images in the data, so that nothing can be ranked by it.")
        column = self.classes.index(name)
        keys = [self.effect(by, folds=folds)[:, column] for by in (measure, "logit")]
        if np.isnan(keys[0]).any():
            raise UnitlensError(f"The class {name} has no images of the {folds} folds to rank by: use more images.")
        order = np.lexsort([np.arange(len(self.sets)), *([-k if least else k for k in reversed(keys)])])
        return Ranking(map(int, order[:n]), class_=name, folds=folds)

    def only(self, places: Iterable[int]) -> "Effects":
        """Some of the sets; what one was set beside is left out."""
        some = list(places)
        arrays = {name: array[:, some] if array.ndim == 3 else array for name, array in self.tally.arrays().items()}
        return Effects(self.info, tuple(self.sets[i] for i in some), Tally.of(arrays), self.class_join, self.peaks)

    def _seen(self) -> list[int]:
        return [int(k) for k in np.flatnonzero(self._counted("all").images)]

    def _counted(self, folds: Folds | None = None) -> Counted:
        return self.tally.half(self.folds if folds is None else folds)

    def __repr__(self) -> str:
        held = len({unit for units in self.sets for unit in units})
        what = f"{held} units, each alone" if len(self.sets) == held else f"{len(self.sets)} sets of units"
        images = int(self._counted().images.sum())
        return (
            f"<Effects of {what}, of {self.layer} of {self.info['network']['name']}, {self.info['settings']['held']}: "
            f"{len(self.classes)} classes, {images} images{self.remarks()}>"
        )

    def remarks(self) -> str:
        """What to know of it: what it is set beside, and which images ranked it; empty, or behind a semicolon."""
        kinds = {"random": "drawn at random", "matched": "matched in activation"}
        drawn = [f"{len(effects.sets)} {kinds[kind]}" for kind, effects in self.drawn.items()]
        beside = f"; beside sets of the same size: {' and '.join(drawn)}" if drawn else ""
        return beside + self._warning()

    def _warning(self) -> str:
        ranked = self.info["settings"].get("ranked")
        if ranked is None:
            return ""
        return (
            f"; ranked on the {ranked} folds, measured on the {self.folds}"
            if ranked != self.folds and "all" not in (ranked, self.folds)
            else "; measured on the images that ranked them, which flatters"
        )

    def _repr_html_(self) -> str:
        table = self.table()
        shown = table.reindex(table["effect"].abs().sort_values(ascending=False, kind="stable").index).head(10)
        return f"<p>{html.escape(repr(self)[1:-1])}</p>" + shown.to_html(index=False, float_format="{:.4g}".format)
