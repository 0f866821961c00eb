"""The smallest set of units that removes most of a concept: by IoU, greedily, or by gradient."""

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from torch import nn

from unitlens.ablation.activity import unit_count
from unitlens.ablation.interventions import Value
from unitlens.ablation.responses.area_tallies import AreaTally
from unitlens.ablation.table import Units
from unitlens.ablation.units import chosen_units
from unitlens.data.concepts import Concept, Data
from unitlens.data.groups import Groups
from unitlens.data.reading import Reading
from unitlens.editing.experiment import THRESHOLD, AreaExperiment, Concepts
from unitlens.editing.settings import AreaSettings
from unitlens.editing.sparse import PENALTY, STEPS, sparse_weights
from unitlens.errors import UnitlensError, did_you_mean
from unitlens.models.network import Network
from unitlens.stats.scores import Floats

if TYPE_CHECKING:
    import pandas as pd

    from unitlens.dissection.result import Dissection

METHODS = ("iou", "greedy", "optimise")
Method = Literal["iou", "greedy", "optimise"]

CANDIDATES = 32
"""The greedy search takes units from so many, those that remove most of the concept alone."""

GREEDY_IMAGES = 128
"""It looks at as many latents at most, of which those of even folds choose."""


@dataclass(frozen=True, eq=False, repr=False)
class ConceptSet:
    """The units that a concept rests on, and what is left of it as more of them are removed.

    Made by `unitlens.concept_set`. Units and their number are chosen on latents of even folds; areas are measured on
    those of odd folds.

    Attributes
    ----------
    settings : AreaSettings
    info : mapping
        Where it comes from.
    concept : Concept
    method : {"iou", "greedy", "optimise"}
    target : float
        The share of the concept that the set has to remove.
    ranking : tuple of int
        Units in the order in which they are added.
    sizes : tuple of int, S
        How many of them are removed in each measurement, rising.
    column : int
        Which of the tally's concepts it is.
    tally : AreaTally
        With each size removed, on all latents.
    weights : float64 array, (U,), or None
        How much of each unit the concept needs, where that was optimised.
    """

    settings: AreaSettings
    info: Mapping[str, Any]
    concept: Concept
    method: Method
    target: float
    ranking: Units
    sizes: tuple[int, ...]
    column: int
    tally: AreaTally
    weights: Floats | None = None

    @property
    def size(self) -> int:
        """The smallest number of units that removes the target on the latents that choose; all, where none does."""
        removed = self.tally.half("even").removed()[0][:, self.column]
        enough = np.flatnonzero(removed >= self.target)
        return self.sizes[int(enough[0])] if len(enough) else self.sizes[-1]

    @property
    def reached(self) -> bool:
        """Whether that many units remove the target, on the latents that choose."""
        removed = self.tally.half("even").removed()[0][:, self.column]
        return bool((removed >= self.target).any())

    @property
    def units(self) -> Units:
        """The units of the set."""
        return self.ranking[: self.size]

    def removed(self) -> tuple[float, float, float]:
        """Share of the concept that the set removes on the other latents, and its 95 % interval."""
        row = self.sizes.index(self.size)
        value, low, high = (float(ends[row, self.column]) for ends in self.tally.half("odd").removed())
        return value, low, high

    def table(self) -> "pd.DataFrame":
        """What is left as more units are removed: a row for each size.

        Columns units (how many), added (since the row before, joined by ;), chosen_on (share of the concept removed on
        the latents that choose), removed, low, high (on the others), others_lost (the area that all other concepts
        lose or gain, as a share of the image, on the others) and moved (how far images move).
        """
        import pandas as pd

        even, odd = self.tally.half("even"), self.tally.half("odd")
        removed, low, high = (ends[:, self.column] for ends in odd.removed())
        effect = np.delete(odd.estimate().effect, self.column, 1)
        steps = zip((0, *self.sizes[:-1]), self.sizes, strict=True)
        columns: dict[str, Any] = {
            "units": self.sizes,
            "added": [";".join(map(str, self.ranking[start:stop])) for start, stop in steps],
            "chosen_on": even.removed()[0][:, self.column],
            "removed": removed,
            "low": low,
            "high": high,
            "others_lost": np.minimum(effect, 0).sum(1),
            "moved": odd.distance(),
        }
        return pd.DataFrame(columns)

    def __repr__(self) -> str:
        value, low, high = self.removed()
        return (
            f"<ConceptSet of {self.concept.name} by {self.method}: {self.size} units of {self.settings.layer} remove "
            f"{value:.0%} ({low:.0%} to {high:.0%}) on latents that did not choose them>"
        )

    def _repr_html_(self) -> str:
        return f"<p>{html.escape(repr(self)[1:-1])}</p>" + self.table().to_html(
            index=False, float_format="{:.4g}".format
        )


