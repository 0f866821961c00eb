"""Whose pass is next: one pass at a time, short answers before long ones, and none for an answer nobody waits for."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import anyio

LONG_AT_ONCE = 4
"""So many long answers are worked on at a time, in turns; further ones wait."""


class Superseded(Exception):
    """Nobody waits for the answer any more: the page asks for something else, or was closed."""


class Turns:
    """Passes of networks, one at a time.

    Whoever makes passes in a thread takes a turn for each block of them. Of those who wait, short answers come first,
    and of these the one that has waited longest.

    Attributes
    ----------
    long_tasks : anyio.CapacityLimiter
        Of the threads of long answers.
    """

    def __init__(self) -> None:
        self.long_tasks = anyio.CapacityLimiter(LONG_AT_ONCE)
        self._free = threading.Condition()
        self._waiting: list[tuple[int, int]] = []
        self._number = 0
        self._taken = False

    @contextmanager
    def turn(self, *, long: bool = False) -> Iterator[None]:
        """Wait until it is one's turn, and have it inside the ``with``."""
        with self._free:
            self._number += 1
            place = (int(long), self._number)
            self._waiting.append(place)
            self._free.wait_for(lambda: not self._taken and min(self._waiting) == place)
            self._waiting.remove(place)
            self._taken = True
        try:
            yield
        finally:
            with self._free:
                self._taken = False
                self._free.notify_all()


class Task:
    """An answer that is being worked on in a thread of its own.

    Parameters
    ----------
    turns : Turns
    long : bool
        Whether others go first.
    """

    def __init__(self, turns: Turns, *, long: bool = False) -> None:
        self._turns, self._long = turns, long
        self._stopped = threading.Event()

    def stop(self) -> None:
        """Nobody waits for the answer any more."""
        self._stopped.set()

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Take a turn for a block of passes.

        Raises
        ------
        Superseded
            If nobody waits for the answer any more.
        """
        self.check()
        with self._turns.turn(long=self._long):
            self.check()
            yield

    def check(self) -> None:
        """Go on, if somebody waits for the answer.

        Raises
        ------
        Superseded
            If nobody does.
        """
        if self._stopped.is_set():
            raise Superseded
