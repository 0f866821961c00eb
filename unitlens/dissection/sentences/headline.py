"""What stands beside a number of detectors: what they were compared with, and whether the weights are random."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from unitlens.plurals import agreeing, counted

if TYPE_CHECKING:
    import pandas as pd

RANDOM_WEIGHTS = "The weights are random, so that nothing here was learnt"
"""Stands in front of every number of a network without trained weights."""


def has_random_weights(info: Mapping[str, Any]) -> bool:
    """Whether the network of a run was built without trained weights; a module that was given may be anything."""
    return bool(info["network"]["weights"] == "none")


def undecided_units(table: "pd.DataFrame") -> int:
    """Estimate how many units have the verdict context for want of images.

    Where units know their kind of image alone, their p-values are spread evenly over 0 to 1: there are twice as many of
    them as there are p-values above one half. The others may know more, but these images are too few to show it. They
    are somewhat fewer than estimated: units that are associated with their concepts at all tend to small p-values.

    Parameters
    ----------
    table : pandas.DataFrame
        Rows of units.csv.

    References
    ----------
    Storey, "A direct approach to false discovery rates", J. R. Statist. Soc. B 64 (2002).
    """
    p_value = table.loc[table["verdict"] == "context", "context_p"].astype(float)
    return max(len(p_value) - 2 * int((p_value > 0.5).sum()), 0)


def describe_context(table: "pd.DataFrame") -> str:
    """Say how many units go with their kind of image only, as far as these images tell; empty where none does."""
    units = int((table["verdict"] == "context").sum())
    if not units:
        return ""
    undecided = undecided_units(table)
    few = f", up to about {undecided} of them for want of images" if undecided else ""
    return f"{units:,} more {agreeing(units, 'goes', 'go')} with the kind of image only (context{few})"


def untrained_detectors(info: Mapping[str, Any]) -> list[int]:
    """Detectors of each untrained copy of a run, over its layers, in the order of the copies."""
    detectors: dict[str, int] = {}
    for row in info.get("comparison", ()):
        if str(row["network"]).partition(" ")[0] == "untrained":
            detectors[row["network"]] = detectors.get(row["network"], 0) + (row["detectors"] or 0)
    return list(detectors.values())


def describe_comparison(info: Mapping[str, Any], *, evidence: bool, hint: str) -> str:
    """Say what detectors were compared with.

    Parameters
    ----------
    info : mapping
        run.json, of one layer or several.
    evidence : bool
        Whether chance levels were computed.
    hint : str
        What to type for an untrained copy, where none was dissected.

    Examples
    --------
    >>> rows = [{"network": f"untrained seed {seed}", "detectors": 4 + seed} for seed in range(3)]
    >>> describe_comparison({"comparison": rows}, evidence=True, hint="--control untrained")
    'compared with the labels of other images, and with 3 untrained copies, which have 4 to 6 detectors (mean 5.0)'
    >>> describe_comparison({"comparison": []}, evidence=True, hint="--control untrained")
    'compared with the labels of other images, but with no untrained copy (--control untrained dissects one)'
    """
    if not evidence:
        return "compared with nothing: chance was not tested"
    against = "compared with the labels of other images"
    copies = untrained_detectors(info)
    if not copies:
        return f"{against}, but with no untrained copy ({hint} dissects one)"
    if len(copies) == 1:
        return f"{against}, and with an untrained copy, which has {counted(copies[0], 'detector')}"
    mean = sum(copies) / len(copies)
    return (
        f"{against}, and with {len(copies)} untrained copies, which have {min(copies)} to {max(copies)} detectors "
        f"(mean {mean:.1f})"
    )
