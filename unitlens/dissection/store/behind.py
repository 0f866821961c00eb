"""Writes that a thread does, one after another, while the process that gave them goes on."""

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

AHEAD = 1 << 29
"""Bytes that may wait to be written; whoever gives more waits for the thread."""


class WriteBehind:
    """A thread that writes. What has gone wrong there is raised by the next call here, and by all that follow."""

    def __init__(self, pool: ThreadPoolExecutor) -> None:
        self._pool: ThreadPoolExecutor | None = pool
        self._under_way: deque[tuple[Future[None], int]] = deque()
        self._bytes = 0
        self._error: BaseException | None = None

    def __call__(self, write: Callable[[], None], size: int) -> None:
        """Let the thread, or this one once that has ended, call what writes so many bytes."""
        full = self._pool is None or self._bytes + size > AHEAD
        while self._under_way and (full or self._under_way[0][0].done()):
            self._wait_for_first()
            full = self._pool is None or self._bytes + size > AHEAD
        if self._error is not None:
            raise self._error
        if self._pool is None:
            write()
            return
        self._under_way.append((self._pool.submit(write), size))
        self._bytes += size

    def wait(self) -> None:
        """Wait until all is written."""
        self.settle()
        if self._error is not None:
            raise self._error

    def settle(self) -> None:
        """Wait until all is written or has failed; an error waits for the next call."""
        while self._under_way:
            self._wait_for_first()

    def end(self) -> None:
        """Let the thread end once all is written."""
        self._pool = None

    def _wait_for_first(self) -> None:
        future, size = self._under_way[0]
        # Ctrl-C may come anywhere here: an error is noted before the write that failed is forgotten.
        self._error = self._error or future.exception()
        self._under_way.popleft()
        self._bytes -= size


@contextmanager
def write_behind() -> Iterator[WriteBehind]:
    """A thread that writes, inside of the ``with``; at its end all is written, or an error is raised."""
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="unitlens-writing") as pool:
        behind = WriteBehind(pool)
        try:
            yield behind
            behind.wait()
        finally:
            behind.end()
