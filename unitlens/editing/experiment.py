"""A layer of a network that draws images, latents to draw from, and what says what is drawn: what all edits share."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from unitlens.ablation.activity import (
    Contributions,
    LayerValues,
    find_values,
    unit_contributions,
    unit_count,
    unit_space,
)
from unitlens.ablation.interventions import Replacement, Value
from unitlens.ablation.measuring import Design, Measured, few_folds, measure
from unitlens.ablation.responses.area_tallies import AreaCounts
from unitlens.ablation.responses.areas import Areas, drawn_images
from unitlens.ablation.table import LayerUnits, Units
from unitlens.ablation.units import Chosen, chosen_units
from unitlens.ablation.work.kept import NOTHING_KEPT, Arrays, Kept, measurement_key
from unitlens.data.batches import Batches, ImageRecord
from unitlens.data.concepts import ConceptSource, Data, described
from unitlens.data.drawn import DrawnConcepts
from unitlens.data.groups import Groups, grouped
from unitlens.data.inmemory.dataset import as_data
from unitlens.data.reading import Reading
from unitlens.dissection.provenance import describe_network, describe_read, versions
from unitlens.dissection.settings import BasisRecord
from unitlens.editing.networks import drawing_network
from unitlens.editing.settings import AreaSettings
from unitlens.errors import UnitlensError, UnitlensWarning, spelled
from unitlens.models.bases import BasisLike, Coding, as_basis
from unitlens.models.fast.precision import Fast, chosen_precision
from unitlens.models.hooks import record
from unitlens.models.layers import find_layers
from unitlens.models.network import Network
from unitlens.models.passes import evaluating
from unitlens.models.units.space import UnitSpace
from unitlens.stats.folds import FEWEST_FOLDS, Folds
from unitlens.stats.scores import Ints

Concepts = ConceptSource | Sequence[ConceptSource] | None
"""What says what is drawn, as it is given; None: the sources that are stacked on the latents."""

THRESHOLD = "q0.99"
"""What inserted units are set to where nothing else is asked for: as a dissection's threshold at a quantile of 0.01."""


@dataclass(frozen=True, eq=False)
class AreaExperiment:
    """A layer of a network that draws images, and what its units' interventions are measured with.

    Attributes
    ----------
    net : Network
    layer : str
    data : Data
        Latents.
    drawn : DrawnConcepts
        What says which concepts are where.
    reading : Reading
    opened : mapping
        How the latents were opened, for the files.
    kept : Kept
        Where measurements are kept, so that they go on from there after they were stopped.
    fast : {"float32", "bfloat16"}, optional
        What a fast copy computes all in front of the layer in; None: the network itself does.
    basis : Coding, optional
        Directions, or features of a dictionary, that are the layer's units.
    """

    net: Network
    layer: str
    data: Data
    drawn: DrawnConcepts
    reading: Reading
    opened: Mapping[str, Any] = field(default_factory=dict)
    kept: Kept = NOTHING_KEPT
    fast: Fast | None = None
    basis: Coding | None = None

    @classmethod
    def of(
        cls,
        net: Network | nn.Module,
        layer: str,
        latents: Data | str | Path,
        concepts: Concepts,
        *,
        reading: Reading,
        groups: Groups | None = None,
        fast: bool | Fast = False,
        basis: BasisLike | None = None,
        kept: Kept = NOTHING_KEPT,
    ) -> "AreaExperiment":
        """Take what the public functions are given.

        Raises
        ------
        UnitlensError
            If the network draws no images, there is no such layer, nothing says what is drawn, or a latent has no
            group.
        """
        net = drawing_network(net)
        find_layers(net.model, layer)
        data = as_data(latents)
        data = grouped(data, groups, limit=reading.limit, seed=reading.seed)
        drawn, precision = drawn_concepts(concepts, data), chosen_precision(fast)
        coding = None if basis is None else as_basis(basis)
        return cls(net, layer, data, drawn, reading, kept=kept, fast=precision, basis=coding)

    @property
    def seed(self) -> int:
        """Of what is drawn."""
        return self.reading.seed

    def units(self, chosen: Chosen) -> Units:
        """Check which units are meant."""
        return chosen_units(chosen, self.layer, self.unit_count())

    def unit_count(self) -> int:
        """How many units the layer has."""
        return unit_count(self.net, self.layer, self.basis)

    def space(self, activation: Tensor) -> UnitSpace:
        """Where the units are in what the layer returns."""
        return unit_space(self.net, self.layer, activation, self.basis)

    def grid(self) -> tuple[int, ...]:
        """(h, w) of the layer; empty where it has none."""
        inputs = self.net.example_inputs()
        with evaluating(self.net.model), record(self.net.model, self.layer) as recording:
            self.net.model(inputs)
        activation = recording[self.layer]
        return tuple(self.space(activation).read(activation).shape[2:])

    def values(self, value: Value, where: Any = None) -> LayerValues:
        """What units are replaced by, with all that is found in the images."""
        values = find_values(
            Replacement(value, where=where),
            self.net,
            self.layer,
            self.data,
            self.reading,
            seed=self.seed,
            means={},
            keep=partial(self.kept.tensor, self._key(value)),
            basis=self.basis,
        )
        return self.kept.processes.of_first(values)

    def found(self, compute: Callable[[], Arrays], *asked: Any) -> Arrays:
        """Arrays that are computed once, also by a command that is stopped later on; ``asked`` says what they are."""
        return self.kept.arrays(self._key(*asked), compute)

    def _key(self, *asked: Any) -> str | None:
        if not self.kept.folder:
            return None
        return measurement_key(self.net, self.data, self.reading, self.layer, self.basis, *asked)

    def measure(
        self,
        values: LayerValues,
        *,
        sets: Sequence[LayerUnits] | None = None,
        places: Sequence[Tensor] | None = None,
        folds: Folds = "all",
        follow: bool = False,
    ) -> Measured[AreaCounts]:
        """Measure the areas of concepts with every unit replaced alone, or with sets of them, each at its place."""
        design = Design(
            layers=(self.layer,),
            values=(values,),
            response=Areas(self.drawn, follow=follow),
            sets=None if sets is None else tuple(sets),
            places=None if places is None else tuple(places),
            folds=folds,
            fast=self.fast,
            basis=self.basis,
        )
        measured = measure(self.net, self.data, design, self.reading, self.kept)
        note_few_folds(measured.notes, measured.data, measured.counts.tally.half(folds).images)
        return measured

    def untouched_areas(self, column: int) -> tuple[Ints, int]:
        """How many positions one of the concepts takes in each untouched image, (N,), and how many there are."""
        found = self.found(lambda: self._untouched_areas(column), "untouched areas", self.drawn, column)
        return found["areas"], int(found["positions"][0])

    def _untouched_areas(self, column: int) -> Arrays:
        areas, category = [], self.drawn.concepts[column].category
        for batch in Batches(self.data, self.net.preprocessing, self.reading, task="drawing"):
            inputs = self.net.prepare(batch.images)
            with evaluating(self.net.model):
                outputs = self.net.model(inputs)
            marked = self.drawn.maps(drawn_images(self.net, inputs, outputs), of=category)
            areas.append(self.drawn.areas(marked)[:, column])
        return {"areas": np.concatenate(areas), "positions": self.drawn.positions(marked)[column : column + 1]}

    def contributions(self) -> Contributions:
        """What each unit hands on to the next layers, in which sets are matched."""
        handed = unit_contributions(self.net, self.layer, self.data, self.reading, seed=self.seed, basis=self.basis)
        return self.kept.processes.of_first(handed)

    def settings(self, values: LayerValues | None, change: str, folds: Folds = "all") -> AreaSettings:
        """What a measurement is recorded with; without values nothing is changed."""
        return AreaSettings(
            layer=self.layer,
            change=change,
            where_sha256=None if values is None else values.replacement.where_sha256,
            folds=folds,
            limit=self.reading.limit,
            batch_size=self.reading.batch_size,
            seed=self.seed,
            fast=self.fast,
            basis=None if self.basis is None else BasisRecord(**self.basis.describe()),
        )

    def describe(self, measured: Measured[Any] | ImageRecord) -> dict[str, Any]:
        """Where a result comes from: a measurement of interventions, or images that were only looked at."""
        if isinstance(measured, ImageRecord):
            data = describe_read(measured, self.data.concepts, measured=len(measured.names))
            replay, notes = {"replays": False, "reason": None, "fast": None}, measured.notes
        else:
            data, replay, notes = measured.data, measured.replay, measured.notes
        return {
            "unitlens": versions()["unitlens"],
            "network": describe_network(self.net),
            "data": {"source": described(self.data).source, "opened": {}, **self.opened, **data},
            "concepts": [str(source) for source in self.drawn.sources],
            "replay": replay,
            "timings": {"seconds": measured.seconds},
            "warnings": list(notes),
            "versions": versions(),
        }


