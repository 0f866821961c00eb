"""A small dissection that can be stopped at any image, and how to compare two."""

import errno
import os

import unitlens as ul
from tests.worlds.planted import ColourWorld, colour_net
from unitlens.dissection.store import folder as store_folder

IMAGES = 14
NET = colour_net()
OPTIONS = {"quantile": 0.05, "grid": 8, "batch_size": 4, "exemplars": 2}


class Stopping(ColourWorld):
    """A world of which no image can be had from some index on, or after so many were: an error is raised there."""

    def __init__(self, images=IMAGES, *, at=None, after=None, error=KeyboardInterrupt):
        super().__init__(images)
        self.source = "a world of squares"
        self.at, self.left, self.error = at, after, error

    def __getitem__(self, index):
        if self.left is not None:
            self.left -= 1
        if (self.at is not None and index >= self.at) or self.left == -1:
            raise self.error
        return super().__getitem__(index)


def dissect(data, folder=None, *, layers=("conv", "pool"), **options):
    return ul.dissect(NET, list(layers), data, checkpoint=folder, **OPTIONS | options)


def commit_always(monkeypatch):
    """Commit after every batch, as if each took long."""
    monkeypatch.setattr(store_folder, "OFTEN", 0)
    monkeypatch.setattr(store_folder, "SHARE", 0)


def assert_same(one, other):
    """All that is saved of two dissections is the same, but for times and where the data were."""
    one, other = one.files(), other.files()
    for name in ("units", "exemplars", "controls"):
        here, there = getattr(one, name), getattr(other, name)
        assert (here is None and there is None) or here.equals(there), name
    assert one.counts.keys() == other.counts.keys()
    for name, array in one.counts.items():
        there = other.counts[name]
        assert (array.dtype, array.tobytes()) == (there.dtype, there.tobytes()), name
    assert dict(one.strips) == dict(other.strips)
    assert one.groups == other.groups
    for name in one.info.keys() - {"created", "timings", "command"}:
        assert one.info[name] == other.info[name], name


def full_disk(monkeypatch, *, after):
    """Let the disk of the stores be full after so many writes."""
    left = [after]
    write = os.pwrite

    def pwrite(file, content, offset):
        left[0] -= 1
        if left[0] < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(file, content, offset)

    monkeypatch.setattr(os, "pwrite", pwrite)
