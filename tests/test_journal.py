"""Folders of results change whole or not at all, whenever the process dies, and whatever a stranger put into them."""

import errno
import fcntl
import json
import os
import shutil
import signal
import threading

import pytest

import unitlens as ul
from tests.faults.crashing import contents, copied_at_each_change, dies_at
from unitlens.journal import changing, settle

OLD = {"run.json": "old", "units.csv": "old", "report.html": "old", "interventions/1.png": "old", "notes.txt": "mine"}
NEW = {"run.json": "new", "units.csv": "new", "interventions/2.png": "new", "notes.txt": "mine"}


def make(folder, files):
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def replace(folder):
    with changing(folder) as change:
        change.write("run.json", "new")
        change.remove(["report.html", "effects.json"])
        with changing(folder) as part:  # as when effects are saved with their run
            part.write("units.csv", "new")
            part.write("interventions/2.png", "new")


def files_of(folder):
    return {name: content.decode() for name, content in contents(folder).items() if content is not None}


def check_moments(folder, copies, old):
    """Make sure that each copy is the old or the new, from some moment on, and that nothing is in its way."""
    new = NEW if old else {name: text for name, text in NEW.items() if name != "notes.txt"}
    seen = []
    for copy in copies:
        settle(copy / folder)
        seen.append(files_of(copy / folder) if (copy / folder).is_dir() else {})
        assert not list(copy.rglob(".unitlens-*"))
        replace(copy / folder)
        assert contents(copy / folder).keys() == {"interventions", *new}
        assert files_of(copy / folder) == new
    assert all(there in (old or {}, new) for there in seen)
    assert [there == new for there in seen] == sorted(there == new for there in seen)
    assert 12 < len(copies) < 40
    assert seen[-1] == new  # when it dies all is there, but its last traces are not gone


OLDS = pytest.mark.parametrize("old", [OLD, {}, None], ids=["a run", "an empty folder", "nothing"])


@OLDS
def test_before_every_change_of_a_file_a_reader_sees_the_old_or_the_new(old, tmp_path):
    if old is not None:
        (tmp_path / "there" / "run").mkdir(parents=True)
        make(tmp_path / "there" / "run", old)
    (tmp_path / "there").mkdir(exist_ok=True)
    with copied_at_each_change(tmp_path / "there", tmp_path / "copies") as copies:
        replace(tmp_path / "there" / "run")
    check_moments("run", copies, old)


@pytest.mark.slow
@OLDS
def test_a_process_that_dies_at_any_of_them_leaves_the_same(old, tmp_path):
    copies, died = [], True
    while died:
        copies.append(tmp_path / str(len(copies)))
        copies[-1].mkdir()
        if old is not None:
            make(copies[-1] / "run", old)
            (copies[-1] / "run").mkdir(exist_ok=True)
        died = dies_at(len(copies) - 1, copies[-1], lambda: replace(copies[-1] / "run"))
    check_moments("run", copies[:-1], old)


def test_a_move_that_is_finished_by_one_who_dies_too_is_finished_by_the_next(tmp_path):
    make(tmp_path / "run", OLD)
    with copied_at_each_change(tmp_path / "run", tmp_path / "first") as copies:
        replace(tmp_path / "run")
    begun = [copy for copy in copies if (copy / ".unitlens-change").exists()]
    assert len(begun) > 5
    for number, copy in enumerate(begun):
        with copied_at_each_change(copy, tmp_path / f"second {number}") as again:
            settle(copy)
        for copy_of_copy in again:
            settle(copy_of_copy)
            assert files_of(copy_of_copy) == NEW
            assert not (copy_of_copy / ".unitlens-change").exists()


