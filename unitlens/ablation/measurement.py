"""What was counted with sets of units ablated, and the estimates that follow from it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from unitlens.ablation.estimates import Estimate, estimate, estimate_overall
from unitlens.ablation.table import UnitSet, effect_rows
from unitlens.ablation.tallies import HALF_ROWS, Counted, Tally
from unitlens.data.classes import Classes
from unitlens.dissection.settings import BasisRecord
from unitlens.errors import UnitlensError
from unitlens.models.fast.precision import Fast
from unitlens.records import LATER, check_range, check_types
from unitlens.stats.folds import Folds
from unitlens.stats.scores import Floats

if TYPE_CHECKING:
    import pandas as pd

_MOST = 2**63

KEPT = 1 << 20
"""Estimates of so many sets and classes are kept: 64 MB each at most."""


@dataclass(frozen=True)
class EffectSettings:
    """All that decides what a measurement of effects comes to, for a given network and images.

    Attributes
    ----------
    layers : tuple of str
    ablation : str
        What happens to the units, such as "set to 0".
    where_sha256 : str or None
        Of the positions at which it happens; None: at all.
    measures : tuple of str
        What is measured of every class.
    folds : {"all", "even", "odd"}
        The images that are measured.
    ranked : {"all", "even", "odd"} or None
        The images that chose the units by rank, if any did.
    limit : int or None
        How many images are read; None: all.
    batch_size : int
    strict : bool
        Whether an image that cannot be read is an error.
    seed : int
        Of what is drawn: sets of units, and images to resample from.
    matched_in : str or None
        What sets are matched in; None: there are no matched sets.
    fast : {"float32", "bfloat16"} or None
        What a fast copy computes all in front of the layers in; None: the network itself does.
    basis : BasisRecord or None
        Of the directions that are the units; None: the layers' own units.
    """

    layers: tuple[str, ...]
    ablation: str
    where_sha256: str | None
    measures: tuple[str, ...]
    folds: Folds
    ranked: Folds | None
    limit: int | None
    batch_size: int
    strict: bool
    seed: int
    matched_in: str | None = None
    fast: Fast | None = None
    basis: BasisRecord | None = field(default=None, metadata=LATER)

    def __post_init__(self) -> None:
        check_types(self)
        if not self.layers or len(set(self.layers)) < len(self.layers):
            raise UnitlensError("the settings of effects name no layer, or one twice")
        if len(set(self.measures)) < len(self.measures):
            raise UnitlensError("the settings of effects name a measure twice")
        check_range("batch_size", self.batch_size, 1, _MOST)
        check_range("limit", 1 if self.limit is None else self.limit, 1, _MOST)
        check_range("seed", self.seed, 0, _MOST)


@dataclass(frozen=True, eq=False)
class Measurement:
    """Counts of a classifier's predictions with sets of units ablated, each beside the untouched network.

    Attributes
    ----------
    settings : EffectSettings
    info : mapping
        Where it comes from: network, data, how it was computed, versions, timings, warnings.
    sets : tuple of tuple of int, S
        Units that are ablated together; those of several layers are a `LayerUnit` each.
    tally : Tally
        The counts.
    outputs : Classes
        Which output is which class.
    peaks : float64 array, (U,)
        Mean over the images of each unit's largest activation; of several layers, one after the other.
    """

    settings: EffectSettings
    info: Mapping[str, Any]
    sets: tuple[UnitSet, ...]
    tally: Tally
    outputs: Classes
    peaks: Floats

    @property
    def layer(self) -> str:
        """The layer's name; several joined by ;."""
        return ";".join(self.settings.layers)

    @property
    def classes(self) -> tuple[str, ...]:
        """Classes that have images, in the order of the outputs."""
        return tuple(self.outputs.names[k] for k in self._with_images())

    @property
    def images(self) -> int:
        """How many images were measured."""
        return int(self.tally.images[HALF_ROWS[self.settings.folds]].sum())

    def counted(self, folds: Folds | None = None) -> Counted:
        """The counts of the images of some folds; by default of those that were measured."""
        return self.tally.half(self.settings.folds if folds is None else folds)

    def estimate(self, measure: str, *, folds: Folds | None = None) -> Estimate:
        """Before, after, effect, interval and p-value, each (S, classes); read-only, as they are computed once."""
        key = (measure, self.settings.folds if folds is None else folds)
        known = self._estimates.get(key)
        if known is None:
            known = estimate(self.counted(folds), measure).columns(self._with_images())
            for values in known:
                values.flags.writeable = False
            if known.effect.size <= KEPT:
                self._estimates[key] = known
        return known

    @cached_property
    def _estimates(self) -> dict[tuple[str, Folds], Estimate]:
        """Those that were asked for: rankings and pages ask again and again, a class at a time."""
        return {}

    def overall(self, measure: str = "accuracy", *, folds: Folds | None = None) -> Estimate:
        """The same over all classes together, each (S,)."""
        return estimate_overall(self.counted(folds), measure)

    def table(self) -> "pd.DataFrame":
        """A row a set of units, class and measure, with the columns of `unitlens.ablation.table.COLUMNS`."""
        return effect_rows(self.layer, self.sets, self.counted(), self.outputs.names, self.settings.measures)

    def only(self, places: Iterable[int]) -> "Measurement":
        """That of some of the sets."""
        indices = list(places)
        arrays = {name: array[:, indices] if array.ndim == 3 else array for name, array in self.tally.arrays().items()}
        return replace(self, sets=tuple(self.sets[index] for index in indices), tally=Tally.of(arrays))

    def _with_images(self) -> list[int]:
        return [int(k) for k in np.flatnonzero(self.tally.images.sum(0))]
