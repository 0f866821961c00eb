"""What the documents of a store have to be: they may have been written by anybody, and name sizes and types."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from unitlens.errors import UnitlensError
from unitlens.records import check_types

_LONGEST = 1 << 20
"""Sides of grids are not longer."""


@dataclass(frozen=True)
class LayerDocument:
    """A layer of a pass; see `unitlens.dissection.store.layers.LayerMaps`."""

    name: str
    grid: tuple[int, int] | None
    units: int
    layout: str
    left_out: Mapping[str, int]

    def __post_init__(self) -> None:
        check_types(self)
        check_sides(self.units, *(self.grid or ()))


@dataclass(frozen=True)
class PassDocument:
    """What the first images of a pass settle; see `unitlens.dissection.store.passes.StoredPass`."""

    layers: tuple[LayerDocument, ...]
    notes: tuple[str, ...]
    of_network: tuple[str, ...]
    deviation: Mapping[str, Any]
    ious: tuple[Any, ...]

    def __post_init__(self) -> None:
        check_types(self)
        for entry in self.ious:
            if not (is_list(entry, 3) and are(str, *entry[:2]) and are(float | int, entry[2])):
                raise UnitlensError(f"ious has {entry!r:.50}; an entry is category, concept and a number")


def check_sides(*sides: int) -> None:
    """Make sure that there is anything along each side, and not more than can be."""
    for side in sides:
        if not 1 <= side <= _LONGEST:
            raise UnitlensError(f"a side has {side} positions or units")


def check_line(line: Any) -> None:
    """Make sure that a line says what is known of an image, or why it was left out.

    Raises
    ------
    UnitlensError
        If it does not.
    """
    if isinstance(line, Mapping) and "unread" in line:
        unread = line["unread"]
        wrong = (
            not isinstance(unread, Mapping) or unread.keys() != {"image", "reason"} or not are(str, *unread.values())
        )
    else:
        wrong = not isinstance(line, Mapping) or not _is_image(line)
    if wrong:
        raise UnitlensError(f"a line says {line!r:.80}, which is not of an image")


def _is_image(line: Mapping[str, Any]) -> bool:
    texts, numbers = ("name", "group", "sha256"), ("index", "hash")
    if not line.keys() >= {*texts, *numbers, "class"} or not are(str, *(line[key] for key in texts)):
        return False
    # of the categories that an image is annotated for, each is a bit, and there may be any number of them
    seen = "fingerprint" not in line or (are(str, line["fingerprint"]) and are(int, line.get("annotated")))
    named = isinstance(line["class"], str | int | float | None)  # data sets name classes by any kind of number
    return seen and named and all(_is_count(line[key]) for key in numbers)


def _is_count(value: Any) -> bool:
    return are(int, value) and 0 <= value < 1 << 64


def is_list(value: Any, length: int) -> bool:
    """Whether it is a list of so many values."""
    return isinstance(value, list | tuple) and len(value) == length


def are(kind: Any, *values: Any) -> bool:
    """Whether all of some values are of a type; True and False are no numbers."""
    return all(isinstance(value, kind) and not isinstance(value, bool) for value in values)
