"""Attack images of a class, and see which units and concepts change."""

import dataclasses
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from unitlens.data.batches import Batches
from unitlens.data.classes import Classes
from unitlens.data.concepts import Concept, Data, DataDescription, Example, described
from unitlens.data.groups import Groups, grouped
from unitlens.data.inmemory.dataset import as_data
from unitlens.data.readers.given import images_of
from unitlens.data.readers.paired import pair_images
from unitlens.data.reading import Reading, Subset, chosen_images
from unitlens.dissection.provenance import describe_read
from unitlens.dissection.reopening import as_network
from unitlens.dissection.result import Dissection
from unitlens.errors import UnitlensError, UnitlensWarning
from unitlens.explaining.asked import AskedLayer, output_classes
from unitlens.explaining.pairs.attack_methods import AttackSettings, attack_images, to_8_bit
from unitlens.explaining.pairs.attack_result import Attack
from unitlens.explaining.pairs.image_pairs import compare_pairs
from unitlens.models.bases import BasisLike
from unitlens.models.network import Network
from unitlens.models.passes import evaluating
from unitlens.stats.scores import Bools

MOST = 40
"""So many images are attacked, unless it is said."""


def attack(
    net: Network | nn.Module,
    dissection: Dissection,
    data: Data,
    of_class: str | int,
    target: str | int | None = None,
    *,
    method: str = "pgd",
    epsilon: float = 8 / 255,
    norm: str | None = None,
    steps: int = 20,
    layer: str | None = None,
    groups: Groups | None = None,
    interval: float = 0.95,
    basis: BasisLike | None = None,
    limit: int | None = MOST,
    batch_size: int = 20,
    workers: int = 0,
    seed: int = 0,
    strict: bool = False,
    progress: bool = False,
) -> Attack:
    """Attack images of a class that are predicted rightly, and find the units and the concepts that change.

    Images are attacked as the network sees them, at its input size, in [0, 1]; what is measured is the attacked image
    in 8 bits, as a file holds it: every number is rounded towards what it was, so that it stays within epsilon.

    Parameters
    ----------
    net : Network or torch.nn.Module
        The one that was dissected, or its module: images are prepared as they were then. It returns scores of classes.
    dissection : Dissection
        Of its units: their concepts, verdicts and thresholds.
    data : Data
        Images with classes.
    of_class : str or int
        The class whose images are attacked.
    target : str or int, optional
        The class that they are to be taken for; any other, unless given.
    method : {"pgd", "fgsm", "cw", "autoattack"}
        The last two need ``pip install unitlens[attacks]``.
    epsilon : float
        How far any number of an image in [0, 1] may move; with the norm "l2" the whole image. Not of "cw".
    norm : {"linf", "l2"}, optional
        "l2" is for "pgd" and "autoattack", and that of "cw".
    steps : int
        Of "pgd" and "cw".
    layer : str, optional
        Of the units; that of the dissection, where it is of one layer.
    groups : optional
        Which images belong together, as for `unitlens.dissect`; by default those of the data.
    interval : {0.95, 0.99}
        Of the changes of units.
    basis : matrix, file of one, or Dictionary, optional
        As for `unitlens.explain`.
    limit : int, optional
        So many images of the class are attacked at most; None: all.
    batch_size, workers, seed, strict, progress
        As for `unitlens.dissect`.

    Returns
    -------
    Attack

    Raises
    ------
    UnitlensError
        If there is no such class or method, no image of the class is predicted rightly, or a setting is out of range.

    Warns
    -----
    UnitlensWarning
        If images are left out, or are too few for intervals.

    References
    ----------
    Goodfellow et al., "Explaining and harnessing adversarial examples", ICLR 2015. Madry et al., "Towards deep learning
    models resistant to adversarial attacks", ICLR 2018. Bau et al., PNAS 117 (2020), figure 5.

    Examples
    --------
    >>> import unitlens as ul
    >>> net, scenes = ul.load("bundled:scenes"), ul.Scenes(150)
    >>> d = ul.dissect(net, "relu6", ul.Scenes(24), exemplars=0)
    >>> attacked = ul.attack(net, d, scenes, "ski_slope", "beach", steps=2)
    >>> attacked.of_class, attacked.target, bool((attacked.linf <= 8 / 255 + 1e-9).all())
    ('ski_slope', 'beach', True)
    """
    net = as_network(net, dissection.info)
    asked = AskedLayer.of(net, dissection, layer, basis)  # what is wrong with these is said before the attack
    data = as_data(data)
    outputs = output_classes(net, data)
    own, aim = outputs.output(of_class), None if target is None else outputs.output(target)
    if aim == own:
        raise UnitlensError(f"The images are of {of_class} already: choose another target.")
    by = AttackSettings(method, epsilon, _norm(method, norm), steps, aim, seed)
    images = images_of(grouped(data, groups), of_class=_of_data(own, outputs))
    reading = Reading(batch_size=batch_size, workers=workers, seed=seed, strict=strict, progress=progress)
    chosen = images if limit is None else Subset(images, chosen_images(images, limit, seed=seed))
    batches = Batches(chosen, net.preprocessing, reading, task="attacking")
    found = _joined(list(_attacked(net, batches, own, by)), f"{len(batches.record.names)} images of {of_class}")
    for note in batches.record.notes:
        warnings.warn(note, UnitlensWarning, stacklevel=2)
    source = described(data).source
    before, after = (
        NetworkImages(pixels, tuple(found.names), tuple(found.groups), source, outputs.output_of)
        for pixels in (found.images, found.attacked)
    )
    # the images are prepared already: at the network's input size, preparing them again changes nothing
    whole = replace(net, preprocessing=net.preprocessing.of_prepared_images())
    pairs, reading = pair_images(before, after), Reading(batch_size=batch_size, progress=progress)
    changes = compare_pairs(whole, asked, pairs, dissection.settings, reading, interval=interval)
    eight_bits = found.images.dtype == np.uint8
    moved = (found.attacked.astype(np.float64) - found.images) / (255 if eight_bits else 1)
    read = {"source": source, **describe_read(batches.record, (), measured=len(found.names))}
    settings = {**changes.info["settings"], "attack": dataclasses.asdict(by), "bits": 8 if eight_bits else 32}
    return Attack(
        info={**changes.info, "data": read, "settings": settings},
        changes=changes,
        of_class=outputs.names[own],
        target=None if aim is None else outputs.names[aim],
        success=_succeeds(changes.outputs[1].argmax(1), own, aim),
        success_float=_succeeds(found.predicted, own, aim),
        linf=np.abs(moved).max((1, 2, 3)),
        l2=np.sqrt((moved**2).sum((1, 2, 3))),
        attacked=found.attacked,
    )


