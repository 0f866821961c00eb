"""MATLAB's files (.mat), which scipy reads once they are known to be sound: it crashes on some that are not."""

import io
import math
import struct
import zlib
from collections.abc import Iterator
from typing import Any

HEADER = 128
MATRIX, COMPRESSED = 14, 15
NUMBERS = frozenset({1, 2, 3, 4, 5, 6, 7, 9, 12, 13})
TEXTS = frozenset({16, 17, 18})
CELL, STRUCTURE, OBJECT, TEXT, SPARSE = 1, 2, 3, 4, 5
NUMERIC = range(6, 16)
COMPLEX = 0x800
"""A flag: imaginary parts stand behind the real ones."""

MOST_UNPACKED = 1 << 31
"""Bytes that a file may unpack to; ADE20K's index is the largest that is known, and has less."""


def read_variable(content: bytes, variable: str, *, struct_as_record: bool = True, most: int = MOST_UNPACKED) -> Any:
    """Return a variable of a MATLAB file, without dimensions of length 1.

    Parameters
    ----------
    content : bytes
        Of the whole file.
    variable : str
    struct_as_record : bool
        Whether structures become NumPy records, or objects with attributes.
    most : int
        Bytes that the file may unpack to.

    Raises
    ------
    NotImplementedError
        If it is a file of version 7.3, which scipy does not read.
    Exception
        Nearly any, if the bytes are damaged or there is no such variable.
    """
    from scipy.io import loadmat
    from scipy.io.matlab import matfile_version

    if matfile_version(io.BytesIO(content))[0] == 1:
        check_elements(content, most=most)
    read = loadmat(io.BytesIO(content), squeeze_me=True, struct_as_record=struct_as_record, variable_names=[variable])
    return read[variable]


def check_elements(content: bytes, *, most: int = MOST_UNPACKED) -> None:
    """Make sure that each element of a file of versions 5 to 7 holds what its place allows.

    The compiled code of scipy looks types up without checking them, reads on behind an array that has too few elements,
    and descends and unpacks without a limit. Source: MAT-File Format (MathWorks), chapter 1.

    Raises
    ------
    ValueError, KeyError, struct.error, zlib.error, ZeroDivisionError, RecursionError
        If an element has another type than its place allows, or is cut off; if an array has other elements than its
        class, or is nested too deeply; if all of them unpack to more than ``most`` bytes.
    """
    order = "<" if content[HEADER - 2 : HEADER] == b"IM" else ">"
    for kind, body in _elements(memoryview(content)[HEADER:], order):
        inside = [(kind, body)]
        if kind == COMPRESSED:
            unpacked = _unpacked(body, most)
            most -= len(unpacked)
            inside = list(_elements(memoryview(unpacked), order))
        for kind_inside, body_inside in inside:
            if kind_inside != MATRIX:
                raise ValueError(f"an element of type {kind_inside} where an array should be")
            _check_array(body_inside, order)


def _unpacked(body: memoryview, most: int) -> bytes:
    """Unpack an element, as a few packed bytes may stand for any number of zeros."""
    unpacking = zlib.decompressobj()
    unpacked = unpacking.decompress(body, most + 1)
    if len(unpacked) > most:
        raise ValueError(f"it unpacks to more than {most / 1e9:,.1f} GB")
    if not unpacking.eof:
        raise ValueError("a packed element is cut off")
    return unpacked


def _elements(data: memoryview, order: str) -> Iterator[tuple[int, memoryview]]:
    """Type and content of one element after another."""
    start = 0
    while start < len(data):
        if len(data) - start < 8:
            raise ValueError("an element is cut off")
        kind, size = struct.unpack_from(f"{order}II", data, start)
        small = kind >> 16  # the size of an element of at most 4 bytes stands beside its type, its content behind them
        first, size = (start + 4, small) if small else (start + 8, size)
        end = start + 8 if small else first + size
        if first + size > min(end, len(data)):
            raise ValueError("an element is cut off")
        yield kind & 0xFFFF, data[first : first + size]
        start = end if kind == COMPRESSED else start + -(-(end - start) // 8) * 8


def _check_array(body: memoryview, order: str) -> None:
    """Make sure that an array has the elements of its class: numbers, or as many arrays as its dimensions say."""
    if not len(body):
        return  # how an empty array may be written
    elements = list(_elements(body, order))
    (kind, flags), (kind_of_sizes, sizes), (kind_of_name, _), *values = elements
    if (kind, len(flags), kind_of_sizes, len(sizes) % 4, kind_of_name) != (6, 8, 5, 0, 1):
        raise ValueError("an array does not begin with its flags, its dimensions and its name")
    flags_and_class = struct.unpack_from(f"{order}I", flags)[0]
    class_, is_complex = flags_and_class & 0xFF, bool(flags_and_class & COMPLEX)
    lengths = struct.unpack(f"{order}{len(sizes) // 4}i", sizes)
    if len(lengths) < 2 or min(lengths) < 0:
        raise ValueError("an array has fewer than two dimensions, or negative ones")
    if class_ in NUMERIC or class_ in (TEXT, SPARSE):
        parts = 3 if class_ == SPARSE else 1
        if len(values) != parts + is_complex or any(kind not in NUMBERS | TEXTS for kind, _ in values):
            raise ValueError(f"an array of class {class_} holds {len(values)} elements, or other things than numbers")
        return
    described = {CELL: 0, STRUCTURE: 2, OBJECT: 3}[class_]  # the class of objects, the length of names, the names
    arrays = values[described:]
    if any(kind not in NUMBERS for kind, _ in values[:described]) or any(kind != MATRIX for kind, _ in arrays):
        raise ValueError(f"an array of class {class_} holds other things than arrays")
    fields = 1 if class_ == CELL else _fields(values[described - 2][1], values[described - 1][1], order)
    size = math.prod(lengths)
    if size * fields != len(arrays) or size > max(1, len(arrays)):
        raise ValueError(f"an array of {size} times {fields} arrays holds {len(arrays)}")
    for _, content in arrays:
        _check_array(content, order)


def _fields(length: memoryview, names: memoryview, order: str) -> int:
    """How many names there are, each padded to the same length."""
    return len(names) // int(struct.unpack(f"{order}i", length)[0])
