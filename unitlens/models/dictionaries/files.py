"""Open dictionaries: files and folders of several libraries, modules, arrays. Nothing in a file is run."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor, nn

from unitlens.errors import UnitlensError, argument, did_you_mean
from unitlens.files import check_readable, read_json
from unitlens.models.bases import IN_MEMORY
from unitlens.models.dictionaries.activations import Kind
from unitlens.models.dictionaries.dictionary import METADATA, Dictionary, FittedTo
from unitlens.models.dictionaries.formats import recognise
from unitlens.models.dictionaries.settings import read_settings
from unitlens.models.layers import describe_error
from unitlens.models.weights import TORCH_SUFFIXES, load_tensors, read_weights

SETTINGS = "cfg.json"
"""The file in which sae-lens writes settings, in the folder of the weights."""

_SAE_LENS = "sae_weights.safetensors"
"""sae-lens's weights, beside which it writes how often features are active."""

_LONGEST_LINE = 1 << 20
"""Bytes of the settings in front of saev's weights."""

FeaturesLike = Dictionary | nn.Module | Mapping[str, Any] | str | Path
"""A dictionary as it is given: a file or folder, a module, or arrays by name."""


def features(given: FeaturesLike | Any, *, kind: str | None = None) -> Dictionary:
    """Open a dictionary, whose features can be the units of a layer wherever ``basis=`` is taken.

    Parameters
    ----------
    given : str, Path, nn.Module, mapping or Dictionary
        A ``.safetensors`` file or one that `torch.save` wrote, of sae-lens (also its folder, with cfg.json), saev,
        overcomplete, modules ``encoder`` and ``decoder``, or of `Dictionary.save`; a module of these; or arrays by
        name: ``encoder`` and ``decoder`` with a row for each feature, and where there are any ``bias``, ``offset``,
        ``thresholds``, ``mean`` and ``scale``: a = activation(E (x - mean) / scale + bias), and x is reconstructed as
        (D a + offset) scale + mean.
    kind : str, optional
        Where it is not known from the file: relu, topk:K, batchtopk:THRESHOLD, jumprelu:THRESHOLD, linear, pca or nmf;
        with ``,centred`` behind it where the decoder's bias is subtracted from what is encoded, ``,uncentred`` where
        not.

    Returns
    -------
    Dictionary

    Raises
    ------
    UnitlensError
        If there is no such file, it is no dictionary, or it is ambiguous; the text says what to give.

    Examples
    --------
    >>> import torch
    >>> rows = torch.eye(3)[:2]
    >>> found = features({"encoder": rows, "decoder": rows}, kind="topk:1")
    >>> found.count, found.width, found.apply(torch.tensor([[3.0, 4.0, 5.0]]), "layer").tolist()
    (2, 3, [[0.0, 4.0]])
    """
    if isinstance(given, Dictionary):
        return given
    chosen = None if kind is None else Kind.parse(kind)
    if isinstance(given, str | Path):
        return _of_file(Path(given), chosen)
    if isinstance(given, nn.Module):
        return _of_module(given, chosen)
    if isinstance(given, Mapping) and all(
        isinstance(value, Tensor | np.ndarray | float | int) for value in given.values()
    ):
        return recognise(given, {}, chosen, IN_MEMORY)
    raise UnitlensError(
        "A dictionary is a file, a module, or arrays by name such as encoder and decoder, and not "
        f"{type(given).__name__}."
    )


def _of_file(path: Path, kind: Kind | None) -> Dictionary:
    file = _weights_in(path) if path.is_dir() else path
    if not file.is_file():
        near = did_you_mean(file.name, (one.name for one in file.parent.glob("*")))
        raise UnitlensError(f"There is no file {file}{near}; a dictionary is a .safetensors or .pt file.")
    beside = file.with_name(SETTINGS)
    settings = _settings_of(read_json(beside), beside) if beside.is_file() else {}
    tensors, said = _tensors_in(file)
    settings = {**settings, **said}
    if isinstance(said.get(METADATA), str):
        kind = _saved_kind(said[METADATA], kind, file)
    found = recognise(tensors, read_settings(settings, str(file)), kind, str(path))
    return replace(found, fitted_to=FittedTo.read(said))


