"""Formulas of concepts: a concept, then AND, OR or AND NOT with one further concept after another."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np

from unitlens.stats.scores import Bools, Ints

Operator = Literal["AND", "OR", "AND NOT"]

OPERATORS: tuple[Operator, ...] = ("AND", "OR", "AND NOT")

_READS_AS_FORMULA = re.compile(r'\b(AND|OR|NOT)\b|[()"]')


@dataclass(frozen=True)
class Formula:
    """A formula of concepts, each of which stands in it once.

    Every step joins one concept to all that comes before it, as in the compositional explanations of Mu and Andreas
    (NeurIPS 2020): ``(a OR b) AND NOT c`` is a formula of this form, and ``(a AND b) OR (c AND d)`` is not.

    Attributes
    ----------
    first : int
        The first concept.
    steps : tuple of (operator, int)
        What follows: "AND", "OR" or "AND NOT", and a concept.

    Examples
    --------
    >>> formula = Formula(0).then("OR", 1).then("AND NOT", 2)
    >>> formula.written(["apple", "pear", "basket"])
    '(apple OR pear) AND NOT basket'
    """

    first: int
    steps: tuple[tuple[Operator, int], ...] = ()

    @property
    def concepts(self) -> tuple[int, ...]:
        """All concepts, in their order."""
        return (self.first, *(concept for _, concept in self.steps))

    @property
    def length(self) -> int:
        """How many concepts it has."""
        return 1 + len(self.steps)

    def then(self, operator: Operator, concept: int) -> "Formula":
        """The formula with one more step."""
        return Formula(self.first, (*self.steps, (operator, concept)))

    def written(self, names: Sequence[str]) -> str:
        """How it reads, with the names of concepts."""
        text, before = _quoted(names[self.first]), ""
        for operator, concept in self.steps:
            kind = _kind(operator)
            if before and kind != before:
                text = f"({text})"
            text, before = f"{text} {operator} {_quoted(names[concept])}", kind
        return text

    def holds(self, there: Callable[[int], Bools]) -> Bools:
        """Where it is true, from a function that says where a concept is there."""
        out = there(self.first)
        for operator, concept in self.steps:
            of_concept = there(concept)
            if operator == "AND":
                out = out & of_concept
            elif operator == "OR":
                out = out | of_concept
            else:
                out = out & ~of_concept
        return out

    def canonical(self) -> "Formula":
        """The same formula with steps that commute in one order: concepts rising, those that are negated last."""
        out: Formula | None = None
        for kind, positive, negated in self._runs():
            for concept in sorted(positive):
                out = Formula(concept) if out is None else out.then("OR" if kind == "or" else "AND", concept)
            for concept in sorted(negated):
                assert out is not None
                out = out.then("AND NOT", concept)
        assert out is not None
        return out

    def parts(self) -> Iterator["Formula"]:
        """All shorter formulas that remain where some of its concepts are left out, in their canonical order."""
        # In another order `a AND NOT b AND c` had no part without a.
        waiting = [self.canonical()]
        seen = set(waiting)
        while waiting:
            for shorter in map(Formula.canonical, waiting.pop()._without_one()):
                if shorter not in seen:
                    seen.add(shorter)
                    waiting.append(shorter)
                    yield shorter

    def is_trivial(self, there: Callable[[int], Bools]) -> bool:
        """Whether a part of it is true at the same positions, from a function that says where a concept is there."""
        there = cache(there)
        holds = self.holds(there)
        return any(np.array_equal(part.holds(there), holds) for part in self.parts())

    def _without_one(self) -> Iterator["Formula"]:
        for left_out in range(len(self.steps)):
            yield Formula(self.first, self.steps[:left_out] + self.steps[left_out + 1 :])
        if self.steps and self.steps[0][0] != "AND NOT":  # what is left of "a AND NOT b" without a has no beginning
            yield Formula(self.steps[0][1], self.steps[1:])

    def _runs(self) -> Iterator[tuple[str, list[int], list[int]]]:
        """Steps that commute with each other: their kind, and concepts as they are and negated."""
        kind, positive, negated = "", [self.first], list[int]()
        for operator, concept in self.steps:
            if kind and _kind(operator) != kind:
                yield kind, positive, negated
                positive, negated = [], []
            kind = _kind(operator)
            (negated if operator == "AND NOT" else positive).append(concept)
        yield kind, positive, negated


def next_above(last: Operator | None, concept: Ints, operator: Operator) -> Ints:
    """Above which number a concept may come next, so that every formula is made once, in its canonical order.

    Parameters
    ----------
    last : {"AND", "OR", "AND NOT"}, optional
        The last step of each formula; without it, a formula is its first concept.
    concept : int64 array
        The concept of that step.
    operator : {"AND", "OR", "AND NOT"}
        Of the next one.
    """
    if operator == last or (last is None and operator != "AND NOT"):
        return concept
    # In a conjunction negated concepts come last.
    none_may = operator == "AND" and last == "AND NOT"
    return np.full_like(concept, np.iinfo(concept.dtype).max if none_may else -1)


def _kind(operator: Operator) -> str:
    return "or" if operator == "OR" else "and"


def _quoted(name: str) -> str:
    """A name; in quotation marks where it could be read as a part of a formula."""
    return '"' + name.replace('"', "'") + '"' if _READS_AS_FORMULA.search(name) else name
