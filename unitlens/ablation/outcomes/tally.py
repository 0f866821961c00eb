"""Sums of outcomes over images, by fold, and what follows from them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from unitlens.stats.changes import Change, ratio_change
from unitlens.stats.folds import Folds, chosen_folds
from unitlens.stats.scores import Floats, Ints


@dataclass(frozen=True, eq=False)
class OutcomeTally:
    """Sums over images of M outcomes, untouched and under V interventions, by fold.

    Attributes
    ----------
    names : tuple of str, M
    images : int64 array, (32,)
        How many.
    before : float64 array, (32, M, 2)
        Summed values, and what they are parts of (images, unless the outcome says otherwise).
    after : float64 array, (32, V, M, 2)
        The same under each intervention.
    """

    names: tuple[str, ...]
    images: Ints
    before: Floats
    after: Floats

    def only(self, variants: Sequence[int] | slice) -> "OutcomeTally":
        """That of some of the interventions."""
        return replace(self, after=self.after[:, variants])

    def half(self, folds: Folds) -> "OutcomeTally":
        """That of the images of even or odd folds; of the others there are none."""
        kept = chosen_folds(folds)
        before, after = self.before * kept[:, None, None], self.after * kept[:, None, None, None]
        return OutcomeTally(self.names, self.images * kept, before, after)

    def change(self) -> Change:
        """Means before and after, and effects with their intervals, each (V, M)."""
        (value, of), (after, after_of) = (np.moveaxis(sums, -1, 0) for sums in (self.before, self.after))
        return ratio_change(value[:, None], of[:, None], after, after_of, self.images > 0)
