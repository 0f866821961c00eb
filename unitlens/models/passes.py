"""Passes of a network: one thread at a time, in evaluation mode, without gradients, and with errors as sentences."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from traceback import walk_tb
from typing import NamedTuple
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from unitlens.errors import UnitlensError, argument
from unitlens.freed import keeping_freed_memory
from unitlens.models.layers import describe_error, display_name, uncompiled

_LOCKS: WeakKeyDictionary[nn.Module, "threading.RLock"] = WeakKeyDictionary()
_LOCKS_LOCK = threading.Lock()


@contextmanager
def one_thread(model: nn.Module) -> Iterator[None]:
    """Keep other threads from looking at, editing or switching a model inside the ``with``; they wait.

    Hooks and the ``training`` flags belong to the model, so that two threads at work on one model would see each
    other's passes. The thread that is inside may enter again. Only what unitlens does is held back: a pass that another
    thread makes by calling the model itself is not, nor is work on another model that shares modules with this one,
    such as a part of it. For work at the same time, give each thread a copy of the model.

    Parameters
    ----------
    model : nn.Module
        A network; a compiled one (`torch.compile`) is the same as what it was compiled from.
    """
    with _LOCKS_LOCK:
        lock = _LOCKS.setdefault(uncompiled(model), threading.RLock())
    with lock:
        yield


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Run a model in evaluation mode, without gradients.

    Every module's ``training`` flag, and no more, is changed and put back afterwards, whatever happens.
    ``model.eval()`` is not called, as networks may do more in it (merge weights, say) than could be undone. Another
    thread that wants to do the same, or to `record` or `edit`, waits until this one is done.

    Parameters
    ----------
    model : nn.Module
        Any network.

    Examples
    --------
    >>> import unitlens as ul
    >>> model = nn.Sequential(nn.Linear(4, 2), nn.Dropout())
    >>> with ul.evaluating(model):
    ...     model.training, model(torch.ones(1, 4)).requires_grad
    (False, False)
    >>> model.training
    True
    """
    with one_thread(model), keeping_freed_memory():
        before = [(module, module.training) for module in model.modules()]
        try:
            for module, _ in before:
                module.training = False
            with torch.inference_mode():
                yield
        finally:
            for module, training in before:
                module.training = training


@contextmanager
def evaluating_with_gradients(model: nn.Module) -> Iterator[None]:
    """Evaluation mode; every module's training flag, and gradients of parameters, are as before afterwards."""
    before = [(module, module.training) for module in model.modules()]
    asked = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
    try:
        for module, _ in before:
            module.training = False
        for parameter, _ in asked:
            parameter.requires_grad_(False)
        with torch.inference_mode(mode=False), torch.enable_grad(), keeping_freed_memory():
            yield
    finally:
        for module, training in before:
            module.training = training
        for parameter, wanted in asked:
            parameter.requires_grad_(wanted)


@contextmanager
def pass_errors(model: nn.Module, images: Tensor) -> Iterator[None]:
    """Turn whatever a pass raises into one sentence: what the network wants, and what to do.

    Parameters
    ----------
    model : nn.Module
        The network.
    images : Tensor, (N, bands, height, width)
        What it is given inside the ``with``.
    """
    try:
        yield
    except UnitlensError:
        raise
    except (Exception, SystemExit) as error:  # whatever the network's own code raises
        raise describe_pass_error(error, model, images) from error


