"""What a label means in the images of a run: where the concepts that it names are marked."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

from unitlens.dissection.result import Dissection
from unitlens.errors import did_you_mean
from unitlens.labels.footing.conditions import read_condition
from unitlens.stats.scores import Bools


class Meaning(Protocol):
    """What a label means: a condition on the concepts that are marked at a position."""

    @property
    def concepts(self) -> tuple[int, ...]:
        """Columns of the concepts of the run that it is about; it counts where the categories of all are judged."""
        ...

    def holds(self, there: Callable[[int], Bools], /) -> Bools:
        """Where it is true, from a function that says where a concept is there."""
        ...


@dataclass(frozen=True)
class OneConcept:
    """A label that is the name of a concept of the run.

    Attributes
    ----------
    concept : int
        Its column.
    """

    concept: int

    @property
    def concepts(self) -> tuple[int, ...]:
        """The one."""
        return (self.concept,)

    def holds(self, there: Callable[[int], Bools], /) -> Bools:
        """Where the concept is there."""
        return there(self.concept)


@dataclass(frozen=True, eq=False)
class ConceptNames:
    """The concepts of a run, to be found by what people write.

    A label is a concept if it is written as the run writes it (``tree``, or ``object/tree``). Else it is compared
    without case, with ``_`` and ``-`` as spaces, without an article in front, and in the singular. Where that is the
    name of several concepts, it is none of them.

    Attributes
    ----------
    names, pairs : tuple of str
        As the run writes them, and as category/name, in the order of the columns.
    """

    names: tuple[str, ...]
    pairs: tuple[str, ...]

    @classmethod
    def of(cls, run: Dissection) -> "ConceptNames":
        """Those of a run."""
        pairs = [f"{concept['category']}/{concept['name']}" for concept in run.info["data"]["concepts"]]
        return cls(tuple(run.concepts), tuple(pairs))

    @cached_property
    def _written(self) -> Mapping[str, int]:
        return {name: column for names in (self.pairs, self.names) for column, name in enumerate(names)}

    @cached_property
    def _alike(self) -> list[Mapping[str, set[int]]]:
        """Columns by their names as they are compared: as they are, then in each number that they may be in."""
        exact, numbers = dict[str, set[int]](), dict[str, set[int]]()
        for column, pair in enumerate(self.pairs):
            for text in (pair, pair.partition("/")[2]):
                exact.setdefault(plain(text), set()).add(column)
                for form in singulars(plain(text)):
                    numbers.setdefault(form, set()).add(column)
        return [exact, numbers]

    def find(self, label: str) -> int | None:
        """Column of the concept that a label names; None if there is none, or there are several."""
        if label in self._written:
            return self._written[label]
        exact, numbers = self._alike
        text = plain(label)
        found = exact.get(text) or set[int]().union(*(numbers.get(form, set()) for form in singulars(text)))
        return next(iter(found)) if len(found) == 1 else None

    def nearest(self, label: str) -> str:
        """Which concept may have been meant, in brackets behind a space; empty if none is near."""
        return did_you_mean(plain(label), self.names)


_ARTICLE = re.compile(r"^(a|an|the) (?=.)")


def plain(label: str) -> str:
    """A label without case, ``_``, ``-``, and an article in front.

    Examples
    --------
    >>> plain("The_Sky-Scrapers ")
    'sky scrapers'
    """
    return _ARTICLE.sub("", " ".join(label.casefold().replace("_", " ").replace("-", " ").split()))


def singulars(text: str) -> set[str]:
    """A name, and what it may be the plural of.

    Examples
    --------
    >>> sorted(singulars("horses")), sorted(singulars("skies")), sorted(singulars("grass"))
    (['hors', 'horse', 'horses'], ['skie', 'skies', 'sky'], ['grass'])
    """
    if text.endswith("ss") or not text.endswith("s"):
        return {text}
    if text.endswith("ies"):
        return {text, text[:-1], text[:-3] + "y"}
    return {text, text[:-1]} | ({text[:-2]} if text.endswith("es") else set())


def meanings_of(labels: Sequence[str], names: ConceptNames) -> dict[str, Meaning]:
    """What labels mean, as far as that is known: concepts of the run, and conditions on them."""
    found: dict[str, Meaning] = {}
    for label in dict.fromkeys(labels):
        column = names.find(label)
        meaning = read_condition(label, names.find) if column is None else OneConcept(column)
        if meaning is not None:
            found[label] = meaning
    return found


def unmatched_note(method: str, labels: Sequence[str], meanings: Mapping[str, Meaning], names: ConceptNames) -> str:
    """Say how many labels of a method are no concept of the run, and which may be meant; empty if all are."""
    missing = list(dict.fromkeys(label for label in labels if label not in meanings))
    if not missing:
        return ""
    listed = ", ".join(f"{label!r:.60}{names.nearest(label)}" for label in missing[:5])
    more = ", ..." if len(missing) > 5 else ""
    return (
        f"{len(missing)} of {len(set(labels))} labels by {method} are no concept of the run, so that there are no "
        f"masks to compare with their units: {listed}{more}."
    )
