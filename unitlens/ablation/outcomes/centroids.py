"""Classes of an encoder that has no texts: the mean of what it returns for images of each."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from unitlens.data.batches import Batches
from unitlens.data.concepts import Data, described
from unitlens.data.inmemory.dataset import as_data
from unitlens.data.reading import Reading, warning_of_unread
from unitlens.errors import UnitlensError
from unitlens.models.network import Network
from unitlens.models.passes import evaluating
from unitlens.models.units.encoders import embedding, recognised_by


def class_centroids(
    net: Network,
    data: Data | str | Path,
    *,
    limit: int | None = None,
    batch_size: int = 32,
    workers: int = 0,
    seed: int = 0,
    progress: bool = False,
) -> dict[str, Tensor]:
    """Return for each class of the images the mean direction of what an encoder returns for them.

    With `unitlens.zero_shot` they make a nearest-centroid classifier of an encoder such as DINO, by cosine. Take other
    images for it than those that effects are measured on.

    Parameters
    ----------
    net : Network
        It returns (N, D), or what has ``image_embeds`` or ``pooler_output``.
    data : Data, str or Path
        Images with classes; those without one are left out.
    limit, batch_size, workers, seed, progress
        As for `unitlens.dissect`.

    Returns
    -------
    dict of str to Tensor, float32 (D,)
        In the order of the classes' outputs where the data number them, else of their names; each the mean of vectors
        of length 1, summed in float64.

    Raises
    ------
    UnitlensError
        If no image has a class, or the network does not return a vector of each image.

    Warns
    -----
    UnitlensWarning
        If images could not be read, and are left out.

    Examples
    --------
    >>> import unitlens as ul
    >>> net = ul.load("bundled:scenes")
    >>> centroids = ul.class_centroids(net, ul.Scenes(24))
    >>> ul.zero_shot(net, centroids).classes == tuple(centroids)
    True
    """
    reading = Reading(batch_size=batch_size, workers=workers, limit=limit, seed=seed, progress=progress)
    sums: dict[str, Tensor] = {}
    counts: dict[str, int] = {}
    data = as_data(data)
    with warning_of_unread():
        for _, vector, class_ in image_vectors(net, data, reading):
            sums[class_] = sums.get(class_, torch.zeros_like(vector)) + vector
            counts[class_] = counts.get(class_, 0) + 1
    if not sums:
        raise UnitlensError("No image has a class, so that there is nothing to take the mean of: give some that do.")
    return {name: (sums[name] / counts[name]).float() for name in in_order(sums, data)}


class ImageVector(NamedTuple):
    """An image that has a class.

    Attributes
    ----------
    seen : int64 Tensor, ()
        What it is recognised by.
    vector : float64 Tensor, (D,)
        What an encoder returns for it, of length 1.
    class_ : str
    """

    seen: Tensor
    vector: Tensor
    class_: str


def image_vectors(net: Network, data: Data, reading: Reading) -> Iterator[ImageVector]:
    """What an encoder returns for each image that has a class."""
    for batch in Batches(data, net.preprocessing, reading, task="embedding"):
        inputs = net.prepare(batch.images)
        recognised = recognised_by(inputs).cpu()
        with evaluating(net.model):
            vectors = functional.normalize(embedding(net.model(inputs)).double(), dim=1).cpu()
        for seen, vector, class_ in zip(recognised, vectors, batch.classes, strict=True):
            if class_ is not None:
                yield ImageVector(seen, vector, str(class_))


def in_order(classes: Iterable[str], data: Data) -> list[str]:
    """Names of classes as the data number their outputs, so that both agree; else sorted."""
    index = {str(name): output for name, output in described(data).class_index.items()}
    return sorted(classes, key=lambda name: (index.get(name, len(index)), name))
