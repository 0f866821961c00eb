import os
import tempfile

import numpy as np
import pytest

import unitlens as ul
from unitlens.dissection.store import rows as rows_module
from unitlens.dissection.store.rows import RowFile
from unitlens.dissection.store.temporary import temporary_store


@pytest.fixture
def rows(tmp_path):
    made = RowFile(tmp_path / "0.rows", (3, 4), np.float32)
    yield made
    made.close()


def numbers(count, first=0):
    return (np.arange(count * 12).reshape(count, 3, 4) + 12 * first).astype(np.float32)


def test_rows_are_read_back_by_number(rows):
    rows.append(numbers(2))
    rows.append(numbers(3, first=2))
    assert (rows.count, rows.row_bytes) == (5, 48)
    for wanted in ([0, 4, 2, 2], range(5), range(1, 3), range(0, 5, 2), range(0), np.array([3, 1])):
        found = rows.read(wanted)
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found, numbers(5)[np.asarray(wanted, dtype=int)])


@pytest.mark.parametrize("wanted", [[0, 4, 2], range(5)])
def test_a_part_of_each_row_is_read(rows, wanted):
    rows.append(numbers(5))
    for part in (slice(0, 1), slice(1, 3), slice(0, 3)):
        np.testing.assert_array_equal(rows.read(wanted, part), numbers(5)[np.asarray(wanted)][:, part])


def test_rows_that_were_passed_over_hold_zeros(rows):
    rows.put(3, numbers(1, first=3))
    assert rows.count == 4
    np.testing.assert_array_equal(
        rows.read(range(6)), np.concatenate([np.zeros((3, 3, 4)), numbers(4)[3:], np.zeros((2, 3, 4))])
    )
    np.testing.assert_array_equal(rows.read([7], slice(1, 2)), np.zeros((1, 1, 4)))


def test_nothing_to_write_is_nothing_written(rows):
    rows.append(numbers(0))
    assert rows.count == 0


def test_other_numbers_are_turned_into_those_of_the_file(rows):
    rows.append(numbers(2).astype(np.float64)[:, :, ::-1])
    np.testing.assert_array_equal(rows.read(range(2)), numbers(2)[:, :, ::-1])


def test_what_is_read_is_a_copy(rows):
    rows.append(numbers(1))
    rows.read([0])[:] = 7
    np.testing.assert_array_equal(rows.read([0]), numbers(1))


def test_writes_and_reads_of_a_few_bytes_at_a_time_are_whole(rows, monkeypatch):
    write, read = os.pwrite, os.preadv
    monkeypatch.setattr(rows_module.os, "pwrite", lambda file, content, offset: write(file, content[:7], offset))
    monkeypatch.setattr(rows_module.os, "preadv", lambda file, into, offset: read(file, [into[0][:5]], offset))
    rows.append(numbers(3))
    np.testing.assert_array_equal(rows.read(range(3)), numbers(3))


def test_a_full_disk_is_a_sentence(rows, monkeypatch, tmp_path):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(rows_module.os, "pwrite", full)
    with pytest.raises(ul.UnitlensError) as error:
        rows.append(numbers(1))
    assert str(error.value) == (
        f"The store under {tmp_path} could not be written (No space left on device): free some disk, or put it on "
        "another one by setting TMPDIR."
    )


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_a_store_without_room_is_a_sentence(temporary, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(temporary / "gone"))
    with (
        pytest.raises(ul.UnitlensError, match=r"could not be written \(No such file or directory\)"),
        temporary_store(),
    ):
        pass


def test_a_store_is_gone_afterwards(temporary):
    with temporary_store() as store:
        assert [path.name.startswith("unitlens-") for path in temporary.iterdir()] == [True]
        maps = store.rows("maps", (3, 4), np.float32)
        maps.append(numbers(2))
        assert store.rows("maps", (3, 4), np.float32) is maps
        assert store.rows("peaks", (3,), np.float32) is not maps
    assert not any(temporary.iterdir())
    with pytest.raises(ValueError, match="closed"):
        maps.read([0])


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_a_store_is_gone_whatever_happens(temporary, error):
    def fail():
        with temporary_store() as store:
            store.rows("maps", (3, 4), np.float32).append(numbers(2))
            raise error

    with pytest.raises(error):
        fail()
    assert not any(temporary.iterdir())


def test_a_killed_process_leaves_no_bytes_on_the_disk(temporary):
    with temporary_store() as store:
        store.rows("maps", (3, 4), np.float32).append(numbers(2))
        assert [path for path in temporary.rglob("*") if path.is_file()] == []
