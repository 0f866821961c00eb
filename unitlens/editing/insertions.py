"""Insert units at every place of a layer's grid: where their concept appears, by what stood there before."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from unitlens.ablation.interventions import Value
from unitlens.ablation.measuring import Design, measure
from unitlens.ablation.random_sets import draw_sets
from unitlens.ablation.replay.nests import Output, some
from unitlens.ablation.replay.replayed import MeasuredImages, Replayed
from unitlens.ablation.responses.areas import changed_images, drawn_images
from unitlens.ablation.responses.response import Arrays
from unitlens.ablation.table import Units
from unitlens.ablation.units import Chosen
from unitlens.ablation.work.checkpoints import Checkpoint, checkpointed
from unitlens.data.batches import Batch, ImageRecord
from unitlens.data.concepts import Data
from unitlens.data.drawn import DrawnConcepts
from unitlens.data.groups import Groups
from unitlens.data.reading import Reading
from unitlens.editing.experiment import THRESHOLD, AreaExperiment, Concepts, note_few_folds, note_not_drawn
from unitlens.editing.insertion_result import InsertionMap, InsertionTally, least_gain, usual_area
from unitlens.errors import UnitlensError, argument
from unitlens.models.bases import BasisLike
from unitlens.models.fast.precision import Fast
from unitlens.models.network import Network
from unitlens.stats.folds import FOLDS
from unitlens.stats.scores import Bools

DRAWS = 1
"""Sets drawn at random that are inserted at each place beside the units: over all places, these are many."""


class Place(NamedTuple):
    """Some positions of the layer's grid, and the part of the image that lies over them, from 0 to 1."""

    top: float
    left: float
    bottom: float
    right: float

    def slices(self, rows: int, columns: int) -> tuple[slice, slice]:
        """The rows and columns of a map that lie in it, one at least."""
        return _inside(self.top, self.bottom, rows), _inside(self.left, self.right, columns)


def _inside(start: float, stop: float, size: int) -> slice:
    first = min(round(start * size), size - 1)
    return slice(first, max(first + 1, round(stop * size)))


@dataclass(frozen=True)
class Insertions:
    """A response: what an insertion at a place does to a concept, by what stood there before.

    Attributes
    ----------
    drawn : DrawnConcepts
    concept : int
        Which of them.
    usual : int or None
        The usual area of the concept, which says how much of it has to come.
    places : tuple of Place
        Of each variant; those that come after all places are sets drawn at random, at the same places again.
    """

    drawn: DrawnConcepts
    concept: int
    usual: int | None
    places: tuple[Place, ...]
    adds: ClassVar[bool] = True

    def measurable(self, batch: Batch) -> Bools:
        """All images."""
        return np.ones(len(batch.names), dtype=bool)

    def why_nothing(self, read: ImageRecord) -> str | None:
        """It can be measured on any image."""
        return None

    def notes(self, read: ImageRecord) -> list[str]:
        """Nothing."""
        return []

    def start(
        self, net: Network, data: Data, images: MeasuredImages, outputs: Output, variants: int
    ) -> "_InsertionCounter":
        """Begin to count; outputs are images."""
        shape = (FOLDS, len(self.drawn.shown_names()))
        positions = self.drawn.positions(self.drawn.maps(drawn_images(net, images.inputs[:1], some(outputs, slice(1)))))
        tally = InsertionTally(
            images=np.zeros(FOLDS, np.int64),
            seen=np.zeros(shape, np.int64),
            appeared=np.zeros(shape, np.int64),
            by_random=np.zeros(shape, np.int64),
            change=np.zeros(shape, np.int64),
            appeared_at=np.zeros(len(self.places), np.int64),
            change_at=np.zeros(len(self.places), np.int64),
            positions=int(positions[self.concept]),
        )
        return _InsertionCounter(net, self, tally)


@dataclass(frozen=True, eq=False)
class _InsertionCounter:
    net: Network
    response: Insertions
    tally: InsertionTally

    def add(self, replayed: Replayed) -> None:
        """Count images."""
        response, images = self.response, replayed.images
        folds, before = images.folds, drawn_images(self.net, images.inputs, replayed.output)
        shown = self._shown(before)
        concept = shown == response.concept
        np.add.at(self.tally.images, folds, 1)
        slices = [place.slices(*shown.shape[1:]) for place in response.places]
        stood = np.stack([_most_common(shown[:, rows, columns]) for rows, columns in slices], 1)
        for p in range(stood.shape[1]):
            np.add.at(self.tally.seen, (folds, stood[:, p]), 1)
        for first, block in changed_images(self.net, images.inputs, before, replayed.outputs()):
            if not len(block.images):
                continue
            after = self._shown(block.images) == response.concept
            for row, (variant, image) in enumerate(zip(block.variant + first, block.image, strict=True)):
                drawn, place = divmod(int(variant), len(slices))
                at, there = (folds[image], stood[image, place]), slices[place]
                gained = int(after[row][there].sum()) - int(concept[image][there].sum())
                appeared = int(gained >= least_gain(response.usual, concept[image][there].size))
                if drawn:
                    self.tally.by_random[at] += appeared
                    continue
                change = int(after[row].sum()) - int(concept[image].sum())
                self.tally.appeared[at] += appeared
                self.tally.appeared_at[place] += appeared
                self.tally.change[at] += change
                self.tally.change_at[place] += change

    def _shown(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.int16]:
        """What each position shows, in the concept's category, (N, rows, columns)."""
        drawn = self.response.drawn
        category = drawn.concepts[self.response.concept].category
        (maps,) = drawn.maps(images, of=category)
        return drawn.shown(maps)

    def counts(self) -> InsertionTally:
        """What was counted."""
        return self.tally

    def state(self) -> Arrays:
        """What was counted, as arrays."""
        return {name: array for name, array in self.tally._asdict().items() if name != "positions"}

    def merge(self, state: Arrays) -> None:
        """Add what another one counted."""
        for name, counts in self.state().items():
            counts += state[name]


