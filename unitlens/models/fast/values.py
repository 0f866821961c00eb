"""Whether a network looks at numbers of its tensors while it runs, and may go another way with other images."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

_OF_VALUES = {torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape}
"""What PyTorch says of operations that give a number to Python, such as ``item``, or whose shape depends on values."""

_OF_VALUES_INSIDE = {
    torch.ops.aten.is_nonzero.default,
    torch.ops.aten.narrow.Tensor,
    torch.ops.aten.repeat_interleave.self_Tensor,
    torch.ops.aten.tensor_split.tensor_indices_or_sections,
}
"""In inference mode these come as a whole, of which nothing is said, and not as the operations that they consist of."""

_TO_PYTHON = {torch.Tensor.numpy, torch.Tensor.tolist, torch.Tensor.__array__, torch.Tensor.__dlpack__}
"""These read the memory itself."""


class _Operations(TorchDispatchMode):  # type: ignore[no-untyped-call]  # PyTorch has none for its parts
    """Notes operations whose result in Python depends on values."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.read = False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.read = self.read or _depends_on_values(func, args)
        return func(*args, **(kwargs or {}))


def _depends_on_values(operation: Any, args: Any) -> bool:
    if operation is torch.ops.aten.index.Tensor:  # with masks, not with numbers
        return any(index is not None and index.dtype in (torch.bool, torch.uint8) for index in args[1])
    return operation in _OF_VALUES_INSIDE or bool(_OF_VALUES.intersection(operation.tags))


class _Methods(TorchFunctionMode):
    """Notes methods that read memory without an operation."""

    def __init__(self) -> None:
        super().__init__()
        self.read = False

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.read = self.read or func in _TO_PYTHON
        return func(*args, **(kwargs or {}))


class ValuesRead:
    """Says whether numbers of tensors were read inside of ``noting``.

    Up to the first time, a network does the same whatever the images are. So one that reads none with some images reads
    none with others of their shape, and calls the same modules.
    """

    def __init__(self) -> None:
        self._noted = (_Operations(), _Methods())

    def __bool__(self) -> bool:
        return any(mode.read for mode in self._noted)

    @contextmanager
    def noting(self) -> Iterator[None]:
        """Note what is read inside of the ``with``."""
        operations, methods = self._noted
        with methods, operations:
            yield
