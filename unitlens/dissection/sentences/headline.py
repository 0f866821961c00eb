"""What stands beside a number of detectors: what they were compared with, and whether the weights are random."""

from collections.abc import Mapping
from typing import Any

RANDOM_WEIGHTS = "The weights are random, so that nothing here was learnt"
"""Stands in front of every number of a network without trained weights."""


def has_random_weights(info: Mapping[str, Any]) -> bool:
    """Whether the network of a run was built without trained weights; a module that was given may be anything."""
    return bool(info["network"]["weights"] == "none")


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
        return f"{against}, and with an untrained copy, which has {copies[0]} detector{'' if copies[0] == 1 else 's'}"
    mean = sum(copies) / len(copies)
    return (
        f"{against}, and with {len(copies)} untrained copies, which have {min(copies)} to {max(copies)} detectors "
        f"(mean {mean:.1f})"
    )
