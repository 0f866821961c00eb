"""The formulas of highest IoU with a mask: by beam search, then proven by branch and bound."""

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from unitlens.stats.formulas.bounds import extensions, last_step_bound, rough_bound, shared_with
from unitlens.stats.formulas.formula import OPERATORS, Formula, Operator, next_above
from unitlens.stats.formulas.spaces import Met, Space, Target
from unitlens.stats.scores import Bools, Floats, Ints

_AT_ONCE = 1 << 19
"""Numbers in an intermediate array."""

_BOUNDED = 100
"""Formulas whose bound may be computed, for each that may be extended: with very many concepts, some stay open."""

_LOOKED_AT = 100
"""Formulas of which at least one should be more than its parts."""

_POPPED = 16
"""Formulas that are extended together, most promising first."""


@dataclass(frozen=True)
class SearchSettings:
    """How formulas are searched.

    Attributes
    ----------
    length : int
        Most concepts of a formula.
    beam : int
        Formulas of each length that are extended by every concept.
    budget : int
        Further formulas that may be extended to prove that none is better; 0 for none.
    """

    length: int = 3
    beam: int = 10
    budget: int = 1000


class Candidate(NamedTuple):
    """A formula and how it meets the mask.

    Attributes
    ----------
    formula : Formula
        In the numbers of all concepts.
    iou : float
    inside, outside : int
        Its positions inside and outside of the mask.
    """

    formula: Formula
    iou: float
    inside: int
    outside: int


@dataclass
class Found:
    """The best formulas of a mask.

    Attributes
    ----------
    by_length : dict of int to Candidate
        The best formula of each length that is no shorter one in disguise; lengths of which there is none are absent.
    bounds : dict of int to float
        Of at most so many concepts, no formula has a higher IoU: the highest that was found, where that is proven, and
        1 without a budget.
    near : list of Candidate
        The best ones that were met, best first.
    """

    by_length: dict[int, Candidate] = field(default_factory=dict)
    bounds: dict[int, float] = field(default_factory=dict)
    near: list[Candidate] = field(default_factory=list)

    @property
    def iou(self) -> float:
        """The highest IoU of all."""
        return self.iou_up_to(max(self.by_length, default=0))

    def iou_up_to(self, length: int) -> float:
        """The highest IoU of at most so many concepts."""
        return max((best.iou for known, best in self.by_length.items() if known <= length), default=0.0)

    def join(self, other: "Found") -> None:
        """Take in what was found in another domain."""
        for candidate in other.near:
            self.meet(candidate)
        for length, bound in other.bounds.items():
            self.bounds[length] = max(self.bounds.get(length, 0.0), bound)

    def meet(self, candidate: Candidate) -> None:
        """Take in a formula; of several that are as good, the first stays."""
        known = self.by_length.get(candidate.formula.length)
        if known is None or candidate.iou > known.iou:
            self.by_length[candidate.formula.length] = candidate
        self.near.append(candidate)


class _Nodes(NamedTuple):
    """Formulas in the numbers of a space, and how they meet the mask, (n,)."""

    formulas: list[Formula]
    met: Met

    def of(self, rows: Sequence[int] | Ints) -> "_Nodes":
        """Some of them."""
        return _Nodes([self.formulas[row] for row in rows], self.met.of(np.asarray(rows, np.int64)))


def search(spaces: Sequence[Space], weight: Ints, settings: SearchSettings) -> Found:
    """Find the formulas of highest IoU with a mask.

    Parameters
    ----------
    spaces : sequence of Space
        One for each domain.
    weight : int64 array, (S,)
        Positions of the mask by signature.
    settings : SearchSettings

    Returns
    -------
    Found
    """
    found = Found()
    for space in spaces:
        if len(space.concepts) and space.kinds <= settings.length:
            found.join(_Search(Target(space, weight), settings).run())
    found.near = sorted(found.near, key=lambda candidate: (-candidate.iou, candidate.formula.length))
    return found


