"""Tensors on their way between this process and a GPU, for which nobody waits before they are needed.

A plain ``.to`` or ``.cpu()`` waits until the GPU has done all that it was asked for. Pinned memory is copied meanwhile,
and an event tells when that is done.
"""

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any, TypeVar

import numpy.typing as npt
import torch
from torch import Tensor

Item = TypeVar("Item")


def is_ahead(device: torch.device) -> bool:
    """Whether a device works on while this process does something else."""
    return device.type == "cuda"


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """Return a tensor on a device, which copies it when it comes to that."""
    if tensor.device == device or not is_ahead(device):
        return tensor.to(device)
    return _pinned(tensor).to(device, non_blocking=True)


def one_behind(items: Iterable[Item], take: Callable[[Item], None]) -> None:
    """Take items, each when the next one was made, so that a device has work meanwhile.

    If making one fails or is stopped, the one before is taken nevertheless, before that is raised.

    Parameters
    ----------
    items : iterable
    take : callable

    Examples
    --------
    >>> def made():
    ...     for number in range(3):
    ...         print("made", number)
    ...         yield number
    >>> one_behind(made(), lambda number: print("taken", number))
    made 0
    made 1
    taken 0
    made 2
    taken 1
    taken 2
    """
    waiting: list[Item] = []
    try:
        for item in items:
            if waiting:
                take(waiting.pop())
            waiting.append(item)
            del item  # what is taken is held by nobody while the next one is made
    except BaseException:
        if waiting:
            with suppress(Exception):  # the first error is the one to tell of
                take(waiting.pop())
        raise
    if waiting:
        take(waiting.pop())


class Arriving:
    """Tensors that are copied into the memory of this process; of a device that does not work ahead, they are there.

    Parameters
    ----------
    tensors : sequence of Tensor
        On one device, and such as nobody writes to any more.
    """

    def __init__(self, tensors: Sequence[Tensor]) -> None:
        self._ahead = bool(tensors) and is_ahead(tensors[0].device)
        if not self._ahead:
            self._tensors = [tensor.cpu() for tensor in tensors]
            return
        self._tensors = [_room(tensor) for tensor in tensors]
        for room, tensor in zip(self._tensors, tensors, strict=True):
            room.copy_(tensor.contiguous(), non_blocking=True)
        self._done = _event(tensors[0].device)

    def tensors(self) -> list[Tensor]:
        """Wait until they are there, and return them in their order."""
        if self._ahead:
            self._done.synchronize()
        return self._tensors

    def arrays(self) -> list[npt.NDArray[Any]]:
        """Return the same as arrays."""
        return [tensor.numpy() for tensor in self.tensors()]


def _pinned(tensor: Tensor) -> Tensor:
    """A copy of a tensor in memory from which a GPU copies by itself."""
    return tensor.pin_memory()


def _room(tensor: Tensor) -> Tensor:
    """Room for a tensor in memory into which a GPU copies by itself."""
    return torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)


def _event(device: torch.device) -> torch.cuda.Event:
    """What is done once a GPU, which need not be the current one, has done all that it was asked for so far."""
    event = torch.cuda.Event()  # type: ignore[no-untyped-call]
    event.record(torch.cuda.current_stream(device))
    return event
