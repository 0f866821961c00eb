"""Measurements that can be stopped at any image, and how to compare two."""

from contextlib import nullcontext, suppress
from dataclasses import dataclass, field, replace

import numpy as np

import unitlens as ul
from tests.worlds.small import Noise, classifier
from unitlens.ablation.experiment import Experiment
from unitlens.ablation.interventions import Replacement
from unitlens.ablation.work.kept import Kept
from unitlens.data.reading import Reading
from unitlens.dissection.store import folder as store_folder
from unitlens.processes import Processes

IMAGES = 22
NET = classifier()


class Stopping(Noise):
    """Noise whose images cannot be had from some index on: an error of any kind is raised there."""

    source = "noise"

    def __init__(self, images=IMAGES, *, at=None, error=KeyboardInterrupt, classless=(2, 9)):
        super().__init__(images, classless=classless)
        self.at, self.error, self.read = at, error, []

    def __getitem__(self, index):
        if self.at is not None and index >= self.at:
            raise self.error
        self.read.append(index)
        return super().__getitem__(index)


def experiment(data, kept, *, layers="first", value=0.0, batch_size=4):
    made = Experiment.of(
        NET,
        layers,
        data,
        replacement=Replacement(value),
        measures=["recall", "logit"],
        reading=Reading(batch_size=batch_size),
        seed=0,
    )
    return replace(made, kept=kept)


def commit_always(monkeypatch):
    """Commit after every batch, as if each took long."""
    monkeypatch.setattr(store_folder, "OFTEN", 0)
    monkeypatch.setattr(store_folder, "SHARE", 0)


def assert_same(one, other):
    """All that is saved of two measurements is the same, but for times."""
    assert one.sets == other.sets
    for name, array in one.tally.arrays().items():
        there = other.tally.arrays()[name]
        assert (array.dtype, array.tobytes()) == (there.dtype, there.tobytes()), name
    assert one.peaks.tobytes() == other.peaks.tobytes()
    for name in one.info.keys() - {"timings"}:
        assert one.info[name] == other.info[name], name
    assert one.settings == other.settings


def arrays_of(outcome_tally):
    return [np.asarray(part).tobytes() for part in (outcome_tally.images, outcome_tally.before, outcome_tally.after)]


@dataclass(frozen=True)
class OneAfterAnother(Processes):
    """Processes of a test: each runs when the one before is done, so that the last one has what all found."""

    found: list[object] = field(default_factory=list)

    def gather(self, value):
        self.found.append(value)
        return list(self.found)

    def of_first(self, value):
        return value

    def in_step(self):
        return nullcontext()


def measured_in_parts(data, count, sets, **options):
    """What the last of some processes has measured."""
    found = []
    for rank in range(count):
        kept = Kept(processes=OneAfterAnother(rank, count, found))
        with suppress(*[ul.UnitlensError] * (rank + 1 < count)):  # until then, nothing may have been measured
            made = experiment(data, kept, **options).measure(sets)
    return made
