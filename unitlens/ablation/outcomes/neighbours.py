"""Classes of an encoder by the images that are nearest to one: the usual test of DINO and its like."""

import math
from pathlib import Path

import torch

from unitlens.ablation.outcomes.centroids import image_vectors, in_order
from unitlens.data.concepts import Data
from unitlens.data.inmemory.dataset import as_data
from unitlens.data.reading import Reading, warning_of_unread
from unitlens.errors import UnitlensError, argument
from unitlens.models.network import Network
from unitlens.models.units.encoders import NearestNeighbours
from unitlens.models.units.zero_shot import encoded
from unitlens.plurals import counted

NEIGHBOURS, TEMPERATURE = 20, 0.07
"""Those of DINO's paper."""


def nearest_neighbours(
    net: Network,
    data: Data | str | Path,
    *,
    k: int = NEIGHBOURS,
    temperature: float = TEMPERATURE,
    limit: int | None = None,
    batch_size: int = 32,
    workers: int = 0,
    seed: int = 0,
    progress: bool = False,
) -> Network:
    """Give an encoder of images classes: those of the k images that are nearest to the one it is shown.

    Of the k other images whose vectors have the largest cosines with an image's, each votes for its class with
    exp(cosine / temperature). A class's logit is the logarithm of its votes, so that the softmax is each class's share
    of them; where no neighbour is of a class, its votes are those of one image that is as far away as can be. With it,
    `unitlens.ablate`, `unitlens.importance`, `unitlens.explain` and all others measure what units do to these
    predictions. An image that is among those that vote has no vote on itself, nor have copies of it: effects may be
    measured on the same images. A changed image, such as an attacked one, is another one.

    Parameters
    ----------
    net : Network
        It returns (N, D), or what has ``image_embeds`` or ``pooler_output``.
    data : Data, str or Path
        Images with classes; those without one are left out. What the encoder returns for each is kept in memory.
    k : int
        So many neighbours vote.
    temperature : float
        The smaller, the more the nearest of them decide.
    limit, batch_size, workers, seed, progress
        As for `unitlens.dissect`.

    Returns
    -------
    Network
        Its layers are those of ``net`` behind ``encoder.``, and its weights the same. Classes are in the order of their
        outputs where the data number them, else of their names.

    Raises
    ------
    UnitlensError
        If fewer than k images or than two classes are there, the network does not return a vector of each image, or k
        or the temperature is out of range.

    Warns
    -----
    UnitlensWarning
        If images could not be read, and are left out.

    References
    ----------
    Wu et al., "Unsupervised feature learning via non-parametric instance discrimination", CVPR 2018. Caron et al.,
    "Emerging properties in self-supervised vision transformers", ICCV 2021: k = 20 and a temperature of 0.07.

    Examples
    --------
    >>> import unitlens as ul
    >>> net = ul.nearest_neighbours(ul.load("bundled:scenes"), ul.Scenes(48), k=5)
    >>> net.classes[:2], net.output_count()
    (('bathroom', 'beach'), 12)
    """
    if isinstance(k, bool) or not isinstance(k, int) or k < 1:
        raise UnitlensError(f"k is {k!r}; it is a whole number from 1, such as 20.")
    if not (isinstance(temperature, int | float) and temperature >= 0.005):
        raise UnitlensError(f"temperature is {temperature}; it is a number from 0.005, such as 0.07.")
    data = as_data(data)
    reading = Reading(batch_size=batch_size, workers=workers, limit=limit, seed=seed, progress=progress)
    with warning_of_unread():
        found = list(image_vectors(net, data, reading))
    names = in_order({one.class_ for one in found}, data)
    if len(names) < 2:
        raise UnitlensError(
            f"The images are of {counted(len(names), 'class', 'classes')}, and neighbours vote for one of several: "
            "give images of two classes or more."
        )
    if len(found) < k:
        raise UnitlensError(
            f"{k} neighbours are to vote, and {counted(len(found), 'image')} with a class are there: give more images, "
            f"or a smaller number ({argument('k', option='--nearest')})."
        )
    number = {name: place for place, name in enumerate(names)}
    vectors = torch.stack([one.vector for one in found]).to(net.device, net.dtype)
    seen = torch.stack([one.seen for one in found]).to(net.device)
    classes = torch.tensor([number[one.class_] for one in found], device=net.device)
    model = NearestNeighbours(
        *(net.model, vectors, seen, classes, len(names)),
        numbers=net.preprocessing.count * math.prod(net.preprocessing.image_size),
        k=k,
        temperature=float(temperature),
    )
    return encoded(net, model, tuple(names))
