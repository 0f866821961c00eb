"""False discovery rates: of one family of tests, and of several layers in one table, each of which is a family."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from unitlens.stats.scores import Bools, Floats


class Families(NamedTuple):
    """What is significant where several layers are tested in one table.

    Attributes
    ----------
    selected : bool array, (layers,)
        Layers in which anything is significant, at the false discovery rate over layers.
    level : float
        The rate within each of them: that over layers, times the share of layers that are selected.
    """

    selected: Bools
    level: float


def false_discovery(p_value: Floats) -> Floats:
    """Benjamini and Hochberg's q-values, to the bit those of `scipy.stats.false_discovery_control`.

    That function is not called, as importing ``scipy.stats`` takes a second, in which 20 images could be looked at.

    Parameters
    ----------
    p_value : float64 array, (tests,)

    Returns
    -------
    float64 array, (tests,)

    References
    ----------
    Benjamini and Hochberg, "Controlling the false discovery rate", J. R. Statist. Soc. B 57 (1995).

    Examples
    --------
    >>> false_discovery(np.array([0.25, 0.01])).tolist()
    [0.25, 0.02]
    """
    tests, order = len(p_value), np.argsort(p_value)
    q_value = np.empty(tests)
    rising = p_value[order] * (tests / np.arange(1, tests + 1))
    q_value[order] = np.minimum.accumulate(rising[::-1])[::-1]
    return np.clip(q_value, 0.0, 1.0)


def over_layers(q_values: Sequence[Floats], *, fdr: float) -> Families:
    """Select layers, and the level for their units at which the rate holds on average over the selected layers.

    Parameters
    ----------
    q_values : sequence of float64 arrays, (U,)
        Benjamini and Hochberg's of each layer; NaN for units that take no part.
    fdr : float

    Returns
    -------
    Families

    Examples
    --------
    >>> over_layers([np.array([0.01, 0.03]), np.array([0.6, np.nan])], fdr=0.05)
    Families(selected=array([ True, False]), level=0.025)

    References
    ----------
    Benjamini and Bogomolov, "Selective inference on multiple families of hypotheses", J. R. Statist. Soc. B 76 (2014).
    """
    selected = _selected_from(q_values) <= fdr
    return Families(selected, fdr * float(selected.mean()))


def q_over_layers(q_values: Sequence[Floats]) -> list[Floats]:
    """Find the smallest rate over layers at which each unit is significant, as `over_layers` tests them.

    Parameters
    ----------
    q_values : sequence of float64 arrays, (U,)
        As for `over_layers`.

    Returns
    -------
    list of float64 arrays, (U,)
        In [0, 1], NaN for units that take no part; of a single layer its own q-values.

    Examples
    --------
    >>> [q.tolist() for q in q_over_layers([np.array([0.01, 0.03]), np.array([0.6, np.nan])])]
    [[0.02, 0.06], [0.6, nan]]
    """
    rate, layers = _selected_from(q_values), len(q_values)
    # From the k-th smallest of these rates on, k layers are selected, and units are tested at k / layers of the rate.
    from_k, k = np.sort(rate), np.arange(1, layers + 1)
    out = []
    for q_value, own in zip(q_values, rate, strict=True):
        tested = np.maximum(from_k, q_value[:, None] * (layers / k)).min(1)
        out.append(np.minimum(np.maximum(tested, own), np.where(np.isnan(q_value), np.nan, 1.0)))
    return out


def _selected_from(q_values: Sequence[Floats]) -> Floats:
    """Find the smallest rate over layers at which each layer is selected, (layers,)."""
    # Simes' p-value of a layer is the smallest q-value of its units.
    simes = np.array([np.nanmin(one) if np.isfinite(one).any() else 1.0 for one in q_values])
    return false_discovery(simes)
