"""Copies of a network that compute faster: norms folded, channels last, by Winograd's algorithm, or in bfloat16."""

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from unitlens.models.fast.folding import NormPair, count_norms, find_norm_pairs, fold_norms, replace_module
from unitlens.models.fast.pooling import Pooling, can_pool
from unitlens.models.fast.precision import Fast
from unitlens.models.fast.processor import multiplies_wide_vectors
from unitlens.models.fast.winograd import Winograd, can_replace
from unitlens.models.hooks import record
from unitlens.models.layers import describe_error, display_name, uncompiled
from unitlens.models.network import Network
from unitlens.models.passes import evaluating

ALLOWED: Mapping[str, float] = {"float32": 1e-3, "bfloat16": 0.1}
"""How far the activations of a layer may be off, as a share of its largest, for a copy to be used."""


@dataclass(frozen=True)
class Speedups:
    """What makes a copy faster.

    Attributes
    ----------
    folded : tuple of NormPair
        Batch norms that are folded into the convolutions in front of them.
    channels_last : bool
        Whether maps lie in memory with the units of a position side by side.
    precision : {"float32", "bfloat16"}
    winograd : tuple of str
        Convolutions that are computed by Winograd's algorithm, which writes maps channels last.
    """

    folded: tuple[NormPair, ...] = ()
    channels_last: bool = True
    precision: Fast = "float32"
    winograd: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class FastCopy:
    """A copy of a network that computes faster, with other rounding.

    Attributes
    ----------
    net : Network
        The copy, in evaluation mode.
    speedups : Speedups
        What makes it faster.
    norms : int
        How many batch norms the network has.
    notes : tuple of str
        What could not be done, and why.
    """

    net: Network
    speedups: Speedups
    norms: int
    notes: tuple[str, ...] = ()

    def prepare(self, inputs: Tensor) -> Tensor:
        """Return inputs that were prepared for the network as the copy takes them."""
        if inputs.is_floating_point():
            inputs = inputs.to(self.net.dtype)
        last = self.speedups.channels_last and inputs.ndim == 4
        return inputs.contiguous(memory_format=torch.channels_last) if last else inputs

    def describe(self) -> dict[str, Any]:
        """What is recorded of it."""
        return {
            "precision": str(self.net.dtype).removeprefix("torch."),
            "channels_last": self.speedups.channels_last,
            "folded": len(self.speedups.folded),
            "norms": self.norms,
            "winograd": len(self.speedups.winograd),
        }


def fast_copy(net: Network, layers: Sequence[str], precision: Fast) -> FastCopy:
    """Copy a network so that it computes faster, as far as its layers return what they did.

    On two random images or latents, always the same, each layer must return what it does in the network itself, up to
    `ALLOWED`. Where it does not, or the copy fails, it does without what is to blame, and its ``notes`` say so.

    Parameters
    ----------
    net : Network
        It is not touched.
    layers : sequence of str
        The layers that are read: a batch norm is not folded where that would change what one of them returns.
    precision : {"float32", "bfloat16"}
        In float32 stands for the number type that the network has.
    """
    inputs = net.example_inputs(2)
    model = uncompiled(net.model)
    norms = count_norms(model)
    with evaluating(model), net.pass_errors(inputs):
        pairs, exact = _run_watched(model, layers, inputs)
    wanted, failure = Speedups(pairs, True, precision, _by_winograd(model, precision)), ""
    notes = [f"No batch norm of {net.name} stands alone behind a convolution, to be folded into it."]
    notes = notes if norms and not pairs else []
    for speedups in _fewer_and_fewer(wanted):
        try:
            made = FastCopy(_copied(net, speedups), speedups, norms)
            _check(made, layers, inputs, exact)
        except Exception as error:  # whatever the network's own code raises in another layout or precision
            failure = failure or describe_error(error)
        else:
            return replace(made, notes=(*notes, *_left_out(net.name, wanted, speedups, failure)))
    return FastCopy(net, Speedups((), False), norms, (f"{net.name} computes no faster than by itself: {failure}.",))