class _Search:
    """The search in one space."""

    def __init__(self, target: Target, settings: SearchSettings) -> None:
        self._target, self._space, self._settings = target, target.space, settings
        self._numbers = np.arange(len(target.space.concepts))
        self._largest = Met(*(np.sort(side)[::-1] for side in target.single))
        self._found, self._budget = Found(), settings.budget
        self._to_bound, self._open = _BOUNDED * settings.budget, 0.0

    def run(self) -> Found:
        """Search by beam, and then prove or improve what it found, length by length."""
        singles = _Nodes([Formula(int(concept)) for concept in self._numbers], self._target.single)
        if not self._target.active:
            return self._found
        if self._space.kinds == 1:
            self._meet_best(singles)
        beam = singles
        for _ in range(1, self._settings.length):
            beam = self._extend(beam)
        possible = 0.0
        for length in range(1, self._settings.length + 1):
            if length > 2:  # of one and two concepts, all formulas were looked at
                possible = max(possible, self._prove(singles, length) if self._settings.budget else 1.0)
            self._found.bounds[length] = max(possible, self._found.iou_up_to(length))
        return self._found

    def _extend(self, beam: _Nodes) -> _Nodes:
        """Extend formulas by every concept, and return the best of the next length."""
        parts, complete = list[_Nodes](), list[_Nodes]()
        for block in self._blocks(beam):
            for children in self._children(block):
                parts.append(children.best(3 * self._settings.beam, self._target.active))
                if self._space.kinds > 1:  # those that do not use all kinds must not push out the ones that do
                    some = children.only(self._completes(block.formulas))
                    complete.append(some.best(3 * self._settings.beam, self._target.active))
        beam = self._different(parts)
        self._meet_best(self._different(complete) if complete else beam)
        return beam

    def _different(self, parts: Sequence[_Nodes]) -> _Nodes:
        """The best formulas of several, as many as the beam has, in their canonical order."""
        joined = _joined(parts)
        order = np.argsort(-joined.met.score(self._target.active), kind="stable")
        first: dict[Formula, int] = {}
        for row in order.tolist():
            first.setdefault(joined.formulas[row].canonical(), row)
        kept = joined.of(list(first.values())[: self._settings.beam])
        return _Nodes([formula.canonical() for formula in kept.formulas], kept.met)

    def _blocks(self, nodes: _Nodes) -> Iterator[_Nodes]:
        size = max(1, _AT_ONCE // max(len(self._numbers), 1))
        for start in range(0, len(nodes.formulas), size):
            yield nodes.of(range(start, min(start + size, len(nodes.formulas))))

    def _children(self, nodes: _Nodes) -> Iterator["_Children"]:
        """All formulas with one more step, by operator."""
        extended, formula = self._target.extended(nodes.formulas), nodes.met.each()
        for operator in OPERATORS:
            met = extensions(formula, extended, self._target.single, operator)
            yield _Children(nodes, extended, met, operator, self._is_new(nodes, met, operator))

    def _is_new(self, nodes: _Nodes, met: Met, operator: Operator) -> Bools:
        """Which steps lead to a formula that is worth looking at, and that is neither its parent nor the concept alone.

        What does not meet the mask, and all that is made of it, is no better than the steps that follow alone. These
        count on the same positions only where they use all kinds, too.
        """
        single, parent = self._target.single, nodes.met
        new = (met.inside != parent.inside[:, None]) | (met.outside != parent.outside[:, None])
        if operator != "AND NOT":
            new &= (met.inside != single.inside) | (met.outside != single.outside)
        new &= (met.inside > 0) | ((met.outside > 0) & (self._space.kinds > 1))
        np.put_along_axis(new, np.array([formula.concepts for formula in nodes.formulas]), False, 1)
        return np.asarray(new)

    def _meet_best(self, nodes: _Nodes) -> None:
        """Take in the best of some formulas that use all kinds of the space."""
        score = nodes.met.score(self._target.active)
        for row in np.argsort(-score, kind="stable")[: self._settings.beam].tolist():
            if score[row] > 0:
                self._meet(nodes, row, float(score[row]))

    def _meet(self, nodes: _Nodes, row: int, score: float) -> bool:
        """Take in a formula, unless it would be the best of its length and a part of it says as much."""
        formula, known = nodes.formulas[row], self._found.by_length.get(nodes.formulas[row].length)
        # Of two concepts none is made that one of them says.
        if formula.length > 2 and (known is None or score > known.iou) and self._space.is_trivial(formula):
            return False
        inside, outside = int(nodes.met.inside[row]), int(nodes.met.outside[row])
        self._found.meet(Candidate(self._space.of_all(formula), score, inside, outside))
        return True

    def _meet_first(self, children: "_Children") -> None:
        """Take in the best formula that is more than its parts; where none is among the first, what follows is open."""
        best = children.best(_LOOKED_AT, self._target.active)
        score = best.met.score(self._target.active)
        met = any(self._meet(best, row, float(score[row])) for row in range(len(score)))
        if not met and len(score) == _LOOKED_AT:
            self._open = max(self._open, float(score[-1]))

    def _completes(self, formulas: Sequence[Formula]) -> Bools:
        """With which further concept formulas of one length use all kinds of the space, (n, D)."""
        kind = self._space.kind
        used = np.zeros((len(formulas), self._space.kinds), bool)
        np.put_along_axis(used, kind[[formula.concepts for formula in formulas]], True, 1)
        missing = (~used).sum(1)[:, None]
        return np.asarray((missing == 0) | ((missing == 1) & ~used[:, kind]))

    def _prove(self, singles: _Nodes, length: int) -> float:
        """Extend all formulas of which one of so many concepts could be better than the best, most promising first.

        Returns the highest IoU that is then still possible.
        """
        waiting: list[tuple[float, int, Formula, int, int]] = []
        counter = 0
        nodes: _Nodes | None = singles
        while nodes is not None:
            for block in self._blocks(nodes):
                for children in self._children(block):
                    if len(block.formulas[0].steps) + 2 == length:
                        self._meet_first(children.only(self._completes(block.formulas)))
                        continue
                    for bound, child in self._promising(children, length):
                        counter += 1
                        heapq.heappush(waiting, (-bound, counter, child[0], child[1], child[2]))
            nodes = self._popped(waiting, self._found.iou_up_to(length))
        return max(self._open, -waiting[0][0] if waiting else 0.0)

    def _popped(self, waiting: list[tuple[float, int, Formula, int, int]], highest: float) -> _Nodes | None:
        """The most promising formulas of one length that may still be extended, to exceed the highest IoU so far."""
        chosen = list[tuple[Formula, int, int]]()
        while waiting and len(chosen) < _POPPED and -waiting[0][0] > highest and self._budget > 0:
            if chosen and waiting[0][2].length != chosen[0][0].length:
                break
            chosen.append(heapq.heappop(waiting)[2:])
            self._budget -= 1
        if not chosen:
            if waiting and -waiting[0][0] <= highest:
                waiting.clear()
            return None
        formulas, inside, outside = zip(*chosen, strict=True)
        return _Nodes(list(formulas), Met(np.array(inside), np.array(outside)))

    def _promising(self, children: "_Children", length: int) -> Iterator[tuple[float, tuple[Formula, int, int]]]:
        """Formulas of which one of so many concepts could be better than the best that was found, and its bound."""
        nodes, operator, target = children.nodes, children.operator, self._target
        steps, highest = length - nodes.formulas[0].length - 1, self._found.iou_up_to(length)
        rough = rough_bound(children.met, self._largest, target.active, steps)
        possible = (rough > highest) & children.new & self._in_order(nodes, operator)
        rows, concepts = np.nonzero(self._most_promising(rough, possible) if steps == 1 else possible)
        for start in range(0, len(rows), max(1, _AT_ONCE // len(self._numbers))):
            stop = start + max(1, _AT_ONCE // len(self._numbers))
            row, concept = rows[start:stop], concepts[start:stop]
            met, bound = children.met.at(row, concept), rough[row, concept]
            if steps == 1:
                bound = np.minimum(bound, self._last_step(children, row, concept, met))
            for k in np.flatnonzero(bound > highest).tolist():
                formula = nodes.formulas[row[k]].then(operator, int(concept[k]))
                yield float(bound[k]), (formula, int(met.inside[k]), int(met.outside[k]))

    def _most_promising(self, rough: Floats, possible: Bools) -> Bools:
        """As many of the formulas that are possible as may still be bounded; what the others could reach stays open."""
        count = int(possible.sum())
        if count > self._to_bound:
            rank = np.argsort(np.where(possible, -rough, np.inf), axis=None, kind="stable")
            self._open = max(self._open, float(rough.flat[rank[self._to_bound]]))
            possible = np.zeros_like(possible)
            possible.flat[rank[: self._to_bound]] = True
            count = self._to_bound
        self._to_bound -= count
        return possible

    def _in_order(self, nodes: _Nodes, operator: Operator) -> Bools:
        """Which concepts may come next in the canonical order, (n, D)."""
        above = np.zeros(len(nodes.formulas), np.int64)
        for row, formula in enumerate(nodes.formulas):
            last = formula.steps[-1][0] if formula.steps else None
            above[row] = next_above(last, np.array(formula.concepts[-1:]), operator)[0]
        in_order: Bools = self._numbers > above[:, None]
        return in_order

    def _last_step(self, children: "_Children", row: Ints, concept: Ints, met: Met) -> Floats:
        """Bounds of the IoU of formulas with one more step."""
        target = self._target
        joined = met.each()
        low, high = shared_with(
            children.nodes.met.of(row).each(),
            children.extended.of(row),
            target.single.of(concept).each(),
            target.pairs.of(concept),
            joined,
            target.single,
            children.operator,
        )
        used = np.array([formula.concepts for formula in children.nodes.formulas])[row]
        free = np.ones(low.inside.shape, bool)
        np.put_along_axis(free, np.column_stack([used, concept]), False, 1)
        allowed = {
            operator: free & (self._numbers > next_above(children.operator, concept, operator)[:, None])
            for operator in OPERATORS
        }
        return last_step_bound(joined, low, high, target.single, target.active, allowed)


class _Children(NamedTuple):
    """Formulas with one more step by an operator, (n, D).

    Attributes
    ----------
    nodes : _Nodes
        Without it.
    extended : Met
        What each shares with every concept.
    met : Met
        How those with the step meet the mask.
    operator : str
    new : bool array
        Whether it is worth looking at.
    """

    nodes: _Nodes
    extended: Met
    met: Met
    operator: Operator
    new: Bools

    def only(self, some: Bools) -> "_Children":
        """Some of them."""
        return self._replace(new=self.new & some)

    def best(self, count: int, active: int) -> _Nodes:
        """So many of highest IoU."""
        score = np.where(self.new, self.met.score(active), 0.0).ravel()
        count = min(count, int((score > 0).sum()))
        chosen = np.argpartition(-score, count - 1)[:count] if count else np.zeros(0, np.int64)
        chosen = chosen[np.argsort(-score[chosen], kind="stable")]
        row, concept = np.divmod(chosen, self.new.shape[1])
        made = [self.nodes.formulas[r].then(self.operator, int(c)) for r, c in zip(row, concept, strict=True)]
        return _Nodes(made, self.met.at(row, concept))


def _joined(parts: Sequence[_Nodes]) -> _Nodes:
    nothing = np.zeros(0, np.int64)
    inside, outside = (np.concatenate([nothing, *(part.met[side] for part in parts)]) for side in (0, 1))
    return _Nodes([formula for part in parts for formula in part.formulas], Met(inside, outside))
