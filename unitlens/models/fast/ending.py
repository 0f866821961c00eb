"""Passes that end behind the deepest layer that is read.

The first pass, or the first two, are whole ones, and show whether the others may end early: not where the network keeps
something from one pass to the next, draws random numbers, looks at values by which it may call a layer once more, or
has hooks that wait for what lies behind. From then on, it is left as soon as all layers have returned, by an exception
that its own code does not catch as an `Exception`.

With ``tap="after_inplace"`` what is read stands in memory until the pass is over, so that a pass ends where nothing
writes to that memory any more. PyTorch counts the writes to a tensor's memory (``_version``): the first pass shows how
many there are, and a copy made at the end of them is compared with what stands there in the end.
"""

import operator
import random
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, jit, nn

from unitlens.errors import UnitlensError
from unitlens.models.fast.deciding import may_call_again
from unitlens.models.hooks import Recording, Tap, attached, record
from unitlens.models.layers import find_layers, uncompiled

TRIALS = 2
"""Whole passes, at most, that show whether the others may end early: in its first one, a network may fill a cache."""


class _AllReturnedError(BaseException):
    """Leaves a pass; not an `Exception`, which networks catch."""


class EndingPasses:
    """Passes of a network of which the outputs of some layers are read, and perhaps nothing else.

    Parameters
    ----------
    model : nn.Module
        In evaluation mode, see `unitlens.models.passes.evaluating`.
    layers : sequence of str
    tap : {"output", "after_inplace"}
        As for `unitlens.models.hooks.record`.
    whole : bool
        Whether every pass is a whole one, as the network's own output is needed.

    Attributes
    ----------
    whole : bool or None
        The same once the first passes have shown it; None before.
    """

    def __init__(self, model: nn.Module, layers: Sequence[str], *, tap: Tap = "output", whole: bool = False) -> None:
        self._model, self._layers, self._tap = model, list(layers), tap
        self._calls = _needed_calls(model, self._layers)
        self._writes: dict[str, int] = {}
        self._trials = 0
        self.whole: bool | None = True if whole else None

    def __call__(self, inputs: Tensor) -> tuple[Recording, Any]:
        """Run the network on prepared inputs.

        Returns
        -------
        recording : Recording
            Of the layers.
        outputs : Any
            The network's own; None where the pass ended before.
        """
        if self.whole:
            with record(self._model, self._layers, tap=self._tap) as recording:
                return recording, self._model(inputs)
        with _counted_writes(inputs, self._tap) as inputs:
            return self._trial(inputs) if self.whole is None else self._shortened(inputs)

    def _trial(self, inputs: Tensor) -> tuple[Recording, Any]:
        before = _State(self._model, inputs.device)
        last: dict[str, Tensor] = {}

        def returned(recording: Recording) -> None:
            self._note_writes(recording, last)

        with record(self._model, self._layers, tap=self._tap) as recording, self._watched(recording, returned):
            outputs = self._model(inputs)
        self._trials += 1
        if not before.hooked and before.unchanged() and self._is_settled(recording, last):
            self.whole = may_call_again(self._model, list(self._calls), inputs[:1])
        elif self._trials == TRIALS:
            self.whole = True
        return recording, outputs

    def _shortened(self, inputs: Tensor) -> tuple[Recording, Any]:
        before = _State(self._model)

        def returned(recording: Recording) -> None:
            if self._tap == "output" or self._count_writes(recording) == self._writes:
                raise _AllReturnedError

        outputs = None
        with record(self._model, self._layers, tap=self._tap) as recording, self._watched(recording, returned):
            try:
                outputs = self._model(inputs)
            except _AllReturnedError:
                before.restore()
        return recording, outputs

    @contextmanager
    def _watched(self, recording: Recording, returned: Callable[[Recording], None]) -> Iterator[None]:
        """Call a function once all layers have returned: at once or, where memory is read, before each later module."""
        calls = dict.fromkeys(self._calls, 0)

        def count(module: nn.Module, args: Any, output: Any) -> None:
            calls[module] += 1
            if self._tap == "output":
                check(module, args)

        def check(module: nn.Module, args: Any) -> None:
            if all(calls[module] >= needed for module, needed in self._calls.items()):
                returned(recording)

        later = [] if self._tap == "output" else uncompiled(self._model).modules()
        handles = [
            module.register_forward_pre_hook(check) for module in later if not isinstance(module, jit.ScriptModule)
        ]
        try:
            with attached(self._model, [(module, count) for module in calls]):
                yield
        finally:
            for handle in handles:
                handle.remove()

    def _note_writes(self, recording: Recording, last: dict[str, Tensor]) -> None:
        """Keep what stands in the layers' memory after each write to it."""
        writes = self._count_writes(recording) if self._tap == "after_inplace" else None
        if writes is not None:
            last.update(
                {layer: recording[layer].clone() for layer in writes if writes[layer] != self._writes.get(layer)}
            )
            self._writes = writes

    def _is_settled(self, recording: Recording, last: Mapping[str, Tensor]) -> bool:
        """Whether there is a module before which every write to the layers' memory had been made."""
        if self._tap == "output":
            return True
        all_seen = len(last) == len(self._layers) and self._count_writes(recording) == self._writes
        return all_seen and all(torch.equal(recording[layer], last[layer]) for layer in self._layers)

    def _count_writes(self, recording: Recording) -> dict[str, int] | None:
        """How often each layer's memory was written to, or None where that is not known."""
        try:
            tensors = {layer: recording[layer] for layer in self._layers}
        except UnitlensError:  # it was called again, or not at all: whoever reads it gets the sentence
            return None
        if any(tensor.is_inference() for tensor in tensors.values()):
            return None
        return {layer: tensor._version for layer, tensor in tensors.items()}