def concept_set(
    net: Network | nn.Module,
    layer: str,
    concept: str,
    latents: Data | str | Path,
    concepts: Concepts = None,
    *,
    method: Method = "greedy",
    dissection: "Dissection | None" = None,
    most: int = 20,
    target: float = 0.5,
    insert: Value = THRESHOLD,
    steps: int = STEPS,
    penalty: float = PENALTY,
    groups: Groups | None = None,
    limit: int | None = None,
    batch_size: int = 32,
    workers: int = 0,
    seed: int = 0,
    progress: bool = False,
) -> ConceptSet:
    """Find the smallest set of units whose removal takes away most of a concept.

    Parameters
    ----------
    net, layer, latents, concepts, groups, limit, batch_size, workers, seed, progress
        As for `unitlens.intervene`.
    concept : str
        Its name, or category/name.
    method : {"iou", "greedy", "optimise"}
        Units in the order of their IoU in a dissection (Bau et al., PNAS 2020); the unit that removes most beside those
        that are chosen, again and again; or the sparse optimisation of GAN dissection (Bau et al., ICLR 2019), which
        needs a concept source that says how likely a concept is, such as a segmentation network.
    dissection : Dissection, optional
        Of the layer, for "iou".
    most : int
        Units that are removed at most.
    target : float
        The set is the smallest that removes this share of the concept's area.
    insert : float, Tensor or a quantile
        For "optimise": what inserted units are set to, as for `unitlens.causal_effects`.
    steps : int
        For "optimise": steps of the optimisation.
    penalty : float
        For "optimise": what the norm of the units' weights costs.

    Returns
    -------
    ConceptSet

    Raises
    ------
    UnitlensError
        As for `unitlens.intervene`; if there is no such concept or method, or nothing of the concept is drawn.
    """
    if method not in METHODS:
        raise UnitlensError(f"There is no method {method!r}{did_you_mean(method, METHODS)}; there are {METHODS}.")
    if not 0 < target <= 1:
        raise UnitlensError(f"target is {target}; it is the share of the concept that the set removes, such as 0.5.")
    if method == "iou" and dissection is None:
        raise UnitlensError("The method 'iou' takes units in the order of a dissection: give dissection=d.")
    reading = Reading(batch_size=batch_size, workers=workers, limit=limit, seed=seed, progress=progress)
    experiment = AreaExperiment.of(net, layer, latents, concepts, groups=groups, reading=reading)
    column, count = experiment.drawn.index_of(concept), unit_count(experiment.net, layer)
    most, weights = min(most, count), None
    if method == "iou":
        assert dissection is not None
        ranking = chosen_units(dissection[layer].units_for(concept, most), layer, count)
    elif method == "greedy":
        ranking = _greedy(experiment, column, most)
    else:
        weights = sparse_weights(experiment, column, experiment.values(insert), steps=steps, penalty=penalty)
        ranking = tuple(int(unit) for unit in np.argsort(-weights, kind="stable")[:most])
    sizes = tuple(range(1, len(ranking) + 1))
    values = experiment.values(0.0)
    measured = experiment.measure(values, sets=[(ranking[:size],) for size in sizes])
    tally = measured.counts.tally
    if not tally.before[:, column].any():
        raise UnitlensError(
            f"Nothing of {concept} is drawn in {int(tally.images.sum())} images, so that no unit can remove it: choose "
            "another concept, or draw more images."
        )
    return ConceptSet(
        settings=experiment.settings(values, str(values.replacement)),
        info=experiment.describe(measured),
        concept=experiment.drawn.concepts[column],
        method=method,
        target=target,
        ranking=ranking,
        sizes=sizes,
        column=column,
        tally=tally,
        weights=weights,
    )


def _greedy(experiment: AreaExperiment, column: int, most: int) -> Units:
    """Choose units one by one, each the one that removes most of a concept beside the others; on even folds."""
    limit = min(GREEDY_IMAGES, experiment.reading.limit or GREEDY_IMAGES)
    few = replace(experiment, reading=replace(experiment.reading, limit=limit, progress=False))
    values = few.values(0.0)

    def left(sets: Sequence[Units] | None) -> Floats:
        """What is left of the concept with each set removed, or every unit alone."""
        measured = few.measure(values, sets=None if sets is None else [(units,) for units in sets], folds="even")
        return np.asarray(measured.counts.tally.change[:, :, column].sum(0), np.float64)

    alone = left(None)
    candidates = [int(unit) for unit in np.argsort(alone, kind="stable")[:CANDIDATES]]
    chosen: Units = (candidates[0],)
    while len(chosen) < min(most, len(candidates)):
        further = [unit for unit in candidates if unit not in chosen]
        chosen = (*chosen, further[int(left([(*chosen, unit) for unit in further]).argmin())])
    return chosen
