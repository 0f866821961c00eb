"""A dissection that is stopped by anything goes on where it was, and ends with the bits of an undisturbed one."""

import json
import os
import subprocess
import sys
import textwrap

import pytest
import torch
from torch import nn

import unitlens as ul
from tests.dissection.work.small_world import (
    IMAGES,
    Stopping,
    assert_same,
    commit_always,
    dissect,
    full_disk,
)
from tests.worlds.generators import painted, painter
from unitlens.dissection import controls
from unitlens.dissection.settings import Settings
from unitlens.dissection.store.lock import holding
from unitlens.dissection.work.passes import passes_of
from unitlens.dissection.work.task import Checkpoint


@pytest.fixture(scope="module")
def undisturbed():
    return dissect(Stopping(), evidence=False)


def test_a_dissection_that_is_stopped_in_any_pass_ends_as_if_it_was_not(tmp_path, monkeypatch):
    commit_always(monkeypatch)
    options = {"control": ("untrained", "rotated"), "layers": ("pool",), "exemplars": 0}
    whole = dissect(Stopping(), **options)
    # In the pass of the network, of its untrained copy and of a rotated layer; of what is kept 3 images are read again.
    for images, kept in ((9, 8), (3 + 6 + 5, 4), (3 + 3 + 10 + 13, 12)):
        with pytest.raises(KeyboardInterrupt) as stopped:
            dissect(Stopping(after=images), tmp_path / "kept", **options)
        assert f"Kept up to image {kept} of {IMAGES}" in stopped.value.__notes__[0]
    assert_same(dissect(Stopping(), tmp_path / "kept", **options), whole)


@pytest.mark.slow
def test_an_untrained_copy_is_calibrated_once(tmp_path, monkeypatch):
    commit_always(monkeypatch)
    torch.manual_seed(5)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU())
    net = ul.classifier(model, image_size=32, mean=(0, 0, 0), std=(1, 1, 1))
    options = {"control": "untrained", "quantile": 0.05, "grid": 8, "batch_size": 4, "exemplars": 0}
    whole = ul.dissect(net, "2", Stopping(), **options)
    with pytest.raises(KeyboardInterrupt) as stopped:  # in the pass of the copy, which was calibrated before
        ul.dissect(net, "2", Stopping(after=14 + 14 + 5), checkpoint=tmp_path / "kept", **options)
    assert "Kept up to image 4" in stopped.value.__notes__[0]
    monkeypatch.setattr(controls, "calibrate", None)
    assert_same(ul.dissect(net, "2", Stopping(), checkpoint=tmp_path / "kept", **options), whole)


def test_a_number_is_no_folder():
    with pytest.raises(ul.UnitlensError, match=r"checkpoint=3 is not a folder: give its path"):
        dissect(Stopping(), 3)


def test_passes_have_folders_of_their_own():
    settings = Settings(layers=("a", "b"), grid=(8, 8), control=("rotated", "untrained:2"))
    names = [one.name for one in passes_of(settings)]
    assert names == ["0-network", "1-rotated", "2-rotated", "3-untrained", "4-untrained"]


def test_passes_that_are_kept_are_not_made_again(tmp_path, undisturbed):
    for data in (Stopping(), Stopping(after=3)):  # three are read again, to be compared
        assert_same(dissect(data, tmp_path / "kept", evidence=False), undisturbed)


def test_images_that_cannot_be_read_are_left_out_once(tmp_path, monkeypatch):
    commit_always(monkeypatch)
    broken = {2, 6, 7, 13}

    class Broken(Stopping):
        def __getitem__(self, index):
            if index in broken:
                raise ValueError("broken")
            return super().__getitem__(index)

    with pytest.warns(ul.UnitlensWarning, match="4 files were left out"):
        whole = dissect(Broken(), evidence=False)
    data = Broken(at=9)
    with pytest.raises(KeyboardInterrupt):
        dissect(data, tmp_path / "kept", evidence=False)
    data.at = None
    with pytest.warns(ul.UnitlensWarning, match="4 files were left out"):
        assert_same(dissect(data, tmp_path / "kept", evidence=False), whole)


@pytest.mark.filterwarnings("ignore")
def test_another_question_is_not_gone_on_with_unless_it_may_be_replaced(tmp_path, undisturbed, monkeypatch):
    commit_always(monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        dissect(Stopping(at=9), tmp_path / "kept", quantile=0.1, fdr=0.1)
    with pytest.raises(ul.UnitlensError, match=r"differs in quantile \(0.1 and 0.05\), fdr \(0.1 and 0.05\): to"):
        dissect(Stopping(), tmp_path / "kept")
    with pytest.raises(ul.UnitlensError, match=r"differs in .*images \(14 and 10\)"):
        dissect(Stopping(10), tmp_path / "kept", quantile=0.1, fdr=0.1)
    assert_same(dissect(Stopping(), Checkpoint(tmp_path / "kept", replace=True), evidence=False), undisturbed)


def test_a_folder_in_which_a_command_was_killed_at_its_first_write_is_used(tmp_path, undisturbed):
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / ".asked.json-0123456789abcdef.partial").write_text("{")  # it had written half of it
    assert_same(dissect(Stopping(), kept, evidence=False), undisturbed)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    with pytest.raises(ul.UnitlensError, match="holds other files"):
        dissect(Stopping(), tmp_path / "mine", evidence=False)


