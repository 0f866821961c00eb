"""Heads of attention: where they stand side by side in front of their projection, and how they are brought there.

Most attention calls a linear layer for the projection, and what that is given are the heads. Some computes both in one
step: torch's own, and torchvision's Swin; that of timm's Swin is given windows, which are no images. These are *taken
apart* while hooks are attached: the module runs as it is with an identity in the place of its projection, and calls
the projection afterwards, on whole images. Multiplication by an identity is exact, and the projection acts at every
position by itself, so that nothing else changes.
"""

import copy
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from types import SimpleNamespace
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

_LINEAR = (nn.Linear, nn.modules.linear.NonDynamicallyQuantizableLinear)
"""Projections; the second one is that of torch's own attention."""

_TORCHVISION = ("torchvision.models.swin_transformer", ("ShiftedWindowAttention", "ShiftedWindowAttentionV2"))
_TIMM = (
    ("timm.models.swin_transformer", ("SwinTransformerBlock",)),
    ("timm.models.swin_transformer_v2", ("SwinTransformerV2Block",)),
)


class Joint(NamedTuple):
    """Attention whose heads are not seen by themselves.

    Attributes
    ----------
    attention : nn.Module
    block : nn.Module or None
        Of attention that is given windows, what makes them of images.
    """

    attention: nn.Module
    block: nn.Module | None = None


class Heads(NamedTuple):
    """Where the heads of a module of attention are.

    Attributes
    ----------
    projection : str
        The name of the linear layer in it that they are given to.
    number : int
        How many there are.
    joint : Joint or None
        What has to be taken apart for them to be seen; None where there is nothing.
    """

    projection: str
    number: int
    joint: Joint | None


def find_heads(attention: nn.Module, name: str, modules: Mapping[str, nn.Module]) -> Heads | None:
    """Find the heads of a module of attention, as torch, torchvision, timm and Hugging Face lay it out.

    Parameters
    ----------
    attention : nn.Module
    name : str
        Its name in the network.
    modules : mapping of str to nn.Module
        All modules of the network.

    Returns
    -------
    Heads or None
        None if it is no such module.
    """
    counts = [vars(attention).get(attribute) for attribute in ("num_heads", "num_attention_heads")]
    heads = next((count for count in counts if isinstance(count, int)), 0)
    for projection in ("proj", "out_proj", "o_proj"):
        inner = attention._modules.get(projection)
        if heads > 0 and isinstance(inner, nn.Linear) and type(inner) in _LINEAR and inner.in_features % heads == 0:
            block = modules.get(name.rpartition(".")[0])
            joints = Joint(attention), Joint(attention, block)
            joint = next((joint for joint in joints if _replacing(joint) is not None), None)
            return Heads(projection, heads, joint)
    return None


@contextmanager
def taken_apart(joints: Iterable[Joint | None]) -> Iterator[None]:
    """Let attention compute heads and their projection in two steps, inside the ``with``.

    Parameters
    ----------
    joints : iterable of Joint or None
        What `find_heads` says has to be taken apart; None stands for nothing.
    """
    with ExitStack() as stack:
        for joint in dict.fromkeys(joints):
            replacing = None if joint is None else _replacing(joint)
            if joint is None or replacing is None or isinstance(vars(joint.attention).get("forward"), _Apart):
                continue
            for module, method, function in replacing(joint):
                vars(module)[method] = _Apart(function)
                stack.callback(vars(module).pop, method, None)
        yield


class _Apart(NamedTuple):
    """What takes the place of a module's method."""

    function: Callable[..., Any]

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.function(*args, **kwargs)


_Replaced = list[tuple[nn.Module, str, Callable[..., Any]]]
"""Modules, their methods, and what takes the place of these."""


def _replacing(joint: Joint) -> Callable[[Joint], _Replaced] | None:
    """How attention is taken apart; None where it need not be, or somebody has replaced its methods already."""
    attention, block = joint
    if not isinstance(vars(attention).get("forward", _Apart(print)), _Apart):
        return None
    if block is None:
        if type(attention).forward is nn.MultiheadAttention.forward:
            return _of_torch
        return _of_torchvision if _computes(attention, "forward", *_TORCHVISION) else None
    if not isinstance(vars(block).get("_attn", _Apart(print)), _Apart) or block._modules.get("attn") is not attention:
        return None
    return _of_timm if any(_computes(block, "_attn", *place) for place in _TIMM) else None


def _computes(module: nn.Module, method: str, package: str, names: Iterable[str]) -> bool:
    """Whether a module has the method of one of some classes of a package, which is imported for it by nobody."""
    own, there = getattr(type(module), method, None), sys.modules.get(package)
    return own is not None and any(own is getattr(getattr(there, name, None), method, None) for name in names)


def _identity(projection: Any) -> SimpleNamespace:
    """What stands in the place of a projection whose weights alone are read."""
    with torch.inference_mode(mode=False):
        eye = torch.eye(projection.in_features, dtype=projection.weight.dtype, device=projection.weight.device)
        return SimpleNamespace(weight=eye, bias=None if projection.bias is None else torch.zeros_like(eye[0]))


def _with(module: nn.Module, **others: Any) -> Any:
    """A module of the same weights, in the same mode, with other things in the place of some of its own."""
    other = copy.copy(module)
    vars(other).pop("forward", None)
    vars(other).update(others)
    return other


def _of_torch(joint: Joint) -> _Replaced:
    attention: Any = joint.attention
    identity = _identity(attention.out_proj)

    def forward(query: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor | None]:
        heads, weights = type(attention).forward(_with(attention, out_proj=identity), query, *args, **kwargs)
        if attention.batch_first or query.dim() == 2:
            return attention.out_proj(heads), weights
        return attention.out_proj(heads.transpose(0, 1)).transpose(0, 1), weights  # images first, as everywhere

    return [(attention, "forward", forward)]


def _of_torchvision(joint: Joint) -> _Replaced:
    attention: Any = joint.attention
    identity = _identity(attention.proj)

    def forward(x: Tensor) -> Tensor:
        heads = type(attention).forward(_with(attention, proj=identity, dropout=0.0), x)
        return functional.dropout(attention.proj(heads), p=attention.dropout, training=attention.training)

    return [(attention, "forward", forward)]


def _of_timm(joint: Joint) -> _Replaced:
    attention: Any = joint.attention
    block: Any = joint.block
    images: list[Tensor] = []

    def attend(x: Tensor) -> Tensor:
        images[:] = [x]
        return type(block)._attn(block, x)  # type: ignore[no-any-return]

    def forward(windows: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        unprojected = _with(attention, proj=_as_it_is, proj_drop=_as_it_is)
        heads = type(attention).forward(unprojected, windows, *args, **kwargs)
        # the block's own code brings windows to images, and images to windows
        joined = type(block)._attn(_with(block, attn=lambda _, **__: heads), images.pop())
        made: list[Tensor] = []

        def keep(given: Tensor, **_: Any) -> Tensor:
            made.append(given)
            return given

        type(block)._attn(_with(block, attn=keep), attention.proj(joined))
        return attention.proj_drop(made[0])  # type: ignore[no-any-return]

    return [(attention, "forward", forward), (block, "_attn", attend)]


def _as_it_is(values: Tensor) -> Tensor:
    return values
