"""What a set of units does to what is drawn: what vanishes, what takes its place, and how far the image moves."""

import html
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import nn

from unitlens.ablation.interventions import Value
from unitlens.ablation.random_sets import FEW_DRAWS, Band, draw_sets
from unitlens.ablation.responses.areas import AreaTally, Transitions
from unitlens.ablation.table import Units, joined
from unitlens.ablation.tallies import Folds
from unitlens.ablation.units import Chosen
from unitlens.data.concepts import Concept, Data
from unitlens.data.reading import Reading
from unitlens.editing.distance import LayerDistance, layer_distance
from unitlens.editing.experiment import AreaExperiment, AreaSettings, Concepts, unit_positions
from unitlens.editing.tables import INTERVENTION_COLUMNS
from unitlens.models.network import Network
from unitlens.stats.scores import Floats

if TYPE_CHECKING:
    import pandas as pd

DRAWS = FEW_DRAWS
"""Sets that are drawn of each kind: every one is drawn and marked anew in each image, which is dear."""


@dataclass(frozen=True, eq=False, repr=False)
class SetAreas:
    """What a set of units does to the area of every concept, beside sets that were drawn. Made by `unitlens.intervene`.

    Attributes
    ----------
    settings : AreaSettings
    info : mapping
        Where it comes from: network, latents, concept sources, versions, timings, warnings.
    units : tuple of int
    concepts : tuple of Concept
    tally : AreaTally
        Of the set.
    drawn : mapping of str to AreaTally
        "random": of as many units, drawn at random; "matched": of other units that hand on about as much.
    transitions : Transitions
        What each position became.
    shown : tuple of str
        The names of what positions show, in the order of the transitions.
    distance : LayerDistance or None
        How far the layer lies outside of what it says otherwise.
    """

    settings: AreaSettings
    info: Mapping[str, Any]
    units: Units
    concepts: tuple[Concept, ...]
    tally: AreaTally
    drawn: Mapping[str, AreaTally]
    transitions: Transitions
    shown: tuple[str, ...]
    distance: LayerDistance | None

    @property
    def images(self) -> int:
        """How many were drawn."""
        return int(self.tally.images.sum())

    def table(self) -> "pd.DataFrame":
        """A row a concept, largest effect first; columns: `unitlens.editing.tables.INTERVENTION_COLUMNS`.

        Concepts that are neither drawn nor appear are left out.
        """
        import pandas as pd

        estimate = self.tally.estimate()
        removed = self.tally.removed()
        columns: dict[str, Any] = {
            "layer": self.settings.layer,
            "units": joined(self.units),
            "change": self.settings.change,
            "concept": [concept.name for concept in self.concepts],
            "category": [concept.category for concept in self.concepts],
        }
        columns |= {name: getattr(estimate, name)[0] for name in ("before", "after", "effect", "low", "high")}
        for name, values in zip(("removed", "removed_low", "removed_high"), removed, strict=True):
            columns[name] = values[0]
        for kind in ("random", "matched"):
            columns |= _bands(kind, self.drawn.get(kind), len(self.concepts))
        columns |= {"images": self.images, "present": self.tally.present.sum(0)}
        table = pd.DataFrame(columns)
        there = (estimate.before[0] > 0) | (estimate.after[0] > 0)
        table["q_value"] = q_values(estimate.p_value[0], there)
        order = np.argsort(-np.abs(estimate.effect[0]), kind="stable")
        return pd.DataFrame(table.loc[order[there[order]], list(INTERVENTION_COLUMNS)].reset_index(drop=True))

    def what_changed(self) -> "pd.DataFrame":
        """What positions showed (rows) and what they show with the units changed (columns), as shares of the image.

        What is never shown is left out. The diagonal is what stayed.
        """
        import pandas as pd

        shares = self.transitions.shares()
        there = (shares.sum(0) > 0) | (shares.sum(1) > 0)
        names = [name for name, known in zip(self.shown, there, strict=True) if known]
        return pd.DataFrame(shares[np.ix_(there, there)], index=names, columns=names)

    def took_its_place(self, concept: str, most: int = 10) -> "pd.Series[float]":
        """What stands where a concept was: shares of the area that it lost, the largest first."""
        import pandas as pd

        shares, index = self.transitions.shares(), self.shown.index(concept)
        lost = np.where(np.arange(len(shares)) == index, 0.0, shares[index])
        order = np.argsort(-lost, kind="stable")[:most]
        order = order[lost[order] > 0]
        return pd.Series(lost[order] / lost.sum(), index=[self.shown[k] for k in order], dtype=float)

    @property
    def moved(self) -> float:
        """How far images moved: mean absolute difference of their numbers as a share of the range, mean over images."""
        return float(self.tally.distance()[0])

    def moved_by_drawn(self, kind: str = "random") -> Band:
        """The same of the sets that were drawn."""
        tally = self.drawn.get(kind)
        return Band.of(np.zeros(0) if tally is None else tally.distance())

    def __repr__(self) -> str:
        return (
            f"<SetAreas: {len(self.units)} units of {self.settings.layer} {self.settings.change}; "
            f"{self.images} images, {len(self.concepts)} concepts>"
        )

    def _repr_html_(self) -> str:
        return f"<p>{html.escape(repr(self)[1:-1])}</p>" + self.table().head(10).to_html(
            index=False, float_format="{:.4g}".format
        )


