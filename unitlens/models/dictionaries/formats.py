"""Recognise dictionaries by the names of their tensors: which is the encoder, and what happens around it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from unitlens.errors import UnitlensError, argument, did_you_mean, spelled
from unitlens.models.dictionaries.activations import Activation, Kind
from unitlens.models.dictionaries.dictionary import Dictionary
from unitlens.models.layers import describe_error, display_shape
from unitlens.models.weights import PLAIN, PREFIXES, kind_of_numbers

Tensors = Mapping[str, Tensor]

_UNIT_LENGTH = 0.1
"""How far the rows of overcomplete's dictionary may be from unit length, to which it brings them before it is used."""

_NORM = ("running_mean", "running_var", "weight", "bias")
"""Tensors of a batch norm."""


@dataclass(frozen=True, eq=False)
class Parts:
    """What a file says of a dictionary, before its input is part of the encoder.

    Attributes
    ----------
    encoder, decoder : Tensor, (F, C)
        A row for each feature.
    bias, offset : Tensor, (F,) and (C,), optional
        Added to what is encoded, and to what is decoded.
    centre : Tensor, (C,), optional
        Subtracted from the layer's units before they are encoded.
    kind : str, optional
        A key of `unitlens.models.dictionaries.activations.KINDS`, where the file says it.
    k : int, optional
    thresholds : Tensor, (F,) or (), optional
    centred : bool, optional
        Whether the offset is also the centre; None: the file does not say it.
    mean, scale : Tensor, (C,) or (), optional
        The layer's units are (x - mean) / scale before all else, and the reconstruction is brought back.
    rescaled : bool
        Whether activations are multiplied by the lengths of the decoder's rows, and rows are divided by them.
    """

    encoder: Tensor
    decoder: Tensor
    bias: Tensor | None = None
    offset: Tensor | None = None
    centre: Tensor | None = None
    kind: str | None = None
    k: int | None = None
    thresholds: Tensor | None = None
    centred: bool | None = None
    mean: Tensor | None = None
    scale: Tensor | None = None
    rescaled: bool = False


def recognise(given: Mapping[str, Any], said: Mapping[str, Any], kind: Kind | None, source: str) -> Dictionary:
    """Make a dictionary of the tensors of a state dict.

    Parameters
    ----------
    given : mapping of str to Tensor
        By the names of sae-lens and saev, overcomplete, modules ``encoder`` and ``decoder``, or ``encoder``,
        ``decoder``, ``bias``, ``offset``, ``thresholds``, ``mean`` and ``scale``.
    said : mapping
        What a file of settings beside it says, as `unitlens.models.dictionaries.settings.read_settings` returns it.
    kind : Kind, optional
        As it was given.
    source : str
        Where it comes from, for errors.

    Raises
    ------
    UnitlensError
        If its names are not known, shapes do not fit, numbers are not finite, or it is ambiguous.
    """
    tensors = _plain_tensors(given, source)
    for layout in (_of_arrays, _of_overcomplete, _of_sae_lens, _of_modules):
        parts = layout(tensors, source, kind)
        if parts is not None:
            return assemble(_with_settings(parts, said), kind, source)
    names = ", ".join(list(tensors)[:6]) or "nothing"
    raise UnitlensError(
        f"{source} holds {names}, which is no dictionary that is known: give its tensors as encoder and decoder (a row "
        "for each feature), and bias, offset and thresholds where it has them"
        + spelled(python=": ul.features({'encoder': ..., 'decoder': ...}, kind='relu').", shell=".")
    )


def _plain_tensors(given: Mapping[str, Any], source: str) -> dict[str, Tensor]:
    """The tensors in float32, without a prefix that all names have."""
    names = [str(name) for name in given]
    prefix = next((prefix for prefix in (*PREFIXES, "sae.", "ae.") if all(n.startswith(prefix) for n in names)), "")
    tensors = {}
    for name, value in given.items():
        tensor = _tensor(value, f"{name} of {source}")
        if kind_of_numbers(tensor) != PLAIN:
            raise UnitlensError(f"{name} of {source} is not a tensor of numbers ({kind_of_numbers(tensor)}).")
        tensor = tensor.to("cpu", torch.float32)
        if not bool(torch.isfinite(tensor).all()):
            raise UnitlensError(f"{name} of {source} holds NaN or infinite numbers.")
        tensors[str(name).removeprefix(prefix)] = tensor
    return tensors


def _tensor(value: Any, what: str) -> Tensor:
    try:
        return torch.as_tensor(np.asarray(value, order="C") if isinstance(value, np.ndarray) else value).detach()
    except (TypeError, ValueError, RuntimeError) as error:  # texts, objects, numbers that torch does not have
        raise UnitlensError(f"{what} is not a tensor or an array of numbers ({describe_error(error)}).") from None