def note_few_folds(notes: list[str], data: Mapping[str, Any], images: Ints) -> None:
    """Warn where the images of a measurement, by fold (32,), fill too few folds for intervals."""
    if int((images > 0).sum()) < FEWEST_FOLDS:
        _note(notes, few_folds(data, images))


def note_not_drawn(notes: list[str], concept: str, images: int) -> None:
    """Warn of units that were chosen for a concept which no untouched image shows."""
    _note(
        notes,
        f"{concept} is drawn in none of the {images} untouched images: no unit can be known to draw it, and those that "
        "were chosen for it may be any.",
    )


def _note(notes: list[str], text: str) -> None:
    notes.append(text)
    warnings.warn(text, UnitlensWarning, stacklevel=6)


def drawn_concepts(concepts: Concepts, data: Data | None = None) -> DrawnConcepts:
    """What says what is drawn: a source or several; or those that are stacked on the latents.

    Raises
    ------
    UnitlensError
        If nothing does.
    """
    if concepts is None:
        return DrawnConcepts.of(() if data is None else described(data).drawn_sources)
    return DrawnConcepts.of(concepts if isinstance(concepts, Sequence) else [concepts])


def unit_positions(where: Any, grid: Sequence[int], layer: str) -> Tensor | None:
    """Where units are replaced: a mask, or one or several positions (row, column) of the layer's grid.

    Raises
    ------
    UnitlensError
        If a position lies outside the grid, or the layer has none.
    """
    if where is None:
        return None
    array = np.asarray(where)
    if array.dtype.kind not in "iu" or array.ndim not in (1, 2) or array.shape[-1] != 2:
        positions = Replacement(where=where).where
        if not isinstance(positions, torch.Tensor):
            raise UnitlensError(f"where is {where!r}, of tokens; of drawn images it is a mask, or rows and columns.")
        return positions
    if len(grid) != 2:
        raise UnitlensError(f"{layer} has no grid, so that there are no positions in it: leave where out.")
    mask = torch.zeros(*grid, dtype=torch.bool)
    for row, column in array.reshape(-1, 2).tolist():
        if not (0 <= row < grid[0] and 0 <= column < grid[1]):
            position = f"({row}, {column})"
            given = spelled(python=position, shell=f"--at {column},{row}, as row and column {position},")
            raise UnitlensError(
                f"The position {given} lies "
                f"outside of the grid of {layer}, which has {grid[0]} rows and {grid[1]} columns, counted from 0."
            )
        mask[row, column] = True
    return mask
