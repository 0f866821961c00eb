"""A progress bar at a terminal or in a notebook; a line now and then in a log, and the logger ``unitlens``."""

import logging
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib.util import find_spec
from typing import Any

from tqdm import tqdm

LOGGER = logging.getLogger("unitlens")
"""What a library says of its work: silent until whoever uses it adds a handler, such as by `logging.basicConfig`."""

LOGGER.addHandler(logging.NullHandler())

_LOG_EVERY = 15.0  # seconds


class _Bar(tqdm):  # type: ignore[misc]  # tqdm has no types
    """A bar whose lock belongs to this process.

    That of tqdm itself is shared with forked processes: one that is killed while it has the lock would stop all others
    for ever.
    """


_Bar.set_lock(threading.RLock())


class Progress:
    """Counts images, or other things, as they are done.

    Parameters
    ----------
    total : int
        How many in all.
    what : str
        The words in front.
    unit : str
        What is counted.
    done : int
        How many were done before.
    show : bool
        Whether anything is shown.
    """

    def __init__(self, total: int, what: str, *, unit: str, done: int = 0, show: bool) -> None:
        self._total, self._what, self._unit, self._done, self._before = total, what, unit, done, done
        self._start = self._said = time.monotonic()
        notebook, tty = in_notebook(), sys.stderr.isatty()
        bar = _notebook_bar() if notebook and show else _Bar
        seen = show and (notebook or tty)
        self._bar = bar(total=total, initial=done, desc=what, unit=f" {unit}", leave=False, disable=not seen)
        self._log = show and not seen

    def update(self, count: int) -> None:
        """Count so many more."""
        self._done += count
        self._bar.update(count)
        now = time.monotonic()
        if self._log and (now - self._said > _LOG_EVERY):
            self._said = now
            rate = (self._done - self._before) / (now - self._start)
            speed = f", {rate:.1f}/s, {(self._total - self._done) / rate:.0f} s left" if rate else ""
            line = f"{self._what}: {self._done} of {self._total} {self._unit}{speed}"
            if is_heard():
                LOGGER.info(line)
            else:
                sys.stderr.write(f"{line}\n")
                sys.stderr.flush()

    def close(self) -> None:
        """Take the bar away, and log what was done."""
        self._bar.close()
        seconds = time.monotonic() - self._start
        LOGGER.info("%s: %d of %d %s in %.1f s", self._what, self._done, self._total, self._unit, seconds)


@contextmanager
def progress(total: int, what: str, *, unit: str = "images", done: int = 0, show: bool) -> Iterator[Progress]:
    """Progress over ``total`` things, of which some were done before, closed whatever happens."""
    bar = Progress(total, what, unit=unit, done=done, show=show)
    try:
        yield bar
    finally:
        bar.close()


def tell(text: str) -> None:
    """Say something to the person who waits: to the logger where it is heard, else on a line above a bar."""
    if is_heard():
        LOGGER.info(text)
    else:
        _Bar.write(f"unitlens: {text}", file=sys.stderr)


def is_heard() -> bool:
    """Whether somebody has added a handler that gets what the logger is told."""
    logger: logging.Logger | None = LOGGER
    while logger is not None:
        if any(not isinstance(handler, logging.NullHandler) for handler in logger.handlers):
            return LOGGER.isEnabledFor(logging.INFO)
        logger = logger.parent if logger.propagate else None
    return False


def in_notebook() -> bool:
    """Whether this process is the kernel of a notebook."""
    if "ipykernel" not in sys.modules or "IPython" not in sys.modules:
        return False
    shell: Any = sys.modules["IPython"].get_ipython()
    return shell is not None and type(shell).__name__ == "ZMQInteractiveShell"


@cache
def _notebook_bar() -> Any:
    """The notebook's own bar; without ipywidgets, which draws it, one of text, where tqdm.auto would warn."""
    if find_spec("ipywidgets") is None:
        return _Bar
    from tqdm.notebook import tqdm as notebook_tqdm

    bar: Any = type("_NotebookBar", (notebook_tqdm,), {})
    bar.set_lock(threading.RLock())  # as that of `_Bar`
    return bar
