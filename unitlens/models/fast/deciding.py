"""Whether a network looks at the values of tensors where it may decide, by them, to call a layer once more.

Python's ``if`` and ``while`` see values through a few operations, such as ``bool(tensor)`` and ``tensor.item()``. Only
the modules around a layer can call it; so what counts is that their own code, and not that of a module that they call,
looks at values.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from torch import nn
from torch.overrides import TorchFunctionMode

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
        "masked_select",
    }
)
"""Operations by which Python code sees the values of tensors."""


class Decisions(TorchFunctionMode):
    """Sees whether the modules around some layers look at values.

    Attributes
    ----------
    made : bool
        Whether they did so far.
    """

    def __init__(self) -> None:
        super().__init__()
        self.made = False
        self._inside = 0

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Note an operation that looks at values, outside of the modules that cannot call the layers."""
        name = getattr(func, "__name__", "")
        if not self._inside and (name in _LOOKS or (name == "where" and len(args) == 1)):
            self.made = True
        return func(*args, **(kwargs or {}))

    def enter(self, module: nn.Module, args: Any) -> None:
        """Note that a module begins that cannot call the layers."""
        self._inside += 1

    def leave(self, module: nn.Module, args: Any, output: Any) -> None:
        """Note that it has ended."""
        self._inside -= 1


@contextmanager
def watched_decisions(model: nn.Module, layers: Sequence[nn.Module]) -> Iterator[Decisions]:
    """Watch a pass of a network for decisions that may lead to further calls of some of its modules."""
    read, decisions = set(layers), Decisions()
    around = [module for module in model.modules() if not read.isdisjoint([*module.modules()][1:])]
    with ExitStack() as stack:
        for module in set(model.modules()).difference(around):
            stack.callback(module.register_forward_pre_hook(decisions.enter).remove)
            stack.callback(module.register_forward_hook(decisions.leave, always_call=True).remove)
        stack.enter_context(decisions)
        yield decisions
