"""Detectors, unique concepts and best units of an entry, as means over its trainings."""

from typing import NamedTuple

import numpy as np

from unitlens.comparison.entries import Entry
from unitlens.stats.recounts import ConceptCounts, Interval, Recount, mean_recount, trainings_half_width
from unitlens.stats.scores import Bools, Floats


class CategoryNumbers(NamedTuple):
    """Numbers of an entry in one category, and how many concepts the category has."""

    detectors: Recount
    unique: Recount
    above: Recount
    concepts: int


class LayerNumbers(NamedTuple):
    """Units by concept in each training of an entry.

    Attributes
    ----------
    detectors, above : tuple of ConceptCounts
        Of detectors, and of all units above the least IoU.
    """

    detectors: tuple[ConceptCounts, ...]
    above: tuple[ConceptCounts, ...]

    def category(self, concepts: Bools) -> CategoryNumbers:
        """Sum over some concepts, (C,)."""
        return CategoryNumbers(
            detectors=mean_recount([counts.units(concepts) for counts in self.detectors]),
            unique=mean_recount([counts.unique_concepts(concepts) for counts in self.detectors]),
            above=mean_recount([counts.units(concepts) for counts in self.above]),
            concepts=int(concepts.sum()),
        )

    def by_concept(self) -> Floats:
        """Mean number of detectors of each concept, (C,)."""
        return np.asarray(np.mean([counts.whole for counts in self.detectors], axis=0))


def count_units(entry: Entry) -> LayerNumbers:
    """Count the units of an entry by concept."""
    detectors, above = (
        tuple(training.recount(detectors=chosen) for training in entry.trainings) for chosen in (True, False)
    )
    return LayerNumbers(detectors, above)


def count_units_on(entry: Entry, images: int) -> LayerNumbers:
    """Count the units of an entry as a run on fewer images would.

    How many units are significant grows with the number of images, and draws are not kept to test them again on fewer.
    So that two runs are compared at equal power, no unit is asked whether it is: all that have a concept count.

    Parameters
    ----------
    entry : Entry
    images : int
        As many as this, or all where the entry has fewer.
    """
    above = tuple(
        training.recount(detectors=False, share=min(images / training.images, 1.0)) for training in entry.trainings
    )
    return LayerNumbers(above, above)


def best_iou(entry: Entry, concept: int) -> Interval:
    """IoU of the best unit for a concept, with its interval; of several trainings the mean of their best units."""
    if not entry.others:
        return entry.best.interval(concept)
    return _interval(_best(entry, concept), half_width=_half_width(entry, concept))


def best_iou_difference(entry: Entry, concept: int, reference: Entry, column: int, *, paired: bool) -> Interval:
    """How much larger that is than in a reference, which has the concept in the given column."""
    if not entry.others and not reference.others:
        return entry.best.difference(concept, reference.best, column, paired=paired)
    here, there = _best(entry, concept), _best(reference, column)
    images = np.hypot(_images_half_width(entry, concept), _images_half_width(reference, column))
    half_width = float(np.hypot(images, trainings_half_width([here, there])))
    value = float(here.mean() - there.mean())
    return Interval(value, value - half_width, value + half_width)


def _best(entry: Entry, concept: int) -> Floats:
    """IoU of the best unit in each training, (runs,)."""
    return np.array([training.best.iou[concept] for training in entry.trainings])


def _interval(values: Floats, *, half_width: float) -> Interval:
    value = float(values.mean())
    return Interval(value, max(value - half_width, 0.0), min(value + half_width, 1.0))


def _half_width(entry: Entry, concept: int) -> float:
    return float(np.hypot(_images_half_width(entry, concept), trainings_half_width([_best(entry, concept)])))


def _images_half_width(entry: Entry, concept: int) -> float:
    """Half of the interval over other images: the mean of the trainings' own, as they may have seen the same images."""
    return float(np.mean([training.best.half_width(concept) for training in entry.trainings]))
