"""Frozen values that are written as JSON and read back strictly: every field is there, and of its type."""

import dataclasses
import math
import numbers
import reprlib
from collections.abc import Mapping
from types import UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from unitlens.errors import UnitlensError, argument, did_you_mean

Record = TypeVar("Record")

_KINDS: Mapping[type, tuple[type, str]] = {
    bool: (bool, "True or False"),
    int: (numbers.Integral, "a whole number"),
    float: (numbers.Real, "a number"),
    str: (str, "a text"),
}
"""Which values a field of a type takes, and how they are called in a sentence."""

LATER: Mapping[str, bool] = {"later": True}
"""Metadata of a field that older files lack: ``x: int = field(default=0, metadata=LATER)`` reads them with the default.

The default says what older files mean by leaving it out. Without it a file has to be measured again, for want of a
value that nobody had chosen yet.
"""

_BEYOND = 1 << 63
"""Whole numbers are smaller than this, so that they fit in int64."""


def check_types(record: Any) -> None:
    """Make sure that the fields of a frozen dataclass have their types; for its ``__post_init__``.

    A number of NumPy becomes Python's, a list a tuple and a mapping the dataclass that the field asks for.

    Raises
    ------
    UnitlensError
        If one has another type, or is none of its choices.
    """
    hints = get_type_hints(type(record))
    for field in dataclasses.fields(record):
        value = _typed(field.name, getattr(record, field.name), hints[field.name])
        object.__setattr__(record, field.name, value)


def _typed(name: str, value: Any, kind: Any) -> Any:
    """A value in the type of its field."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):  # of a type and None
        return None if value is None else _typed(name, value, arguments[0])
    if origin is Literal:
        return _one_of(name, value, arguments)
    if origin is tuple:
        return _tuple(name, value, arguments)
    if origin is Mapping:
        return _mapping(name, value, arguments[1])
    if kind is Any:
        return value
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        return value if isinstance(value, kind) else read_record(kind, value, what=name)
    accepted, words = _KINDS[kind]
    if not isinstance(value, accepted) or (isinstance(value, bool) and kind is not bool):
        raise UnitlensError(f"{name} is {reprlib.repr(value)}; it is {words}.")
    return _bounded(name, value, kind)


def _bounded(name: str, value: Any, kind: type) -> Any:
    """Return a value as Python's own type, a number only if it is finite and fits in 64 bits."""
    try:
        plain = kind(value)
    except OverflowError:  # of a whole number of more than 308 digits
        plain = math.inf
    if kind is int and abs(plain) >= _BEYOND:
        raise UnitlensError(f"{name} is too large; it is less than 2 ** 63.")
    if kind is float and not math.isfinite(plain):
        raise UnitlensError(f"{name} is {plain}; it is a finite number.")
    return plain


def _one_of(name: str, value: Any, choices: tuple[str, ...]) -> str:
    if isinstance(value, str) and value in choices:
        return value
    near = did_you_mean(value, choices) if isinstance(value, str) else ""
    raise UnitlensError(f"There is no {name} {reprlib.repr(value)}{near}; there are {', '.join(choices)}.")


def _tuple(name: str, value: Any, kinds: tuple[Any, ...]) -> tuple[Any, ...]:
    """A list or tuple with values of one type; of as many as there are types, or, with an ellipsis, of any number."""
    fixed_length = Ellipsis not in kinds
    if not isinstance(value, list | tuple) or (fixed_length and len(value) != len(kinds)):
        raise UnitlensError(
            f"{name} is {reprlib.repr(value)}; it is a list{f' of {len(kinds)} values' if fixed_length else ''}."
        )
    return tuple(_typed(name, one, kinds[0]) for one in value)


def _mapping(name: str, value: Any, kind: Any) -> dict[str, Any]:
    """A mapping from texts to values of one type."""
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise UnitlensError(f"{name} is {reprlib.repr(value)}; it is a mapping from texts.")
    return {key: _typed(f"{name}.{key}", one, kind) for key, one in value.items()}


