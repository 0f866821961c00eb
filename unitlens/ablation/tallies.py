"""Counts of a classifier's predictions, untouched and under interventions, for each class."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from unitlens.errors import UnitlensError
from unitlens.stats.design_effects import INDEPENDENT, UNKNOWN, DesignEffects, design_effects
from unitlens.stats.folds import FEWEST_FOLDS, Folds
from unitlens.stats.scores import Floats, Ints, share

HALVES = 2
"""Rows of the counts of images that are all their own group: those of even folds, and those of odd folds."""

BY_FOLD = (32, 16, 8)
"""Rows of the counts of images that have groups: as many as `MEMORY` allows, and 8 at least."""

MEMORY = 2**30
"""Bytes that counts by fold may take."""

HALF_ROWS: Mapping[str, slice] = {"all": slice(None), "even": slice(0, None, 2), "odd": slice(1, None, 2)}
"""Rows of the counts of these images."""


@dataclass(frozen=True, eq=False)
class Tally:
    """Counts of right and wrong predictions, untouched and under interventions.

    S interventions; K classes (outputs). The predicted class is that of the largest output; *own* images of a class are
    those that are of it. An image counts in row *fold modulo R* of R rows: with R = 2 rows these are the images of even
    folds, and those of odd folds. More rows say how alike images of one group are, which lie in one fold.

    Attributes
    ----------
    images : int64 array, (R, K)
        Own images.
    right : int64 array, (R, K)
        Own images for which the class is predicted, untouched.
    predicted : int64 array, (R, K)
        All images for which the class is predicted, untouched.
    gained, lost : int64 arrays, (R, S, K)
        Own images for which the class is predicted only under the intervention; only untouched.
    false_gained, false_lost : int64 arrays, (R, S, K)
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

    @property
    def rows(self) -> int:
        """How many rows the counts have."""
        return len(self.images)

    @property
    def grouped(self) -> bool:
        """Whether images that belong together are told apart, by fold."""
        return self.rows > HALVES

    def half(self, folds: Folds) -> "Counted":
        """The counts of all images, or of those of even or of odd folds."""
        if folds not in HALF_ROWS:
            raise UnitlensError(f"Folds are 'all', 'even' or 'odd', not {folds!r}.")
        chosen = {name: array[HALF_ROWS[folds]] for name, array in self.arrays().items()}
        part, grouped = Tally.of(chosen), self.grouped
        counts = {f.name: getattr(part, f.name).sum(0) for f in fields(self) if f.name != "sums"}
        sums = {name: summed.counted(part.images, grouped=grouped) for name, summed in part.sums.items()}
        return Counted(**counts, sums=sums, design=_design(part) if grouped else DesignEffects())


def row_count(interventions: int, classes: int, outcomes: int, *, grouped: bool) -> int:
    """Return how many rows counts have: by half; of images that have groups by fold, or by 2 or 4 folds joined.

    Examples
    --------
    >>> row_count(512, 12, 1, grouped=False), row_count(512, 12, 1, grouped=True)
    (2, 32)
    >>> row_count(2048, 1000, 1, grouped=True)
    8
    """
    if not grouped:
        return HALVES
    each = 8 * (4 + 4 * outcomes) * interventions * classes
    return next((rows for rows in BY_FOLD if rows * each <= MEMORY), BY_FOLD[-1])


def fills_enough(images: Ints) -> bool:
    """Whether images by fold, (F, K), fill enough folds for intervals: 8, or three quarters where there are few."""
    return int(images.any(1).sum()) >= min(FEWEST_FOLDS, 3 * len(images) // 4)


def _design(tally: Tally) -> DesignEffects:
    """Design effects of counts by fold."""
    if not fills_enough(tally.images):
        return DesignEffects(UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN)
    own, others = tally.gained - tally.lost, tally.false_gained - tally.false_lost
    own_squares, other_squares = ((a + b).sum(0) for a, b in _changed(tally))
    images, each = tally.images, np.broadcast_to(tally.images.sum(1, keepdims=True), tally.images.shape)
    one = np.ones(())
    return DesignEffects(
        own=design_effects(own, own_squares, images, one),
        others=design_effects(others, other_squares, each - images, one),
        all_images=design_effects(own - others, own_squares + other_squares, each, one),
        overall=design_effects(own.sum(2, keepdims=True), own_squares.sum(1, keepdims=True), each[:, :1], one)[:, 0],
    )


def _changed(tally: Tally) -> tuple[tuple[Ints, Ints], ...]:
    return (tally.gained, tally.lost), (tally.false_gained, tally.false_lost)


class Sums(NamedTuple):
    """Exact sums of an outcome over own images, each rounded once.

    Attributes
    ----------
    before : float64 array, (R, K)
        Untouched.
    rise, fall : float64 arrays, (R, S, K)
        Of after - before where it is above 0; of before - after where that is.
    rise_squares, fall_squares : float64 arrays, (R, S, K)
        Of their squares.
    """

    before: Floats
    rise: Floats
    fall: Floats
    rise_squares: Floats
    fall_squares: Floats

    def counted(self, images: Ints, *, grouped: bool) -> "CountedSums":
        """Sum the rows, with the design effects of images (R, K) where they have groups."""
        total = Sums(*(array.sum(0) for array in self))
        made = CountedSums(*total, INDEPENDENT, INDEPENDENT)
        if not grouped:
            return made
        if not fills_enough(images):
            return made._replace(design=UNKNOWN, overall_design=UNKNOWN)
        change, squares = self.rise - self.fall, total.rise_squares + total.fall_squares
        return made._replace(
            design=design_effects(change, squares, images, made.size()),
            overall_design=design_effects(
                change.sum(2, keepdims=True), squares.sum(1, keepdims=True), images.sum(1, keepdims=True), made.size()
            )[:, 0],
        )


class CountedSums(NamedTuple):
    """The sums of one half, or of both: as in `Sums`, without the dimension of rows.

    Attributes
    ----------
    design : float64 array, broadcasting to (S, K)
        Design effects of the classes' means.
    overall_design : float64 array, broadcasting to (S,)
        Of the mean over all images.
    """

    before: Floats
    rise: Floats
    fall: Floats
    rise_squares: Floats
    fall_squares: Floats
    design: Floats
    overall_design: Floats

    def size(self) -> Floats:
        """How large a change typically is, (S, 1): by intervention; where one changed nothing, by all together."""
        squares = (self.rise_squares + self.fall_squares).sum(1, keepdims=True)
        changes = (self.rise + self.fall).sum(1, keepdims=True)
        return np.where(changes > 0, share(squares, changes), share(squares.sum(), changes.sum()))


class Counted(NamedTuple):
    """The counts of one half, or of both: as in `Tally`, without the dimension of rows; and their design effects."""

    images: Ints
    right: Ints
    predicted: Ints
    gained: Ints
    lost: Ints
    false_gained: Ints
    false_lost: Ints
    sums: Mapping[str, CountedSums]
    design: DesignEffects = DesignEffects()
