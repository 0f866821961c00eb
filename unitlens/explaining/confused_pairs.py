"""Errors by pairs of classes: which concepts pull images of one class towards another."""

import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from unitlens.ablation.activity import LayerValues
from unitlens.ablation.interventions import Replacement
from unitlens.ablation.measuring import Design, measure
from unitlens.ablation.replay.replayed import MeasuredImages
from unitlens.ablation.responses.per_image import ImageValues, PerImage
from unitlens.ablation.responses.predictions import predictions
from unitlens.data.classes import Classes, join_classes
from unitlens.data.concepts import Data
from unitlens.data.groups import Groups, grouped
from unitlens.data.inmemory.dataset import as_data
from unitlens.data.reading import Reading, Subset
from unitlens.dissection.reopening import as_network
from unitlens.dissection.result import Dissection
from unitlens.errors import UnitlensError, UnitlensWarning
from unitlens.explaining.asked import AskedLayer, class_count, describe, given_value, network_images
from unitlens.explaining.confusions_result import ConfusedPair, Confusions, PulledImages
from unitlens.models.bases import BasisLike
from unitlens.models.fast.precision import Fast, chosen_precision
from unitlens.models.network import Network
from unitlens.stats.scores import Ints

PAIRS = 12
"""So many pairs of classes are looked at: those that are confused most often."""

RIGHT = 200
"""So many images of a class that are classified rightly are compared with, at most."""

SHOWN = 8
"""So many images of a pair are kept to be shown."""


def confusions(
    net: Network | nn.Module,
    dissection: Dissection,
    data: Data | str | Path,
    *,
    layer: str | None = None,
    pairs: int = PAIRS,
    value: float | Literal["mean"] = 0.0,
    basis: BasisLike | None = None,
    groups: Groups | None = None,
    limit: int | None = None,
    batch_size: int = 32,
    workers: int = 0,
    seed: int = 0,
    strict: bool = False,
    fast: bool | Fast = False,
    progress: bool = False,
) -> Confusions:
    """Find what pulls images of one class towards another: concepts whose removal takes the wrong class's lead away.

    Every image is classified once. Of the pairs of classes that are confused most often, the images that were taken for
    the other class, and beside them those of the same class that were classified rightly, are classified again without
    the units of each concept (and without each unit that has no good label).

    Parameters
    ----------
    net : Network or torch.nn.Module
        The one that was dissected, or its module: images are prepared as they were then. It returns scores of classes.
    dissection : Dissection
        Of its units.
    data : Data, str or Path
        Images with classes; a string is what ``--data`` takes.
    layer : str, optional
        Its name; that of the dissection, where it is of one layer.
    pairs : int
        So many pairs of classes, those that are confused most often.
    value : float or "mean"
        As for `unitlens.explain`; of heads of attention the means over ``data``.
    basis : matrix, file of one, or Dictionary, optional
        As for `unitlens.explain`.
    groups : optional
        Images that belong together, as for `unitlens.dissect`: they fall into the same fold.
    limit, batch_size, workers, seed, strict, fast, progress
        As for `unitlens.ablate`.

    Returns
    -------
    Confusions

    Raises
    ------
    UnitlensError
        If no image has a class, none is classified wrongly, or as for `unitlens.explain`.

    Examples
    --------
    >>> import unitlens as ul
    >>> net = ul.load("bundled:scenes")
    >>> d = ul.dissect(net, "relu6", ul.Scenes(36), exemplars=0)
    >>> ul.confusions(net, d, ul.Scenes(36)).table().columns[:4].tolist()
    ['class', 'predicted', 'images', 'right_images']
    """
    net = as_network(net, dissection.info)
    data = as_data(data)
    data = grouped(data, groups, limit=limit, seed=seed)
    if pairs < 1:
        raise UnitlensError(f"pairs is {pairs}; it is 1 or more.")
    of = AskedLayer.of(net, dissection, layer, basis)
    labelled, layers = of.labelled, (of.place,)
    values = (LayerValues(Replacement(given_value(value, net, dissection, of, data))),)
    reading = Reading(batch_size=batch_size, workers=workers, limit=limit, seed=seed, strict=strict, progress=progress)
    precision = chosen_precision(fast)
    # 1. who is taken for whom
    asked = PerImage(_predicted, with_class=True)
    design = Design(layers, values, asked, sets=(), fast=precision, basis=of.basis)
    classified = measure(net, data, design, reading)
    classes = join_classes(data, net.classes, class_count(net))
    truth = np.array([classes.output_of[str(class_)] for class_ in classified.counts.classes])
    guessed = classified.counts.before[:, 0].astype(np.int64)
    confused = _most_confused(truth, guessed, pairs)
    if not confused:
        raise UnitlensError(
            f"All {len(truth)} images are classified rightly, so that there are no errors to explain: use more images."
        )
    # 2. what removing concepts does to the images of these pairs
    sets = [concept.units for concept in labelled.concepts]
    sets += [(unit,) for unit in labelled.unlabelled(range(len(labelled)))]
    indices = _images_of(confused, truth, guessed, classified.counts.indices)
    asked = PerImage(_Leads(confused, classes).read, with_class=True)
    design = replace(design, response=asked, sets=tuple((units,) for units in sets))
    concerned = Subset(data, indices)
    measured = measure(net, concerned, design, replace(reading, limit=None))
    notes = list(dict.fromkeys([*classified.notes, *measured.notes]))
    for note in notes:
        warnings.warn(note, UnitlensWarning, stacklevel=2)
    return Confusions(
        info=describe(
            net,
            data,
            classified.data,
            settings={"layer": of.name, "value": value, "pairs": pairs},
            seconds=classified.seconds + measured.seconds,
            notes=notes,
            replay=measured.replay,
        ),
        layer=of.name,
        classes=classes.names,
        labelled=labelled,
        sets=tuple(sets),
        pairs=_pairs_of(confused, classes, measured.counts, net, concerned),
        errors=int((truth != guessed).sum()),
        images=len(truth),
    )