def test_images_that_have_changed_meanwhile_are_not_mixed(tmp_path, monkeypatch):
    commit_always(monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        dissect(Stopping(at=9), tmp_path / "kept")
    data = Stopping()
    data.seed = 1
    with pytest.raises(ul.UnitlensError, match=r"is not what it was when 8 of 14 images had been looked at"):
        dissect(data, tmp_path / "kept")
    again = dissect(data, Checkpoint(tmp_path / "kept", replace=True))
    assert_same(again, dissect(data))
    with pytest.raises(ul.UnitlensError, match=r"is not what it was when 14 of 14 images had been looked at"):
        dissect(Stopping(), tmp_path / "kept")  # all of it was looked at


def test_a_full_disk_is_an_error_after_which_it_goes_on(tmp_path, undisturbed, monkeypatch):
    commit_always(monkeypatch)
    for after in (3, 20, 30):  # in the first batch, behind it, behind what is kept by then
        with monkeypatch.context() as patch:
            full_disk(patch, after=after)
            with pytest.raises(ul.UnitlensError, match="No space left on device"):
                dissect(Stopping(), tmp_path / "kept", evidence=False)
    assert (tmp_path / "kept" / "asked.json").exists()
    assert_same(dissect(Stopping(), tmp_path / "kept", evidence=False), undisturbed)


def test_a_folder_of_images_that_goes_away_is_an_error_after_which_it_goes_on(world, net, tmp_path, monkeypatch):
    commit_always(monkeypatch)
    how = {"quantile": 0.1, "batch_size": 3, "exemplars": 0, "evidence": False}
    data = ul.annotated(world)
    whole = ul.dissect(net, "0", data, **how)
    hidden = world.with_name("hidden")
    calls = []

    def prepare(*_):
        calls.append(len(calls))
        if len(calls) == 4:  # the third batch, as the first one is looked at twice
            world.rename(hidden)

    handle = net.model.register_forward_pre_hook(prepare)
    with pytest.raises(ul.UnitlensError, match="There is no file") as stopped:
        ul.dissect(net, "0", data, checkpoint=tmp_path / "kept", **how)
    handle.remove()
    assert "Kept up to image 9" in stopped.value.__notes__[0]
    with pytest.raises(ul.UnitlensError, match="is not what it was"):
        ul.dissect(net, "0", data, checkpoint=tmp_path / "kept", **how)
    hidden.rename(world)
    assert_same(ul.dissect(net, "0", ul.annotated(world), checkpoint=tmp_path / "kept", **how), whole)


def test_a_folder_that_another_process_works_in_is_refused_and_a_dead_ones_lock_is_not_in_the_way(tmp_path):
    code = """
    import os, sys
    from pathlib import Path
    from unitlens.dissection.store.lock import holding
    with holding(Path(sys.argv[1])):
        print("held", flush=True)
        sys.stdin.read()
        os._exit(1)
    """
    folder = tmp_path / "kept"
    folder.mkdir()
    command = [sys.executable, "-c", textwrap.dedent(code), str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout.readline() == b"held\n"
        with pytest.raises(ul.UnitlensError, match=f"Another process is at work in {folder}"):
            dissect(Stopping(), folder)
    assert (folder / "lock").exists()
    with holding(folder):
        pass
    assert not (folder / "lock").exists()


def test_other_files_are_not_touched(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(ul.UnitlensError, match="holds other files"):
        dissect(Stopping(), Checkpoint(tmp_path, replace=True))
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_may_not_be_written_is_an_error(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(ul.UnitlensError, match="could not be made"):
        dissect(Stopping(), tmp_path / "kept")
    tmp_path.chmod(0o700)


def test_nothing_is_left_where_nothing_was_kept(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        dissect(Stopping(at=0), tmp_path / "kept")
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_record_of_what_was_asked_is_an_error(tmp_path, monkeypatch):
    commit_always(monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        dissect(Stopping(at=9), tmp_path / "kept")
    path = tmp_path / "kept" / "asked.json"
    for damage in ({"schema": 99}, {"settings": {}}, {"more": 1}):
        path.write_text(json.dumps(json.loads(path.read_text()) | damage))
        with pytest.raises(ul.UnitlensError, match="has no passes to go on with"):
            dissect(Stopping(), tmp_path / "kept")


def test_a_generator_goes_on_drawing_and_its_sources_looking(tmp_path, monkeypatch):
    commit_always(monkeypatch)
    net, options = painter(), {"batch_size": 8, "exemplars": 2, "evidence": False}
    whole = ul.dissect(net, "layer", painted(40), **options)
    calls = []

    def stop(*_):
        calls.append(len(calls))
        if len(calls) == 4:
            raise KeyboardInterrupt

    handle = net.model.register_forward_pre_hook(stop)
    with pytest.raises(KeyboardInterrupt) as stopped:
        ul.dissect(net, "layer", painted(40), checkpoint=tmp_path / "kept", **options)
    handle.remove()
    assert "Kept up to image 24 of 40" in stopped.value.__notes__[0]
    assert_same(ul.dissect(net, "layer", painted(40), checkpoint=tmp_path / "kept", **options), whole)
