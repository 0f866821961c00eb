"""Fit a dictionary to a layer's activations in some images: principal components, NMF, or a small autoencoder."""

import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from unitlens.data.batches import Batches
from unitlens.data.concepts import Data
from unitlens.data.inmemory.dataset import as_data
from unitlens.data.reading import Reading, chosen_images, spread, warning_of_unread
from unitlens.dissection.dictionaries.autoencoder import train_autoencoder
from unitlens.dissection.result import Dissection
from unitlens.dissection.store.layers import LayerMaps
from unitlens.dissection.work.run_pass import PassOptions, activations
from unitlens.errors import UnitlensError, UnitlensWarning, argument, did_you_mean, spelled
from unitlens.models.activations import Readout, reader
from unitlens.models.dictionaries.activations import Kind
from unitlens.models.dictionaries.dictionary import Dictionary, FittedTo
from unitlens.models.dictionaries.files import features
from unitlens.models.network import Network
from unitlens.models.passes import evaluating
from unitlens.stats.blocks import in_blocks

METHODS = {
    "pca": "principal components",
    "nmf": "non-negative matrix factorisation",
    "topk": "a sparse autoencoder of which K features are active at a position, such as topk:8",
}
"""By the words that ``method=`` takes."""

NMF_ITERATIONS = 400

_NUMBERS_AT_ONCE = 1 << 22


def fit_features(
    source: Network | Dissection,
    layer: str,
    data: Data | str | Path | None = None,
    *,
    net: Network | nn.Module | None = None,
    method: str = "nmf",
    count: int = 64,
    positions: int = 100_000,
    steps: int = 2000,
    limit: int | None = None,
    batch_size: int = 32,
    workers: int = 0,
    seed: int = 0,
    strict: bool = False,
    progress: bool = False,
) -> Dictionary:
    """Fit a dictionary to the activations of a layer's units, in one pass over images or as a run has kept them.

    Parameters
    ----------
    source : Network or Dissection
        Of a run, its own activations are taken: those that it kept, or else of one more pass over its images. Of a
        layer that is finer than the label grid, a run has them on that.
    layer : str
    data : Data, str or Path
        Marks are not needed. Images on which its features are dissected should be others: a dictionary fits those that
        it was made of best. Of a run that kept no activations, its images.
    net : Network or Module, optional
        Of a run that kept no activations, its network.
    method : str
        "pca" or "nmf", by scikit-learn, or "topk:K", a sparse autoencoder of which K features are active at a position.
    count : int
        How many features.
    positions : int
        It is fitted to so many positions at most, as many of each image, drawn at random; of more images than that,
        to one of each of so many images.
    steps : int
        Of training, of an autoencoder.
    limit, batch_size, workers, strict, progress
        As for `unitlens.dissect`. Of a run, all of its images count, and there is no limit.
    seed : int
        Of positions, of the start, and of training.

    Returns
    -------
    Dictionary
        It knows the layer and the network that it was fitted to, and `Dictionary.save` writes them down.

    Raises
    ------
    UnitlensError
        If there is no such method, there is no position or fewer of them than features, PCA has more features than
        units, activations are below 0 and the method is NMF, the run did not keep its activations and network or images
        are missing, or its units are features already.

    Warns
    -----
    UnitlensWarning
        If NMF did not converge, or images could not be read, and are left out.
    """
    kind = _method(method)
    if positions < 1:
        raise UnitlensError(f"{argument('positions', positions)} must be 1 or more.")
    reading = Reading(batch_size=batch_size, workers=workers, limit=limit, seed=seed, strict=strict, progress=progress)
    with warning_of_unread():
        if isinstance(source, Dissection):
            network = str(source.info["network"]["sha256"])
            seen = _positions_of_run(source, layer, net, data, reading, most=positions)
        else:
            _check_network(source, net, data)
            network, seen = source.fingerprint(), _positions(source, layer, as_data(data), reading, most=positions)
    _check(seen, kind, count, layer)
    return replace(_fitted(seen, kind, count, steps=steps, seed=seed), fitted_to=FittedTo(layer, network))


