"""How active units are where a concept is drawn: what they are set to for drawing it elsewhere."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from unitlens.ablation.responses.areas import drawn_images
from unitlens.data.batches import Batches
from unitlens.data.concepts import Data
from unitlens.data.drawn import CategoryMaps, DrawnConcepts
from unitlens.data.reading import Reading
from unitlens.editing.painting.scenes import Painter
from unitlens.stats.scores import Floats

FEWEST = 8
"""Positions of a layer's grid that have to show a concept, for a mean over them."""


@dataclass(frozen=True, eq=False)
class TypicalActivations:
    """Mean activations of units where each concept is drawn.

    Attributes
    ----------
    columns : mapping of (str, str) to int
        Which of the C concepts is meant, by category and name.
    means : mapping of str to float64 array, (C, U)
        Of each layer with a grid: mean activation of its units over the positions more than half of which show the
        concept; NaN of concepts with fewer than `FEWEST` such positions.
    overall, spread : mapping of str to float64 array, (U,)
        Of each layer: mean and standard deviation of its units over all positions of all images.
    shown : int64 array, (C,)
        In how many images each concept is drawn at all.
    images : int
        How many were looked at.
    """

    columns: Mapping[tuple[str, str], int]
    means: Mapping[str, Floats]
    overall: Mapping[str, Floats]
    spread: Mapping[str, Floats]
    shown: npt.NDArray[np.int64]
    images: int


def typical_activations(painter: Painter, drawn: DrawnConcepts, latents: Data, reading: Reading) -> TypicalActivations:
    """Draw images, mark the concepts in them, and average the activations of units where each is.

    Parameters
    ----------
    painter : Painter
        A network, cut at the layers.
    drawn : DrawnConcepts
        What says which concepts are where.
    latents : Data
    reading : Reading
        How many, and how they are read.
    """
    gridded = {name: layer for name, layer in painter.layers.items() if len(layer.grid) == 2}
    sums = {name: _Sums.of(len(drawn.concepts), layer.units) for name, layer in gridded.items()}
    shown, images = np.zeros(len(drawn.concepts), np.int64), 0
    for batch in Batches(latents, painter.net.preprocessing, reading, task="drawing"):
        inputs = painter.net.prepare(batch.images)
        state = painter.cut.front(inputs)
        marked = drawn.maps(drawn_images(painter.net, inputs, state.output))
        shown += (drawn.areas(marked) > 0).sum(0)
        images += len(inputs)
        recorded = {painter.cut.layer: state.activation, **state.later}
        for name, layer in gridded.items():
            activation = layer.space.read(recorded[name]).double().cpu()
            for image in range(len(inputs)):
                sums[name].add(activation[image], _of_image(marked, image))
    columns = {(concept.category, concept.name): column for column, concept in enumerate(drawn.concepts)}
    return TypicalActivations(
        columns,
        means={name: of_layer.means() for name, of_layer in sums.items()},
        overall={name: of_layer.overall() for name, of_layer in sums.items()},
        spread={name: of_layer.spread() for name, of_layer in sums.items()},
        shown=shown,
        images=images,
    )


@dataclass(eq=False)
class _Sums:
    """Sums of a layer's activations: where each concept is, and everywhere."""

    where: Floats
    positions: npt.NDArray[np.int64]
    total: Floats
    squares: Floats
    count: int = 0

    @classmethod
    def of(cls, concepts: int, units: int) -> "_Sums":
        """Nothing yet."""
        return cls(np.zeros((concepts, units)), np.zeros(concepts, np.int64), np.zeros(units), np.zeros(units))

    def add(self, activation: Tensor, planes: Sequence[npt.NDArray[np.int16]]) -> None:
        """Add the activations of one image, (U, h, w), and what its planes show, each (rows, columns)."""
        grid = activation.shape[1:]
        self.total += activation.sum((1, 2)).numpy()
        self.squares += activation.square().sum((1, 2)).numpy()
        self.count += grid.numel()
        for plane in planes:
            there = np.unique(plane[plane > 0])
            if not len(there):
                continue
            masks = torch.from_numpy(plane[None] == there[:, None, None]).double()
            mostly = F.adaptive_avg_pool2d(masks, (grid[0], grid[1])) > 0.5
            self.where[there - 1] += torch.einsum("chw,uhw->cu", mostly.double(), activation).numpy()
            self.positions[there - 1] += mostly.sum((1, 2)).numpy()

    def means(self) -> Floats:
        """Means where each concept is, (C, U)."""
        positions = self.positions[:, None]
        return np.where(positions >= FEWEST, self.where / np.maximum(positions, 1), np.nan)

    def overall(self) -> Floats:
        """Means everywhere, (U,)."""
        return self.total / self.count

    def spread(self) -> Floats:
        """Standard deviations everywhere, (U,)."""
        return np.asarray(np.sqrt(np.maximum(self.squares / self.count - self.overall() ** 2, 0)))


def _of_image(marked: Sequence[CategoryMaps], image: int) -> list[npt.NDArray[np.int16]]:
    """All planes of one image, each (rows, columns)."""
    return [plane for of_category in marked for plane in of_category.maps[image]]