def describe_pass_error(error: BaseException, model: nn.Module, images: Tensor) -> UnitlensError:
    """Return the sentence for an error that a network raised when it was given images."""
    count, channels, height, width = images.shape
    size = f"{height} x {width}"
    # On the CPU, PyTorch raises a plain RuntimeError when memory runs out.
    if isinstance(error, torch.OutOfMemoryError | MemoryError) or "allocate memory" in str(error):
        return UnitlensError(
            f"{count} images of {size} at a time do not fit in memory: lower {argument('batch_size')}."
        )
    batch = _exported_batch(model)
    if batch is not None and batch != count:
        return UnitlensError(
            f"This program was exported for a fixed number of images, {batch}, and was given {count}: export it with a "
            "batch dimension that is dynamic (dynamic_shapes of torch.export.export)."
        )
    what = describe_error(error)
    failed = _failed_layer(error, model)
    if failed is not None and failed.given[1:] == images.shape[1:]:
        kind = "RGB images" if channels == 3 else f"images of {channels} bands"
        return UnitlensError(
            f"The network does not take {kind} ({what}): its first layer, {failed.layer}, takes {failed.takes}, "
            f"and an image has {channels} channels. Give {argument('mean')} and {argument('std')} of as many numbers "
            f"as it takes bands, or wrap it in a module that converts {kind} to its input."
        )
    if failed is not None:
        what += f"; {failed.layer} takes {failed.takes} and was given {' x '.join(map(str, failed.given[1:]))}"
    elif (first := _first_layer(model, channels)) is not None:
        what += f"; its first layer, {first.layer}, takes {first.takes}"
    return UnitlensError(
        f"The network fails on images of {size} ({what}): if it takes images of another size, give it with "
        f"{argument('image_size')}."
    )


class _Width(NamedTuple):
    """How many channels or numbers a layer takes, and the shape that it was given."""

    layer: str
    takes: str
    given: tuple[int, ...] = ()


def _failed_layer(error: BaseException, model: nn.Module) -> _Width | None:
    """Find the layer in which an error arose, if it was given another number of channels or numbers than it takes."""
    names = {module: name for name, module in uncompiled(model).named_modules()}
    for frame, _ in reversed(list(walk_tb(error.__traceback__))):
        module, given = (frame.f_locals.get(name) for name in (*frame.f_code.co_varnames, "", "")[:2])
        if isinstance(module, nn.Module) and module in names:  # the innermost forward(self, input)
            width, dim = _width(module)
            if isinstance(given, Tensor) and given.ndim > 1 and width not in (0, given.shape[dim]):
                return _Width(_describe_layer(names[module], module), _describe_width(width, dim), tuple(given.shape))
            return None
    return None


def first_bands(model: nn.Module) -> int | None:
    """Return how many channels the first layer that has a width takes; None where it takes no maps of channels."""
    for _, module in uncompiled(model).named_modules():
        width, dim = _width(module)
        if width:
            return width if isinstance(module, nn.Conv2d | nn.BatchNorm2d) and dim == 1 else None
    return None


def refuses_bands(error: BaseException, model: nn.Module, images: Tensor) -> bool:
    """Whether a pass failed as the layer that images, (N, bands, height, width), go into takes another number."""
    failed = _failed_layer(error, model)
    return failed is not None and failed.given[1:] == images.shape[1:]


def _first_layer(model: nn.Module, channels: int) -> _Width | None:
    """Return the first layer that has a width, if it takes something else than the channels of the images."""
    for name, module in uncompiled(model).named_modules():
        width, dim = _width(module)
        if width:
            other = (width, dim) != (channels, 1)
            return _Width(_describe_layer(name, module), _describe_width(width, dim)) if other else None
    return None


def _width(module: nn.Module) -> tuple[int, int]:
    """Return how many channels or numbers a layer takes, and along which dimension; 0 where that is not known."""
    match module:
        case nn.Conv1d() | nn.Conv2d() | nn.Conv3d() | nn.ConvTranspose1d() | nn.ConvTranspose2d():
            return module.in_channels, 1
        case nn.BatchNorm1d() | nn.BatchNorm2d():
            return module.num_features, 1
        case nn.Linear():
            return module.in_features, -1
        case _:
            return 0, 1


def _describe_width(width: int, dim: int) -> str:
    noun = "channel" if dim == 1 else "number"
    return f"{width} {noun}" if width == 1 else f"{width} {noun}s"


def _describe_layer(name: str, module: nn.Module) -> str:
    return f"{display_name(name)} ({type(module).__name__})"


def _exported_batch(model: nn.Module) -> int | None:
    """Return the number of images that an exported program is fixed to, if it is one and is fixed."""
    from torch.export.unflatten import UnflattenedModule

    if not isinstance(model, UnflattenedModule):
        return None
    shapes = [node.meta["val"].shape for node in model.graph.nodes if node.op == "placeholder" and "val" in node.meta]
    return shapes[0][0] if shapes and shapes[0] and isinstance(shapes[0][0], int) else None
