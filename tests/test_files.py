import errno
import os

import pytest

import unitlens as ul
from unitlens.files import cache_folder, make_folder, write_whole


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


def test_a_name_that_is_no_unicode_does_not_cost_the_page(tmp_path):
    write_whole(tmp_path / "page.html", b"caf\xe9.jpg".decode("utf-8", "surrogateescape"))
    assert (tmp_path / "page.html").read_text(encoding="utf-8") == "caf?.jpg"


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