def write_record(record: Any) -> dict[str, Any]:
    """A frozen dataclass as JSON takes it: tuples become lists, dataclasses in it dictionaries."""
    return {field.name: _plain(getattr(record, field.name)) for field in dataclasses.fields(record)}


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_plain(one) for one in value]
    if isinstance(value, Mapping):
        return {name: _plain(one) for name, one in value.items()}
    return write_record(value) if dataclasses.is_dataclass(value) else value


def read_record(kind: type[Record], content: Any, *, what: str) -> Record:
    """The reverse of `write_record`: every field has to be there, and no other; older files lack those marked `LATER`.

    Parameters
    ----------
    kind : dataclass
        Its ``__post_init__`` calls `check_types`.
    content : object
        As read from JSON.
    what : str
        What it is, for the sentence.

    Raises
    ------
    UnitlensError
        If it is not such a value.
    """
    if not isinstance(content, Mapping):
        raise UnitlensError(f"{what} is {reprlib.repr(content)}; it has the fields of {kind.__name__}.")
    fields = {field.name: field for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    absent = [name for name, field in fields.items() if name not in content and not field.metadata.get("later")]
    unknown = [str(name) for name in content if name not in fields]
    if absent or unknown:
        wrong = f"lacks {absent[0]}" if absent else f"has an unknown field {unknown[0]!r}"
        raise UnitlensError(f"{what} {wrong}: it was changed, or written by another version of unitlens.")
    return kind(**content)


def read_versioned(kind: type[Record], content: Any, *, schema: int, file: str, oldest: int | None = None) -> Record:
    """Read all of a file whose field ``schema`` says of which version it is.

    Parameters
    ----------
    kind : dataclass
        As for `read_record`.
    content : object
        As read from JSON.
    schema : int
        The version that is written.
    file : str
        Its name.
    oldest : int, optional
        The oldest version that is read, of which fields marked `LATER` are absent; ``schema``.

    Raises
    ------
    UnitlensError
        If it is of another version, or not such a value.
    """
    given = content.get("schema") if isinstance(content, Mapping) else None
    oldest = schema if oldest is None else oldest
    if type(given) is not int or not oldest <= given <= schema:
        read = schema if oldest == schema else f"{oldest} to {schema}"
        shown = given if given is None or isinstance(given, int) else "unknown"
        raise UnitlensError(
            f"{file} is of schema {shown}, and this version of unitlens reads {read}: measure them again with "
            f"{argument('overwrite', True)}"
        )
    return read_record(kind, content, what=file)


def read_result(kinds: Mapping[str, type[Record]], content: Any) -> Record:
    """Read a result by the kind that it says it is of; one that is read already stays as it is.

    Raises
    ------
    UnitlensError
        If it is of none of the kinds, or not such a value.
    """
    for known in kinds.values():
        if isinstance(content, known):
            return content
    kind = content.get("kind") if isinstance(content, Mapping) else None
    if not isinstance(kind, str) or kind not in kinds:
        raise UnitlensError(f"a result is none of {', '.join(kinds)}")
    return read_record(kinds[kind], content, what="a result")


def check_range(what: str, value: float, least: float, most: float) -> None:
    """Make sure that a number of a record is possible.

    Raises
    ------
    UnitlensError
        If it is smaller or larger.
    """
    if not least <= value <= most:
        raise UnitlensError(f"{what} is {value}; it lies between {least} and {most}")


_ROUNDING = 1e-9
"""Of what is computed by another route than the ends of its interval."""


def check_interval(what: str, value: float | None, low: float | None, high: float | None) -> None:
    """Make sure that the ends of an interval are both there or both missing, and that the value lies between them.

    Raises
    ------
    UnitlensError
        If it is not so.
    """
    if (low is None) != (high is None):
        raise UnitlensError(f"the interval of {what} has one end")
    if low is None or high is None:
        return
    if value is None:
        raise UnitlensError(f"{what} is missing, and its interval is there")
    room = _ROUNDING * max(1.0, abs(value))
    if not low - room <= value <= high + room:
        raise UnitlensError(f"{what} is {value}, and its interval {low} to {high}")
