"""Fit a dictionary to a layer's activations in some images: principal components, NMF, or a small autoencoder."""

import warnings
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from unitlens.data.batches import Batches
from unitlens.data.concepts import Data
from unitlens.data.inmemory.dataset import as_data
from unitlens.data.reading import Reading, chosen_images
from unitlens.dissection.dictionaries.autoencoder import train_autoencoder
from unitlens.errors import UnitlensError, UnitlensWarning, argument, did_you_mean, spelled
from unitlens.models.activations import Readout, reader
from unitlens.models.dictionaries.activations import Kind
from unitlens.models.dictionaries.dictionary import Dictionary
from unitlens.models.dictionaries.files import features
from unitlens.models.network import Network
from unitlens.models.passes import evaluating

METHODS = {
    "pca": "principal components",
    "nmf": "non-negative matrix factorisation",
    "topk": "a sparse autoencoder of which K features are active at a position, such as topk:8",
}
"""By the words that ``method=`` takes."""

NMF_ITERATIONS = 400


def fit_features(
    net: Network,
    layer: str,
    data: Data | str | Path,
    *,
    method: str = "nmf",
    count: int = 64,
    positions: int = 100_000,
    steps: int = 2000,
    limit: int | None = None,
    batch_size: int = 32,
    workers: int = 0,
    seed: int = 0,
    progress: bool = False,
) -> Dictionary:
    """Fit a dictionary to the activations of a layer's units, in one pass over images.

    Parameters
    ----------
    net : Network
    layer : str
    data : Data, str or Path
        Marks are not needed. Images on which its features are dissected should be others: a dictionary fits those that
        it was made of best.
    method : str
        "pca" or "nmf", by scikit-learn, or "topk:K", a sparse autoencoder of which K features are active at a position.
    count : int
        How many features.
    positions : int
        It is fitted to so many positions at most, as many of each image, drawn at random; of more images than that,
        to one of each of so many images.
    steps : int
        Of training, of an autoencoder.
    limit, batch_size, workers, progress
        As for `unitlens.dissect`.
    seed : int
        Of positions, of the start, and of training.

    Returns
    -------
    Dictionary
        `Dictionary.save` writes it.

    Raises
    ------
    UnitlensError
        If there is no such method, there is no position or fewer of them than features, PCA has more features than
        units, or activations are below 0 and the method is NMF.

    Warns
    -----
    UnitlensWarning
        If NMF did not converge.
    """
    kind = _method(method)
    if positions < 1:
        raise UnitlensError(f"{argument('positions', positions)} must be 1 or more.")
    seen = _positions(
        net,
        layer,
        as_data(data),
        Reading(batch_size=batch_size, workers=workers, limit=limit, seed=seed, progress=progress),
        most=positions,
        seed=seed,
    )
    _check(seen, kind, count, layer)
    if kind.name == "topk":
        return train_autoencoder(seen, count, int(kind.number or 1), steps=steps, seed=seed)
    return _factorised(seen, kind.name, count, seed)


def _method(text: str) -> Kind:
    name = str(text).partition(":")[0]
    if name not in METHODS:
        raise UnitlensError(
            f"{argument('method', text)} is not known{did_you_mean(name, METHODS)}; there are pca, nmf and topk:K."
        )
    return Kind.parse(text)


def _positions(net: Network, layer: str, data: Data, reading: Reading, *, most: int, seed: int) -> Tensor:
    """Activations of all units at some positions, (positions, U) float32: as many of each image."""
    readout, draw = Readout((layer,)), torch.Generator().manual_seed(seed)
    run = reader(net, readout, outputs=False)
    images = len(chosen_images(data, reading.limit, seed=reading.seed))
    reading = replace(reading, limit=min(images, most))  # of fewer positions than images, one of some of all
    each = most // max(1, min(images, most))
    parts = []
    with evaluating(net.model):
        for batch in Batches(data, net.preprocessing, reading, task="recording"):
            maps = run(net.prepare(batch.images)).maps[layer].float().cpu().flatten(2).mT  # (N, positions, U)
            for image in maps:
                parts.append(image[torch.randperm(len(image), generator=draw)[:each]])
    return torch.cat(parts)


def _check(seen: Tensor, kind: Kind, count: int, layer: str) -> None:
    if not bool(torch.isfinite(seen).all()):
        raise UnitlensError(f"{layer} has NaN or infinite activations, to which no dictionary can be fitted.")
    if count < 1 or count > len(seen):
        raise UnitlensError(
            f"{argument('count', count)} must be 1 or more, and no more than the {len(seen)} positions that it is "
            f"fitted to: give more images, or raise {argument('positions')}."
        )
    if kind.name == "pca" and count > seen.shape[1]:
        raise UnitlensError(
            f"{layer} has {seen.shape[1]} units, and as many principal components at most: lower "
            f"{argument('count', count)}, or take {argument('method', 'topk:8')}."
        )
    if kind.name == "nmf" and bool((seen < 0).any()):
        raise UnitlensError(
            f"{layer} has activations below 0, which NMF has no place for: take the layer behind its ReLU, or "
            f"{argument('method', 'pca')} or {argument('method', 'topk:8')}."
        )


def _factorised(seen: Tensor, name: str, count: int, seed: int) -> Dictionary:
    """Fit with scikit-learn."""
    try:
        from sklearn.decomposition import NMF, PCA
        from sklearn.exceptions import ConvergenceWarning
    except ImportError:
        install = "pip install 'unitlens[features]'"
        raise UnitlensError(
            f"PCA and NMF are fitted by scikit-learn, which is not installed: {install}, or take "
            + spelled(python="method='topk:8'.", shell="an autoencoder.")
        ) from None
    if name == "pca":
        fitted = PCA(count, random_state=seed).fit(seen.numpy())
        rows = torch.from_numpy(fitted.components_.copy())
        return features({"encoder": rows, "decoder": rows, "mean": torch.from_numpy(fitted.mean_.copy())}, kind="pca")
    with warnings.catch_warnings(record=True) as raised:
        warnings.simplefilter("always", ConvergenceWarning)
        start = "nndsvda" if count <= min(seen.shape) else "random"  # singular vectors are no more than that
        fitted = NMF(count, init=start, random_state=seed, max_iter=NMF_ITERATIONS).fit(seen.numpy())
    if any(issubclass(one.category, ConvergenceWarning) for one in raised):
        warnings.warn(
            f"NMF did not converge in {NMF_ITERATIONS} iterations; its features are those of the last one.",
            UnitlensWarning,
            stacklevel=4,
        )
    rows = torch.from_numpy(fitted.components_.copy()).float()
    return features({"decoder": rows / rows.norm(dim=1, keepdim=True).clamp(min=1e-12)}, kind="nmf")
