"""What may be chosen of formulas and ranges."""

from dataclasses import asdict
from typing import Any, Literal, NamedTuple, get_args

from unitlens.errors import UnitlensError, argument, did_you_mean
from unitlens.stats.formulas.search import SearchSettings

RangesBy = Literal["quantiles", "clusters"]

MOST_RANGES = 100
"""Of a unit."""

LONGEST = 6
"""Concepts of a formula, at most."""


class RangeSettings(NamedTuple):
    """Which ranges are named: k of a unit, by quantiles or clusters, and how the formulas of each are searched."""

    k: int
    by: RangesBy
    search: SearchSettings


def recorded_settings(asked: SearchSettings | RangeSettings) -> dict[str, Any]:
    """The settings of formulas or ranges as labels.json has them."""
    if isinstance(asked, SearchSettings):
        return asdict(asked)
    return {**asdict(asked.search), "k": asked.k, "by": asked.by}


def range_settings(
    *, k: int = 5, by: RangesBy = "quantiles", length: int = 1, beam: int = 10, budget: int = 1000
) -> RangeSettings:
    """The settings of ranges, if they are possible; see `ranges`."""
    _check_ranges(k, by)
    return RangeSettings(k, by, search_settings(length=length, beam=beam, budget=budget))


def search_settings(*, length: int = 3, beam: int = 10, budget: int = 1000) -> SearchSettings:
    """The settings of the search for formulas, if they are possible; see `formulas`."""
    for name, value, least, most in (
        ("length", length, 1, LONGEST),
        ("beam", beam, 1, 10_000),
        ("budget", budget, 0, 10_000_000),
    ):
        if not isinstance(value, int) or not least <= value <= most:
            raise UnitlensError(f"{argument(name, value)} must be a whole number from {least} to {most:,}.")
    return SearchSettings(length=length, beam=beam, budget=budget)


def _check_ranges(k: int, by: str) -> None:
    """Make sure that there can be so many ranges of this kind.

    Raises
    ------
    UnitlensError
        If not.
    """
    if by not in get_args(RangesBy):
        raise UnitlensError(
            f"{argument('by', by)}{did_you_mean(by, get_args(RangesBy))} makes no ranges; quantiles and clusters do."
        )
    if not isinstance(k, int) or not 1 <= k <= MOST_RANGES:
        raise UnitlensError(f"A unit has 1 to {MOST_RANGES} ranges of activation, not {k!r}.")
