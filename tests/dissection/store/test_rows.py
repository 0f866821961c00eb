import os
from pathlib import Path

import numpy as np
import pytest

import unitlens as ul
from unitlens.dissection.store import rows as rows_module
from unitlens.dissection.store.rows import LineFile, RowFile, append


@pytest.fixture
def rows(tmp_path):
    made = RowFile(tmp_path / "0.rows", (3, 4), np.float32)
    yield made
    made.close()


def numbers(count, first=0):
    return (np.arange(count * 12).reshape(count, 3, 4) + 12 * first).astype(np.float32)


def test_rows_are_read_back_by_number(rows):
    append(rows, numbers(2))
    append(rows, numbers(3, first=2))
    assert (rows.count, rows.row_bytes) == (5, 48)
    for wanted in ([0, 4, 2, 2], range(5), range(1, 3), range(0, 5, 2), range(0), np.array([3, 1])):
        found = rows.read(wanted)
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found, numbers(5)[np.asarray(wanted, dtype=int)])


@pytest.mark.parametrize("short", [1, 1 << 12])
@pytest.mark.parametrize("at_once", [1, 100, 1 << 22])
@pytest.mark.parametrize("wanted", [[0, 4, 2], range(5), range(2, 4), range(0, 5, 2)])
def test_a_part_of_each_row_is_read(rows, wanted, at_once, short, monkeypatch):
    monkeypatch.setattr(rows_module, "_AT_ONCE", at_once)
    monkeypatch.setattr(rows_module, "_SHORT_ROW", short)
    append(rows, numbers(5))
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
    append(rows, numbers(0))
    assert rows.count == 0


def test_other_numbers_are_turned_into_those_of_the_file(rows):
    append(rows, numbers(2).astype(np.float64)[:, :, ::-1])
    np.testing.assert_array_equal(rows.read(range(2)), numbers(2)[:, :, ::-1])


def test_what_is_read_is_a_copy(rows):
    append(rows, numbers(1))
    rows.read([0])[:] = 7
    np.testing.assert_array_equal(rows.read([0]), numbers(1))


def test_writes_and_reads_of_a_few_bytes_at_a_time_are_whole(rows, monkeypatch):
    write, read = os.pwrite, os.preadv
    monkeypatch.setattr(rows_module.os, "pwrite", lambda file, content, offset: write(file, content[:7], offset))
    monkeypatch.setattr(rows_module.os, "preadv", lambda file, into, offset: read(file, [into[0][:5]], offset))
    append(rows, numbers(3))
    np.testing.assert_array_equal(rows.read(range(3)), numbers(3))


def test_a_full_disk_is_a_sentence(rows, monkeypatch, tmp_path):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(rows_module.os, "pwrite", full)
    with pytest.raises(ul.UnitlensError) as error:
        append(rows, numbers(1))
    assert str(error.value) == (
        f"The store under {tmp_path} could not be written (No space left on device): free some disk, or choose another "
        "folder."
    )


@pytest.mark.parametrize("folder", [None, Path("/tmp") / f"{rows_module.PREFIX}x" / "0-network"])
def test_a_full_disk_of_temporary_files(folder):
    said = "free some disk, or put it on another one by setting TMPDIR"
    with pytest.raises(ul.UnitlensError, match=said), rows_module.writing(folder):
        raise OSError(28, "No space left on device")


def test_rows_behind_those_that_count_are_cut_off_when_more_are_written(rows, tmp_path):
    append(rows, numbers(3))
    for write, size in ((False, 3), (True, 2)):
        opened = RowFile(tmp_path / "0.rows", (3, 4), np.float32, count=2, write=write)
        assert (opened.count, os.stat(tmp_path / "0.rows").st_size) == (2, 48 * size)
        np.testing.assert_array_equal(opened.read(range(2)), numbers(2))
        opened.close()


def test_rows_that_are_missing_are_a_sentence(rows, tmp_path):
    append(rows, numbers(2))
    with pytest.raises(ul.UnitlensError, match=r"0\.rows has fewer bytes than the 144 that"):
        RowFile(tmp_path / "0.rows", (3, 4), np.float32, count=3, write=False)


def test_lines_are_read_back(tmp_path):
    values = [{"name": "a\nb \udcff", "class": None}, 2**64 - 1, "\u2028", [1.5]]
    lines = LineFile(tmp_path / "lines")
    lines.append(values[:1])
    before = (lines.size, lines.sha256)
    lines.append(values[1:])
    assert list(lines) == values
    lines.append([np.int64(3)])
    lines.close()
    opened = LineFile(tmp_path / "lines", size=before[0])
    assert (list(opened), opened.sha256) == (values[:1], before[1])
    opened.append(values[1:])
    assert list(opened) == values
    opened.close()
