"""What units say of images, in one pass: the peak of each, and how much of the image it is above its threshold."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from unitlens.data.batches import Batch, Batches, ImageRecord
from unitlens.data.columns import Columns
from unitlens.data.concepts import Data
from unitlens.data.reading import Reading
from unitlens.dissection.settings import Settings
from unitlens.models.activations import Readout, reader
from unitlens.models.network import Network
from unitlens.models.passes import evaluating
from unitlens.stats.scores import Floats, Ints

if TYPE_CHECKING:
    from unitlens.explaining.asked import AskedLayer


@dataclass(frozen=True, eq=False)
class UnitReadings:
    """What was read of N images.

    Attributes
    ----------
    record : ImageRecord
        Of the images, in their order.
    indices, folds : int64 arrays, (N,)
        Their indices in the data; their folds, 0 to 31.
    peaks, areas : mapping of str to float64 array, (N, U)
        Of each layer: the units' largest activations, and the shares of the label grid above their thresholds.
    outputs : float64 array, (N, K), or None
        Scores of classes; None where the network returns something else.
    concept_areas : float64 array, (N, C)
        The share of the image that each concept of the data takes.
    """

    record: ImageRecord
    indices: Ints
    folds: Ints
    peaks: Mapping[str, Floats]
    areas: Mapping[str, Floats]
    outputs: Floats | None
    concept_areas: Floats


def read_units(
    net: Network,
    data: Data,
    layers: Sequence["AskedLayer"],
    settings: Settings,
    reading: Reading,
) -> UnitReadings:
    """Run the network once on every image.

    Parameters
    ----------
    net : Network
    data : Data
    layers : sequence of AskedLayer
        Of one dissection: the layers, and the thresholds of their units.
    settings : Settings
        Of the dissection: how layers are read, and brought to the label grid.
    reading : Reading

    Raises
    ------
    UnitlensError
        If no image can be read, the network fails, or a layer has another number of units.
    """
    columns = Columns.of(data.concepts)
    # what is marked is sampled at every pixel: of small things a coarser grid may see nothing
    grid = net.preprocessing.image_size if columns.concepts else (1, 1)
    batches = Batches(data, net.preprocessing, reading, columns=columns, grid=grid, task="looking")
    places = tuple(layer.place for layer in layers)
    read = reader(net, Readout(places, settings.tap, settings.layout, layers[0].basis))
    parts = _Parts(layers, settings)
    with evaluating(net.model):
        for batch in batches:
            maps, outputs = read(net.prepare(batch.images))
            parts.add(batch, maps, outputs, columns)
    return parts.joined(batches.record)


@dataclass(frozen=True, eq=False)
class _Parts:
    """Batch after batch."""

    layers: Sequence["AskedLayer"]
    settings: Settings
    indices: list[int] = field(default_factory=list)
    folds: list[int] = field(default_factory=list)
    peaks: list[dict[str, Floats]] = field(default_factory=list)
    areas: list[dict[str, Floats]] = field(default_factory=list)
    outputs: list[Floats | None] = field(default_factory=list)
    concepts: list[Floats] = field(default_factory=list)

    def add(self, batch: Batch, maps: Mapping[str, Tensor], outputs: object, columns: Columns) -> None:
        self.indices.extend(batch.indices)
        self.folds.extend(batch.folds)
        for layer in self.layers:
            layer.labelled.check_count(maps[layer.place].shape[1], layer.name)
        self.peaks.append({layer.name: _numbers(maps[layer.place].flatten(2).amax(2)) for layer in self.layers})
        self.areas.append({layer.name: self._active(layer, maps[layer.place]) for layer in self.layers})
        scores = isinstance(outputs, Tensor) and outputs.ndim == 2 and outputs.shape[1] > 1
        self.outputs.append(_numbers(outputs) if scores else None)  # type: ignore[arg-type]
        self.concepts.append(np.stack([_marked(planes, columns) for planes in batch.planes]))

    def _active(self, layer: "AskedLayer", maps: Tensor) -> Floats:
        """The share of the label grid on which each unit is above its threshold, (N, U)."""
        images, units = maps.shape[:2]
        above, grid = layer.labelled.active(maps, self.settings)
        count = torch.bincount(above.image * units + above.unit, minlength=images * units)
        return _numbers(count.view(images, units)) / (grid[0] * grid[1])

    def joined(self, record: ImageRecord) -> UnitReadings:
        """All of them."""
        outputs = [part for part in self.outputs if part is not None]
        return UnitReadings(
            record=record,
            indices=np.array(self.indices, dtype=np.int64),
            folds=np.array(self.folds, dtype=np.int64),
            peaks=self._of_layers(self.peaks),
            areas=self._of_layers(self.areas),
            outputs=np.concatenate(outputs) if len(outputs) == len(self.outputs) else None,
            concept_areas=np.concatenate(self.concepts),
        )

    def _of_layers(self, parts: Sequence[Mapping[str, Floats]]) -> dict[str, Floats]:
        return {layer.name: np.concatenate([part[layer.name] for part in parts]) for layer in self.layers}


def _numbers(values: Tensor) -> Floats:
    return values.detach().double().cpu().numpy()


def _marked(planes: npt.NDArray[np.int16], columns: Columns) -> Floats:
    """The share of an image that each concept takes, (C,), from the columns of its cells."""
    counts = np.bincount(planes.ravel(), minlength=columns.count)[1 : 1 + len(columns.concepts)]
    return np.asarray(counts / max(planes.shape[1], 1))
