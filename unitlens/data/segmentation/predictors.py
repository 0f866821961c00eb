"""What a segmenter can be made of: torchvision's and Hugging Face's networks by name, a network, any callable."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from torch import nn

from unitlens.data.segmentation.open_words import takes_words, takes_words_itself, word_function, word_segmenter
from unitlens.data.segmentation.segments import (
    Labels,
    PixelNetwork,
    Predictor,
    fingerprint_of,
    run_callable,
    table_of,
    weights_of,
)
from unitlens.data.segmentation.transformers import hugging_face
from unitlens.errors import UnitlensError, argument
from unitlens.models.loading import build, load
from unitlens.models.network import Network
from unitlens.models.torchvision import zoo_names


def predictor(
    model: Any, *, weights: str | Path | None, labels: Labels | None, size: int | None, seed: int, device: str
) -> Predictor:
    """Whatever a segmenter can be made of, as a `Predictor`; see `unitlens.data.segmentation.segmenters.segmenter`."""
    if isinstance(model, str) and model.startswith("hf:"):
        name = model.removeprefix("hf:")
        if weights not in (None, "DEFAULT"):
            raise UnitlensError(
                f"The weights of {model} lie beside its configuration: leave "
                f"{argument('weights', option='--segmenter-weights')} out, or say DEFAULT to download them."
            )
        opens = word_segmenter if takes_words(name, weights=weights) else hugging_face
        return opens(name, weights=weights, labels=labels, size=size, device=device)
    if isinstance(model, str) and _zoo_name(model) in zoo_names():
        return _torchvision(model, weights=weights, labels=labels, size=size, seed=seed, device=device)
    title = model if isinstance(model, str) else getattr(model, "__name__", type(model).__name__)
    if isinstance(model, str):
        model = build(model, weights=None if weights is None else str(weights), seed=seed).model.to(device)
    if not callable(getattr(model, "model", model)):
        raise UnitlensError(f"A {type(model).__name__} cannot label pixels: give a network, its name, or a function.")
    if takes_words_itself(model):
        return word_function(model, labels=labels, size=size, title=title)
    if labels is None:
        raise UnitlensError(
            f"{title} does not say what its classes are called: give "
            f"{argument('labels', option='--segmenter-labels')}, a name for each, None for nothing."
        )
    names = table_of(labels)
    if isinstance(model, Network):
        side = size or model.preprocessing.resize or None
        network = PixelNetwork(model.model, model.preprocessing.normalise, side)
        return _of_network(network, names, title, model.preprocessing, side)
    if isinstance(model, nn.Module):
        return _of_network(PixelNetwork(model, None, size), names, title, size)
    return Predictor(partial(run_callable, function=model, size=size), names, title, None)


def _of_network(network: PixelNetwork, names: Mapping[int, str], title: str, *settings: Any) -> Predictor:
    """What a network predicts; the settings are those that its answers depend on."""
    weights = weights_of(network.module)
    fingerprint = fingerprint_of(network.module, *settings, weights=weights)
    return Predictor(network.one_image, names, title, fingerprint, network, weights)


def _zoo_name(name: str) -> str:
    source, _, attribute = name.rpartition(":")
    return attribute if not source or source.startswith("torchvision.models") else ""


def _torchvision(
    name: str, *, weights: str | Path | None, labels: Labels | None, size: int | None, seed: int, device: str
) -> Predictor:
    from torchvision import models

    if zoo_names()[_zoo_name(name)] != "torchvision.models.segmentation":
        known = ", ".join(k for k, family in zoo_names().items() if family == "torchvision.models.segmentation")
        raise UnitlensError(f"{name} does not label pixels; of torchvision's networks these do: {known}.")
    if weights is None:
        raise UnitlensError(
            f"The segmenter {name} without weights would be untrained: ask for torchvision's with "
            f"{argument('weights', 'DEFAULT', option='--segmenter-weights')} (downloaded), give a file, or say "
            f"{argument('weights', 'none', option='--segmenter-weights')} if untrained is what you want."
        )
    net = load(_zoo_name(name), weights=weights, seed=seed, device=device)
    entries = models.get_model_weights(_zoo_name(name))
    entry = entries[str(weights)] if str(weights) in entries.__members__ else entries.DEFAULT
    names = labels if labels is not None else entry.meta["categories"]
    side = size or int(entry.transforms().resize_size[0])
    network = PixelNetwork(net.model, net.preprocessing.normalise, side)
    return _of_network(network, table_of(names), name, net.preprocessing, side)