@pytest.mark.parametrize("number", range(4))
def test_a_disk_that_fills_leaves_everything_as_it_was(number, tmp_path, monkeypatch):
    left = []

    def full(_):
        left.append(left.pop() - 1)
        if left[0] < 0:
            raise OSError(errno.ENOSPC, "No space left on device")

    make(tmp_path / "run", OLD)
    before = contents(tmp_path)
    monkeypatch.setattr(os, "fsync", full)
    for folder in (tmp_path / "run", tmp_path / "deep" / "new"):
        left[:] = [number]
        with pytest.raises(ul.UnitlensError) as caught:
            replace(folder)
        assert str(caught.value) == f"{folder} could not be written: No space left on device."
        assert contents(tmp_path) == before


def test_an_error_leaves_everything_as_it_was(tmp_path):
    def fails(folder):
        with changing(folder) as change:
            change.write("units.csv", "new")
            change.remove(["run.json"])
            raise ZeroDivisionError

    make(tmp_path / "run", OLD)
    before = contents(tmp_path)
    for folder in (tmp_path / "run", tmp_path / "new"):
        with pytest.raises(ZeroDivisionError):
            fails(folder)
        assert contents(tmp_path) == before


def test_a_stop_waits_for_the_change(tmp_path):
    def stopped():
        with changing(tmp_path) as change:
            change.write("units.csv", "new")
            signal.raise_signal(signal.SIGINT)
            change.write("run.json", "new")

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where tests run in the background
    try:
        with pytest.raises(KeyboardInterrupt):
            stopped()
    finally:
        signal.signal(signal.SIGINT, before)
    assert files_of(tmp_path) == {"units.csv": "new", "run.json": "new"}


def test_what_is_written_and_removed_in_one_change_is_as_was_said_last(tmp_path):
    make(tmp_path, OLD)
    with changing(tmp_path) as change:
        change.write("units.csv", "new")
        change.remove(["units.csv", "run.json", "interventions"])
        change.write("run.json", "new")
        change.write("interventions/2.png", "one")
        change.write("interventions/2.png", "two")
    assert files_of(tmp_path) == {
        "run.json": "new", "report.html": "old", "interventions/2.png": "two", "notes.txt": "mine",
    }  # fmt: skip


def test_nothing_is_left_of_a_change_of_nothing(tmp_path):
    with changing(tmp_path / "run") as change:
        change.remove(["units.csv"])
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    "name", ["../units.csv", "/units.csv", "a/b.csv", ".units.csv", "units.py", "", "interventions"]
)
def test_only_results_are_written(name, tmp_path):
    with pytest.raises(ValueError, match="no name of a result"), changing(tmp_path) as change:
        change.write(name, "text")


def test_a_folder_where_a_result_belongs_is_left_alone(tmp_path):
    make(tmp_path, {"units.csv/mine.txt": "mine", "effects.json/mine.txt": "mine"})
    before = contents(tmp_path)
    with pytest.raises(ul.UnitlensError, match=r"units\.csv is a folder, and no result: choose another folder"):
        replace(tmp_path)
    assert contents(tmp_path) == before
    (tmp_path / "units.csv").rename(tmp_path / "mine")
    replace(tmp_path)
    assert (tmp_path / "effects.json" / "mine.txt").read_text() == "mine"


def change_of_a_stranger(folder, removed, *names):
    make(folder, OLD)
    change = folder / ".unitlens-change"
    change.mkdir()
    (change / ".unitlens-removed.json").write_text(removed if isinstance(removed, str) else json.dumps(removed))
    for name in names:
        (change / name).write_text("stranger")
    return folder


@pytest.mark.parametrize(
    ("removed", "names"),
    [
        (["../outside.csv"], []),
        (["/etc/passwd"], []),
        (["interventions/../../outside.csv"], []),
        (["notes.txt"], []),
        ([".."], []),
        ([None], []),
        ({"units.csv": 1}, []),
        ("[", []),
        ([], [".bashrc"]),
        ([], ["notes.txt"]),
    ],
)
def test_a_change_of_a_stranger_touches_nothing_but_results_in_its_folder(removed, names, tmp_path):
    make(tmp_path, {"outside.csv": "mine"})
    folder = change_of_a_stranger(tmp_path / "run", removed, *names)
    before = contents(tmp_path)
    for action in (lambda: settle(folder), lambda: ul.open_run(folder), lambda: replace(folder)):
        with pytest.raises(ul.UnitlensError):
            action()
    assert contents(tmp_path) == before


