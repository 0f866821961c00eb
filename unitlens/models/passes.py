"""Passes of a network: one thread at a time, in evaluation mode, without gradients."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from weakref import WeakKeyDictionary

import torch
from torch import nn

from unitlens.models.layers import uncompiled

_LOCKS: WeakKeyDictionary[nn.Module, "threading.RLock"] = WeakKeyDictionary()
_LOCKS_LOCK = threading.Lock()


@contextmanager
def one_thread(model: nn.Module) -> Iterator[None]:
    """Keep other threads from looking at, editing or switching a model inside the ``with``; they wait.

    Hooks and the ``training`` flags belong to the model, so that two threads at work on one model would see each
    other's passes. The thread that is inside may enter again. Only what unitlens does is held back: a pass that another
    thread makes by calling the model itself is not. For work at the same time, give each thread a copy of the model.

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
    with one_thread(model):
        before = [(module, module.training) for module in model.modules()]
        try:
            for module, _ in before:
                module.training = False
            with torch.inference_mode():
                yield
        finally:
            for module, training in before:
                module.training = training
