"""Whether a network looks at the values of tensors where it may decide, by them, to call a layer once more.

Python's ``if`` and ``while`` see values through a few operations, such as ``bool(tensor)`` and ``tensor.item()``. Code
that calls a layer belongs to a module around it; so what counts is that such a module's own code, and not that of a
module that it calls, looks at values. (One that hands the layer to another module is not seen through.)
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, jit, nn
from torch.overrides import TorchFunctionMode

from unitlens.models.hooks import attached
from unitlens.models.layers import uncompiled

_LOOKS = frozenset(
    {
        "__bool__",
        "__int__",
        "__float__",
        "__complex__",
        "__index__",
        "__contains__",
        "__array__",
        "item",
        "tolist",
        "numpy",
        "is_nonzero",
        "equal",
        "allclose",
        # as many things as there are of some values
        "nonzero",
        "argwhere",
        "unique",
        "unique_consecutive",
        "masked_select",
        "bincount",
        "repeat_interleave",
    }
)
"""Operations by which Python code sees the values of tensors."""


def may_call_again(model: nn.Module, layers: Sequence[nn.Module], inputs: Tensor) -> bool:
    """Whether the modules around some layers look at values, by which they may decide to call these once more.

    It takes a pass of its own, of which nothing is kept: PyTorch computes some modules in another way while it is
    watched, with other rounding.

    Parameters
    ----------
    model : nn.Module
        It must be known that a pass leaves nothing behind.
    layers : sequence of nn.Module
    inputs : Tensor
        Of an image, or a few.
    """
    root, looking = uncompiled(model), _Looking()
    around = {module for module in root.modules() if not set(layers).isdisjoint([*module.modules()][1:])}
    others = [module for module in root.modules() if module not in around and not isinstance(module, jit.ScriptModule)]
    with ExitStack() as stack:
        stack.enter_context(attached(model, []))
        for module in others:
            stack.callback(module.register_forward_pre_hook(looking.enter).remove)
            stack.callback(module.register_forward_hook(looking.leave, always_call=True).remove)
        stack.enter_context(looking)
        try:
            model(inputs.clone())
        except Exception:  # a stranger's operations, which may not be watched
            return True
    return looking.seen


class _Looking(TorchFunctionMode):
    """Sees operations that look at values, outside of the modules that cannot call the layers."""

    def __init__(self) -> None:
        super().__init__()
        self.seen = False
        self._inside = 0

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Note it."""
        if not self._inside and _looks(getattr(func, "__name__", ""), args):
            self.seen = True
        return func(*args, **(kwargs or {}))

    def enter(self, module: nn.Module, args: Any) -> None:
        """Note that a module begins that cannot call the layers."""
        self._inside += 1

    def leave(self, module: nn.Module, args: Any, output: Any) -> None:
        """Note that it has ended."""
        self._inside -= 1


def _looks(name: str, args: tuple[Any, ...]) -> bool:
    """Whether an operation looks at values: of those that do so by some arguments alone, by these."""
    if name == "where":
        return len(args) == 1
    if name == "__getitem__":
        indices = args[1] if isinstance(args[1], tuple) else (args[1],)
        return any(isinstance(index, Tensor) and index.dtype in (torch.bool, torch.uint8) for index in indices)
    return name in _LOOKS
