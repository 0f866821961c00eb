"""A dissection that some processes began is gone on with by fewer or more of them, to the same bits."""

from contextlib import contextmanager

import pytest

import unitlens as ul
from tests.dissection.work.small_world import IMAGES, NET, OPTIONS, Stopping, assert_same, commit_always
from unitlens.dissection.files import read_run
from unitlens.dissection.run import task_of
from unitlens.dissection.work.task import Checkpoint
from unitlens.dissection.work.together import dissect_kept
from unitlens.processes import ALONE, Processes


class First(Processes):
    """The first of several processes, which are not there; so it gets no further than their passes."""

    def gather(self, value):
        return [value]

    def of_first(self, value):
        return value

    @contextmanager
    def in_step(self):
        yield


class Alone(First):
    """The first of several, all of which come to the end; there is a single block of units, which is its own."""

    def gather(self, value):
        return [value, *([] for _ in range(1, self.count))]


def dissect(data, folder, processes=ALONE, *, layers=("conv", "pool"), **options):
    task = task_of(NET, list(layers), data, OPTIONS | {"evidence": bool(options)} | options)
    return dissect_kept(task, Checkpoint(folder), processes)


CONTROLS = {"control": ("untrained", "rotated")}


@pytest.mark.parametrize("options", [{}, pytest.param(CONTROLS, marks=pytest.mark.slow)], ids=["plain", "controls"])
def test_one_process_goes_on_with_the_parts_of_several(tmp_path, monkeypatch, options):
    commit_always(monkeypatch)
    whole = dissect(Stopping(), tmp_path / "alone", **options)
    with pytest.raises(KeyboardInterrupt):
        dissect(Stopping(at=5), tmp_path / "two", First(0, 2), **options)
    with pytest.raises(ul.UnitlensError, match=rf"kept there \(\d+ of {IMAGES} images were looked at\)"):
        read_run(tmp_path / "two")
    assert_same(dissect(Stopping(), tmp_path / "two", **options), whole)


def test_several_processes_go_on_with_the_pass_of_one(tmp_path, monkeypatch):
    commit_always(monkeypatch)
    whole = dissect(Stopping(), tmp_path / "alone", layers=["conv"])
    with pytest.raises(KeyboardInterrupt):
        dissect(Stopping(at=9), tmp_path / "one", layers=["conv"])
    again = dissect(Stopping(after=9), tmp_path / "one", Alone(0, 3), layers=["conv"])  # eight were not read again
    assert_same(again, whole)
    assert not list((tmp_path / "one").glob("part-*"))


def test_a_part_of_machines_that_share_nothing_is_no_beginning(tmp_path):
    ul.dissect_part(NET, ["pool"], Stopping(), shard=(2, 2), checkpoint=tmp_path / "part", **OPTIONS)
    with pytest.raises(ul.UnitlensError, match=r"part 2 of 2 of the images of one: ul\.merge"):
        read_run(tmp_path / "part")
    task = task_of(NET, ["pool"], Stopping(), OPTIONS)
    with pytest.raises(ul.UnitlensError, match=r"differs in parts \(2 and 1\)"):
        dissect_kept(task, Checkpoint(tmp_path / "part"))