def _of_arrays(tensors: Tensors, source: str, kind: Kind | None) -> Parts | None:
    """``encoder`` and ``decoder``, as `Dictionary.save` and people write them; for PCA and NMF the decoder alone."""
    if "decoder" not in tensors:
        return None
    _refuse_others(tensors, ("encoder", "decoder", "bias", "offset", "thresholds", "mean", "scale"), source)
    alone = kind is not None and kind.name in ("pca", "nmf", "linear")
    if "encoder" not in tensors and not alone:
        raise UnitlensError(f"{source} has a decoder and no encoder, as only NMF and PCA may: {_say_kind('nmf')}.")
    return Parts(
        encoder=_matrix(tensors.get("encoder", tensors["decoder"]), "encoder", source),
        decoder=_matrix(tensors["decoder"], "decoder", source),
        kind="jumprelu" if "thresholds" in tensors and kind is None else None,
        centred=False,
        bias=tensors.get("bias"),
        offset=tensors.get("offset"),
        mean=tensors.get("mean"),
        scale=tensors.get("scale"),
        thresholds=tensors.get("thresholds"),
    )


def _of_sae_lens(tensors: Tensors, source: str, kind: Kind | None) -> Parts | None:
    """``W_enc``, ``b_enc``, ``W_dec``, ``b_dec`` of sae-lens and saev, with a threshold, or the gate of a gated one."""
    if not {"W_enc", "W_dec"} <= tensors.keys():
        return None
    gate = ("b_gate", "r_mag", "b_mag")
    _refuse_others(tensors, ("W_enc", "W_dec", "b_enc", "b_dec", "threshold", *gate), source)
    parts = Parts(
        encoder=_matrix(tensors["W_enc"], "W_enc", source).T,
        decoder=_matrix(tensors["W_dec"], "W_dec", source),
        bias=tensors.get("b_enc"),
        offset=tensors.get("b_dec"),
        thresholds=tensors.get("threshold"),
        kind="jumprelu" if "threshold" in tensors else None,
    )
    if not set(gate) <= tensors.keys():
        return parts
    # A gate is open where w x + b_gate > 0, that is where the magnitude exp(r) w x + b_mag exceeds a threshold.
    log, open_, magnitude = (
        _vector(tensors[name], len(parts.encoder), name, source) for name in ("r_mag", "b_gate", "b_mag")
    )
    factor = log.exp()
    return replace(
        parts,
        encoder=parts.encoder * factor[:, None],
        bias=magnitude,
        kind="jumprelu",
        thresholds=magnitude - factor * open_,
    )


def _of_modules(tensors: Tensors, source: str, kind: Kind | None) -> Parts | None:
    """Linear modules ``encoder`` and ``decoder``; a bias of the input is subtracted first, and added last."""
    if not {"encoder.weight", "decoder.weight"} <= tensors.keys():
        return None
    inputs = ("bias", "b_dec", "pre_bias")
    modules = ("encoder.weight", "encoder.bias", "decoder.weight", "decoder.bias")
    _refuse_others(tensors, (*modules, *inputs, "latent_bias", "k", "threshold", "thresholds"), source)
    found = [name for name in (*inputs, "decoder.bias") if name in tensors]
    if len(found) > 1:
        raise UnitlensError(f"{source} has {' and '.join(found)}, of which one is the decoder's bias: leave one out.")
    thresholds = tensors.get("thresholds", tensors.get("threshold"))
    known = "topk" if "k" in tensors else None if thresholds is None else "jumprelu" if thresholds.ndim else "batchtopk"
    return Parts(
        encoder=_matrix(tensors["encoder.weight"], "encoder.weight", source),
        decoder=_matrix(tensors["decoder.weight"], "decoder.weight", source).T,
        bias=tensors.get("encoder.bias", tensors.get("latent_bias")),
        offset=tensors[found[0]] if found else None,
        centred=bool(found) and found[0] != "decoder.bias",
        kind=known,
        k=_count(tensors["k"], "k", source) if "k" in tensors else None,
        thresholds=None if known == "topk" else thresholds,
    )


