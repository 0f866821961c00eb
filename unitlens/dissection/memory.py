"""Memory: the most that counting takes, computed beforehand, and the most that the process has used."""

import re
import sys
from collections.abc import Iterable
from pathlib import Path

from unitlens.data.columns import Columns
from unitlens.stats.evidence import AT_ONCE, RESAMPLES
from unitlens.stats.folds import FOLDS
from unitlens.stats.thresholds import BINS, SORTED

KEPT = 1 << 24
"""Active positions of one block that are kept between scans, 16 bytes each, in a file without a name."""

WAITING = KEPT // 2
"""Runs of active positions of all blocks that wait to be counted together, 16 bytes each, in files without names."""

BLOCK_UNITS = 64
"""Units whose thresholds are found together, at most: histograms of all values take 32 MB."""

TOGETHER = 1 << 28
"""Bytes of counts of the blocks that are counted together: each reading of an image's labels serves all of them."""

KEPT_PATTERNS = 1 << 27
"""Bytes of patterns of labels that are kept from draw to draw, where many units are counted run by run."""

_LONG, _SHORT = 8, 4  # bytes of an int64 or float64, and of an int32 or float32
_TABLE_ARRAYS = 10  # arrays of units x concepts that scores, the table and exact sums need at a time
_EVIDENCE_ARRAYS = 12  # intermediate arrays of the evidence that are there at a time


def counting_memory(units: Iterable[int], columns: Columns, *, images: int, cells: int, draws: int) -> int:
    """Bytes that counts, evidence and tables take at most, beside the network and the libraries.

    Parameters
    ----------
    units : iterable of int
        How many units each layer has.
    columns : Columns
        Of the counts.
    images : int
        How many are shown.
    cells : int
        Positions of the label grid in one image.
    draws : int
        How often images are given the labels of others, and of others of their kind; 0 without evidence.

    Returns
    -------
    int
        What is kept of all layers, where every unit meets every concept in every fold, and what a block of units takes
        while it is counted and its evidence computed.

    Examples
    --------
    >>> from unitlens.data.concepts import Concept
    >>> columns = Columns.of([Concept("object", 1 + c, f"thing {c}") for c in range(1200)])
    >>> counting_memory([2048], columns, images=10_000, cells=56 * 56, draws=20) // 10**6
    2116
    """
    units = list(units)
    return sum(kept_memory(count, columns) for count in units) + max(
        (_block_memory(count, columns, images * cells, draws) for count in units), default=0
    )


def kept_memory(units: int, columns: Columns) -> int:
    """Bytes of the counts and tables of one layer at most, (units, 32 folds, concepts) being filled."""
    concepts, categories = len(columns.concepts), len(columns.categories)
    index = _SHORT if units * FOLDS * concepts < 1 << 31 else _LONG
    sparse = units * FOLDS * concepts * (2 * index + _SHORT)  # indices twice, while blocks are joined
    return sparse + 2 * _LONG * units * FOLDS * categories + _TABLE_ARRAYS * _LONG * units * concepts


def count_bytes(positions: int) -> int:
    """Bytes of a count of a draw: so many positions in all images have room in 32 bits, in up to 16 planes."""
    return _SHORT if positions < 1 << 27 else _LONG


def blocks_together(columns: Columns, *, draws: int, positions: int) -> int:
    """How many blocks of units are counted together, so that each reading of an image's labels serves all of them.

    Parameters
    ----------
    columns : Columns
        Of the counts.
    draws : int
        How often images are given the labels of others, all kinds of draws together.
    positions : int
        Of all images.

    Returns
    -------
    int
        So many that their counts fit in `TOGETHER` bytes. Where their units are active is kept in the meantime, as
        far as it fits (`WAITING`); of the others it is found again.
    """
    return max(1, TOGETHER // _block_counts(BLOCK_UNITS, columns, draws, positions))


def _block_counts(units: int, columns: Columns, draws: int, positions: int) -> int:
    """Bytes of the counts of some units, by fold and by draws."""
    return units * (_LONG * FOLDS + count_bytes(positions) * 2 * draws) * columns.count


def _block_memory(units: int, columns: Columns, positions: int, draws: int) -> int:
    """Bytes that blocks of units take at most while they are counted together and their evidence is computed."""
    block = min(units, BLOCK_UNITS)
    at_once = blocks_together(columns, draws=2 * draws, positions=positions)
    together = min(units, block * at_once)
    histograms = 3 * _LONG * BINS * block
    active = 12 * _SHORT * min(SORTED, positions) * block
    patterns = min(KEPT_PATTERNS, _SHORT * positions)
    counts = sum(_block_counts(some, columns, 2 * draws, positions) for some in (together, block, block))
    weighed = min(AT_ONCE, block * max(FOLDS, RESAMPLES // 4) * columns.count)
    weighing = _EVIDENCE_ARRAYS * _LONG * weighed if draws else 0
    return histograms + active + patterns + counts + weighing


def peak_memory() -> int | None:
    """The most memory that this process has used so far, in bytes; None where the system does not say."""
    status = Path("/proc/self/status")
    if status.exists():  # what getrusage says on Linux a process has from the one that started it
        held = re.search(r"VmHWM:\s*(\d+) kB", status.read_text())
        return int(held[1]) * 1024 if held else None
    try:
        import resource
    except ImportError:  # not on Windows
        return None
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
