"""Work on one item after another, in this process or in others, that leaves torch's random state alone."""

import os
import signal
import threading
import time
import warnings
import weakref
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset

from unitlens.errors import UnitlensError, argument


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
        If a worker process dies.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "This DataLoader will create", UserWarning)  # how many is the user's choice
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


def _start_worker(_: int) -> None:
    """Leave Ctrl-C to the main process, and do not outlive it; one thread a worker is enough."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    threading.Thread(target=_exit_after, args=(os.getppid(),), daemon=True).start()
    torch.set_num_threads(1)


def _exit_after(parent: int) -> None:
    """End this process when its parent is gone: it would wait for ever to hand over images that nobody takes."""
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)
