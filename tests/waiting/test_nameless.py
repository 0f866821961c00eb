"""Rows in files without names are read in any order, are sorted bucket by bucket, and take hardly any memory."""

import errno
import mmap
import os
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unitlens import buckets, nameless
from unitlens.buckets import COUNT, Buckets
from unitlens.errors import UnitlensError
from unitlens.nameless import NamelessFile, WaitingRows


@given(
    count=st.integers(1, 40),
    width=st.sampled_from([1, 1000, 70_000]),
    mapped=st.sampled_from([1, 3, 16]),
    seed=st.integers(0, 99),
)
def test_rows_are_read_in_any_order(count, width, mapped, seed):
    rng = np.random.default_rng(seed)
    numbers = rng.integers(0, 255, (count, 2, width), np.uint8)
    waiting = WaitingRows((2, width), np.uint8)
    waiting.append(numbers[: count // 2])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nameless, "_MOST_MAPPED", mapped)
        first = range(count // 2)
        assert np.array_equal(waiting.read(first, np.int16), numbers[: count // 2])
        waiting.append(numbers[count // 2 :])  # also after a read
        for some in (rng.integers(0, count, 30), list(range(count)), range(count - 1, -1, -1), range(1, count), []):
            read = waiting.read(some, np.int16)
            assert read.dtype == np.int16
            assert np.array_equal(read, numbers[np.array(some, int)])


@pytest.mark.skipif(sys.platform != "linux", reason="says what is mapped in its own way")
def test_what_was_read_is_not_kept_mapped():
    waiting, block = WaitingRows((1 << 12,), np.uint8), np.ones((1 << 12, 1 << 12), np.uint8)
    for _ in range(2):
        waiting.append(block)  # 32 MB in all

    def mapped():
        return int(re.search(r"RssFile:\s*(\d+)", Path("/proc/self/status").read_text())[1])

    before = mapped()
    waiting.read(np.random.default_rng(0).permutation(waiting.count)[:4000], np.uint8)
    assert mapped() - before < 8000


def test_a_full_disk_is_a_sentence(monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    file, rows = NamelessFile(), WaitingRows((), np.int32)
    monkeypatch.setattr(os, "pwrite", full)
    for write in (lambda: file.write(b"some", 0), lambda: rows.append(np.arange(3, dtype=np.int32))):
        with pytest.raises(UnitlensError, match=r"could not be written under .*No space left.*free some disk.*TMPDIR"):
            write()
    assert rows.count == 0


def test_too_many_open_files_are_a_sentence(monkeypatch):
    def no_more(*_, **__):
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    rows = WaitingRows((), np.int32)
    rows.append(np.arange(3, dtype=np.int32))
    monkeypatch.setattr(mmap, "mmap", no_more)
    with pytest.raises(UnitlensError, match=r"Too many open files\): allow more open files \(`ulimit -n`\)\."):
        rows.read([0], np.int64)


def test_files_are_closed_with_what_reads_them():
    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else None
    rows = WaitingRows((), np.int32)
    rows.append(np.arange(9, dtype=np.int32))
    assert rows.read([8, 0], np.int64).tolist() == [8, 0]
    del rows
    assert before is None or len(os.listdir("/proc/self/fd")) == before


@given(
    sizes=st.lists(st.integers(0, 30), max_size=6),
    most=st.sampled_from([1, 9, 1 << 16]),
    in_memory=st.sampled_from([0, 300, 1 << 19]),
    seed=st.integers(0, 99),
)
def test_buckets_have_all_rows_as_they_came(sizes, most, in_memory, seed):
    rng, number = np.random.default_rng(seed), 0
    pieces = []
    for size in sizes:
        rows = np.empty(size, [("key", np.uint16), ("number", np.int32)])
        rows["key"], rows["number"] = rng.integers(0, most, size), np.arange(number, number + size)
        pieces.append(rows)
        number += size
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(buckets, "IN_MEMORY", in_memory)
        dealt = Buckets(lambda: pieces, lambda rows: rows["key"] >> 8)
    everything = np.concatenate(pieces) if sizes else np.zeros(0)
    for bucket, rows in enumerate(dealt):
        assert rows.tolist() == [row for row in everything.tolist() if row[0] >> 8 == bucket]
    assert len(dealt.read(0, COUNT)) == number
    assert dealt.read(3, 5).tolist() == [*dealt.read(3, 4).tolist(), *dealt.read(4, 5).tolist()]
