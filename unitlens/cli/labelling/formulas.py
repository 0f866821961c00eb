"""Options of `unitlens label` for formulas and ranges, and what they ask for."""

from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

import click

from unitlens.cli.options import options
from unitlens.errors import UnitlensError

formula_options = options(
    click.option(
        "--formulas",
        type=click.IntRange(1, 6),
        metavar="LENGTH",
        help="Name units by the formula of up to LENGTH concepts (AND, OR, AND NOT) that fits their mask best.",
    ),
    click.option(
        "--ranges",
        type=click.IntRange(1, 100),
        metavar="K",
        help="Name K ranges of each unit's activation, from the weakest.",
    ),
    click.option(
        "--ranges-by",
        type=click.Choice(["quantiles", "clusters"]),
        help="Whether ranges have as many positive values each, or are clusters of them. [quantiles]",
    ),
    click.option(
        "--range-length",
        type=click.IntRange(1, 6),
        metavar="LENGTH",
        help="Concepts in the label of a range, at most: more than 1 make formulas. [1]",
    ),
    click.option(
        "--beam",
        type=click.IntRange(1, 10_000),
        metavar="N",
        help="Formulas of each length that are extended by every concept. [10]",
    ),
    click.option(
        "--budget",
        type=click.IntRange(0),
        metavar="N",
        help="Further formulas that are extended for a unit, to prove that none fits better; 0 for no proof. [1000]",
    ),
)


class AskedFormulas(NamedTuple):
    """What was asked for: settings of formulas and of ranges; None for what was not."""

    formulas: Any  # SearchSettings
    ranges: Any  # RangeSettings

    @property
    def methods(self) -> list[str]:
        """The names of the methods."""
        return [name for name, settings in self._asdict().items() if settings is not None]

    def kept_in(self, labels: Any, layers: Sequence[str]) -> list[str]:
        """Methods by which labels are there already, in all of some layers, that were made with these settings."""
        from unitlens.labels.compositional.settings import recorded_settings

        return [
            name
            for name in self.methods
            if labels.made_with(name, recorded_settings(getattr(self, name)), layers=layers)
        ]

    def without(self, methods: Collection[str]) -> "AskedFormulas":
        """The same without what is asked for by some methods."""
        return self._replace(**{name: None for name in self.methods if name in methods})


def take_formula_options(given: dict[str, Any]) -> AskedFormulas:
    """Take the options of formulas and ranges out of those of the command.

    Raises
    ------
    UnitlensError
        If some of them were given without what they are for.
    """
    from unitlens.labels.compositional.settings import range_settings, search_settings

    names = ("formulas", "ranges", "ranges_by", "range_length", "beam", "budget")
    taken = {name: given.pop(name) for name in names}
    length, k = taken.pop("formulas"), taken.pop("ranges")
    if k is None:
        _refuse_alone({name: taken[name] for name in ("ranges_by", "range_length")}, "ranges", "--ranges 5")
    if k is None and length is None:
        _refuse_alone(taken, "formulas and ranges", "--formulas 3 or --ranges 5")
        return AskedFormulas(None, None)
    search = {name: taken[name] for name in ("beam", "budget") if taken[name] is not None}
    of_ranges: dict[str, Any] = {
        name: taken[of] for name, of in (("by", "ranges_by"), ("length", "range_length")) if taken[of]
    }
    return AskedFormulas(
        formulas=None if length is None else search_settings(length=length, **search),
        ranges=None if k is None else range_settings(k=k, **of_ranges, **search),
    )


def _refuse_alone(given: dict[str, Any], what: str, add: str) -> None:
    alone = next((name for name, value in given.items() if value is not None), None)
    if alone is not None:
        raise UnitlensError(f"--{alone.replace('_', '-')} is for {what}: add {add}.")
