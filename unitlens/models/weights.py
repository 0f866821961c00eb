"""Read weights from files, and put them into a network: nothing is unpickled but tensors and plain containers."""

import io
import warnings
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor, nn

from unitlens.errors import UnitlensError, argument, did_you_mean
from unitlens.files import check_readable
from unitlens.models.layers import display_shape

TORCH_SUFFIXES = (".pt", ".pth", ".bin", ".ckpt", ".tar")
WRAPPERS = ("state_dict", "model_state_dict", "model", "model_state", "net", "network", "weights", "params", "module")
PREFIXES = ("module.", "_orig_mod.", "model.")  # DataParallel and DistributedDataParallel, torch.compile, Lightning
PLAIN = "plain numbers"
"""How most tensors store their numbers; see `kind_of_numbers`."""

MOST_UNPACKED = 4
"""How many times the size of a file its content may have."""

LISTED = 3
"""The number of keys of each kind that a sentence names; the others are counted."""


def read_weights(path: str | Path) -> dict[str, Tensor]:
    """Read a state dict.

    Parameters
    ----------
    path : str or Path
        A ``.safetensors`` file, or one that `torch.save` wrote (``.pt``, ``.pth``, ``.bin``, ``.ckpt``, ``.tar``),
        which is read with ``weights_only=True``. A state dict inside a wrapper such as ``{"state_dict": ...}`` is
        taken out of it.

    Returns
    -------
    dict of str to Tensor
        On the CPU, keys as they stand in the file.

    Raises
    ------
    UnitlensError
        If there is no such file, it is of another kind, or it is not a state dict.
    """
    path = Path(path)
    if path.is_dir():
        raise UnitlensError(f"{str(path)!r} is a folder; weights are a file in it.")
    if not path.is_file():
        near = did_you_mean(path.name, (file.name for file in path.parent.glob("*")))
        raise UnitlensError(
            f"There is no file of weights {str(path)!r}{near}; weights can be a .safetensors, .pt, .pth or .bin file, "
            "DEFAULT (torchvision's own) or none (untrained)."
        )
    if path.suffix == ".safetensors":
        return _read_safetensors(path)
    if path.suffix not in TORCH_SUFFIXES:
        kinds = ", ".join((".safetensors", *TORCH_SUFFIXES))
        raise UnitlensError(f"{str(path)!r} is not a file of weights: its name should end in one of {kinds}.")
    return _unwrapped(_read_torch(path), path)


def untrained_error(name: str) -> UnitlensError:
    """Return the sentence for a network that would be untrained without anyone having asked for it."""
    return UnitlensError(
        f"{name} without weights would be untrained: ask for the published ones with "
        f"{argument('weights', 'DEFAULT')} (downloaded), give a file of weights, or say "
        f"{argument('weights', 'none')} if untrained is what you want."
    )


def put_weights(model: nn.Module, weights: Mapping[str, Tensor], source: str) -> None:
    """Load a state dict into a network, all of it or nothing.

    Parameters
    ----------
    model : nn.Module
        Gets the values, in its own number types.
    weights : mapping of str to Tensor
        Every key of the network and no other, also with ``module.`` in front of all of them. Counters of batches,
        which old files lack, may be missing.
    source : str
        Where they come from, for errors.

    Raises
    ------
    UnitlensError
        If keys are missing, unexpected, of another shape, or of another kind (sparse, quantized, complex, ...); the
        network is as before then.
    """
    expected = model.state_dict()
    given = _without_prefix(weights, expected)
    counters = {
        key: value for key, value in expected.items() if key.endswith("num_batches_tracked") and key not in given
    }
    given = {**given, **counters}
    faults = [
        _listed("missing", [key for key in expected if key not in given]),
        _listed("unexpected", [key for key in given if key not in expected]),
        _listed("of another kind", _of_another_kind(expected, given)),
        _listed("of another shape", _misshapen(expected, given)),
    ]
    if any(faults):
        kind = type(model).__name__
        raise UnitlensError(f"{source} does not fit this {kind}: {'; '.join(filter(None, faults))}.")
    model.load_state_dict(given)


def kind_of_numbers(tensor: Tensor) -> str:
    """Return how a tensor stores its numbers; tensors of different kinds cannot be copied into each other."""
    if tensor.is_meta:
        return "without values"
    if tensor.is_nested:
        return "nested"
    if tensor.layout != torch.strided:
        return "sparse"
    if tensor.is_quantized:
        return "quantized"
    return "complex numbers" if tensor.is_complex() else PLAIN


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    check_readable(path)
    try:
        return dict(load_file(path))
    except (SafetensorError, OSError) as error:
        raise UnitlensError(f"{str(path)!r} cannot be read as safetensors ({error}).") from error


def _read_torch(path: Path) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's remarks on other pickles, which it refuses
            return load_tensors(path)
    except PermissionError as error:
        raise UnitlensError(f"{str(path)!r} cannot be read: {error.strerror}.") from None
    except UnitlensError as error:
        raise UnitlensError(f"{str(path)!r} cannot be read: {str(error).rstrip('.')}.") from None
    except Exception as error:  # damaged bytes make torch.load raise nearly anything
        raise UnitlensError(f"{str(path)!r} {_why_unread(path)}") from error


