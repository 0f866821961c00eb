"""MATLAB's files from elsewhere: scipy is given only what it reads without crashing."""

import io
import random
import struct
import warnings
from contextlib import suppress

import numpy as np
import pytest
from scipy.io import savemat
from scipy.sparse import csc_matrix

from unitlens.data.readers.ade20k_full import _sums
from unitlens.data.readers.matlab import check_elements, read_variable

NUMBERS = np.arange(5.0)


def written(value, *, compressed=False):
    file = io.BytesIO()
    savemat(file, {"index": value}, do_compression=compressed)
    return file.getvalue()


@pytest.fixture(scope="module")
def mixed():
    """A value with everything that data sets keep in such files."""
    objects = np.zeros(2, dtype=[("class_ind", "O"), ("mask", "O"), ("parts", "O")])
    for number in range(2):
        parts = np.array([{"part_name": "wheel", "mask": np.ones((2, 2))}], dtype=object)
        objects[number] = (number + 1, np.eye(5, dtype=np.uint8), parts)
    return {
        "objects": objects,
        "names": np.array(["a", "bé", "longer"], dtype=object),
        "counts": csc_matrix(np.eye(4) * 2),
        "complex": NUMBERS * 1j,
        "yes": np.array([True, False]),
        "nothing": np.zeros((0, 3)),
    }


def changed(content, before, after):
    assert content.count(before) == 1
    return content.replace(before, after)


@pytest.mark.parametrize("compressed", [False, True])
def test_what_is_sound_is_read(mixed, compressed):
    index = read_variable(written(mixed, compressed=compressed), "index")
    assert list(index["names"][()]) == ["a", "bé", "longer"]
    assert list(index["objects"][()]["class_ind"]) == [1, 2]
    assert (index["objects"][()]["mask"][0] == np.eye(5)).all()
    assert (index["counts"][()].toarray() == np.eye(4) * 2).all()
    assert (index["complex"][()] == NUMBERS * 1j).all()
    as_object = read_variable(written(mixed, compressed=compressed), "index", struct_as_record=False)
    assert [item.class_ind for item in as_object.objects] == [1, 2]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (struct.pack("<II", 9, 40), struct.pack("<II", 99, 40)),  # numbers of a type that there is not
        (struct.pack("<II", 9, 40), struct.pack("<II", 14, 40)),  # an array in the place of numbers
        (struct.pack("<II", 9, 40), struct.pack("<II", 9, 4000)),  # longer than the file
        (
            struct.pack("<IIII", 6, 8, 6, 0),
            struct.pack("<IIII", 6, 8, 6 | 0x800, 0),
        ),  # imaginary parts that are not there
        (struct.pack("<IIII", 6, 8, 6, 0), struct.pack("<IIII", 6, 8, 5, 0)),  # sparse, without rows and columns
        (struct.pack("<IIII", 6, 8, 6, 0), struct.pack("<IIII", 6, 8, 1, 0)),  # cells
        (struct.pack("<IIii", 5, 8, 1, 5), struct.pack("<IIii", 5, 8, -1, 5)),
        (struct.pack("<IIii", 5, 8, 1, 5), struct.pack("<IIii", 5, 0, 1, 5)),  # no dimensions
    ],
)
def test_elements_that_scipy_would_trust_are_refused(before, after):
    with pytest.raises((ValueError, KeyError, struct.error)):
        check_elements(changed(written(NUMBERS), before, after))


def test_arrays_that_are_not_there_are_refused():
    cells = written(np.array([1, "2", 3, 4], dtype=object))
    many = changed(cells, struct.pack("<IIii", 5, 8, 1, 4), struct.pack("<IIii", 5, 8, 2**30, 4))
    with pytest.raises(ValueError, match="an array of 4294967296 times 1 arrays holds 4"):
        read_variable(many, "index")


def test_arrays_in_arrays_without_end_are_refused():
    array = struct.pack("<II", 14, 0)
    for _ in range(5000):
        inside = struct.pack("<IIIIIIiiII", 6, 8, 1, 0, 5, 8, 1, 1, 1, 0) + array
        array = struct.pack("<II", 14, len(inside)) + inside
    with pytest.raises(RecursionError):
        read_variable(written(NUMBERS)[:128] + array, "index")


def test_rows_that_a_sparse_table_does_not_have_are_refused():
    table = csc_matrix(np.eye(3))
    table.indices[1] = 1_000_000
    with pytest.raises(ValueError, match=r"(indices|index values) must be < 3"):
        _sums(table, 3)


@pytest.mark.parametrize("files", [300, pytest.param(20_000, marks=pytest.mark.slow)])
def test_damaged_files_end_in_an_error_or_a_value(mixed, files):
    sound = written(mixed)
    for seed in range(files):
        choose = random.Random(seed)
        content = bytearray(sound)
        for _ in range(choose.choice((1, 1, 2, 4))):
            content[choose.randrange(124, len(content))] = choose.choice((0, 1, 2, 5, 8, 14, 15, 255, seed % 256))
        with warnings.catch_warnings(), suppress(Exception):
            warnings.simplefilter("ignore")
            read_variable(bytes(content), "index")
