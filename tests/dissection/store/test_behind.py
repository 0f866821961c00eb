"""Rows that a thread writes while the process goes on."""

import os
import signal
import threading
import time
from collections import deque

import numpy as np
import pytest

import unitlens as ul
from tests.dissection.work.small_world import full_disk
from unitlens.dissection.store import behind
from unitlens.dissection.store.behind import WriteBehind, write_behind
from unitlens.dissection.store.folder import Store
from unitlens.dissection.store.rows import append

ROWS = np.arange(12, dtype=np.float32).reshape(4, 3)


@pytest.fixture
def store(tmp_path):
    with Store.create(tmp_path / "store") as store:
        yield store


def rows_of(store, **options):
    return store.rows("maps", (3,), np.float32, **options)


def test_rows_are_read_and_committed_as_if_they_were_written_at_once(store):
    before = store.rows("peaks", (), np.float32)
    with store.writing_behind():
        append(before, ROWS[:, 0])
        append(rows_of(store), ROWS)
        assert (rows_of(store).read(range(4)) == ROWS).all()
        append(rows_of(store), ROWS)
        store.commit(images=4)
        append(rows_of(store), ROWS)
    append(rows_of(store), ROWS)  # by this thread again
    store.commit(images=16)
    store.close()
    with Store.open(store.folder) as read:
        assert (rows_of(read).read(range(16)) == np.tile(ROWS, (4, 1))).all()
        assert (read.rows("peaks", (), np.float32).read(range(4)) == ROWS[:, 0]).all()


def test_another_thread_writes_and_ends(store, monkeypatch):
    writing, write = [], os.pwrite

    def noted(*arguments):
        writing.append(threading.current_thread())
        return write(*arguments)

    monkeypatch.setattr(os, "pwrite", noted)
    with store.writing_behind():
        append(rows_of(store), ROWS)
    assert writing[0] is not threading.main_thread()
    assert not writing[0].is_alive()


def test_a_full_disk_is_said_by_what_follows_and_nothing_counts_any_more(store, monkeypatch):
    append(rows_of(store), ROWS)
    store.commit(images=4)

    def fill():
        with store.writing_behind():
            with monkeypatch.context() as patch:
                full_disk(patch, after=0)
                append(rows_of(store), ROWS)  # nobody knows yet
                refused(lambda: rows_of(store).read([0]))
            refused(lambda: append(rows_of(store), ROWS))  # there is room again, behind a hole

    refused(fill)
    refused(lambda: append(rows_of(store), ROWS))
    refused(lambda: store.commit(images=12))
    store.close()
    with Store.open(store.folder) as read:
        assert (rows_of(read).count, read.manifest.images) == (4, 4)


def refused(call):
    with pytest.raises(ul.UnitlensError, match="No space left on device"):
        call()


class Interrupted(deque):
    """Ctrl-C comes as soon as something is taken from it."""

    def popleft(self):
        super().popleft()
        raise KeyboardInterrupt


def test_an_interrupt_does_not_make_an_error_forgotten():
    def fail():
        raise ul.UnitlensError("No space left on device")

    def given():
        with write_behind() as behind:
            behind._under_way = Interrupted()
            behind(fail, 1)
            with pytest.raises(KeyboardInterrupt):
                behind.wait()
            behind._under_way = deque()
            refused(behind.wait)
            refused(lambda: behind(print, 1))

    refused(given)


def test_an_error_is_said_as_soon_as_it_is_known(store, monkeypatch):
    def fill():
        with store.writing_behind():
            with monkeypatch.context() as patch:
                full_disk(patch, after=0)
                append(rows_of(store), ROWS)
                while not store._behind._under_way[0][0].done():
                    pass
            refused(lambda: append(rows_of(store), ROWS))

    refused(fill)


def test_a_store_is_closed_once_all_is_written(store, monkeypatch):
    gate, write = threading.Event(), os.pwrite

    def slow(*arguments):
        gate.wait(60)
        return write(*arguments)

    monkeypatch.setattr(os, "pwrite", slow)
    with store.writing_behind():
        append(rows_of(store), ROWS)
        threading.Timer(0.1, gate.set).start()
        store.close()
    with open(store.folder / "maps.rows", "rb") as file:
        assert file.read() == ROWS.tobytes()


def test_a_store_that_is_closed_when_ctrl_c_comes_is_closed(store, monkeypatch):
    closing, write, settle = threading.Event(), os.pwrite, WriteBehind.settle

    def noted(behind):
        closing.set()
        settle(behind)

    def slow(*arguments):
        closing.wait(60)
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.1)  # `close` waits for this
        return write(*arguments)

    def stopped():
        with store.writing_behind():
            append(rows_of(store), ROWS)
            store.commit(images=4)
            monkeypatch.setattr(os, "pwrite", slow)
            append(rows_of(store), ROWS)
            monkeypatch.setattr(WriteBehind, "settle", noted)
            store.close()

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell has what is in the background ignore it
    try:
        with pytest.raises(KeyboardInterrupt):
            stopped()
    finally:
        signal.signal(signal.SIGINT, before)
    with Store.open(store.folder, write=True) as again:
        assert (rows_of(again).read(range(4)) == ROWS).all()


def test_an_error_of_the_process_leaves_all_that_it_gave_written(store):
    def stopped():
        with store.writing_behind():
            append(rows_of(store), ROWS)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stopped()
    store.commit(images=4)
    assert (rows_of(store).read(range(4)) == ROWS).all()


def test_no_more_waits_than_there_is_room_for(monkeypatch):
    monkeypatch.setattr(behind, "AHEAD", 10)
    gate, done = threading.Event(), []
    with write_behind() as given:
        given(gate.wait, 6)
        given(lambda: done.append("small"), 4)
        opened = threading.Timer(0.1, gate.set)
        opened.start()
        given(lambda: done.append("last"), 6)  # waits for the gate
        assert gate.is_set()
    assert done == ["small", "last"]
