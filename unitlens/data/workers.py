"""Work on one item after another, in this process or in others, that leaves torch's random state alone."""

import multiprocessing
import os
import pickle
import signal
import threading
import warnings
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset

from unitlens.errors import UnitlensError, argument
from unitlens.files import held_back

_STOPPING = (signal.SIGINT, signal.SIGTERM)

_forking: set[int] = set()
"""Threads that are starting workers by forks."""


class _Items(Dataset[Any]):
    """The result of a function for each index."""

    def __init__(self, function: Callable[[int], Any]) -> None:
        self.function = function

    def __getitem__(self, index: int) -> Any:
        return self.function(index)


def in_batches(
    function: Callable[[int], Any],
    indices: Sequence[int],
    *,
    batch_size: int,
    workers: int,
    collate: Callable[[list[Any]], Any] = list,
) -> Iterator[Any]:
    """Call a function with each index, and give the results batch by batch, in their order.

    Parameters
    ----------
    function : callable
        Takes an index. It must not raise: an error in a worker process would lose its type.
    indices : sequence of int
    batch_size : int
        How many make a batch; the last may be smaller.
    workers : int
        Processes that do the work; 0: this one.
    collate : callable
        Makes one value of the results of a batch, in the worker.

    Returns
    -------
    iterator
        Of whatever ``collate`` returns.

    Raises
    ------
    UnitlensError
        If a worker process dies, or cannot be given the images on this system.
    """
    with warnings.catch_warnings(), _starting_workers() if workers else nullcontext():
        warnings.filterwarnings("ignore", "This DataLoader will create", UserWarning)  # how many is the user's choice
        warnings.filterwarnings("ignore", "Got pickle error", UserWarning)  # there is a sentence for it
        # Python 3.12 says so wherever torch has threads; workers take nothing that a thread may hold
        warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)
        loader = iter(
            DataLoader(
                _Items(function),
                batch_size=min(batch_size, max(1, len(indices))),  # any number is a batch of all
                sampler=indices,
                num_workers=workers,
                collate_fn=collate,
                worker_init_fn=_start_worker,
                generator=torch.Generator().manual_seed(0),  # else each pass draws from the caller's random state
            )
        )
    results = _results(loader)
    # After an error the loader may stay behind in a cycle of tracebacks. Freed together with its queues it could not
    # tell its workers to end, and would wait five seconds for them; held from here, it is freed before the queues are.
    weakref.finalize(results, lambda _: None, loader).atexit = False
    return results


def _results(loader: Iterator[Any]) -> Iterator[Any]:
    """Give what the loader gives; the death of a worker becomes a sentence."""
    try:
        yield from loader
    except RuntimeError as error:
        if "DataLoader worker" not in str(error):
            raise
        raise UnitlensError(
            "A worker process that decodes images died, most likely for want of memory: lower "
            f"{argument('workers')} (0 is possible) or {argument('batch_size')}."
        ) from error


@contextmanager
def _starting_workers() -> Iterator[None]:
    with _sendable(), _signals_wait():
        yield


@contextmanager
def _signals_wait() -> Iterator[None]:
    """Let Ctrl-C and SIGTERM wait until worker processes are started.

    A signal that comes in the middle of a fork is lost, in the parent as in the child: a worker that was told to end
    before it had begun would go on, and its parent would wait for it. So it is blocked until the child has handlers of
    its own, which it gets before anything else.
    """
    with held_back():
        if not _forks():
            yield
            return
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _STOPPING)
        _forking.add(threading.get_ident())
        try:
            yield
        finally:
            _forking.discard(threading.get_ident())
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _forks() -> bool:
    """Whether workers are copies of this process. A fork server, once started, would keep what is blocked."""
    return multiprocessing.get_start_method() == "fork"


@contextmanager
def _sendable() -> Iterator[None]:
    """Say in a sentence that workers, which are no copies of this process, cannot be sent what the images consist of.

    Raises
    ------
    UnitlensError
        If they cannot.
    """
    try:
        yield
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        if _forks():
            raise
        raise UnitlensError(
            f"Processes that decode images start anew on this system, and these images cannot be sent to them ({error}"
            f"): use {argument('workers', 0)}, or define their class and functions at the top of a module."
        ) from error


def _start_worker(_: int) -> None:
    """Leave Ctrl-C to the main process, and do not outlive it; one thread a worker is enough."""
    threading.Thread(target=_exit_after_parent, daemon=True).start()
    _listen_to_parent()
    torch.set_num_threads(1)


def _listen_to_parent() -> None:
    """Ctrl-C is for the parent, which ends its workers by SIGTERM."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _forked() -> None:
    """In a process that was forked just now: of a worker, what was blocked for it is not blocked any more."""
    is_worker = threading.get_ident() in _forking
    _forking.clear()  # the other threads are not here, and a new one may get the number of one of them
    if is_worker:
        _listen_to_parent()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOPPING)


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_forked)


def _exit_after_parent() -> None:
    """End this process when its parent is gone: it would wait for ever to hand over images that nobody takes.

    The parent may be gone before this process has begun, and then it is known by nothing but its number. The parent of
    a process that a fork server made is the server; that the one it works for is gone is told by a pipe that closes.
    """
    parent = multiprocessing.parent_process()
    if parent is None:
        return
    child = multiprocessing.get_start_method() != "forkserver"
    while parent.is_alive() and not (child and os.getppid() != parent.pid):
        parent.join(timeout=1)
    os._exit(1)