def _most_common(shown: npt.NDArray[np.int16]) -> npt.NDArray[np.int64]:
    """What most positions of a part of each image show, (N, rows, columns) to (N,); of equals the first."""
    flat = shown.reshape(len(shown), -1)
    return np.array([np.bincount(image).argmax() for image in flat], np.int64)


def insertion_map(
    net: Network | nn.Module,
    layer: str,
    units: Chosen,
    concept: str,
    latents: Data | str | Path,
    concepts: Concepts = None,
    *,
    value: Value = THRESHOLD,
    size: int = 1,
    draws: int = DRAWS,
    groups: Groups | None = None,
    limit: int | None = None,
    batch_size: int = 32,
    workers: int = 0,
    seed: int = 0,
    fast: bool | Fast = False,
    basis: BasisLike | None = None,
    checkpoint: Checkpoint | None = None,
    progress: bool = False,
) -> InsertionMap:
    """Insert units at every place of a layer's grid, one at a time, and see where their concept appears.

    The door experiment of Bau et al., PNAS 2020: doors can be added to buildings, hardly ever to trees or to the sky.
    The concept appears at a place where it gains half of its usual area there (its median area in the untouched images
    that show it on 1 % or more), or half of the place, whichever is less.

    Parameters
    ----------
    net, layer, units, latents, concepts, groups, limit, batch_size, workers, seed, fast, basis, checkpoint, progress
        As for `unitlens.intervene`.
    concept : str
        Its name, or category/name.
    value : float, Tensor or a quantile
        What the units are set to, as for `unitlens.causal_effects`.
    size : int
        A place is so many positions of the grid in a square; places do not overlap.
    draws : int
        Sets of as many units, drawn at random, that are inserted at each place beside them; others at each.

    Returns
    -------
    InsertionMap

    Raises
    ------
    UnitlensError
        As for `unitlens.intervene`; if the layer has no grid, or there is no such concept.

    Examples
    --------
    Three units that draw red, green and blue:

    >>> import unitlens as ul
    >>> model = nn.Sequential(nn.Unflatten(1, (3, 1, 1)), nn.ReLU(), nn.Upsample(scale_factor=4))
    >>> net = ul.generator(model, latents=3, rescale=(0, 1))
    >>> places = ul.insertion_map(net, "2", [0], "red", ul.latents(3, 64), ul.Colors(), value=1.0, size=2)
    >>> places.grid, float(places.table().set_index("before").loc["black", "appeared"])
    ((2, 2), 1.0)
    """
    reading = Reading(batch_size=batch_size, workers=workers, limit=limit, seed=seed, progress=progress)
    with checkpointed(checkpoint) as kept:
        experiment = AreaExperiment.of(
            net, layer, latents, concepts, reading=reading, groups=groups, fast=fast, basis=basis, kept=kept
        )
        return map_insertions(experiment, experiment.units(units), concept, value=value, size=size, draws=draws)


def map_insertions(
    experiment: AreaExperiment,
    units: Units,
    concept: str,
    *,
    value: Value = THRESHOLD,
    size: int = 1,
    draws: int = DRAWS,
    change: str | None = None,
) -> InsertionMap:
    """The same for an experiment; ``change`` says what the units are set to, in words."""
    column, grid = experiment.drawn.index_of(concept), experiment.grid()
    if len(grid) != 2:
        raise UnitlensError(f"{experiment.layer} has no grid, so that nothing can be inserted at a place of it.")
    if not 1 <= size <= min(grid):
        raise UnitlensError(
            f"{argument('size', size, option='--place')}: a place is a square of 1 to {min(grid)} positions of "
            f"{experiment.layer} a side."
        )
    rows, columns = (range(0, side, size) for side in grid)
    masks, places = [], []
    for top in rows:
        for left in columns:
            mask = torch.zeros(*grid, dtype=torch.bool)
            mask[top : top + size, left : left + size] = True
            masks.append(mask)
            bottom, right = min(top + size, grid[0]), min(left + size, grid[1])
            places.append(Place(top / grid[0], left / grid[1], bottom / grid[0], right / grid[1]))
    every = np.zeros(experiment.unit_count())  # random sets do not ask what units hand on
    drawn = draw_sets((units,), [every], draws * len(masks), seed=experiment.seed).get("random", ())
    draws = draws if drawn else 0
    areas, positions = experiment.untouched_areas(column)
    values = experiment.values(value)
    design = Design(
        layers=(experiment.layer,),
        values=(values,),
        response=Insertions(experiment.drawn, column, usual_area(areas, positions), tuple(places)),
        sets=((units,),) * len(masks) + drawn,
        places=tuple(masks) * (1 + draws),
        fast=experiment.fast,
        basis=experiment.basis,
    )
    measured = measure(experiment.net, experiment.data, design, experiment.reading, experiment.kept)
    note_few_folds(measured.notes, measured.data, measured.counts.images)
    if not areas.any():
        note_not_drawn(measured.notes, experiment.drawn.names()[column], len(areas))
    return InsertionMap(
        settings=experiment.settings(values, change or str(values.replacement)),
        info=experiment.describe(measured),
        concepts=experiment.drawn.concepts,
        segmenter_iou=experiment.drawn.ious(),
        column=column,
        units=units,
        grid=(len(rows), len(columns)),
        draws=draws,
        areas=areas,
        tally=measured.counts,
    )
