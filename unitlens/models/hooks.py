"""Record the outputs of layers (`record`), or replace them (`edit`), while a network runs.

Both are context managers: hooks are attached when the ``with`` begins, undone when it ends, and nothing else of the
model is touched. Where several are open on one layer, they act in the order in which they were opened: a `record` that
is opened inside an `edit` sees the edited value, one that is opened around it sees what the layer itself returned.

Hooks belong to the model, and see the passes of every thread. So one thread at a time has a `record` or `edit` open on
a model; another one that opens its own waits until it is closed (do not wait for such a thread inside the ``with``).

How a layer is named (``NAME[CALL]:ITEM``) is explained in `unitlens.models.layers`. A pass is one call of the model.
Calls of a layer outside of a pass (a part that is run by itself, or run again for the gradient) are edited, but neither
counted nor recorded.
"""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from unitlens.errors import UnitlensError, did_you_mean
from unitlens.models.layers import (
    HEADS,
    LayerRef,
    display_name,
    display_shape,
    find_layers,
    one_tensor,
    uncompiled,
    with_tensor,
)
from unitlens.models.passes import one_thread
from unitlens.models.units.heads import taken_apart

Tap = Literal["output", "after_inplace"]
Edit = Callable[[Tensor], Tensor]
Place = tuple[nn.Module, bool]


class Recording:
    """The outputs of the recorded layers in the last pass: ``recording["layer4"]``, by the names that were given.

    It stays readable after the ``with`` has ended.
    """

    def __init__(self, refs: Sequence[LayerRef], tap: Tap) -> None:
        self._refs = {ref.given: ref for ref in refs}
        self._tap = tap
        self._kept: dict[str, Tensor] = {}
        self._wrong: dict[str, str] = {}
        self._calls: dict[Place, int] = {}
        self._passes = 0
        self._running = False

    def __repr__(self) -> str:
        return f"<Recording of {', '.join(map(display_name, self._refs)) or 'nothing'}; {self._passes} passes so far>"

    def __getitem__(self, layer: str) -> Tensor:
        """Return the output of a layer in the last pass.

        Parameters
        ----------
        layer : str
            A name as it was given to `record`.

        Returns
        -------
        Tensor
            For ``tap="output"`` a copy, out of reach of what the network does later; gradients flow from it back to
            the parameters and the input. For ``tap="after_inplace"`` the tensor that the network went on with.

        Raises
        ------
        UnitlensError
            If the layer is not recorded, there was no pass, it was not reached, or the name leaves a choice open.
        """
        if layer not in self._refs:
            names = ", ".join(map(display_name, self._refs)) or "nothing"
            raise UnitlensError(
                f"{layer!r} is not recorded here; recorded is {names}{did_you_mean(layer, self._refs)}."
            )
        ref, calls = self._refs[layer], self._calls.get(self._refs[layer].place, 0)
        if not self._passes:
            raise UnitlensError(
                f"Nothing is recorded of {display_name(layer)} yet, as no pass was made inside the `with`: "
                "call the model itself, as in model(x)."
            )
        if calls == 0:
            raise UnitlensError(
                f"{display_name(layer)} was not reached in the last pass, so nothing is recorded of it; "
                "choose a layer that the network calls for this input."
            )
        if ref.call is None and calls > 1:
            raise UnitlensError(_open_call(ref, calls))
        if ref.call is not None and ref.call >= calls:
            raise UnitlensError(f"{layer} does not exist: {ref.name} was called {calls} times, counted from 0.")
        if layer in self._wrong:
            raise UnitlensError(self._wrong[layer])
        return self._kept[layer]

    def _start(self, module: nn.Module, args: Any) -> None:
        self._kept.clear()
        self._wrong.clear()
        self._calls.clear()
        self._passes += 1
        self._running = True

    def _see(self, refs: Sequence[LayerRef], output: Any) -> None:
        if not self._running:
            return
        place = refs[0].place
        call = self._calls.get(place, 0)
        self._calls[place] = call + 1
        for ref in refs:
            if call == (ref.call or 0):
                self._keep(ref, output)

    def _keep(self, ref: LayerRef, output: Any) -> None:
        try:
            _, tensor = one_tensor(ref, output)
        except UnitlensError as error:  # recording must not stop the pass: the error is raised when the layer is read
            self._wrong[ref.given] = str(error)
        else:
            self._kept[ref.given] = tensor.clone() if self._tap == "output" else tensor

    def _finish(self, module: nn.Module, args: Any, output: Any) -> None:
        self._running = False


