"""Files that are read early and hashed late: what changed in between makes no answer."""

import os
import time
from pathlib import Path

import numpy as np
import pytest

import unitlens as ul
from tests.dissection.repeating.test_measured_again import KEPT
from unitlens.dissection.repeating.beginning import Beginning, file_sha256
from unitlens.models import loading

pytestmark = pytest.mark.usefixtures("scenes_drawn_once")


def test_a_file_that_is_replaced_or_comes_or_goes_has_changed(tmp_path):
    there, missing = tmp_path / "there", tmp_path / "missing"
    there.write_text("1")
    began = Beginning.of([there, missing])
    assert began.is_unchanged()
    missing.write_text("1")
    assert not began.is_unchanged()
    missing.unlink()
    assert began.is_unchanged()
    os.utime(there, (1, 1))
    assert not began.is_unchanged()
    began = Beginning.of([there])
    (tmp_path / "new").write_text("1")
    os.replace(tmp_path / "new", there)
    assert not began.is_unchanged()
    began = Beginning.of([there])
    there.unlink()
    assert not began.is_unchanged()


def test_while_times_are_coarse_content_decides(tmp_path, monkeypatch):
    file = tmp_path / "a.csv"
    file.write_text("1")
    same = file.stat()
    monkeypatch.setattr(Path, "stat", lambda *_, **__: same)
    recent = Beginning.of([file])
    monkeypatch.setattr(time, "time", lambda: same.st_mtime + 60)
    old = Beginning.of([file])
    file.write_text("2")
    assert (recent.is_unchanged(), old.is_unchanged()) == (False, True)


@pytest.mark.parametrize("changed", ["run/run.json", "run/counts.safetensors", "aim.npy"])
def test_what_is_replaced_while_the_network_loads_is_no_answer(ask, tmp_path, monkeypatch, changed):
    classes = len(ul.Scenes(1).classes)
    np.save(tmp_path / "aim.npy", np.ones((1, classes), np.float32))
    words = ("ablate", "RUN", "--units", 1, "--outcome", "similarity:aim.npy", "--draws", 0)
    load, file = loading.load, tmp_path / changed

    def replacing(*given, **how):
        if changed == "aim.npy":
            np.save(file, np.arange(classes, dtype=np.float32)[None])
        else:
            file.write_bytes(file.read_bytes())
        return load(*given, **how)

    with monkeypatch.context() as patch:
        patch.setattr("unitlens.dissection.reopening.load", replacing)
        assert ask(words).code == 0
        refused = ask(words)  # in which it is replaced once more
        assert (refused.code, KEPT in refused.err) == (2, False), refused
    refused = ask(words)  # of what is there now nothing was measured
    assert (refused.code, KEPT in refused.err) == (2, False), refused
    assert ask(words, "--overwrite").code == 0
    assert KEPT in ask(words).err


def test_what_nothing_reads_is_not_read_to_be_hashed(tmp_path):
    vast, pipe = tmp_path / "vast.npy", tmp_path / "pipe"
    with vast.open("wb") as file:
        file.truncate(1 << 43)
    os.mkfifo(pipe)
    assert Beginning.of([vast, pipe]).is_unchanged()
    for path in (vast, pipe):
        with pytest.raises(OSError, match="no file that is read"):
            file_sha256(path)