def _fitted(seen: Tensor, kind: Kind, count: int, *, steps: int, seed: int) -> Dictionary:
    """Fit a dictionary to positions, (positions, U)."""
    if kind.name == "topk":
        return train_autoencoder(seen, count, int(kind.number or 1), steps=steps, seed=seed)
    return _factorised(seen, kind.name, count, seed)


def _check_network(source: Network, net: Network | nn.Module | None, data: Data | str | Path | None) -> None:
    """Make sure that images are given with a network, and no second network."""
    if not isinstance(source, Network):
        raise UnitlensError(
            f"A dictionary is fitted to a layer of a network or of a run, and not of {type(source).__name__}: give "
            "what ul.load, ul.dissect or ul.open_run returns."
        )
    if net is not None:
        raise UnitlensError(f"{argument('net')} is of a run that kept no activations, not of a network: leave it out.")
    if data is None:
        raise UnitlensError(f"A network's layer is seen in images: give {argument('data')}.")


def _method(text: str) -> Kind:
    name = str(text).partition(":")[0]
    if name not in METHODS:
        raise UnitlensError(
            f"{argument('method', text)} is not known{did_you_mean(name, METHODS)}; there are pca, nmf and topk:K."
        )
    return Kind.parse(text)


def _positions(net: Network, layer: str, data: Data, reading: Reading, *, most: int) -> Tensor:
    """Activations of all units at some positions, (positions, U) float32: as many of each image."""
    images = len(chosen_images(data, reading.limit, seed=reading.seed))
    reading = replace(reading, limit=min(images, most))  # of fewer positions than images, one of some of all
    return _drawn(_shown(net, layer, data, reading), each=most // max(1, min(images, most)), seed=reading.seed)


def _shown(net: Network, layer: str, data: Data, reading: Reading) -> Iterator[Tensor]:
    """Maps of a layer, (N, U, h, w), of one batch after another."""
    run = reader(net, Readout((layer,)), outputs=False)
    with evaluating(net.model):
        for batch in Batches(data, net.preprocessing, reading, task="recording"):
            yield run(net.prepare(batch.images)).maps[layer].float().cpu()


def _positions_of_run(
    run: Dissection,
    layer: str,
    net: Network | nn.Module | None,
    data: Data | str | Path | None,
    reading: Reading,
    *,
    most: int,
) -> Tensor:
    """The same as `_positions`, of the images of a run."""
    if run.settings.basis is not None:
        raise UnitlensError(
            f"The units of the run are {run.settings.basis.noun} of a {run.settings.basis.of}, and a dictionary is "
            "fitted to a layer's own units: give a run of these, or the network and images."
        )
    if reading.limit is not None:
        raise UnitlensError(
            f"All images of a run are taken, and {argument('limit', reading.limit)} is of others: leave it out, or "
            f"give fewer {argument('positions')}."
        )
    passing = PassOptions(batch_size=reading.batch_size, workers=reading.workers, progress=reading.progress)
    with activations(run[layer], net, data, **passing) as stored:
        images = min(stored.images, most)
        chosen = spread(stored.images, images, seed=reading.seed)
        return _drawn(_kept(stored.layers[layer], chosen), each=most // images, seed=reading.seed)


def _kept(layer: LayerMaps, images: Sequence[int]) -> Iterator[Tensor]:
    """Maps of a layer that were kept, (N, U, h, w), of some images, in their order."""
    units, height, width = layer.maps.shape
    for block in in_blocks(len(images), _NUMBERS_AT_ONCE // (units * height * width)):
        yield torch.from_numpy(layer.maps.read(images[block]))


def _drawn(batches: Iterable[Tensor], *, each: int, seed: int) -> Tensor:
    """All units at as many positions of each image, (positions, U), of maps, (N, U, h, w)."""
    draw = torch.Generator().manual_seed(seed)
    parts = []
    for maps in batches:
        for image in maps.flatten(2).mT:  # (positions, U)
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
