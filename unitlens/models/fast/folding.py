"""Batch norms that are folded into the convolutions in front of them, in a copy of a network."""

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.nn.utils.fusion import fuse_conv_bn_weights
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

from unitlens.models.hooks import attached
from unitlens.models.layers import find_layers, tensors_in

_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, *_TRANSPOSED)
_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
_NORMS_ELSEWHERE = (
    ("torchvision.ops.misc", "FrozenBatchNorm2d"),
    ("timm.layers.norm_act", "BatchNormAct2d"),
    ("timm.layers.norm_act", "FrozenBatchNormAct2d"),
)
"""Norms of other packages, by module and name: who has none of them need not import the package."""

_ASKS = frozenset(("dim", "size", "ndimension", "numel", "stride", "is_contiguous", "is_floating_point", "__len__"))
"""What is asked of a tensor that is not read."""


class NormPair(NamedTuple):
    """The names of a convolution and of the batch norm that alone reads what it returns."""

    convolution: str
    norm: str


def find_norm_pairs(model: nn.Module, layers: Sequence[str], run: Callable[[], object]) -> list[NormPair]:
    """Find the batch norms of a network that can be folded, while it is run once.

    A pair is a convolution and a batch norm, each called once, of which the norm alone reads what the convolution
    returns: no other operation, and nobody who reads one of the layers, or the network's output.

    Parameters
    ----------
    model : nn.Module
        In evaluation mode; it is not touched.
    layers : sequence of str
        The layers that are read.
    run : callable
        Runs it on one image, or a few.
    """
    modules = {name: module for name, module in model.named_modules() if _is_plain(module)}
    watched = _Watched()
    hooks: list[tuple[nn.Module, Callable[..., Any]]] = [(module, watched.returned) for module in modules.values()]
    hooks += [(ref.module, watched.read) for ref in find_layers(model, layers)]
    with attached(model, hooks, after=watched.read), watched:
        run()
    names = {module: name for name, module in modules.items()}
    return [NormPair(names[convolution], names[norm]) for convolution, norm in watched.pairs()]


def fold_norms(model: nn.Module, pairs: Sequence[NormPair]) -> None:
    """Fold batch norms into the convolutions in front of them, in place; what remains is an activation, or an identity.

    The weights are multiplied in float64, and rounded once.
    """
    modules = dict(model.named_modules())
    with torch.no_grad():
        for pair in pairs:
            convolution, norm = modules[pair.convolution], _AnyNorm.of(modules[pair.norm])
            assert isinstance(convolution, nn.modules.conv._ConvNd)
            weight, bias = fuse_conv_bn_weights(
                _double(convolution.weight),
                _double(convolution.bias),
                _double(norm.running_mean),
                _double(norm.running_var),
                norm.eps,
                _double(norm.weight),
                _double(norm.bias),
                transpose=isinstance(convolution, _TRANSPOSED),
            )
            like = convolution.weight
            convolution.weight, convolution.bias = nn.Parameter(weight.to(like)), nn.Parameter(bias.to(like))
            replace_module(model, modules[pair.norm], norm.rest)


class _AnyNorm(NamedTuple):
    """What all norms that can be folded have, and what follows a norm in the same module."""

    running_mean: Tensor
    running_var: Tensor
    eps: float
    weight: Tensor | None
    bias: Tensor | None
    rest: nn.Module

    @classmethod
    def of(cls, module: Any) -> "_AnyNorm":
        rest = _Rest(module.drop, module.act) if hasattr(module, "act") else nn.Identity()
        return cls(module.running_mean, module.running_var, module.eps, module.weight, module.bias, rest)


class _Rest(nn.Module):
    """Of a norm that timm joins with an activation, all but the norm, under the same names."""

    def __init__(self, drop: nn.Module, act: nn.Module) -> None:
        super().__init__()
        self.drop, self.act = drop, act

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = self.act(self.drop(x))
        return output


def count_norms(model: nn.Module) -> int:
    """How many batch norms a network has."""
    kinds: tuple[type[nn.Module], ...] = (nn.modules.batchnorm._BatchNorm, *_norms())
    return sum(isinstance(module, kinds) for module in model.modules())


def _norms() -> tuple[type[nn.Module], ...]:
    """The kinds of norms that can be folded, as far as anything can be one of them."""
    loaded = (getattr(sys.modules.get(module), name, None) for module, name in _NORMS_ELSEWHERE)
    return (*_NORMS, *(kind for kind in loaded if isinstance(kind, type)))


def _double(tensor: Tensor | None) -> Any:
    return None if tensor is None else tensor.cpu().double()  # not every device has float64


def replace_module(model: nn.Module, old: nn.Module, new: nn.Module) -> None:
    """Put a module in the place of another, under all of its names."""
    for parent in list(model.modules()):
        names = [name for name, child in parent._modules.items() if child is old]  # named_children gives each once
        for name in names:
            setattr(parent, name, new)


def _is_plain(module: nn.Module) -> bool:
    """Whether it is a convolution or batch norm that does what its class says, with weights that nobody computes."""
    if type(module) not in (*_CONVOLUTIONS, *_norms()) or parametrize.is_parametrized(module):
        return False
    if module._forward_hooks or module._forward_pre_hooks or "forward" in vars(module):
        return False
    return isinstance(module, _CONVOLUTIONS) or getattr(module, "running_mean", None) is not None


class _Watched(TorchFunctionMode):
    """Sees in a pass which operations read what convolutions return."""

    def __init__(self) -> None:
        super().__init__()
        self._made_by: dict[int, nn.Module] = {}
        self._kept: list[Tensor] = []
        self._reads: dict[nn.Module, int] = {}
        self._calls: dict[nn.Module, int] = {}
        self._norms: dict[nn.Module, nn.Module] = {}

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Count what an operation reads, and not what it asks of a tensor's shape."""
        result = func(*args, **(kwargs or {}))
        name = getattr(func, "__name__", "")
        if name not in _ASKS and not (name == "__get__" and not isinstance(result, Tensor)):
            for value in tree_leaves((args, kwargs)):
                self._count(value)
        return result

    def returned(self, module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        """Note the call of a convolution, or of a norm and of what it read."""
        self._calls[module] = self._calls.get(module, 0) + 1
        if isinstance(module, _CONVOLUTIONS) and isinstance(output, Tensor):
            self._made_by[id(output)] = module
            self._kept.append(output)  # so that no other tensor gets its id
        elif len(args) == 1 and id(args[0]) in self._made_by:
            self._norms[self._made_by[id(args[0])]] = module

    def read(self, module: nn.Module, args: Any, output: Any) -> None:
        """Note that somebody reads what a layer, or the network, returns."""
        for _, tensor in tensors_in(output):
            self._count(tensor)

    def pairs(self) -> list[tuple[nn.Module, nn.Module]]:
        """Convolutions and norms that are called once, with nothing else that reads between them."""
        return [
            (convolution, norm)
            for convolution, norm in self._norms.items()
            if self._calls[convolution] == self._calls[norm] == self._reads.get(convolution) == 1
        ]

    def _count(self, value: Any) -> None:
        if isinstance(value, Tensor) and id(value) in self._made_by:
            module = self._made_by[id(value)]
            self._reads[module] = self._reads.get(module, 0) + 1
