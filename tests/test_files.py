import errno
import os
import secrets
import signal

import numpy as np
import pytest

import unitlens as ul
from unitlens.files import (
    cache_folder,
    held_back,
    json_text,
    make_folder,
    parts_file,
    read_json,
    read_parts,
    uninterrupted,
    write_whole,
)


@pytest.mark.parametrize("content", ["after", b"after"])
def test_a_file_is_written_whole_or_not_at_all(content, tmp_path, monkeypatch):
    path = tmp_path / "page.html"
    path.write_text("before")

    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", full)
        with pytest.raises(ul.UnitlensError) as caught:
            write_whole(path, content)
    assert str(path) in str(caught.value)
    assert "No space left on device" in str(caught.value)
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]
    write_whole(path, content)
    assert path.read_text() == "after"
    assert list(tmp_path.iterdir()) == [path]


def test_a_link_that_was_put_there_in_advance_is_not_followed(tmp_path, monkeypatch):
    (tmp_path / "other").write_text("of somebody else")
    for number in (os.getpid(), "0" * 16):
        (tmp_path / f".page.html-{number}.partial").symlink_to("other")
    write_whole(tmp_path / "page.html", "mine")
    monkeypatch.setattr(secrets, "token_hex", lambda _: "0" * 16)  # guessed all the same
    with pytest.raises(ul.UnitlensError, match=r"page\.html could not be written: File exists"):
        write_whole(tmp_path / "page.html", "again")
    assert (tmp_path / "other").read_text() == "of somebody else"
    assert (tmp_path / "page.html").read_text() == "mine"
    assert (tmp_path / f".page.html-{'0' * 16}.partial").is_symlink()


def test_a_file_has_the_permissions_of_any_other(tmp_path):
    (tmp_path / "usual").write_text("")
    write_whole(tmp_path / "page.html", "text")
    assert (tmp_path / "page.html").stat().st_mode == (tmp_path / "usual").stat().st_mode


def test_names_that_are_not_unicode_come_back_as_they_were(tmp_path):
    name = os.fsdecode(b"caf\xe9.jpg")
    write_whole(tmp_path / "table.csv", name)
    assert (tmp_path / "table.csv").read_bytes() == b"caf\xe9.jpg"
    write_whole(tmp_path / "run.json", json_text({name: ["é", name]}))
    (tmp_path / "run.json").read_text(encoding="utf-8")  # which is UTF-8 for other readers too
    assert read_json(tmp_path / "run.json") == {name: ["é", name]}
    (tmp_path / "run.json").write_text('"\\ud800"')
    with pytest.raises(ul.UnitlensError, match=r"run\.json cannot be read"):
        read_json(tmp_path / "run.json")


def test_a_folder_that_cannot_be_made_is_said(tmp_path):
    assert make_folder(tmp_path / "one" / "two").is_dir()
    (tmp_path / "file").write_text("")
    with pytest.raises(ul.UnitlensError) as caught:
        make_folder(tmp_path / "file" / "folder")
    assert str(tmp_path / "file" / "folder") in str(caught.value)
    assert "choose another folder" in str(caught.value)


def test_the_cache_is_the_users(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder("segments") == tmp_path / "unitlens" / "segments"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache" / "unitlens"


def test_arrays_of_parts_are_read_back_and_those_of_none_are_refused(tmp_path):
    parts = [{"a": np.arange(3), "b/c": np.eye(2)[::-1]}, {}]
    (tmp_path / "counts").write_bytes(parts_file(parts))
    one, other = read_parts(tmp_path / "counts", 2)
    assert one["a"].tolist() == [0, 1, 2]
    assert one["b/c"].tolist() == [[0, 1], [1, 0]]
    assert other == {}
    with pytest.raises(ul.UnitlensError, match="which is not of a measurement"):
        read_parts(tmp_path / "counts", 0)


@pytest.mark.parametrize("hold", [held_back, uninterrupted])
def test_a_signal_that_waits_behind_one_that_is_ignored_is_not_lost(hold):
    seen = []
    handlers = {signal.SIGINT: signal.SIG_IGN, signal.SIGTERM: lambda number, _: seen.append(number)}
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        with hold():
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGTERM)
            assert seen == []
        assert seen == [signal.SIGTERM]
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
