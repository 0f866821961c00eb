"""Counts of predictions while they grow; they add, so that others can go on with them or have counted a part."""

from collections.abc import Iterable
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt

from unitlens.ablation.responses.response import Arrays
from unitlens.ablation.tallies import HALVES, Sums, Tally
from unitlens.stats.exact_sums import ExactSums
from unitlens.stats.scores import Floats, Ints

_OF_IMAGES = ("images", "right", "predicted")
_OF_CHANGES = ("gained", "lost", "false_gained", "false_lost")
_CHANGES = Sums._fields[1:]


class PredictionTally:
    """Counts of S interventions and K classes, and sums of outcomes: those of a `Tally` that grows.

    Parameters
    ----------
    interventions, classes : int
    outcomes : iterable of str
        Names of those that are summed.
    rows : int
        See `Tally`.
    """

    def __init__(self, interventions: int, classes: int, outcomes: Iterable[str] = (), *, rows: int = HALVES) -> None:
        few, many = (rows, classes), (rows, interventions, classes)
        self._counts: dict[str, Ints] = {name: np.zeros(few, np.int64) for name in _OF_IMAGES}
        self._counts |= {name: np.zeros(many, np.int64) for name in _OF_CHANGES}
        self._outcomes = {name: _OutcomeSums(interventions, classes, rows) for name in outcomes}
        self.rows = rows

    def add_untouched(self, truth: Ints, predicted: Ints, folds: Ints) -> None:
        """Count images without any intervention, each of (N,)."""
        row, counts = folds % self.rows, self._counts
        np.add.at(counts["images"], (row, truth), 1)
        np.add.at(counts["predicted"], (row, predicted), 1)
        right = truth == predicted
        np.add.at(counts["right"], (row[right], truth[right]), 1)

    def add_changes(self, first: int, truth: Ints, before: Ints, after: Ints, folds: Ints) -> None:
        """Count where the prediction changes.

        Parameters
        ----------
        first : int
            The number of the first intervention of ``after``.
        truth, before : int64 arrays, (N,)
            The class that an image is of, and the one that is predicted untouched.
        after : int64 array, (interventions, N)
            What is predicted under each.
        folds : int64 array, (N,)
        """
        which, image = np.nonzero(after != before)
        row, true = folds[image] % self.rows, truth[image]
        for class_, right, wrong in (
            (before[image], "lost", "false_lost"),
            (after[which, image], "gained", "false_gained"),
        ):
            for name, chosen in ((right, class_ == true), (wrong, class_ != true)):
                np.add.at(self._counts[name], (row[chosen], which[chosen] + first, class_[chosen]), 1)

    def add_outcome(self, name: str, first: int, truth: Ints, before: Floats, after: Floats, folds: Ints) -> None:
        """Sum an outcome: ``before`` is (N,), ``after`` (interventions, N); the rest as for `add_changes`."""
        self._outcomes[name].add(first, folds % self.rows, truth, before, after)

    def tally(self) -> Tally:
        """What was counted so far."""
        sums = {name: summed.sums() for name, summed in self._outcomes.items()}
        return Tally(**self._counts, sums=sums)

    def state(self) -> dict[str, npt.NDArray[Any]]:
        """All that was counted, as arrays."""
        sums = (summed.state(name) for name, summed in self._outcomes.items())
        return self._counts | dict(chain.from_iterable(state.items() for state in sums))

    def merge(self, state: Arrays) -> None:
        """Add all that another one has counted, as its `state` says it."""
        for name, counts in self._counts.items():
            counts += state[name]
        for name, summed in self._outcomes.items():
            summed.merge(state, name)


class _OutcomeSums:
    """Sums of one outcome over own images of each class, by row."""

    def __init__(self, interventions: int, classes: int, rows: int) -> None:
        self._classes, self._rows = classes, rows
        self._before = ExactSums(rows * classes, (1,))
        self._changes = ExactSums(rows * classes, (len(_CHANGES), interventions))

    def add(self, first: int, rows: Ints, truth: Ints, before: Floats, after: Floats) -> None:
        cells, change = rows * self._classes + truth, (after - before).T
        if first == 0:
            self._before.add(cells, before[:, None])
        rise, fall = np.maximum(change, 0), np.maximum(-change, 0)
        self._changes.add(cells, np.stack([rise, fall, rise**2, fall**2], 1), first=first)

    def sums(self) -> Sums:
        before = self._before.sums().reshape(self._rows, self._classes)
        changes = self._changes.sums().reshape(self._rows, self._classes, len(_CHANGES), -1)
        parts = (np.ascontiguousarray(changes[:, :, part].swapaxes(1, 2)) for part in range(len(_CHANGES)))
        return Sums(before, *parts)

    def state(self, name: str) -> dict[str, npt.NDArray[Any]]:
        return self._before.state(f"{name}/before") | self._changes.state(f"{name}/changes")

    def merge(self, state: Arrays, name: str) -> None:
        self._before.merge(state, f"{name}/before")
        self._changes.merge(state, f"{name}/changes")
