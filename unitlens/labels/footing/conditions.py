"""Labels that are conditions on several concepts, read from how they are written: ``(tree OR bush) AND NOT sky``."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from unitlens.stats.scores import Bools

_TOKEN = re.compile(r'\s*(?:(?P<sign>[()])|"(?P<quoted>[^"]*)"|(?P<word>[^()"]+?(?=\s+(?:AND|OR|NOT)\b|[()"]|$)))')

_OPERATOR = re.compile(r"\s*(AND|OR|NOT)\b")

_BINDS = {"NOT": 3, "AND": 2, "OR": 1, "(": 0}


@dataclass(frozen=True)
class Condition:
    """A condition on concepts.

    Attributes
    ----------
    steps : tuple of str or int
        Columns of concepts, and what is done with the one or two results before: ``NOT``, ``AND``, ``OR``.
    """

    steps: tuple[str | int, ...]

    @property
    def concepts(self) -> tuple[int, ...]:
        """Columns of all concepts."""
        return tuple(dict.fromkeys(step for step in self.steps if isinstance(step, int)))

    def holds(self, there: Callable[[int], Bools], /) -> Bools:
        """Where it is true, from a function that says where a concept is there."""
        results: list[Bools] = []
        for step in self.steps:
            if isinstance(step, int):
                results.append(there(step))
            elif step == "NOT":
                results.append(~results.pop())
            else:
                last = results.pop()
                results.append(results.pop() & last if step == "AND" else results.pop() | last)
        return np.asarray(results.pop(), bool)


def read_condition(text: str, find: Callable[[str], int | None]) -> Condition | None:
    """Read a condition; None where it is none, or a name in it is no concept.

    Parameters
    ----------
    text : str
        With AND, OR, NOT and brackets; names that hold one of these stand in quotation marks.
    find : callable
        The column of the concept that a name names, or None.

    Examples
    --------
    >>> read_condition("(sea OR sky) AND NOT boat", ["sea", "sky", "boat"].index).steps
    (0, 1, 'OR', 2, 'NOT', 'AND')
    """
    steps: list[str | int] = []
    waiting: list[str] = []
    operand_next = True
    for kind, token in _tokens(text):
        if kind == "name":
            column = find(token) if operand_next else None
            if column is None:
                return None
            steps.append(column)
            operand_next = False
        elif token in ("NOT", "("):
            if not operand_next:
                return None
            waiting.append(token)
        elif operand_next or not _reduce(steps, waiting, token):
            return None
        else:
            operand_next = token != ")"
    if operand_next or "(" in waiting:
        return None
    return Condition((*steps, *reversed(waiting)))


def _reduce(steps: list[str | int], waiting: list[str], token: str) -> bool:
    """Do what binds at least as strongly as an operator, or stands in the bracket that ends; False without it."""
    binds = 0 if token == ")" else _BINDS[token]
    while waiting and waiting[-1] != "(" and _BINDS[waiting[-1]] >= binds:
        steps.append(waiting.pop())
    if token != ")":
        waiting.append(token)
        return True
    if not waiting:
        return False
    waiting.pop()
    return True


def _tokens(text: str) -> Iterator[tuple[str, str]]:
    """Names, and operators and brackets, in their order; an empty name for what is neither."""
    place, text = 0, text.rstrip()
    while place < len(text):
        operator = _OPERATOR.match(text, place)
        if operator:
            yield "sign", operator[1]
            place = operator.end()
            continue
        found = _TOKEN.match(text, place)
        if found is None or found.end() == place:
            yield "name", ""
            return
        if found["sign"]:
            yield "sign", found["sign"]
        else:
            yield "name", (found["quoted"] if found["quoted"] is not None else found["word"]).strip()
        place = found.end()
