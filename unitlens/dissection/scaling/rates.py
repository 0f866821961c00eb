"""How fast machines are at what a dissection does: as measured here, or as somebody says of others."""

import os
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Self

from unitlens.errors import UnitlensError, argument, did_you_mean

RATES: Mapping[str, str] = {
    "forward": "images a second that the network of one process takes",
    "decode": "images a second that the workers of one process decode",
    "count": "images a second that one process counts of one unit, thresholds and chance levels included",
    "disk": "bytes a second that one process reads or writes",
    "network": "bytes a second that processes send to the first one",
}
"""By the names that ``rates=`` takes."""

NETWORK = 1.25e9
"""Bytes a second between machines, where nothing else is said: 10 Gbit/s."""

_WRITTEN = 1 << 23  # bytes that are written to measure the disk


@dataclass(frozen=True)
class Rates:
    """Rates of one process, see `RATES`; None where they are to be measured, or were not needed."""

    forward: float | None = None
    decode: float | None = None
    count: float | None = None
    disk: float | None = None
    network: float | None = None

    @classmethod
    def of(cls, given: Mapping[str, float] | None) -> Self:
        """Take what is given by name.

        Raises
        ------
        UnitlensError
            If there is no such rate, or it is no positive number.

        Examples
        --------
        >>> Rates.of({"forward": 2500}).forward
        2500.0
        """
        known = [field.name for field in fields(cls)]
        for name, rate in (given or {}).items():
            if name not in known:
                raise UnitlensError(
                    f"There is no rate {name!r}{did_you_mean(name, known)}; {argument('rates', option='--rate')} takes "
                    f"{', '.join(known)}."
                )
            if not 0 < rate < float("inf"):
                raise UnitlensError(f"The rate {name} is {rate}; it is a positive number: {RATES[name]}.")
        return cls(**{name: float(rate) for name, rate in (given or {}).items()})


def disk_rate() -> float:
    """Measure how many bytes a second are written to TMPDIR."""
    block = os.urandom(1 << 20)
    with tempfile.TemporaryFile(prefix="unitlens-") as file:
        start = time.perf_counter()
        for _ in range(_WRITTEN // len(block)):
            file.write(block)
        file.flush()
        os.fsync(file.fileno())
        return _WRITTEN / (time.perf_counter() - start)


def machine_memory() -> int | None:
    """Memory of this machine, in bytes; None where the system does not say."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else None
