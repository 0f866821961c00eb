"""Signatures: what can be marked at a position, all planes together; any formula's counts are sums over them.

Data sets mark millions of positions, with few distinct combinations of labels. With the number of positions of each
combination, and of a unit's active ones, the counts of a formula need no masks: they are sums over the combinations
for which it is true. They are as exact, and add over images just so.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from unitlens.stats.formulas.formula import Formula
from unitlens.stats.scores import Bools, Ints

if TYPE_CHECKING:
    from scipy.sparse import csr_array


@dataclass(frozen=True, eq=False)
class Signatures:
    """S combinations of labels.

    Attributes
    ----------
    has : sparse bool array, (C, S)
        Which concepts each of them holds.
    judged : bool array, (S, K)
        For which categories it is judged.
    category_of : int64 array, (C,)
        Category of each concept.
    by_fold : int64 array, (32, S)
        Positions that have the signature, by fold.
    """

    has: "csr_array"
    judged: Bools
    category_of: Ints
    by_fold: Ints

    @classmethod
    def of(cls, columns: Bools, category_of: Ints, by_fold: Ints) -> "Signatures":
        """Signatures as rows of the columns of counts, (S, 1 + C + K): none, the concepts, what is not judged."""
        from scipy.sparse import csr_array

        first_category = 1 + len(category_of)
        has = csr_array(columns[:, 1:first_category].T)
        return cls(has, ~columns[:, first_category:].astype(bool), category_of, by_fold)

    @cached_property
    def kinds(self) -> Ints:
        """A number for each category, (K,): the same for categories that are judged at the same positions."""
        _, kinds = np.unique(self.judged, axis=1, return_inverse=True)
        return np.asarray(kinds, np.int64).reshape(-1)

    def there(self, concept: int) -> Bools:
        """Where a concept is there, (S,)."""
        out = np.zeros(self.has.shape[1], bool)
        out[self.has.indices[self.has.indptr[concept] : self.has.indptr[concept + 1]]] = True
        return out

    def counted(self, formula: Formula) -> Bools:
        """Where a formula counts, (S,): where the categories of all of its concepts are judged."""
        return np.asarray(self.judged[:, self.category_of[list(formula.concepts)]].all(1))

    def domains(self, length: int) -> Iterator["Domain"]:
        """Sets of kinds of categories that formulas of so many concepts may use, and the positions judged for them."""
        kinds, first = np.unique(self.kinds, return_index=True)
        for size in range(1, min(length, len(kinds)) + 1):
            for chosen in combinations(range(len(kinds)), size):
                judged = np.asarray(self.judged[:, first[list(chosen)]].all(1))
                if judged.any():
                    yield Domain(tuple(int(kinds[kind]) for kind in chosen), judged)


@dataclass(frozen=True, eq=False)
class Domain:
    """Formulas over some kinds of categories, each of which they use.

    Attributes
    ----------
    kinds : tuple of int
    judged : bool array, (S,)
        Signatures that are judged for all of them.
    """

    kinds: tuple[int, ...]
    judged: npt.NDArray[np.bool_]
