"""What the page searches units by: the words of a list, and the units that go most with each."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from unitlens.dissection.searching.unit_vectors import UnitVectors
from unitlens.pages.units.places import unit_id

MOST = 24
"""Units of each word that the page holds."""


def word_search(vectors: UnitVectors | None) -> Mapping[str, Any] | None:
    """What the script of the page takes, as JSON does: it has no encoder, and so knows the words of the list alone.

    Parameters
    ----------
    vectors : UnitVectors or None
        None where no words named the units.

    Returns
    -------
    mapping or None
        ``encoder``, ``words`` in lower case, ``cards`` (the addresses of units), and for each word in ``found`` the
        places of units among these and their scores in thousandths, by turns, the highest first.
    """
    if vectors is None:
        return None
    by_layer = vectors.scores(vectors.word_vectors)
    scores = np.concatenate(list(by_layer.values()))  # units of all layers x words
    # few of thousands of units are asked for: they alone are sorted
    first = np.sort(np.argpartition(-scores, min(MOST, len(scores)) - 1, axis=0)[:MOST], axis=0)
    order = np.argsort(-np.take_along_axis(scores, first, axis=0), axis=0, kind="stable")
    best = np.take_along_axis(first, order, axis=0).T
    thousandths = np.rint(1000 * scores).astype(int)
    return {
        "encoder": vectors.encoder,
        "words": [word.lower() for word in vectors.words],
        "cards": [unit_id(layer, unit) for layer, units in by_layer.items() for unit in range(len(units))],
        "found": [
            [int(number) for unit in units if thousandths[unit, word] > 0 for number in (unit, thousandths[unit, word])]
            for word, units in enumerate(best)
        ],
    }
