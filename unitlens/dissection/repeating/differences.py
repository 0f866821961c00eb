"""Two runs of the same question, file by file: which are the same bit for bit, and what differs first in the others."""

import csv
import reprlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from unitlens.dissection.files import CONTROLS, COUNTS, EXEMPLARS, GROUPS, RUN, STRIPS, UNITS
from unitlens.errors import UnitlensError
from unitlens.files import read_arrays, read_json
from unitlens.models.preprocessing import Preprocessing

OF_EACH_RUN = ("created", "command", "timings", "versions", "machine", "unitlens")
"""What run.json says of one run alone: when, where and with what it was made."""

_ROW_KEYS = ("control", "layer", "unit", "rank")
"""Columns that say which row of a table it is."""


class FileDifference(NamedTuple):
    """A file of a run, beside that of the run that repeats it.

    Attributes
    ----------
    name : str
    difference : str
        What differs first, and how much does; empty where nothing does.
    """

    name: str
    difference: str

    @property
    def same(self) -> bool:
        """Whether it is the same bit for bit, of run.json what is not of one run alone."""
        return not self.difference


def compare_files(before: Path, again: Path, *, leave_out: Collection[str] = ()) -> tuple[FileDifference, ...]:
    """Compare the files of two run folders.

    Parameters
    ----------
    before, again : Path
        Both hold a run that can be opened.
    leave_out : collection of str
        Of run.json, beside `OF_EACH_RUN`: fields such as ``data.source``.
    """
    found = [FileDifference(RUN, _records(before / RUN, again / RUN, {*OF_EACH_RUN, *leave_out}))]
    for name, differ in _DIFFER.items():
        old, new = before / name, again / name
        if old.exists() and new.exists():
            same = old.read_bytes() == new.read_bytes()
            found.append(FileDifference(name, "" if same else _or_damage(differ, old, new)))
        elif old.exists() or new.exists():
            found.append(FileDifference(name, "is in one of the two runs only"))
    return tuple(found)


def _or_damage(differ: Callable[[Path, Path], str], old: Path, new: Path) -> str:
    try:
        return differ(old, new)
    except (UnitlensError, OSError, csv.Error) as error:
        return f"cannot be compared: {error}"


def _records(old: Path, new: Path, leave_out: Collection[str]) -> str:
    before, again = (dict(_leaves(read_json(path), "", leave_out)) for path in (old, new))
    differing = [name for name in {**before, **again} if before.get(name) != again.get(name)]
    if not differing:
        return ""
    first = differing[0]
    return f"{first} {_change(before.get(first), again.get(first))}{_more(len(differing), len(before), 'values')}"


def _leaves(value: Any, name: str, leave_out: Collection[str]) -> Iterator[tuple[str, Any]]:
    """Every value of nested JSON under its path, such as data.concepts.0.images."""
    if name in leave_out:
        return
    if not isinstance(value, Mapping | list) or not value:
        yield name, value
        return
    parts = value.items() if isinstance(value, Mapping) else enumerate(value)
    for key, part in parts:
        yield from _leaves(part, f"{name}.{key}" if name else str(key), leave_out)


def _tables(old: Path, new: Path) -> str:
    before, again = _rows(old), _rows(new)
    if before[0] != again[0]:
        odd = [column for column in [*before[0], *again[0]] if (column in before[0]) != (column in again[0])]
        return f"has other columns: {', '.join(odd) or 'in another order'}"
    if len(before) != len(again):
        return f"has {len(again) - 1:,} rows, and had {len(before) - 1:,}"
    header, *rows = zip(before, again, strict=True)
    differing = [(one, other) for one, other in rows if one != other]
    if not differing:
        return ""
    one, other = differing[0]
    column = next(place for place, values in enumerate(zip(one, other, strict=True)) if values[0] != values[1])
    where = ", ".join(
        f"{name} {value}" for name, value in zip(header[0], one, strict=True) if name in _ROW_KEYS and value
    )
    change = _change(one[column], other[column])
    return f"{header[0][column]} of {where or one[0]} {change}{_more(len(differing), len(rows), 'rows')}"


def _rows(path: Path) -> list[list[str]]:
    with path.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
        return list(csv.reader(file))


