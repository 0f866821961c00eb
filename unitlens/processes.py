"""The processes that work together on one command: those that `torchrun` started, or else this one alone."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

from unitlens.errors import UnitlensError

Value = TypeVar("Value")

_LAUNCH = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
"""What `torchrun` sets in the environment of every process that it starts."""

_PATIENCE = timedelta(days=30)
"""A process waits so long for others, which may have larger images or a slower machine; the death of one ends it."""


@dataclass(frozen=True)
class Processes:
    """How many processes work together, and which of them this one is.

    All of them call the same methods in the same order. What they exchange are objects in memory, also where their
    networks run on GPUs.

    Attributes
    ----------
    rank : int
        From 0; the first one writes results and speaks.
    count : int
    """

    rank: int = 0
    count: int = 1

    @property
    def first(self) -> bool:
        """Whether this is the one that writes results and speaks."""
        return self.rank == 0

    def gather(self, value: Value) -> list[Value] | None:
        """Return the values of all processes at the first one, by their ranks; None at the others.

        Raises
        ------
        UnitlensError
            If one of them is gone.
        """
        if self.count == 1:
            return [value]
        import torch.distributed as distributed

        values: list[Value | None] | None = [None] * self.count if self.first else None
        with self._others_live():
            distributed.gather_object(value, values)
        return values  # type: ignore[return-value]  # each was replaced

    def of_first(self, value: Value) -> Value:
        """Return the value of the first process, at all of them.

        Raises
        ------
        UnitlensError
            If one of them is gone.
        """
        if self.count == 1:
            return value
        import torch.distributed as distributed

        values = [value]
        with self._others_live():
            distributed.broadcast_object_list(values)
        return values[0]

    def wait(self) -> None:
        """Wait until all of them are here."""
        self.of_first(self.gather(None) is None)

    @contextmanager
    def in_step(self) -> Iterator[None]:
        """Let all go on behind the ``with`` when all of them have come through it; an error of one is one of all.

        Raises
        ------
        UnitlensError
            That of the first process that has one, in all of them.
        """
        failed: UnitlensError | None = None
        try:
            yield
        except UnitlensError as error:
            if self.count == 1:
                raise
            failed = error
        found = self.gather(None if failed is None else str(failed))
        wrong = [(rank, text) for rank, text in enumerate(found or []) if text is not None]
        rank, text = self.of_first(wrong[0] if wrong else (-1, ""))
        if rank == self.rank and failed is not None:
            raise failed
        if rank >= 0:
            raise UnitlensError(f"{text.rstrip('.')} (in process {rank + 1} of {self.count}).")

    @contextmanager
    def _others_live(self) -> Iterator[None]:
        try:
            yield
        except RuntimeError as error:
            raise UnitlensError(
                f"One of the {self.count} processes has ended, so that the others cannot go on."
            ) from error


ALONE = Processes()


@contextmanager
def launched() -> Iterator[Processes]:
    """Join the processes that were started together with this one, inside of the ``with``."""
    if not is_launched():
        yield ALONE
        return
    import torch.distributed as distributed

    distributed.init_process_group("gloo", timeout=_PATIENCE)
    try:
        yield Processes(distributed.get_rank(), distributed.get_world_size())
    finally:
        distributed.destroy_process_group()


def is_launched() -> bool:
    """Whether this process was started together with others."""
    return all(name in os.environ for name in _LAUNCH) and os.environ["WORLD_SIZE"] != "1"


def speaks() -> bool:
    """Whether this process is the one that speaks: of several that were started together, the first."""
    return not is_launched() or os.environ["RANK"] == "0"


def local_rank() -> int:
    """Which of the processes on this machine it is, from 0."""
    return int(os.environ.get("LOCAL_RANK", "0")) if is_launched() else 0


def local_count() -> int:
    """How many of the processes are on this machine."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1")) if is_launched() else 1