@contextmanager
def record(model: nn.Module, layers: str | Sequence[str], *, tap: Tap = "output") -> Iterator[Recording]:
    """Record the outputs of layers.

    Parameters
    ----------
    model : nn.Module
        Any network. A compiled one (`torch.compile`) runs uncompiled inside the ``with``, as a hook that is attached
        after compilation would be passed over in silence.
    layers : str or sequence of str
        One layer or several, all recorded in the same pass.
    tap : {"output", "after_inplace"}
        ``"output"``: what the layer itself returned, copied, even where an in-ref operation behind it (ReLU, ``+=``)
        overwrites that memory. ``"after_inplace"``: the tensor itself, not copied: what stands in that memory when it
        is read, which is after the in-ref operations once the pass is over. Outcomes have gradients with respect to
        it: ``torch.autograd.grad(outcome, recording["layer4"])``.

    Yields
    ------
    Recording
        ``recording[layer]`` is the tensor of the last pass.

    Raises
    ------
    UnitlensError
        If a layer does not exist or cannot be seen. Nothing was attached then.

    Examples
    --------
    >>> model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(inplace=True))
    >>> with record(model, "0") as recording:
    ...     _ = model(torch.zeros(1, 3, 32, 32))
    >>> recording["0"].shape
    torch.Size([1, 8, 30, 30])
    """
    if tap not in ("output", "after_inplace"):
        raise UnitlensError(f"tap is {tap!r}; it can be 'output' or 'after_inplace'.")
    refs = find_layers(model, layers)
    recording = Recording(refs, tap)

    def see(group: list[LayerRef]) -> Callable[..., None]:
        return lambda module, args, output: recording._see(group, output)

    hooks = [(group[0], see(group)) for group in _by_module(refs)]
    with attached(model, hooks, before=recording._start, after=recording._finish):
        yield recording


@contextmanager
def edit(model: nn.Module, edits: Mapping[str, Edit]) -> Iterator[None]:
    """Replace the outputs of layers.

    Parameters
    ----------
    model : nn.Module
        Any network; a compiled one runs uncompiled inside the ``with``.
    edits : mapping of str to function
        For each layer a function from the tensor it returned to the one it shall return, of the same shape and on the
        same device; it is brought to the layer's own dtype. The function gets a copy and may write into it, and the
        network gets a copy of what it returns. Gradients flow through it.

    Raises
    ------
    UnitlensError
        At the beginning, if a layer does not exist or cannot be seen (nothing was attached then); in a pass, if a
        layer is called several times and no ``[CALL]`` is chosen, if a function returns something else, or at the
        end of a pass that never reached one of the layers.

    Examples
    --------
    >>> model = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
    >>> with edit(model, {"1": torch.zeros_like}):
    ...     model(torch.ones(1, 1, 2, 2)).tolist()
    [[0.0, 0.0]]
    """
    editing = _Editing(find_layers(model, list(edits)), edits)

    def replace(group: list[LayerRef]) -> Callable[..., Any]:
        return lambda module, args, output: editing.replace(group, output)

    hooks = [(group[0], replace(group)) for group in _by_module(editing.refs)]
    with attached(model, hooks, before=editing.start, after=editing.finish):
        yield


class _Editing:
    """The edits of one `edit`, and how far the present pass has come."""

    def __init__(self, refs: Sequence[LayerRef], edits: Mapping[str, Edit]) -> None:
        self.refs = refs
        self._edits = edits
        self._calls: dict[Place, int] = {}
        self._done: set[str] = set()
        self._running = False

    def start(self, module: nn.Module, args: Any) -> None:
        self._calls.clear()
        self._done.clear()
        self._running = True

    def replace(self, refs: Sequence[LayerRef], output: Any) -> Any:
        place = refs[0].place
        call = self._calls.get(place, 0)
        self._calls[place] = call + self._running
        for ref in refs:
            if ref.call is None and call > 0 and self._running:
                raise UnitlensError(_open_call(ref, None))
            if ref.call is not None and not self._running:
                raise UnitlensError(f"{ref.given} chooses a call, but no pass is going on: call the model itself.")
            if call == (ref.call or 0) or not self._running:
                output = _edited(ref, self._edits[ref.given], output)
                self._done.add(ref.given)
        return output

    def finish(self, module: nn.Module, args: Any, output: Any) -> None:
        self._running = False
        missed = [display_name(ref.given) for ref in self.refs if ref.given not in self._done]
        if missed:
            raise UnitlensError(
                f"{', '.join(missed)} was never reached in this pass, so nothing was edited there; "
                "choose a layer that the network calls for this input."
            )


