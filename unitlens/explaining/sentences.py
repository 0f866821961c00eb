"""Explanations in words, every clause with its number, from the values that were measured."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from unitlens.explaining.labelled_units import LabelledUnits
from unitlens.stats.scores import Floats

if TYPE_CHECKING:
    from unitlens.explaining.explanation import AblatedSet, Answer, Explanation

CONCEPTS = 3
"""A sentence names so many concepts at most."""

FIRST = 3
"""Of so many first units, those without a good label are named too."""

LEAST = 0.1
"""A clause is left out whose effect is smaller than this share of the largest."""

UNITS = 4
"""So many units of a concept are named."""


class Clause(NamedTuple):
    """What speaks for the class.

    Attributes
    ----------
    concept : str or None
        None: units without a good label.
    units : tuple of int
    logit_effect : float
        With these units ablated together; of units without a label, the sum of what each does alone.
    """

    concept: str | None
    units: tuple[int, ...]
    logit_effect: float

    def __str__(self) -> str:
        more = f" and {len(self.units) - UNITS} more" if len(self.units) > UNITS else ""
        units = ("unit " if len(self.units) == 1 else "units ") + ", ".join(map(str, self.units[:UNITS])) + more
        number = f"logit {self.logit_effect:+.2f}"
        if self.concept is None:
            return f"{units} without a good label ({number})"
        return f"{self.concept} ({units}; {number})"


def clauses(
    labelled: LabelledUnits, concepts: "Sequence[AblatedSet]", logit_effect: Floats, before: "Answer"
) -> list[Clause]:
    """What speaks for the class: up to three concepts, and the first units without a good label.

    Parameters
    ----------
    labelled : LabelledUnits
    concepts : sequence of AblatedSet
        Of each of its concepts.
    logit_effect : float64 array, (U,)
        Of each unit alone.
    before : Answer
    """
    found = []
    for concept, ablated in zip(labelled.concepts, concepts, strict=True):
        units = tuple(sorted(concept.units, key=lambda unit: (logit_effect[unit], unit)))
        found.append(Clause(concept.name, units, ablated.answer.logit - before.logit))
    found = sorted(found, key=lambda clause: clause.logit_effect)[:CONCEPTS]
    first = labelled.unlabelled(np.argsort(logit_effect, kind="stable")[:FIRST].tolist())
    if first:
        found.append(Clause(None, tuple(first), float(logit_effect[first].sum())))
    largest = min((clause.logit_effect for clause in found), default=0.0)
    return [clause for clause in found if clause.logit_effect < 0 and clause.logit_effect <= LEAST * largest]


def named_units(
    labelled: LabelledUnits, concepts: "Sequence[AblatedSet]", logit_effect: Floats, before: "Answer"
) -> tuple[int, ...]:
    """The units of all clauses."""
    of_clauses = (clause.units for clause in clauses(labelled, concepts, logit_effect, before))
    return tuple(sorted({unit for units in of_clauses for unit in units}))


def sentence(one: "Explanation", labelled: LabelledUnits, classes: Sequence[str]) -> str:
    """Say in one sentence why the network gave an image its class, or what speaks for the class that is followed."""
    found = clauses(labelled, one.concepts, one.logit_effect, one.before)
    said = f"{classes[one.explained]} ({one.before.probability:.2f})"
    if one.before.prediction != one.explained:
        said = f"{classes[one.before.prediction]} is predicted; for {said}"
    if not found or one.named is None:
        return f"{said}: no concept and none of the first units speaks for it."
    answer = one.named.answer
    after = (
        f"still {classes[answer.prediction]}"
        if answer.prediction == one.before.prediction
        else classes[answer.prediction]
    )
    if answer.prediction == one.explained:
        after += f" ({answer.probability:.2f})"
    return f"{said}: {', '.join(map(str, found))}; without them: {after}."
