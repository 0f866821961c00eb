"""Memory that is freed and asked for again, batch after batch: the process keeps it in the meantime."""

import ctypes
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _MMAP_MAX = -1, -3, -4  # options of mallopt(3)

_KEEPING = {_MMAP_MAX: 0, _TRIM_THRESHOLD: (1 << 31) - 1}
"""Nothing that is asked for gets pages of its own, which are given back as soon as it is freed; 2 GB may lie there."""

_AS_BEFORE = {_MMAP_MAX: 1 << 16, _MMAP_THRESHOLD: 1 << 25, _TRIM_THRESHOLD: 1 << 26}
"""What the library begins with, and the thresholds that it sets itself once a large piece has been freed."""

_lock = threading.Lock()
_inside = 0


@contextmanager
def keeping_freed_memory() -> Iterator[None]:
    """Keep memory that is freed inside the ``with`` for what is asked for next; at its end it is given back.

    A layer of a large network returns 100 MB, which are freed after the next layer and asked for again in the next
    batch. The C library (glibc) gives so large a piece back to the system at once and gets it anew, page by page and
    filled with zeros: of ResNet-50's forward pass that is a third. No result depends on it, and at its peak the process
    takes a tenth more memory. Nothing is changed with another library, or where the user has told this one in the
    environment (``MALLOC_...``, ``GLIBC_TUNABLES``) what to do.

    It may be entered several times, by several threads: the last that leaves it ends it.
    """
    global _inside
    with _lock:
        _inside += 1
        if _inside == 1:
            _set(_KEEPING)
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if _inside == 0:
                _set(_AS_BEFORE)
                _trim()


def give_back_freed_memory() -> None:
    """Give back what is kept, between two steps of which neither needs what the other did."""
    _trim()


def _set(options: dict[int, int]) -> None:
    mallopt = _function("mallopt")
    for option, value in options.items():
        mallopt(option, value)


def _trim() -> None:
    _function("malloc_trim")(0)


@cache
def _function(name: str) -> Callable[..., Any]:
    """A function of glibc; one that does nothing where there is none, or where the user has chosen."""
    chosen = any(name.startswith("MALLOC_") and name.endswith("_") for name in os.environ)
    if chosen or "glibc.malloc" in os.environ.get("GLIBC_TUNABLES", ""):
        return _nothing
    try:
        library = ctypes.CDLL(None)
        library.gnu_get_libc_version  # noqa: B018
        function: Callable[..., Any] = getattr(library, name)
    except (AttributeError, OSError, TypeError):
        return _nothing
    return function


def _nothing(*arguments: int) -> None:
    pass