def _nothing(module: nn.Module, args: Any, output: Any = None) -> None:
    pass


@contextmanager
def attached(
    model: nn.Module,
    hooks: Sequence[tuple[nn.Module | LayerRef, Callable[..., Any]]],
    *,
    before: Callable[[nn.Module, Any], None] = _nothing,
    after: Callable[[nn.Module, Any, Any], None] = _nothing,
) -> Iterator[None]:
    """Attach forward hooks, and take them off again whatever happens.

    Parameters
    ----------
    model : nn.Module
        The network; its calls are the passes.
    hooks : sequence of (nn.Module or LayerRef, function)
        Forward hooks ``(module, args, output)``; what they return other than None replaces the output. Of a layer that
        is what its module is given, that stands in the output's place.
    before, after : function
        Called at the beginning of each pass, and at the end of each that succeeds; by default nothing is.
    """
    root = uncompiled(model)
    joints = [place.joint for place, _ in hooks if isinstance(place, LayerRef)]
    with one_thread(model), eagerly(), taken_apart(joints), ExitStack() as stack:
        stack.callback(root.register_forward_pre_hook(before).remove)
        for place, hook in hooks:
            stack.callback(_attach(place, hook).remove)
        stack.callback(root.register_forward_hook(after).remove)
        yield


def _attach(place: nn.Module | LayerRef, hook: Callable[..., Any]) -> RemovableHandle:
    if isinstance(place, nn.Module):
        return place.register_forward_hook(hook)
    if place.heads is None:
        return place.module.register_forward_hook(hook)

    def given(module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...] | None:
        changed = hook(module, args, args[0])
        return None if changed is None else (changed, *args[1:])

    return place.module.register_forward_pre_hook(given)


@contextmanager
def eagerly() -> Iterator[None]:
    """Run what `torch.compile` compiled uncompiled inside the ``with``, so that hooks are called."""
    if "torch._dynamo" not in sys.modules:  # nothing can have been compiled, and importing it takes seconds
        yield
        return
    with torch.compiler.set_stance("force_eager"):
        yield


def _by_module(refs: Sequence[LayerRef]) -> list[list[LayerRef]]:
    groups: dict[Place, list[LayerRef]] = {}
    for ref in refs:
        groups.setdefault(ref.place, []).append(ref)
    return list(groups.values())


def _edited(ref: LayerRef, function: Edit, output: Any) -> Any:
    """Return what the layer returned, with the ref's tensor replaced by what the function makes of it.

    The function gets a copy, as the layer may have returned its own input, and the network gets a copy, as it may
    overwrite what it is given while the caller keeps it.
    """
    way, tensor = one_tensor(ref, output)
    given = tensor.clone()
    made = function(given)
    if not isinstance(made, Tensor):
        raise UnitlensError(f"The edit of {display_name(ref.given)} returned a {type(made).__name__}, not a tensor.")
    if made.shape != tensor.shape or made.device != tensor.device:
        raise UnitlensError(
            f"The edit of {display_name(ref.given)} returned a tensor of {display_shape(made.shape)} on {made.device}, "
            f"but the layer returned {display_shape(tensor.shape)} on {tensor.device}: both must be the same."
        )
    made = made.to(tensor.dtype)
    return with_tensor(output, way, made if made is given else made.clone())


def _open_call(ref: LayerRef, calls: int | None) -> str:
    name = ref.name if ref.heads is None else ref.given.removesuffix(f":{HEADS}")
    item = f":{HEADS}" if ref.heads is not None else "" if ref.item is None else f":{ref.item}"
    choices = ", ".join(f"{name}[{call}]{item}" for call in range(min(calls or 2, 4)))
    more = " and so on" if calls is None or calls > 4 else ""
    times = "several times" if calls is None else f"{calls} times"
    return f"{display_name(ref.given)} is called {times} in one pass; choose one call: {choices}{more}."
