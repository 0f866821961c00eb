"""What formulas and a mask have in common: intersections and areas of formulas that are extended by every concept."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from unitlens.stats.formulas.formula import Formula
from unitlens.stats.formulas.signatures import Domain, Signatures
from unitlens.stats.scores import Bools, Floats, Ints, share

if TYPE_CHECKING:
    from scipy.sparse import csr_array

_CACHED = 1 << 23
"""Numbers of areas that a space keeps for formulas it has met, 8 bytes each."""


class Met(NamedTuple):
    """How a formula, joined by AND with each of D concepts, meets a mask.

    Attributes
    ----------
    inside : int64 array, (..., D)
        Positions inside of the mask.
    outside : int64 array, (..., D)
        Positions outside of it.
    """

    inside: Ints
    outside: Ints

    def of(self, rows: "list[int] | Ints") -> "Met":
        """Some rows of it."""
        return Met(self.inside[rows], self.outside[rows])

    def at(self, row: Ints, concept: Ints) -> "Met":
        """Single entries of it, (n,)."""
        return Met(self.inside[row, concept], self.outside[row, concept])

    def each(self) -> "Met":
        """As a column, (n, 1), to go with every concept."""
        return Met(self.inside[:, None], self.outside[:, None])

    def plus(self, other: "Met") -> "Met":
        """Sums."""
        return Met(self.inside + other.inside, self.outside + other.outside)

    def minus(self, other: "Met") -> "Met":
        """Differences."""
        return Met(self.inside - other.inside, self.outside - other.outside)

    def score(self, active: int) -> Floats:
        """IoU with a mask of so many positions."""
        return share(self.inside, active + self.outside)


@dataclass(eq=False)
class Space:
    """The formulas of a domain, and how many positions they have: the same for all units and draws.

    Attributes
    ----------
    concepts : int64 array, (D,)
        Concepts of the domain that are anywhere in it, by their numbers among all.
    kind : int64 array, (D,)
        Place of each concept's kind of category in the domain.
    kinds : int
        Kinds in the domain, each of which a formula must use.
    index : int64 array, (S',)
        Signatures of the domain, by their numbers among all.
    has : sparse float64 array, (D, S')
    weight : float64 array, (S',)
        Positions of each.
    """

    concepts: Ints
    kind: Ints
    kinds: int
    index: Ints
    has: "csr_array"
    weight: Floats
    _areas: dict[Formula, Ints] = field(default_factory=dict)

    @classmethod
    def of(cls, signatures: Signatures, domain: Domain, weight: Ints) -> "Space":
        """The space of a domain, where signatures have so many positions, (S,)."""
        index = np.flatnonzero(domain.judged & (weight > 0))
        of_domain = np.isin(signatures.kinds[signatures.category_of], domain.kinds)
        positions = weight[index].astype(np.float64)
        has = signatures.has[:, index].astype(np.float64)
        concepts = np.flatnonzero(of_domain & (has @ positions > 0))
        kind = np.searchsorted(domain.kinds, signatures.kinds[signatures.category_of[concepts]])
        return cls(concepts, kind, len(domain.kinds), index, has[concepts], positions)

    def of_all(self, formula: Formula) -> Formula:
        """A formula of the space's own numbers in the numbers of all concepts."""
        steps = tuple((operator, int(self.concepts[concept])) for operator, concept in formula.steps)
        return Formula(int(self.concepts[formula.first]), steps)

    def is_trivial(self, formula: Formula) -> bool:
        """Whether a part of a formula, in the space's own numbers, is true at the same positions of the domain."""
        return formula.is_trivial(lambda concept: _row(self.has, concept))

    @cached_property
    def single(self) -> Ints:
        """Positions of each concept, (D,)."""
        return _whole(self.has @ self.weight)

    @cached_property
    def pairs(self) -> Ints:
        """Positions that any two concepts share, (D, D)."""
        return _shared(self.has, self.weight)

    def areas(self, formulas: Sequence[Formula]) -> Ints:
        """Positions of each formula that every concept shares, (formulas, D)."""
        new = [formula for formula in formulas if formula not in self._areas]
        if new:
            if len(self._areas) * len(self.concepts) > _CACHED:
                self._areas.clear()
            self._areas |= dict(zip(new, _extended(self.has, self.weight, new), strict=True))
        return np.stack([self._areas[formula] for formula in formulas])


class Target:
    """A mask, or its positions that have a signature of the space.

    Parameters
    ----------
    space : Space
    weight : int64 array, (S,)
        Its positions of each signature, of all of them.

    Attributes
    ----------
    space : Space
    active : int
        Its positions.
    single : Met
        How it meets each concept, (D,).
    pairs : Met
        And each two, (D, D).
    """

    def __init__(self, space: Space, weight: Ints) -> None:
        weight = weight[space.index]
        there = np.flatnonzero(weight)
        self.space = space
        self._has, self._weight = space.has[:, there], weight[there].astype(np.float64)
        self.active = int(self._weight.sum())
        single, pairs = _whole(self._has @ self._weight), _shared(self._has, self._weight)
        self.single = Met(single, space.single - single)
        self.pairs = Met(pairs, space.pairs - pairs)

    def extended(self, formulas: Sequence[Formula]) -> Met:
        """How formulas, joined by AND with every concept, meet the mask, (formulas, D)."""
        if all(not formula.steps for formula in formulas):
            return self.pairs.of([formula.first for formula in formulas])
        inside = _extended(self._has, self._weight, formulas)
        return Met(inside, self.space.areas(formulas) - inside)


def _extended(has: "csr_array", weight: Floats, formulas: Sequence[Formula]) -> Ints:
    """Sums of weights where formulas and each concept hold, (formulas, D)."""
    masks = np.stack([formula.holds(lambda concept: _row(has, concept)) for formula in formulas])
    return _whole((has @ (masks * weight).T).T)


def _shared(has: "csr_array", weight: Floats) -> Ints:
    """Sums of weights where two concepts hold, (D, D)."""
    from scipy.sparse import csr_array

    weighted = csr_array((has.data * weight[has.indices], has.indices, has.indptr), shape=has.shape)
    return _whole((weighted @ has.T).toarray())


def _row(has: "csr_array", concept: int) -> Bools:
    out = np.zeros(has.shape[1], bool)
    out[has.indices[has.indptr[concept] : has.indptr[concept + 1]]] = True
    return out


def _whole(sums: Floats) -> Ints:
    return np.rint(sums).astype(np.int64)