def _needed_calls(model: nn.Module, layers: Sequence[str]) -> dict[nn.Module, int]:
    """How many calls of each layer's module have to return in a pass."""
    needed: dict[nn.Module, int] = {}
    for ref in find_layers(model, layers):
        needed[ref.module] = max(needed.get(ref.module, 0), (ref.call or 0) + 1)
    return needed


@contextmanager
def _counted_writes(inputs: Tensor, tap: Tap) -> Iterator[Tensor]:
    """Let PyTorch count the writes to tensors, where they matter: in inference mode it does not."""
    if tap == "output":
        yield inputs
    else:
        with torch.inference_mode(mode=False), torch.no_grad():
            yield inputs.clone()


class _State:
    """What a network holds beside its weights, as it was before a pass.

    Parameters
    ----------
    model : nn.Module
    device : torch.device, optional
        Whose random numbers belong to it; None: those of none.
    """

    def __init__(self, model: nn.Module, device: torch.device | None = None) -> None:
        self._modules, self._device = list(uncompiled(model).modules()), device
        self._attributes = [dict(vars(module)) for module in self._modules]
        self._held = self._all_held()
        self._writes, self._random = self._all_writes(), self._random_states()

    @property
    def hooked(self) -> bool:
        """Whether somebody's hooks wait for what modules return."""
        return any(module._forward_hooks for module in self._modules)

    def unchanged(self) -> bool:
        """Whether it is as it was."""
        held = self._all_held()
        same = len(held) == len(self._held) and all(map(operator.is_, held, self._held))
        return same and self._writes == self._all_writes() and self._random == self._random_states()

    def restore(self) -> None:
        """Give modules back the attributes that they had, where a pass did not live to do so."""
        for module, before in zip(self._modules, self._attributes, strict=True):
            now = vars(module)
            if now.keys() != before.keys() or any(now[name] is not value for name, value in before.items()):
                now.clear()
                now.update(before)

    def _all_held(self) -> list[Any]:
        """Every attribute of every module and, of lists and the like, what is in it: buffers among it."""
        values = [value for module in self._modules for value in vars(module).values()]
        return [*values, *(item for value in values for item in _items(value))]

    def _all_writes(self) -> list[int]:
        tensors = [value for value in self._held if isinstance(value, Tensor) and not value.is_inference()]
        return [tensor._version for tensor in tensors]

    def _random_states(self) -> list[Any]:
        if self._device is None:
            return []
        states = [random.getstate(), torch.get_rng_state().tolist()]
        return states if self._device.type != "cuda" else [*states, torch.cuda.get_rng_state(self._device).tolist()]


def _items(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [*value, *value.values()]
    return list(value) if isinstance(value, list | set | deque) else []
