"""The result of measuring any outcome: every unit alone, or a set beside those that were drawn; and its table."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from unitlens.ablation.measurement import EffectSettings
from unitlens.ablation.outcomes.tally import OutcomeTally
from unitlens.ablation.random_sets import Band, Others, alike_units
from unitlens.ablation.result import Ranking
from unitlens.ablation.table import UnitSet, joined
from unitlens.drawing.notebooks import table_html
from unitlens.errors import UnitlensError, did_you_mean
from unitlens.plurals import counted
from unitlens.stats.changes import Change
from unitlens.stats.folds import Folds
from unitlens.stats.paired import q_values
from unitlens.stats.scores import Bools, Floats

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = {
    "layer": "the layer's name; several joined by ;",
    "units": "the units that are ablated: one number, or several joined by ; (in several layers each as LAYER/UNIT)",
    "outcome": "what is measured, such as area:person or the name of a function",
    "before": "its mean over the images, of the untouched network; of iou the ratio of sums over images",
    "after": "the same with the units ablated",
    "effect": "after - before, on the same images",
    "low": "lower end of the 95 % interval of effect, by the jackknife over folds; empty below 8 with anything of it",
    "high": "its upper end",
    "p_value": "of no effect, from the same",
    "q_value": "Benjamini and Hochberg's, over all sets of units and outcomes of the result",
    "images": "how many images were measured",
    "random_mean": "mean effect of sets of as many units, drawn at random; of a unit alone, of all others",
    "random_low": "lower end of the band in which a further such set lies with the probability random_holds",
    "random_high": "its upper end",
    "random_holds": "0.95; with fewer than 39 draws or other units the band goes from the smallest to the largest",
    "random_p_value": "(1 + how many of them have an effect as large or larger, of either sign) / (1 + how many)",
    "matched_mean": "the same mean of sets of other units that hand on about as much",
    "matched_low": "lower end of their band; empty of one unit alone",
    "matched_high": "its upper end",
}
"""Name and meaning of every column of ``outcomes.csv``, in its order."""


@dataclass(frozen=True, eq=False, repr=False)
class OutcomeEffects:
    """What ablating units does to any outcome of a network. Made by `unitlens.outcome_effects`.

    An effect is after - before, on the same images.

    Attributes
    ----------
    settings : EffectSettings
        How it was measured; ``measures`` are the outcomes.
    info : mapping
        Where it comes from: network, data, how it was computed, versions, timings, warnings.
    sets : tuple of tuple of int, S
        Units that are ablated together: every unit of the layer alone, or one set.
    tally : OutcomeTally
        Sums of outcomes, by fold.
    drawn : mapping of str to OutcomeTally
        What a set is compared with: "random", sets of as many units, and "matched", of others that hand on about as
        much.
    handed : float64 array, (U,), optional
        Of every unit alone: what it hands on, by which others are alike.
    """

    settings: EffectSettings
    info: Mapping[str, Any]
    sets: tuple[UnitSet, ...]
    tally: OutcomeTally
    drawn: Mapping[str, OutcomeTally] = field(default_factory=dict)
    handed: Floats | None = None

    @property
    def layer(self) -> str:
        """The layer's name; several joined by ;."""
        return ";".join(self.settings.layers)

    @property
    def outcomes(self) -> tuple[str, ...]:
        """What was measured, M."""
        return self.tally.names

    @property
    def images(self) -> int:
        """How many images were measured."""
        return int(self.tally.images.sum())

    def estimate(self, outcome: str | None = None, *, folds: Folds | None = None) -> Change:
        """Before, after, effect, interval and p-value of an outcome, each (S,).

        Parameters
        ----------
        outcome : str, optional
            Its name; it may be left out where there is one.
        folds : {"all", "even", "odd"}, optional
            Of the images of these folds alone.
        """
        tally = self.tally if folds is None else self.tally.half(folds)
        column = self._column(outcome)
        return Change(*(values[:, column] for values in tally.change()))

    def effect(self, outcome: str | None = None, *, folds: Folds | None = None) -> Floats:
        """Effects on an outcome, (S,): of every unit alone, or of the one set."""
        return self.estimate(outcome, folds=folds).effect

    def most_important(
        self, outcome: str | None = None, n: int | None = None, *, folds: Folds = "even", least: bool = False
    ) -> Ranking:
        """Units whose ablation alone lowers an outcome most, largest effect first.

        Parameters
        ----------
        outcome : str, optional
            Its name; it may be left out where there is one.
        n : int, optional
            How many; all.
        folds : {"even", "odd", "all"}
            The images that rank. A choice is measured on others, as `unitlens.outcome_effects` does for what is ranked
            on even or odd folds.
        least : bool
            The other way around.

        Raises
        ------
        UnitlensError
            If one set was measured, or there is no such outcome.
        """
        if self.handed is None:
            raise UnitlensError("One set of units was measured: leave the units out to measure every unit alone.")
        name, effect = self.outcomes[self._column(outcome)], self.effect(outcome, folds=folds)
        order = np.argsort(-effect if least else effect, kind="stable")[:n]
        return Ranking((int(self.sets[k][0]) for k in order), class_=name, folds=folds)

    def _column(self, outcome: str | None) -> int:
        names = self.outcomes
        if outcome is None and len(names) == 1:
            return 0
        if outcome not in names:
            near = did_you_mean(str(outcome), names)
            raise UnitlensError(f"The outcome {outcome} was not measured{near}; there are {', '.join(names)}.")
        return names.index(outcome)

    def table(self) -> "pd.DataFrame":
        """A row a set of units and outcome, with the columns `COLUMNS`."""
        import pandas as pd

        change = self.tally.change()
        columns: dict[str, Any] = {
            "layer": self.layer,
            "units": np.repeat(np.array([joined(units) for units in self.sets], dtype=object), len(self.outcomes)),
            "outcome": np.tile(np.array(self.outcomes, dtype=object), len(self.sets)),
            "q_value": q_values(change.p_value.ravel()),
            "images": self.images,
        }
        columns |= {name: values.ravel() for name, values in change._asdict().items()}
        beside = self._beside_drawn(change.effect) if self.handed is None else self._beside_others(change.effect)
        columns |= {name: values.ravel() for name, values in beside.items()}
        return pd.DataFrame(columns)[list(COLUMNS)]

    def _beside_drawn(self, effect: Floats) -> dict[str, Floats]:
        """Columns of the sets that were drawn, each (1, M); NaN where there are none."""
        columns: dict[str, Floats] = {}
        for kind in ("random", "matched"):
            drawn = self.drawn[kind].change().effect if kind in self.drawn else np.zeros((0, len(self.outcomes)))
            bands = [Band.of(values[~np.isnan(values)]) for values in drawn.T]
            columns |= {f"{kind}_{name}": np.array([[getattr(band, name) for band in bands]]) for name in Band._fields}
            as_large = (np.abs(drawn) >= np.abs(effect)).sum(0)
            columns[f"{kind}_p_value"] = np.where(len(drawn) > 0, (1 + as_large) / (1 + len(drawn)), np.nan)
        return {name: values for name, values in columns.items() if name in COLUMNS}

    def _beside_others(self, effect: Floats) -> dict[str, Floats]:
        """Columns of the layer's other units, each (U, M): all sets of one that could be drawn."""
        others, count = Others.of(effect, self._alike), len(effect) - 1
        as_large = (np.abs(effect)[None] >= np.abs(effect)[:, None]).sum(1) - 1
        nothing = np.full(effect.shape, np.nan)
        holds = np.full(effect.shape, min(0.95, 1 - 2 / (count + 1))) if count else nothing
        return {
            "random_mean": others.mean,
            "random_low": others.low,
            "random_high": others.high,
            "random_holds": holds,
            "random_p_value": (1 + as_large) / (1 + count) if count else nothing,
            "matched_mean": others.matched,
            "matched_low": nothing,
            "matched_high": nothing,
        }

    @property
    def _alike(self) -> Bools:
        """Which other units hand on about as much as each, (U, U)."""
        assert self.handed is not None
        alike = np.zeros((len(self.handed),) * 2, bool)
        for unit in range(len(alike)):
            alike[unit, alike_units(unit, self.handed)] = True
        return np.asarray(alike & ~np.eye(len(alike), dtype=bool))

    def describe(self) -> str:
        """What was ablated, in words."""
        if self.handed is not None:
            return f"{counted(len(self.sets), 'unit')} of {self.layer}, each alone"
        count = len(self.sets[0])
        return f"{counted(count, 'unit')} of {self.layer} together"

    def remarks(self) -> str:
        """What a set is beside, and which images chose it; empty, or behind a semicolon."""
        drawn = [f"{tally.after.shape[1]} {_describe_drawn(kind, self.settings)}" for kind, tally in self.drawn.items()]
        beside = f"; beside sets of the same size: {' and '.join(drawn)}" if drawn else ""
        ranked, folds = self.settings.ranked, self.settings.folds
        if ranked is None:
            return beside
        if ranked != folds and "all" not in (ranked, folds):
            return f"{beside}; ranked on the {ranked} folds, measured on the {folds}"
        return f"{beside}; measured on the images that ranked it: top-ranked units look better, as they were selected"

    def __repr__(self) -> str:
        outcomes = ", ".join(self.outcomes[:4]) + (", ..." if len(self.outcomes) > 4 else "")
        images = counted(self.images, "image")
        return f"<OutcomeEffects of {self.describe()}, {self.settings.ablation}: {outcomes}; {images}>"

    def _repr_html_(self) -> str:
        table = self.table()
        order = table["effect"].abs().sort_values(ascending=False, kind="stable").index
        return table_html(repr(self), table.reindex(order))


def _describe_drawn(kind: str, settings: EffectSettings) -> str:
    return "drawn at random" if kind == "random" else f"matched in {settings.matched_in or 'activation'}"


def sets_of(tally: OutcomeTally, kinds: Sequence[str], draws: int) -> dict[str, OutcomeTally]:
    """Of what was measured of a set and of sets that were drawn behind it: those of each kind."""
    return {kind: tally.only(slice(1 + k * draws, 1 + (k + 1) * draws)) for k, kind in enumerate(kinds)}