def _of_overcomplete(tensors: Tensors, source: str, kind: Kind | None) -> Parts | None:
    """``dictionary._weights``, and an encoder that is linear, or linear with a batch norm behind it."""
    if "dictionary._weights" not in tensors:
        return None
    block, norm = "encoder.final_block.0", "encoder.final_block.1"
    linear = ("encoder.final_block.", "encoder.tied_to.")
    hidden = [name for name in tensors if name.startswith("encoder.") and not name.startswith(linear)]
    hidden = [name for name in hidden if name not in ("encoder.weight", "encoder.bias")]
    if hidden:
        raise UnitlensError(
            f"{source} has an encoder with hidden layers ({hidden[0]}): a feature is read by a linear encoder at each "
            "position, so train one with a linear encoder (or with one batch norm behind it)."
        )
    decoder = _unit_rows(_matrix(tensors["dictionary._weights"], "dictionary._weights", source), source)
    decoder = decoder * _single(tensors.get("dictionary.multiplier"), "dictionary.multiplier", source).exp()
    weight = tensors.get(f"{block}.weight", tensors.get("encoder.weight", decoder))  # else it is tied
    weight = _matrix(weight, "the encoder's weight", source)
    bias = tensors.get(f"{block}.bias", tensors.get("encoder.bias"))
    if f"{norm}.running_mean" in tensors or f"{norm}.running_var" in tensors:
        factor, shift = _batch_norm(tensors, norm, len(weight), source)
        bias = factor * _vector(bias, len(weight), "the encoder's bias", source) + shift
        weight = weight * factor[:, None]
    elif f"{norm}.weight" in tensors:
        raise UnitlensError(f"{source} has a layer norm in its encoder, which is not linear: train it with none.")
    logs = tensors.get("thresholds")
    # a feature is active from its threshold on, here above it
    edge = None if logs is None else torch.nextafter(logs.exp(), torch.tensor(-torch.inf))
    return Parts(
        encoder=weight,
        decoder=decoder,
        bias=bias,
        kind=None if edge is None else "jumprelu",
        thresholds=edge,
        centred=False,
    )


def _batch_norm(tensors: Tensors, norm: str, features: int, source: str) -> tuple[Tensor, Tensor]:
    """By what a batch norm multiplies in evaluation, and what it then adds, (F,) float64."""
    lacking = [name for name in ("running_mean", "running_var") if f"{norm}.{name}" not in tensors]
    if lacking:
        raise UnitlensError(f"{source} has a batch norm without {norm}.{lacking[0]}: save the whole state dict.")
    parts = {name: _vector(tensors.get(f"{norm}.{name}"), features, f"{norm}.{name}", source) for name in _NORM}
    if bool((parts["running_var"] < 0).any()):
        raise UnitlensError(f"{norm}.running_var of {source} is below 0 somewhere, which no variance is.")
    weight = parts["weight"] if f"{norm}.weight" in tensors else torch.ones(()).double()
    factor = weight / (parts["running_var"] + 1e-5).sqrt()  # torch's epsilon, which overcomplete leaves as it is
    return factor, parts["bias"] - factor * parts["running_mean"]


def _unit_rows(weights: Tensor, source: str) -> Tensor:
    """Rows of unit length, to which overcomplete brings them when it is used."""
    lengths = weights.norm(dim=1, keepdim=True)
    if bool(((lengths - 1).abs() > _UNIT_LENGTH).any()):
        raise UnitlensError(
            f"The rows of dictionary._weights in {source} are {float(lengths.min()):.2g} to {float(lengths.max()):.2g} "
            "long, and not of unit length: save sae.get_dictionary() as decoder, and the encoder's weight as encoder."
        )
    units: Tensor = weights / (lengths + 1e-8)
    return units


def _with_settings(parts: Parts, said: Mapping[str, Any]) -> Parts:
    """Add what the settings beside a file say; tensors say more."""
    return replace(
        parts,
        kind=parts.kind or said.get("kind"),
        k=parts.k or said.get("k"),
        centred=said.get("centred") if parts.centred is None else parts.centred,
        rescaled=bool(said.get("rescaled")),
    )


def assemble(parts: Parts, kind: Kind | None, source: str) -> Dictionary:
    """Make a dictionary of its parts: what happens to the input becomes part of the encoder.

    Raises
    ------
    UnitlensError
        If shapes do not fit, numbers do not stay finite, or it is ambiguous.
    """
    encoder, decoder = parts.encoder.double(), parts.decoder.double()
    features, width = encoder.shape
    if decoder.shape != encoder.shape:
        raise UnitlensError(
            f"The encoder of {source} is of {features} features and {width} units, its decoder of "
            f"{display_shape(decoder.shape)}: both have a row for each feature."
        )
    bias = _vector(parts.bias, features, "the encoder's bias", source)
    offset = _vector(parts.offset, width, "the decoder's bias", source)
    if parts.rescaled:
        lengths = decoder.norm(dim=1)
        encoder, bias = encoder * lengths[:, None], bias * lengths
        decoder = decoder / lengths[:, None].clamp(min=1e-30)  # a row of zeros stays one, and is never active
    if _is_centred(parts, kind, source):
        bias = bias - encoder @ offset
    if parts.mean is not None or parts.scale is not None:
        mean = _vector(parts.mean, width, "mean", source)
        scale = torch.ones(width).double() if parts.scale is None else _vector(parts.scale, width, "scale", source)
        if bool((scale <= 0).any()):
            raise UnitlensError(f"scale of {source} is not above 0 everywhere; the layer's units are divided by it.")
        encoder = encoder / scale
        bias, decoder, offset = bias - encoder @ mean, decoder * scale, offset * scale + mean
    activation = _activation(parts, kind, source, decoder)
    made = Dictionary(
        encoder.float().contiguous(),
        decoder.T.float().contiguous(),
        bias.float().contiguous(),
        offset.float().contiguous(),
        activation,
        source,
        read_as=None if kind is None else str(kind),
    )
    _check_finite(made)
    return made


