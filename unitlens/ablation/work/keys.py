"""What a measurement is of, as a hash: the same for the same question, in another process as well."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from types import FunctionType
from typing import Any

import numpy as np
from torch import Tensor

from unitlens.files import encoded


class NoKeyError(Exception):
    """A value of which another process could not say whether it is the same, such as a function without a name."""


def key_of(*values: Any) -> str:
    """Return the SHA-256 of values: of their types, names and numbers.

    Parameters
    ----------
    *values
        Numbers, text, arrays, tensors, sequences, mappings, dataclasses of these, functions of a module, objects
        without attributes, and what has a ``fingerprint``.

    Raises
    ------
    NoKeyError
        If one is of another kind.

    Examples
    --------
    >>> key_of(1, [2.0, None]) == key_of(1, [2.0, None]), key_of(1) == key_of(1.0)
    (True, False)
    """
    return hashlib.sha256(json.dumps([_described(value) for value in values]).encode()).hexdigest()


def _described(value: Any) -> Any:
    """A value as JSON."""
    if value is None or isinstance(value, str | bool | int | float):
        return value
    if isinstance(value, np.generic | np.ndarray | Tensor):
        array = np.ascontiguousarray(value.detach().cpu() if isinstance(value, Tensor) else value)
        return ["array", array.dtype.str, array.shape, hashlib.sha256(array.tobytes()).hexdigest()]
    if isinstance(value, Path):
        return ["path", hashlib.sha256(encoded(str(value))).hexdigest()]
    if isinstance(value, Mapping):
        return ["mapping", [[_described(key), _described(one)] for key, one in value.items()]]
    if isinstance(value, Sequence):
        return [type(value).__name__, [_described(one) for one in value]]
    return [_name_of(value), _content_of(value)]


def _name_of(value: Any) -> str:
    named = value if isinstance(value, FunctionType | type) else type(value)
    name = f"{named.__module__}.{named.__qualname__}"
    if "<" in name or named.__module__ == "__main__":  # a lambda, a function in another: the next may do anything else
        raise NoKeyError(name)
    return name


def _content_of(value: Any) -> Any:
    if isinstance(value, FunctionType | type):
        return None
    fingerprint = getattr(value, "fingerprint", None)
    if callable(fingerprint):
        return fingerprint()
    if isinstance(fingerprint, str):
        return fingerprint
    if is_dataclass(value):
        return [[field.name, _described(getattr(value, field.name))] for field in fields(value)]
    if getattr(value, "__dict__", None) or hasattr(value, "__slots__"):
        raise NoKeyError(type(value).__name__)
    return None
