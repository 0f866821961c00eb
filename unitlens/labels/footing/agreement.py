"""How far methods agree on the labels of units: in words, and in where these are."""

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from unitlens.dissection.store.passes import StoredPass
from unitlens.labels.footing.meanings import Meaning, plain
from unitlens.labels.footing.planes import overlaps
from unitlens.labels.result import Agreement, best_of_mask
from unitlens.stats.intervals import wilson
from unitlens.stats.scores import Floats

if TYPE_CHECKING:
    import pandas as pd

LabelPair = tuple[str, str]


def agreements(
    stored: StoredPass, rows: "pd.DataFrame", methods: Sequence[str], meanings: Mapping[str, Meaning]
) -> tuple[Agreement, ...]:
    """Compare every two methods on the units that both name, by the best label of each.

    Parameters
    ----------
    stored : StoredPass
    rows : DataFrame
        Of labels.csv.
    methods : sequence of str
    meanings : mapping of str to Meaning
    """
    best = best_of_mask(rows)
    labels = {
        method: dict(zip(zip(own["layer"], own["unit"], strict=True), own["label"], strict=True))
        for method, own in best.groupby("method", sort=False)
    }
    pairs = list(combinations([method for method in methods if method in labels], 2))
    both = {pair: _on_both(labels[pair[0]], labels[pair[1]]) for pair in pairs}
    jaccard = _jaccard(stored, [one for of_pair in both.values() for one in of_pair], meanings)
    return tuple(_agreement(pair, both[pair], meanings, jaccard) for pair in pairs if both[pair])


def _on_both(one: Mapping[tuple[str, int], str], other: Mapping[tuple[str, int], str]) -> list[tuple[str, LabelPair]]:
    """The layer of each unit that two methods name, and its two labels."""
    return [(unit[0], (label, other[unit])) for unit, label in one.items() if unit in other]


def _jaccard(
    stored: StoredPass, both: Sequence[tuple[str, LabelPair]], meanings: Mapping[str, Meaning]
) -> dict[tuple[str, LabelPair], float]:
    """Jaccard's index of all pairs of labels that mean something, each once."""
    found: dict[tuple[str, LabelPair], float] = {}
    for layer in dict.fromkeys(layer for layer, _ in both):
        pairs = list(dict.fromkeys(pair for of, pair in both if of == layer and _are_known(pair, meanings)))
        place = {label: number for number, label in enumerate(dict.fromkeys(label for pair in pairs for label in pair))}
        values = overlaps(
            stored,
            [meanings[label] for label in place],
            [(place[one], place[other]) for one, other in pairs],
            grid=stored.layers[layer].layer_grid is not None,
        )
        found |= {(layer, pair): float(value) for pair, value in zip(pairs, values, strict=True)}
    return found


def _agreement(
    methods: tuple[str, str],
    both: Sequence[tuple[str, LabelPair]],
    meanings: Mapping[str, Meaning],
    jaccard: Mapping[tuple[str, LabelPair], float],
) -> Agreement:
    equal = sum(_are_equal(pair, meanings) for _, pair in both)
    low, high = wilson(equal, len(both))
    known = np.array([jaccard[key] for key in both if np.isfinite(jaccard.get(key, np.nan))])
    mean, mean_low, mean_high = _mean(known)
    return Agreement(
        first=methods[0],
        second=methods[1],
        units=len(both),
        equal=equal / len(both),
        equal_low=low,
        equal_high=high,
        compared=len(known),
        overlap=mean,
        overlap_low=mean_low,
        overlap_high=mean_high,
    )


def _are_known(pair: LabelPair, meanings: Mapping[str, Meaning]) -> bool:
    return pair[0] in meanings and pair[1] in meanings


def _are_equal(pair: LabelPair, meanings: Mapping[str, Meaning]) -> bool:
    """Whether two labels mean the same concept, or are the same text but for case, ``_`` and an article."""
    if _are_known(pair, meanings):
        return meanings[pair[0]] == meanings[pair[1]]
    return plain(pair[0]) == plain(pair[1])


def _mean(values: Floats) -> tuple[float | None, float | None, float | None]:
    """A mean of numbers in [0, 1], and its 95 % interval by Student's t."""
    from scipy.special import stdtrit

    if not len(values):
        return None, None, None
    mean = float(values.mean())
    if len(values) < 2:
        return mean, None, None
    half_width = float(stdtrit(len(values) - 1, 0.975) * values.std(ddof=1) / np.sqrt(len(values)))
    return mean, max(mean - half_width, 0.0), min(mean + half_width, 1.0)