@dataclass(frozen=True, eq=False, repr=False)
class NetworkImages:
    """Images of a network's input size; a `unitlens.data.concepts.Data`."""

    pixels: npt.NDArray[Any]
    names: tuple[str, ...]
    groups: tuple[str, ...]
    source: str
    class_index: Any
    concepts: tuple[Concept, ...] = ()

    @property
    def description(self) -> DataDescription:
        """Their names, and what classes are called."""
        return DataDescription(self.source, names=self.names, class_index=self.class_index, grouped=True)

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, index: int, /) -> Example:
        return Example(self.pixels[index], {}, self.names[index], group=self.groups[index])


class _Attacked(NamedTuple):
    """Images that are predicted rightly, (P, height, width, 3), attacked; what is predicted before rounding, (P,)."""

    names: Any
    groups: Any
    images: npt.NDArray[Any]
    attacked: npt.NDArray[Any]
    predicted: npt.NDArray[np.int64]


def _attacked(net: Network, batches: Batches, own: int, by: AttackSettings) -> Iterator[_Attacked]:
    """Attack the images of each batch that are predicted as their class."""
    for batch in batches:
        right = np.flatnonzero(_predict(net, net.prepare(batch.images)) == own)
        if not len(right):
            continue
        images = batch.images[torch.from_numpy(right)]
        attacked = attack_images(net, images, torch.full((len(right),), own), by)
        predicted = _predict(net, net.preprocessing.normalise(attacked).to(net.dtype))
        deep = images.is_floating_point()  # what has more than 8 bits is not rounded to them
        rounded = attacked.cpu() if deep else to_8_bit(attacked, images, bounded=by.method != "cw")
        yield _Attacked(
            np.array([batch.names[i] for i in right], dtype=object),
            np.array([batch.groups[i] for i in right], dtype=object),
            images.permute(0, 2, 3, 1).numpy(),
            rounded.permute(0, 2, 3, 1).numpy(),
            predicted,
        )


def _joined(parts: list[_Attacked], images: str) -> _Attacked:
    """Those of all batches; ``images`` says which images they are, if none of them is predicted rightly."""
    if not parts:
        raise UnitlensError(f"None of {images} is predicted as it: there is nothing to attack.")
    return _Attacked(*(np.concatenate(values) for values in zip(*parts, strict=True)))


def _predict(net: Network, inputs: Tensor) -> npt.NDArray[np.int64]:
    with evaluating(net.model), net.pass_errors(inputs):
        predicted: npt.NDArray[np.int64] = net.model(inputs).argmax(1).cpu().numpy()
    return predicted


def _succeeds(predicted: npt.NDArray[np.int64], own: int, aim: int | None) -> Bools:
    return np.asarray(predicted != own if aim is None else predicted == aim)


def _of_data(own: int, outputs: Classes) -> str:
    """What the data call the class of an output."""
    named = {output: name for name, output in outputs.output_of.items()}
    return named.get(own, outputs.names[own])


def _norm(method: str, norm: str | None) -> str:
    if norm is not None:
        return norm
    return "l2" if method == "cw" else "linf"