class _WrongError(Exception):
    """A copy does not return what the network does."""


def _run_watched(
    model: nn.Module, layers: Sequence[str], inputs: Tensor
) -> tuple[tuple[NormPair, ...], dict[str, Tensor]]:
    """Norms that can be folded, and what the layers return: in one pass, where it can be watched."""
    exact = dict[str, Tensor]()
    try:
        pairs = find_norm_pairs(model, layers, lambda: exact.update(_outputs(model, layers, inputs)))
    except Exception:  # a stranger's operations, which may not be watched
        return (), _outputs(model, layers, inputs)
    return tuple(pairs), exact


def _by_winograd(model: nn.Module, precision: Fast) -> tuple[str, ...]:
    """Convolutions to compute by Winograd's algorithm.

    There are none in bfloat16, which has too few bits for it, and where the processor multiplies faster than tiles can
    be transformed.
    """
    if precision != "float32" or multiplies_wide_vectors():
        return ()
    return tuple(name for name, module in model.named_modules() if can_replace(module))


def _fewer_and_fewer(wanted: Speedups) -> Iterator[Speedups]:
    """Everything; then each thing left out by itself, in bfloat16 first."""
    for precision in dict.fromkeys((wanted.precision, "float32")):
        own = replace(wanted, precision=precision)
        plain = replace(own, winograd=())
        yield from dict.fromkeys((own, plain, replace(plain, channels_last=False), replace(own, folded=())))


def _copied(net: Network, speedups: Speedups) -> Network:
    with torch.inference_mode(mode=False), torch.no_grad():
        model = copy.deepcopy(uncompiled(net.model)).requires_grad_(False)
        for module in model.modules():
            module.training = False
        fold_norms(model, speedups.folded)
        for name in speedups.winograd:
            convolution = model.get_submodule(name)
            assert isinstance(convolution, nn.Conv2d)
            replace_module(model, convolution, Winograd(convolution))
        if speedups.channels_last:
            model.to(memory_format=torch.channels_last)
            for module in [module for module in model.modules() if can_pool(module)]:
                assert isinstance(module, nn.MaxPool2d)
                replace_module(model, module, Pooling(module))
        if speedups.precision == "bfloat16":
            model.to(torch.bfloat16)
        return replace(net, model=model)


def _outputs(model: nn.Module, layers: Sequence[str], inputs: Tensor) -> dict[str, Tensor]:
    with record(model, layers) as recording:
        model(inputs)
    return {layer: recording[layer] for layer in layers}


def _check(made: FastCopy, layers: Sequence[str], inputs: Tensor, exact: Mapping[str, Tensor]) -> None:
    with evaluating(made.net.model):
        found = _outputs(made.net.model, layers, made.prepare(inputs))
    for layer, expected in exact.items():
        if found[layer].shape != expected.shape:
            raise _WrongError(f"{display_name(layer)} returns another shape")
        off = largest_difference(expected, found[layer])
        if off > ALLOWED[made.speedups.precision]:
            raise _WrongError(f"{display_name(layer)} is off by {off:.2g} of its largest activation")


def largest_difference(exact: Tensor, other: Tensor) -> float:
    """Return the largest difference of an activation that is finite, as a share of the largest activation."""
    finite = torch.isfinite(exact)
    if not finite.any():
        return 0.0
    expected = exact[finite].double()
    return float((other[finite].double() - expected).abs().max() / expected.abs().max().clamp(min=1e-30))


def _left_out(name: str, wanted: Speedups, used: Speedups, failure: str) -> list[str]:
    """Say what the copy does without."""
    parts = {
        "in bfloat16": wanted.precision != used.precision,
        "by Winograd's algorithm": bool(wanted.winograd) and used.channels_last and not used.winograd,
        "channels last": wanted.channels_last and not used.channels_last,
        "with its batch norms folded": bool(wanted.folded) and not used.folded,
    }
    without = " and ".join(part for part, absent in parts.items() if absent)
    return [f"{name} is not computed {without}: {failure}."] if without else []
