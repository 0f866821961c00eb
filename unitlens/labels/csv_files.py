"""CSV files that others wrote, read row by row: memory is bounded, whatever is in them."""

import csv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from unitlens.errors import UnitlensError
from unitlens.files import check_readable

_LONGEST_LINE = 1 << 20
"""Letters of a line, at most."""


@contextmanager
def csv_rows(path: Path, *, most: int, of: str) -> Iterator[tuple[Iterator[dict[str, str | None]], list[str]]]:
    """Rows of a file, one after another, and its columns.

    Parameters
    ----------
    path : Path
    most : int
        Bytes of the file.
    of : str
        What it should be, for the sentence that it is too large: "a file of labels has a row for each".

    Raises
    ------
    UnitlensError
        If it cannot be read, is too large, or is no such file.
    """
    check_readable(path)
    try:
        if path.stat().st_size > most:
            raise UnitlensError(f"{path} has more than {most >> 20} MB: {of}.")
        file = path.open(newline="", encoding="utf-8-sig")
    except OSError as error:
        raise _unreadable(path, error) from None
    with file:
        reader = csv.DictReader(_lines(file), strict=True)
        try:
            columns = [str(name) for name in reader.fieldnames or ()]
        except (OSError, csv.Error, ValueError) as error:
            raise _unreadable(path, error) from None
        yield _rows(reader, path), columns


def _lines(file: IO[str]) -> Iterator[str]:
    """Lines, none of which is so long that its parts fill the memory."""
    while line := file.readline(_LONGEST_LINE):
        if len(line) == _LONGEST_LINE:
            raise ValueError(f"a line has {_LONGEST_LINE:,} letters or more")
        yield line


def _rows(reader: "csv.DictReader[str]", path: Path) -> Iterator[dict[str, str | None]]:
    try:
        yield from reader
    except (OSError, csv.Error, ValueError) as error:
        raise _unreadable(path, error) from None


def _unreadable(path: Path, error: Exception) -> UnitlensError:
    fact = error.strerror if isinstance(error, OSError) else error
    return UnitlensError(f"{path} cannot be read as a CSV file ({fact}).")
