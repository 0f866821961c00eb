"""Evidence for labels that came without it: how much more than chance they fit images that did not choose them."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from unitlens.labels.result import Labels
from unitlens.stats.chance import association
from unitlens.stats.scores import Bools, Floats, Ints

if TYPE_CHECKING:
    import pandas as pd

CHOSEN_ON: Mapping[str, tuple[bool, bool]] = {"other": (True, True), "even": (False, True), "these": (False, False)}
"""Whether the images of the even and of the odd folds are held out, by which images chose a method's labels."""


def held_out_halves(labels: Labels, method: str) -> tuple[bool, bool]:
    """Which halves of the folds are held out; none where a method says nothing of what chose its labels."""
    return CHOSEN_ON.get(str(labels.methods[method].settings.get("chosen_on")), CHOSEN_ON["these"])


def unweighed(rows: "pd.DataFrame") -> Bools:
    """Which labels have no evidence yet."""
    return np.asarray(rows["verdict"].isin(["untested", ""]) & rows["heldout_score"].isna(), bool)


def weighs_itself(labels: Labels, method: str, layer: str) -> bool:
    """Whether the labels of a layer by a method came with evidence of their own."""
    return not unweighed(labels.rows[(labels.rows["method"] == method) & (labels.rows["layer"] == layer)]).all()


def weigh(rows: "pd.DataFrame", some: Ints, held_out: Floats, drawn: Floats, silent: Bools, *, fdr: float) -> None:
    """Fill in evidence for labels of one method and layer that are scored alike.

    Parameters
    ----------
    rows : DataFrame
        Of labels.csv; those at ``some`` are changed.
    some : int64 array, (R,)
    held_out : float64 array, (R,)
        Scores on the images that did not choose the labels; NaN without any.
    drawn : float64 array, (R, draws)
        The same with the labels of other images.
    silent : bool array, (R,)
        Whether the unit has no activation that could be explained.
    fdr : float
        False discovery rate.
    """
    left_out = silent | ~np.isfinite(held_out)
    found = association(np.nan_to_num(held_out), np.nan_to_num(drawn), left_out, fdr=fdr)
    values: dict[str, Any] = {
        "heldout_score": held_out,
        "chance_score": found.chance,
        "chance_sd": found.chance_sd,
        "p_value": found.p_value,
        "q_value": found.q_value,
    }
    for name, column in values.items():
        rows.loc[some, name] = np.where(left_out, np.nan, column)
    supported = (found.q_value <= fdr) & (held_out > found.chance)
    tested = ~left_out & (drawn.shape[1] > 1)
    rows.loc[some, "verdict"] = np.where(~tested, "untested", np.where(supported, "supported", "chance"))