def load_tensors(source: Path | bytes) -> Any:
    """Read what `torch.save` wrote: tensors and plain containers, and nothing that a class or function is called for.

    Parameters
    ----------
    source : Path or bytes
        A file, or its content.

    Raises
    ------
    Exception
        Nearly any, if it holds anything else, or unpacks to far more than it is.
    """
    if isinstance(source, Path):
        check_readable(source)
        with source.open("rb") as file:
            return _load_bounded(file, source.stat().st_size)
    return _load_bounded(io.BytesIO(source), len(source))


def _load_bounded(file: BinaryIO, size: int) -> Any:
    """Read an open file of so many bytes."""
    if zipfile.is_zipfile(file):  # torch does not compress; a few packed bytes may stand for any number of zeros
        with zipfile.ZipFile(file) as archive:
            unpacked = sum(one.file_size for one in archive.infolist())
        if unpacked > MOST_UNPACKED * size + (1 << 26):
            raise UnitlensError(f"it unpacks to {unpacked / 1e9:,.1f} GB, {MOST_UNPACKED} times what it is")
    file.seek(0)
    return torch.load(file, map_location="cpu", weights_only=True)


def _why_unread(path: Path) -> str:
    """Return why torch.load refused a file, by the file's structure, without unpickling anything in it."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except Exception:  # no archive, or a damaged one
        names = []
    if any(name.endswith("/constants.pkl") for name in names):
        return "is TorchScript; weights are read from a state dict only."
    try:
        classes = torch.serialization.get_unsafe_globals_in_checkpoint(path)
    except Exception:
        classes = []
    if classes:
        return (
            f"holds Python objects ({classes[0]}), and opening those could run anybody's code, so it was left closed: "
            "save model.state_dict() with torch.save and give that."
        )
    return (
        "is not a file of weights that torch.save wrote, or it is damaged; other pickles are left closed, as opening "
        "one could run anybody's code."
    )


def _unwrapped(content: Any, path: Path) -> dict[str, Tensor]:
    """Take the state dict out of what the file holds, through up to three wrappers."""
    for _ in range(4):
        if _is_state_dict(content):
            return dict(content)
        if not isinstance(content, Mapping):
            break
        inner = [content[key] for key in WRAPPERS if isinstance(content.get(key), Mapping)]
        inner.sort(key=_is_state_dict, reverse=True)
        unnamed = [value for value in content.values() if _is_state_dict(value)]
        if not inner and len(unnamed) != 1:
            break
        content = (inner or unnamed)[0]
    what = f"a {type(content).__name__}"
    if isinstance(content, Mapping):
        what += f" with {', '.join(map(repr, list(content)[:LISTED])) or 'nothing in it'}"
    raise UnitlensError(f"{str(path)!r} is not a state dict (names of parameters and their tensors) but {what}.")


def _is_state_dict(content: Any) -> bool:
    return (
        isinstance(content, Mapping)
        and bool(content)
        and all(isinstance(key, str) for key in content)
        and any(isinstance(value, Tensor) for value in content.values())
        and all(isinstance(value, Tensor) or key.endswith("_extra_state") for key, value in content.items())
    )


def _without_prefix(given: Mapping[str, Tensor], expected: Mapping[str, Any]) -> dict[str, Tensor]:
    """Take away prefixes that all keys have in the file and not all in the network."""
    for prefix in PREFIXES * 2:
        if all(key.startswith(prefix) for key in given) and not all(key.startswith(prefix) for key in expected):
            given = {key.removeprefix(prefix): value for key, value in given.items()}
    return dict(given)


def _misshapen(expected: Mapping[str, Any], given: Mapping[str, Any]) -> list[str]:
    return [
        f"{key} ({display_shape(given[key].shape)}, not {display_shape(value.shape)})"
        for key, value, kind, other in _paired(expected, given)
        if kind == other and given[key].shape != value.shape
    ]


def _of_another_kind(expected: Mapping[str, Any], given: Mapping[str, Any]) -> list[str]:
    return [f"{key} ({other}, not {kind})" for key, _, kind, other in _paired(expected, given) if kind != other]


def _paired(expected: Mapping[str, Any], given: Mapping[str, Any]) -> Iterator[tuple[str, Tensor, str, str]]:
    """Yield the network's tensors that are given too: key, tensor, its kind, and the kind that is given."""
    for key, value in expected.items():
        other = given.get(key)
        if isinstance(value, Tensor) and isinstance(other, Tensor):
            yield key, value, kind_of_numbers(value), kind_of_numbers(other)


def _listed(what: str, keys: Iterable[str]) -> str:
    """Return ``3 keys are missing (a, b, c)``, or nothing."""
    keys = list(keys)
    if not keys:
        return ""
    more = ", ..." if len(keys) > LISTED else ""
    return f"{len(keys)} {'key is' if len(keys) == 1 else 'keys are'} {what} ({', '.join(keys[:LISTED])}{more})"
