"""The evidence for the formulas of one mask: chance, held-out images, and what a formula adds to its parts."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np

from unitlens.stats.folds import FEWEST_FOLDS, FoldTable, effective_half_width, iou_interval, jackknife_half_width
from unitlens.stats.formulas.formula import Formula
from unitlens.stats.formulas.parts import Gain, fold_counts, gain, is_trivial
from unitlens.stats.formulas.search import Found, SearchSettings, search
from unitlens.stats.formulas.signatures import Signatures
from unitlens.stats.formulas.spaces import Space
from unitlens.stats.scores import Floats, Ints

NEAR = 3
"""Formulas that are named beside the best one, at most."""


class Weighed(NamedTuple):
    """The best formulas of a mask of at most 1, 2, ... L concepts, and the evidence for them.

    Attributes
    ----------
    gains : tuple of Gain, (L,)
        The formulas, and the best part of each.
    bounds : float64 array, (L,)
        No formula of at most so many concepts has a higher IoU.
    tested : float64 array, (2, L)
        IoU and gain of the formulas that the beam alone finds, which are compared with draws that the beam searches.
    drawn : float64 array, (2, L, draws)
        The same with the labels of other images.
    low, high : float64 arrays, (L,)
        95 % interval of the IoU.
    heldout : float64 array, (L,)
        IoU on one half of the folds of the formula chosen on the other, both ways, averaged.
    heldout_gain, heldout_gain_low : float64 arrays, (L,)
        The same of the gain, and the lower end of its 95 % interval; NaN where there are too few folds.
    near : tuple of tuple of Formula, (L,)
        Other formulas whose difference in IoU to the best has an interval that contains 0.
    even : tuple of Formula or None, (L,)
        The formula that the even folds choose; None where the mask meets no concept there.
    """

    gains: tuple[Gain, ...]
    bounds: Floats
    tested: Floats
    drawn: Floats
    low: Floats
    high: Floats
    heldout: Floats
    heldout_gain: Floats
    heldout_gain_low: Floats
    near: tuple[tuple[Formula, ...], ...]
    even: tuple[Formula | None, ...]


@dataclass(frozen=True, eq=False)
class Weighing:
    """Searches the formulas of masks and weighs them.

    Attributes
    ----------
    signatures : Signatures
    settings : SearchSettings
    """

    signatures: Signatures
    settings: SearchSettings

    @cached_property
    def _beam(self) -> SearchSettings:
        return replace(self.settings, budget=0)

    @cached_property
    def _positions(self) -> Ints:
        """On all, the even and the odd folds, (3, S)."""
        by_fold = self.signatures.by_fold
        return np.stack([by_fold.sum(0), by_fold[::2].sum(0), by_fold[1::2].sum(0)])

    @cached_property
    def _spaces(self) -> list[list[Space]]:
        """On all, the even and the odd folds."""
        domains = list(self.signatures.domains(self.settings.length))
        return [[Space.of(self.signatures, domain, positions) for domain in domains] for positions in self._positions]

    def weigh(self, active: Ints, shifted: Ints) -> Weighed | None:
        """Find the formulas of a mask and the evidence for them.

        Parameters
        ----------
        active : int64 array, (32, S)
            The mask's positions of each signature by fold.
        shifted : int64 array, (draws, S)
            The same with the labels of other images.

        Returns
        -------
        Weighed or None
            None where the mask meets no concept.
        """
        total = active.sum(0)
        found = search(self._spaces[0], total, self.settings)
        if not found.by_length:
            return None
        by_beam = found if not self.settings.budget else search(self._spaces[0], total, self._beam)
        gains = self._gains(found, total, 0)
        tested = self._iou_and_gain(self._gains(by_beam, total, 0))
        drawn = [self._drawn(of_draw) for of_draw in shifted]
        halves = [self._on_half(active, half) for half in (0, 1)]
        low, high, near = self._intervals(active, gains, found)
        return Weighed(
            gains=tuple(gains),
            bounds=np.array([found.bounds.get(k, 0.0) for k in range(1, self.settings.length + 1)]),
            tested=tested,
            drawn=np.stack(drawn, 2) if drawn else np.zeros((2, self.settings.length, 0)),
            low=low,
            high=high,
            near=near,
            even=tuple(one.formula for one in halves[0]) if halves[0] else (None,) * self.settings.length,
            **self._heldout(active, halves),
        )

    def _gains(self, found: Found, active: Ints, which: int) -> list[Gain]:
        """The best formula of at most 1, 2, ... concepts, with its best part."""
        best: list[Gain] = []
        for length in range(1, self.settings.length + 1):
            of_length = found.by_length.get(length)
            if of_length is not None and (not best or of_length.iou > best[-1].iou):
                best.append(gain(self.signatures, of_length.formula, active, self._positions[which]))
            elif best:
                best.append(best[-1])
        # A mask that meets only pairs of kinds of categories has no single concept of its own.
        return [best[0]] * (self.settings.length - len(best)) + best

    def _drawn(self, active: Ints) -> Floats:
        found = search(self._spaces[0], active, self._beam)
        if not found.by_length:
            return np.zeros((2, self.settings.length))
        return self._iou_and_gain(self._gains(found, active, 0))

    @staticmethod
    def _iou_and_gain(gains: Sequence[Gain]) -> Floats:
        return np.array([[one.iou for one in gains], [one.gain for one in gains]])

    def _on_half(self, active: Ints, half: int) -> list[Gain] | None:
        """The formulas that one half of the folds chooses."""
        of_half = active[half::2].sum(0)
        found = search(self._spaces[1 + half], of_half, self._beam)
        return self._gains(found, of_half, 1 + half) if found.by_length else None

    def _intervals(
        self, active: Ints, gains: Sequence[Gain], found: Found
    ) -> tuple[Floats, Floats, tuple[tuple[Formula, ...], ...]]:
        """Intervals of the IoU of the best formulas, and formulas that fit as well."""
        best = [one.formula for one in gains]
        others = self._others(found, best)
        table = fold_counts(self.signatures, active, [*best, *others])
        filled, folds = table.judged > 0, len(table.folds)
        iou = table.overlap(np.ones(folds)).iou()[0]
        left_out = table.overlap(1.0 - np.eye(folds)).iou()[:, 0]
        number = len(best)
        low, high = iou_interval(iou[:number], left_out[:, :number], filled[:, :number])
        near = list[tuple[Formula, ...]]()
        for k, formula in enumerate(best):
            either = filled | filled[:, [k]]
            as_good = iou[k] - iou <= jackknife_half_width(left_out[:, [k]] - left_out, either)
            rivals = [other for other, rival in zip(others, as_good[number:], strict=True) if rival]
            near.append(tuple(other for other in rivals if other != formula and other.length <= k + 1)[:NEAR])
        return low, high, tuple(near)

    def _others(self, found: Found, best: Sequence[Formula]) -> list[Formula]:
        """The formulas that come next, without those that a part of them says as well."""
        out = list[Formula]()
        for candidate in found.near:
            formula = candidate.formula
            if formula not in out and not is_trivial(self.signatures, formula, self._positions[0]):
                out.append(formula)
            if len(out) >= 3 * NEAR + len(best):
                break
        return out

    def _heldout(self, active: Ints, halves: Sequence[list[Gain] | None]) -> dict[str, Floats]:
        """Held-out IoU and gain of the formulas of each length."""
        length = self.settings.length
        names = ("heldout", "heldout_gain", "heldout_gain_low")
        out = {name: np.full(length, np.nan) for name in names}
        if halves[0] is None or halves[1] is None:
            return out
        for k in range(length):
            chosen = [halves[0][k], halves[1][k]]
            table = fold_counts(
                self.signatures,
                active,
                [formula for one in chosen for formula in (one.formula, one.part)],
                [formula for one in chosen for formula in (one.formula, one.formula)],
            )
            out["heldout"][k], out["heldout_gain"][k], out["heldout_gain_low"][k] = _heldout(table)
        return out


def _heldout(table: FoldTable) -> tuple[float, float, float]:
    """Held-out IoU and gain, and the lower end of the gain's interval.

    The table has the formula chosen on the even folds, its part, and those chosen on the odd folds.
    """
    even = table.folds % 2 == 0
    if even.all() or not even.any():
        return np.nan, np.nan, np.nan
    iou, value, half_width, folds = 0.0, 0.0, 0.0, len(table.folds)
    squares = 0.0
    for scored, formula in ((~even, 0), (even, 2)):
        whole = table.overlap(scored.astype(np.float64)).iou()[0]
        iou += float(whole[formula]) / 2
        value += float(whole[formula] - whole[formula + 1]) / 2
        kept = scored.astype(np.float64) - np.eye(folds)[scored]
        left_out = table.overlap(kept).iou()[:, 0]
        of_fold = left_out[:, formula] - left_out[:, formula + 1]
        squares += float((effective_half_width(of_fold, np.ones(len(of_fold), bool)) / 2) ** 2)
    half_width = float(np.sqrt(squares))
    return iou, value, value - half_width if folds >= FEWEST_FOLDS else np.nan
