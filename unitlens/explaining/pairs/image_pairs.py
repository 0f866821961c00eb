"""Compare images in pairs, before and after something: which units change, and do they matter for the predictions."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from unitlens.ablation.activity import LayerValues
from unitlens.ablation.interventions import Replacement
from unitlens.ablation.measuring import Design, measure
from unitlens.ablation.replay.replayed import MeasuredImages
from unitlens.ablation.responses.per_image import PerImage
from unitlens.data.groups import Groups
from unitlens.data.readers.paired import PairedImages, Side, pair_images
from unitlens.data.reading import Reading, Subset
from unitlens.dissection.provenance import describe_read
from unitlens.dissection.reopening import as_network
from unitlens.dissection.result import Dissection
from unitlens.dissection.settings import Settings
from unitlens.drawing.changes import Images
from unitlens.errors import UnitlensError, UnitlensWarning
from unitlens.explaining.asked import AskedLayer, describe, network_images, output_classes
from unitlens.explaining.pairs.image_changes import ImageChanges
from unitlens.explaining.readings import UnitReadings, read_units
from unitlens.models.bases import BasisLike
from unitlens.models.network import Network
from unitlens.stats.folds import FEWEST_FOLDS, FOLDS
from unitlens.stats.scores import Floats

SHOWN = 6
"""So many pairs are shown."""


def compare_images(
    net: Network | nn.Module,
    dissection: Dissection,
    before: Side,
    after: Side,
    *,
    layer: str | None = None,
    groups: Groups | None = None,
    interval: float = 0.95,
    basis: BasisLike | None = None,
    batch_size: int = 32,
    workers: int = 0,
    strict: bool = False,
    progress: bool = False,
) -> ImageChanges:
    """Find the units that change between two images, or two lists of images in pairs.

    An image before and after an attack, an edit or a filter; two frames of a film; a scene with and without a thing. Of
    every unit of the layer: how its peak and the share of the image above its threshold change, over pairs. Where the
    prediction changes: whether these units matter for the two classes, by removing each, exactly, by replay.

    Parameters
    ----------
    net : Network or torch.nn.Module
        The one that was dissected, or its module: images are prepared as they were then.
    dissection : Dissection
        Of its units: their concepts, verdicts and thresholds.
    before, after : str, Path, array of (height, width, bands), a sequence of them, or Data
        As many of the one as of the other. Files of two folders are paired by their names, all else by its order.
    layer : str, optional
        Its name; that of the dissection, where it is of one layer.
    groups : optional
        What pairs belong to with others (a film, a place), by their images before, as for `unitlens.dissect`: a file, a
        mapping, a sequence of a name for each pair, ... One group is one draw. By default those of the data.
    interval : {0.95, 0.99}
        How sure the intervals are.
    basis : matrix, file of one, or Dictionary, optional
        As for `unitlens.explain`.
    batch_size, workers, strict, progress
        As for `unitlens.dissect`.

    Returns
    -------
    ImageChanges

    Raises
    ------
    UnitlensError
        If there are not as many images before as after, one cannot be read, or the dissection is of another network.

    Warns
    -----
    UnitlensWarning
        If pairs are left out, or fill too few folds for intervals.

    References
    ----------
    Bau et al., "Understanding the role of individual units in a deep neural network", PNAS 117 (2020), figure 5.

    Examples
    --------
    >>> import unitlens as ul
    >>> net, scenes = ul.load("bundled:scenes"), ul.Scenes(24)
    >>> d = ul.dissect(net, "relu6", scenes, exemplars=0)
    >>> images = [scenes[i].image for i in range(12)]
    >>> brighter = [(image // 2 + 127).astype("uint8") for image in images]
    >>> changes = ul.compare_images(net, d, images, brighter)
    >>> changes.table()[["unit", "peak_change", "peak_low", "peak_high"]].shape
    (128, 4)
    """
    net = as_network(net, dissection.info)
    asked = AskedLayer.of(net, dissection, layer, basis)
    data = pair_images(before, after, groups=groups)
    reading = Reading(batch_size=batch_size, workers=workers, strict=strict, progress=progress)
    return compare_pairs(net, asked, data, dissection.settings, reading, interval=interval)


def compare_pairs(
    net: Network, asked: AskedLayer, data: PairedImages, settings: Settings, reading: Reading, *, interval: float
) -> ImageChanges:
    """Compare the images of pairs as the network prepares them, which need not be as in the dissection.

    Parameters
    ----------
    net : Network
    asked : AskedLayer
    data : PairedImages
    settings : Settings
        Of the dissection.
    reading : Reading
    interval : float
        As for `compare_images`.
    """
    readings = read_units(net, data, [asked], settings, reading)
    rows = _pairs_read(readings, len(data))
    outputs = np.zeros((2, len(rows), 0)) if readings.outputs is None else readings.outputs[rows.T]
    classes = output_classes(net, data).names if outputs.shape[2] else ()
    margins, replay, notes = _margins(net, data, asked, readings, rows, reading)
    notes = [*filter(None, [data.note]), *readings.record.notes, *notes, *_notes(readings, rows, len(data) // 2)]
    for note in notes:
        warnings.warn(note, UnitlensWarning, stacklevel=3)
    read = describe_read(readings.record, (), measured=2 * len(rows))
    info = describe(
        net,
        data,
        read,
        settings={"layer": asked.name, "interval": interval},
        seconds=readings.record.seconds,
        notes=notes,
        replay=replay,
    )
    names = [[name.partition("/")[2] for name in (readings.record.names[row] for row in pair)] for pair in rows]
    return ImageChanges(
        info=info,
        layer=asked.name,
        labelled=asked.labelled,
        classes=classes,
        names=tuple((one, other) for one, other in names),
        folds=readings.folds[rows[:, 0]],
        peaks=readings.peaks[asked.name][rows.T],
        areas=readings.areas[asked.name][rows.T],
        outputs=outputs,
        margins=margins,
        shown=_shown(net, data, readings, rows),
    )


def _pairs_read(readings: UnitReadings, images: int) -> Any:
    """The rows of both images of every pair that could be read, (P, 2).

    Raises
    ------
    UnitlensError
        If there is none.
    """
    row = {index: place for place, index in enumerate(readings.indices.tolist())}
    pairs = [(row[index], row[index + 1]) for index in range(0, images, 2) if index in row and index + 1 in row]
    if not pairs:
        raise UnitlensError("Of no pair both images could be read.")
    return np.array(pairs, dtype=np.int64)


def _notes(readings: UnitReadings, rows: Any, pairs: int) -> list[str]:
    filled = len(np.unique(readings.folds[rows[:, 0]]))
    notes = []
    if len(rows) < pairs:
        notes.append(f"{pairs - len(rows)} of {pairs} pairs are left out, as one of their images cannot be read.")
    if len(rows) > 1 and filled < FEWEST_FOLDS:
        notes.append(
            f"The {len(rows)} pairs fill {filled} of {FOLDS} folds, fewer than {FEWEST_FOLDS}: there are no intervals "
            "(low, high and q_value are empty)."
        )
    return notes


def _margins(
    net: Network, data: PairedImages, layer: AskedLayer, readings: UnitReadings, rows: Any, reading: Reading
) -> tuple[Floats, dict[str, Any], list[str]]:
    """What each unit adds to the lead of the class before over that after, (2, P, U), where they differ."""
    margins = np.full((2, len(rows), len(layer.labelled)), np.nan)
    if readings.outputs is None:
        return margins, {}, []
    names, predicted = readings.record.names, readings.outputs.argmax(1)
    differ = [pair for pair, (one, other) in enumerate(rows) if predicted[one] != predicted[other]]
    if not differ:
        return margins, {}, []
    classes: dict[str, tuple[int, int]] = {}
    for pair in differ:
        lead, other = predicted[rows[pair]].tolist()
        classes |= {names[row]: (lead, other) for row in rows[pair]}
    indices = sorted(int(readings.indices[row]) for pair in differ for row in rows[pair])
    asked = PerImage(_Margin(classes).read)
    values = (LayerValues(Replacement()),)
    design = Design(layers=(layer.place,), values=values, response=asked, basis=layer.basis)
    measured = measure(net, Subset(data, indices), design, reading)
    added = (measured.counts.before[:, None] - measured.counts.after)[..., 0]
    if added.shape[1] != margins.shape[2]:
        reason = "in which its units cannot be removed: whether they matter is not known"
        return margins, measured.replay, [f"{layer.name} is dissected in another layout, {reason}."]
    of_image = dict(zip(measured.counts.names, added, strict=True))
    for pair in differ:
        for side, row in enumerate(rows[pair]):
            margins[side, pair] = of_image[names[row]]
    return margins, measured.replay, [note for note in measured.notes if note not in readings.record.notes]


@dataclass(frozen=True, eq=False)
class _Margin:
    """Reads the lead of one class over another.

    Attributes
    ----------
    classes : mapping of str to (int, int)
        Of each image, by its name: the output that leads, and the other one.
    """

    classes: Mapping[str, tuple[int, int]]

    def read(self, images: MeasuredImages, outputs: Tensor) -> Tensor:
        """From outputs (V, N, K) to (V, N, 1)."""
        names = [images.batch.names[row] for row in images.chosen.tolist()]
        leads, others = torch.tensor([self.classes[name] for name in names], device=outputs.device).T
        image = torch.arange(len(names), device=outputs.device)
        return (outputs[:, image, leads] - outputs[:, image, others]).double()[..., None]


def shown_first(outputs: Floats | None, rows: Any) -> Any:
    """Which pairs are shown: those first whose prediction changes."""
    if outputs is None:
        return np.arange(len(rows))[:SHOWN]
    before, after = outputs.argmax(1)[rows.T]
    return np.argsort(before == after, kind="stable")[:SHOWN]


def _shown(net: Network, data: PairedImages, readings: UnitReadings, rows: Any) -> Images:
    """What the network saw of the first pairs."""
    few = rows[shown_first(readings.outputs, rows)]
    indices = [int(readings.indices[row]) for pair in few for row in pair]
    pixels = network_images(net, Subset(data, indices))
    return Images(pixels[0::2], pixels[1::2])
