"""Sums of the areas of concepts in drawn images, and what follows from them. They add."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from unitlens.stats.changes import mean_change
from unitlens.stats.folds import FEWEST_FOLDS, FOLDS, Folds, chosen_folds, effective_half_width
from unitlens.stats.scores import Floats, Ints, share

COUNTED = ("images", "present", "before", "change", "moved")
"""What an `AreaTally` sums over images."""


class AreaEstimate(NamedTuple):
    """Areas before and after, as shares of the image, paired per image; all (V, C).

    ``low`` and ``high`` are the 95 % interval of ``effect`` = ``after`` - ``before``, by the jackknife over folds;
    ``p_value`` is of the same approximation, two-sided. With fewer than 8 folds these are NaN.
    """

    before: Floats
    after: Floats
    effect: Floats
    low: Floats
    high: Floats
    p_value: Floats


@dataclass(frozen=True, eq=False)
class AreaTally:
    """Sums over images of the areas of C concepts, untouched and under V interventions, by fold. They add.

    Areas are whole numbers of positions, of which a concept's label maps have ``positions`` in every image.

    Attributes
    ----------
    positions : int64 array, (C,)
        In an image.
    images : int64 array, (32,)
        How many.
    present : int64 array, (32, C)
        Images in which the concept is, untouched.
    before : int64 array, (32, C)
        Summed areas, untouched.
    change : int64 array, (32, V, C)
        Summed after - before.
    moved : int64 array, (32, V)
        Summed absolute differences of the image's numbers, 0 to 255.
    numbers : int
        Numbers of an image: 3 x height x width.
    """

    positions: Ints
    images: Ints
    present: Ints
    before: Ints
    change: Ints
    moved: Ints
    numbers: int

    @classmethod
    def start(cls, positions: Ints, variants: int, numbers: int) -> "AreaTally":
        """Begin with no images."""
        of_images, of_variants = (FOLDS, len(positions)), (FOLDS, variants, len(positions))
        return cls(
            positions=positions,
            images=np.zeros(FOLDS, np.int64),
            present=np.zeros(of_images, np.int64),
            before=np.zeros(of_images, np.int64),
            change=np.zeros(of_variants, np.int64),
            moved=np.zeros(of_variants[:2], np.int64),
            numbers=numbers,
        )

    def __add__(self, other: "AreaTally") -> "AreaTally":
        """The sums over the images of both."""
        return replace(self, **{name: getattr(self, name) + getattr(other, name) for name in COUNTED})

    def only(self, variants: Sequence[int] | slice) -> "AreaTally":
        """That of some of the interventions."""
        return replace(self, change=self.change[:, variants], moved=self.moved[:, variants])

    def half(self, folds: Folds) -> "AreaTally":
        """That of the images of even or odd folds; of the others there are none."""
        kept = chosen_folds(folds)
        return replace(self, **{name: (getattr(self, name).T * kept).T for name in COUNTED})

    def estimate(self) -> AreaEstimate:
        """Areas before and after, and effects with their intervals."""
        effect, half_width, p_value = mean_change(self.change / self.positions, self.images)
        images = self.images.sum()
        before = np.broadcast_to(share(self.before.sum(0) / self.positions, images), effect.shape)
        return AreaEstimate(before, before + effect, effect, effect - half_width, effect + half_width, p_value)

    def removed(self) -> tuple[Floats, Floats, Floats]:
        """Share of each concept's area that is gone, with the ends of its 95 % interval, each (V, C); below 0 it grew.

        NaN where nothing is drawn of a concept.
        """
        left = self.before.sum(0) - self.before
        drawn = self.before.sum(0) > 0
        value = np.where(drawn, share(-self.change.sum(0), self.before.sum(0)), np.nan)
        left_out = share(self.change - self.change.sum(0), left[:, None])
        filled = np.broadcast_to((self.before > 0)[:, None], left_out.shape)
        half_width = effective_half_width(np.where(filled, left_out, 0.0), filled)
        half_width = np.where(filled.sum(0) >= FEWEST_FOLDS, half_width, np.nan)
        return value, value - half_width, value + half_width

    def distance(self) -> Floats:
        """How far images move: mean absolute difference of their numbers as a share of the whole range, (V,)."""
        return np.asarray(share(self.moved.sum(0), self.images.sum() * self.numbers * 255.0))


@dataclass(frozen=True, eq=False)
class Transitions:
    """Positions that show one thing untouched and another one under an intervention. They add.

    What a position shows, D things in all: one of the C concepts, or in each of K categories none of its concepts. Of a
    category with several planes, the first counts.

    Attributes
    ----------
    became : int64 array, (D, D)
        Positions of all images that show the first, and then the second.
    positions : int64 array, (D,)
        In an image.
    """

    became: Ints
    positions: Ints

    def __add__(self, other: "Transitions") -> "Transitions":
        """The sums over the images of both."""
        return Transitions(self.became + other.became, self.positions)

    def shares(self, images: int) -> Floats:
        """Mean share of the image that shows the one and then the other, (D, D)."""
        return np.asarray(share(self.became / self.positions[:, None], images))


class AreaCounts(NamedTuple):
    """What `Areas` counts: areas, and for the first intervention what became of each position, where that is asked."""

    tally: AreaTally
    transitions: Transitions | None