def _saved_kind(said: str, given: Kind | None, file: Path) -> Kind:
    """The kind that `Dictionary.save` wrote, which one that is given may only repeat."""
    saved = Kind.parse(said)
    if given is None:
        return saved
    same = given.name == saved.name and not given.centred
    # a threshold is saved as float32 has it
    if not same or (given.number is not None and np.float32(given.number) != np.float32(saved.number or 0)):
        kind = argument("kind", str(given), option="--features-kind")
        raise UnitlensError(f"{file} is of kind {saved}, and {kind} was given: leave it out.")
    return saved


def _weights_in(folder: Path) -> Path:
    """The one file of weights in a folder."""
    if (folder / _SAE_LENS).is_file():
        return folder / _SAE_LENS
    suffixes = (".safetensors", *TORCH_SUFFIXES)
    found = sorted(path for path in folder.glob("*") if path.suffix in suffixes)
    if len(found) != 1:
        names = f" ({', '.join(path.name for path in found[:4])})" if found else ""
        raise UnitlensError(f"{folder} has {len(found)} files of weights{names}: give the one of the dictionary.")
    return found[0]


def _tensors_in(file: Path) -> tuple[dict[str, Tensor], Mapping[str, Any]]:
    """The tensors of a file, and the settings that it holds itself."""
    if file.suffix == ".safetensors":
        return read_weights(file), _metadata(file)
    check_readable(file)
    with file.open("rb") as opened:
        if opened.read(1) != b"{":
            return read_weights(file), {}
        line = b"{" + opened.readline(_LONGEST_LINE)
        rest = opened.read()
    try:
        settings = json.loads(line)
        tensors = load_tensors(rest)
    except Exception as error:  # damaged bytes make the readers raise nearly anything
        raise UnitlensError(
            f"{file} cannot be read as settings in one line and weights behind it ({describe_error(error)}); files "
            "that hold Python objects are left closed, as opening one could run anybody's code."
        ) from None
    if not isinstance(tensors, Mapping) or not all(isinstance(value, Tensor) for value in tensors.values()):
        raise UnitlensError(f"{file} has no state dict behind its settings.")
    return dict(tensors), _settings_of(settings, file)


def _metadata(file: Path) -> Mapping[str, Any]:
    from safetensors import safe_open

    with safe_open(file, "pt") as opened:
        return dict(opened.metadata() or {})


def _settings_of(content: Any, file: Path) -> dict[str, Any]:
    if not isinstance(content, Mapping):
        raise UnitlensError(f"{file} holds no settings by name.")
    return dict(content)


def _of_module(module: nn.Module, kind: Kind | None) -> Dictionary:
    """A module by its state dict, with what it keeps beside it: its settings, a k, a running threshold."""
    name = type(module).__name__
    settings = getattr(module, "cfg", None)
    to_dict = getattr(settings, "to_dict", None)
    found = to_dict() if callable(to_dict) else getattr(settings, "__dict__", {})
    said = read_settings(found, name) if isinstance(found, Mapping) else {}
    architecture = getattr(settings, "architecture", None)
    if callable(architecture):
        said = read_settings({**found, "architecture": architecture()}, name)
    if "dictionary._weights" in module.state_dict() and kind is None:
        kind = _kind_of_overcomplete(module)
    return recognise(module.state_dict(), said, kind, IN_MEMORY)


def _kind_of_overcomplete(module: nn.Module) -> Kind | None:
    """What overcomplete keeps as attributes, and not in the state dict."""
    name, k, threshold = (
        type(module).__name__,
        getattr(module, "top_k", None),
        getattr(module, "running_threshold", None),
    )
    if name == "TopKSAE" and k is not None:
        return Kind("topk", float(k))
    if name == "BatchTopKSAE" and threshold is not None:
        return Kind("batchtopk", float(np.nextafter(np.float32(threshold), np.float32(-np.inf))))
    return Kind("relu") if name == "SAE" else None