def _check_finite(made: Dictionary) -> None:
    """Make sure that float32 has room for what was computed from the numbers of a file, which are finite."""
    gram = {} if made.activation.gram is None else {"decoder": made.activation.gram}
    for name, tensor in (*made.tensors.items(), *gram.items()):
        if not bool(torch.isfinite(tensor).all()):
            raise UnitlensError(
                f"The {name} of {made.source} becomes NaN or infinite when it is combined with the file's other "
                "numbers: the file is damaged, or its numbers are too large for float32."
            )


def _is_centred(parts: Parts, kind: Kind | None, source: str) -> bool:
    given = None if kind is None else kind.centred
    if parts.offset is None or not bool(parts.offset.any()):
        return False
    centred = parts.centred if given is None else given
    if centred is None:
        kinds = [f"{(kind.name if kind else None) or parts.kind or 'relu'},{word}" for word in ("centred", "uncentred")]
        raise UnitlensError(
            f"{source} does not say whether its decoder's bias is subtracted from what is encoded: say "
            f"{' or '.join(_kind_argument(word) for word in kinds)}."
        )
    return centred


def _activation(parts: Parts, kind: Kind | None, source: str, decoder: Tensor) -> Activation:
    name = parts.kind if kind is None else kind.name
    if name is None:
        raise UnitlensError(
            f"{source} does not say how its features get their activations, which ReLU and TopK do differently: "
            f"{_say_kind('relu')}, or {_kind_argument('topk:32')}."
        )
    if kind is not None and parts.kind is not None and parts.kind != name:
        raise UnitlensError(
            f"{source} is of kind {parts.kind}, and {_kind_argument(str(kind))} was given: leave it out."
        )
    number = None if kind is None else kind.number
    features = len(parts.encoder)
    if name == "topk":
        k = parts.k if number is None else int(number)
        if k is None:
            raise UnitlensError(f"{source} does not say how many features are active: {_say_kind('topk:32')}.")
        return Activation("topk", k=min(k, features))
    if name in ("batchtopk", "jumprelu"):
        given = parts.thresholds if number is None else torch.tensor(number)
        if given is None:
            raise UnitlensError(
                f"{source} has no threshold: {_say_kind(f'{name}:0.1')}, with the one it was trained to."
            )
        return Activation(name, thresholds=_vector(given, features, "its threshold", source).float())
    return Activation(name, gram=(decoder @ decoder.T).float() if name == "nmf" else None)


def _say_kind(kind: str) -> str:
    return f"say it with {_kind_argument(kind)}"


def _kind_argument(kind: str) -> str:
    return argument("kind", kind, option="--features-kind")


def _matrix(tensor: Tensor, name: str, source: str) -> Tensor:
    if tensor.ndim != 2 or not tensor.numel():
        raise UnitlensError(f"{name} of {source} is {display_shape(tensor.shape)}; it is a matrix.")
    return tensor


def _vector(tensor: Tensor | None, size: int, name: str, source: str) -> Tensor:
    """A vector in float64: zeros where there is none, and one number for all where there is one."""
    if tensor is None:
        return torch.zeros(size).double()
    if tensor.numel() not in (1, size):
        raise UnitlensError(f"{name} of {source} is {display_shape(tensor.shape)}, and there are {size} of them.")
    return tensor.double().reshape(-1).expand(size)


def _single(tensor: Tensor | None, name: str, source: str) -> Tensor:
    """One number, (); 0 where there is none."""
    if tensor is None:
        return torch.zeros(())
    if tensor.numel() != 1:
        raise UnitlensError(f"{name} of {source} is {display_shape(tensor.shape)}; it is a single number.")
    return tensor.reshape(())


def _count(tensor: Tensor, name: str, source: str) -> int:
    number = float(_single(tensor, name, source))
    if number < 1 or not number.is_integer():
        raise UnitlensError(f"{name} of {source} is {number:g}; it is a whole number, 1 or more.")
    return int(number)


def _refuse_others(tensors: Tensors, known: Iterable[str], source: str) -> None:
    """Refuse tensors whose part in the arithmetic is not known."""
    others = [name for name in tensors if name not in known and not name.endswith("num_batches_tracked")]
    if others:
        near = did_you_mean(others[0], known)
        raise UnitlensError(
            f"{source} holds {others[0]}{near} beside its encoder and decoder, and what it does is not known: leave it "
            f"out, or rename it; known are {', '.join(known)}."
        )