def test_links_of_a_stranger_are_not_followed(tmp_path):
    make(tmp_path / "mine", {"interventions/1.png": "mine", "units.csv": "mine"})
    before = contents(tmp_path / "mine")
    folder = change_of_a_stranger(tmp_path / "run", ["units.csv"])
    shutil.rmtree(folder / "interventions")
    (folder / "interventions").symlink_to(tmp_path / "mine" / "interventions")
    (folder / "units.csv").unlink()
    (folder / "units.csv").symlink_to(tmp_path / "mine" / "units.csv")
    (folder / ".unitlens-new-1").symlink_to(tmp_path / "mine")
    settle(folder)
    assert not (folder / "units.csv").is_symlink()
    with changing(folder) as change:
        change.write("interventions/1.png", "new")
    assert contents(tmp_path / "mine") == before
    assert (folder / "interventions" / "1.png").read_text() == "new"
    (folder / ".unitlens-change").symlink_to(tmp_path / "mine")
    with pytest.raises(ul.UnitlensError, match="was not written by unitlens: remove it"):
        settle(folder)
    assert contents(tmp_path / "mine") == before


def test_a_pipe_in_place_of_a_file_is_not_waited_for(tmp_path):
    folder = change_of_a_stranger(tmp_path, [])
    (folder / ".unitlens-change" / ".unitlens-removed.json").unlink()
    os.mkfifo(folder / ".unitlens-change" / ".unitlens-removed.json")
    with pytest.raises(ul.UnitlensError, match="is not a file"):
        settle(folder)


def test_changes_of_one_folder_wait_for_each_other(tmp_path):
    begun, order = threading.Event(), []

    def second():
        begun.wait()
        with changing(tmp_path) as change:
            order.append("second")
            assert (tmp_path / "units.csv").read_text() == "first"
            change.write("units.csv", "second")

    other = threading.Thread(target=second)
    other.start()
    with changing(tmp_path) as change:
        begun.set()
        settle(tmp_path)  # a reader does not wait, and sees what was there
        change.write("units.csv", "first")
        settle(tmp_path)
        order.append("first")
    other.join()
    assert order == ["first", "second"]
    assert files_of(tmp_path) == {"units.csv": "second"}


def test_one_that_never_ends_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr("unitlens.journal._PATIENCE", 0.05)
    descriptor = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    with pytest.raises(ul.UnitlensError, match="Another process is writing into"):
        replace(tmp_path)
    os.close(descriptor)
    replace(tmp_path)


def test_without_locks_what_another_may_be_writing_is_left_and_a_move_is_finished(tmp_path, monkeypatch):
    def no_locks(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    change_of_a_stranger(tmp_path, ["report.html"], "units.csv")
    make(tmp_path, {".unitlens-new-1/units.csv": "of one that lives"})
    replace(tmp_path)
    assert (tmp_path / "units.csv").read_text() == "new"
    assert (tmp_path / ".unitlens-new-1" / "units.csv").read_text() == "of one that lives"


def test_a_move_that_cannot_be_finished_is_said(tmp_path, monkeypatch):
    change_of_a_stranger(tmp_path, [], "units.csv")

    def refused(*_):
        raise OSError(errno.EROFS, "Read-only file system")

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", refused)
        with pytest.raises(ul.UnitlensError, match=r"cannot be now \(Read-only file system\)"):
            ul.open_run(tmp_path)
    settle(tmp_path)
    assert (tmp_path / "units.csv").read_text() == "stranger"