def _arrays(old: Path, new: Path) -> str:
    before, again = read_arrays(old), read_arrays(new)
    if odd := sorted(before.keys() ^ again.keys()):
        return f"{odd[0]} is in one of the two runs only{_more(len(odd), len(before), 'arrays')}"
    differing = [name for name in before if not _same(before[name], again[name])]
    if not differing:
        return ""
    name = differing[0]
    return f"{name} {_first_number(before[name], again[name])}{_more(len(differing), len(before), 'arrays')}"


def _same(one: npt.NDArray[Any], other: npt.NDArray[Any]) -> bool:
    return (one.shape, one.dtype, one.tobytes()) == (other.shape, other.dtype, other.tobytes())


def _first_number(one: npt.NDArray[Any], other: npt.NDArray[Any]) -> str:
    """The first of two arrays' numbers that differs, by its place."""
    if (one.shape, one.dtype) != (other.shape, other.dtype):
        return f"is {other.dtype} of shape {other.shape}, was {one.dtype} of shape {one.shape}"
    bits = np.dtype(f"u{one.dtype.itemsize}")
    differing = np.ascontiguousarray(one).reshape(-1).view(bits) != np.ascontiguousarray(other).reshape(-1).view(bits)
    place = np.unravel_index(int(differing.argmax()), one.shape)
    change = _change(one[place].item(), other[place].item())
    where = ", ".join(str(int(axis)) for axis in place)
    return f"at ({where}) {change}{_more(int(differing.sum()), one.size, 'numbers')}"


def _strips(old: Path, new: Path) -> str:
    before, again = read_arrays(old), read_arrays(new)
    differing = [
        name
        for name in {**before, **again}
        if name not in before or name not in again or not _same(before[name], again[name])
    ]
    if not differing:
        return ""
    layer, _, unit = differing[0].rpartition("/")
    return f"the strip of layer {layer}, unit {unit} is another{_more(len(differing), len(before), 'strips')}"


def _change(before: Any, again: Any) -> str:
    return f"is {_shown(again)}, was {_shown(before)}"


def _shown(value: Any) -> str:
    short = reprlib.Repr()
    short.maxstring = short.maxother = 70
    return short.repr(value).strip("'") or "empty"


def _more(count: int, total: int, what: str) -> str:
    return f" ({count:,} of {total:,} {what} differ)" if total > 1 else ""


_DIFFER: Mapping[str, Callable[[Path, Path], str]] = {
    UNITS: _tables,
    COUNTS: _arrays,
    EXEMPLARS: _tables,
    STRIPS: _strips,
    CONTROLS: _tables,
    GROUPS: _tables,
}
"""How each file of a run is compared, where its bytes are not the same."""


def likely_reasons(before: Mapping[str, Any], again: Mapping[str, Any]) -> tuple[str, ...]:
    """Say what may be the reason that two runs of the same question differ, the likeliest first.

    Parameters
    ----------
    before, again : mapping
        run.json of each.
    """
    reasons = []
    if before["data"]["sha256"] != again["data"]["sha256"]:
        skipped = [len(info["data"]["skipped"]) for info in (before, again)]
        reasons.append(
            "the images, or what is marked in them, are others (their SHA-256 begins with "
            f"{again['data']['sha256'][:8]}, then with {before['data']['sha256'][:8]})"
            + (f"; {skipped[1]} could not be read, then {skipped[0]}" if skipped[0] != skipped[1] else "")
        )
    if before["network"]["sha256"] != again["network"]["sha256"]:
        reasons.append("the weights of the network are others")
    elif Preprocessing(**before["network"]["preprocessing"]) != Preprocessing(**again["network"]["preprocessing"]):
        reasons.append("images are prepared for the network in another way")
    for field in ("versions", "machine"):
        reasons += _changed_words(before.get(field, {}), again.get(field, {}))
    if not reasons:
        reasons.append(
            "versions, processor and images are the same as then: another device, or code of the network or of a "
            "concept source that has changed"
        )
    return tuple(reasons)


def _changed_words(before: Mapping[str, str], again: Mapping[str, str]) -> Sequence[str]:
    """What is said of a run's surroundings that is no longer so, as "torch is 2.9.0, was 2.8.0"."""
    return [f"{name} {_change(before[name], again.get(name))}" for name in before if before[name] != again.get(name)]