def q_values(p_value: Floats, there: Any) -> Floats:
    """Benjamini and Hochberg's, over what is there and has a p-value; NaN elsewhere."""
    from scipy.stats import false_discovery_control

    known, q_value = ~np.isnan(p_value) & there, np.full(np.shape(p_value), np.nan)
    if known.any():
        q_value[known] = false_discovery_control(p_value[known])
    return q_value


def _bands(kind: str, tally: AreaTally | None, concepts: int) -> dict[str, Any]:
    """Columns of the mean and the band of drawn sets, for each concept."""
    effects = np.zeros((0, concepts)) if tally is None else tally.estimate().effect
    bands = [Band.of(effects[:, c]) for c in range(concepts)]
    return {f"{kind}_{name}": [getattr(band, name) for band in bands] for name in Band._fields}


def intervene(
    net: Network | nn.Module,
    layer: str,
    units: Chosen,
    latents: Data | str | Path,
    concepts: Concepts = None,
    *,
    value: Value = 0.0,
    where: Any = None,
    draws: int = DRAWS,
    folds: Folds = "all",
    limit: int | None = None,
    batch_size: int = 32,
    workers: int = 0,
    seed: int = 0,
    progress: bool = False,
) -> SetAreas:
    """Measure what removing or inserting a set of units does to the area of every concept in drawn images.

    Parameters
    ----------
    net : Network
        One that draws images, see `unitlens.generator`.
    layer : str
        Its name.
    units : int, sequence or Tensor of int
        Which, together.
    latents : Data
        What to draw, see `unitlens.latents`.
    concepts : concept source, or several, optional
        What says what is drawn: `unitlens.Colors`, `unitlens.segmenter`, or what else has concepts and planes; those
        that are stacked on the latents (`unitlens.with_concepts`), unless given.
    value : float, Tensor, "mean", "resample" or a quantile
        What units are set to: 0 removes them; "q0.99", the level that 1 % of their activations exceed, or the
        thresholds of a dissection, inserts them; "resample", their activations in another image, is the least out of
        distribution.
    where : mask or positions, optional
        Where in the layer's grid, as for `unitlens.edit_image`.
    draws : int
        Sets to compare with that are drawn at random, and as many matched ones.
    folds : {"all", "even", "odd"}
        Which images are measured: those that did not choose the units.
    limit, batch_size, workers, seed, progress
        As for `unitlens.importance`.

    Returns
    -------
    SetAreas

    Raises
    ------
    UnitlensError
        If the network draws no images, nothing says what is drawn, or there is no such layer, unit or position.

    Examples
    --------
    >>> import torch, unitlens as ul
    >>> model = torch.nn.Sequential(torch.nn.Linear(4, 48), torch.nn.Unflatten(1, (3, 4, 4)), torch.nn.Tanh())
    >>> net = ul.generator(model, latents=4, rescale=(-1, 1))
    >>> ul.intervene(net, "1", [0], ul.latents(4, 64), ul.Colors(), draws=2)
    <SetAreas: 1 units of 1 set to 0; 64 images, 11 concepts>
    """
    reading = Reading(batch_size=batch_size, workers=workers, limit=limit, seed=seed, progress=progress)
    experiment = AreaExperiment.of(net, layer, latents, concepts, reading=reading)
    return measure_set(experiment, experiment.units(units), value=value, where=where, draws=draws, folds=folds)


def measure_set(
    experiment: AreaExperiment,
    units: Units,
    *,
    value: Value,
    where: Any = None,
    draws: int = DRAWS,
    folds: Folds = "all",
    change: str | None = None,
) -> SetAreas:
    """The same for an experiment; ``change`` says what happens to the units, in words."""
    positions = unit_positions(where, experiment.grid(), experiment.layer)
    values = experiment.values(value, positions)
    handed = [experiment.contributions().values] if draws else []
    drawn = draw_sets((units,), handed, draws, seed=experiment.seed) if draws else {}
    sets = [(units,), *chain.from_iterable(drawn.values())]
    measured = experiment.measure(values, sets=sets, folds=folds, follow=True)
    tally, transitions = measured.counts
    assert transitions is not None
    first = {kind: 1 + number * draws for number, kind in enumerate(drawn)}
    return SetAreas(
        settings=experiment.settings(values, change or str(values.replacement), folds),
        info=experiment.describe(measured),
        units=units,
        concepts=experiment.drawn.concepts,
        tally=tally.only([0]),
        drawn={kind: tally.only(slice(start, start + draws)) for kind, start in first.items()},
        transitions=transitions,
        shown=tuple(experiment.drawn.shown_names()),
        distance=layer_distance(experiment, units, values),
    )