def _predicted(images: MeasuredImages, outputs: Tensor) -> Tensor:
    return torch.from_numpy(predictions(outputs, "The network's outputs"))[..., None]


def _most_confused(truth: Ints, guessed: Ints, most: int) -> list[tuple[int, int]]:
    """The pairs of classes that are confused most often, (own, predicted)."""
    counted = Counter(pair for pair in zip(truth.tolist(), guessed.tolist(), strict=True) if pair[0] != pair[1])
    return [pair for pair, _ in sorted(counted.items(), key=lambda item: (-item[1], item[0]))[:most]]


def _images_of(pairs: Sequence[tuple[int, int]], truth: Ints, guessed: Ints, indices: Ints) -> list[int]:
    """The images of the pairs, and evenly spread ones of the same classes that were classified rightly."""
    chosen = np.zeros(len(truth), bool)
    for own, other in pairs:
        chosen |= (truth == own) & (guessed == other)
    for own in {own for own, _ in pairs}:
        rightly = np.flatnonzero((truth == own) & (guessed == own))
        chosen[rightly[np.unique(np.linspace(0, len(rightly) - 1, min(RIGHT, len(rightly))).astype(int))]] = True
    kept: list[int] = indices[chosen].tolist()
    return kept


class _Leads:
    """Reads the lead of each class over an image's own that it is confused with, and which class is predicted."""

    def __init__(self, pairs: Sequence[tuple[int, int]], classes: Classes) -> None:
        self.classes = classes
        self.others = _others(pairs)

    def read(self, images: MeasuredImages, outputs: Tensor) -> Tensor:
        """From outputs (V, N, K) to (V, N, classes that any class is confused with at most, and 1)."""
        own, device = images.truth(self.classes), outputs.device
        width = max(map(len, self.others.values()))
        rivals = torch.tensor([(self.others[k] + [k] * width)[:width] for k in own.tolist()], device=device)
        others, right = (
            outputs.double().gather(2, index.expand(len(outputs), -1, -1))
            for index in (rivals, torch.from_numpy(own).to(device)[:, None])
        )
        return torch.cat([others - right, outputs.argmax(2, keepdim=True).double()], 2)


def _others(pairs: Sequence[tuple[int, int]]) -> dict[int, list[int]]:
    """The classes that each class is confused with."""
    others: dict[int, list[int]] = {}
    for own, other in pairs:
        others.setdefault(own, []).append(other)
    return others


def _pairs_of(
    pairs: Sequence[tuple[int, int]], classes: Classes, values: ImageValues, net: Network, data: Data
) -> tuple[ConfusedPair, ...]:
    """What was measured of each pair; the numbers are of the images of these data."""
    truth = np.array([classes.output_of[str(class_)] for class_ in values.classes])
    guessed = values.before[:, -1]
    others, found = _others(pairs), []
    for own, other in pairs:
        place = others[own].index(other)
        wrong, rightly = (np.flatnonzero((truth == own) & (guessed == said)) for said in (other, own))
        of_wrong, of_right = (_pulled(values, rows, own, place) for rows in (wrong, rightly))
        shown = network_images(net, Subset(data, values.indices[wrong[:SHOWN]].tolist()))
        found.append(ConfusedPair(own, other, of_wrong, of_right, shown))
    return tuple(found)


def _pulled(values: ImageValues, rows: Ints, own: int, place: int) -> PulledImages:
    """Some images of a class, with the lead of the other class in one place of their numbers."""
    pull = values.before[rows, None, place] - values.after[rows, :, place]
    right = values.after[rows, :, -1] == own
    return PulledImages([values.names[row] for row in rows], values.folds[rows], pull, right)
