"""Counts of a classifier's predictions, untouched and under interventions, for each class; they add."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from unitlens.errors import UnitlensError
from unitlens.stats.scores import Floats, Ints

Folds = Literal["all", "even", "odd"]
"""Which images count: a choice by rank is made on the even folds and measured on the odd."""


@dataclass(frozen=True, eq=False)
class Tally:
    """Counts of right and wrong predictions, untouched and under interventions. They add.

    H = 2 halves: the images of even folds, and those of odd folds; S interventions; K classes (outputs). The predicted
    class is that of the largest output; *own* images of a class are those that are of it.

    Attributes
    ----------
    images : int64 array, (H, K)
        Own images.
    right : int64 array, (H, K)
        Own images for which the class is predicted, untouched.
    predicted : int64 array, (H, K)
        All images for which the class is predicted, untouched.
    gained, lost : int64 arrays, (H, S, K)
        Own images for which the class is predicted only under the intervention; only untouched.
    false_gained, false_lost : int64 arrays, (H, S, K)
        The same of images of other classes.
    sums : mapping of str to Sums
        Of outcomes that are not counts.
    """

    images: Ints
    right: Ints
    predicted: Ints
    gained: Ints
    lost: Ints
    false_gained: Ints
    false_lost: Ints
    sums: Mapping[str, "Sums"]

    @classmethod
    def start(cls, interventions: int, classes: int, outcomes: Iterable[str] = ()) -> "Tally":
        """Begin with no images."""
        few, many = (2, classes), (2, interventions, classes)
        counts = [np.zeros(few, np.int64) for _ in range(3)] + [np.zeros(many, np.int64) for _ in range(4)]
        sums = {name: Sums(*(np.zeros(shape) for shape in (few, many, many))) for name in outcomes}
        return cls._of(counts, sums)

    def __add__(self, other: "Tally") -> "Tally":
        added = [getattr(self, f.name) + getattr(other, f.name) for f in fields(self) if f.name != "sums"]
        return Tally._of(added, {name: sums.plus(other.sums[name]) for name, sums in self.sums.items()})

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Every array by its name; ``logit/change`` and the like for sums."""
        counts = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "sums"}
        return counts | {f"{name}/{part}": a for name, s in self.sums.items() for part, a in s._asdict().items()}

    @classmethod
    def of(cls, arrays: Mapping[str, npt.NDArray[Any]]) -> "Tally":
        """The reverse of `arrays`."""
        names = dict.fromkeys(name.rpartition("/")[0] for name in arrays if "/" in name)
        sums = {name: Sums(*(arrays[f"{name}/{part}"] for part in Sums._fields)) for name in names}
        return cls._of((arrays[f.name] for f in fields(cls) if f.name != "sums"), sums)

    @classmethod
    def _of(cls, counts: Iterable[Ints], sums: Mapping[str, "Sums"]) -> "Tally":
        values: list[Any] = [*counts, sums]
        return cls(**dict(zip((f.name for f in fields(cls)), values, strict=True)))

    def add_untouched(self, truth: Ints, predicted: Ints, odd: npt.NDArray[np.bool_]) -> None:
        """Count images without any intervention, each of (N,)."""
        half = odd.astype(np.int64)
        np.add.at(self.images, (half, truth), 1)
        np.add.at(self.predicted, (half, predicted), 1)
        right = truth == predicted
        np.add.at(self.right, (half[right], truth[right]), 1)

    def add_changes(self, first: int, truth: Ints, before: Ints, after: Ints, odd: npt.NDArray[np.bool_]) -> None:
        """Count where the prediction changes.

        Parameters
        ----------
        first : int
            The number of the first intervention of ``after``.
        truth, before : int64 arrays, (N,)
            The class that an image is of, and the one that is predicted untouched.
        after : int64 array, (interventions, N)
            What is predicted under each.
        odd : bool array, (N,)
            Whether it is of an odd fold.
        """
        which, image = np.nonzero(after != before)
        half, true = odd[image].astype(np.int64), truth[image]
        for class_, right, wrong in (
            (before[image], self.lost, self.false_lost),
            (after[which, image], self.gained, self.false_gained),
        ):
            for counts, chosen in ((right, class_ == true), (wrong, class_ != true)):
                np.add.at(counts, (half[chosen], which[chosen] + first, class_[chosen]), 1)

    def half(self, folds: Folds) -> "Counted":
        """The counts of all images, or of those of even or of odd folds."""
        if folds not in ("all", "even", "odd"):
            raise UnitlensError(f"Folds are 'all', 'even' or 'odd', not {folds!r}.")
        halves = {"all": [0, 1], "even": [0], "odd": [1]}[folds]
        counts = {f.name: getattr(self, f.name)[halves].sum(0) for f in fields(self) if f.name != "sums"}
        sums = {name: Sums(*(array[halves].sum(0) for array in arrays)) for name, arrays in self.sums.items()}
        return Counted(**counts, sums=sums)


class Sums(NamedTuple):
    """Sums of an outcome over own images, in float64, in the order of the images.

    Attributes
    ----------
    before : float64 array, (H, K)
        Untouched.
    change, squares : float64 arrays, (H, S, K)
        Of after - before, and of its square.
    """

    before: Floats
    change: Floats
    squares: Floats

    def plus(self, other: "Sums") -> "Sums":
        """The sums over the images of both; named so, as adding tuples joins them."""
        return Sums(*(mine + theirs for mine, theirs in zip(self, other, strict=True)))

    def add(self, first: int, truth: Ints, before: Floats, after: Floats, odd: npt.NDArray[np.bool_]) -> None:
        """Add images: ``before`` is (N,), ``after`` (interventions, N); the rest as for `Tally.add_changes`."""
        half, change = odd.astype(np.int64), after - before
        if first == 0:
            np.add.at(self.before, (half, truth), before)
        here = slice(first, first + len(after))
        for image, (h, k) in enumerate(zip(half, truth, strict=True)):
            self.change[h, here, k] += change[:, image]
            self.squares[h, here, k] += change[:, image] ** 2


class Counted(NamedTuple):
    """The counts of one half, or of both: as in `Tally`, without the dimension of halves."""

    images: Ints
    right: Ints
    predicted: Ints
    gained: Ints
    lost: Ints
    false_gained: Ints
    false_lost: Ints
    sums: Mapping[str, Sums]
