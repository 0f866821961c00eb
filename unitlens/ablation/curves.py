"""Removing more and more units of a layer: the most important of a class, the least, random ones, or all but a few."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from torch import Tensor, nn

from unitlens.ablation.effects import unit_count
from unitlens.ablation.experiment import Experiment
from unitlens.ablation.holding import Holding, Value
from unitlens.ablation.outcomes import DEFAULT_MEASURES, Outcome
from unitlens.ablation.random_sets import at_random, matched
from unitlens.ablation.result import Effects
from unitlens.ablation.table import Units
from unitlens.data.concepts import Data
from unitlens.dissection.forward import Reading
from unitlens.errors import UnitlensError
from unitlens.models.network import Network

if TYPE_CHECKING:
    import pandas as pd

KINDS = {
    "most": "the most important units of the class removed",
    "least": "the least important removed",
    "random": "units drawn at random removed",
    "matched": "units removed that are drawn to be about as active as the most important",
    "kept": "all removed but the most important",
}
"""What the kinds of sets in a curve are."""


class Member(NamedTuple):
    """What a set of a curve is: its kind, the number of units chosen, and the number of the draw."""

    kind: str
    k: int
    draw: int


@dataclass(frozen=True, eq=False, repr=False)
class Curve:
    """What is left of a class as more and more units are removed.

    Attributes
    ----------
    class_ : str
        Its name.
    members : tuple of Member, S
        What each set is.
    effects : Effects
        Of the S sets; measured on the odd folds, as units were ranked on the even ones.
    ranking : Effects
        Of every unit alone, on all images.
    """

    class_: str
    members: tuple[Member, ...]
    effects: Effects
    ranking: Effects

    def table(self) -> "pd.DataFrame":
        """A row a set: kind, k, draw; the class's balanced accuracy and recall, and the accuracy over all classes.

        Each measure has four columns: after (under its own name), ``_effect``, ``_low`` and ``_high``, the last two the
        95 % interval of the effect.
        """
        import pandas as pd

        column = self.effects.classes.index(self.class_)
        columns: dict[str, Any] = {name: [getattr(m, name) for m in self.members] for name in Member._fields}
        found = {name: self.effects.estimate(name).columns([column]) for name in ("balanced_accuracy", "recall")}
        for name, one in {**found, "accuracy": self.effects.overall()}.items():
            columns[name] = one.after.ravel()
            columns |= {f"{name}_{part}": getattr(one, part).ravel() for part in ("effect", "low", "high")}
        columns["units"] = [";".join(map(str, units)) for units in self.effects.sets]
        return pd.DataFrame(columns)

    def chosen(self, kind: str, k: int | None = None) -> Effects:
        """The effects of the sets of one kind, of all sizes, or of one: then beside the sets that were drawn."""
        drawn = {"most": ("random", "matched"), "least": ("random",)}.get(kind, ()) if k is not None else ()
        beside = {name: self._sets(name, k) for name in drawn}
        beside = {name: effects for name, effects in beside.items() if effects.sets}
        return replace(self._sets(kind, k), drawn=beside)

    def _sets(self, kind: str, k: int | None) -> Effects:
        return self.effects.only(place for place, m in enumerate(self.members) if m.kind == kind and k in (None, m.k))

    def untouched(self) -> dict[str, float]:
        """Balanced accuracy and recall of the class, and accuracy over all, with nothing removed."""
        column = self.effects.classes.index(self.class_)
        found = {name: float(self.effects.estimate(name).before[0, column]) for name in ("balanced_accuracy", "recall")}
        return {**found, "accuracy": float(self.effects.overall().before[0])}

    def band(self, kind: str = "random", measure: str = "balanced_accuracy") -> "pd.DataFrame":
        """Mean, and 2.5 and 97.5 percentile, over the draws of a kind: a row for each k."""
        own = self.table().query("kind == @kind").groupby("k")[measure]
        low, high = own.quantile(0.025).rename("low"), own.quantile(0.975).rename("high")
        return own.mean().rename("mean").to_frame().join([low, high]).reset_index()

    def paper_table(self, few: int = 4) -> "pd.DataFrame":
        """The table of Bau et al., PNAS 2020: unchanged, few removed, k removed, only these kept, random ones removed.

        Columns ``what``, ``balanced_accuracy`` of the class, and ``accuracy`` over all classes.
        """
        import pandas as pd

        table, k = self.table(), max(m.k for m in self.members)
        names, measures = {}, ["balanced_accuracy", "accuracy"]
        names["unchanged"] = pd.Series(self.untouched())
        both = (("most", few, f"{few} most important units removed"), ("most", k, f"{k} most important removed"))
        for kind, size, what in (
            *(both if few != k else both[1:]),
            ("kept", k, f"only these {k} kept, {len(self.ranking.sets) - k} removed"),
            ("least", k, f"{k} least important removed"),
            ("random", k, f"{k} random ones removed, mean of {{}} draws"),
            ("matched", k, f"{k} about as active removed, mean of {{}} draws"),
        ):
            own = table[(table["kind"] == kind) & (table["k"] == size)]
            if len(own):
                names[what.format(len(own))] = own[measures].mean()
        rows = [{"what": what, **{m: float(row[m]) for m in measures}} for what, row in names.items()]
        chance = {"what": "chance", "balanced_accuracy": 0.5, "accuracy": 1 / len(self.effects.class_join.names)}
        return pd.DataFrame([*rows, chance])

    def __repr__(self) -> str:
        return f"<Curve of {self.class_}: {len(self.members)} sets; ranked on the even folds, measured on the odd>"


def ablation_curve(
    net: Network | nn.Module,
    layer: str,
    class_: str | int,
    data: Data | str | Path,
    *,
    top: int = 20,
    sizes: Sequence[int] | None = None,
    draws: int = 20,
    measure: str = "balanced_accuracy",
    ranking: Effects | None = None,
    value: Value = 0.0,
    scale: float | None = None,
    where: Tensor | None = None,
    measures: Iterable[str | Outcome] = DEFAULT_MEASURES,
    limit: int | None = None,
    batch_size: int = 32,
    workers: int = 0,
    seed: int = 0,
    strict: bool = False,
    progress: bool = False,
) -> Curve:
    """Remove the 1, 2, 4, ... most important units of a class, the least important, random ones; keep only those.

    Units are ranked on the images of even folds, one by one, and sets measured on those of odd folds.

    Parameters
    ----------
    net, layer, data
        As for `unitlens.importance`.
    class_ : str or int
        The class.
    top : int
        The most units that are removed.
    sizes : sequence of int, optional
        How many; 1, 2, 4, ... below ``top``, and ``top``.
    draws : int
        Sets at random, and as many matched in activation, of each size.
    measure : str
        By what units are ranked.
    ranking : Effects, optional
        What `unitlens.importance` gave for the same network, layer, data and intervention; else it is measured first.
    value, scale, where, measures, limit, batch_size, workers, seed, strict, progress
        As for `unitlens.importance`.

    Returns
    -------
    Curve

    Raises
    ------
    UnitlensError
        As for `unitlens.importance`; if there is no such class, or it has no images.
    """
    run = Experiment.of(net, layer, data, measures, Reading(batch_size, workers, limit, strict, show=progress), seed)
    how = Draws(tuple(sizes) if sizes is not None else doubling(top), draws, measure)
    return curves_of(run, [class_], Holding(value, scale, where), how, ranking=ranking)[0]


class Draws(NamedTuple):
    """How the sets of a curve are chosen: sizes, random sets of each, and the measure that ranks."""

    sizes: tuple[int, ...]
    draws: int
    measure: str = "balanced_accuracy"

    def check(self, count: int, layer: str) -> None:
        """Make sure that such sets can be chosen from so many units.

        Raises
        ------
        UnitlensError
            If there are no sizes, one leaves nothing or takes nothing, or the draws are fewer than 0.
        """
        if not self.sizes:
            raise UnitlensError("A curve needs numbers of units to remove, such as sizes=[1, 2, 4].")
        if self.draws < 0:
            raise UnitlensError(f"{self.draws} sets cannot be drawn: give the number of draws, or 0 for none.")
        wrong = [k for k in self.sizes if not 1 <= k < count]
        if wrong:
            raise UnitlensError(
                f"{wrong[0]} units cannot be chosen from the {count} of {layer} so "
                f"that some are removed and some are left; choose 1 to {count - 1}."
            )


def doubling(top: int) -> tuple[int, ...]:
    """1, 2, 4, ... below ``top``, and ``top``.

    Examples
    --------
    >>> doubling(20)
    (1, 2, 4, 8, 16, 20)
    """
    return tuple(sorted({2**i for i in range(max(top, 1).bit_length()) if 2**i < top} | {top}))


def curves_of(
    run: Experiment, classes: Sequence[str | int], holding: Holding, how: Draws, *, ranking: Effects | None = None
) -> list[Curve]:
    """Curves of several classes, in one pass for the ranking and one for the sets."""
    count = unit_count(run.net, run.layers[0]) if ranking is None else len(ranking.sets)
    how.check(count, run.layers[0])
    if ranking is None:
        run.check_classes(classes)
        ranking = run.effects(None, holding)
    rng = np.random.default_rng(run.seed)
    common = [
        (Member("random", k, draw), at_random(tuple(range(k)), ranking.peaks, rng))
        for k in how.sizes
        for draw in range(how.draws)
    ]
    own = [_sets_of(ranking, class_, how, rng) for class_ in classes]
    sets = tuple((units,) for part in (common, *own) for _, units in part)
    found = run.effects(sets, holding, folds="odd", ranked="even")
    curves, first = [], len(common)
    for class_, part in zip(classes, own, strict=True):
        places = [*range(len(common)), *range(first, first + len(part))]
        first += len(part)
        name = ranking.class_join.names[ranking.class_join.output(class_)]
        members = tuple(member for member, _ in (*common, *part))
        curves.append(Curve(name, members, found.only(places), ranking))
    return curves


def _sets_of(ranking: Effects, class_: str | int, how: Draws, rng: np.random.Generator) -> list[tuple[Member, Units]]:
    """The sets of one class."""
    ranked = ranking.most_important(class_, measure=how.measure)
    found: list[tuple[Member, Units]] = []
    for k in how.sizes:
        chosen = tuple(ranked[:k])
        found.append((Member("most", k, 0), chosen))
        found.append((Member("least", k, 0), tuple(ranked[::-1][:k])))
        found.append((Member("kept", k, 0), tuple(sorted(set(ranked) - set(chosen)))))
        for draw in range(how.draws if 2 * k <= len(ranked) else 0):
            found.append((Member("matched", k, draw), matched(chosen, ranking.peaks, rng)))
    return found
