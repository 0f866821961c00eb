"""A progress bar at a terminal; a line now and then in a log."""

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from tqdm import tqdm

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
        tty = show and sys.stderr.isatty()
        self._bar = _Bar(total=total, initial=done, desc=what, unit=f" {unit}", leave=False, disable=not tty)
        self._log = show and not tty

    def update(self, count: int) -> None:
        """Count so many more."""
        self._done += count
        self._bar.update(count)
        now = time.monotonic()
        if self._log and (now - self._said > _LOG_EVERY):
            self._said = now
            rate = (self._done - self._before) / (now - self._start)
            speed = f", {rate:.1f}/s, {(self._total - self._done) / rate:.0f} s left" if rate else ""
            sys.stderr.write(f"{self._what}: {self._done} of {self._total} {self._unit}{speed}\n")
            sys.stderr.flush()

    def close(self) -> None:
        """Take the bar away."""
        self._bar.close()


@contextmanager
def progress(total: int, what: str, *, unit: str = "images", done: int = 0, show: bool) -> Iterator[Progress]:
    """Progress over ``total`` things, of which some were done before, closed whatever happens."""
    bar = Progress(total, what, unit=unit, done=done, show=show)
    try:
        yield bar
    finally:
        bar.close()


def tell(text: str) -> None:
    """Say something to the person who waits, on a line of its own above a bar."""
    _Bar.write(f"unitlens: {text}", file=sys.stderr)
